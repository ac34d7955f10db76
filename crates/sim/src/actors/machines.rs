//! Machines of the cloud become nodes: a worker that boots gets a kubelet when it joins, and loses
//! it when it is deleted. Nobody here deletes a Node.
//!
//! The Node has what such nodes are observed to have: host name, operating system and architecture
//! labels, addresses, the not-ready taint; no provider id, no zone, no instance type.

use std::time::Duration;

use runtime::{Clock, Tasks};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use vpsie_sim::{Join, Machine, MachineEvent, Role};

use super::kubelet::{NewNode, Order};
use crate::{
    agenda::Agenda,
    config::{MachinesConfig, StaticNode},
    observe::Change,
};

pub(crate) struct Machines {
    pub(crate) cluster: String,
    pub(crate) config: MachinesConfig,
    pub(crate) kubelet: UnboundedSender<Change>,
    pub(crate) clock: Clock,
}

impl Machines {
    /// Plays until the cloud ends. `present` are the machines that run already.
    pub(crate) fn play(
        self,
        present: Vec<Machine>,
        mut events: UnboundedReceiver<MachineEvent>,
        tasks: &Tasks,
    ) {
        tasks.spawn("machines", async move {
            for machine in present {
                if self.ours(&machine) {
                    let ready = machine.joins().then_some(Duration::ZERO);
                    self.run(&machine, ready);
                }
            }
            let mut joining: Agenda<(Machine, Option<Duration>)> = Agenda::default();
            let mut stopped = std::collections::BTreeSet::new();
            loop {
                tokio::select! {
                    biased;
                    event = events.recv() => {
                        let Some(event) = event else { return };
                        let now = self.clock.monotonic();
                        self.hear(&event, now, &mut joining, &mut stopped);
                    }
                    () = super::wait(&self.clock, joining.next()) => {}
                }
                while let Some((machine, ready)) = joining.due(self.clock.monotonic()) {
                    if !stopped.contains(&machine.uuid) {
                        self.run(&machine, ready);
                    }
                }
            }
        });
    }

    fn ours(&self, machine: &Machine) -> bool {
        machine.role != Role::Plain && machine.cluster.as_deref() == Some(&self.cluster)
    }

    fn hear(
        &self,
        event: &MachineEvent,
        now: Duration,
        joining: &mut Agenda<(Machine, Option<Duration>)>,
        stopped: &mut std::collections::BTreeSet<String>,
    ) {
        let machine = event.machine();
        if !self.ours(machine) {
            return;
        }
        match event {
            MachineEvent::Created(_) => {}
            MachineEvent::Running(_) => match machine.join {
                Join::Ready { register, ready } => {
                    joining.enter(now + register, (machine.clone(), Some(ready)));
                }
                Join::NotReady { register } => {
                    joining.enter(now + register, (machine.clone(), None));
                }
                Join::Never => {}
            },
            MachineEvent::Deleting(_) | MachineEvent::Deleted(_) => {
                if stopped.insert(machine.uuid.clone()) {
                    self.tell(Order::Stop(machine.node_name.clone()));
                }
            }
        }
    }

    fn run(&self, machine: &Machine, ready_after: Option<Duration>) {
        let node = new_node(
            &machine.node_name,
            machine.role == Role::Master,
            &Size {
                cpus: machine.cpu,
                memory_mib: machine.ram_mb,
                disk_gib: machine.disk_gb,
            },
            &[&machine.private_ip, &machine.default_ip],
            &self.config,
            ready_after,
        );
        self.tell(Order::Run(Box::new(node)));
    }

    fn tell(&self, order: Order) {
        // Without kubelets there is nobody to tell.
        let _ = self.kubelet.send(Change::Order(order));
    }
}

/// The kubelet of a node that is no machine of the cloud.
pub(crate) fn static_node(node: &StaticNode, number: usize, config: &MachinesConfig) -> Order {
    let size = Size {
        cpus: node.cpus,
        memory_mib: node.memory_mib,
        disk_gib: 80,
    };
    let address = format!("10.0.{}.{}", number / 250, 1 + number % 250);
    let ready = Some(Duration::ZERO);
    let mut new = new_node(
        &node.name,
        node.control_plane,
        &size,
        &[&address],
        config,
        ready,
    );
    for (key, value) in &node.labels {
        new.object["metadata"]["labels"][key] = json!(value);
    }
    Order::Run(Box::new(new))
}

struct Size {
    cpus: u32,
    memory_mib: u64,
    disk_gib: u64,
}

fn new_node(
    name: &str,
    control_plane: bool,
    size: &Size,
    addresses: &[&str],
    config: &MachinesConfig,
    ready_after: Option<Duration>,
) -> NewNode {
    let mut labels = json!({
        "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64",
    });
    let mut taints = vec![json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"})];
    if control_plane {
        labels["node-role.kubernetes.io/control-plane"] = json!("");
        taints
            .push(json!({"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}));
    }
    let memory_kib = size.memory_mib * 1024 * (100 - config.kernel_memory_percent.min(100)) / 100;
    let disk_kib = size.disk_gib * 1024 * 1024;
    let capacity = json!({
        "cpu": size.cpus.to_string(), "memory": format!("{memory_kib}Ki"),
        "ephemeral-storage": format!("{disk_kib}Ki"), "pods": config.pods.to_string(),
        "hugepages-1Gi": "0", "hugepages-2Mi": "0",
    });
    let cpu = (u64::from(size.cpus) * 1000).saturating_sub(config.reserved_cpu_milli);
    let memory = memory_kib.saturating_sub(config.reserved_memory_mib * 1024);
    let disk = disk_kib * (100 - config.reserved_disk_percent.min(100)) / 100;
    let mut allocatable = capacity.clone();
    allocatable["cpu"] = json!(format!("{cpu}m"));
    allocatable["memory"] = json!(format!("{memory}Ki"));
    allocatable["ephemeral-storage"] = json!((disk * 1024).to_string());
    let kinds = ["InternalIP", "ExternalIP"];
    let mut listed: Vec<Value> = addresses
        .iter()
        .zip(kinds)
        .filter(|(address, _)| !address.is_empty())
        .map(|(address, kind)| json!({"type": kind, "address": address}))
        .collect();
    listed.push(json!({"type": "Hostname", "address": name}));
    NewNode {
        name: name.to_owned(),
        object: json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": labels},
            "spec": {"taints": taints},
        }),
        capacity,
        allocatable,
        addresses: json!(listed),
        ready_after,
    }
}
