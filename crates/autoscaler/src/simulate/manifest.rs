//! What a manifest adds: the pods of its workloads, as their controllers would make them, with the
//! claims that are made together with them.
//!
//! Nothing is asked of a server: replicas are counted, names are the workload's with a number. The
//! objects made here are decoded as a dump's are.

use std::collections::{BTreeMap, BTreeSet};

use model::{PodKey, Storage};
use serde_json::{Map, Value, json};

/// More pods than this are taken for a mistake.
const MOST_PODS: u64 = 1_000_000;

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ManifestError {
    /// It is no JSON.
    #[error("it is not JSON: {0}")]
    NotJson(String),
    /// It is no YAML.
    #[error("it is not YAML: {0}")]
    NotYaml(String),
    /// One of its documents is something else than an object.
    #[error("it holds {0} where a Kubernetes object is expected")]
    NotAnObject(&'static str),
    /// It adds nothing.
    #[error("it has no pod and no workload{0}")]
    NoWorkload(String),
    /// An object names no kind.
    #[error("an object of it names no kind")]
    NoKind,
    /// An object has no name.
    #[error("{0}: it has no name")]
    NoName(String),
    /// Something in an object is not as it has to be.
    #[error("{object}: {what}")]
    Object {
        /// Kind, namespace and name.
        object: String,
        /// What is wrong.
        what: String,
    },
    /// A pod comes from two objects.
    #[error("Pod {pod} is given twice: by {first} and by {second}")]
    PodTwice {
        /// The pod.
        pod: PodKey,
        /// Where it was first.
        first: String,
        /// Where it was again.
        second: String,
    },
    /// It has more pods than can be meant.
    #[error("{0}: there would be more than {MOST_PODS} pods")]
    TooMany(String),
}

/// The objects of a manifest, lists taken apart.
pub(super) fn read(text: &str) -> Result<Vec<Value>, ManifestError> {
    let first_line = |error: String| error.lines().next().unwrap_or_default().to_owned();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let documents: Vec<Value> = if text.trim_start().starts_with('{') {
        let documents = serde_json::Deserializer::from_str(text).into_iter();
        let documents: Result<_, _> = documents.collect();
        documents.map_err(|error| ManifestError::NotJson(first_line(error.to_string())))?
    } else {
        serde_saphyr::from_multiple(text).map_err(|error| {
            let line = first_line(error.to_string());
            ManifestError::NotYaml(line.trim_start_matches("error: ").to_owned())
        })?
    };
    let mut objects = Vec::new();
    for document in documents {
        take_apart(document, None, &mut objects)?;
    }
    Ok(objects)
}

/// Adds an object, or the items of a list; `of` is what the list around it says it is.
fn take_apart(
    document: Value,
    of: Option<(Value, &str)>,
    into: &mut Vec<Value>,
) -> Result<(), ManifestError> {
    let mut object = match document {
        Value::Object(object) => object,
        // An empty document.
        Value::Null => return Ok(()),
        Value::Array(_) => return Err(ManifestError::NotAnObject("a list")),
        _ => return Err(ManifestError::NotAnObject("a single value")),
    };
    if !object.contains_key("kind")
        && let Some((version, kind)) = of
    {
        object.insert("apiVersion".into(), version);
        object.insert("kind".into(), Value::from(kind));
    }
    let Some(kind) = object.get("kind").and_then(Value::as_str) else {
        return Err(ManifestError::NoKind);
    };
    let Some(of_kind) = kind.strip_suffix("List").map(ToOwned::to_owned) else {
        into.push(Value::Object(object));
        return Ok(());
    };
    let version = object.remove("apiVersion").unwrap_or_default();
    let items = match object.remove("items") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(ManifestError::NotAnObject("something else than a list")),
    };
    for item in items {
        let of = (!of_kind.is_empty()).then(|| (version.clone(), of_kind.as_str()));
        take_apart(item, of, into)?;
    }
    Ok(())
}

/// What the objects of a manifest come to.
#[derive(Default)]
pub(super) struct Added {
    /// Pods, DaemonSets and claims, as a dump would have them.
    pub(super) items: Vec<Value>,
    /// Where each pod comes from: kind, namespace and name.
    pub(super) origins: BTreeMap<PodKey, String>,
    /// Pods that name their node.
    pub(super) bound: BTreeMap<PodKey, String>,
    /// What should be known about it.
    pub(super) notes: Vec<String>,
}

/// The pods and claims of `objects`; `storage` has the classes and claims that are there.
pub(super) fn expand(objects: &[Value], storage: &Storage) -> Result<Added, ManifestError> {
    let mut expansion = Expansion {
        storage,
        priorities: priorities(objects),
        added: Added::default(),
        claims_anywhere: BTreeSet::new(),
        unknown_priorities: BTreeSet::new(),
    };
    let mut ignored: BTreeMap<&str, usize> = BTreeMap::new();
    let mut workloads = 0;
    for object in objects {
        let kind = text(object, "/kind");
        workloads += 1;
        match (group(object), kind) {
            (None | Some(""), "Pod") => expansion.pod(&Named::of(object)?)?,
            (None | Some("apps"), "Deployment" | "ReplicaSet" | "StatefulSet") => {
                expansion.replicated(&Named::of(object)?)?;
            }
            (None | Some("batch"), "Job") => expansion.job(&Named::of(object)?)?,
            (None | Some("apps"), "DaemonSet") => {
                let named = Named::of(object)?;
                named.template()?;
                expansion.keep(&named);
            }
            (None | Some(""), "PersistentVolumeClaim") => {
                workloads -= 1;
                expansion.keep(&Named::of(object)?);
            }
            (_, "PriorityClass") => workloads -= 1,
            _ => {
                workloads -= 1;
                *ignored.entry(kind).or_default() += 1;
            }
        }
    }
    let ignored = ignored
        .iter()
        .map(|(kind, count)| format!("{count} of kind {kind}"));
    let ignored: Vec<String> = ignored.collect();
    if workloads == 0 {
        let only = if ignored.is_empty() {
            String::new()
        } else {
            format!(", only {}", ignored.join(", "))
        };
        return Err(ManifestError::NoWorkload(only));
    }
    Ok(expansion.finish(ignored))
}

/// The API group; nothing where no version is named.
fn group(object: &Value) -> Option<&str> {
    let version = object.get("apiVersion").and_then(Value::as_str)?;
    Some(version.split_once('/').map_or("", |(group, _)| group))
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The priorities that the manifest's own classes give, and those every cluster has.
fn priorities(objects: &[Value]) -> BTreeMap<&str, i64> {
    let own = objects
        .iter()
        .filter(|object| text(object, "/kind") == "PriorityClass");
    let own = own.filter_map(|class| {
        let value = class.get("value").and_then(Value::as_i64)?;
        Some((text(class, "/metadata/name"), value))
    });
    let built_in = [
        ("system-cluster-critical", 2_000_000_000),
        ("system-node-critical", 2_000_001_000),
    ];
    own.chain(built_in).collect()
}

/// An object and its name.
struct Named<'a> {
    object: &'a Value,
    namespace: &'a str,
    name: String,
    /// As errors call it.
    called: String,
}

impl<'a> Named<'a> {
    fn of(object: &'a Value) -> Result<Self, ManifestError> {
        let kind = text(object, "/kind");
        let namespace = match text(object, "/metadata/namespace") {
            "" => "default",
            namespace => namespace,
        };
        let name = match text(object, "/metadata/name") {
            "" => match text(object, "/metadata/generateName") {
                "" => return Err(ManifestError::NoName(kind.to_owned())),
                begin => format!("{begin}0"),
            },
            name => name.to_owned(),
        };
        Ok(Self {
            called: format!("{kind} {namespace}/{name}"),
            object,
            namespace,
            name,
        })
    }

    fn wrong(&self, what: impl Into<String>) -> ManifestError {
        ManifestError::Object {
            object: self.called.clone(),
            what: what.into(),
        }
    }

    /// A number of pods; `default` where none is given.
    fn count(&self, field: &str, default: u64) -> Result<u64, ManifestError> {
        match self.object.pointer(&format!("/spec/{field}")) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value.as_u64().ok_or_else(|| {
                self.wrong(format!("spec.{field} is {value}, not a number of pods"))
            }),
        }
    }

    /// The pod template, which has to be there.
    fn template(&self) -> Result<&'a Value, ManifestError> {
        let template = self.object.pointer("/spec/template");
        match template {
            Some(template) if template.pointer("/spec").is_some_and(Value::is_object) => {
                Ok(template)
            }
            _ => Err(self.wrong("spec.template.spec is missing")),
        }
    }
}

struct Expansion<'a> {
    storage: &'a Storage,
    priorities: BTreeMap<&'a str, i64>,
    added: Added,
    /// Objects whose claims are taken to be bound anywhere.
    claims_anywhere: BTreeSet<String>,
    /// Classes whose priority is not known.
    unknown_priorities: BTreeSet<String>,
}

impl Expansion<'_> {
    /// As it stands, in its namespace.
    fn keep(&mut self, named: &Named<'_>) {
        let mut object = named.object.clone();
        if let Some(Value::Object(meta)) = object.get_mut("metadata") {
            meta.insert("namespace".into(), named.namespace.into());
            meta.insert("name".into(), named.name.as_str().into());
        }
        self.added.items.push(object);
    }

    /// So many more pods, where that is not too many.
    fn room_for(&self, named: &Named<'_>, pods: u64) -> Result<u64, ManifestError> {
        let all = (self.added.origins.len() as u64).saturating_add(pods);
        if all > MOST_PODS {
            return Err(ManifestError::TooMany(named.called.clone()));
        }
        Ok(pods)
    }

    fn pod(&mut self, named: &Named<'_>) -> Result<(), ManifestError> {
        let spec = named.object.get("spec").filter(|spec| spec.is_object());
        let spec = spec.ok_or_else(|| named.wrong("spec is missing"))?.clone();
        let labels = named.object.pointer("/metadata/labels").cloned();
        self.add(named, &named.name, labels.unwrap_or_default(), spec)
    }

    fn replicated(&mut self, named: &Named<'_>) -> Result<(), ManifestError> {
        let template = named.template()?;
        let replicas = self.room_for(named, named.count("replicas", 1)?)?;
        let first = named.count("ordinals/start", 0)?;
        let mut labels = template
            .pointer("/metadata/labels")
            .cloned()
            .unwrap_or_default();
        if text(named.object, "/kind") == "Deployment" {
            // Rules that tell one revision from another see that this one is new.
            label(&mut labels, "pod-template-hash", "simulated");
        }
        let claims = named.object.pointer("/spec/volumeClaimTemplates");
        let claims = claims
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        for ordinal in first..first.saturating_add(replicas) {
            let mut spec = template["spec"].clone();
            for claim in claims {
                self.own_claim(named, claim, ordinal, &mut spec);
            }
            let name = format!("{}-{ordinal}", named.name);
            self.add(named, &name, labels.clone(), spec)?;
        }
        Ok(())
    }

    fn job(&mut self, named: &Named<'_>) -> Result<(), ManifestError> {
        let template = named.template()?;
        let parallel = named.count("parallelism", 1)?;
        let count = named.count("completions", parallel)?.min(parallel);
        let count = self.room_for(named, count)?;
        if named.object.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
            let note = format!("{} is suspended and has no pods", named.called);
            self.added.notes.push(note);
            return Ok(());
        }
        let mut labels = template
            .pointer("/metadata/labels")
            .cloned()
            .unwrap_or_default();
        for key in ["batch.kubernetes.io/job-name", "job-name"] {
            label(&mut labels, key, &named.name);
        }
        for index in 0..count {
            let name = format!("{}-{index}", named.name);
            self.add(named, &name, labels.clone(), template["spec"].clone())?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        named: &Named<'_>,
        name: &str,
        labels: Value,
        mut spec: Value,
    ) -> Result<(), ManifestError> {
        let key = PodKey::new(named.namespace, name);
        if let Some(first) = self.added.origins.get(&key) {
            return Err(ManifestError::PodTwice {
                pod: key,
                first: first.clone(),
                second: named.called.clone(),
            });
        }
        let uid = format!("simulated/{key}");
        self.generated_claims(named, name, &uid, &mut spec);
        self.prioritise(&mut spec);
        let fields = spec.as_object_mut();
        let node = fields.and_then(|fields| fields.remove("nodeName"));
        if let Some(Value::String(node)) = node
            && !node.is_empty()
        {
            self.added.bound.insert(key.clone(), node);
        }
        let gates = spec.get("schedulingGates").and_then(Value::as_array);
        let status = if gates.is_some_and(|gates| !gates.is_empty()) {
            json!({"conditions": [{"type": "PodScheduled", "status": "False",
                "reason": "SchedulingGated"}]})
        } else {
            json!({})
        };
        let meta =
            json!({"namespace": named.namespace, "name": name, "uid": uid, "labels": labels});
        self.added
            .items
            .push(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": meta, "spec": spec, "status": status}));
        self.added.origins.insert(key, named.called.clone());
        Ok(())
    }

    /// The number that admission would write for the class.
    fn prioritise(&mut self, spec: &mut Value) {
        let class = text(spec, "/priorityClassName").to_owned();
        let Some(fields) = spec.as_object_mut() else {
            return;
        };
        if class.is_empty() || fields.get("priority").is_some_and(|value| !value.is_null()) {
            return;
        }
        match self.priorities.get(class.as_str()) {
            Some(priority) => {
                fields.insert("priority".into(), (*priority).into());
            }
            None => {
                self.unknown_priorities.insert(class);
            }
        }
    }

    /// The claim that a StatefulSet makes for one of its pods, which is mounted by the template's
    /// name.
    fn own_claim(&mut self, named: &Named<'_>, template: &Value, ordinal: u64, spec: &mut Value) {
        let volume = text(template, "/metadata/name");
        let claim = format!("{volume}-{}-{ordinal}", named.name);
        let Some(fields) = spec.as_object_mut() else {
            return;
        };
        let volumes = fields.entry("volumes").or_insert_with(|| json!([]));
        if volumes.is_null() {
            *volumes = json!([]);
        }
        let Some(volumes) = volumes.as_array_mut() else {
            return;
        };
        volumes.retain(|other| text(other, "/name") != volume);
        if self.decides(named, &claim, template.get("spec"), None) {
            volumes.push(json!({"name": volume, "persistentVolumeClaim": {"claimName": claim}}));
        }
    }

    /// The claims that are made for generic ephemeral volumes.
    fn generated_claims(&mut self, named: &Named<'_>, pod: &str, uid: &str, spec: &mut Value) {
        let Some(volumes) = spec.get_mut("volumes").and_then(Value::as_array_mut) else {
            return;
        };
        volumes.retain(|volume| {
            let Some(ephemeral) = volume.get("ephemeral").filter(|source| source.is_object())
            else {
                return true;
            };
            let claim = format!("{pod}-{}", text(volume, "/name"));
            let owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid,
                "controller": true}]);
            let template = ephemeral.pointer("/volumeClaimTemplate/spec");
            self.decides(named, &claim, template, Some(owner))
        });
    }

    /// Whether a claim made together with its pod decides where that runs. One that waits for its
    /// pod does, and is added; one that is bound at once is bound by then, nobody knows where.
    fn decides(
        &mut self,
        named: &Named<'_>,
        claim: &str,
        spec: Option<&Value>,
        owner: Option<Value>,
    ) -> bool {
        let namespace = named.namespace;
        if self
            .storage
            .claim(&namespace.into(), &claim.into())
            .is_some()
        {
            return true;
        }
        let class = spec.map_or("", |spec| text(spec, "/storageClassName"));
        let class = self.storage.classes.get(class);
        if !class.is_some_and(|class| class.waits_for_consumer) {
            self.claims_anywhere.insert(named.called.clone());
            return false;
        }
        let mut meta = Map::new();
        meta.insert("namespace".into(), namespace.into());
        meta.insert("name".into(), claim.into());
        if let Some(owner) = owner {
            meta.insert("ownerReferences".into(), owner);
        }
        self.added
            .items
            .push(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": meta, "spec": spec}));
        true
    }

    fn finish(mut self, ignored: Vec<String>) -> Added {
        let notes = &mut self.added.notes;
        let claims = self.claims_anywhere.iter();
        notes.extend(claims.map(|called| {
            format!("{called}: claims that do not wait for their pod are taken to be bound where it runs")
        }));
        let priorities = self.unknown_priorities.iter();
        notes.extend(priorities.map(|class| {
            format!("the priority of the class {class} is not known and counts as 0")
        }));
        notes.extend(
            ignored
                .iter()
                .map(|what| format!("{what} are not looked at")),
        );
        self.added
    }
}

/// Puts a label on, unless it is there.
fn label(labels: &mut Value, key: &str, value: &str) {
    if labels.is_null() {
        *labels = json!({});
    }
    if let Some(labels) = labels.as_object_mut() {
        labels.entry(key).or_insert_with(|| value.into());
    }
}

#[cfg(test)]
mod tests {
    use model::storage::{Claim, StorageClass};

    use super::*;

    fn storage() -> Storage {
        let class = |waits_for_consumer| StorageClass {
            waits_for_consumer,
            ..StorageClass::default()
        };
        let mut storage = Storage::default();
        storage.classes.insert("local".into(), class(true));
        storage.classes.insert("network".into(), class(false));
        let name = ("shop".into(), "data-db-1".into());
        storage.claims.insert(name, Claim::default());
        storage
    }

    /// The names of the claims that are added, and of those that the pods mount.
    fn claims(added: &Added) -> (Vec<String>, Vec<String>) {
        let is_claim = |item: &&Value| text(item, "/kind") == "PersistentVolumeClaim";
        let made = added.items.iter().filter(is_claim);
        let mounted = added.items.iter().flat_map(|item| {
            let volumes = item.pointer("/spec/volumes").and_then(Value::as_array);
            volumes.into_iter().flatten()
        });
        (
            made.map(|claim| text(claim, "/metadata/name").to_owned())
                .collect(),
            mounted
                .map(
                    |volume| match text(volume, "/persistentVolumeClaim/claimName") {
                        "" => text(volume, "/name").to_owned(),
                        claim => claim.to_owned(),
                    },
                )
                .collect(),
        )
    }

    fn stateful_set(class: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "db", "namespace": "shop"},
            "spec": {"replicas": 2, "ordinals": {"start": 1},
                "volumeClaimTemplates": [{"metadata": {"name": "data"},
                    "spec": {"storageClassName": class}}],
                "template": {"spec": {"containers": [], "volumes": [
                    {"name": "data", "emptyDir": {}}, {"name": "config", "configMap": {}}]}}}})
    }

    #[test]
    fn a_claim_that_waits_for_its_pod_is_made_with_it_unless_it_is_there() {
        let added = expand(&[stateful_set("local")], &storage()).unwrap();
        let (made, mounted) = claims(&added);
        assert_eq!(made, ["data-db-2"]);
        assert_eq!(mounted, ["config", "data-db-1", "config", "data-db-2"]);
        assert!(added.notes.is_empty(), "{:?}", added.notes);
        let pods: Vec<String> = added.origins.keys().map(ToString::to_string).collect();
        assert_eq!(pods, ["shop/db-1", "shop/db-2"]);
    }

    #[test]
    fn a_claim_that_is_bound_at_once_holds_no_pod_back() {
        for class in ["network", "unknown"] {
            let added = expand(&[stateful_set(class)], &storage()).unwrap();
            let (made, mounted) = claims(&added);
            assert_eq!(made, Vec::<String>::new());
            assert_eq!(mounted, ["config", "data-db-1", "config"]);
            assert_eq!(added.notes.len(), 1, "{:?}", added.notes);
            assert!(added.notes[0].starts_with("StatefulSet shop/db: claims"));
        }
    }

    #[test]
    fn claims_of_ephemeral_volumes_belong_to_their_pods() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"containers": [], "volumes": [{"name": "scratch", "ephemeral":
                {"volumeClaimTemplate": {"spec": {"storageClassName": "local"}}}}]}});
        let added = expand(&[pod], &storage()).unwrap();
        assert_eq!(claims(&added).0, ["p-scratch"]);
        let uid = |pointer: &str| {
            let mut uids = added.items.iter().map(|item| text(item, pointer));
            uids.find(|uid| !uid.is_empty()).unwrap().to_owned()
        };
        assert_eq!(uid("/metadata/ownerReferences/0/uid"), uid("/metadata/uid"));
    }

    #[test]
    fn pods_of_a_new_deployment_are_of_a_revision_of_their_own() {
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web"}, "spec": {"template": {"metadata":
                {"labels": {"app": "web"}}, "spec": {"nodeName": "n"}}}});
        let added = expand(&[deployment], &storage()).unwrap();
        let labels = added.items[0].pointer("/metadata/labels").unwrap();
        assert_eq!(
            labels,
            &json!({"app": "web", "pod-template-hash": "simulated"})
        );
        let key = PodKey::new("default", "web-0");
        assert_eq!(added.bound.get(&key).map(String::as_str), Some("n"));
    }
}
