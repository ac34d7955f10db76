//! The fixtures of the workloads, rebuilt from what the peers publish about theirs.

mod backlog;
mod cluster;
mod diverse;
mod engine;
mod preferring;
mod running;
mod shapes;
mod waiting;

pub(crate) use backlog::backlog;
pub(crate) use cluster::{Sizes, cluster};
pub(crate) use diverse::diverse;
pub(crate) use engine::{KINDS, forked, last_fits};
pub(crate) use preferring::preferring;
pub(crate) use running::{evenly_idle, mixed};
pub(crate) use shapes::{lone, two_shapes};
pub(crate) use waiting::{hopeless, mixed_backlog};

use serde_json::{Value, json};

use crate::objects::{Amounts, ZONE, group, offering};

const MIB: i64 = 1 << 20;
const GIB: i64 = 1 << 30;

/// Karpenter's zones.
const ZONES: [&str; 3] = ["test-zone-1", "test-zone-2", "test-zone-3"];

/// What Karpenter's fixtures draw pods' CPU from, in thousandths.
const CPUS: [i64; 5] = [100, 250, 500, 1000, 1500];

/// What they draw pods' memory from, in MiB.
const MEMORIES: [i64; 6] = [100, 256, 512, 1024, 2048, 4096];

/// More machines than any fixture needs.
const PLENTY: u32 = 100_000;

/// Karpenter's fake instance types: the n-th has n CPUs, twice as many GiB and ten times as many
/// pods, for 0.1 a CPU and 0.1 for 10⁹ bytes.
fn instance_types(count: i64) -> Vec<Value> {
    let kept = Amounts::ask(100, 10 * MIB);
    (1..=count)
        .map(|n| {
            let has = Amounts {
                cpu: n * 1000,
                memory: n * 2 * GIB,
                pods: n * 10,
            };
            // In tenths of a billionth: a CPU is 0.1, a byte 0.1 billionths.
            let price = n * 1_000_000_000 + has.memory;
            let price = format!("{}.{:010}", price / 10_000_000_000, price % 10_000_000_000);
            offering(&format!("fake-it-{}", n - 1), has, kept, &price)
        })
        .collect()
}

/// A group in each of Karpenter's zones, all of which may buy every offering.
fn group_per_zone(offerings: &[Value]) -> impl Iterator<Item = Value> {
    let ids: Vec<String> = offerings
        .iter()
        .filter_map(|offering| offering["id"].as_str().map(str::to_owned))
        .collect();
    ZONES
        .iter()
        .map(move |zone| group(zone, &json!({ZONE: zone}), &ids, PLENTY))
}
