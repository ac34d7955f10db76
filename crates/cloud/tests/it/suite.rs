//! The suite can be passed, and catches whoever breaks a promise.

use cloud::contract::{Verdict, cases};

use crate::reference::{Flaw, Reference};

async fn violations(flaw: Flaw) -> Vec<&'static str> {
    let mut broken = Vec::new();
    for case in cases() {
        if let Err(violation) = case.run(&Reference::new(flaw)).await {
            broken.push(violation.case);
        }
    }
    broken
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_keeps_every_promise_passes() {
    for case in cases() {
        let verdict = case.run(&Reference::new(Flaw::None)).await;
        assert!(verdict.is_ok(), "{verdict:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn cases_that_do_not_apply_are_those_of_the_other_mode() {
    let mut skipped = Vec::new();
    for case in cases() {
        let verdict = case.run(&Reference::new(Flaw::None)).await;
        if matches!(verdict, Ok(Verdict::NotApplicable(_))) {
            skipped.push(case.name);
        }
    }
    assert_eq!(
        skipped,
        [
            "where_a_size_has_one_pool_another_name_finds_it",
            "a_provider_without_targeted_delete_deletes_nothing"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn every_flaw_is_caught_by_the_case_that_is_about_it() {
    for (flaw, case) in [
        (
            Flaw::RepeatsCreates,
            "a_create_whose_answer_is_lost_is_unknown_and_never_sent_again",
        ),
        (
            Flaw::TakesSilenceForRefusal,
            "a_create_answered_by_a_broken_gateway_is_unknown_and_never_sent_again",
        ),
        (
            Flaw::TakesSilenceForSuccess,
            "a_create_whose_connection_breaks_is_unknown_and_never_sent_again",
        ),
        (
            Flaw::SendsWithoutPermit,
            "a_create_without_permit_is_withheld_and_nothing_is_sent",
        ),
        (
            Flaw::SendsWithoutPermit,
            "a_delete_without_permit_is_withheld_and_deletes_nothing",
        ),
        (
            Flaw::DeletesByPlace,
            "a_delete_removes_exactly_the_machine_named",
        ),
        (
            Flaw::IgnoresTheHostName,
            "a_delete_under_another_host_name_is_refused",
        ),
        (
            Flaw::DeletesTheControlPlane,
            "a_delete_of_the_control_plane_is_refused",
        ),
        (
            Flaw::CallsEmptyListsComplete,
            "an_empty_list_that_contradicts_other_answers_is_not_complete",
        ),
        (
            Flaw::CallsEmptyListsComplete,
            "a_delete_that_cannot_look_first_deletes_nothing",
        ),
        (
            Flaw::ForgetsTheCatalogue,
            "the_catalogue_is_served_stale_when_the_cloud_is_silent",
        ),
        (
            Flaw::AsksForTheCatalogueEveryTime,
            "the_catalogue_is_cached",
        ),
        (Flaw::IgnoresTimeouts, "reads_end_within_their_timeout"),
        (
            Flaw::IgnoresTimeouts,
            "a_create_ends_within_its_timeout_and_is_then_unknown",
        ),
        (Flaw::IgnoresTimeouts, "a_delete_ends_within_its_timeout"),
        (Flaw::ShowsSecrets, "no_error_carries_a_secret"),
        (
            Flaw::MakesAPoolPerCall,
            "asking_twice_for_a_pool_gives_the_same_pool",
        ),
        (
            Flaw::ForgetsNames,
            "a_named_create_is_found_by_its_name_instead_of_bought_twice",
        ),
        (
            Flaw::CallsWorkersControlPlane,
            "an_observation_tells_workers_from_the_control_plane",
        ),
        (
            Flaw::TellsNothingOfMissingScopes,
            "a_missing_scope_is_an_error_and_not_an_empty_observation",
        ),
    ] {
        let broken = violations(flaw).await;
        assert!(broken.contains(&case), "{flaw:?} broke {broken:?}");
    }
}
