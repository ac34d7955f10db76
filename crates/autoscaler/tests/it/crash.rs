//! The product dies at every one of its writes; each time it ends with exactly the right machines.

use std::sync::Arc;

use serde_json::json;
use vpsie_autoscaler::Replica;

use crate::harness::{Harness, Moment, Tripwire, all_running, settled, virtually};

const MOMENTS: [Moment; 3] = [Moment::Before, Moment::AfterSending, Moment::AfterAnswer];

/// The replica that runs, and whether one has died before it.
struct Running {
    replica: Replica,
    crashed: bool,
}

/// Waits for `end`; a replica that the tripwire stops meanwhile dies, and another begins.
async fn outlived(
    harness: &Harness,
    tripwire: &Tripwire,
    running: &mut Running,
    end: impl Future<Output = ()>,
) {
    tokio::pin!(end);
    loop {
        tokio::select! {
            biased;
            () = tripwire.tripped(), if !running.crashed => {
                running.crashed = true;
                std::mem::replace(&mut running.replica, harness.start()).crash();
            }
            () = &mut end => return,
        }
    }
}

/// Twenty pods, five machines up and five down again; dies once. Returns the number of writes.
fn story(seed: u64, tripwire: Arc<Tripwire>) -> u64 {
    virtually(move || async move {
        let harness = Harness::new(seed).await;
        harness.group("general", 0, 10, json!({})).await;
        let dying = harness.start_with(&tripwire);
        harness.deployment("web", 20, "400m", None).await;
        let mut running = Running {
            replica: dying,
            crashed: false,
        };
        let up = harness.wait(60, "all pods run", all_running(20));
        outlived(&harness, &tripwire, &mut running, up).await;
        assert_eq!(harness.paid(), 5, "{}", harness.picture());
        harness.world.scale("default", "web", 0).await.unwrap();
        let down = harness.wait(180, "all nodes are gone", settled(0));
        outlived(&harness, &tripwire, &mut running, down).await;
        assert_eq!(harness.paid(), 0, "{}", harness.picture());
        assert_eq!(harness.bought(), 5, "none double\n{}", harness.picture());
        running.replica.stop().await;
        tripwire.writes()
    })
}

#[test]
fn a_crash_before_or_after_every_write_leaks_nothing_and_buys_nothing_twice() {
    let writes = story(1, Arc::default());
    assert!(writes > 50, "{writes} writes");
    // Every write in the long run (`CRASH_STRIDE=1`), every seventh here; all three moments.
    let stride = std::env::var("CRASH_STRIDE")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(7);
    for write in (1..=writes).step_by(stride) {
        for moment in MOMENTS {
            let tripwire = Tripwire::at(write, moment);
            story(1, Arc::clone(&tripwire));
            assert!(tripwire.has_tripped(), "write {write} was not reached");
        }
    }
}
