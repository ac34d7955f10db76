//! What can be bought and where: the requests behind the catalogue.

use cloud::{CloudError, Datacenter, ErrorClass};
use http::Method;
use model::{DatacenterId, Offering};
use serde_json::{Value, json};

use crate::{
    Vpsie,
    classify::Kind,
    client::{Ask, Turn},
    limiter::Priority,
    observe::drift,
    wire,
};

/// Rows asked for at once. `offset` counts records, not pages.
const PAGE: usize = 1000;
/// No account has more pages; a server that never stops answering must not keep us.
const MOST_PAGES: usize = 10;

impl Vpsie {
    /// The sizes of `datacenter`, sorted. An empty list is an error: it would replace one that was
    /// read before, and nothing could be bought for an hour.
    pub(crate) async fn read_offerings(
        &self,
        turn: &Turn,
        datacenter: &DatacenterId,
    ) -> Result<Vec<Offering>, CloudError> {
        let operation = format!("listing the sizes of datacenter {datacenter}");
        let ask = Ask {
            operation: operation.clone(),
            method: Method::POST,
            path: "/k8s/offers".into(),
            route: "offers",
            body: Some(json!({ "dcIdentifier": datacenter.as_str() })),
            kind: Kind::Read,
            priority: Priority::Catalogue,
            repeatable: true,
        };
        let reply = self.client.ask(turn, ask).await?;
        let nothing = matches!(reply.data, Value::Bool(false) | Value::Null);
        if nothing || reply.data.as_array().is_some_and(Vec::is_empty) {
            return Err(CloudError::new(
                operation,
                ErrorClass::NotFound,
                "the cloud offers no size there, or knows no such datacenter",
            ));
        }
        let rows = reply.rows().map_err(|what| drift(&operation, what))?;
        let mut offerings: Vec<Offering> = rows.iter().filter_map(wire::offering).collect();
        if offerings.len() < rows.len() {
            tracing::warn!(
                %datacenter,
                listed = rows.len(),
                understood = offerings.len(),
                "some sizes are not understood and not offered"
            );
        }
        offerings.sort_by(|a, b| a.size.cmp(&b.size));
        offerings.dedup_by(|a, b| a.size == b.size);
        if offerings.is_empty() {
            return Err(drift(&operation, "no size is understood"));
        }
        Ok(offerings)
    }

    /// Every datacenter, page by page.
    pub(crate) async fn read_datacenters(
        &self,
        turn: &Turn,
    ) -> Result<Vec<Datacenter>, CloudError> {
        let operation = "listing the datacenters";
        let mut all: Vec<Value> = Vec::new();
        for _ in 0..MOST_PAGES {
            let path = format!("/datacenter?offset={}&limit={PAGE}", all.len());
            let reply = self
                .read(turn, operation, "datacenters", path, Priority::Catalogue)
                .await?;
            let rows = reply
                .data
                .as_array()
                .ok_or_else(|| drift(operation, "the answer is not a list"))?;
            let before = all.len();
            for row in rows {
                // A server that ignores `offset` repeats itself.
                if !all.contains(row) {
                    all.push(row.clone());
                }
            }
            let more = reply
                .total
                .map_or(rows.len() >= PAGE, |total| all.len() < total);
            if !more || all.len() == before {
                break;
            }
        }
        let datacenters: Vec<Datacenter> = all.iter().filter_map(wire::datacenter).collect();
        if datacenters.is_empty() {
            return Err(drift(operation, "no datacenter is listed"));
        }
        Ok(datacenters)
    }
}
