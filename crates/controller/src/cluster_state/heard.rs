//! When each kind was last heard of.
//!
//! kube's watcher hands on events but not bookmarks, so a quiet kind and one whose watch is frozen
//! look alike. The client under the watches tells them apart: it notes every piece of a watch that
//! arrives (API servers send a bookmark about once a minute, however quiet it is) and every page of
//! a list. That a watch could be *started* proves nothing and is not noted.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use kube::{Client, client::Body};
use runtime::Clock;
use tower::Service;

/// The kinds that are watched.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Pods that have not finished.
    Pods,
    /// Nodes.
    Nodes,
    /// DaemonSets.
    DaemonSets,
    /// NodeGroups.
    NodeGroups,
    /// VPSieNodes.
    VPSieNodes,
    /// Namespaces.
    Namespaces,
    /// PersistentVolumes.
    PersistentVolumes,
    /// PersistentVolumeClaims.
    PersistentVolumeClaims,
    /// StorageClasses.
    StorageClasses,
    /// CSINodes.
    CSINodes,
    /// CSIDrivers.
    CSIDrivers,
    /// CSIStorageCapacities.
    CSIStorageCapacities,
    /// VolumeAttachments.
    VolumeAttachments,
    /// PodDisruptionBudgets.
    PodDisruptionBudgets,
    /// ReplicaSets.
    ReplicaSets,
    /// ReplicationControllers.
    ReplicationControllers,
    /// StatefulSets.
    StatefulSets,
    /// Jobs.
    Jobs,
    /// AutoscalerConfigs.
    AutoscalerConfigs,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Pods,
        Self::Nodes,
        Self::DaemonSets,
        Self::NodeGroups,
        Self::VPSieNodes,
        Self::Namespaces,
        Self::PersistentVolumes,
        Self::PersistentVolumeClaims,
        Self::StorageClasses,
        Self::CSINodes,
        Self::CSIDrivers,
        Self::CSIStorageCapacities,
        Self::VolumeAttachments,
        Self::PodDisruptionBudgets,
        Self::ReplicaSets,
        Self::ReplicationControllers,
        Self::StatefulSets,
        Self::Jobs,
        Self::AutoscalerConfigs,
    ];

    /// The resource's name in paths.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Nodes => "nodes",
            Self::DaemonSets => "daemonsets",
            Self::NodeGroups => "nodegroups",
            Self::VPSieNodes => "vpsienodes",
            Self::Namespaces => "namespaces",
            Self::PersistentVolumes => "persistentvolumes",
            Self::PersistentVolumeClaims => "persistentvolumeclaims",
            Self::StorageClasses => "storageclasses",
            Self::CSINodes => "csinodes",
            Self::CSIDrivers => "csidrivers",
            Self::CSIStorageCapacities => "csistoragecapacities",
            Self::VolumeAttachments => "volumeattachments",
            Self::PodDisruptionBudgets => "poddisruptionbudgets",
            Self::ReplicaSets => "replicasets",
            Self::ReplicationControllers => "replicationcontrollers",
            Self::StatefulSets => "statefulsets",
            Self::Jobs => "jobs",
            Self::AutoscalerConfigs => "autoscalerconfigs",
        }
    }

    /// Volumes, and what decides about them.
    #[must_use]
    pub const fn is_of_storage(self) -> bool {
        matches!(
            self,
            Self::PersistentVolumes
                | Self::PersistentVolumeClaims
                | Self::StorageClasses
                | Self::CSINodes
                | Self::CSIDrivers
                | Self::CSIStorageCapacities
                | Self::VolumeAttachments
        )
    }

    /// What pods' rules refer to besides nodes and pods.
    #[must_use]
    pub const fn is_of_surroundings(self) -> bool {
        matches!(self, Self::Namespaces) || self.is_of_storage()
    }

    /// What removals look at besides the cluster.
    #[must_use]
    pub const fn is_of_disruption(self) -> bool {
        matches!(
            self,
            Self::PodDisruptionBudgets
                | Self::ReplicaSets
                | Self::ReplicationControllers
                | Self::StatefulSets
                | Self::Jobs
                | Self::AutoscalerConfigs
        )
    }

    /// What is not done where this kind may not be read; `None` where nothing is done at all.
    #[must_use]
    pub const fn without(self) -> Option<&'static str> {
        if self.is_of_surroundings() {
            return Some("pods with rules that refer to it are left alone");
        }
        match self {
            Self::AutoscalerConfigs => Some("no pause of the whole cluster is seen"),
            other if other.is_of_disruption() => Some("nodes with pods it may be about are kept"),
            _ => None,
        }
    }

    fn of_path(path: &str) -> Option<Self> {
        let last = path.rsplit('/').next()?;
        Self::ALL.into_iter().find(|kind| kind.plural() == last)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Heard {
    clock: Clock,
    at: Arc<Mutex<BTreeMap<Kind, Duration>>>,
}

impl Heard {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            at: Arc::default(),
        }
    }

    pub(super) fn age(&self, kind: Kind) -> Duration {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let last = at.get(&kind).copied().unwrap_or_default();
        self.clock.monotonic().saturating_sub(last)
    }

    pub(super) fn note(&self, kind: Kind) {
        self.at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(kind, self.clock.monotonic());
    }

    /// A client that notes its answers here.
    pub(super) fn listen(&self, client: Client) -> Client {
        let namespace = client.default_namespace().to_owned();
        Client::new(
            Listener {
                inner: client,
                heard: self.clone(),
            },
            namespace,
        )
    }
}

#[derive(Clone)]
struct Listener {
    inner: Client,
    heard: Heard,
}

impl Service<Request<Body>> for Listener {
    type Response = Response<Overheard>;
    type Error = tower::BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(())) // the client queues by itself
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let kind = Kind::of_path(request.uri().path());
        let watch = request
            .uri()
            .query()
            .is_some_and(|query| query.split('&').any(|part| part == "watch=true"));
        let heard = self.heard.clone();
        let client = self.inner.clone();
        Box::pin(async move {
            let response = client.send(request).await?;
            let kind = kind.filter(|_| response.status().is_success());
            if let Some(kind) = kind.filter(|_| !watch) {
                heard.note(kind);
            }
            let to = kind.filter(|_| watch).map(|kind| (heard, kind));
            Ok(response.map(|inner| Overheard { inner, to }))
        })
    }
}

/// The body of an answer; of a watch, each piece that comes is noted.
struct Overheard {
    inner: Body,
    to: Option<(Heard, Kind)>,
}

impl http_body::Body for Overheard {
    type Data = Bytes;
    type Error = kube::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        if matches!(frame, Poll::Ready(Some(Ok(_))))
            && let Some((heard, kind)) = &self.to
        {
            heard.note(*kind);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_told_by_the_last_segment_of_the_path() {
        let kind = Kind::of_path;
        assert_eq!(kind("/api/v1/nodes"), Some(Kind::Nodes));
        let ours = "/apis/autoscaler.vpsie.com/v1alpha1";
        assert_eq!(kind(&format!("{ours}/vpsienodes")), Some(Kind::VPSieNodes));
        assert_eq!(kind(&format!("{ours}/nodegroups")), Some(Kind::NodeGroups));
        assert_eq!(kind("/api/v1/nodes/a"), None);
    }
}
