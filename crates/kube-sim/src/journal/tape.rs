//! Everything that happened to the objects somebody wants to judge afterwards: each commit with the
//! object before and after it, and who asked for it, when and on what condition; each read with
//! how current it was. Off unless asked for. The numbers come from outside, so that several
//! servers' tapes can be laid side by side.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    object::{at, str_at},
    request::RequestInfo,
    store::{Change, Stored},
};

/// The next number; shared by all tapes of one world.
pub type Order = Arc<AtomicU64>;

/// Which resources are kept: by API group, resource and namespace.
pub type Keeps = fn(&str, &str, &str) -> bool;

/// A request, as far as what it changed or was shown is judged by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Unlike that of any other request.
    pub number: u64,
    /// When it reached the server, which may begin on it later.
    pub sent: Timestamp,
    /// Who asked.
    pub actor: String,
    /// Kubernetes verb.
    pub verb: &'static str,
    /// Subresource; empty for none.
    pub subresource: String,
    /// It is refused unless the object has this identity.
    pub by_uid: bool,
    /// It is refused unless the object is this version.
    pub by_version: bool,
}

/// A change that was committed.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Its place among all that happened.
    pub order: u64,
    /// When.
    pub at: Timestamp,
    /// On whose request; `None` for the server's own work.
    pub asked: Option<Arc<Asked>>,
    /// API group; empty for core.
    pub group: String,
    /// Resource of the object, e.g. `pods`.
    pub resource: String,
    /// Namespace; empty for cluster scope.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// The object before; `None` for a new one.
    pub before: Option<Bytes>,
    /// The object after; `None` when it is gone.
    pub after: Option<Bytes>,
}

/// A get, list or watch that was answered.
#[derive(Clone, Debug)]
pub struct Read {
    /// Its place among all that happened.
    pub order: u64,
    /// When.
    pub at: Timestamp,
    /// Who asked, and when.
    pub asked: Arc<Asked>,
    /// API group; empty for core.
    pub group: String,
    /// Resource, e.g. `pods`.
    pub resource: String,
    /// Namespace; empty for all.
    pub namespace: String,
    /// Name; empty for lists and watches.
    pub name: String,
    /// Field selector; empty for none.
    pub fields: String,
    /// The answer is the present state: no version was named and no fault made it an older one.
    pub current: bool,
    /// HTTP status of the answer.
    pub code: u16,
}

/// One entry.
#[derive(Clone, Debug)]
pub enum Entry {
    /// Something changed.
    Commit(Commit),
    /// Something was looked at.
    Read(Read),
}

/// Where entries go; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Tape(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    started: Option<(Order, Keeps)>,
    entries: Vec<Entry>,
    asked: Option<(Arc<Asked>, Timestamp)>,
    /// For changes that no request asked for.
    clock: Option<runtime::Clock>,
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tape").finish_non_exhaustive()
    }
}

impl Tape {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn start(&self, order: Order, keeps: Keeps, clock: runtime::Clock) {
        let mut inner = self.lock();
        inner.started = Some((order, keeps));
        inner.clock = Some(clock);
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.lock().entries.clone()
    }

    /// A request is being worked on from here to [`Self::done`].
    pub(crate) fn asks(&self, asked: Arc<Asked>, now: Timestamp) {
        self.lock().asked = Some((asked, now));
    }

    pub(crate) fn done(&self) {
        self.lock().asked = None;
    }

    /// The next number, where the tape runs.
    pub(crate) fn number(&self) -> Option<u64> {
        let inner = self.lock();
        let (order, _) = inner.started.as_ref()?;
        Some(order.fetch_add(1, Ordering::SeqCst))
    }

    pub(crate) fn changed(
        &self,
        storage: &str,
        change: Change,
        object: &Stored,
        before: Option<&Stored>,
    ) {
        let mut inner = self.lock();
        let Some((order, keeps)) = &inner.started else {
            return;
        };
        let (group, resource) = storage.split_once('/').unwrap_or(("", storage));
        if !keeps(group, resource, &object.namespace) {
            return;
        }
        let order = order.fetch_add(1, Ordering::SeqCst);
        let asked = inner.asked.as_ref().map(|(asked, _)| Arc::clone(asked));
        let at = match (&inner.asked, &inner.clock) {
            (Some((_, at)), _) => *at,
            (None, Some(clock)) => clock.now(),
            (None, None) => return,
        };
        inner.entries.push(Entry::Commit(Commit {
            order,
            at,
            asked,
            group: group.to_owned(),
            resource: resource.to_owned(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            uid: object.uid.clone(),
            before: before.map(|stored| stored.bytes.clone()),
            after: (change != Change::Deleted).then(|| object.bytes.clone()),
        }));
    }

    pub(crate) fn read(&self, info: &RequestInfo, asked: Asked, at: Timestamp, shown: Shown) {
        let mut inner = self.lock();
        let Some((order, keeps)) = &inner.started else {
            return;
        };
        if !keeps(&info.group, &info.resource, &info.namespace) {
            return;
        }
        let order = order.fetch_add(1, Ordering::SeqCst);
        inner.entries.push(Entry::Read(Read {
            order,
            at,
            asked: Arc::new(asked),
            group: info.group.clone(),
            resource: info.resource.clone(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            fields: info.param("fieldSelector").to_owned(),
            current: shown.current && info.param("resourceVersion").is_empty(),
            code: shown.code,
        }));
    }
}

/// What a reader was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) current: bool,
    pub(crate) code: u16,
}

/// Whether the body of a write names the identity and the version it is meant for.
pub(crate) fn conditions(body: &[u8]) -> (bool, bool) {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return (false, false);
    };
    let places: [&[&str]; 3] = [
        &["metadata"],
        &["preconditions"],
        &["deleteOptions", "preconditions"],
    ];
    let has = |field: &str| {
        places
            .iter()
            .any(|place| at(&body, place).is_some_and(|found| !str_at(found, &[field]).is_empty()))
    };
    (has("uid"), has("resourceVersion"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_found_in_patches_deletions_and_evictions() {
        let patch = br#"{"metadata": {"uid": "a", "resourceVersion": "3"}}"#;
        assert_eq!(conditions(patch), (true, true));
        let deletion = br#"{"preconditions": {"uid": "a"}}"#;
        assert_eq!(conditions(deletion), (true, false));
        let eviction = br#"{"deleteOptions": {"preconditions": {"uid": "a"}}}"#;
        assert_eq!(conditions(eviction), (true, false));
        assert_eq!(conditions(b"{}"), (false, false));
        assert_eq!(conditions(b""), (false, false));
    }
}
