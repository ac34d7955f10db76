//! What a manifest adds: the pods of its workloads, as their controllers would make them, with the
//! claims that are made together with them.
//!
//! Nothing is asked of a server: replicas are counted, names are the workload's with a number. The
//! objects made here are decoded as a dump's are.

mod named;
#[cfg(test)]
mod tests;
mod workloads;

use std::collections::BTreeMap;

use model::{PodKey, Storage};
use serde_json::Value;

use named::Named;
use workloads::Expansion;

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
    let mut expansion = Expansion::new(storage, priorities(objects));
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
    Ok(expansion.finish(&ignored))
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
