//! The product dies at every one of its writes; each time it ends with exactly the right machines.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::available_parallelism,
};

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

/// The product dies once in each of these ways; stories are told side by side.
fn survives(deaths: &[(u64, Moment)]) {
    let next = AtomicUsize::new(0);
    let told = || {
        while let Some((write, moment)) = deaths.get(next.fetch_add(1, Ordering::SeqCst)) {
            let tripwire = Tripwire::at(*write, *moment);
            story(1, Arc::clone(&tripwire));
            assert!(tripwire.has_tripped(), "write {write} was not reached");
        }
    };
    let threads = available_parallelism().map_or(1, usize::from).min(4);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(told)).collect();
        for thread in all {
            thread
                .join()
                .expect("the story's own thread says what went wrong");
        }
    });
}

/// Every `stride`th write at each moment, each moment at others.
fn deaths(stride: u64) -> Vec<(u64, Moment)> {
    let writes = story(1, Arc::default());
    assert!(writes > 50, "{writes} writes");
    let mut deaths = Vec::new();
    for (offset, moment) in (1..).zip(MOMENTS) {
        let offset = if stride == 1 { 1 } else { 2 * offset };
        let some = (offset..=writes).step_by(usize::try_from(stride).unwrap());
        deaths.extend(some.map(|write| (write, moment)));
    }
    deaths
}

#[test]
fn a_crash_before_or_after_some_writes_leaks_nothing_and_buys_nothing_twice() {
    survives(&deaths(7));
}

/// Case 3, whole.
#[test]
#[ignore = "tells the story once for each write and moment: 8 minutes on two cores"]
fn a_crash_before_or_after_every_write_leaks_nothing_and_buys_nothing_twice() {
    survives(&deaths(1));
}
