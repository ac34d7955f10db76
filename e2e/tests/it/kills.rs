//! The product is killed at random moments of a scale-up and started again each time.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use runtime::Randomness;
use serde_json::json;
use sim::DeploymentOptions;
use vpsie_sim::{Route, Span};

use crate::ground::{Ground, SMALL, group, world};

const KILLS: usize = 20;
const NODES: u32 = 10;
const SEED: u64 = 42;

/// A dead leader's lease is waited for, so it is short; a request whose answer was lost is waited
/// for, and the simulator carries a request out within `latency`.
const FLAGS: [&str; 4] = [
    "--leader-election-lease-duration=3s",
    "--leader-election-renew-deadline=2s",
    "--leader-election-retry-period=500ms",
    "--create-quarantine=8s",
];

/// Who leads, and since when.
async fn leader(leases: &Api<Lease>) -> Option<String> {
    let lease = leases.get_opt("vpsie-autoscaler-leader").await.unwrap()?;
    let spec = lease.spec?;
    Some(format!(
        "{:?} {:?}",
        spec.holder_identity, spec.acquire_time
    ))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn twenty_kills_of_a_scale_up_by_ten_leave_ten_machines_all_owned() {
    let mut config = world((5000, 40_000), (1000, 5000), (1000, 5000));
    // Long enough that kills fall between a request and its answer.
    config.cloud.latency = Span {
        low: Duration::from_millis(20),
        high: Duration::from_millis(300),
    };
    let mut ground = Ground::set(config, SEED, &FLAGS).await;
    let random = Randomness::seeded(SEED);
    // There is room for more: nothing but the product's own account keeps it from buying it.
    let more = group("general", "small-2cpu-4gb", 2 * NODES, &json!({}));
    ground.apply(&more).await;
    // Each fills more than half of a node.
    const { assert!(SMALL < 2 * 1500) };
    let options = DeploymentOptions::default();
    ground.deploy("web", NODES, "1500m", &options).await;
    let leases: Api<Lease> = Api::namespaced(ground.plane.client().await.unwrap(), "kube-system");

    let began = ground.now();
    let mut asked = Vec::new();
    for _ in 0..KILLS {
        let before = leader(&leases).await;
        ground.start();
        let deadline = ground.now() + Duration::from_secs(30);
        while leader(&leases).await == before {
            assert!(ground.now() < deadline, "nobody took the lease");
            ground.sleep(Duration::from_millis(50)).await;
        }
        // Soon after its next request to the cloud, which come all at once, as long as some are to
        // come; what a killed process asked for is waited for before. Somewhere on its way, then.
        let clock = ground.stage.world.clock.clone();
        let before = ground.requests(Route::AddWorker).len();
        if before < NODES as usize {
            let patience = clock.monotonic() + Duration::from_secs(20);
            while ground.requests(Route::AddWorker).len() == before && clock.monotonic() < patience
            {
                clock.sleep(Duration::from_millis(2)).await;
            }
            let after = random.between(Duration::ZERO, Duration::from_millis(50));
            clock.sleep(after).await;
        } else {
            let after = random.between(Duration::ZERO, Duration::from_secs(4));
            clock.sleep(after).await;
        }
        ground.kill();
        asked.push(ground.requests(Route::AddWorker).len());
    }
    let killing = ground.now().saturating_sub(began);
    ground.start();
    ground.all_run(NODES as usize, 150).await;
    let took = ground.now().saturating_sub(began);
    // Whatever was still to come would have come by now.
    ground.sleep(Duration::from_secs(5)).await;
    println!(
        "{}",
        json!({
            "test": "kills", "kills": KILLS, "seed": SEED,
            "bought": ground.bought().len(), "paid": ground.paid().len(),
            "requestsBeforeEachKill": asked, "requests": ground.requests(Route::AddWorker).len(),
            "killingSeconds": killing.as_secs(), "allRunningSeconds": took.as_secs(),
        })
    );
    // They fell between the purchases, not before nor after all of them.
    let moments: BTreeSet<usize> = asked.into_iter().collect();
    assert!(moments.len() >= 4, "{moments:?}");
    assert_eq!(ground.bought().len(), NODES as usize);
    assert_eq!(ground.paid().len(), NODES as usize);
    ground.assert_owned();
    assert_eq!(ground.ends, 0, "it ended by itself");
}
