//! Health, readiness and metrics over HTTP.
//!
//! `/healthz` is the progress of the process's loops, `/readyz` says whether the index is complete. The
//! cloud being down fails neither.

use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::get};
use controller::{
    cluster_state::ClusterState,
    metrics::Metrics,
    pulse::{Beat, Pulse},
};
use runtime::{Clock, Tasks};
use tokio::net::TcpListener;

/// What the endpoints look at.
#[derive(Clone)]
pub(crate) struct Admin {
    clock: Clock,
    state: ClusterState,
    metrics: Metrics,
    pulse: Pulse,
    stopping: tokio_util::sync::CancellationToken,
}

impl Admin {
    pub(crate) fn new(
        clock: Clock,
        state: ClusterState,
        metrics: Metrics,
        pulse: Pulse,
        tasks: &Tasks,
    ) -> Self {
        Self {
            clock,
            state,
            metrics,
            pulse,
            stopping: tasks.stop_token(),
        }
    }

    /// Refreshes the figures nobody else sets.
    pub(crate) async fn figures(&self, beat: &Beat) {
        loop {
            for (kind, (age, rows)) in self.state.ages() {
                self.metrics.index(kind, rows, age);
            }
            let period = Duration::from_secs(10);
            beat.waiting(self.clock.sleep(period)).await;
        }
    }

    /// `/healthz`: fails while a loop stands still, and names it.
    fn alive(&self) -> (StatusCode, String) {
        match self.pulse.standstill() {
            None => (StatusCode::OK, "ok\n".into()),
            Some(still) => {
                let (name, seconds) = (still.name, still.since.as_secs());
                tracing::error!(name, seconds, "a loop stands still");
                let text = format!("the loop \"{name}\" has stood still for {seconds} s\n");
                (StatusCode::SERVICE_UNAVAILABLE, text)
            }
        }
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
                get(|State(admin): State<Self>| async move { admin.alive() }),
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

#[cfg(test)]
mod tests {
    use controller::{cluster_state::Options, pulse::LIMIT};
    use jiff::Timestamp;
    use runtime::Randomness;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn health_fails_while_a_loop_stands_still_and_names_it() {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH, 1.0);
        let pulse = Pulse::new(clock.clone());
        let random = Randomness::seeded(1);
        let admin = Admin::new(
            clock.clone(),
            ClusterState::new(clock.clone(), random, Options::default()),
            Metrics::new(),
            pulse.clone(),
            &Tasks::new(),
        );
        let stuck = pulse.begin("scale-up");
        assert_eq!(admin.alive().0, StatusCode::OK);
        clock.sleep(LIMIT + Duration::from_secs(1)).await;
        let (status, text) = admin.alive();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            text.contains("\"scale-up\"") && text.contains("181 s"),
            "{text}"
        );
        stuck.beat();
        assert_eq!(admin.alive().0, StatusCode::OK);
    }
}
