//! Leader election against an API server: hand-over, expiry, partitions.

use std::{sync::Arc, time::Duration};

use controller::leader::{Leader, LeaderGuard, Leadership, Options, election::Times};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::DeleteParams};
use kube_sim::{Effect, Match, Rule};
use runtime::watch;
use runtime::{Randomness, Tasks};
use tokio_util::sync::CancellationToken;

use crate::server::Server;

struct Candidate {
    stop: CancellationToken,
    tasks: Tasks,
    standing: watch::Receiver<Leadership>,
}

impl Candidate {
    fn campaign(server: &Server, identity: &str) -> Self {
        Self::with(server, identity, true)
    }

    fn with(server: &Server, identity: &str, enabled: bool) -> Self {
        let options = Options {
            enabled,
            namespace: "kube-system".into(),
            name: "vpsie-autoscaler".into(),
            identity: identity.into(),
            times: Times::default(),
        };
        let random = Randomness::seeded(5).fork(identity);
        let leader = Arc::new(Leader::new(
            server.client(identity),
            server.clock.clone(),
            random,
            options,
        ));
        let (stop, tasks) = (CancellationToken::new(), Tasks::new());
        let standing = leader.subscribe();
        let token = stop.clone();
        tasks.spawn("leader", async move { leader.run(token).await });
        Self {
            stop,
            tasks,
            standing,
        }
    }

    fn guard(&self) -> Option<LeaderGuard> {
        match &*self.standing.borrow() {
            Leadership::Leading(guard) => Some(guard.clone()),
            Leadership::Standby | Leadership::Lost => None,
        }
    }

    fn leads(&self) -> bool {
        self.guard().is_some_and(|guard| guard.check().is_ok())
    }

    fn lost(&self) -> bool {
        matches!(*self.standing.borrow(), Leadership::Lost)
    }
}

async fn seconds(server: &Server, seconds: f64) {
    server.clock.sleep(Duration::from_secs_f64(seconds)).await;
}

fn leases(server: &Server) -> Api<Lease> {
    Api::namespaced(server.client("user"), "kube-system")
}

#[tokio::test(start_paused = true)]
async fn the_first_candidate_makes_the_lease_and_leads_the_second_waits_and_writes_nothing() {
    let server = Server::new();
    let a = Candidate::campaign(&server, "a");
    seconds(&server, 1.0).await;
    assert!(a.leads());
    let b = Candidate::campaign(&server, "b");
    seconds(&server, 3600.0).await;
    assert!(a.leads() && !b.leads());
    assert_eq!(a.guard().unwrap().epoch(), 1);
    assert_eq!(server.sim.journal().committed_writes("b"), 0);
    let renewals = server.sim.journal().committed_writes("a");
    assert!((1600..=1801).contains(&renewals), "{renewals}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_released_is_taken_within_a_second() {
    let server = Server::new();
    let a = Candidate::campaign(&server, "a");
    seconds(&server, 1.0).await;
    let b = Candidate::campaign(&server, "b");
    seconds(&server, 30.0).await;
    let guard = a.guard().unwrap();
    a.stop.cancel();
    a.tasks.join().await;
    assert!(guard.check().is_err());
    seconds(&server, 1.0).await;
    assert!(b.leads());
    assert_eq!(b.guard().unwrap().epoch(), guard.epoch() + 1);
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_leader_that_crashed_is_taken_when_it_expired_and_not_before() {
    let server = Server::new();
    let a = Candidate::campaign(&server, "a");
    seconds(&server, 1.0).await;
    let b = Candidate::campaign(&server, "b");
    seconds(&server, 30.0).await;
    let guard = a.guard().unwrap();
    a.tasks.abort();
    let valid = guard.check().unwrap();
    assert!(valid <= Duration::from_secs(10));
    seconds(&server, 12.0).await;
    assert!(guard.check().is_err() && !b.leads());
    seconds(&server, 6.0).await;
    assert!(b.leads());
}

#[tokio::test(start_paused = true)]
async fn a_leader_cut_off_from_the_server_stops_before_another_begins() {
    let server = Server::new();
    let a = Candidate::campaign(&server, "a");
    seconds(&server, 1.0).await;
    let b = Candidate::campaign(&server, "b");
    seconds(&server, 30.0).await;
    server
        .sim
        .faults()
        .add(Rule::always(Match::actor("a"), Effect::DropRequest));
    for _ in 0..300 {
        seconds(&server, 0.1).await;
        assert!(!(a.leads() && b.leads()));
    }
    assert!(a.lost() && b.leads());
    server.sim.faults().clear();
    seconds(&server, 60.0).await;
    assert!(!a.leads() && b.leads(), "who lost does not come back");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_ends_the_term_on_time() {
    let server = Server::new();
    let a = Candidate::campaign(&server, "a");
    seconds(&server, 30.0).await;
    let guard = a.guard().unwrap();
    let hang = Effect::Delay(Duration::from_hours(1));
    server
        .sim
        .faults()
        .add(Rule::always(Match::actor("a"), hang));
    seconds(&server, 10.1).await;
    assert!(guard.check().is_err());
    seconds(&server, 4.0).await;
    assert!(a.lost(), "and soon says so");
}

#[tokio::test(start_paused = true)]
async fn lost_answers_conflicts_and_delays_never_let_two_lead() {
    let server = Server::new();
    let faults = server.sim.faults().clone();
    let any = || Match::resource("leases");
    for effect in [
        Effect::LoseResponse,
        Effect::DropRequest,
        Effect::DelayResponse(Duration::from_secs(5)),
        Effect::Delay(Duration::from_secs(20)),
        Effect::Refuse {
            code: 409,
            retry_after: None,
        },
    ] {
        faults.add(Rule::always(any(), effect).with_probability(0.12));
    }
    let names = ["a", "b", "c"];
    let mut all = names.map(|name| Candidate::campaign(&server, name));
    let mut terms = 0;
    for tick in 0..20_000_u32 {
        seconds(&server, 0.5).await;
        let leading = all.iter().filter(|candidate| candidate.leads()).count();
        assert!(leading <= 1, "at tick {tick}");
        for (candidate, name) in all.iter_mut().zip(names) {
            if candidate.lost() {
                terms += 1;
                *candidate = Candidate::campaign(&server, name);
            }
        }
    }
    assert!(terms > 10, "only {terms} terms: the faults did nothing");
}

#[tokio::test(start_paused = true)]
async fn a_lease_somebody_deletes_is_made_anew_by_its_leader_in_a_new_term() {
    let server = Server::new();
    let a = Candidate::campaign(&server, "a");
    seconds(&server, 1.0).await;
    let b = Candidate::campaign(&server, "b");
    seconds(&server, 10.0).await;
    let old = a.guard().unwrap();
    let params = DeleteParams::default();
    leases(&server)
        .delete("vpsie-autoscaler", &params)
        .await
        .unwrap();
    seconds(&server, 5.0).await;
    assert!(a.leads() && !b.leads());
    assert_eq!(a.guard().unwrap().epoch(), old.epoch() + 1);
    assert!(old.check().is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_written_follows_the_conventions_of_leases() {
    let server = Server::new();
    let a = Candidate::campaign(&server, "a");
    seconds(&server, 5.0).await;
    let read = || async {
        let lease = leases(&server).get("vpsie-autoscaler").await.unwrap();
        lease.spec.unwrap()
    };
    let spec = read().await;
    assert_eq!(spec.holder_identity.as_deref(), Some("a"));
    assert_eq!(spec.lease_duration_seconds, Some(15));
    assert!(spec.acquire_time.is_some() && spec.renew_time > spec.acquire_time);
    a.stop.cancel();
    a.tasks.join().await;
    let spec = read().await;
    assert_eq!(spec.holder_identity.as_deref().unwrap_or_default(), "");
    assert_eq!(spec.lease_duration_seconds, Some(1));
}

#[tokio::test(start_paused = true)]
async fn without_election_a_replica_leads_at_once_and_touches_no_lease() {
    let server = Server::new();
    let a = Candidate::with(&server, "a", false);
    seconds(&server, 100.0).await;
    assert!(a.leads());
    assert!(server.sim.journal().records().is_empty());
    a.stop.cancel();
    a.tasks.join().await;
}
