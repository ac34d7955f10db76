//! Health, readiness and metrics over HTTP.
//!
//! `/healthz` is the process's own progress, `/readyz` says whether the index is complete. The
//! cloud being down fails neither.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use controller::{cluster_state::ClusterState, metrics::Metrics};
use runtime::{Clock, Tasks};
use tokio::net::TcpListener;

/// The process is stuck when its heart did not beat for so long.
const STUCK: Duration = Duration::from_mins(1);

/// What the endpoints look at.
#[derive(Clone)]
pub(crate) struct Admin {
    clock: Clock,
    state: ClusterState,
    metrics: Metrics,
    beat: Arc<AtomicU64>,
    stopping: tokio_util::sync::CancellationToken,
}

impl Admin {
    pub(crate) fn new(clock: Clock, state: ClusterState, metrics: Metrics, tasks: &Tasks) -> Self {
        Self {
            clock,
            state,
            metrics,
            beat: Arc::default(),
            stopping: tasks.stop_token(),
        }
    }

    /// Beats, and refreshes the figures nobody else sets.
    pub(crate) async fn beat(&self) {
        loop {
            let now = u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX);
            self.beat.store(now, Ordering::SeqCst);
            for (kind, (age, rows)) in self.state.ages() {
                self.metrics.index(kind, rows, age);
            }
            self.clock.sleep(Duration::from_secs(10)).await;
        }
    }

    fn alive(&self) -> bool {
        let beat = Duration::from_millis(self.beat.load(Ordering::SeqCst));
        self.clock.monotonic().saturating_sub(beat) < STUCK
    }

    fn ready(&self) -> bool {
        self.state.synced() && !self.stopping.is_cancelled()
    }

    /// `/healthz` and `/readyz`.
    pub(crate) fn health(&self) -> Router {
        let answer = |good: bool| {
            if good {
                (StatusCode::OK, "ok\n")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "not ok\n")
            }
        };
        Router::new()
            .route(
                "/healthz",
                get(move |State(admin): State<Self>| async move { answer(admin.alive()) }),
            )
            .route(
                "/readyz",
                get(move |State(admin): State<Self>| async move { answer(admin.ready()) }),
            )
            .with_state(self.clone())
    }

    /// `/metrics`.
    pub(crate) fn metrics(&self) -> Router {
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        Router::new()
            .route(
                "/metrics",
                get(move |State(admin): State<Self>| async move {
                    ([("content-type", kind)], admin.metrics.render())
                }),
            )
            .with_state(self.clone())
    }
}

/// Serves `router` until the tasks are stopped.
pub(crate) fn serve(tasks: &Tasks, name: &'static str, listener: TcpListener, router: Router) {
    let stop = tasks.stop_token();
    tasks.spawn(name, async move {
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::error!(%error, name, "the listener failed");
        }
    });
}
