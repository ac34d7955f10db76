//! W7 and W8: single questions to the snapshot, timed one by one.

use std::hint::black_box;

use anyhow::{Context, Result};
use model::NodeName;
use scheduling::Snapshot;
use serde::Serialize;

use crate::{
    fixture::Fixture,
    fixtures,
    stopwatch::{Times, micros, millis, timed},
};

/// What W7 found.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Found {
    workload: String,
    nodes: usize,
    repeats: usize,
    pub(crate) on: Option<NodeName>,
    median_micros: f64,
    min_micros: f64,
}

/// Looks for the only node on which a pod fits.
pub(crate) fn first_fit(fixture: &Fixture, repeats: usize) -> Result<Found> {
    let cluster = fixture.input()?.cluster;
    let mut snapshot = Snapshot::of(&cluster);
    let pod = cluster.waiting.first().context("no pod waits")?;
    let class = snapshot.class(&pod.class);
    let from = snapshot.nodes().next().context("there is no node")?;
    let mut times = Times::default();
    let mut found = None;
    for _ in 0..repeats.max(1) * 100 {
        let (node, time) = timed(|| black_box(&snapshot).first_fit(class, from));
        times.push(time);
        found = node;
    }
    Ok(Found {
        workload: fixture.name.clone(),
        nodes: cluster.nodes.len(),
        repeats: repeats * 100,
        on: found.and_then(|node| snapshot.name(node).cloned()),
        median_micros: micros(times.median()),
        min_micros: micros(times.least()),
    })
}

/// How long W8 took.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Forked {
    workload: String,
    nodes: usize,
    build_millis: f64,
    pub(crate) added: Vec<Added>,
    /// The snapshot is what it was before.
    pub(crate) digest_equal: bool,
}

/// Forking, adding a node with so many pods, and reverting.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Added {
    pub(crate) pods: usize,
    median_micros: f64,
    min_micros: f64,
}

/// How many rounds are timed together: one is too short for the clock.
const TOGETHER: u32 = 100;

/// Forks, adds a node with 0, 1 and 30 pods, and reverts.
pub(crate) fn fork_revert(fixture: &Fixture, repeats: usize) -> Result<Forked> {
    let mut cluster = fixture.input()?.cluster;
    let last = cluster.nodes.pop_last().context("there is no node")?;
    let (new, build) = (last.1, timed(|| Snapshot::of(&cluster)));
    let (mut snapshot, built) = build;
    let classes = snapshot.classes(cluster.waiting.iter().map(|pod| &pod.class));
    let digest = snapshot.digest();
    let mut added = Vec::new();
    for pods in [0, 1, fixtures::KINDS] {
        let mut times = Times::default();
        for _ in 0..repeats.max(1) * 10 {
            let ((), time) = timed(|| {
                for round in 0..TOGETHER {
                    snapshot.fork();
                    // Every other one as a copy, which needs a hostname of its own.
                    let node = if round % 2 == 0 {
                        snapshot.add_node(new.clone())
                    } else {
                        snapshot.add_copy(&new, new.name.clone())
                    };
                    for class in classes.iter().cycle().take(pods) {
                        snapshot.place(node, *class, false);
                    }
                    black_box(&mut snapshot).revert();
                }
            });
            times.push(time / TOGETHER);
        }
        added.push(Added {
            pods,
            median_micros: micros(times.median()),
            min_micros: micros(times.least()),
        });
    }
    Ok(Forked {
        workload: fixture.name.clone(),
        nodes: cluster.nodes.len(),
        build_millis: millis(built),
        added,
        digest_equal: snapshot.digest() == digest,
    })
}
