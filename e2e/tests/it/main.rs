//! Against a real control plane: `README.md` says how to run these.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod cloud;
mod control_plane;
mod definitions;
mod ground;
mod kills;
mod latency;
mod outages;
mod suite;
mod upgrade;

use std::time::Duration;

use runtime::Clock;
use serde_json::{Value, json};

/// Patience with a loaded machine; nothing is measured by it.
const SOON: Duration = Duration::from_mins(1);

/// Looks until `look` gives something.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let clock = Clock::system();
    let deadline = clock.monotonic() + SOON;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(clock.monotonic() < deadline, "not in time: {what}");
        clock.sleep(Duration::from_millis(100)).await;
    }
}

fn deployment(name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "main", "image": "registry.example/main:1",
                    "resources": {"requests": {"cpu": "500m"}},
                }]},
            },
        },
    })
}
