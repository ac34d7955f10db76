//! One machine, its record and what is seen of it, as the tests of its steps begin with them.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use model::{
    Hostname, Instance, InstanceId, InstancePhase, NodeName, PodKey, PoolId, Resolution, Role, Uid,
};
use planner::lifecycle::{
    CloudView, Cordon, CreateView, GroupRoom, Machine, MachineView, NodeState, NodeView,
    Observation, Phase, Policy, PoolView, Record, Removal, RemovalCause, RemovalStep, Resident,
    Transition, step,
};

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

pub(crate) fn observed() -> Observation {
    Observation {
        create: CreateView {
            group_usable: true,
            room: GroupRoom::Enough,
            pool: PoolView::Ready(PoolId(7)),
            blocked: false,
            backoff_until: None,
            baseline: BTreeSet::from([InstanceId::new("old")]),
            baseline_at: Some(at(1000)),
        },
        cloud: CloudView::Unseen,
        node: NodeView::Absent { fresh: true },
        keep: None,
        hold: None,
        replace_later: None,
        force_after: None,
    }
}

/// The next step, which the audit lets through.
pub(crate) fn take(record: &Record, observed: &Observation, seconds: i64) -> Transition {
    let transition = step(record, observed, at(seconds), &Policy::default());
    let audited = planner::audit::step(record, observed, &transition);
    assert_eq!(audited, Ok(()), "{record:?} {observed:?} {transition:?}");
    transition
}

pub(crate) fn instance() -> Instance {
    Instance {
        id: InstanceId::new("m1"),
        numeric_id: None,
        hostname: Hostname::new("node-1"),
        addresses: vec![],
        role: Role::Worker,
        phase: InstancePhase::Running,
        pool: None,
        shape: None,
        created_at: None,
    }
}

pub(crate) fn seen(machine: MachineView, resolution: Option<Resolution>) -> CloudView {
    CloudView::Seen {
        started_at: at(5000),
        resolution,
        machine,
    }
}

pub(crate) fn node(pods: usize, cordon: Cordon) -> NodeView {
    NodeView::Present(NodeState {
        name: NodeName::new("node-1"),
        uid: Uid::new("u1"),
        ready: true,
        metadata_applied: true,
        startup_taints_applied: true,
        cordon,
        pods: (0..pods)
            .map(|i| Resident {
                key: PodKey::new("default", format!("p{i}")),
                uid: Uid::new(format!("{i}")),
                priority: 0,
                terminating: false,
                overdue: false,
            })
            .collect(),
        ready_since: Some(at(1160)),
        starting: Vec::new(),
        attached: Vec::new(),
        fresh: true,
    })
}

pub(crate) fn missing(seconds: u64) -> MachineView {
    MachineView::Missing {
        since: Duration::from_secs(seconds),
        sightings: 9,
    }
}

pub(crate) fn unanswering(node: NodeView) -> NodeView {
    let NodeView::Present(mut node) = node else {
        panic!()
    };
    node.ready = false;
    for pod in &mut node.pods {
        (pod.terminating, pod.overdue) = (true, true);
    }
    NodeView::Present(node)
}

pub(crate) fn asked() -> Record {
    take(&Record::new(), &observed(), 1000).record
}

pub(crate) fn ready() -> Record {
    Record {
        phase: Phase::Ready,
        machine: Some(Machine {
            instance: InstanceId::new("m1"),
            hostname: Hostname::new("node-1"),
        }),
        node: Some(NodeName::new("node-1")),
        provisioning_at: Some(at(1000)),
        provisioned_at: Some(at(1100)),
        joined_at: Some(at(1150)),
        ready_at: Some(at(1160)),
        ..Record::new()
    }
}

pub(crate) fn removing(cause: RemovalCause, step: RemovalStep) -> Record {
    Record {
        removal: Some(Removal {
            step,
            ..Removal::new(cause, at(2000))
        }),
        ..ready()
    }
}
