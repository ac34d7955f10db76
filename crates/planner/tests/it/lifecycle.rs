//! The steps of one machine, from its node to its removal.

use std::time::Duration;

use model::{InstanceId, InstancePhase, Resolution};
use planner::lifecycle::{
    Action, CloudView, Cordon, Effect, FailureReason, MachineView, NodeView, Observation, Phase,
    Record, RemovalCause, RemovalStep, Situation, transition,
};

use crate::machine::{
    at, instance, missing, node, observed, ready, removing, seen, take, unanswering,
};

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
