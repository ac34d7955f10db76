//! Which nodes go and why the others stay: every refusal with the case beside it that is none, the
//! windows, the limits, and what the audit says of every plan.

mod audit;
mod each;
mod joint;
mod laws;
mod windows;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use model::{
    Budget, Cluster, Controller, Disruption, GroupKey, HourlyPrice, LabelSelector, Labels, Node,
    NodeName, Operator, Pod, PodHealth, PodKey, PodRole, PodState, Requirement, Resources,
    SchedulingClass, Uid, Upkeep, WorkloadKind, Workloads,
};
use planner::{
    audit::removals,
    lifecycle::{Cordon, RemovalCause, RemovalStep},
    removal::{
        plan::{Brakes, Candidate, Group, Input, Plan, Report, Settings, plan},
        refusal::Refusal,
    },
};
use rust_decimal::Decimal;

use crate::removal_simulation::node;

const HOSTNAME: &str = "kubernetes.io/hostname";
const GIB: i64 = 1 << 30;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn key(name: &str) -> GroupKey {
    GroupKey::new("kube-system", name)
}

/// A cluster and all that is asked of it, to be changed as a test needs it. It is 1,000 s after the
/// beginning, and what is given has been so for 600, as long as every window and cooldown.
#[derive(Clone, Debug)]
struct Case {
    now: Timestamp,
    cluster: Cluster,
    disruption: Disruption,
    leaving: BTreeSet<NodeName>,
    groups: BTreeMap<GroupKey, Group>,
    candidates: Vec<Candidate>,
    settings: Settings,
    brakes: Brakes,
}

impl Case {
    /// Nodes of group `g` by name, each of 1 CPU and 16 GiB.
    fn of(nodes: &[&str]) -> Self {
        let workloads = Workloads {
            replicas: [(Uid::new("web"), 3)].into(),
            complete: true,
        };
        let mut case = Self {
            now: at(1000),
            cluster: Cluster::default(),
            disruption: Disruption {
                budgets: Some(vec![]),
                workloads: [(WorkloadKind::ReplicaSet, workloads)].into(),
                usage: BTreeMap::new(),
            },
            leaving: BTreeSet::new(),
            groups: [(key("g"), group())].into(),
            candidates: vec![],
            settings: Settings::default(),
            brakes: Brakes::default(),
        };
        for name in nodes {
            case.add(name);
        }
        case
    }

    fn add(&mut self, name: &str) {
        let node = node(name, 1000);
        self.cluster.nodes.insert(node.name.clone(), node);
        self.candidates.push(candidate(name));
    }

    /// A node of somebody else.
    fn foreign(mut self, name: &str) -> Self {
        self.add(name);
        let candidate = self.on(name);
        candidate.machine = None;
        candidate.group = None;
        candidate.managed = false;
        self
    }

    fn on(&mut self, name: &str) -> &mut Candidate {
        let mut candidates = self.candidates.iter_mut();
        candidates.find(|one| one.node == name.into()).unwrap()
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn node(&mut self, name: &str) -> &mut Node {
        self.cluster.nodes.get_mut(&NodeName::from(name)).unwrap()
    }

    fn group(&mut self) -> &mut Group {
        self.groups.get_mut(&key("g")).unwrap()
    }

    /// A pod of a ReplicaSet.
    fn runs(mut self, name: &str, node: &str, cpu: i64) -> Self {
        self.run(name, node, cpu);
        self
    }

    fn run(&mut self, name: &str, node: &str, cpu: i64) -> &mut Pod {
        let pod = pod(name, PodState::Bound(node.into()), cpu);
        self.cluster.bound.push(Arc::new(pod));
        self.last()
    }

    /// The pod that was put last.
    fn last(&mut self) -> &mut Pod {
        Arc::get_mut(self.cluster.bound.last_mut().unwrap()).unwrap()
    }

    fn waits(mut self, name: &str, cpu: i64) -> Self {
        let pod = pod(name, PodState::Waiting, cpu);
        self.cluster.waiting.push(Arc::new(pod));
        self
    }

    /// A budget over pods of an app in namespace `a`.
    fn budget(&mut self, app: &str, allowed: u32) -> &mut Budget {
        let budgets = self.disruption.budgets.as_mut().unwrap();
        budgets.push(Budget {
            namespace: "a".into(),
            name: format!("{app}-{}", budgets.len()).into(),
            selector: selector(app),
            allowed,
            healthy: false,
            unhealthy_always: false,
        });
        budgets.last_mut().unwrap()
    }

    fn input(&self) -> Input<'_> {
        Input {
            now: self.now,
            cluster: &self.cluster,
            leaving: &self.leaving,
            disruption: &self.disruption,
            groups: self.groups.clone(),
            candidates: self.candidates.clone(),
            settings: &self.settings,
            brakes: self.brakes.clone(),
        }
    }

    /// The plan, after a look at what must be true of every one.
    fn plan(&self) -> (Plan, Report) {
        let input = self.input();
        let (plan, report) = plan(&input);
        assert_eq!(removals(&input, &plan), Ok(()));
        let removed: BTreeSet<&NodeName> = plan.remove.iter().map(|one| &one.node).collect();
        for candidate in &self.candidates {
            let refusals = report.get(&candidate.node);
            assert_eq!(
                refusals.is_none(),
                removed.contains(&candidate.node),
                "{} has an answer",
                candidate.node
            );
            assert!(refusals.is_none_or(|refusals| !refusals.is_empty()));
        }
        (plan, report)
    }

    fn removed(&self) -> Vec<String> {
        let chosen = self.plan().0.remove;
        chosen.iter().map(|one| one.node.to_string()).collect()
    }

    fn why(&self, node: &str) -> Vec<Refusal> {
        let (_, mut report) = self.plan();
        report.remove(&NodeName::from(node)).unwrap_or_default()
    }

    fn names(&self, node: &str) -> Vec<&'static str> {
        self.why(node).iter().map(Refusal::name).collect()
    }

    fn still(&self, node: &str) -> Result<(), Refusal> {
        let machine = format!("kube-system/{node}");
        planner::removal::plan::still_removable(&self.input(), &machine)
    }
}

fn group() -> Group {
    Group {
        min_nodes: 0,
        enabled: true,
        window: Duration::from_mins(10),
        cooldown: Duration::from_mins(10),
        last_scaled_at: Some(at(400)),
        in_flight: 0,
        deleting: false,
        paused: false,
        cpu_threshold: 50,
        memory_threshold: 50,
        at_once: u32::MAX,
    }
}

fn candidate(name: &str) -> Candidate {
    Candidate {
        node: name.into(),
        machine: Some(format!("kube-system/{name}")),
        group: Some(key("g")),
        managed: true,
        ready_at: Some(at(400)),
        unneeded_since: Some(at(400)),
        protected_by: None,
        allowed_hours: None,
        startup_taints: vec![],
        control_plane: false,
        cordon: Cordon::None,
        own: false,
        savings: Some(HourlyPrice::new(Decimal::new(10, 2))),
        removal: None,
    }
}

fn pod(name: &str, state: PodState, cpu_milli: i64) -> Pod {
    Pod {
        key: PodKey::new("a", name),
        uid: Uid::new(name),
        class: Arc::new(SchedulingClass {
            namespace: "a".into(),
            labels: Labels::from([("app".into(), "web".into())]),
            requests: Resources {
                cpu_milli,
                pods: 1,
                ..Resources::default()
            },
            ..SchedulingClass::default()
        }),
        state,
        role: PodRole::Ordinary,
        terminating: None,
        nominated: None,
        created_at: Some(at(0)),
        started_at: Some(at(0)),
        health: PodHealth::Ready,
        upkeep: Arc::new(Upkeep {
            controller: Some(Controller {
                kind: "ReplicaSet".into(),
                name: "web".into(),
                uid: Uid::new("web"),
            }),
            ..Upkeep::default()
        }),
    }
}

fn class(pod: &mut Pod) -> &mut SchedulingClass {
    Arc::get_mut(&mut pod.class).unwrap()
}

fn upkeep(pod: &mut Pod) -> &mut Upkeep {
    Arc::get_mut(&mut pod.upkeep).unwrap()
}

fn wish(pod: &mut Pod, key: &str, value: &str) {
    upkeep(pod).wishes.insert(key.into(), value.into());
}

fn selector(app: &str) -> LabelSelector {
    LabelSelector {
        requirements: vec![Requirement {
            key: "app".into(),
            operator: Operator::In,
            values: vec![app.into()],
        }],
    }
}

const DRAINING: Option<(RemovalCause, RemovalStep)> =
    Some((RemovalCause::Underutilized, RemovalStep::Draining));
