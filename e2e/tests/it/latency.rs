//! How long the product itself takes from pods that fit nowhere to the first purchase and to the
//! last pod, and how many machines it takes for them.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;
use sim::DeploymentOptions;
use vpsie_sim::Route;

use crate::ground::{Ground, group, world};

/// Pods of half a CPU.
const PODS: u32 = 20;
/// From the request for a machine to its Ready node: the sum of the world's times below.
const BOOT: Duration = Duration::from_millis(500 + 3000 + 2000 + 2000);
/// The limits that the product is held to.
const FIRST_POST: Duration = Duration::from_secs(2);
const RUNNING: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go and minutes: e2e/README.md"]
async fn twenty_pods_run_ten_seconds_after_their_machines_boot_on_as_many_as_they_need() {
    let timings = world((3000, 3000), (2000, 2000), (2000, 2000));
    let mut ground = Ground::set(timings, 41, &[]).await;
    ground.start();
    // A node keeps 60m for its kubelet and 50m for the network's DaemonSet.
    for (name, offering, cpus) in [
        ("small", "small-2cpu-4gb", 2),
        ("medium", "medium-4cpu-8gb", 4),
    ] {
        let each = (cpus * 1000 - 60 - 50) / 500;
        let needed = PODS.div_ceil(each) as usize;
        ground.apply(&group(name, offering, 12, &json!({}))).await;
        ground.group_is_known(name).await;
        let asked_before = ground.requests(Route::AddWorker).len();
        let paid_before = ground.paid().len();
        let ran_before = ground.stage.world.counts().running;
        let clock = ground.stage.world.clock.clone();

        let created = clock.monotonic();
        let options = DeploymentOptions {
            node_selector: BTreeMap::from([("pool".into(), name.into())]),
            ..DeploymentOptions::default()
        };
        ground.deploy(name, PODS, "500m", &options).await;
        let limit = Duration::from_mins(1);
        let world = &ground.stage.world;
        assert!(
            world
                .wait_until(limit, |view| view.counts().unschedulable > 0)
                .await
        );
        let (first_marked, created_to_marked) =
            (clock.now(), clock.monotonic().saturating_sub(created));
        let all = |view: &sim::View| view.counts().unschedulable == PODS as usize;
        assert!(world.wait_until(limit, all).await);
        let all_marked = clock.now();
        ground.all_run(ran_before + PODS as usize, 60).await;
        let took = ground.now().saturating_sub(created);

        let posts = ground.requests(Route::AddWorker).split_off(asked_before);
        let first = posts.first().unwrap().at;
        let last = posts.last().unwrap().at;
        let after = |from: jiff::Timestamp, to: jiff::Timestamp| {
            Duration::try_from(to.duration_since(from)).unwrap_or_default()
        };
        let own = took.saturating_sub(BOOT);
        println!(
            "{}",
            json!({
                "test": "latency", "group": name, "pods": PODS,
                "machines": ground.paid().len() - paid_before, "needed": needed,
                "createdToFirstMarkedMs": created_to_marked.as_millis() as u64,
                "firstMarkedToFirstPostMs": after(first_marked, first).as_millis() as u64,
                "allMarkedToFirstPostMs": after(all_marked, first).as_millis() as u64,
                "firstToLastPostMs": after(first, last).as_millis() as u64,
                "createdToAllRunningMs": took.as_millis() as u64,
                "bootMs": BOOT.as_millis() as u64, "withoutBootMs": own.as_millis() as u64,
            })
        );
        assert!(after(first_marked, first) < FIRST_POST);
        assert!(own < RUNNING, "{own:?}");
        // Whatever was still to come would have come by now.
        ground.sleep(Duration::from_secs(3)).await;
        assert_eq!(ground.paid().len() - paid_before, needed);
        assert_eq!(
            ground.requests(Route::AddWorker).len() - asked_before,
            needed
        );
        ground.assert_owned();
    }
}
