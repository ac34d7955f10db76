//! What a node has in use, against the thresholds of its group: unneeded is what is strictly below
//! both (requirements E1, E8).

use std::sync::Arc;

use jiff::Timestamp;
use model::{Node, Pod, Usage};

use super::{Group, Settings};
use crate::removal::{pods, refusal::Refusal};

/// Why the node is not unneeded; nothing where it is.
pub(super) fn in_use(
    node: &Node,
    pods: &[&Arc<Pod>],
    usage: Option<&Usage>,
    group: &Group,
    settings: &Settings,
    now: Timestamp,
) -> Vec<Refusal> {
    // What is measured there then is what leaves with it.
    if pods.is_empty() {
        return Vec::new();
    }
    let moving = pods.iter().filter(|pod| pods::has_to_move(pod));
    let [cpu, memory] = moving.fold([0_i64; 2], |[cpu, memory], pod| {
        let asks = &pod.class.requests;
        [
            cpu.saturating_add(asks.cpu_milli.max(0)),
            memory.saturating_add(asks.memory.max(0)),
        ]
    });
    let fresh = usage.filter(|usage| {
        let age = now.duration_since(usage.at);
        // One of the future is one of a clock that goes before ours.
        age.is_negative() || age.unsigned_abs() <= settings.usage_max_age
    });
    let has = &node.shape.allocatable;
    let mut refusals = Vec::new();
    for (resource, asked, measured, has, threshold) in [
        (
            "cpu",
            cpu,
            fresh.map(|usage| usage.cpu_milli),
            has.cpu_milli,
            group.cpu_threshold,
        ),
        (
            "memory",
            memory,
            fresh.map(|usage| usage.memory),
            has.memory,
            group.memory_threshold,
        ),
    ] {
        let used = asked.max(measured.unwrap_or(0));
        if i128::from(used) * 100 < i128::from(threshold) * i128::from(has) {
            continue;
        }
        let percent = i128::from(used) * 100 / i128::from(has.max(1));
        refusals.push(Refusal::NotUnderutilized {
            resource,
            measured: used > asked,
            percent: u32::try_from(percent).unwrap_or(u32::MAX),
            threshold,
        });
    }
    refusals
}
