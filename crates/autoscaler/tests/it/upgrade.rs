//! A cluster as the predecessor left it, in virtual time: `e2e` leaves the same objects in a real
//! one. What was decided is carried out, and nothing else is bought or deleted.

#[path = "../../../../e2e/tests/it/upgrade/left.rs"]
mod left;

use std::{collections::BTreeMap, time::Duration};

use futures::future::LocalBoxFuture;
use kube::Client;
use serde_json::json;
use sim::{DeploymentOptions, View, WorldConfig};
use vpsie_sim::{InitialGroup, Machine, Phase, Role, Route};

use crate::harness::{Harness, all_running, virtually};
use left::{GROUP, Machines, Place, WORKERS};

const API: &str = "autoscaler.vpsie.com/v1alpha1";

/// The predecessor's cluster, and what in it is none of the product's business.
struct Cluster {
    harness: Harness,
    client: Client,
    machines: Machines,
    /// A worker of a person, and one that a create brought which the predecessor forgot.
    foreign: [Machine; 2],
    group: String,
}

fn machine(harness: &Harness, uuid: &str) -> Machine {
    let mut all = harness.world.cloud.machines().into_iter();
    all.find(|machine| machine.uuid == uuid).unwrap()
}

impl Cluster {
    /// Left a moment ago; the product is not there yet.
    fn left(seed: u64) -> LocalBoxFuture<'static, Self> {
        Box::pin(Self::leave(seed))
    }

    async fn leave(seed: u64) -> Self {
        let span =
            |seconds: u64| json!({ "low": format!("{seconds}s"), "high": format!("{seconds}s") });
        let mut config: WorldConfig = serde_json::from_value(json!({ "cloud": { "timings": {
            "queued": span(1), "creating": span(10), "joining": span(15), "readying": span(1),
            "deleting": span(2),
        } } }))
        .unwrap();
        config.cloud.clusters[0].groups = vec![InitialGroup {
            name: GROUP.into(),
            size: 101,
            workers: WORKERS,
        }];
        let harness = Harness::with(seed, config, &[]).await;
        let client = harness.world.client("predecessor");
        let mut workers = harness.world.cloud.machines().into_iter();
        let mut next = || {
            let worker = workers.find(|machine| machine.role == Role::Worker);
            worker.unwrap()
        };
        let (ready, named, joining, failed, terminating) = (next(), next(), next(), next(), next());
        let group = place(&harness).leave_group(&client).await;
        harness
            .wait(5, "the nodes are there", |view| {
                view.counts().nodes_ready == WORKERS as usize
            })
            .await;
        let (provisioned, by_hand) = (add(&harness), add(&harness));
        while machine(&harness, &provisioned.uuid).phase != Phase::Running {
            harness.clock.sleep(Duration::from_secs(1)).await;
        }
        let (building, unheard) = (add(&harness), add(&harness));
        let machines = Machines {
            ready,
            named,
            joining,
            failed,
            terminating,
            provisioned: machine(&harness, &provisioned.uuid),
            building,
        };
        machines.leave(&client, &place(&harness), &group).await;
        let options = DeploymentOptions {
            node_selector: BTreeMap::from([("tier".into(), "web".into())]),
            ..DeploymentOptions::default()
        };
        let made = harness
            .world
            .create_deployment("default", "web", 6, "500m", "64Mi", &options);
        made.await.unwrap();
        harness.wait(5, "the pods run", all_running(6)).await;
        Self {
            harness,
            client,
            machines,
            foreign: [by_hand, unheard],
            group,
        }
    }

    /// Creates, deletions and new node groups at the cloud.
    fn writes(&self) -> [usize; 3] {
        let journal = self.harness.world.cloud.journal();
        [Route::AddWorker, Route::DeleteWorker, Route::AddGroup].map(|route| {
            journal
                .iter()
                .filter(|request| request.route == route)
                .count()
        })
    }

    /// Three pods on each node that serves, so that none of them is empty.
    async fn fill(&self) {
        let full = 3 * self.machines.serving().len();
        let replicas = u32::try_from(full).unwrap();
        let scaled = self.harness.world.scale("default", "web", replicas);
        scaled.await.unwrap();
        self.harness
            .wait(2, "the pods run", all_running(full))
            .await;
    }

    fn is_paid(&self, machine: &Machine) -> bool {
        let machines = self.harness.world.cloud.machines();
        let mut of_it = machines.iter().filter(|one| one.uuid == machine.uuid);
        of_it.any(Machine::is_paid)
    }
}

fn place(harness: &Harness) -> Place {
    let cluster = harness.world.cluster.clone();
    Place {
        pool: harness.world.cloud.pools(&cluster)[0].id,
        cluster,
        now: harness.clock.now(),
    }
}

fn add(harness: &Harness) -> Machine {
    let place = place(harness);
    let cloud = &harness.world.cloud;
    cloud.human_add_worker(&place.cluster, place.pool).unwrap()
}

/// Machines that exist or may, and nodes that are ready, as the group's status says.
fn says(current: i32, ready: i32) -> impl Fn(&View) -> bool {
    move |view| {
        let group = &view.groups["kube-system/complete"];
        (group.current, group.ready) == (current, ready)
    }
}

#[test]
fn what_the_predecessor_left_is_taken_over_without_buying_or_deleting_a_machine() {
    virtually(|| async {
        let left = Cluster::left(301).await;
        let harness = &left.harness;
        let replica = harness.start();
        // With the one that was given up, the create that was never heard of, and the one being
        // deleted that is not proven to be gone.
        harness.wait(1, "five serve", says(8, 5)).await;
        let view = harness.world.view();
        for (name, machine) in left.machines.serving() {
            let row = &view.vpsie_nodes[&format!("kube-system/{name}")];
            assert_eq!(row.phase, "Ready", "{name}");
            assert_eq!(
                row.machine.as_deref(),
                Some(machine.uuid.as_str()),
                "{name}"
            );
            assert_eq!(
                row.node.as_deref(),
                Some(machine.node_name.as_str()),
                "{name}"
            );
            let group = view.nodes[&machine.node_name].group.as_deref();
            assert_eq!(group, Some("kube-system/complete"), "{name}");
        }
        left.fill().await;
        harness
            .wait(2, "that create counts no more", says(7, 5))
            .await;
        harness
            .wait(5, "the one being deleted is gone", says(6, 5))
            .await;
        harness.minutes(15).await;
        assert_eq!(left.writes(), [0, 0, 0], "{}", harness.picture());
        assert!(says(6, 5)(&harness.world.view()), "{}", harness.picture());
        let view = harness.world.view();
        assert!(
            !view
                .vpsie_nodes
                .contains_key("kube-system/complete-deleting")
        );
        let [by_hand, unheard] = &left.foreign;
        let others = [
            by_hand,
            unheard,
            &left.machines.failed,
            &left.machines.terminating,
        ];
        for machine in others {
            let node = &view.nodes[&machine.node_name];
            assert_eq!((node.group.as_deref(), node.unschedulable), (None, false));
        }
        assert_eq!(harness.world.counts().running, 15);
        replica.stop().await;
    });
}

#[test]
fn what_the_predecessor_had_decided_is_carried_out_once() {
    virtually(|| async {
        let left = Cluster::left(302).await;
        let (harness, machines) = (&left.harness, &left.machines);
        let at = place(harness);
        machines.leave_decided(&left.client, &at, &left.group).await;
        let replica = harness.start();
        // The create that was never heard of could still bring the pool a machine for two minutes.
        harness
            .wait(5, "one more and one less", |view| {
                let pending = view.vpsie_nodes.get("kube-system/complete-pending");
                pending.is_some_and(|node| node.phase == "Ready")
                    && !view
                        .vpsie_nodes
                        .contains_key("kube-system/complete-terminating")
            })
            .await;
        harness.minutes(5).await;
        assert_eq!(left.writes(), [1, 1, 0], "{}", harness.picture());
        assert!(
            !left.is_paid(&machines.terminating),
            "{}",
            harness.picture()
        );
        replica.stop().await;
    });
}

#[test]
fn a_machine_that_the_predecessor_knew_by_its_nodes_name_alone_ends_with_its_object() {
    virtually(|| async {
        let left = Cluster::left(303).await;
        let (harness, named) = (&left.harness, &left.machines.named);
        // Deleted before the product comes: it must not forget whose machine it was.
        let deleted = harness
            .world
            .delete(API, "VPSieNode", "kube-system", "complete-named");
        deleted.await.unwrap();
        let replica = harness.start();
        harness
            .wait(10, "the object is gone", |view| {
                !view.vpsie_nodes.contains_key("kube-system/complete-named")
            })
            .await;
        assert!(!left.is_paid(named), "{}", harness.picture());
        assert!(!harness.world.view().nodes.contains_key(&named.node_name));
        assert_eq!(left.writes(), [0, 1, 0], "{}", harness.picture());
        replica.stop().await;
    });
}

#[test]
fn a_machine_that_the_predecessor_gave_up_goes_when_the_time_it_was_given_is_over() {
    virtually(|| async {
        let left = Cluster::left(304).await;
        let (harness, failed) = (&left.harness, &left.machines.failed);
        let replica = harness.start();
        harness.wait(1, "five serve", says(8, 5)).await;
        left.fill().await;
        // It was given up half a minute before, and is kept for half an hour.
        harness.minutes(27).await;
        assert!(left.is_paid(failed), "{}", harness.picture());
        harness
            .wait(5, "the object is gone", |view| {
                !view.vpsie_nodes.contains_key("kube-system/complete-failed")
            })
            .await;
        assert!(!left.is_paid(failed), "{}", harness.picture());
        assert_eq!(left.writes(), [0, 1, 0], "{}", harness.picture());
        replica.stop().await;
    });
}
