//! Which empty node goes: one rule at a time, and the laws that hold for any mix of them.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use model::{GroupKey, HourlyPrice, NodeName, PodKey};
use planner::removal::empty::{Candidate, Group, Input, Refusal, plan, still_removable};
use proptest::prelude::*;
use rust_decimal::Decimal;

const WINDOW: Duration = Duration::from_mins(10);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn key(name: &str) -> GroupKey {
    GroupKey::new("kube-system", name)
}

fn group() -> Group {
    Group {
        min_nodes: 1,
        ready_nodes: 3,
        enabled: true,
        window: WINDOW,
        cooldown: WINDOW,
        last_scaled_at: Some(at(0)),
        in_flight: 0,
        deleting: false,
    }
}

fn candidate(name: &str) -> Candidate {
    Candidate {
        machine: format!("kube-system/{name}"),
        node: NodeName::new(name),
        group: key("g"),
        ready_at: Some(at(0)),
        unneeded_since: Some(at(400)),
        pods: vec![],
        protected_by: None,
        allowed_hours: None,
        startup_taints: vec![],
        awaited_by: None,
        savings: Some(HourlyPrice::new(Decimal::new(10, 2))),
        removing: false,
    }
}

fn input(candidates: Vec<Candidate>) -> Input {
    Input {
        now: at(1000),
        groups: BTreeMap::from([(key("g"), group())]),
        candidates,
        targeted_delete: true,
    }
}

fn removed(input: &Input) -> Option<String> {
    plan(input).0.remove
}

#[test]
fn a_node_that_was_empty_for_the_whole_window_goes_exactly_then() {
    let mut input = input(vec![candidate("n1")]);
    assert_eq!(removed(&input).as_deref(), Some("kube-system/n1"));
    input.now = at(999);
    let (plan, report) = plan(&input);
    assert_eq!(plan.remove, None);
    assert_eq!(plan.look_again_at, Some(at(1000)));
    assert_eq!(
        report[&NodeName::new("n1")],
        [Refusal::WindowNotOver { until: at(1000) }]
    );
}

#[test]
fn each_thing_that_forbids_it_keeps_the_node_and_is_named() {
    type Spoil = fn(&mut Input);
    let pod = || PodKey::new("default", "p");
    let cases: Vec<(Spoil, Refusal)> = vec![
        (
            |input| input.candidates[0].pods = vec![PodKey::new("default", "p")],
            Refusal::NotEmpty(pod()),
        ),
        (
            |input| input.groups.get_mut(&key("g")).unwrap().min_nodes = 3,
            Refusal::AtMinimum { min_nodes: 3 },
        ),
        (
            |input| input.groups.get_mut(&key("g")).unwrap().last_scaled_at = Some(at(500)),
            Refusal::CooldownActive { until: at(1100) },
        ),
        (
            |input| input.candidates[0].ready_at = Some(at(401)),
            Refusal::NodeTooYoung { until: at(1001) },
        ),
        (
            |input| input.candidates[0].ready_at = None,
            Refusal::NodeTooYoung { until: at(1600) },
        ),
        (
            |input| input.groups.get_mut(&key("g")).unwrap().in_flight = 1,
            Refusal::ScaleUpInProgress,
        ),
        (
            |input| input.groups.get_mut(&key("g")).unwrap().enabled = false,
            Refusal::ScaleDownDisabled,
        ),
        (
            |input| input.candidates[0].protected_by = Some("a label".into()),
            Refusal::Protected {
                by: "a label".into(),
            },
        ),
        (
            |input| input.candidates[0].allowed_hours = Some("22:00-06:00".into()),
            Refusal::AllowedHoursNotEvaluated {
                hours: "22:00-06:00".into(),
            },
        ),
        (
            |input| input.candidates[0].startup_taints = vec!["cni:NoSchedule".into()],
            Refusal::StartupTaints("cni:NoSchedule".into()),
        ),
        (
            |input| input.candidates[0].awaited_by = Some(PodKey::new("default", "p")),
            Refusal::NominatedPod(pod()),
        ),
        (
            |input| input.groups.get_mut(&key("g")).unwrap().deleting = true,
            Refusal::GroupDeleting,
        ),
        (|input| input.groups.clear(), Refusal::GroupUnmanaged),
        (
            |input| input.targeted_delete = false,
            Refusal::TargetedDeleteUnsupported,
        ),
        (
            |input| {
                let mut other = candidate("n0");
                other.removing = true;
                input.candidates.push(other);
            },
            Refusal::RemovalInProgress("kube-system/n0".into()),
        ),
    ];
    for (spoil, expected) in cases {
        let mut input = input(vec![candidate("n1")]);
        spoil(&mut input);
        let (plan, report) = plan(&input);
        assert_eq!(plan.remove, None, "{expected}");
        assert_eq!(report[&NodeName::new("n1")], [expected]);
    }
}

#[test]
fn the_most_money_goes_first_then_the_longest_empty_then_the_name() {
    let mut dear = candidate("n3");
    dear.savings = Some(HourlyPrice::new(Decimal::new(38, 2)));
    let mut long = candidate("n2");
    long.unneeded_since = Some(at(300));
    let mut unknown = candidate("n0");
    unknown.savings = None;
    let mut candidates = vec![unknown, candidate("n1"), long, dear];
    let mut order = vec![];
    while !candidates.is_empty() {
        let mut input = input(candidates.clone());
        input.groups.get_mut(&key("g")).unwrap().min_nodes = 0;
        let next = removed(&input).unwrap();
        candidates.retain(|candidate| candidate.machine != next);
        order.push(next.trim_start_matches("kube-system/").to_owned());
    }
    assert_eq!(order, ["n3", "n2", "n1", "n0"]);
}

#[test]
fn a_window_is_recorded_before_it_counts_and_a_pod_breaks_it() {
    let mut fresh = candidate("n1");
    fresh.unneeded_since = None;
    let mut input = input(vec![fresh]);
    input.groups.get_mut(&key("g")).unwrap().window = Duration::ZERO;
    let (begun, _) = plan(&input);
    assert_eq!(begun.window_started, ["kube-system/n1"]);
    assert_eq!(begun.remove, None, "not even a window of nothing");
    input.candidates[0].unneeded_since = Some(at(1000));
    assert!(removed(&input).is_some());
    input.candidates[0].pods = vec![PodKey::new("default", "p")];
    let (broken, _) = plan(&input);
    assert_eq!(broken.window_broken, ["kube-system/n1"]);
    assert_eq!(broken.remove, None);
}

#[test]
fn a_window_or_cooldown_beyond_the_end_of_time_never_ends() {
    let mut endless = input(vec![candidate("n1")]);
    endless.groups.get_mut(&key("g")).unwrap().window = Duration::MAX;
    assert_eq!(removed(&endless), None);
    let mut endless = input(vec![candidate("n1")]);
    endless.groups.get_mut(&key("g")).unwrap().cooldown = Duration::MAX;
    assert_eq!(removed(&endless), None);
}

#[test]
fn a_start_that_lies_in_the_future_is_no_window() {
    let mut input = input(vec![candidate("n1")]);
    input.candidates[0].unneeded_since = Some(at(5000));
    assert_eq!(removed(&input), None);
}

#[test]
fn while_a_node_settles_its_own_removal_and_window_do_not_speak_against_it() {
    let mut input = input(vec![candidate("n1")]);
    input.candidates[0].removing = true;
    let facts = input.groups.get_mut(&key("g")).unwrap();
    // It is not among the Ready ones any more, and the group scaled just now: by this removal.
    facts.ready_nodes = 1;
    facts.last_scaled_at = Some(at(1000));
    assert_eq!(still_removable(&input, "kube-system/n1"), Ok(()));
    input.groups.get_mut(&key("g")).unwrap().ready_nodes = 0;
    assert_eq!(
        still_removable(&input, "kube-system/n1"),
        Err(Refusal::AtMinimum { min_nodes: 1 })
    );
    assert_eq!(
        still_removable(&input, "kube-system/ghost"),
        Err(Refusal::GroupUnmanaged)
    );
}

prop_compose! {
    fn any_candidate(index: usize)(
        group in 0..2_usize,
        ready in prop::option::of(0..1000_i64), unneeded in prop::option::of(0..1000_i64),
        pods in prop::option::weighted(0.3, Just(PodKey::new("default", "p"))),
        protected in prop::bool::weighted(0.1), removing in prop::bool::weighted(0.05),
        savings in prop::option::of(0..100_i64),
    ) -> Candidate {
        Candidate {
            group: key(["g", "h"][group]),
            ready_at: ready.map(at),
            unneeded_since: unneeded.map(at),
            pods: pods.into_iter().collect(),
            protected_by: protected.then(|| "a label".into()),
            removing,
            savings: savings.map(|cents| HourlyPrice::new(Decimal::new(cents, 2))),
            ..candidate(&format!("n{index}"))
        }
    }
}

proptest! {
    #[test]
    fn what_is_taken_is_empty_unprotected_old_enough_and_above_the_minimum(
        a in any_candidate(0), b in any_candidate(1), c in any_candidate(2), d in any_candidate(3),
        window in 0..900_u64, cooldown in 0..900_u64, scaled in prop::option::of(0..1000_i64),
        min in 0..4_u32,
    ) {
        let candidates = vec![a, b, c, d];
        let mut groups = BTreeMap::new();
        for name in ["g", "h"] {
            let ready = candidates.iter().filter(|x| x.group == key(name) && !x.removing).count();
            groups.insert(key(name), Group {
                min_nodes: min,
                ready_nodes: u32::try_from(ready).unwrap(),
                window: Duration::from_secs(window),
                cooldown: Duration::from_secs(cooldown),
                last_scaled_at: scaled.map(at),
                ..group()
            });
        }
        let input = Input { now: at(1000), groups, candidates, targeted_delete: true };
        let (chosen, report) = plan(&input);
        prop_assert_eq!(plan(&input), (chosen.clone(), report.clone()));
        let waited = |since: Option<Timestamp>, wait: u64| {
            since.is_some_and(|since| (1000 - since.as_second()).unsigned_abs() >= wait)
        };
        for candidate in &input.candidates {
            let taken = chosen.remove.as_deref() == Some(&*candidate.machine);
            // Everybody is taken, being removed, refused with a reason, or next in turn.
            prop_assert!(!(taken && report.contains_key(&candidate.node)));
            if taken {
                prop_assert!(candidate.pods.is_empty() && candidate.protected_by.is_none());
                prop_assert!(waited(candidate.unneeded_since, window));
                prop_assert!(waited(candidate.ready_at, cooldown));
                prop_assert!(scaled.is_none() || waited(scaled.map(at), cooldown));
                prop_assert!(input.groups[&candidate.group].ready_nodes > min);
                prop_assert!(!input.candidates.iter().any(|other| other.removing));
            }
        }
    }
}
