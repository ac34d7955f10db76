//! One cluster as the cloud lists it: its machines and its pools in one observation.
//!
//! Three answers make it up: the cluster with its nodes, its node groups,
//! and, where the nodes carry no UUID, the account's machines by host name. Whatever is missing,
//! undecodable or contradictory makes it incomplete; nothing is ever filled in.

use std::collections::{BTreeMap, BTreeSet};

use cloud::{CloudError, ErrorClass};
use http::Method;
use model::{ClusterId, Hostname, Instance, InstanceId, InstancePhase, Observation, Pool, Role};
use serde_json::Value;

use crate::{
    Vpsie,
    base_url::segment,
    classify::{Kind, Reply},
    client::{Ask, Turn},
    limiter::Priority,
    wire,
};

/// The machines of a cluster, and what is wrong with the list.
pub(crate) struct Machines {
    pub(crate) instances: Vec<Instance>,
    pub(crate) defects: Vec<String>,
}

impl Machines {
    pub(crate) fn find(&self, id: &InstanceId) -> Option<&Instance> {
        self.instances.iter().find(|instance| &instance.id == id)
    }
}

/// An answer that is not what the contract promises.
pub(crate) fn drift(operation: &str, what: &str) -> CloudError {
    CloudError::new(operation, ErrorClass::ContractDrift, what)
}

impl Vpsie {
    /// A read without body.
    pub(crate) async fn read(
        &self,
        turn: &Turn,
        operation: &str,
        route: &'static str,
        path: String,
        priority: Priority,
    ) -> Result<Reply, CloudError> {
        let ask = Ask {
            operation: operation.to_owned(),
            method: Method::GET,
            path,
            route,
            body: None,
            kind: Kind::Read,
            priority,
            repeatable: true,
        };
        self.client.ask(turn, ask).await
    }

    /// Lists one cluster.
    pub(crate) async fn observe_cluster(
        &self,
        turn: &Turn,
        cluster: &ClusterId,
    ) -> Result<Observation, CloudError> {
        let started_at = self.client.clock().now();
        let Machines {
            instances,
            mut defects,
        } = self.read_machines(turn, cluster).await?;
        let pools = match self.read_pools(turn, cluster).await {
            Ok(pools) => pools,
            Err(error) => {
                defects.push(error.to_string());
                Vec::new()
            }
        };
        let counted = pools
            .iter()
            .filter_map(|pool| pool.count)
            .fold(0_u32, u32::saturating_add);
        if hides_some(i64::from(counted), workers(&instances)) {
            defects.push(format!(
                "the node groups count {counted} workers, {} are listed",
                workers(&instances)
            ));
        }
        Ok(Observation {
            instances,
            pools,
            complete: defects.is_empty(),
            started_at,
            defects,
        })
    }

    /// The machines of `cluster`, by id. An error means that nothing was learnt.
    pub(crate) async fn read_machines(
        &self,
        turn: &Turn,
        cluster: &ClusterId,
    ) -> Result<Machines, CloudError> {
        let operation = format!("listing the machines of cluster {cluster}");
        let reply = self
            .read(
                turn,
                &operation,
                "cluster",
                format!("/k8s/cluster/byId/{}", segment(cluster.as_str())),
                Priority::Observe,
            )
            .await?;
        let data = match reply.data {
            Value::Object(_) => reply.data,
            // How the cloud says that there is no such object.
            Value::Bool(false) | Value::Null => {
                return Err(CloudError::new(
                    operation,
                    ErrorClass::NotFound,
                    "the cloud knows no such cluster",
                ));
            }
            _ => return Err(drift(&operation, "the answer is not a cluster")),
        };
        if let Some(answered) = wire::text(&data, "identifier")
            && !answered.eq_ignore_ascii_case(cluster.as_str())
        {
            return Err(drift(&operation, "the answer is another cluster"));
        }
        let mut defects = Vec::new();
        let Some(rows) = data.get("nodes").and_then(Value::as_array) else {
            return Err(drift(&operation, "the answer has no list of nodes"));
        };
        let mut instances = Vec::new();
        let mut nameless = Vec::new();
        for row in rows {
            match wire::node(row) {
                Ok(node) if node.uuid.is_some() => instances.push(node.instance),
                Ok(node) => nameless.push(node.instance),
                Err(what) => defects.push(format!("the cluster lists {what}")),
            }
        }
        if !nameless.is_empty() {
            self.name(turn, nameless, &mut instances, &mut defects)
                .await;
        }
        let distinct: BTreeSet<&InstanceId> = instances.iter().map(|i| &i.id).collect();
        if distinct.len() != instances.len() {
            defects.push("one machine is listed twice".into());
        }
        if rows.is_empty() && wire::integer(&data, "managerCount").is_some_and(|count| count > 0) {
            defects.push("a cluster with a control plane lists no machine at all".into());
        }
        let counted = wire::integer(&data, "slaveCount").unwrap_or(0);
        let listed = workers(&instances);
        if hides_some(counted, listed) {
            defects.push(format!(
                "the cluster counts {counted} workers, {listed} are listed"
            ));
        }
        instances.sort_by(|a, b| a.id.cmp(&b.id));
        instances.dedup_by(|a, b| a.id == b.id);
        Ok(Machines { instances, defects })
    }

    /// Finds the UUIDs of machines that are listed without one, by host name. One that cannot be
    /// found, or could be two, is left out and said to be.
    async fn name(
        &self,
        turn: &Turn,
        nameless: Vec<Instance>,
        instances: &mut Vec<Instance>,
        defects: &mut Vec<String>,
    ) {
        let operation = "looking up the identities of machines";
        let path = "/storages/vms".to_owned();
        let reply = self
            .read(turn, operation, "storages-vms", path, Priority::Observe)
            .await;
        let mut known: BTreeMap<Hostname, BTreeSet<String>> = BTreeMap::new();
        match &reply {
            Ok(reply) => match reply.rows() {
                Ok(rows) => {
                    for (hostname, uuid) in rows.iter().filter_map(wire::storage_row) {
                        known.entry(hostname).or_default().insert(uuid);
                    }
                }
                Err(what) => defects.push(format!("{operation}: {what}")),
            },
            Err(error) => defects.push(error.to_string()),
        }
        let mut seen = BTreeSet::new();
        for mut instance in nameless {
            let hostname = instance.hostname.clone();
            let uuids = known.get(&hostname).map_or(0, BTreeSet::len);
            let uuid = known.get(&hostname).and_then(BTreeSet::first);
            match uuid.filter(|_| uuids == 1 && seen.insert(hostname.clone())) {
                Some(uuid) => {
                    instance.id = InstanceId::new(uuid);
                    instances.push(instance);
                }
                // Never touched, so its identity is not needed.
                None if instance.role == Role::ControlPlane => {}
                None => defects.push(format!(
                    "machine {hostname} has no identity of its own ({uuids} known by that name)"
                )),
            }
        }
    }

    /// The node groups of `cluster`, by id, without those that are deleted.
    pub(crate) async fn read_pools(
        &self,
        turn: &Turn,
        cluster: &ClusterId,
    ) -> Result<Vec<Pool>, CloudError> {
        let operation = format!("listing the node groups of cluster {cluster}");
        let reply = self
            .read(
                turn,
                &operation,
                "groups",
                format!("/k8s/node/groups/byClusterId/{}", segment(cluster.as_str())),
                Priority::Observe,
            )
            .await?;
        let rows = reply.rows().map_err(|what| drift(&operation, what))?;
        let mut pools = Vec::new();
        for row in rows {
            if let Some(pool) = wire::pool(row).map_err(|what| drift(&operation, what))? {
                pools.push(pool);
            }
        }
        pools.sort_by_key(|pool| pool.id);
        pools.dedup_by_key(|pool| pool.id);
        Ok(pools)
    }
}

fn workers(instances: &[Instance]) -> i64 {
    let count = instances
        .iter()
        .filter(|instance| {
            instance.role != Role::ControlPlane && instance.phase != InstancePhase::Deleting
        })
        .count();
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Whether a list of `listed` contradicts a count of `counted`. Counts may lead the list while
/// machines are being made, so a small lead says nothing; half of them missing, or all, does.
const fn hides_some(counted: i64, listed: i64) -> bool {
    let missing = counted.saturating_sub(listed);
    (counted > 0 && listed == 0) || (missing >= 2 && missing >= listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_leads_the_list_by_one_says_nothing_and_by_half_does() {
        for (counted, listed, hides) in [
            (0, 0, false),
            (1, 0, true),
            (2, 1, false),
            (4, 2, true),
            (12, 10, false),
            (20, 10, true),
            (3, 5, false),
        ] {
            assert_eq!(hides_some(counted, listed), hides, "{counted} {listed}");
        }
    }
}
