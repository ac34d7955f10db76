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
    ears: Arc<Mutex<BTreeMap<Kind, Ear>>>,
}

/// What is known of one kind's watch. Moments are on the process's clock.
#[derive(Clone, Copy, Default, Debug)]
struct Ear {
    /// When something was last heard.
    heard_at: Duration,
    /// So many watches are open.
    open: u32,
    /// Since when none is, where there was one; a list since then counts.
    deaf_since: Option<Duration>,
}

impl Heard {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            ears: Arc::default(),
        }
    }

    pub(super) fn age(&self, kind: Kind) -> Duration {
        let ears = self.ears.lock().unwrap_or_else(PoisonError::into_inner);
        let last = ears.get(&kind).map(|ear| ear.heard_at).unwrap_or_default();
        self.clock.monotonic().saturating_sub(last)
    }

    /// The kind of which longest no watch is open, and for how long.
    pub(super) fn deaf(&self) -> Option<(Kind, Duration)> {
        let ears = self.ears.lock().unwrap_or_else(PoisonError::into_inner);
        let deaf = ears
            .iter()
            .filter_map(|(kind, ear)| Some((ear.deaf_since?, *kind)));
        let (since, kind) = deaf.min()?;
        Some((kind, self.clock.monotonic().saturating_sub(since)))
    }

    pub(super) fn note(&self, kind: Kind) {
        self.with(kind, |ear, now| {
            ear.heard_at = now;
            ear.deaf_since = ear.deaf_since.map(|_| now);
        });
    }

    /// A watch is open as long as what this returns lives.
    fn opened(&self, kind: Kind) -> Open {
        self.with(kind, |ear, _| {
            ear.open += 1;
            ear.deaf_since = None;
        });
        Open {
            heard: self.clone(),
            kind,
        }
    }

    /// It may not be read: what that means is told in another way.
    fn refused(&self, kind: Kind) {
        self.with(kind, |ear, _| ear.deaf_since = None);
    }

    fn with(&self, kind: Kind, change: impl FnOnce(&mut Ear, Duration)) {
        let mut ears = self.ears.lock().unwrap_or_else(PoisonError::into_inner);
        change(ears.entry(kind).or_default(), self.clock.monotonic());
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

/// An open watch.
struct Open {
    heard: Heard,
    kind: Kind,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.heard.with(self.kind, |ear, now| {
            ear.open = ear.open.saturating_sub(1);
            if ear.open == 0 {
                ear.deaf_since = Some(now);
            }
        });
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
            let status = response.status();
            let open = match kind {
                Some(kind) if status.is_success() && watch => Some(heard.opened(kind)),
                Some(kind) if status.is_success() => {
                    heard.note(kind);
                    None
                }
                Some(kind) if matches!(status.as_u16(), 403..=405) => {
                    heard.refused(kind);
                    None
                }
                _ => None,
            };
            Ok(response.map(|inner| Overheard { inner, open }))
        })
    }
}

/// The body of an answer; of a watch, each piece that comes is noted.
struct Overheard {
    inner: Body,
    open: Option<Open>,
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
            && let Some(open) = &self.open
        {
            open.heard.note(open.kind);
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

    #[tokio::test(start_paused = true)]
    async fn a_kind_is_deaf_from_the_end_of_its_last_watch_on_until_it_is_watched_or_listed() {
        let clock = Clock::starting_at(jiff::Timestamp::UNIX_EPOCH, 1.0);
        let heard = Heard::new(clock.clone());
        let later = || clock.sleep(Duration::from_secs(5));
        assert_eq!(heard.deaf(), None, "it was never watched");
        let (first, second) = (heard.opened(Kind::Pods), heard.opened(Kind::Pods));
        later().await;
        drop(first);
        assert_eq!(heard.deaf(), None, "there is another");
        drop(second);
        later().await;
        let other = heard.opened(Kind::Nodes);
        drop(other);
        later().await;
        let deaf = |seconds| Some((Kind::Pods, Duration::from_secs(seconds)));
        assert_eq!(heard.deaf(), deaf(10), "longer than of Nodes");
        heard.note(Kind::Pods);
        heard.refused(Kind::Nodes);
        later().await;
        assert_eq!(heard.deaf(), deaf(5), "since the list");
        let _again = heard.opened(Kind::Pods);
        later().await;
        assert_eq!(heard.deaf(), None);
    }

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
