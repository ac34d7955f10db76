//! Evidence over time, and what must not have changed while a removal goes on.

use std::time::Duration;

use model::{PodRole, Usage};
use planner::removal::simulation::Reason;

use super::*;

fn case() -> Case {
    Case::of(&["n1"]).foreign("host").runs("p", "n1", 100)
}

#[test]
fn a_window_is_begun_once_and_broken_once_and_no_sample_is_written_between() {
    let mut case = case();
    case.on("n1").unneeded_since = None;
    let (begun, _) = case.plan();
    assert_eq!(begun.window_started, ["kube-system/n1"]);
    assert_eq!(begun.remove, []);
    assert_eq!(begun.look_again_at, Some(at(1600)));
    // Recorded: nothing is written while it runs, whatever is measured.
    case.on("n1").unneeded_since = Some(at(1000));
    for second in [1000, 1001, 1300, 1599] {
        case.now = at(second);
        case.disruption.usage.insert(
            "n1".into(),
            Usage {
                cpu_milli: second % 500,
                memory: 0,
                at: at(second),
            },
        );
        let (between, _) = case.plan();
        assert_eq!(between.window_started, [""; 0]);
        assert_eq!(between.window_broken, [""; 0]);
        assert_eq!(between.remove, []);
        assert_eq!(between.look_again_at, Some(at(1600)));
    }
    let busy = case.clone().runs("q", "n1", 400);
    let (broken, _) = busy.plan();
    assert_eq!(broken.window_broken, ["kube-system/n1"]);
    // And written no second time.
    let (after, _) = busy.with(|case| case.on("n1").unneeded_since = None).plan();
    assert_eq!(after.window_broken, [""; 0]);
    case.now = at(1600);
    assert_eq!(case.removed(), ["n1"]);
}

#[test]
fn a_node_that_is_not_ready_and_one_that_is_not_ours_have_no_window() {
    let broken = case().with(|case| case.node("n1").ready = false).plan().0;
    assert_eq!(broken.window_broken, ["kube-system/n1"]);
    let unmanaged = case().with(|case| case.on("n1").managed = false).plan().0;
    assert_eq!(unmanaged.window_broken, [""; 0]);
    let foreign = case().with(|case| case.on("host").unneeded_since = None);
    assert_eq!(foreign.plan().0.window_started, [""; 0]);
}

#[test]
fn a_group_that_is_paused_or_disabled_gathers_evidence_all_the_same() {
    let paused = case().with(|case| {
        case.group().paused = true;
        case.group().enabled = false;
        case.on("n1").unneeded_since = None;
    });
    assert_eq!(paused.plan().0.window_started, ["kube-system/n1"]);
}

#[test]
fn a_window_or_cooldown_beyond_the_end_of_time_never_ends() {
    let endless = case().with(|case| case.group().window = Duration::MAX);
    assert_eq!(endless.names("n1"), ["WindowNotOver"]);
    let endless = case().with(|case| case.group().cooldown = Duration::MAX);
    assert_eq!(endless.names("n1"), ["NodeTooYoung", "CooldownActive"]);
}

#[test]
fn a_start_that_lies_in_the_future_is_no_window() {
    let ahead = case().with(|case| case.on("n1").unneeded_since = Some(at(5000)));
    assert_eq!(ahead.names("n1"), ["WindowNotOver"]);
}

#[test]
fn a_threshold_of_nothing_lets_empty_nodes_go_only() {
    let none = case().with(|case| {
        case.group().cpu_threshold = 0;
        case.group().memory_threshold = 0;
    });
    assert_eq!(none.names("n1"), ["NotUnderutilized", "NotUnderutilized"]);
    let empty = none.with(|case| case.last().role = PodRole::DaemonSet);
    assert_eq!(empty.removed(), ["n1"]);
    assert_eq!(empty.plan().0.remove[0].cause, RemovalCause::Empty);
}

#[test]
fn a_node_on_which_a_pod_is_ending_is_not_called_empty() {
    let ending = case().with(|case| case.last().terminating = Some(at(1010)));
    let (plan, _) = ending.plan();
    assert_eq!(plan.remove[0].cause, RemovalCause::Underutilized);
    assert_eq!(plan.remove[0].moves, []);
}

/// The removal of `n1` has begun, of a group that is small.
fn begun() -> Case {
    case().with(|case| {
        case.on("n1").removal = Some((RemovalCause::Underutilized, RemovalStep::Settling));
        case.add("n2");
        case.on("n2").protected_by = Some("somebody".into());
        case.group().min_nodes = 1;
    })
}

#[test]
fn while_it_goes_on_its_own_removal_window_and_cooldown_do_not_speak_against_it() {
    let case = begun().with(|case| {
        case.on("n1").unneeded_since = None;
        case.group().last_scaled_at = Some(at(1000));
        class(case.last()).requests.cpu_milli = 700;
    });
    assert_eq!(case.still("n1"), Ok(()));
    assert_eq!(case.names("n1"), ["BeingRemoved"]);
    let ghost = case.still("ghost");
    assert_eq!(ghost, Err(Refusal::NoVPSieNode));
}

#[test]
fn while_it_goes_on_everything_else_is_looked_at_again() {
    type Change = fn(&mut Case);
    let changes: Vec<(&str, Change)> = vec![
        ("AtMinimum", |case| case.node("n2").ready = false),
        ("ScaleUpInProgress", |case| case.group().in_flight = 1),
        ("Protected", |case| {
            case.on("n1").protected_by = Some("l=true".into());
        }),
        ("GroupPaused", |case| case.group().paused = true),
        ("GroupDeleting", |case| case.group().deleting = true),
        ("ScaleDownDisabled", |case| case.group().enabled = false),
        ("OutsideAllowedHours", |case| {
            case.on("n1").allowed_hours = Some("12:00-13:00".into());
        }),
        ("HumanCordon", |case| case.on("n1").cordon = Cordon::Human),
        ("NotReady", |case| case.node("n1").ready = false),
        ("BarePod", |case| {
            upkeep(case.run("new", "n1", 10)).controller = None;
        }),
        ("NoPlace", |case| {
            case.run("new", "host", 850);
            case.settings.buffer_percent = 0;
            case.run("large", "n1", 300);
        }),
        ("CapacityBuffer", |case| {
            case.run("new", "host", 990);
        }),
        ("BudgetAllowsNone", |case| {
            case.budget("web", 0);
        }),
        ("SeveralBudgets", |case| {
            case.budget("web", 9);
            case.budget("web", 9);
        }),
        ("BudgetsUnreadable", |case| case.disruption.budgets = None),
        ("NominatedPod", |case| {
            *case = case.clone().runs("q", "host", 600).waits("w", 500);
            case.run("r", "n2", 900);
        }),
    ];
    for (name, change) in changes {
        let case = begun().with(|case| {
            change(case);
            // `n2` is there for the minimum only.
            Arc::make_mut(&mut case.node("n2").shape).unschedulable = name != "NominatedPod";
        });
        assert_eq!(
            case.still("n1").map_err(|refusal| refusal.name()),
            Err(name)
        );
    }
}

#[test]
fn a_removal_that_has_begun_waits_for_a_new_leader_to_settle_and_is_not_taken_back() {
    let young = begun().with(|case| case.brakes.warming_up_until = Some(at(1001)));
    assert_eq!(young.still("n1"), Ok(()));
    // What has not begun does not begin.
    let fresh = young.with(|case| case.on("n1").removal = None);
    assert!(fresh.names("n1").contains(&"WarmingUp"));
}

#[test]
fn a_budget_that_the_drain_itself_spends_does_not_end_it() {
    let spent = begun().with(|case| {
        case.budget("web", 0);
        case.on("n1").removal = DRAINING;
    });
    assert_eq!(spent.still("n1"), Ok(()));
    let several = spent.with(|case| {
        case.budget("web", 0);
    });
    let name = several.still("n1").map_err(|refusal| refusal.name());
    assert_eq!(name, Err("SeveralBudgets"));
}

#[test]
fn a_pod_that_waits_rather_holds_another_node_than_one_that_is_being_removed() {
    let elsewhere = begun().waits("w", 300);
    assert_eq!(elsewhere.still("n1"), Ok(()));
    // Also an empty node with nothing on it but its removal is held, if there is no other.
    let only = Case::of(&["n1"])
        .waits("w", 300)
        .with(|case| case.on("n1").removal = Some((RemovalCause::Empty, RemovalStep::Settling)));
    let held = Reason::NominatedPod(model::PodKey::new("a", "w"));
    assert_eq!(only.still("n1"), Err(held.into()));
}
