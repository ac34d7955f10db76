//! The only module that changes the outside world, Kubernetes or cloud.
//!
//! Every call takes place under a leader guard that is checked right before it, ends within a
//! deadline that lies inside the guard's validity, is counted and leaves an audit line *before* it
//! is sent. A stale caller can only be refused: writes carry the version or the identity they
//! were decided on.

mod error;

use std::{fmt, sync::Arc, time::Duration};

use api::{NodeGroup, VPSieNode};
use cloud::{
    Call, CloudProvider, CreateIntent, CreateOutcome, DeleteOutcome, DeleteTarget, Permit,
    PoolRequest,
};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use model::{NodeName, PodKey, Pool, Uid};
use planner::removal::Proof;
use planted::Bug;
use runtime::Clock;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

pub use error::Error;

use crate::{cloud_state::CloudState, leader::LeaderGuard, metrics::Metrics};

/// The field manager of every write.
pub const FIELD_MANAGER: &str = "vpsie-autoscaler";

/// No single call to the Kubernetes API takes longer.
const KUBERNETES_TIMEOUT: Duration = Duration::from_secs(10);
/// No single call to the cloud takes longer, waiting for the rate limit included.
const CLOUD_TIMEOUT: Duration = Duration::from_secs(45);

/// What an audit line says that only the decider knows.
#[derive(Clone, Copy, Debug)]
pub struct Why<'a> {
    /// The VPSieNode it is done for: `namespace/name`.
    pub machine: &'a str,
    /// The reason.
    pub reason: &'a str,
}

/// What is done to a Node.
#[derive(Clone, Copy, Debug)]
pub enum NodeChange<'a> {
    /// Its group's labels, annotations and taints: no scaling action.
    Metadata,
    /// It takes no more pods.
    Cordon(Why<'a>),
    /// It takes pods again.
    Uncordon(Why<'a>),
}

/// One scaling action on its way to Kubernetes: its audit line and its name in errors.
struct Action<'a> {
    decision: &'static str,
    object: String,
    uid: Option<&'a str>,
    why: Why<'a>,
}

/// The gate. Cheap to clone; one per term of leadership.
#[derive(Clone)]
pub struct Effects {
    client: Client,
    provider: Arc<dyn CloudProvider>,
    cloud: CloudState,
    guard: LeaderGuard,
    clock: Clock,
    metrics: Metrics,
    dry_run: bool,
}

impl fmt::Debug for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effects").finish_non_exhaustive()
    }
}

impl Effects {
    /// Effects of the term that `guard` stands for. `client` must not retry by itself. In a dry run
    /// every one of them is told and refused: nothing is sent.
    #[must_use]
    pub const fn new(
        client: Client,
        provider: Arc<dyn CloudProvider>,
        cloud: CloudState,
        guard: LeaderGuard,
        clock: Clock,
        metrics: Metrics,
        dry_run: bool,
    ) -> Self {
        Self {
            client,
            provider,
            cloud,
            guard,
            clock,
            metrics,
            dry_run,
        }
    }

    /// The term these effects belong to.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.guard.epoch()
    }

    // === Kubernetes ===

    /// Creates a VPSieNode: the write-ahead record of a machine.
    pub async fn create_vpsie_node(
        &self,
        object: &VPSieNode,
        reason: &str,
    ) -> Result<VPSieNode, Error> {
        let (namespace, name) = names(object);
        let machine = &format!("{namespace}/{name}");
        let api: Api<VPSieNode> = Api::namespaced(self.client.clone(), &namespace);
        let action = Action {
            decision: "create VPSieNode",
            object: machine.clone(),
            uid: None,
            why: Why { machine, reason },
        };
        self.act(action, api.create(&post(), object)).await
    }

    /// Changes the spec or metadata of a VPSieNode, if it is still the version `seen`.
    pub async fn patch_vpsie_node(
        &self,
        seen: &VPSieNode,
        change: Value,
    ) -> Result<VPSieNode, Error> {
        self.patch(seen, change, false).await
    }

    /// Changes the status of a VPSieNode, if it is still the version `seen`.
    pub async fn patch_vpsie_node_status(
        &self,
        seen: &VPSieNode,
        status: Value,
    ) -> Result<VPSieNode, Error> {
        self.patch(seen, json!({ "status": status }), true).await
    }

    /// Asks for the deletion of exactly this VPSieNode; its finalizer keeps it until the machine
    /// is proven gone.
    pub async fn delete_vpsie_node(&self, seen: &VPSieNode, reason: &str) -> Result<(), Error> {
        let (namespace, name) = names(seen);
        let machine = &format!("{namespace}/{name}");
        let api: Api<VPSieNode> = Api::namespaced(self.client.clone(), &namespace);
        let uid = seen.metadata.uid.clone();
        let action = Action {
            decision: "delete VPSieNode",
            object: machine.clone(),
            uid: uid.as_deref(),
            why: Why { machine, reason },
        };
        let params = exactly(uid.clone());
        self.act(action, api.delete(&name, &params)).await.map(drop)
    }

    /// Changes the metadata of a NodeGroup, if it is still the version `seen`.
    pub async fn patch_node_group(
        &self,
        seen: &NodeGroup,
        change: Value,
    ) -> Result<NodeGroup, Error> {
        self.patch(seen, change, false).await
    }

    /// Changes the status of a NodeGroup, if it is still the version `seen`.
    pub async fn patch_node_group_status(
        &self,
        seen: &NodeGroup,
        status: Value,
    ) -> Result<NodeGroup, Error> {
        self.patch(seen, json!({ "status": status }), true).await
    }

    /// Changes a Node, if it is still the version and identity `seen`.
    pub async fn patch_node(
        &self,
        name: &NodeName,
        uid: &Uid,
        resource_version: &str,
        mut change: Value,
        what: NodeChange<'_>,
    ) -> Result<Node, Error> {
        if let Some(object) = change.as_object_mut() {
            let metadata = object.entry("metadata").or_insert_with(|| json!({}));
            metadata["uid"] = json!(uid.as_str());
            metadata["resourceVersion"] = json!(resource_version);
        }
        let api: Api<Node> = Api::all(self.client.clone());
        let patch = Patch::Merge(change);
        let params = params();
        let call = api.patch(name.as_str(), &params, &patch);
        let (decision, why) = match what {
            NodeChange::Metadata => {
                return self.kubernetes(format!("label node {name}"), call).await;
            }
            NodeChange::Cordon(why) => ("cordon node", why),
            NodeChange::Uncordon(why) => ("uncordon node", why),
        };
        let action = Action {
            decision,
            object: name.to_string(),
            uid: Some(uid.as_str()),
            why,
        };
        self.act(action, call).await
    }

    /// Deletes exactly this Node object.
    pub async fn delete_node(
        &self,
        name: &NodeName,
        uid: &Uid,
        proof: &Proof,
        machine: &str,
    ) -> Result<(), Error> {
        let api: Api<Node> = Api::all(self.client.clone());
        let action = Action {
            decision: "delete node",
            object: name.to_string(),
            uid: Some(uid.as_str()),
            why: Why {
                machine,
                reason: proof.name(),
            },
        };
        let params = exactly(Some(uid.to_string()));
        match self.act(action, api.delete(name.as_str(), &params)).await {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks one pod to leave, through the eviction subresource, with the pod's own grace period.
    pub async fn evict(&self, pod: &PodKey, uid: &Uid, why: Why<'_>) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        let action = Action {
            decision: "evict pod",
            object: pod.to_string(),
            uid: Some(uid.as_str()),
            why,
        };
        // `Api::evict` writes the options under a name that no server reads: the pod that is there by
        // then would go, whichever it is.
        let mut eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"namespace": &*pod.namespace, "name": &*pod.name},
            "deleteOptions": {"preconditions": {"uid": uid.as_str()}},
        });
        if planted::is(Bug::EvictByName) {
            eviction["deleteOptions"] = json!({});
        }
        if planted::is(Bug::OwnGracePeriod) {
            eviction["deleteOptions"]["gracePeriodSeconds"] = json!(1);
        }
        if planted::is(Bug::DeletePods) {
            let params = exactly(Some(uid.to_string()));
            return self
                .act(action, api.delete(&pod.name, &params))
                .await
                .map(drop);
        }
        let params = PostParams::default();
        let call = api.create_subresource::<_, Value>("eviction", &pod.name, &params, &eviction);
        match self.act(action, call).await {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn patch<K>(&self, seen: &K, mut change: Value, status: bool) -> Result<K, Error>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + fmt::Debug
            + Serialize
            + DeserializeOwned,
    {
        let (namespace, name) = names(seen);
        if let Some(object) = change.as_object_mut() {
            let metadata = object.entry("metadata").or_insert_with(|| json!({}));
            metadata["uid"] = json!(seen.meta().uid);
            if !planted::is(Bug::WriteUnversioned) {
                metadata["resourceVersion"] = json!(seen.meta().resource_version);
            }
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        let part = if status { "status of " } else { "" };
        let operation = format!("writing {part}{} {namespace}/{name}", K::kind(&()));
        let patch = Patch::Merge(change);
        if status {
            self.kubernetes(operation, api.patch_status(&name, &params(), &patch))
                .await
        } else {
            self.kubernetes(operation, api.patch(&name, &params(), &patch))
                .await
        }
    }

    /// A scaling action: its audit line is written first.
    async fn act<T>(
        &self,
        action: Action<'_>,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        let Action {
            decision,
            object,
            uid,
            why,
        } = action;
        let operation = format!("{decision} {object}");
        self.leads(&operation)?;
        tracing::info!(
            target: "audit",
            request_id = %self.cloud.request_id(),
            decision,
            object,
            uid,
            vpsie_node = why.machine,
            reason = why.reason,
            epoch = self.epoch(),
            dry_run = self.dry_run,
            "scaling action"
        );
        self.kubernetes(operation, call).await
    }

    async fn kubernetes<T>(
        &self,
        operation: String,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        let remaining = self.check(&operation)?;
        let limit = remaining.min(KUBERNETES_TIMEOUT);
        tracing::debug!(operation, epoch = self.epoch(), "write");
        match self.clock.timeout(limit, call).await {
            Err(_) => Err(Error::Timeout { operation, limit }),
            Ok(Err(error)) => Err(Error::from_kube(operation, error)),
            Ok(Ok(value)) => Ok(value),
        }
    }

    /// Whether something may be sent now, and for how long that holds.
    fn check(&self, operation: &str) -> Result<Duration, Error> {
        let left = self.leads(operation)?;
        if self.dry_run && !planted::is(Bug::ActInDryRun) {
            self.metrics.withheld();
            tracing::info!(operation, "dry run: not done");
            return Err(Error::DryRun {
                operation: operation.to_owned(),
            });
        }
        Ok(left)
    }

    fn leads(&self, operation: &str) -> Result<Duration, Error> {
        self.guard.check().map_err(|source| {
            self.metrics.effect_refused();
            Error::NotLeading {
                operation: operation.to_owned(),
                source,
            }
        })
    }

    // === The cloud ===

    /// A call that is withheld should the term end while it waits to be sent.
    fn call(&self) -> Call {
        self.call_while(|| true)
    }

    /// A call that is withheld as well should `stands` not hold when it is sent.
    fn call_while(&self, stands: impl Fn() -> bool + Send + Sync + 'static) -> Call {
        let guard = self.guard.clone();
        Call {
            permit: Permit::new(move || guard.check().is_ok() && stands()),
            ..self.cloud.call(CLOUD_TIMEOUT)
        }
    }

    /// Makes the pool of a size exist.
    pub async fn ensure_pool(&self, request: &PoolRequest, why: Why<'_>) -> Result<Pool, Error> {
        self.leads("make a pool")?;
        let call = self.call();
        tracing::info!(
            target: "audit",
            request_id = %call.request_id,
            decision = "make pool",
            object = request.name,
            size = %request.size,
            vpsie_node = why.machine,
            reason = why.reason,
            epoch = self.epoch(),
            dry_run = self.dry_run,
            "scaling action"
        );
        self.check("make a pool")?;
        Ok(self.provider.ensure_pool(&call, request).await?)
    }

    /// Buys one machine: exactly one creating request. The intent is durable already.
    pub async fn create_machine(
        &self,
        intent: &CreateIntent,
        why: Why<'_>,
    ) -> Result<CreateOutcome, Error> {
        self.leads("create a machine")?;
        let call = self.call();
        tracing::info!(
            target: "audit",
            request_id = %call.request_id,
            decision = "create machine",
            object = %intent.operation,
            pool = %intent.pool,
            size = %intent.size,
            vpsie_node = why.machine,
            reason = why.reason,
            epoch = self.epoch(),
            dry_run = self.dry_run,
            "scaling action"
        );
        self.check("create a machine")?;
        Ok(self.provider.create(&call, intent).await)
    }

    /// Deletes one machine, by identity, with the proof that it may go. The request may wait for
    /// the rate limit and for a slow cloud; it is not sent unless what the proof rests on `stands`
    /// then.
    pub async fn delete_machine(
        &self,
        target: &DeleteTarget,
        proof: &Proof,
        machine: &str,
        stands: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<DeleteOutcome, Error> {
        self.leads("delete a machine")?;
        let call = self.call_while(stands);
        tracing::info!(
            target: "audit",
            request_id = %call.request_id,
            decision = "delete machine",
            object = %target.instance,
            hostname = %target.hostname,
            vpsie_node = machine,
            reason = proof.name(),
            epoch = self.epoch(),
            dry_run = self.dry_run,
            "scaling action"
        );
        self.check("delete a machine")?;
        Ok(self.provider.delete(&call, target).await)
    }
}

fn names<K: Resource>(object: &K) -> (String, String) {
    (
        object.meta().namespace.clone().unwrap_or_default(),
        object.meta().name.clone().unwrap_or_default(),
    )
}

fn post() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PostParams::default()
    }
}

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PatchParams::default()
    }
}

fn exactly(uid: Option<String>) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions {
            uid,
            resource_version: None,
        }),
        ..DeleteParams::default()
    }
}

/// The merge patch that turns `old` into `new`; `None` when they are equal. Lists are replaced
/// whole, keys that are gone become `null` (RFC 7396).
#[must_use]
pub fn merge_diff(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let mut patch = serde_json::Map::new();
    for (key, value) in new {
        let before = old.get(key).unwrap_or(&Value::Null);
        if let Some(change) = merge_diff(before, value) {
            patch.insert(key.clone(), change);
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_diff_names_only_what_changed_and_clears_what_is_gone() {
        let old = json!({"phase": "Pending", "creation": {"attempt": 1}, "nodes": [1], "a": 1});
        let new = json!({"phase": "Ready", "creation": {"attempt": 1}, "nodes": [1, 2]});
        assert_eq!(
            merge_diff(&old, &new),
            Some(json!({"phase": "Ready", "nodes": [1, 2], "a": null}))
        );
        assert_eq!(merge_diff(&new, &new), None);
    }
}
