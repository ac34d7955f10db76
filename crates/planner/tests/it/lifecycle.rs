use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use model::{
    Hostname, Instance, InstanceId, InstancePhase, NodeName, PodKey, PoolId, Resolution, Role, Uid,
};
use planner::lifecycle::{
    Action, CloudView, Cordon, CreateView, CreationState, Effect, FailureReason, GroupRoom,
    Machine, MachineView, NodeState, NodeView, Observation, Phase, Policy, PoolView, Record,
    Removal, RemovalCause, RemovalStep, Resident, Situation, Transition, answered, step,
    transition,
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

fn asked() -> Record {
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

#[test]
fn the_intent_is_in_the_record_before_the_request_is_an_effect() {
    let transition = take(&Record::new(), &observed(), 1000);
    assert_eq!(
        transition.effect,
        Some(Effect::CreateMachine { pool: PoolId(7) })
    );
    let creation = transition.record.creation.unwrap();
    assert_eq!(creation.state, CreationState::Intended);
    assert_eq!(creation.baseline, BTreeSet::from([InstanceId::new("old")]));
    assert_eq!(transition.record.phase, Phase::Provisioning);
}

#[test]
fn an_intent_found_without_an_answer_is_never_asked_for_again_before_the_quarantine() {
    let transition = take(&asked(), &observed(), 1001);
    assert_eq!(transition.situation, Situation::AnswerLost);
    assert_eq!(transition.effect, None);
    let record = transition.record;
    assert_eq!(
        record.creation.as_ref().unwrap().state,
        CreationState::Unknown
    );
    let mut observed = observed();
    observed.cloud = seen(MachineView::NotBound, Some(Resolution::StillPending));
    assert_eq!(take(&record, &observed, 1200).effect, None);
    observed.cloud = seen(MachineView::NotBound, Some(Resolution::ProvenAbsent));
    observed.create.baseline_at = Some(at(1400));
    let again = take(&record, &observed, 1400);
    assert_eq!(
        again.effect,
        Some(Effect::CreateMachine { pool: PoolId(7) })
    );
    let creation = again.record.creation.unwrap();
    assert_eq!(creation.attempt, 2);
    assert_eq!(
        creation.baseline,
        BTreeSet::from([InstanceId::new("old")]),
        "the first baseline"
    );
}

#[test]
fn nothing_is_asked_for_while_something_forbids_it() {
    type Change = fn(&mut Observation);
    let cases: [(Change, &str); 7] = [
        (|o| o.create.group_usable = false, "GroupUnusable"),
        (|o| o.create.room = GroupRoom::Overfull, "GroupOverfull"),
        (|o| o.create.backoff_until = Some(at(9999)), "BackingOff"),
        (|o| o.create.blocked = true, "PoolBlocked"),
        (|o| o.create.baseline_at = None, "BaselineStale"),
        (|o| o.create.baseline_at = Some(at(900)), "BaselineStale"),
        (|o| o.create.pool = PoolView::Missing, "PoolMissing"),
    ];
    for (change, name) in cases {
        let mut observed = observed();
        change(&mut observed);
        let transition = take(&Record::new(), &observed, 1000);
        assert_eq!(transition.situation.name(), name);
        assert!(
            !matches!(transition.effect, Some(Effect::CreateMachine { .. })),
            "{name}"
        );
    }
}

#[test]
fn a_refusal_for_good_fails_the_machine_and_leaves_nothing_to_remove() {
    let refused = planner::lifecycle::Asked::Refused {
        reason: FailureReason::CapacityLimitReached,
        message: "limit 5".into(),
    };
    let failed = answered(&asked(), &refused, at(1001));
    assert_eq!(failed.phase, Phase::Failed);
    assert!(!failed.may_be_billed());
}

#[test]
fn a_machine_that_never_joins_is_removed_at_once_and_its_evidence_kept_until_the_ttl() {
    let mut record = ready();
    record.phase = Phase::Joining;
    record.node = None;
    record.joined_at = None;
    let mut observed = observed();
    observed.cloud = seen(MachineView::Listed(instance()), None);
    let late = take(&record, &observed, 1100 + 15 * 60);
    assert_eq!(late.record.phase, Phase::Failed);
    assert_eq!(
        late.record.failure.as_ref().unwrap().reason,
        FailureReason::JoiningTimeout
    );
    let next = take(&late.record, &observed, 2001);
    let delete = take(&next.record, &observed, 2002);
    let Some(Effect::DeleteMachine { proof, .. }) = delete.effect else {
        panic!("{delete:?}");
    };
    assert_eq!(proof.name(), "NeverJoined");
    observed.cloud = seen(
        MachineView::Missing {
            since: Duration::from_secs(31),
            sightings: 2,
        },
        None,
    );
    let gone = take(&delete.record, &observed, 2100).record;
    assert_eq!(gone.removal.as_ref().unwrap().step, RemovalStep::Gone);
    assert!(!gone.may_be_billed());
    assert_eq!(
        take(&gone, &observed, 2200).situation,
        Situation::KeepingEvidence
    );
    let over = take(&gone, &observed, 2000 + 30 * 60);
    assert_eq!(over.effect, Some(Effect::DeleteRecord));
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

#[test]
fn an_empty_node_goes_cordon_settle_node_machine_and_only_then_is_gone() {
    let mut observed = observed();
    observed.node = node(0, Cordon::None);
    let mut record = removing(RemovalCause::Empty, RemovalStep::Cordoning);
    let cordon = take(&record, &observed, 2000);
    assert!(matches!(cordon.effect, Some(Effect::Cordon { .. })));
    observed.node = node(0, Cordon::Ours);
    record = take(&cordon.record, &observed, 2001).record;
    assert_eq!(record.removal.as_ref().unwrap().step, RemovalStep::Settling);
    assert_eq!(
        take(&record, &observed, 2003).effect,
        None,
        "still settling"
    );
    let decided = take(&record, &observed, 2007);
    assert_eq!(decided.effect, Some(Effect::DeleteRecord));
    assert_eq!(decided.record.phase, Phase::Terminating);
    record = decided.record;
    assert_eq!(
        take(&record, &observed, 2008).effect,
        Some(Effect::DeleteRecord),
        "until it is durable"
    );
    record.deletion_requested = true;
    let Some(Effect::DeleteNode { proof, .. }) = take(&record, &observed, 2009).effect else {
        panic!()
    };
    assert_eq!(proof.name(), "Drained");
    observed.node = NodeView::Absent { fresh: true };
    record = take(&record, &observed, 2010).record;
    assert_eq!(record.phase, Phase::Deleting);
    observed.cloud = seen(MachineView::Listed(instance()), None);
    let delete = take(&record, &observed, 2011);
    assert!(matches!(delete.effect, Some(Effect::DeleteMachine { .. })));
    assert!(
        delete.record.removal.as_ref().unwrap().sent,
        "recorded before it is sent"
    );
    assert_eq!(
        take(&delete.record, &observed, 2020).effect,
        None,
        "not sent twice at once"
    );
    observed.cloud = seen(
        MachineView::Missing {
            since: Duration::from_secs(10),
            sightings: 2,
        },
        None,
    );
    assert_eq!(
        take(&delete.record, &observed, 2030).effect,
        None,
        "not proven yet"
    );
    observed.cloud = seen(
        MachineView::Missing {
            since: Duration::from_secs(30),
            sightings: 2,
        },
        None,
    );
    let gone = take(&delete.record, &observed, 2060).record;
    assert_eq!(
        take(&gone, &observed, 2061).effect,
        Some(Effect::RemoveFinalizer)
    );
}

#[test]
fn a_pod_that_lands_in_between_aborts_and_uncordons() {
    let mut observed = observed();
    observed.node = node(1, Cordon::Ours);
    for step in [RemovalStep::Cordoning, RemovalStep::Settling] {
        let transition = take(&removing(RemovalCause::Empty, step), &observed, 2010);
        assert_eq!(transition.record.removal, None);
        assert!(transition.aborted.is_some());
        assert!(matches!(transition.effect, Some(Effect::Uncordon { .. })));
    }
}

#[test]
fn a_humans_cordon_is_never_undone_and_a_humans_uncordon_is_honoured() {
    let mut observed = observed();
    observed.node = node(1, Cordon::Human);
    let transition = take(
        &removing(RemovalCause::Empty, RemovalStep::Settling),
        &observed,
        2010,
    );
    assert_eq!((transition.record.removal, transition.effect), (None, None));
    observed.node = node(0, Cordon::None);
    let transition = take(
        &removing(RemovalCause::Empty, RemovalStep::Settling),
        &observed,
        2010,
    );
    assert_eq!((transition.record.removal, transition.effect), (None, None));
}

#[test]
fn stale_facts_never_advance_a_removal() {
    let mut observed = observed();
    let NodeView::Present(mut state) = node(0, Cordon::Ours) else {
        panic!()
    };
    state.fresh = false;
    observed.node = NodeView::Present(state);
    for cause in [RemovalCause::Empty, RemovalCause::Deleted] {
        for step in [
            RemovalStep::Cordoning,
            RemovalStep::Settling,
            RemovalStep::DeletingNode,
        ] {
            let mut record = removing(cause, step);
            record.deletion_requested = true;
            let transition = take(&record, &observed, 3000);
            assert_eq!(transition.effect, None, "{cause:?} {step:?}");
        }
    }
}

#[test]
fn an_ordered_removal_asks_pods_to_leave_and_waits_for_them() {
    let mut record = removing(RemovalCause::Deleted, RemovalStep::Settling);
    record.deletion_requested = true;
    let mut observed = observed();
    observed.node = node(2, Cordon::Ours);
    let draining = take(&record, &observed, 2010);
    assert!(matches!(&draining.effect, Some(Effect::Evict { pods }) if pods.len() == 2));
    observed.node = node(0, Cordon::Ours);
    let drained = take(&draining.record, &observed, 2020).record;
    assert_eq!(drained.removal.unwrap().step, RemovalStep::DeletingNode);
}

#[test]
fn a_machine_that_was_asked_for_and_appears_after_the_deletion_is_bound_and_deleted() {
    let mut record = asked();
    record.creation.as_mut().unwrap().state = CreationState::Accepted;
    record.deletion_requested = true;
    let mut observed = observed();
    observed.cloud = CloudView::Seen {
        started_at: at(1009),
        resolution: Some(Resolution::StillPending),
        machine: MachineView::NotBound,
    };
    record = take(&record, &observed, 1010).record;
    record = take(&record, &observed, 1011).record;
    assert_eq!(
        record.removal.as_ref().unwrap().step,
        RemovalStep::DeletingMachine
    );
    let waiting = take(&record, &observed, 1020);
    assert_eq!(
        waiting.effect, None,
        "the object stays while a machine may still come"
    );
    observed.cloud = seen(
        MachineView::NotBound,
        Some(Resolution::Found(InstanceId::new("m1"))),
    );
    let found = take(&waiting.record, &observed, 1180);
    assert_eq!(
        found.effect,
        Some(Effect::Bind {
            instance: InstanceId::new("m1")
        })
    );
}

#[test]
fn a_removal_goes_on_only_once_it_is_recorded_which_machine_it_is_about() {
    let mut observed = observed();
    observed.node = node(0, Cordon::Ours);
    observed.cloud = seen(
        MachineView::NotBound,
        Some(Resolution::Found(InstanceId::new("m1"))),
    );
    let bind = Some(Effect::Bind {
        instance: InstanceId::new("m1"),
    });
    for phase in Phase::ALL {
        let mut record = Record {
            phase,
            machine: None,
            ..removing(RemovalCause::Deleted, RemovalStep::DeletingNode)
        };
        record.deletion_requested = true;
        let found = take(&record, &observed, 3000);
        assert_eq!((found.effect, found.record.phase), (bind.clone(), phase));
        record.removal = None;
        assert_eq!(take(&record, &observed, 3000).effect, bind);
    }
}

#[test]
fn what_an_earlier_version_gave_up_keeps_its_machine_until_its_time_is_over() {
    let mut observed = observed();
    observed.node = node(2, Cordon::None);
    observed.cloud = seen(MachineView::Listed(instance()), None);
    let record = Record {
        phase: Phase::Failed,
        failed_at: Some(at(1000)),
        ..ready()
    };
    let left = take(&record, &observed, 1000 + 30 * 60 - 1);
    assert_eq!(left.situation, Situation::LeftFailed);
    assert_eq!((left.effect, left.record.removal), (None, None));
    let over = take(&record, &observed, 1000 + 30 * 60);
    assert_eq!(
        over.record.removal.as_ref().unwrap().cause,
        RemovalCause::Failed
    );
    // Which machine it is may be known only from the first observation.
    let unseen = Record {
        machine: None,
        ..record.clone()
    };
    let mut blind = observed.clone();
    blind.cloud = CloudView::Unseen;
    let waiting = take(&unseen, &blind, 1001);
    assert_eq!(waiting.situation, Situation::LeftFailed);
    // One that is gone anyway need not be waited for.
    observed.node = NodeView::Absent { fresh: true };
    observed.cloud = seen(missing(301), None);
    let gone = take(&record, &observed, 1301);
    assert_eq!(gone.situation, Situation::GivenUp);
}

#[test]
fn ambiguity_adopts_nothing() {
    let mut record = asked();
    record.creation.as_mut().unwrap().state = CreationState::Accepted;
    let mut observed = observed();
    observed.cloud = seen(
        MachineView::NotBound,
        Some(Resolution::Ambiguous(vec![
            InstanceId::new("a"),
            InstanceId::new("b"),
        ])),
    );
    let transition = take(&record, &observed, 1100);
    assert_eq!(transition.situation, Situation::Ambiguous(2));
    assert_eq!(transition.effect, None);
    let late = take(&record, &observed, 1000 + 600);
    assert_eq!(
        late.record.failure.unwrap().reason,
        FailureReason::AmbiguousCreate
    );
}

#[test]
fn a_ready_node_outweighs_a_listing_that_lacks_its_machine() {
    let mut observed = observed();
    observed.node = node(2, Cordon::None);
    observed.cloud = seen(missing(3600), None);
    for phase in [Phase::Joining, Phase::Ready] {
        let record = Record { phase, ..ready() };
        let transition = take(&record, &observed, 9000);
        assert_eq!(transition.record.phase, Phase::Ready);
        assert_eq!((transition.record.removal, transition.effect), (None, None));
    }
    assert_eq!(
        take(&ready(), &observed, 9000).situation,
        Situation::MachineUnlisted
    );
    let NodeView::Present(state) = &mut observed.node else {
        panic!()
    };
    state.ready = false;
    let transition = take(&ready(), &observed, 9000);
    assert_eq!(transition.situation, Situation::MachineVanished);
    observed.cloud = seen(missing(299), None);
    let transition = take(&ready(), &observed, 9000);
    assert_eq!(transition.situation, Situation::NodeNotReady, "too early");
}

#[test]
fn pods_on_a_ready_node_hold_it_at_the_last_step_too_whatever_the_listing_lacks() {
    let mut record = removing(RemovalCause::Deleted, RemovalStep::DeletingNode);
    record.deletion_requested = true;
    let mut observed = observed();
    observed.node = node(1, Cordon::Ours);
    observed.cloud = seen(missing(3600), None);
    for sent in [false, true] {
        record.removal.as_mut().unwrap().sent = sent;
        let transition = take(&record, &observed, 9000);
        assert_eq!(transition.effect, None);
        let step = transition.record.removal.unwrap().step;
        assert_eq!(step, RemovalStep::Cordoning);
    }
}

#[test]
fn a_node_that_registered_proves_that_its_machine_runs() {
    let record = Record {
        phase: Phase::Provisioning,
        node: None,
        ..ready()
    };
    let mut observed = observed();
    let mut building = instance();
    building.phase = InstancePhase::Creating;
    observed.cloud = seen(MachineView::Listed(building), None);
    let waiting = take(&record, &observed, 1010);
    assert_eq!(waiting.situation, Situation::MachineBuilding);
    observed.node = node(0, Cordon::None);
    let runs = take(&record, &observed, 1010);
    assert_eq!(runs.record.phase, Phase::Provisioned);
}

#[test]
fn a_machine_that_is_listed_again_after_it_counted_as_gone_is_deleted() {
    let mut record = removing(RemovalCause::Failed, RemovalStep::Gone);
    record.phase = Phase::Failed;
    record.failed_at = Some(at(2000));
    let mut observed = observed();
    observed.cloud = seen(missing(3600), None);
    let kept = take(&record, &observed, 2100);
    assert_eq!(kept.situation, Situation::KeepingEvidence);
    observed.cloud = seen(MachineView::Listed(instance()), None);
    for deletion_requested in [false, true] {
        record.deletion_requested = deletion_requested;
        let back = take(&record, &observed, 2100).record;
        let transition = take(&back, &observed, 2101);
        assert!(
            matches!(transition.effect, Some(Effect::DeleteMachine { .. })),
            "{transition:?}"
        );
    }
}

#[test]
fn a_record_is_not_gone_while_what_it_may_have_bought_is_listed_but_its_deletion_ends_it() {
    let mut record = asked();
    record.creation.as_mut().unwrap().state = CreationState::Accepted;
    record.phase = Phase::Failed;
    record.removal = Some(Removal {
        step: RemovalStep::DeletingMachine,
        ..Removal::new(RemovalCause::Failed, at(1600))
    });
    let mut observed = observed();
    let meant = vec![InstanceId::new("a"), InstanceId::new("b")];
    observed.cloud = seen(MachineView::NotBound, Some(Resolution::Ambiguous(meant)));
    let waiting = take(&record, &observed, 90_000).record;
    let removal = waiting.removal.as_ref().unwrap();
    assert_eq!(removal.step, RemovalStep::DeletingMachine);
    assert!(removal.message.contains("a, b"), "{}", removal.message);
    assert!(waiting.may_be_billed(), "it counts against the maximum");
    record.deletion_requested = true;
    let ended = take(&record, &observed, 90_000).record;
    assert!(ended.is_gone());
}

#[test]
fn a_request_of_an_earlier_version_ends_once_nothing_can_come_of_it() {
    let mut record = asked();
    record.creation.as_mut().unwrap().state = CreationState::Unknown;
    let mut observed = observed();
    observed.cloud = CloudView::Seen {
        started_at: at(1000 + 600),
        resolution: None,
        machine: MachineView::NotBound,
    };
    record = take(&record, &observed, 1000 + 600).record;
    assert_eq!(record.phase, Phase::Failed);
    record = take(&record, &observed, 1601).record;
    assert!(!take(&record, &observed, 1602).record.is_gone());
    observed.cloud = CloudView::Seen {
        started_at: at(1000 + 900),
        resolution: None,
        machine: MachineView::NotBound,
    };
    assert!(take(&record, &observed, 1900).record.is_gone());
}

#[test]
fn the_machine_of_a_kubelet_that_does_not_answer_goes_before_its_node() {
    let mut record = removing(RemovalCause::Deleted, RemovalStep::Draining);
    record.deletion_requested = true;
    let mut observed = observed();
    observed.node = unanswering(node(2, Cordon::Ours));
    observed.cloud = seen(MachineView::Listed(instance()), None);
    let fencing = take(&record, &observed, 2010).record;
    let fence = take(&fencing, &observed, 2011);
    let Some(Effect::DeleteMachine { proof, .. }) = &fence.effect else {
        panic!("{fence:?}")
    };
    assert_eq!(proof.name(), "Unreachable");
    assert_eq!(take(&fence.record, &observed, 2020).effect, None);
    observed.cloud = seen(missing(30), None);
    let Some(Effect::DeleteNode { proof, .. }) = take(&fence.record, &observed, 2060).effect else {
        panic!()
    };
    assert_eq!(proof.name(), "Vanished");

    // A pod that is not overdue, or a kubelet that answers, holds the machine.
    observed.cloud = seen(MachineView::Listed(instance()), None);
    let NodeView::Present(state) = &mut observed.node else {
        panic!()
    };
    (state.pods[0].terminating, state.pods[0].overdue) = (false, false);
    let held = take(&record, &observed, 2010);
    assert!(matches!(&held.effect, Some(Effect::Evict { pods }) if pods.len() == 1));
    state_ready(&mut observed);
    let held = take(&record, &observed, 2010).record.removal.unwrap();
    assert_eq!(
        (held.step, &*held.message),
        (
            RemovalStep::Draining,
            "waiting for pod default/p1, which should have ended long ago, and 1 more to leave"
        )
    );
}

fn state_ready(observed: &mut Observation) {
    let NodeView::Present(state) = &mut observed.node else {
        panic!()
    };
    state.ready = true;
}

#[test]
fn deleted_rows_that_stay_listed_end_a_removal_at_last() {
    let mut record = removing(RemovalCause::Deleted, RemovalStep::DeletingMachine);
    record.deletion_requested = true;
    record.removal.as_mut().unwrap().sent = true;
    let mut observed = observed();
    let mut deleted = instance();
    deleted.phase = InstancePhase::Deleting;
    observed.cloud = seen(MachineView::Listed(deleted), None);
    let transition = take(&record, &observed, 2000 + 899);
    assert_eq!(transition.effect, None, "not asked again");
    assert!(!transition.record.is_gone());
    assert!(take(&record, &observed, 2000 + 900).record.is_gone());
}

#[test]
fn what_a_human_uncordoned_loses_our_mark() {
    let mut observed = observed();
    observed.node = node(0, Cordon::Undone);
    let record = removing(RemovalCause::Empty, RemovalStep::Settling);
    let aborted = take(&record, &observed, 2010);
    assert_eq!(aborted.record.removal, None);
    assert!(matches!(aborted.effect, Some(Effect::Uncordon { .. })));
    let later = take(&ready(), &observed, 3000);
    assert!(matches!(later.effect, Some(Effect::Uncordon { .. })));
}

#[test]
fn what_a_lowered_maximum_leaves_no_room_for_is_given_up_at_once_and_the_others_wait_for_that() {
    let record = Record {
        created_at: Some(at(1000)),
        ..Record::new()
    };
    let may_ask = observed();
    let mut observed = may_ask.clone();
    observed.create.room = GroupRoom::Overfull;
    let waits = take(&record, &observed, 1001);
    assert_eq!((waits.record.phase, waits.effect), (Phase::Pending, None));
    observed.create.room = GroupRoom::Surplus;
    let given_up = take(&record, &observed, 1001).record;
    assert_eq!(
        given_up.failure.unwrap().reason,
        FailureReason::GroupUnusable
    );
    // A request that is open is waited for all the same: its machine may come.
    let asked = take(&record, &may_ask, 1001).record;
    assert_eq!(take(&asked, &observed, 1002).record.failure, None);
}

#[test]
fn a_machine_that_cannot_be_asked_for_any_more_is_given_up() {
    let record = Record {
        created_at: Some(at(1000)),
        ..Record::new()
    };
    let mut observed = observed();
    observed.create.group_usable = false;
    assert_eq!(
        take(&record, &observed, 1599).situation,
        Situation::GroupUnusable
    );
    let given_up = take(&record, &observed, 1600).record;
    assert_eq!(
        given_up.failure.unwrap().reason,
        FailureReason::GroupUnusable
    );
}

#[test]
fn a_node_that_cannot_be_given_its_labels_is_given_up_at_the_deadline() {
    let record = Record {
        phase: Phase::Joining,
        ready_at: None,
        ..ready()
    };
    let mut observed = observed();
    let NodeView::Present(mut state) = node(0, Cordon::None) else {
        panic!()
    };
    state.metadata_applied = false;
    observed.node = NodeView::Present(state);
    assert_eq!(
        take(&record, &observed, 1999).situation,
        Situation::NodeBare
    );
    let late = take(&record, &observed, 1100 + 900);
    assert!(matches!(late.situation, Situation::JoiningOverdue(_)));
}

#[test]
fn the_table_answers_every_situation_in_every_phase_and_terminating_is_absorbing() {
    for phase in Phase::ALL {
        for situation in Situation::examples() {
            let (next, action) = transition(phase, &situation);
            if matches!(phase, Phase::Terminating | Phase::Deleting) {
                assert!(
                    matches!(next, Phase::Terminating | Phase::Deleting),
                    "{phase:?} {situation:?}"
                );
            }
            // Only the two asking phases may ask, and nothing asks on a guess.
            if action == Action::Ask {
                assert!(matches!(phase, Phase::Pending | Phase::Provisioning));
                assert!(matches!(
                    situation,
                    Situation::MayAsk | Situation::ProvenAbsent
                ));
            }
            if phase == Phase::Failed {
                assert_eq!(next, Phase::Failed);
            }
        }
    }
}

#[test]
fn an_object_made_for_a_machine_that_is_there_takes_it_into_service() {
    let mut record = Record {
        phase: Phase::Pending,
        node: None,
        ..Record::new()
    };
    record.machine = ready().machine;
    let mut observed = observed();
    observed.cloud = seen(MachineView::Listed(instance()), None);
    observed.node = node(0, Cordon::None);
    observed.create.group_usable = false;
    for phase in [Phase::Provisioning, Phase::Provisioned, Phase::Ready] {
        record = take(&record, &observed, 2000).record;
        assert_eq!(record.phase, phase);
    }
    assert_eq!(record.ready_at, Some(at(2000)));
}
