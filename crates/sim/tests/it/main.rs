//! The world as a whole: everything a cluster does by itself, without the product.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    clippy::missing_panics_doc
)]

mod actors;
mod determinism;
mod load;
mod placement;
mod scenarios;
mod stories;

use std::time::Duration;

use jiff::Timestamp;
use runtime::{Clock, Randomness, Tasks};
use serde_json::{Value, json};
use sim::{World, WorldConfig};

/// A world in virtual time.
pub async fn world(seed: u64, config: WorldConfig) -> (World, Tasks) {
    let tasks = Tasks::new();
    let epoch: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let clock = Clock::starting_at(epoch, 1.0);
    let world = World::start(config, clock, Randomness::seeded(seed), &tasks)
        .await
        .unwrap();
    (world, tasks)
}

/// A world with these Ready workers that are no machines of the cloud.
pub fn with_workers(names: &[&str]) -> WorldConfig {
    let nodes: Value = names.iter().map(|name| json!({"name": name})).collect();
    WorldConfig {
        nodes: serde_json::from_value(nodes).unwrap(),
        ..WorldConfig::default()
    }
}

/// Waits for the world to do something; fails where it does not within ten minutes.
pub async fn until(world: &World, what: &str, holds: impl Fn(&sim::View) -> bool) {
    assert!(
        world.wait_until(Duration::from_mins(10), holds).await,
        "{what} did not come true: {:#?}",
        world.view()
    );
}

/// Reads an object as JSON.
pub async fn read(world: &World, path: &str) -> Value {
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    world.client("test").request(request).await.unwrap()
}
