//! ReplicaSets, ReplicationControllers, StatefulSets and Jobs: that they exist, and how many pods
//! they want. Of each kind there can be tens of thousands, so nothing else is decoded.

use std::{borrow::Cow, fmt::Debug, marker::PhantomData};

use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, StatefulSet},
        batch::v1::Job,
        core::v1::ReplicationController,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use model::{Uid, WorkloadKind};
use serde::Deserialize;

use crate::metadata::{identity, object};

/// What is decoded of a workload.
#[derive(Deserialize, Clone, Debug)]
pub struct Workload {
    /// Who it is.
    #[serde(deserialize_with = "identity")]
    pub metadata: ObjectMeta,
    #[serde(default, deserialize_with = "object")]
    spec: WorkloadSpecView,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct WorkloadSpecView {
    replicas: Option<i64>,
    /// Of a Job.
    parallelism: Option<i64>,
}

impl Workload {
    /// Its identity.
    #[must_use]
    pub fn uid(&self) -> Uid {
        Uid::new(self.metadata.uid.as_deref().unwrap_or_default())
    }

    /// How many pods it wants at once; one where it does not say.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        let wanted = self.spec.replicas.or(self.spec.parallelism);
        u32::try_from(wanted.unwrap_or(1)).unwrap_or_default()
    }
}

/// A Kubernetes type that is a workload.
pub trait WorkloadObject:
    Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static
{
    /// Which.
    const KIND: WorkloadKind;
}

impl WorkloadObject for ReplicaSet {
    const KIND: WorkloadKind = WorkloadKind::ReplicaSet;
}

impl WorkloadObject for ReplicationController {
    const KIND: WorkloadKind = WorkloadKind::ReplicationController;
}

impl WorkloadObject for StatefulSet {
    const KIND: WorkloadKind = WorkloadKind::StatefulSet;
}

impl WorkloadObject for Job {
    const KIND: WorkloadKind = WorkloadKind::Job;
}

/// A workload of one kind, to be watched.
#[derive(Deserialize, Clone, Debug)]
#[serde(transparent, bound = "")]
pub struct WorkloadView<K> {
    /// The workload.
    pub object: Workload,
    #[serde(skip)]
    of: PhantomData<K>,
}

impl<K: WorkloadObject> Resource for WorkloadView<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.object.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.object.metadata
    }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // JSON literals
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of<K: WorkloadObject>(spec: Value) -> u32 {
        let value = json!({"metadata": {"name": "w", "uid": "u",
            "annotations": {"deployment.kubernetes.io/revision": "3"}}, "spec": spec});
        let view: WorkloadView<K> = serde_json::from_value(value).unwrap();
        assert_eq!(view.object.uid().as_str(), "u");
        assert_eq!(view.meta().annotations, None, "not held");
        view.object.replicas()
    }

    #[test]
    fn a_workload_says_how_many_pods_it_wants_and_one_where_it_does_not() {
        assert_eq!(of::<ReplicaSet>(json!({"replicas": 3, "selector": {}})), 3);
        assert_eq!(of::<ReplicationController>(json!({"replicas": 0})), 0);
        assert_eq!(of::<StatefulSet>(json!({})), 1);
        assert_eq!(of::<Job>(json!({"parallelism": 4, "completions": 9})), 4);
        assert_eq!(of::<Job>(json!(null)), 1);
        assert_eq!(of::<ReplicaSet>(json!({"replicas": -1})), 0);
    }

    #[test]
    fn a_view_is_asked_for_where_its_kind_is() {
        let path = |plural: Cow<'_, str>, group: Cow<'_, str>| format!("{group}/{plural}");
        let sets = path(
            WorkloadView::<StatefulSet>::plural(&()),
            WorkloadView::<StatefulSet>::group(&()),
        );
        assert_eq!(sets, "apps/statefulsets");
        let jobs = path(
            WorkloadView::<Job>::plural(&()),
            WorkloadView::<Job>::group(&()),
        );
        assert_eq!(jobs, "batch/jobs");
    }
}
