//! What a decided write does to the store: it keeps the object or, when that completes a deletion,
//! removes it; and notes the work that follows for the collector.

use std::sync::Arc;

use serde_json::Value;

use super::Work;
use crate::{
    definitions,
    object::{at, finalizers, is_deleting},
    registry::KindInfo,
    store::{Store, Stored},
};

/// Stores a changed object, or removes it when that completes its deletion.
pub(crate) fn commit(store: &mut Store, kind: &Arc<KindInfo>, new: Value) -> Arc<Stored> {
    if ends(kind, &new) {
        return remove(store, kind, new);
    }
    let stored = store.put(kind, new);
    if stored.deleting
        && stored
            .finalizers
            .iter()
            .any(|name| name == "foregroundDeletion" || name == "orphan")
    {
        store.work.push(Work::Dependents(stored.uid.clone()));
    }
    stored
}

/// True when nothing keeps a marked object any more.
pub(super) fn ends(kind: &KindInfo, object: &Value) -> bool {
    let grace = at(object, &["metadata", "deletionGracePeriodSeconds"])
        .and_then(Value::as_i64)
        .unwrap_or_default();
    is_deleting(object)
        && finalizers(object).is_empty()
        && grace == 0
        && !holds_namespace(kind, object)
}

/// True while a namespace's own finalizers keep it.
pub(super) fn holds_namespace(kind: &KindInfo, object: &Value) -> bool {
    kind.group.is_empty()
        && kind.kind == "Namespace"
        && at(object, &["spec", "finalizers"])
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty())
}

/// Removes an object for good and notes what follows from it.
pub(super) fn remove(store: &mut Store, kind: &Arc<KindInfo>, last: Value) -> Arc<Stored> {
    if definitions::is_definition(kind) {
        definitions::unregister(&mut store.registry, &last);
    }
    let stored = store.remove(kind, last);
    if store.dependents.contains_key(&stored.uid) {
        store.work.push(Work::OwnerGone(stored.uid.clone()));
    }
    for owner in &stored.owners {
        if store.by_uid.contains_key(owner) {
            store.work.push(Work::Dependents(owner.clone()));
        }
    }
    if kind.namespaced
        && let Some(namespaces) = store.registry.get("", "v1", "namespaces").cloned()
        && store
            .get(&namespaces, "", &stored.namespace)
            .is_some_and(|namespace| namespace.deleting)
    {
        store.work.push(Work::Namespace(stored.namespace.clone()));
    }
    if !kind.builtin {
        let name = format!("{}.{}", kind.plural, kind.group);
        store.work.push(Work::Definition(name));
    }
    stored
}
