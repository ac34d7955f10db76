//! Every scenario file of the repository, played in virtual time.

use std::{path::Path, time::Duration};

use sim::scenario::Scenario;

use crate::harness::{Harness, virtually};

fn text_of(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    std::fs::read_to_string(path.join(file)).unwrap()
}

/// Plays the scenario; returns what it found wrong, and a picture of the end.
fn play(text: &str) -> (Vec<String>, String) {
    let scenario = Scenario::from_yaml(text).unwrap();
    virtually(move || async move {
        let flags: Vec<&str> = scenario.flags.iter().map(String::as_str).collect();
        let harness = Harness::with(scenario.seed, scenario.world.clone(), &flags).await;
        let replica = harness.start();
        let every = Duration::from_mins(1);
        let verdict = sim::story::play(&harness.world, &scenario, None, every).await;
        assert_eq!(verdict.passed, verdict.failures.is_empty());
        replica.stop().await;
        (verdict.failures, harness.picture())
    })
}

fn ends_as_it_must(file: &str) {
    let (failures, picture) = play(&text_of(file));
    assert_eq!(failures, [""; 0], "{picture}");
}

#[test]
fn the_default_story_ends_as_it_must() {
    ends_as_it_must("default.yaml");
}

#[test]
fn the_story_of_the_deleted_group_ends_as_it_must() {
    ends_as_it_must("group-deleted.yaml");
}

#[test]
fn the_story_of_the_sold_out_size_ends_as_it_must() {
    ends_as_it_must("sold-out.yaml");
}

/// The suite that is also played on a real control plane, there in real time.
#[test]
fn every_story_of_the_suite_ends_as_it_must() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/suite");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert!(files.len() >= 39, "{files:?}");
    let mut wrong = Vec::new();
    for file in files {
        let (failures, picture) = play(&text_of(&format!("suite/{file}")));
        if !failures.is_empty() {
            println!("{file}\n{picture}");
            wrong.push((file, failures));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_story_in_which_one_purchase_brings_two_machines_fails() {
    let doubled = text_of("default.yaml").replace("lostResponseAfterCommit", "duplicateMachine");
    let (failures, picture) = play(&doubled);
    let found = failures
        .iter()
        .any(|failure| failure.contains("machines were bought for"));
    assert!(found, "{failures:?}\n{picture}");
}

/// A story of a node that stays, told of a pod that may go.
#[test]
fn a_story_in_which_a_pod_has_to_leave_fails() {
    let labels = "labels: {app: subject}";
    let permitted = format!(
        "{labels}, annotations: {{cluster-autoscaler.kubernetes.io/safe-to-evict: \"true\"}}"
    );
    let text = text_of("suite/stays-bare-pod.yaml").replace(labels, &permitted);
    let (failures, picture) = play(&text);
    for wrong in [
        "had to leave",
        "nodes are in service",
        "machines are left",
        "BarePod",
    ] {
        let found = failures.iter().any(|failure| failure.contains(wrong));
        assert!(found, "{wrong}: {failures:?}\n{picture}");
    }
}

/// A budget that lets all of them leave at once.
#[test]
fn a_story_in_which_too_few_pods_are_available_fails() {
    let text =
        text_of("suite/goes-in-waves.yaml").replace("maxUnavailable: 1", "maxUnavailable: 4");
    let (failures, picture) = play(&text);
    let found = failures
        .iter()
        .any(|failure| failure.contains("are Ready, 3 at least"));
    assert!(found, "{failures:?}\n{picture}");
}

#[test]
fn every_scenario_file_is_played_here() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let mut files: Vec<String> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| {
            Path::new(name)
                .extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    assert_eq!(
        files,
        ["default.yaml", "group-deleted.yaml", "sold-out.yaml"]
    );
}
