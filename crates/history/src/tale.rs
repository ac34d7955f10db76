//! Forged histories for the tests of the rules: a small world whose every step can be told rightly
//! or wrongly.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    Asked, CloudRequest, Commit, Errand, Event, Fate, History, Kind, Machine, Note, Origin, Read,
    check,
};

pub(crate) const US: &str = "us";

/// How a write is meant for what it strikes.
#[derive(Clone, Copy)]
pub(crate) struct By {
    pub(crate) uid: bool,
    pub(crate) version: bool,
}

pub(crate) const EXACTLY: By = By {
    uid: true,
    version: true,
};
pub(crate) const BY_NAME: By = By {
    uid: false,
    version: false,
};

pub(crate) struct Tale {
    pub(crate) history: History,
    now: Timestamp,
    seq: u64,
    request: u64,
    objects: BTreeMap<(String, String), Value>,
}

impl Tale {
    /// A world with one group of up to five nodes, a leader, and two nodes in service.
    pub(crate) fn new() -> Self {
        let mut tale = Self {
            history: History {
                ours: [US.to_owned(), "other".to_owned()].into(),
                people: ["people".to_owned()].into(),
                ..History::default()
            },
            now: "2026-01-05T08:00:00Z".parse().unwrap(),
            seq: 0,
            request: 0,
            objects: BTreeMap::new(),
        };
        tale.group(1, 5);
        tale.leads(US);
        for name in ["a", "b"] {
            tale.buy(name);
            tale.joins(name);
        }
        tale.later(3600);
        tale.leads(US);
        tale
    }

    pub(crate) fn later(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    pub(crate) fn push(&mut self, actor: &str, kind: Kind) {
        self.seq += 1;
        self.history.events.push(Event {
            seq: self.seq,
            at: self.now,
            actor: actor.to_owned(),
            kind,
        });
    }

    /// An object is written, or (with null) removed.
    pub(crate) fn write(
        &mut self,
        actor: &str,
        verb: &'static str,
        resource: &str,
        object: Value,
        by: By,
    ) {
        self.ask(actor, verb, "", resource, object, by);
    }

    fn ask(
        &mut self,
        actor: &str,
        verb: &'static str,
        subresource: &str,
        resource: &str,
        object: Value,
        by: By,
    ) {
        self.request += 1;
        let text = |path: &str| {
            object
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let key = (resource.to_owned(), format!("{namespace}/{name}"));
        let before = self
            .objects
            .get(&key)
            .map(|old| Bytes::from(old.to_string()));
        let gone = object["gone"] == json!(true);
        let after = (!gone).then(|| Bytes::from(object.to_string()));
        let uid = text("/metadata/uid");
        if gone {
            self.objects.remove(&key);
        } else {
            self.objects.insert(key, object);
        }
        let asked = Asked {
            request: self.request,
            sent: self.now,
            verb,
            subresource: subresource.to_owned(),
            by_uid: by.uid,
            by_version: by.version,
        };
        self.push(
            actor,
            Kind::Commit(Commit {
                asked: Some(asked),
                group: String::new(),
                resource: resource.to_owned(),
                namespace,
                name,
                uid,
                before,
                after,
            }),
        );
    }

    /// The object as it is, changed, and written.
    pub(crate) fn change(
        &mut self,
        actor: &str,
        resource: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) {
        let mut object = self.get(resource, name);
        change(&mut object);
        self.write(actor, "patch", resource, object, EXACTLY);
    }

    pub(crate) fn get(&self, resource: &str, name: &str) -> Value {
        let namespace = match resource {
            "nodes" => "",
            "pods" | "poddisruptionbudgets" => "default",
            _ => "kube-system",
        };
        let key = (resource.to_owned(), format!("{namespace}/{name}"));
        self.objects.get(&key).cloned().unwrap()
    }

    pub(crate) fn gone(
        &mut self,
        actor: &str,
        verb: &'static str,
        resource: &str,
        name: &str,
        by: By,
    ) {
        let mut object = self.get(resource, name);
        object["gone"] = json!(true);
        self.write(actor, verb, resource, object, by);
    }

    pub(crate) fn group(&mut self, min: i64, max: i64) {
        let group = json!({
            "metadata": {"namespace": "kube-system", "name": "g", "uid": "g",
                "labels": {"autoscaler.vpsie.com/managed": "true"}},
            "spec": {"minNodes": min, "maxNodes": max, "scaleDownPolicy": {"cooldownSeconds": 60}},
            "status": {"desiredNodes": 2},
        });
        self.write("people", "update", "nodegroups", group, EXACTLY);
    }

    pub(crate) fn leads(&mut self, actor: &str) {
        let lease = json!({
            "metadata": {"namespace": "kube-system", "name": "lease", "uid": "lease"},
            "spec": {"holderIdentity": actor, "leaseDurationSeconds": 15},
        });
        self.write(actor, "update", "leases", lease, EXACTLY);
    }

    /// The record of a machine is made and says that one will be asked for.
    pub(crate) fn intends(&mut self, name: &str) {
        let record = json!({
            "metadata": {"namespace": "kube-system", "name": name, "uid": name,
                "finalizers": ["vpsienode.autoscaler.vpsie.com/finalizer"]},
            "spec": {"nodeGroupName": "g"},
            "status": {"phase": "Provisioning",
                "creation": {"attempt": 1, "state": "Intended", "poolID": 7}},
        });
        self.write(US, "create", "vpsienodes", record, BY_NAME);
    }

    pub(crate) fn cloud(&mut self, actor: &str, errand: Errand) -> u64 {
        self.request += 1;
        let number = self.request;
        self.push(actor, Kind::Cloud(CloudRequest { number, errand }));
        number
    }

    pub(crate) fn machine(&mut self, name: &str, bought_by: Origin, fate: Fate) {
        self.push(
            "vpsie",
            Kind::Machine(Machine {
                uuid: format!("m-{name}"),
                node: name.to_owned(),
                pool: Some(7),
                bought_by,
                fate,
            }),
        );
    }

    pub(crate) fn asks_for(&mut self, machine: &str) -> u64 {
        let number = self.cloud(US, Errand::Create { pool: 7 });
        self.machine(machine, Origin::Request(number), Fate::Bought);
        number
    }

    /// Intended, asked for, named.
    pub(crate) fn buy(&mut self, name: &str) {
        self.intends(name);
        self.asks_for(name);
        self.change(US, "vpsienodes", name, |record| {
            record["spec"]["vpsieNodeIdentifier"] = json!(format!("m-{name}"));
        });
    }

    /// A node that is nobody's machine.
    pub(crate) fn joins_without_record(&mut self, name: &str) {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "uid": format!("n-{name}")},
            "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        self.write("kubelet", "create", "nodes", node, BY_NAME);
    }

    /// Its Node comes and serves.
    pub(crate) fn joins(&mut self, name: &str) {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "uid": format!("n-{name}"), "labels": {
                "autoscaler.vpsie.com/nodegroup": "g",
                "autoscaler.vpsie.com/nodegroup-namespace": "kube-system",
                "autoscaler.vpsie.com/vpsienode": name}},
            "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": "True"}],
                "capacity": {"cpu": "2", "memory": "4Gi", "pods": "110"},
                "allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"}},
        });
        self.write("kubelet", "create", "nodes", node, BY_NAME);
        for phase in ["Provisioned", "Joining", "Ready"] {
            self.change(US, "vpsienodes", name, |record| {
                record["status"]["phase"] = json!(phase);
                record["status"]["nodeName"] = json!(name);
            });
        }
    }

    pub(crate) fn ready(&mut self, node: &str, ready: bool) {
        self.change("kubelet", "nodes", node, |node| {
            let status = if ready { "True" } else { "False" };
            node["status"]["conditions"][0]["status"] = json!(status);
        });
    }

    /// A pod of a ReplicaSet that runs on the node.
    pub(crate) fn pod(&mut self, name: &str, node: &str) {
        let set = json!({"metadata": {"namespace": "kube-system", "name": "web", "uid": "web"}});
        self.write(
            "kube-controller-manager",
            "create",
            "replicasets",
            set,
            BY_NAME,
        );
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "default", "name": name, "uid": format!("p-{name}"),
                "labels": {"app": "web"}, "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "web",
                     "controller": true}]},
            "spec": {"nodeName": node, "containers": [
                {"name": "main", "resources": {"requests": {"cpu": "500m", "memory": "64Mi"}}}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        });
        self.write("kube-scheduler", "create", "pods", pod, BY_NAME);
    }

    pub(crate) fn budget(&mut self, name: &str, allowed: i64) {
        let budget = json!({
            "metadata": {"namespace": "default", "name": name, "uid": format!("b-{name}")},
            "spec": {"selector": {"matchLabels": {"app": "web"}}},
            "status": {"disruptionsAllowed": allowed, "currentHealthy": 2, "desiredHealthy": 1},
        });
        self.write("people", "update", "poddisruptionbudgets", budget, EXACTLY);
    }

    /// The removal of a node is recorded.
    pub(crate) fn removes(&mut self, name: &str, cause: &str) {
        self.change(US, "vpsienodes", name, |record| {
            record["status"]["removal"] = json!({
                "cause": cause, "step": "Cordoning", "startedAt": "2026-01-05T09:00:00Z"});
        });
    }

    pub(crate) fn cordon(&mut self, actor: &str, node: &str, cordoned: bool) {
        self.change(actor, "nodes", node, |object| {
            object["spec"]["unschedulable"] = json!(cordoned);
            object["metadata"]["annotations"] = if cordoned && actor == US {
                json!({"autoscaler.vpsie.com/cordoned-by": "x"})
            } else {
                json!({})
            };
        });
    }

    pub(crate) fn looks_at(&mut self, node: &str) {
        self.looks_at_as(US, node);
    }

    pub(crate) fn looks_at_as(&mut self, actor: &str, node: &str) {
        for (verb, resource, name, fields) in [
            ("get", "nodes", node, String::new()),
            ("list", "pods", "", format!("spec.nodeName={node}")),
        ] {
            self.push(
                actor,
                Kind::Read(Read {
                    verb,
                    resource: resource.to_owned(),
                    name: name.to_owned(),
                    fields,
                    current: true,
                    code: 200,
                }),
            );
        }
    }

    pub(crate) fn evict(&mut self, pod: &str, by: By) {
        self.evict_as(US, pod, by);
    }

    pub(crate) fn evict_as(&mut self, actor: &str, pod: &str, by: By) {
        let mut object = self.get("pods", pod);
        object["metadata"]["deletionTimestamp"] = json!(self.now.to_string());
        self.ask(actor, "create", "eviction", "pods", object, by);
    }

    pub(crate) fn ends(&mut self, pod: &str) {
        self.gone("kubelet", "delete", "pods", pod, BY_NAME);
    }

    /// Recorded, cordoned, looked at.
    pub(crate) fn begins_to_empty(&mut self, node: &str) {
        self.removes(node, "Underutilized");
        self.cordon(US, node, true);
        self.later(6);
        self.leads(US);
        self.looks_at(node);
    }

    pub(crate) fn deletes_node(&mut self, node: &str) {
        self.gone(US, "delete", "nodes", node, EXACTLY);
    }

    pub(crate) fn deletes_machine(&mut self, name: &str) {
        let machine = Some(format!("m-{name}"));
        let number = self.cloud(US, Errand::Delete { machine });
        self.machine(name, Origin::Nobody, Fate::Deleted(Origin::Request(number)));
    }

    pub(crate) fn lets_go(&mut self, name: &str) {
        let by = EXACTLY;
        self.gone(US, "patch", "vpsienodes", name, by);
    }

    pub(crate) fn note(&mut self, actor: &str, note: Note) {
        self.push(actor, Kind::Note(note));
    }

    /// It is calm from now on, for so long.
    pub(crate) fn calm_for(&mut self, seconds: i64) {
        self.history.calm = Some(self.now);
        for _ in 0..seconds / 600 {
            self.later(600);
            self.leads(US);
        }
        self.history.end = Some(self.now);
    }

    /// The rules that were broken, without repetition.
    pub(crate) fn broken(&self) -> Vec<&'static str> {
        let mut rules: Vec<&'static str> = check(&self.history)
            .iter()
            .map(|found| found.rule)
            .collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }
}
