//! The story runner, without the product: what people do in it is enough to end well or badly.

use std::time::Duration;

use sim::{Scenario, story};

use crate::world;

const BY_HAND: &str = "
name: by-hand
limit: 30m
steps:
  - {at: 5s, do: {createDeployment: {name: web, replicas: 4, cpu: 400m, memory: 128Mi}}}
  - {at: 10s, do: {humanAdd: {size: 102}}}
  - {once: allPodsRunning, at: 10s, do: {scale: {name: web, replicas: 0}}}
  - {once: noPods, do: {humanDelete: {which: newest}}}
expect:
  - allPodsRunningBy: 20m
  - allPodsRunning
  - machinesBoughtAtMost: 0
  - machinesAtOnceAtMost: 1
";

async fn play(yaml: &str) -> (story::Verdict, Vec<story::Progress>) {
    let scenario = Scenario::from_yaml(yaml).unwrap();
    let (world, tasks) = world(scenario.seed, scenario.world.clone()).await;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let verdict = story::play(&world, &scenario, Some(&sender), Duration::from_secs(5)).await;
    tasks.abort();
    let mut told = Vec::new();
    while let Ok(progress) = receiver.try_recv() {
        told.push(progress);
    }
    (verdict, told)
}

#[tokio::test(start_paused = true)]
async fn a_story_that_ends_as_expected_passes_and_is_told_on_the_way() {
    let (verdict, told) = play(BY_HAND).await;
    assert_eq!(verdict.failures, Vec::<String>::new());
    assert!(verdict.passed);
    assert_eq!(
        (verdict.pods_running_at_most, verdict.machines_at_once),
        (4, 1)
    );
    assert_eq!(verdict.machines_left, 0);
    assert!(
        told.iter()
            .any(|progress| progress.counts.unschedulable == 4)
    );
    assert!(told.iter().any(|progress| progress.counts.running == 4));
    assert!(told.iter().any(|progress| !progress.per_hour.is_zero()));
}

#[tokio::test(start_paused = true)]
async fn a_story_that_does_not_says_what_is_missing() {
    let without_help = BY_HAND.replace("- {at: 10s, do: {humanAdd: {size: 102}}}", "");
    let (verdict, _) = play(&without_help).await;
    assert!(!verdict.passed);
    let failures = verdict.failures.join("\n");
    assert!(failures.contains("all pods never ran"), "{failures}");
    assert!(failures.contains("4 pods are pending"), "{failures}");
    assert!(
        failures.contains("2 steps were never reached"),
        "{failures}"
    );
}
