//! What the control plane does a moment after a write: collection by owner, emptying of
//! terminating namespaces, and of terminating CRDs.
//!
//! It acts through the same requests as every client, under the names `garbage-collector`,
//! `namespace-controller` and `crd-controller`, a short time of the server's clock later and in
//! the order in which the work arose.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, header};
use serde_json::{Value, json};

use crate::{
    definitions,
    faults::Verdict,
    object::{at, finalizers},
    registry::KindInfo,
    server::Server,
    store::{Store, Stored},
    write::Work,
};

/// How long after a write its consequences are worked on.
const DELAY: Duration = Duration::from_millis(100);

/// The queue of work.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    queue: Mutex<VecDeque<Work>>,
    running: AtomicBool,
}

/// An object to act on: where it is and what it was when looked at.
struct Target {
    kind: Arc<KindInfo>,
    stored: Arc<Stored>,
}

impl Server {
    /// Takes over the work that writes left, and sees that someone does it.
    pub(crate) fn start_collecting(self: &Arc<Self>) {
        let work = std::mem::take(&mut self.lock().work);
        {
            let mut queue = self
                .collector
                .queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            for item in work {
                if !queue.contains(&item) {
                    queue.push_back(item);
                }
            }
            if queue.is_empty() || tokio::runtime::Handle::try_current().is_err() {
                return;
            }
            if self.collector.running.swap(true, Ordering::SeqCst) {
                return;
            }
        }
        let server = Arc::clone(self);
        self.tasks.spawn("collector", async move {
            loop {
                server.clock.sleep(DELAY).await;
                let batch = {
                    let mut queue = server
                        .collector
                        .queue
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    if queue.is_empty() {
                        server.collector.running.store(false, Ordering::SeqCst);
                        return;
                    }
                    std::mem::take(&mut *queue)
                };
                for work in batch {
                    server.collect(&work);
                }
            }
        });
    }

    fn collect(self: &Arc<Self>, work: &Work) {
        match work {
            Work::OwnerGone(uid) => {
                for target in self.dependents(uid) {
                    self.release_or_delete(&target);
                }
            }
            Work::Owners(storage, key) => {
                let target = self.lock().target(storage, key);
                if let Some(target) = target {
                    self.release_or_delete(&target);
                }
            }
            Work::Dependents(uid) => self.progress_deletion(uid),
            Work::Namespace(name) => self.empty_namespace(name),
            Work::Definition(name) => self.empty_definition(name),
        }
    }

    fn dependents(&self, uid: &str) -> Vec<Target> {
        let store = self.lock();
        store
            .dependents
            .get(uid)
            .into_iter()
            .flatten()
            .filter_map(|(storage, key)| store.target(storage, key))
            .collect()
    }

    /// Deletes an object all of whose owners are gone; otherwise forgets the gone ones.
    fn release_or_delete(self: &Arc<Self>, target: &Target) {
        let (gone, living): (Vec<&String>, Vec<&String>) = {
            let store = self.lock();
            target
                .stored
                .owners
                .iter()
                .partition(|uid| !store.by_uid.contains_key(*uid))
        };
        if gone.is_empty() || target.stored.deleting {
            return;
        }
        if living.is_empty() {
            self.delete(target, "Background");
        } else {
            self.drop_owners(target, |uid| gone.iter().any(|gone| *gone == uid));
        }
    }

    fn drop_owners(self: &Arc<Self>, target: &Target, drop: impl Fn(&str) -> bool) {
        let value = target.stored.value();
        let kept: Vec<&Value> = at(&value, &["metadata", "ownerReferences"])
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter(|owner| !drop(owner["uid"].as_str().unwrap_or_default()))
            .collect();
        let kept = if kept.is_empty() {
            Value::Null
        } else {
            json!(kept)
        };
        let patch = json!({"metadata": {
            "uid": target.stored.uid,
            "ownerReferences": kept,
        }});
        self.send("garbage-collector", Method::PATCH, &target.path(""), &patch);
    }

    fn delete(self: &Arc<Self>, target: &Target, policy: &str) {
        let options = json!({
            "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy,
            "preconditions": {"uid": target.stored.uid},
        });
        self.send(
            "garbage-collector",
            Method::DELETE,
            &target.path(""),
            &options,
        );
    }

    /// Moves a foreground or orphaning deletion on.
    fn progress_deletion(self: &Arc<Self>, uid: &str) {
        let owner = {
            let store = self.lock();
            store
                .by_uid
                .get(uid)
                .and_then(|(storage, key)| store.target(storage, key))
        };
        let Some(owner) = owner.filter(|owner| owner.stored.deleting) else {
            return;
        };
        let has = |name: &str| owner.stored.finalizers.iter().any(|own| own == name);
        let dependents = self.dependents(uid);
        if has("orphan") {
            for target in &dependents {
                self.drop_owners(target, |owner| owner == uid);
            }
            self.drop_finalizer(&owner, "garbage-collector", "orphan");
        } else if has("foregroundDeletion") {
            let mut blocking = false;
            for target in &dependents {
                let value = target.stored.value();
                blocking |= at(&value, &["metadata", "ownerReferences"])
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .any(|reference| {
                        reference["uid"] == json!(uid)
                            && reference["blockOwnerDeletion"] == json!(true)
                    });
                if !target.stored.deleting {
                    let own = !self.dependents(&target.stored.uid).is_empty();
                    self.delete(target, if own { "Foreground" } else { "Background" });
                }
            }
            // Those deleted at once no longer block.
            let left = self.dependents(uid);
            if left.is_empty() || !blocking {
                self.drop_finalizer(&owner, "garbage-collector", "foregroundDeletion");
            }
        }
    }

    fn drop_finalizer(self: &Arc<Self>, target: &Target, actor: &str, finalizer: &str) {
        let mut list = finalizers(&target.stored.value());
        list.retain(|name| name != finalizer);
        let patch = json!({"metadata": {"uid": target.stored.uid, "finalizers": list}});
        self.send(actor, Method::PATCH, &target.path(""), &patch);
    }

    /// Deletes what a terminating namespace holds; when it is empty, the namespace itself.
    fn empty_namespace(self: &Arc<Self>, name: &str) {
        let (namespace, content) = {
            let store = self.lock();
            let Some(namespace) = store.target("/namespaces", name) else {
                return;
            };
            let prefix = format!("{name}/");
            let content: Vec<Target> = store
                .resources
                .iter()
                .flat_map(|(storage, resource)| {
                    resource
                        .objects
                        .range(prefix.clone()..)
                        .take_while(|(key, _)| key.starts_with(&prefix))
                        .filter_map(|(key, _)| store.target(storage, key))
                        .collect::<Vec<_>>()
                })
                .collect();
            (namespace, content)
        };
        if !namespace.stored.deleting {
            return;
        }
        for target in content.iter().filter(|target| !target.stored.deleting) {
            let options = json!({"preconditions": {"uid": target.stored.uid}});
            self.send(
                "namespace-controller",
                Method::DELETE,
                &target.path(""),
                &options,
            );
        }
        let prefix = format!("{name}/");
        let empty = self.lock().resources.values().all(|resource| {
            resource
                .objects
                .range(prefix.clone()..)
                .next()
                .is_none_or(|(key, _)| !key.starts_with(&prefix))
        });
        if empty {
            let mut value = namespace.stored.value();
            value["spec"] = json!({});
            self.send(
                "namespace-controller",
                Method::PUT,
                &namespace.path("/finalize"),
                &value,
            );
        }
    }

    /// Deletes the objects of a terminating CRD; when none is left, lets the CRD go.
    fn empty_definition(self: &Arc<Self>, name: &str) {
        let (definition, objects) = {
            let store = self.lock();
            let storage = "apiextensions.k8s.io/customresourcedefinitions";
            let Some(definition) = store.target(storage, name) else {
                return;
            };
            let (plural, group) = name.split_once('.').unwrap_or_default();
            let storage = format!("{group}/{plural}");
            let objects: Vec<Target> = store
                .resources
                .get(&storage)
                .into_iter()
                .flat_map(|resource| resource.objects.keys())
                .filter_map(|key| store.target(&storage, key))
                .collect();
            (definition, objects)
        };
        if !definition.stored.deleting {
            return;
        }
        if objects.is_empty() {
            self.drop_finalizer(
                &definition,
                "crd-controller",
                definitions::cleanup_finalizer(),
            );
            return;
        }
        for target in objects.iter().filter(|target| !target.stored.deleting) {
            self.send(
                "crd-controller",
                Method::DELETE,
                &target.path(""),
                &json!({}),
            );
        }
        // Each removal brings this work back, until none is left.
    }

    fn send(self: &Arc<Self>, actor: &str, method: Method, path: &str, body: &Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/merge-patch+json")
            .body(Bytes::from(body.to_string()));
        match request {
            Ok(request) => {
                let response = self.handle(actor, &request, &Verdict::default());
                if !response.status().is_success()
                    && response.status() != http::StatusCode::NOT_FOUND
                {
                    tracing::debug!(actor, path, status = %response.status(), "collector request refused");
                }
            }
            Err(error) => tracing::warn!(actor, path, %error, "collector request malformed"),
        }
    }
}

impl Store {
    fn target(&self, storage: &str, key: &str) -> Option<Target> {
        Some(Target {
            kind: Arc::clone(self.registry.by_storage(storage)?),
            stored: Arc::clone(self.resources.get(storage)?.objects.get(key)?),
        })
    }
}

impl Target {
    fn path(&self, suffix: &str) -> String {
        let root = if self.kind.group.is_empty() {
            format!("/api/{}", self.kind.version)
        } else {
            format!("/apis/{}/{}", self.kind.group, self.kind.version)
        };
        let scope = if self.stored.namespace.is_empty() {
            String::new()
        } else {
            format!("/namespaces/{}", self.stored.namespace)
        };
        format!(
            "{root}{scope}/{}/{}{suffix}",
            self.kind.plural, self.stored.name
        )
    }
}
