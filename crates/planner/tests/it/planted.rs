//! Mistakes that can be planted and are found here, where one machine's steps and the verdicts on
//! workers without an owner are tested; the others the whole product's tests find.

use planted::{Bug, hunt};

#[test]
fn the_mistakes_of_single_steps_are_found() {
    let found = hunt(&[
        (
            Bug::SkipDetach,
            "draining::volumes_are_waited_for_and_only_an_ordered_removal_goes_on_without_them",
        ),
        (
            Bug::AdoptContradicted,
            "collect::each_missing_piece_of_the_proof_makes_the_machine_somebody_elses",
        ),
    ]);
    for one in &found {
        println!("{one}");
    }
    assert!(found.iter().all(|one| one.found));
}
