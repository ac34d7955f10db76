use serde_json::json;

use crate::harness::{Harness, all_running, settled, virtually};

#[test]
fn pending_pods_become_ready_nodes_and_empty_nodes_go_away() {
    virtually(|| async {
        let harness = Harness::new(1).await;
        harness.group("general", 0, 10, json!({})).await;
        let replica = harness.start();
        harness.deployment("web", 10, "800m", None).await;
        harness.wait(15, "all pods run", all_running(10)).await;
        assert_eq!(
            harness.bought(),
            5,
            "two pods of 800m fit one machine\n{}",
            harness.picture()
        );
        harness.world.scale("default", "web", 0).await.unwrap();
        harness.wait(60, "all nodes are gone", settled(0)).await;
        assert_eq!(harness.paid(), 0);
        assert_eq!(harness.bought(), 5);
        assert!(harness.world.view().counts().nodes_ready == 0);
        replica.stop().await;
    });
}

#[test]
fn two_runs_with_one_seed_are_equal_byte_for_byte() {
    let run = || {
        virtually(|| async {
            let harness = Harness::new(7).await;
            harness.group("general", 1, 10, json!({})).await;
            let replica = harness.start();
            harness.deployment("web", 6, "800m", None).await;
            harness.wait(15, "all pods run", all_running(6)).await;
            harness.world.scale("default", "web", 0).await.unwrap();
            harness.wait(60, "back at the minimum", settled(1)).await;
            replica.stop().await;
            harness.world.trace()
        })
    };
    let (first, second) = (run(), run());
    assert!(first.len() > 1000);
    if first != second {
        let at = first.lines().zip(second.lines()).position(|(a, b)| a != b);
        let line = |text: &str| at.and_then(|at| text.lines().nth(at).map(ToOwned::to_owned));
        panic!(
            "the runs differ at line {at:?}:\n{:?}\n{:?}",
            line(&first),
            line(&second)
        );
    }
}

#[test]
fn the_minimum_is_kept_without_any_pod() {
    virtually(|| async {
        let harness = Harness::new(2).await;
        harness.group("general", 2, 5, json!({})).await;
        let replica = harness.start();
        harness.wait(15, "two nodes", settled(2)).await;
        harness.minutes(60).await;
        assert_eq!((harness.bought(), harness.paid()), (2, 2));
        replica.stop().await;
    });
}

#[test]
fn an_idle_hour_writes_nothing_but_the_lease() {
    virtually(|| async {
        let harness = Harness::new(3).await;
        harness.group("general", 2, 5, json!({})).await;
        let replica = harness.start();
        harness.wait(15, "two nodes", settled(2)).await;
        harness.minutes(30).await;
        let writes = |harness: &Harness| -> Vec<String> {
            harness
                .world
                .kube
                .journal()
                .records()
                .iter()
                .filter(|record| record.actor == "vpsie-autoscaler" && record.is_write())
                .filter(|record| record.resource != "leases")
                .map(|record| format!("{record:?}"))
                .collect()
        };
        let before = writes(&harness).len();
        harness.minutes(60).await;
        let after = writes(&harness);
        assert_eq!(after.len(), before, "{:#?}", &after[before..]);
        replica.stop().await;
    });
}
