//! Kubernetes Events: bounded, rate limited, aggregated, and never in the way of a reconcile.
//!
//! Publishing puts a note into a queue and returns. One task writes them: equal notes about one
//! object are counted up in one Event, and each object and reason has a budget like client-go's
//! spam filter. The standby's notes are dropped: only the leader acts, so only it reports.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client, Resource,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use runtime::{Clock, Randomness};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{metrics::Metrics, pulse::Beat};

/// The component that reports, as in the predecessor.
pub const COMPONENT: &str = "vpsie-autoscaler";

/// Waiting notes; more are dropped and counted.
const QUEUE: usize = 512;
/// Notes about one object and reason at once…
const BURST: u32 = 25;
/// …and one more for each of these.
const REFILL: Duration = Duration::from_mins(5);
/// Equal notes within this time are one Event with a count.
const SAME_EVENT: Duration = Duration::from_mins(10);
/// No Event write takes longer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The API server's limit on a message.
const MAX_NOTE: usize = 1024;

/// Whether something is wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Severity {
    const fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// The object an Event is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct About {
    /// Its API version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty for cluster objects.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: String,
}

impl About {
    /// A reference to `object`.
    pub fn object<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        let meta = object.meta();
        Self {
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
        }
    }

    /// A pod.
    #[must_use]
    pub fn pod(namespace: &str, name: &str, uid: &str) -> Self {
        Self {
            api_version: "v1".into(),
            kind: "Pod".into(),
            namespace: namespace.into(),
            name: name.into(),
            uid: uid.into(),
        }
    }

    /// A node. Kubernetes uses the name as the identity of a node in its Events.
    #[must_use]
    pub fn node(name: &str) -> Self {
        Self {
            api_version: "v1".into(),
            kind: "Node".into(),
            namespace: String::new(),
            name: name.into(),
            uid: name.into(),
        }
    }
}

/// One thing to report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// What it is about.
    pub about: About,
    /// How bad it is.
    pub severity: Severity,
    /// CamelCase, from a closed list.
    pub reason: &'static str,
    /// In words.
    pub message: String,
}

/// A decision as it is shown to people: the latest notes, newest last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// When.
    pub at: Timestamp,
    /// What.
    pub note: Note,
}

/// Where notes are put.
#[derive(Clone, Debug)]
pub struct Events {
    sender: mpsc::Sender<Note>,
    metrics: Metrics,
}

/// Writes the notes.
#[derive(Debug)]
pub struct Writer {
    receiver: mpsc::Receiver<Note>,
    clock: Clock,
    random: Randomness,
    metrics: Metrics,
    /// Where the process runs, for `source.host`.
    host: String,
    seen: Arc<Mutex<BTreeMap<(About, &'static str), Budget>>>,
    written: BTreeMap<(About, &'static str, String), Written>,
}

#[derive(Clone, Copy, Debug)]
struct Budget {
    left: u32,
    refilled_at: Duration,
}

#[derive(Clone, Debug)]
struct Written {
    namespace: String,
    name: String,
    count: i32,
    at: Duration,
}

/// A queue and its writer.
#[must_use]
pub fn channel(
    clock: Clock,
    random: Randomness,
    metrics: Metrics,
    host: String,
) -> (Events, Writer) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (
        Events {
            sender,
            metrics: metrics.clone(),
        },
        Writer {
            receiver,
            clock,
            random,
            metrics,
            host,
            seen: Arc::default(),
            written: BTreeMap::new(),
        },
    )
}

impl Events {
    /// Reports `note`, soon.
    pub fn publish(&self, note: Note) {
        tracing::info!(
            kind = note.about.kind,
            namespace = note.about.namespace,
            name = note.about.name,
            reason = note.reason,
            message = note.message,
            "event"
        );
        if self.sender.try_send(note).is_err() {
            self.metrics.event_dropped();
        }
    }

    /// Something as it should be.
    pub fn normal(&self, about: About, reason: &'static str, message: impl Into<String>) {
        self.publish(Note {
            about,
            severity: Severity::Normal,
            reason,
            message: message.into(),
        });
    }

    /// Something somebody should look at.
    pub fn warning(&self, about: About, reason: &'static str, message: impl Into<String>) {
        self.publish(Note {
            about,
            severity: Severity::Warning,
            reason,
            message: message.into(),
        });
    }
}

impl Writer {
    /// Writes until every sender is gone. `leading` says whether to write at all.
    pub async fn run(mut self, client: Client, leading: impl Fn() -> bool, beat: Beat) {
        while let Some(note) = beat.waiting(self.receiver.recv()).await {
            if !leading() || !self.within_budget(&note) {
                continue;
            }
            if let Err(error) = self.write(&client, &note).await {
                tracing::debug!(%error, reason = note.reason, "an Event was not written");
            } else {
                self.metrics.event(note.severity.name(), note.reason);
            }
        }
    }

    fn within_budget(&mut self, note: &Note) -> bool {
        let now = self.clock.monotonic();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Objects come and go: budgets that are full again carry no information.
        if seen.len() > 4 * QUEUE {
            seen.retain(|_, budget| now.saturating_sub(budget.refilled_at) < REFILL * BURST);
        }
        let budget = seen
            .entry((note.about.clone(), note.reason))
            .or_insert(Budget {
                left: BURST,
                refilled_at: now,
            });
        let periods = now.saturating_sub(budget.refilled_at).as_secs() / REFILL.as_secs();
        if periods > 0 {
            let gained = u32::try_from(periods).unwrap_or(BURST);
            budget.left = budget.left.saturating_add(gained).min(BURST);
            budget.refilled_at = now;
        }
        if budget.left == 0 {
            self.metrics.event_dropped();
            return false;
        }
        budget.left -= 1;
        true
    }

    async fn write(&mut self, client: &Client, note: &Note) -> Result<(), WriteError> {
        let key = (note.about.clone(), note.reason, note.message.clone());
        let now = self.clock.monotonic();
        self.written
            .retain(|_, written| now.saturating_sub(written.at) < SAME_EVENT);
        if let Some(written) = self.written.get_mut(&key) {
            written.count += 1;
            written.at = now;
            let api: Api<Event> = Api::namespaced(client.clone(), &written.namespace);
            let patch = Patch::Merge(json!({
                "count": written.count,
                "lastTimestamp": self.clock.now().to_string(),
            }));
            let params = PatchParams::default();
            let call = api.patch(&written.name, &params, &patch);
            match self.clock.timeout(TIMEOUT, call).await? {
                Ok(_) => return Ok(()),
                // It may have expired; write a new one below.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error.into()),
            }
        }
        let event = self.event(note);
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let name = event.metadata.name.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let params = PostParams::default();
        self.clock
            .timeout(TIMEOUT, api.create(&params, &event))
            .await??;
        self.written.insert(
            key,
            Written {
                namespace,
                name,
                count: 1,
                at: now,
            },
        );
        Ok(())
    }

    fn event(&self, note: &Note) -> Event {
        let now = Time(self.clock.now());
        let namespace = match note.about.namespace.as_str() {
            "" => "default",
            namespace => namespace,
        };
        Event {
            metadata: ObjectMeta {
                name: Some(format!(
                    "{}.{:016x}",
                    note.about.name,
                    self.random.next_u64()
                )),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(note.about.api_version.clone()),
                kind: Some(note.about.kind.clone()),
                namespace: Some(note.about.namespace.clone()).filter(|n| !n.is_empty()),
                name: Some(note.about.name.clone()),
                uid: Some(note.about.uid.clone()),
                ..ObjectReference::default()
            },
            type_: Some(note.severity.name().into()),
            reason: Some(note.reason.into()),
            message: Some(note.message.chars().take(MAX_NOTE).collect()),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            count: Some(1),
            source: Some(EventSource {
                component: Some(COMPONENT.into()),
                host: Some(self.host.clone()),
            }),
            reporting_component: Some(COMPONENT.into()),
            reporting_instance: Some(self.host.clone()),
            ..Event::default()
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("no answer in time")]
    Timeout(#[from] runtime::Elapsed),
    #[error(transparent)]
    Kubernetes(#[from] kube::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_that_finds_the_queue_full_is_dropped_and_counted() {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH, 1.0);
        let metrics = Metrics::new();
        let random = Randomness::seeded(1);
        let (events, _writer) = channel(clock, random, metrics.clone(), "here".into());
        for number in 0..=QUEUE {
            events.normal(About::node("n"), "NodeReady", number.to_string());
        }
        let dropped = "vpsie_autoscaler_events_dropped_total 1\n";
        assert!(metrics.render().contains(dropped));
    }
}
