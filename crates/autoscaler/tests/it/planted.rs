//! Each mistake that can be planted is found: by which of these tests, and how fast. What the choice of
//! nodes alone gets wrong is found where that is tested; see `docs/planted-bugs.md`.

use planted::{Bug, hunt};

/// Which test finds what.
const FINDERS: &[(Bug, &str)] = &[
    (
        Bug::AskAgain,
        "faults::a_lost_create_response_buys_no_second_machine",
    ),
    (
        Bug::AdoptAnyone,
        "faults::a_worker_of_another_size_that_a_person_adds_while_a_create_is_open_is_never_touched",
    ),
    (
        Bug::WriteUnversioned,
        "regressions::a_machine_that_appears_after_its_group_was_deleted_is_removed",
    ),
    (
        Bug::ExceedMaximum,
        "regressions::five_hundred_pending_pods_are_one_decision_bounded_by_the_maximum",
    ),
    (
        Bug::GiveUpAtOnce,
        "faults::a_429_to_a_create_is_waited_out_as_long_as_it_says",
    ),
    (
        Bug::ForgetMachine,
        "regressions::identity::a_record_that_is_deleted_before_its_machine_is_identified_leaves_no_machine_behind",
    ),
    (
        Bug::UndercutMinimum,
        "scenarios::every_story_of_the_suite_ends_as_it_must",
    ),
    (
        Bug::IgnoreWishes,
        "scenarios::every_story_of_the_suite_ends_as_it_must",
    ),
    (
        Bug::CountRoomTwice,
        "removal::joint::two_nodes_never_count_on_the_same_room",
    ),
    (
        Bug::TrustOldWindows,
        "brakes::a_window_that_nobody_watched_for_a_while_begins_anew",
    ),
    (
        Bug::BelieveMany,
        "removal::joint::many_nodes_that_look_removable_at_once_wait_another_window_and_then_go_one_by_one",
    ),
    (
        Bug::RemoveOwnNode,
        "removal::refusals::a_node_stays_for_what_it_is_or_says_until_that_is_over",
    ),
    (
        Bug::IgnoreHealthGate,
        "removal::refusals::a_node_stays_for_what_its_group_or_the_cluster_says_until_that_is_over",
    ),
    (
        Bug::RemoveBeforeReplacing,
        "removal::an_unhealthy_node_goes_once_another_one_serves_in_its_place",
    ),
    (
        Bug::SkipRecheck,
        "removal::aborts::protection_of_the_node_in_the_middle_of_a_drain_takes_it_back",
    ),
    (
        Bug::TrustTheCache,
        "removal::kinds::a_budget_by_min_available_is_held_all_through_the_drain",
    ),
    (
        Bug::EvictByName,
        "removal::kinds::a_permission_lets_a_bare_pod_go_for_good",
    ),
    (
        Bug::OwnGracePeriod,
        "removal::kinds::a_permission_lets_a_bare_pod_go_for_good",
    ),
    (
        Bug::DeletePods,
        "scenarios::every_story_of_the_suite_ends_as_it_must",
    ),
    (
        Bug::AllBandsAtOnce,
        "removal::kinds::pods_of_a_lower_priority_leave_before_those_of_a_higher_one",
    ),
    (
        Bug::DeleteAfterFailedDrain,
        "removal::aborts::a_drain_that_takes_too_long_is_taken_back_and_the_pods_that_are_left_serve_on",
    ),
    (
        Bug::UncordonThenDelete,
        "removal::aborts::a_drain_that_takes_too_long_is_taken_back_and_the_pods_that_are_left_serve_on",
    ),
    (
        Bug::UncordonHuman,
        "scenarios::every_story_of_the_suite_ends_as_it_must",
    ),
    (
        Bug::LeaveCordoned,
        "removal::aborts::protection_of_the_node_in_the_middle_of_a_drain_takes_it_back",
    ),
    (
        Bug::BelieveOneAbsence,
        "faults::a_ready_machine_that_a_person_deleted_is_replaced_and_its_node_removed",
    ),
    (
        Bug::BelieveTheAnswer,
        "faults::a_delete_that_is_answered_and_not_done_is_repeated_at_intervals_until_it_is_done",
    ),
    (
        Bug::DeleteNewest,
        "scenarios::every_story_of_the_suite_ends_as_it_must",
    ),
    (
        Bug::SendAnyway,
        "removal::a_node_that_registers_again_holds_up_the_deletion_that_waits_for_a_slow_cloud",
    ),
    (
        Bug::IgnoreStop,
        "collect::a_delete_that_takes_another_machine_stops_all_removals_until_a_person_says_so",
    ),
    (
        Bug::ActWithoutLease,
        "metrics::a_write_that_is_refused_for_want_of_leadership_is_counted",
    ),
    (
        Bug::SkipWarmUp,
        "removal::joint::a_new_leader_destroys_nothing_before_its_first_lease_is_over",
    ),
    (
        Bug::IgnorePause,
        "removal::a_pause_holds_up_a_removal_that_a_person_ordered_and_it_goes_on_after_it",
    ),
    (
        Bug::ActInDryRun,
        "brakes::a_dry_run_decides_everything_and_changes_nothing",
    ),
    (
        Bug::AdoptAtOnce,
        "collect::an_orphan_is_told_of_and_gets_its_vpsie_node_again_and_its_pods_notice_nothing",
    ),
];

fn all_are_found(finders: &[(Bug, &'static str)]) {
    let found = hunt(finders);
    let mut missed = Vec::new();
    for one in &found {
        println!("{one}");
        if !one.found {
            missed.push(one.bug);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// One of each kind, of those that are found fast: of what is bought, chosen, emptied and ended, and of
/// who may act.
const FEW: &[Bug] = &[
    Bug::AskAgain,
    Bug::UndercutMinimum,
    Bug::DeletePods,
    Bug::UncordonThenDelete,
    Bug::DeleteNewest,
    Bug::ActInDryRun,
];

#[test]
fn a_few_mistakes_of_different_kinds_are_found() {
    let few = FINDERS.iter().filter(|(bug, _)| FEW.contains(bug));
    all_are_found(&few.copied().collect::<Vec<_>>());
}

#[test]
#[ignore = "runs one test for each mistake: a minute where it is optimised, some where it is not"]
fn every_mistake_is_found() {
    all_are_found(FINDERS);
}

/// Those that this table lacks are found where the planner is tested.
#[test]
fn every_mistake_has_its_finder() {
    let here = |bug: &Bug| FINDERS.iter().any(|(one, _)| one == bug);
    let elsewhere: Vec<Bug> = (Bug::ALL.iter().copied())
        .filter(|bug| !here(bug))
        .collect();
    assert_eq!(elsewhere, [Bug::SkipDetach, Bug::AdoptContradicted]);
}
