//! One seed, one trace.

use std::time::Duration;

use sim::{DeploymentOptions, WorldConfig};

use crate::world;

/// A burst that four workers added by hand take up, then half of it goes away with a machine.
async fn burst(seed: u64) -> String {
    let (world, tasks) = world(seed, WorldConfig::default()).await;
    let plain = DeploymentOptions::default();
    world
        .create_deployment("default", "web", 30, "400m", "256Mi", &plain)
        .await
        .unwrap();
    let pool = world
        .cloud
        .human_add_group(&world.cluster, "by-hand", 102)
        .unwrap();
    let machines: Vec<_> = (0..4)
        .map(|_| world.cloud.human_add_worker(&world.cluster, pool).unwrap())
        .collect();
    assert!(
        world
            .wait_until(Duration::from_hours(1), |view| view.counts().ready == 30)
            .await,
        "{:?}",
        world.counts()
    );
    world.scale("default", "web", 10).await.unwrap();
    world.cloud.human_delete(&machines[0].uuid);
    world.clock.sleep(Duration::from_mins(10)).await;
    let trace = world.trace();
    tasks.abort();
    trace
}

fn run(seed: u64) -> String {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(burst(seed))
}

#[test]
fn two_runs_with_one_seed_give_the_same_trace_byte_for_byte() {
    let (first, second) = (run(1), run(1));
    for (number, (a, b)) in first.lines().zip(second.lines()).enumerate() {
        assert_eq!(a, b, "line {number}");
    }
    assert_eq!(first, second);
    assert!(
        first.lines().count() > 300,
        "the trace is too short to show anything"
    );
}

#[test]
fn different_seeds_give_different_traces() {
    assert_ne!(run(1), run(2));
}
