//! When each kind was last heard of.
//!
//! A watch that is answered but silent is healthy, one that is never answered again is not, and
//! kube's watcher does not tell them apart. So the client under the watches notes every answer: a
//! watch lasts `watch_timeout`, hence a healthy kind is heard of at least that often.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Request, Response};
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
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Pods,
        Self::Nodes,
        Self::DaemonSets,
        Self::NodeGroups,
        Self::VPSieNodes,
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
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Heard {
    clock: Clock,
    at: Arc<Mutex<BTreeMap<&'static str, Duration>>>,
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
        let last = at.get(kind.plural()).copied().unwrap_or_default();
        self.clock.monotonic().saturating_sub(last)
    }

    pub(super) fn note(&self, plural: &'static str) {
        self.at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(plural, self.clock.monotonic());
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
    type Response = Response<Body>;
    type Error = tower::BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(())) // the client queues by itself
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| request.uri().path().ends_with(kind.plural()));
        let heard = self.heard.clone();
        let client = self.inner.clone();
        Box::pin(async move {
            let response = client.send(request).await?;
            if let Some(kind) = kind
                && response.status().is_success()
            {
                heard.note(kind.plural());
            }
            Ok(response)
        })
    }
}
