//! The answer as JSON. Its form is documented in docs/simulate.md, and stable.

use std::io::{self, Write};

use model::HourlyPrice;
use serde::Serialize;

use super::outcome::{Outcome, against};
use crate::offline::reason::ReasonRow;

/// Of this form.
const VERSION: u32 = 1;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    version: u32,
    buy: Vec<BuyRow>,
    placed: usize,
    pending: Vec<PendingRow>,
    hourly_price: Option<String>,
    lower_bound: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuyRow {
    group: String,
    offering: String,
    count: u32,
    hourly_price: Option<String>,
}

#[derive(Serialize)]
struct PendingRow {
    pod: String,
    reasons: Vec<OwnedRow>,
}

#[derive(Serialize)]
struct OwnedRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offering: Option<String>,
    #[serde(flatten)]
    reason: ReasonRow,
}

/// Writes the answer on one line.
pub(super) fn write(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    let text = |price: Option<HourlyPrice>| price.map(|price| price.to_string());
    let buy = outcome.buy.iter().map(|buy| BuyRow {
        group: buy.group.to_string(),
        offering: buy.offering.to_string(),
        count: buy.count,
        hourly_price: text(buy.price),
    });
    let pending = outcome.pending.iter().map(|(pod, reason)| PendingRow {
        pod: pod.to_string(),
        reasons: against(reason)
            .iter()
            .map(|against| OwnedRow {
                group: against.group.map(ToString::to_string),
                offering: against.offering.map(ToString::to_string),
                reason: ReasonRow::from(&against.reason),
            })
            .collect(),
    });
    let answer = Answer {
        version: VERSION,
        buy: buy.collect(),
        placed: outcome.placed(),
        pending: pending.collect(),
        hourly_price: text(outcome.price),
        lower_bound: text(outcome.lower_bound),
    };
    serde_json::to_writer(&mut *out, &answer)?;
    out.write_all(b"\n")
}
