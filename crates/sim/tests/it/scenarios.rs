//! The scenario files that are shipped.

use std::{fs, path::Path};

use sim::Scenario;

/// The names of the scenarios in a folder below `scenarios`, each as its file is called.
fn names(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../scenarios")
        .join(folder);
    let paths = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = paths
        .filter(|path| path.is_file())
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let scenario = Scenario::from_yaml(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            assert_eq!(stem, Some(scenario.name.as_str()));
            scenario.name
        })
        .collect();
    names.sort();
    names
}

#[test]
fn every_scenario_file_can_be_read_and_is_named_after_itself() {
    assert_eq!(names("."), ["default", "group-deleted", "sold-out"]);
    assert!(names("suite").len() >= 12);
}
