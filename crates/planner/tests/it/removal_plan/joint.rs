//! Several nodes at once: what is promised to one is not promised to another.

use model::{NodeName, PodHealth, PodKey};
use planner::removal::simulation::Reason;

use super::*;

fn cents(case: &mut Case, node: &str, cents: i64) {
    case.on(node).savings = Some(HourlyPrice::new(Decimal::new(cents, 2)));
}

#[test]
fn one_goes_at_a_time_and_as_many_as_may() {
    let mut case = Case::of(&["a", "b", "c"]).foreign("host");
    case.brakes.many_since = Some(at(0));
    assert_eq!(case.removed(), ["a"]);
    assert_eq!(case.why("b"), [Reason::EnoughAtOnce { most: 1 }.into()]);
    case.settings.at_once = 2;
    assert_eq!(case.removed(), ["a", "b"]);
    // Counted with those that are under way.
    case.on("a").removal = DRAINING;
    assert_eq!(case.removed(), ["b"]);
    assert_eq!(
        case.why("c"),
        [Refusal::RemovalInProgress("kube-system/a".into())]
    );
    assert_eq!(
        case.why("a"),
        [Refusal::BeingRemoved {
            cause: RemovalCause::Underutilized,
            step: RemovalStep::Draining
        }]
    );
}

#[test]
fn a_group_has_a_limit_of_its_own() {
    let mut case = Case::of(&["a", "b", "c"]).foreign("host");
    case.settings.at_once = 9;
    case.group().at_once = 1;
    case.on("c").group = Some(key("h"));
    case.groups.insert(key("h"), group());
    assert_eq!(case.removed(), ["a", "c"]);
    case.on("a").removal = DRAINING;
    assert_eq!(case.removed(), ["c"]);
    assert_eq!(
        case.why("b"),
        [Refusal::RemovalInProgress("kube-system/a".into())]
    );
}

#[test]
fn several_at_once_leave_the_minimum() {
    let mut case = Case::of(&["a", "b", "c"]);
    case.settings.at_once = 9;
    case.group().min_nodes = 2;
    assert_eq!(case.removed(), ["a"]);
    assert_eq!(case.why("b"), [Reason::AtMinimum { min_nodes: 2 }.into()]);
    // One that is not Ready is none of those that are left.
    case.node("c").ready = false;
    assert_eq!(case.removed(), [""; 0]);
}

#[test]
fn two_nodes_never_count_on_the_same_room() {
    let mut case = Case::of(&["a", "b"])
        .foreign("host")
        .runs("p", "a", 400)
        .runs("q", "b", 450)
        .runs("r", "host", 200);
    case.settings.at_once = 9;
    case.settings.buffer_percent = 100;
    assert_eq!(case.removed(), ["a"]);
    assert_eq!(case.names("b"), ["CapacityBuffer"]);
    case.settings.buffer_percent = 0;
    assert_eq!(case.names("b"), ["RoomTaken"]);
    // Nor does one count on the room that pods of a node that is going need.
    case.on("a").removal = DRAINING;
    assert_eq!(case.removed(), [""; 0]);
    assert_eq!(case.names("b"), ["NoPlace"]);
    case.cluster.bound.remove(0);
    assert_eq!(case.removed(), ["b"]);
}

#[test]
fn what_a_budget_allows_is_spent_once() {
    let mut case = Case::of(&["a", "b"])
        .foreign("host")
        .runs("p", "a", 100)
        .runs("q", "b", 100);
    case.settings.at_once = 9;
    case.budget("web", 2);
    assert_eq!(case.removed(), ["a", "b"]);
    case.disruption.budgets.as_mut().unwrap()[0].allowed = 1;
    assert_eq!(case.removed(), ["a"]);
    assert_eq!(case.names("b"), ["BudgetSpent"]);
    // By one that is going, too; until its pod has left.
    case.on("a").removal = DRAINING;
    assert_eq!(case.names("b"), ["BudgetAllowsNone"]);
    Arc::get_mut(&mut case.cluster.bound[0])
        .unwrap()
        .terminating = Some(at(1010));
    assert_eq!(case.removed(), ["b"]);
}

#[test]
fn a_node_that_is_drained_in_waves_is_drained_alone() {
    let mut case = Case::of(&["a", "b", "c"])
        .foreign("host")
        .runs("p1", "a", 10)
        .runs("p2", "a", 10)
        .runs("q", "b", 10);
    class(case.last()).labels.clear();
    case.settings.at_once = 9;
    case.budget("web", 1);
    cents(&mut case, "a", 90);
    case.on("c").protected_by = Some("somebody".into());
    assert_eq!(case.removed(), ["a"]);
    case.on("a").removal = DRAINING;
    // Nothing beside it while it is.
    assert_eq!(
        case.why("b"),
        [Refusal::RemovalInProgress("kube-system/a".into())]
    );
    case.on("a").removal = None;
    case.on("b").removal = DRAINING;
    // And it does not begin beside another.
    assert_eq!(case.names("a"), ["DrainedAlone"]);
    // Pods for which no budget is asked make no waves.
    case.on("b").removal = None;
    for pod in &mut case.cluster.bound[..2] {
        Arc::get_mut(pod).unwrap().health = PodHealth::Starting;
    }
    assert_eq!(case.removed().len(), 2);
}

#[test]
fn empty_nodes_go_first_then_those_that_save_most_for_each_pod_that_moves() {
    let mut case = Case::of(&["a", "b", "c"])
        .foreign("host")
        .runs("p", "a", 10)
        .runs("q1", "b", 10)
        .runs("q2", "b", 10);
    cents(&mut case, "a", 30);
    cents(&mut case, "b", 50);
    cents(&mut case, "c", 1);
    case.settings.at_once = 9;
    assert_eq!(case.removed(), ["c", "a", "b"]);
    let (plan, _) = case.plan();
    let causes: Vec<RemovalCause> = plan.remove.iter().map(|one| one.cause).collect();
    let (empty, under) = (RemovalCause::Empty, RemovalCause::Underutilized);
    assert_eq!(causes, [empty, under, under]);
    let host = NodeName::from("host");
    assert_eq!(plan.remove[1].moves, [(PodKey::new("a", "p"), host)]);
    assert_eq!(plan.remove[1].savings, case.on("a").savings);
    assert_eq!(plan.remove[1].machine, "kube-system/a");
    assert_eq!(plan.remove[1].group, key("g"));
}

#[test]
fn a_waiting_pod_holds_one_node_only() {
    let mut case = Case::of(&["a", "b"]).waits("w", 600);
    case.settings.at_once = 9;
    assert_eq!(case.removed(), ["a"]);
    assert_eq!(case.names("b"), ["NominatedPod"]);
    let nominated = Some(NodeName::from("a"));
    Arc::get_mut(&mut case.cluster.waiting[0])
        .unwrap()
        .nominated = nominated;
    assert_eq!(case.removed(), ["b"]);
}

/// Ten nodes of ours, so many of them unneeded.
fn ten(unneeded: usize) -> Case {
    let names: Vec<String> = (0..10).map(|index| format!("n{index}")).collect();
    let mut case = Case::of(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for name in &names[unneeded..] {
        case = case.runs(&format!("p-{name}"), name, 600);
    }
    case
}

#[test]
fn where_many_look_removable_at_once_nothing_goes_for_another_window() {
    // 30 % is not more than that, and three nodes never are many.
    assert_eq!(ten(3).removed(), ["n0"]);
    assert_eq!(ten(3).plan().0.many, None);
    assert_eq!(Case::of(&["a", "b", "c"]).removed(), ["a"]);
    let mut case = ten(4);
    let (plan, report) = case.plan();
    assert_eq!(plan.remove, []);
    let many = plan.many.unwrap();
    assert_eq!((many.removable, many.nodes, many.since), (4, 10, at(1000)));
    assert_eq!(plan.look_again_at, Some(at(1600)));
    let held = Refusal::ManyRemovable {
        removable: 4,
        nodes: 10,
        until: at(1600),
    };
    for index in 0..4 {
        let why = &report[&NodeName::new(format!("n{index}"))];
        assert_eq!(why, std::slice::from_ref(&held));
    }
    case.brakes.many_since = Some(many.since);
    case.now = at(1599);
    assert_eq!(case.removed(), [""; 0]);
    // Then they go one after the other, and it is still told.
    case.now = at(1600);
    let (plan, _) = case.plan();
    assert_eq!(plan.remove.len(), 1);
    assert_eq!(plan.many.unwrap().since, at(1000));
}

#[test]
fn nodes_that_could_not_go_together_are_not_many() {
    // Each could go alone; but together only two have room.
    let mut case = ten(0);
    case.cluster.bound.clear();
    for index in 0..10 {
        case = case.runs(&format!("p{index}"), &format!("n{index}"), 490);
    }
    case.settings.many_percent = 60;
    let (plan, _) = case.plan();
    assert_eq!(plan.many, None);
    assert_eq!(plan.remove.len(), 1);
}
