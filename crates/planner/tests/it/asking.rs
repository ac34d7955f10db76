//! Asking for a machine and finding it: requests that are never made twice, answers that are lost,
//! what may be another's, and what cannot be asked for any more.

use std::collections::BTreeSet;

use model::{InstanceId, InstancePhase, PoolId, Resolution};
use planner::lifecycle::{
    CloudView, Cordon, CreationState, Effect, FailureReason, GroupRoom, MachineView, Observation,
    Phase, PoolView, Record, Removal, RemovalCause, RemovalStep, Situation, answered,
};

use crate::machine::{asked, at, instance, node, observed, ready, seen, take};

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
