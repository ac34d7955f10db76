//! Watch streams: events from the store's history, in order, each exactly once.
//!
//! A watch holds a cursor into the history and pulls what follows; it never holds the store's
//! lock across an await, and a watch too slow for the bounded history ends with 410.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::Stream;
use serde_json::{Value, json};

use crate::{
    body::ConnectionReset,
    error::ApiError,
    faults::End,
    registry::KindInfo,
    represent::Form,
    request::RequestInfo,
    server::Server,
    store::{Change, Event, Selection, Stored},
};

const BOOKMARK_PERIOD: Duration = Duration::from_mins(1);

/// How a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// With synthetic ADDED events of the present state, optionally closed by a bookmark that
    /// says so.
    Present { end_bookmark: bool },
    /// With what happened after this resourceVersion.
    After(u64),
}

/// One running watch.
pub(crate) struct Watch {
    pub(crate) server: Arc<Server>,
    pub(crate) actor: String,
    pub(crate) info: RequestInfo,
    pub(crate) kind: Arc<KindInfo>,
    pub(crate) selection: Selection,
    pub(crate) form: Form,
    pub(crate) start: Start,
    pub(crate) bookmarks: bool,
    /// Product time after which the watch ends by itself.
    pub(crate) timeout: Duration,
    /// Everything is delivered this much later.
    pub(crate) slow: Duration,
    pub(crate) end: Option<(Duration, End)>,
    /// A table's columns are named once per watch.
    pub(crate) columns_sent: AtomicBool,
}

/// The state of a running watch between two deliveries.
struct Cursor {
    watch: Watch,
    rv: u64,
    changes: runtime::watch::Receiver<u64>,
    signals: runtime::watch::Receiver<u64>,
    started_at_signal: u64,
    began: Duration,
    next_bookmark: Duration,
    opening: Option<Bytes>,
    done: bool,
}

impl Watch {
    /// The stream of lines. The history is consulted now, so that nothing committed after this
    /// call can be missed.
    pub(crate) fn into_stream(
        self,
    ) -> Result<impl Stream<Item = Result<Bytes, ConnectionReset>> + Send + 'static, ApiError> {
        let signals = self.server.faults.signals();
        let started_at_signal = *signals.borrow();
        let began = self.server.clock.monotonic();
        let (rv, opening, changes) = {
            let mut store = self.server.lock();
            let changes = store
                .resources
                .entry(self.kind.storage.clone())
                .or_default()
                .changed
                .subscribe();
            match self.start {
                Start::After(rv) => {
                    if store.events_after(&self.kind.storage, rv).is_none() {
                        let oldest = store
                            .resources
                            .get(&self.kind.storage)
                            .map_or(0, |resource| resource.compacted);
                        return Err(ApiError::too_old(rv, oldest + 1));
                    }
                    (rv, None, changes)
                }
                Start::Present { end_bookmark } => {
                    let rv = store.rv;
                    let items = store
                        .page(&self.kind.storage, &self.selection, rv, None, usize::MAX)
                        .map(|page| page.items)
                        .unwrap_or_default();
                    let mut lines = Vec::new();
                    for item in &items {
                        lines.extend_from_slice(&self.line("ADDED", item));
                    }
                    if end_bookmark {
                        lines.extend_from_slice(&self.bookmark(rv, true));
                    }
                    (rv, Some(Bytes::from(lines)), changes)
                }
            }
        };
        let cursor = Cursor {
            rv,
            changes,
            signals,
            started_at_signal,
            began,
            next_bookmark: began + BOOKMARK_PERIOD,
            opening: opening.filter(|lines| !lines.is_empty()),
            done: false,
            watch: self,
        };
        Ok(futures::stream::unfold(cursor, |mut cursor| async move {
            let item = cursor.next().await?;
            Some((item, cursor))
        }))
    }

    fn line(&self, change: &str, stored: &Stored) -> Bytes {
        self.line_at(change, stored, None)
    }

    fn line_at(&self, change: &str, stored: &Stored, rv: Option<u64>) -> Bytes {
        let columns = !self.columns_sent.swap(true, Ordering::Relaxed);
        let now = self.server.clock.now();
        self.form
            .watch_line(&self.kind, change, stored, rv, now, columns)
    }

    fn bookmark(&self, rv: u64, end_of_initial: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": rv.to_string()});
        if end_of_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = self.form.bookmark(&self.kind, &metadata);
        line_of("BOOKMARK", &object)
    }

    /// How one history event looks to this watch; `None` when it does not concern it.
    fn translate(&self, event: &Event) -> Option<Bytes> {
        let now = self.selection.matches(&event.object);
        let before = event
            .previous
            .as_ref()
            .is_some_and(|previous| self.selection.matches(previous));
        let change = match (event.change, before, now) {
            // An object that leaves the selection looks deleted, one that enters it added.
            (Change::Deleted | Change::Modified, true, false) | (Change::Deleted, _, true) => {
                "DELETED"
            }
            (Change::Modified, true, true) => "MODIFIED",
            (Change::Added | Change::Modified, _, true) => "ADDED",
            _ => return None,
        };
        let plain =
            self.form == Form::Object && self.kind.api_version() == event.object.api_version;
        let usual = matches!(
            (event.change, change),
            (Change::Added, "ADDED")
                | (Change::Modified, "MODIFIED")
                | (Change::Deleted, "DELETED")
        );
        if plain && usual {
            return Some(
                event
                    .line
                    .get_or_init(|| self.line(change, &event.object))
                    .clone(),
            );
        }
        let leaving = change == "DELETED" && event.change == Change::Modified;
        match (&event.previous, leaving) {
            // Kubernetes shows the last matching state under the version of the change.
            (Some(previous), true) => Some(self.line_at(change, previous, Some(event.rv))),
            _ => Some(self.line(change, &event.object)),
        }
    }
}

/// One line of a watch body.
pub(crate) fn line_of(change: &str, object: &Value) -> Bytes {
    let mut line = json!({"type": change, "object": object}).to_string();
    line.push('\n');
    Bytes::from(line)
}

impl Cursor {
    async fn next(&mut self) -> Option<Result<Bytes, ConnectionReset>> {
        if self.done {
            return None;
        }
        loop {
            let clock = self.watch.server.clock.clone();
            self.changes.borrow_and_update();
            self.signals.borrow_and_update();
            if self.watch.server.faults.stopped() {
                self.done = true;
                return Some(Err(ConnectionReset));
            }
            let ended = self.watch.server.faults.ended(
                self.started_at_signal,
                &self.watch.actor,
                &self.watch.info,
            );
            if let Some(end) = ended {
                return self.finish(end);
            }
            let age = clock.monotonic().saturating_sub(self.began);
            if let Some((after, end)) = self.watch.end
                && age >= after
            {
                return self.finish(end);
            }
            let held = self.watch.server.faults.held(&self.watch.info.resource);
            if !held {
                if let Some(opening) = self.opening.take() {
                    self.lag(&clock).await;
                    return Some(Ok(opening));
                }
                if let Some(lines) = self.pull() {
                    let lines = match lines {
                        Ok(lines) => lines,
                        Err(error) => {
                            self.done = true;
                            return Some(Ok(line_of("ERROR", &error.to_status())));
                        }
                    };
                    self.lag(&clock).await;
                    return Some(Ok(lines));
                }
            }
            if age >= self.watch.timeout {
                self.done = true;
                return None;
            }
            if self.watch.bookmarks && !held && clock.monotonic() >= self.next_bookmark {
                self.next_bookmark = clock.monotonic() + BOOKMARK_PERIOD;
                let rv = self.watch.server.lock().rv;
                self.rv = self.rv.max(rv);
                return Some(Ok(self.watch.bookmark(self.rv, false)));
            }
            let mut wake = self.began + self.watch.timeout;
            if self.watch.bookmarks && !held {
                wake = wake.min(self.next_bookmark);
            }
            if let Some((after, _)) = self.watch.end {
                wake = wake.min(self.began + after);
            }
            tokio::select! {
                biased;
                changed = self.changes.changed() => {
                    if changed.is_err() {
                        self.done = true;
                        return None;
                    }
                }
                _ = self.signals.changed() => {}
                () = clock.sleep_until(wake) => {}
            }
        }
    }

    async fn lag(&self, clock: &runtime::Clock) {
        if !self.watch.slow.is_zero() {
            clock.sleep(self.watch.slow).await;
        }
    }

    fn finish(&mut self, end: End) -> Option<Result<Bytes, ConnectionReset>> {
        self.done = true;
        match end {
            End::Cut => None,
            End::Expire => {
                let error = ApiError::too_old(self.rv, self.rv + 1);
                Some(Ok(line_of("ERROR", &error.to_status())))
            }
        }
    }

    /// The lines of everything new; `None` when there is nothing for this watch.
    fn pull(&mut self) -> Option<Result<Bytes, ApiError>> {
        let (events, now) = {
            let store = self.watch.server.lock();
            let storage = &self.watch.kind.storage;
            let Some(events) = store.events_after(storage, self.rv) else {
                let oldest = store
                    .resources
                    .get(storage)
                    .map_or(0, |resource| resource.compacted);
                return Some(Err(ApiError::too_old(self.rv, oldest + 1)));
            };
            (events, store.rv)
        };
        self.rv = self.rv.max(now);
        let mut lines: Vec<Bytes> = events
            .iter()
            .filter_map(|event| self.watch.translate(event))
            .collect();
        match lines.len() {
            0 => None,
            1 => lines.pop().map(Ok),
            _ => Some(Ok(Bytes::from(lines.concat()))),
        }
    }
}
