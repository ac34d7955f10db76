//! Draining a node that has pods, and everything that ends or holds a removal before the point of no
//! return; and the audit, which refuses steps that nobody should ever decide.

use std::time::Duration;

use model::{InstancePhase, NodeName, PodKey, Uid};
use planner::{
    audit,
    lifecycle::{
        Cordon, Effect, Hold, NodeState, NodeView, Observation, Phase, Record, RemovalCause,
        RemovalStep, Situation, Transition,
    },
};
use proptest::prelude::*;

use crate::machine::{
    at, instance, missing, node, observed, ready, removing, seen, take, unanswering,
};
use planner::lifecycle::MachineView;

fn state(observed: &mut Observation) -> &mut NodeState {
    let NodeView::Present(state) = &mut observed.node else {
        panic!("no node")
    };
    state
}

fn with_pods(priorities: &[i32]) -> Observation {
    let mut observed = observed();
    observed.node = node(priorities.len(), Cordon::Ours);
    observed.cloud = seen(MachineView::Listed(instance()), None);
    for (pod, priority) in state(&mut observed).pods.iter_mut().zip(priorities) {
        pod.priority = *priority;
    }
    observed
}

fn evicted(transition: &Transition) -> Vec<&str> {
    match &transition.effect {
        Some(Effect::Evict { pods }) => pods.iter().map(|(pod, _)| &*pod.name).collect(),
        _ => Vec::new(),
    }
}

const EVERY_STEP: [RemovalStep; 4] = [
    RemovalStep::Cordoning,
    RemovalStep::Settling,
    RemovalStep::Draining,
    RemovalStep::Detaching,
];

#[test]
fn an_underutilized_node_is_drained_band_by_band_and_given_up_only_once_all_have_left() {
    let mut observed = with_pods(&[100, 0, 0, 7]);
    let record = removing(RemovalCause::Underutilized, RemovalStep::Settling);
    let first = take(&record, &observed, 2010);
    assert_eq!(evicted(&first), ["p1", "p2"]);
    // One of them has left, the other is on its way: nobody of a higher priority is asked yet.
    state(&mut observed).pods.remove(1);
    state(&mut observed).pods[1].terminating = true;
    let waits = take(&first.record, &observed, 2015);
    assert_eq!(waits.effect, None);
    assert_eq!(
        waits.record.removal.as_ref().unwrap().message,
        "waiting for pod default/p0 and 2 more to leave"
    );
    state(&mut observed).pods.remove(1);
    let second = take(&waits.record, &observed, 2020);
    assert_eq!(evicted(&second), ["p3"]);
    state(&mut observed).pods.pop();
    let third = take(&second.record, &observed, 2025);
    assert_eq!(evicted(&third), ["p0"]);
    state(&mut observed).pods.clear();
    let empty = take(&third.record, &observed, 2030);
    assert_eq!(empty.effect, Some(Effect::DeleteRecord));
    assert_eq!(empty.record.phase, Phase::Terminating);
}

#[test]
fn whatever_speaks_against_a_voluntary_removal_ends_it_at_every_step_before_the_last() {
    type Change = Box<dyn Fn(&mut Observation)>;
    let changes: Vec<(&str, Change)> = vec![
        (
            "AtMinimum",
            Box::new(|o| o.keep = Some("AtMinimum: x".into())),
        ),
        (
            "Paused",
            Box::new(|o| {
                o.hold = Some(Hold {
                    why: "Paused: x".into(),
                    takes_back: true,
                });
            }),
        ),
    ];
    for (what, change) in changes {
        for step in EVERY_STEP {
            let mut observed = with_pods(&[0]);
            change(&mut observed);
            let aborted = take(
                &removing(RemovalCause::Underutilized, step),
                &observed,
                2010,
            );
            assert_eq!(aborted.record.removal, None, "{what} {step:?}");
            assert!(aborted.aborted.as_ref().unwrap().starts_with(what));
            assert!(matches!(aborted.effect, Some(Effect::Uncordon { .. })));
        }
    }
    // A human uncordoned it: our mark goes, the node stays.
    for step in &EVERY_STEP[1..] {
        let mut observed = with_pods(&[0]);
        state(&mut observed).cordon = Cordon::Undone;
        let aborted = take(
            &removing(RemovalCause::Underutilized, *step),
            &observed,
            2010,
        );
        assert_eq!(aborted.record.removal, None);
    }
}

#[test]
fn a_drain_past_its_deadline_is_taken_back_and_uncordoned_and_an_ordered_one_is_not() {
    let mut observed = with_pods(&[0]);
    state(&mut observed).pods[0].terminating = true;
    let record = removing(RemovalCause::Underutilized, RemovalStep::Draining);
    assert_eq!(take(&record, &observed, 2000 + 899).aborted, None);
    let aborted = take(&record, &observed, 2000 + 900);
    assert_eq!(
        aborted.aborted.as_deref(),
        Some("not drained within 900 s: waiting for pod default/p0 to leave")
    );
    assert!(matches!(aborted.effect, Some(Effect::Uncordon { .. })));
    let mut ordered = removing(RemovalCause::Deleted, RemovalStep::Draining);
    ordered.deletion_requested = true;
    let waits = take(&ordered, &observed, 2000 + 90_000);
    assert!(waits.record.removal.is_some());
    assert_eq!(waits.effect, None, "it was asked to leave");
}

#[test]
fn volumes_are_waited_for_and_only_an_ordered_removal_goes_on_without_them() {
    let mut observed = with_pods(&[]);
    state(&mut observed).attached = vec!["pv-1".into(), "pv-2".into()];
    let record = removing(RemovalCause::Underutilized, RemovalStep::Draining);
    let waits = take(&record, &observed, 2100).record;
    let removal = waits.removal.as_ref().unwrap();
    assert_eq!(removal.step, RemovalStep::Detaching);
    assert_eq!(
        removal.message,
        "waiting for volume pv-1 and 1 more to be detached"
    );
    assert_eq!(take(&waits, &observed, 2100 + 400).effect, None);
    let aborted = take(&waits, &observed, 2000 + 900);
    assert_eq!(
        aborted.aborted.as_deref(),
        Some("not drained within 900 s: waiting for volume pv-1 and 1 more to be detached")
    );
    let mut ordered = removing(RemovalCause::Deleted, RemovalStep::Draining);
    ordered.deletion_requested = true;
    ordered = take(&ordered, &observed, 2100).record;
    let still = take(&ordered, &observed, 2100 + 359).record;
    assert_eq!(still.removal.unwrap().step, RemovalStep::Detaching);
    let on = take(&ordered, &observed, 2100 + 360).record;
    assert_eq!(on.removal.unwrap().step, RemovalStep::DeletingNode);
    // A pod that lands meanwhile is asked to leave first.
    observed = with_pods(&[0]);
    assert_eq!(evicted(&take(&waits, &observed, 2110)), ["p0"]);
}

#[test]
fn while_something_holds_all_removals_nothing_is_destroyed_and_what_was_ordered_waits() {
    let hold = |takes_back| {
        Some(Hold {
            why: "ClusterUnhealthy: 5 of 10 nodes are not Ready".into(),
            takes_back,
        })
    };
    for cause in RemovalCause::ALL {
        for step in RemovalStep::ALL {
            for cordon in [Cordon::None, Cordon::Ours] {
                let mut record = removing(cause, step);
                let ordered = matches!(cause, RemovalCause::Deleted | RemovalCause::Failed);
                record.deletion_requested = ordered || step.is_final();
                if step.is_final() {
                    record.phase = Phase::Terminating;
                }
                let mut observed = with_pods(&[0]);
                state(&mut observed).cordon = cordon;
                for takes_back in [false, true] {
                    observed.hold = hold(takes_back);
                    let held = take(&record, &observed, 2010);
                    let effect = held.effect.as_ref();
                    assert!(
                        !effect.is_some_and(Effect::is_destructive),
                        "{cause:?} {step:?} {effect:?}"
                    );
                    let gone = held.record.removal.is_none();
                    if takes_back {
                        assert_eq!(gone, !ordered && !step.is_final());
                    }
                }
            }
        }
    }
}

#[test]
fn a_node_that_stays_not_ready_is_replaced_once_its_group_can_do_without_it() {
    let mut observed = with_pods(&[]);
    observed.node = node(0, Cordon::None);
    state(&mut observed).ready = false;
    state(&mut observed).ready_since = Some(at(2000));
    let noticed = take(&ready(), &observed, 2010);
    assert_eq!(noticed.situation, Situation::NodeNotReady);
    assert_eq!(noticed.record.unhealthy_since, Some(at(2000)));
    assert!(!noticed.record.unhealthy);
    let late = 2000 + 900;
    observed.replace_later = Some("its replacement is awaited".into());
    let awaits = take(&noticed.record, &observed, late);
    assert!(awaits.record.unhealthy && awaits.record.removal.is_none());
    observed.replace_later = None;
    let begun = take(&awaits.record, &observed, late);
    assert_eq!(
        begun.record.removal.as_ref().unwrap().cause,
        RemovalCause::Unhealthy
    );
    // It comes back: it stays.
    observed.node = node(0, Cordon::Ours);
    let back = take(&begun.record, &observed, late + 5);
    assert_eq!(back.aborted.as_deref(), Some("the node is Ready again"));
    let healed = take(&back.record, &observed, late + 10).record;
    assert_eq!((healed.unhealthy, healed.unhealthy_since), (false, None));
    // It does not: its pods are asked to leave, and its machine goes before its Node.
    observed.node = node(1, Cordon::Ours);
    state(&mut observed).ready = false;
    let mut record = begun.record;
    record.removal.as_mut().unwrap().step = RemovalStep::Draining;
    let asked = take(&record, &observed, late + 20);
    assert_eq!(evicted(&asked), ["p0"]);
    observed.node = unanswering(observed.node);
    let decided = take(&asked.record, &observed, late + 200);
    assert_eq!(decided.effect, Some(Effect::DeleteRecord));
    let mut record = decided.record;
    record.deletion_requested = true;
    let fenced = take(&record, &observed, late + 201);
    assert!(matches!(fenced.effect, Some(Effect::DeleteMachine { .. })));
}

#[test]
fn a_missing_node_and_a_start_that_never_ends_are_unhealthy_after_their_time() {
    let mut observed = observed();
    observed.cloud = seen(MachineView::Listed(instance()), None);
    let noticed = take(&ready(), &observed, 2000).record;
    assert_eq!(
        take(&noticed, &observed, 2000 + 899).situation,
        Situation::NodeMissing
    );
    let late = take(&noticed, &observed, 2000 + 900);
    assert_eq!(
        late.record.removal.as_ref().unwrap().cause,
        RemovalCause::Unhealthy
    );
    let given_up = take(&late.record, &observed, 2000 + 901);
    assert_eq!(given_up.effect, Some(Effect::DeleteRecord));

    observed.node = node(0, Cordon::None);
    state(&mut observed).starting = vec!["cni".into()];
    let noticed = take(&ready(), &observed, 2000).record;
    assert_eq!(
        take(&noticed, &observed, 2000 + 1799).situation,
        Situation::NodeReady
    );
    assert_eq!(
        take(&noticed, &observed, 2000 + 1800).situation,
        Situation::NodeUnhealthy("node node-1 still has startup taint cni".into())
    );
}

#[test]
fn a_forced_deletion_takes_the_machine_at_its_time_and_records_since_when() {
    let mut observed = with_pods(&[0]);
    observed.force_after = Some(Duration::from_mins(10));
    let mut record = removing(RemovalCause::Deleted, RemovalStep::Draining);
    let unordered = removing(RemovalCause::Underutilized, RemovalStep::Draining);
    assert_eq!(
        take(&unordered, &observed, 2600)
            .record
            .removal
            .unwrap()
            .forced_at,
        None,
        "only who deletes the object can order it"
    );
    record.deletion_requested = true;
    assert_eq!(evicted(&take(&record, &observed, 2599)), ["p0"]);
    let forced = take(&record, &observed, 2600).record;
    let removal = forced.removal.as_ref().unwrap();
    assert_eq!(removal.forced_at, Some(at(2600)));
    assert_eq!(removal.step, RemovalStep::DeletingNode);
    let delete = take(&forced, &observed, 2601);
    let Some(Effect::DeleteMachine { proof, .. }) = &delete.effect else {
        panic!("{delete:?}")
    };
    assert_eq!(proof.name(), "Forced");
    // Gone by proof, its Node goes, too, pods or not.
    observed.cloud = seen(missing(400), None);
    state(&mut observed).ready = false;
    let last = take(&delete.record, &observed, 3100);
    assert!(matches!(last.effect, Some(Effect::DeleteNode { .. })));
}

/// A step that nobody decided.
fn forged(record: &Record, effect: Effect) -> Transition {
    let mut transition = take(&ready(), &observed(), 2000);
    transition.record = record.clone();
    transition.effect = Some(effect);
    transition
}

#[test]
fn the_audit_refuses_each_step_that_breaks_a_rule_and_names_it() {
    let name = || NodeName::new("node-1");
    let uid = || Uid::new("u1");
    let evict = |uid: &str| Effect::Evict {
        pods: vec![(PodKey::new("default", "p0"), Uid::new(uid))],
    };
    // A right one of each to begin with.
    let proof = {
        let mut record = removing(RemovalCause::Deleted, RemovalStep::DeletingNode);
        record.deletion_requested = true;
        let observed = with_pods(&[]);
        match take(&record, &observed, 2010).effect {
            Some(Effect::DeleteNode { proof, .. }) => proof,
            other => panic!("{other:?}"),
        }
    };
    let delete_node = |uid: Uid| Effect::DeleteNode {
        node: name(),
        uid,
        proof: proof.clone(),
    };
    let delete_machine = |id: &str, host: &str| Effect::DeleteMachine {
        instance: id.into(),
        hostname: model::Hostname::new(host),
        proof: proof.clone(),
    };
    let draining = removing(RemovalCause::Underutilized, RemovalStep::Draining);
    let mut ending = removing(RemovalCause::Deleted, RemovalStep::DeletingMachine);
    ending.deletion_requested = true;
    let serving = ready();
    let full = with_pods(&[0]);
    let empty = with_pods(&[]);
    let changed = |from: &Observation, change: &dyn Fn(&mut Observation)| {
        let mut observed = from.clone();
        change(&mut observed);
        observed
    };
    let gone = changed(&empty, &|o| o.node = NodeView::Absent { fresh: true });
    let cases: Vec<(&str, &Record, Observation, Effect)> = vec![
        ("S7/S15 by another UID", &draining, full.clone(), evict("9")),
        (
            "S12 before the cordon",
            &draining,
            changed(&full, &|o| state(o).cordon = Cordon::None),
            evict("0"),
        ),
        (
            "S8 although a refusal stands",
            &draining,
            changed(&full, &|o| o.keep = Some("Protected: x".into())),
            evict("0"),
        ),
        (
            "S10 on facts that are not fresh",
            &draining,
            changed(&full, &|o| state(o).fresh = false),
            evict("0"),
        ),
        (
            "S20 while all is held",
            &draining,
            changed(&full, &|o| {
                o.hold = Some(Hold {
                    why: "Paused".into(),
                    takes_back: true,
                });
            }),
            evict("0"),
        ),
        (
            "S6 with a pod on it",
            &ending,
            full.clone(),
            delete_node(uid()),
        ),
        (
            "S15 of another Node",
            &ending,
            empty.clone(),
            delete_node(Uid::new("u2")),
        ),
        (
            "S5 another machine",
            &ending,
            gone.clone(),
            delete_machine("m2", "node-1"),
        ),
        (
            "S5 another name",
            &ending,
            gone.clone(),
            delete_machine("m1", "node-2"),
        ),
        (
            "S6 with its Node there",
            &ending,
            full.clone(),
            delete_machine("m1", "node-1"),
        ),
        (
            "S10 its Node not looked for",
            &ending,
            changed(&gone, &|o| o.node = NodeView::Absent { fresh: false }),
            delete_machine("m1", "node-1"),
        ),
        (
            "S3 before the point of no return",
            &draining,
            gone.clone(),
            delete_machine("m1", "node-1"),
        ),
        (
            "S6 a record with pods",
            &draining,
            full.clone(),
            Effect::DeleteRecord,
        ),
        (
            "S14 not gone",
            &ending,
            gone.clone(),
            Effect::RemoveFinalizer,
        ),
        (
            "S12 a human's cordon",
            &serving,
            changed(&empty, &|o| state(o).cordon = Cordon::Human),
            Effect::Uncordon {
                node: name(),
                uid: uid(),
            },
        ),
    ];
    for (what, record, observed, effect) in cases {
        let refused = audit::step(record, &observed, &forged(record, effect)).unwrap_err();
        assert!(what.contains(refused.rule), "{what}: {refused}");
    }
    let mut back = forged(&ready(), Effect::EnsurePool);
    back.effect = None;
    let refused = audit::step(&ending, &gone, &back).unwrap_err();
    assert_eq!(refused.rule, "S12", "{refused}");
}

prop_compose! {
    fn any_observation()(
        pods in prop::collection::vec((0..3i32, any::<bool>(), any::<bool>()), 0..4),
        cordon in prop::sample::select(vec![Cordon::None, Cordon::Undone, Cordon::Ours, Cordon::Human]),
        ready in any::<bool>(),
        fresh in any::<bool>(),
        present in 0..4u8,
        attached in 0..2usize,
        keep in any::<bool>(),
        hold in 0..4u8,
        force in 0..3u8,
        machine in 0..4u8,
    ) -> Observation {
        let mut observed = observed();
        observed.cloud = match machine {
            0 => seen(MachineView::Listed(instance()), None),
            1 => seen(missing(10), None),
            2 => seen(missing(4000), None),
            _ => {
                let mut deleted = instance();
                deleted.phase = InstancePhase::Deleting;
                seen(MachineView::Listed(deleted), None)
            }
        };
        observed.node = node(pods.len(), cordon);
        let state = state(&mut observed);
        (state.ready, state.fresh) = (ready, fresh);
        state.attached = vec!["pv".into(); attached];
        for (pod, (priority, terminating, overdue)) in state.pods.iter_mut().zip(pods) {
            pod.priority = priority;
            pod.terminating = terminating || overdue;
            pod.overdue = overdue;
        }
        if present == 0 {
            observed.node = NodeView::Absent { fresh };
        }
        observed.keep = keep.then(|| "NoPlace".into());
        observed.hold = (hold < 2).then(|| Hold { why: "Paused".into(), takes_back: hold == 0 });
        observed.force_after = (force == 0).then_some(Duration::from_mins(1));
        observed
    }
}

proptest! {
    /// Whatever is seen, in whatever order: no step is refused by the audit, and no Node goes with a
    /// pod on it unless its machine is gone, lost or was ordered away.
    #[test]
    fn no_step_of_any_history_is_refused_by_the_audit(
        cause in prop::sample::select(RemovalCause::ALL.to_vec()),
        history in prop::collection::vec((any_observation(), 1..400i64, any::<bool>()), 1..40),
    ) {
        let mut record = removing(cause, RemovalStep::Cordoning);
        record.deletion_requested = cause == RemovalCause::Deleted;
        let mut now = 2000;
        for (observed, pause, delete) in history {
            now += pause;
            let transition = take(&record, &observed, now);
            if let Some(Effect::DeleteNode { proof, .. }) = &transition.effect
                && let NodeView::Present(state) = &observed.node
            {
                prop_assert!(state.pods.is_empty() || proof.name() == "Vanished");
            }
            record = transition.record;
            if transition.effect == Some(Effect::DeleteRecord) || (delete && pause < 20) {
                record.deletion_requested = true;
            }
            if transition.effect == Some(Effect::RemoveFinalizer) {
                break;
            }
        }
    }
}
