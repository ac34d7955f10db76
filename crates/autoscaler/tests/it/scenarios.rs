//! Every scenario file of the repository, played in virtual time.

use std::{path::Path, time::Duration};

use sim::scenario::Scenario;

use crate::harness::{Harness, virtually};

fn ends_as_it_must(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let scenario = Scenario::from_yaml(&std::fs::read_to_string(path.join(file)).unwrap()).unwrap();
    virtually(move || async move {
        let flags = ["--joining-timeout=4m"];
        let harness = Harness::with(scenario.seed, scenario.world.clone(), &flags).await;
        let replica = harness.start();
        let every = Duration::from_mins(1);
        let verdict = sim::story::play(&harness.world, &scenario, None, every).await;
        assert!(verdict.passed, "{verdict:#?}\n{}", harness.picture());
        replica.stop().await;
    });
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
