//! The scenario files that are shipped.

use sim::Scenario;

#[test]
fn every_scenario_file_can_be_read_and_is_named_after_itself() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let scenario = Scenario::from_yaml(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(
            path.file_stem().unwrap().to_str(),
            Some(scenario.name.as_str())
        );
        names.push(scenario.name);
    }
    names.sort();
    assert_eq!(names, ["default", "group-deleted", "sold-out"]);
}
