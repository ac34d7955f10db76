//! The answer as JSON. Its form is documented in docs/explain.md, and stable.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    sync::Arc,
};

use model::Pod;
use serde::Serialize;

use super::cluster::Cluster;
use crate::offline::reason::{Reason, ReasonRow};

/// Of this form.
pub(super) const VERSION: u32 = 1;

#[derive(Serialize)]
struct PodRow<'a> {
    pod: String,
    nodes: Vec<NodeRow<'a>>,
    groups: Vec<GroupRow<'a>>,
}

#[derive(Serialize)]
struct NodeRow<'a> {
    node: &'a str,
    #[serde(flatten)]
    verdict: Verdict,
}

#[derive(Serialize)]
struct GroupRow<'a> {
    group: &'a str,
    offering: &'a str,
    #[serde(flatten)]
    verdict: Verdict,
}

/// What is said of a pod on a node or on a machine to come.
#[derive(Serialize)]
pub(super) struct Verdict {
    fits: bool,
    filters: BTreeSet<&'static str>,
    reasons: Vec<ReasonRow>,
}

impl Verdict {
    /// It fits where nothing stands against it.
    pub(super) fn of(reasons: &[Reason]) -> Self {
        Self {
            fits: reasons.is_empty(),
            filters: reasons
                .iter()
                .map(Reason::filter)
                .filter(|filter| !filter.is_empty())
                .collect(),
            reasons: reasons.iter().map(ReasonRow::from).collect(),
        }
    }
}

/// Writes the answer on one line, pod by pod: all of it at once can be very large.
pub(super) fn write(
    cluster: &mut Cluster,
    asked: &[Arc<Pod>],
    out: &mut impl Write,
) -> io::Result<()> {
    write!(out, "{{\"version\":{VERSION},\"pods\":[")?;
    for (index, pod) in asked.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        let verdicts = cluster.judge(&pod.class);
        let nodes = cluster.nodes().zip(&verdicts.nodes);
        let offers = cluster.offers().iter().zip(&verdicts.offers);
        let row = PodRow {
            pod: pod.key.to_string(),
            nodes: nodes
                .map(|(node, reasons)| NodeRow {
                    node: node.as_str(),
                    verdict: Verdict::of(reasons),
                })
                .collect(),
            groups: offers
                .map(|(offer, reasons)| GroupRow {
                    group: &offer.group,
                    offering: &offer.offering,
                    verdict: Verdict::of(reasons),
                })
                .collect(),
        };
        serde_json::to_writer(&mut *out, &row)?;
    }
    out.write_all(b"]}\n")
}
