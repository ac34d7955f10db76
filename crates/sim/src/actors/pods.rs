//! What the workload controllers share: the pods of an owner, and making and unmaking them
//! without doing so twice while the news of it is on its way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    objects::{Key, Object, Pod},
    observe::{Change, Seen},
    requests::{PODS, Writer, absent, conflict, worth_repeating},
};

/// How long a made pod may go unseen before it is taken for lost.
const UNSEEN: Duration = Duration::from_mins(1);

/// Pods by the UID of their controller.
#[derive(Default)]
pub(crate) struct PodsByOwner {
    owners: BTreeMap<String, BTreeMap<Key, Arc<Pod>>>,
    made: BTreeMap<String, BTreeMap<String, Duration>>,
    unmade: BTreeSet<String>,
}

impl PodsByOwner {
    /// Notes a change; the UID of the controller it concerns.
    pub(crate) fn observe(&mut self, seen: &Seen<Pod>) -> Option<String> {
        let pod = seen.object();
        let owner = pod.controller()?.uid.clone();
        if let Some(made) = self.made.get_mut(&owner) {
            made.remove(pod.uid());
        }
        match seen {
            Seen::Put(_) => {
                let pods = self.owners.entry(owner.clone()).or_default();
                pods.insert(pod.key(), Arc::clone(pod));
            }
            Seen::Gone(_) => {
                self.unmade.remove(pod.uid());
                if let Some(pods) = self.owners.get_mut(&owner) {
                    pods.remove(&pod.key());
                    if pods.is_empty() {
                        self.owners.remove(&owner);
                    }
                }
            }
        }
        Some(owner)
    }

    /// Pods of `owner` that are not on their way out.
    pub(crate) fn alive(&self, owner: &str) -> Vec<Arc<Pod>> {
        self.all(owner)
            .filter(|pod| !pod.deleting() && !self.unmade.contains(pod.uid()))
            .cloned()
            .collect()
    }

    /// All pods of `owner`.
    pub(crate) fn all(&self, owner: &str) -> impl Iterator<Item = &Arc<Pod>> {
        self.owners
            .get(owner)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    /// How many pods of `owner` were made and not seen yet.
    pub(crate) fn on_their_way(&mut self, owner: &str, now: Duration) -> usize {
        let Some(made) = self.made.get_mut(owner) else {
            return 0;
        };
        made.retain(|_, since| *since + UNSEEN > now);
        made.len()
    }

    /// Makes a pod of `owner`; `false` when the API server did not take it.
    pub(crate) async fn make(
        &mut self,
        writer: &Writer,
        owner: &str,
        namespace: &str,
        pod: &Value,
        now: Duration,
    ) -> bool {
        match writer.create(PODS, namespace, pod).await {
            Ok(made) => {
                if let Some(uid) = made["metadata"]["uid"].as_str() {
                    let unseen = self.made.entry(owner.to_owned()).or_default();
                    unseen.insert(uid.to_owned(), now);
                }
                true
            }
            Err(error) => {
                tracing::debug!(namespace, %error, "pod not made");
                !worth_repeating(&error)
            }
        }
    }

    /// Deletes a pod; `false` when the API server did not take it.
    pub(crate) async fn unmake(&mut self, writer: &Writer, pod: &Pod) -> bool {
        match writer.delete(PODS, &pod.key(), Some(pod.uid()), None).await {
            Ok(_) => {
                self.unmade.insert(pod.uid().to_owned());
                true
            }
            Err(error) => absent(&error) || conflict(&error),
        }
    }
}

/// Which pods go first: not scheduled, not ready, then the youngest.
pub(crate) fn by_dispensability(pods: &mut [Arc<Pod>]) {
    pods.sort_by_key(|pod| {
        (
            pod.node().is_some(),
            pod.ready(),
            std::cmp::Reverse(pod.created()),
            pod.key(),
        )
    });
}

/// The pod a template describes, controlled by the object given.
pub(crate) fn from_template(template: &Value, owner: &OwnerOf<'_>, name: PodName<'_>) -> Value {
    let mut metadata = json!({
        "labels": template["metadata"]["labels"],
        "ownerReferences": [owner.reference()],
        "namespace": owner.key.namespace,
    });
    if template["metadata"]["annotations"].is_object() {
        metadata["annotations"] = template["metadata"]["annotations"].clone();
    }
    match name {
        PodName::Drawn => metadata["generateName"] = json!(format!("{}-", owner.key.name)),
        PodName::Given(name) => metadata["name"] = json!(name),
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}

/// How a pod is named.
#[derive(Clone, Copy)]
pub(crate) enum PodName<'a> {
    Drawn,
    Given(&'a str),
}

/// The object that controls another.
pub(crate) struct OwnerOf<'a> {
    pub(crate) api_version: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) key: &'a Key,
    pub(crate) uid: &'a str,
}

impl OwnerOf<'_> {
    pub(crate) fn reference(&self) -> Value {
        json!({"apiVersion": self.api_version, "kind": self.kind, "name": self.key.name,
            "uid": self.uid, "controller": true, "blockOwnerDeletion": true})
    }
}

/// Objects of one kind, by name and by UID.
pub(crate) struct Known<K> {
    pub(crate) objects: BTreeMap<Key, Arc<K>>,
    keys: BTreeMap<String, Key>,
}

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }
}

impl<K: Object> Known<K> {
    /// Notes a change; the name it concerns.
    pub(crate) fn observe(&mut self, seen: &Seen<K>) -> Key {
        let object = seen.object();
        let key = object.key();
        match seen {
            Seen::Put(_) => {
                self.keys.insert(object.uid().to_owned(), key.clone());
                self.objects.insert(key.clone(), Arc::clone(object));
            }
            Seen::Gone(_) => {
                self.keys.remove(object.uid());
                self.objects.remove(&key);
            }
        }
        key
    }

    /// The name of the object with `uid`.
    pub(crate) fn key_of(&self, uid: &str) -> Option<&Key> {
        self.keys.get(uid)
    }
}

/// A pod changed: the name of its controller, if it is of this kind.
pub(crate) fn owner_of<K: Object>(
    pods: &mut PodsByOwner,
    known: &Known<K>,
    change: &Change,
) -> Option<Key> {
    let Change::Pod(seen) = change else {
        return None;
    };
    let uid = pods.observe(seen)?;
    known.key_of(&uid).cloned()
}
