//! What a group wants on its Nodes, what is there, and the change between the two. Pure.
//!
//! Labels, annotations and taints of the group are put on and repaired; what the group dropped is
//! taken away again (an annotation remembers which keys were its); everything else on the Node
//! belongs to others and is left as it is.

use std::collections::{BTreeMap, BTreeSet};

use api::{VPSieNode, labels};
use model::label_value;
use planner::lifecycle::Cordon;
use planted::Bug;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    cluster_state::{NodeRow, views::TaintView},
    controllers::groups::Group,
};

type Map = BTreeMap<String, String>;

/// What should be on the Node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Wanted {
    labels: Map,
    /// Put on where absent, never overwritten.
    defaults: Map,
    annotations: Map,
    taints: Vec<TaintView>,
    startup_taints: Vec<TaintView>,
}

/// What is on the Node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Present {
    labels: Map,
    annotations: Map,
    taints: Vec<TaintView>,
}

/// The keys that were put on by us.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug, Default)]
struct Applied {
    #[serde(default)]
    labels: BTreeSet<String>,
    #[serde(default)]
    annotations: BTreeSet<String>,
    /// `key:effect`.
    #[serde(default)]
    taints: BTreeSet<String>,
}

impl Present {
    pub(super) fn of(row: &NodeRow) -> Self {
        let map = |from: &model::Labels| {
            from.iter()
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect()
        };
        Self {
            labels: map(row.labels()),
            annotations: map(&row.annotations),
            taints: row.taints.clone(),
        }
    }
}

fn taint_view(taint: &api::Taint) -> TaintView {
    TaintView {
        key: taint.key.clone(),
        value: taint.value.clone(),
        effect: taint.effect.name().into(),
        time_added: None,
    }
}

fn identity(taint: &TaintView) -> String {
    format!("{}:{}", taint.key, taint.effect)
}

/// What `group` wants on the Node of `object`.
pub(super) fn wanted(group: &Group, object: &VPSieNode) -> Wanted {
    let spec = &group.object.spec;
    let mut all = spec.labels.clone().unwrap_or_default();
    let name = object.metadata.name.clone().unwrap_or_default();
    for (key, value) in [
        (labels::MANAGED, "true".to_owned()),
        (labels::NODE_GROUP, group.key.name.to_string()),
        (
            labels::NODE_GROUP_NAMESPACE,
            group.key.namespace.to_string(),
        ),
        (labels::VPSIE_NODE, name),
        (labels::DATACENTER, label_value(&spec.datacenter_id)),
        (labels::OFFERING, label_value(&object.spec.instance_type)),
    ] {
        all.insert(key.to_owned(), value);
    }
    let mut annotations = spec.annotations.clone().unwrap_or_default();
    let reason = object
        .metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(labels::CREATION_REASON));
    if let Some(reason) = reason {
        annotations.insert(labels::CREATION_REASON.into(), reason.clone());
    }
    if let Some(id) = &object.spec.vpsie_node_identifier {
        annotations.insert(labels::VPS_ID.into(), id.clone());
    }
    let taints = |taints: &Option<Vec<api::Taint>>| {
        taints.iter().flatten().map(taint_view).collect::<Vec<_>>()
    };
    Wanted {
        labels: all,
        defaults: BTreeMap::from([
            (
                labels::INSTANCE_TYPE.into(),
                label_value(&object.spec.instance_type),
            ),
            (labels::REGION.into(), label_value(&spec.datacenter_id)),
            (labels::ZONE.into(), label_value(&spec.datacenter_id)),
        ]),
        annotations,
        taints: taints(&spec.taints),
        startup_taints: taints(&spec.startup_taints),
    }
}

/// The merge patch that makes `present` what is `wanted`; `None` when it is.
pub(super) fn change(wanted: &Wanted, present: &Present, startup_taints: bool) -> Option<Value> {
    let before: Applied = present
        .annotations
        .get(labels::APPLIED)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let applied = Applied {
        labels: wanted.labels.keys().cloned().collect(),
        annotations: wanted.annotations.keys().cloned().collect(),
        taints: wanted.taints.iter().map(identity).collect(),
    };
    let mut annotations = diff(
        &wanted.annotations,
        &present.annotations,
        &before.annotations,
    );
    if before != applied {
        let text = serde_json::to_string(&applied).unwrap_or_default();
        annotations.insert(labels::APPLIED.into(), json!(text));
    }
    let mut label_changes = diff(&wanted.labels, &present.labels, &before.labels);
    for (key, value) in &wanted.defaults {
        if !present.labels.contains_key(key) && !label_changes.contains_key(key) {
            label_changes.insert(key.clone(), json!(value));
        }
    }
    let mut all_taints = wanted.taints.clone();
    if startup_taints {
        annotations.insert(labels::STARTUP_TAINTS_APPLIED.into(), json!("true"));
        all_taints.extend(wanted.startup_taints.clone());
    }
    let taints = merged(&all_taints, &present.taints, &before.taints);
    let mut patch = json!({});
    if !label_changes.is_empty() {
        patch["metadata"]["labels"] = json!(label_changes);
    }
    if !annotations.is_empty() {
        patch["metadata"]["annotations"] = json!(annotations);
    }
    if taints != present.taints {
        patch["spec"]["taints"] = json!(taints);
    }
    patch
        .as_object()
        .is_some_and(|object| !object.is_empty())
        .then_some(patch)
}

fn diff(wanted: &Map, present: &Map, ours: &BTreeSet<String>) -> BTreeMap<String, Value> {
    let mut changes = BTreeMap::new();
    for (key, value) in wanted {
        if present.get(key) != Some(value) {
            changes.insert(key.clone(), json!(value));
        }
    }
    for key in ours {
        if !wanted.contains_key(key) && present.contains_key(key) {
            changes.insert(key.clone(), Value::Null);
        }
    }
    changes
}

/// Others' taints stay, in their order; ours are set to what is wanted.
fn merged(wanted: &[TaintView], present: &[TaintView], ours: &BTreeSet<String>) -> Vec<TaintView> {
    let mut result: Vec<TaintView> = present
        .iter()
        .filter_map(|taint| {
            match wanted
                .iter()
                .find(|wanted| identity(wanted) == identity(taint))
            {
                Some(wanted)
                    if wanted.value.as_deref().unwrap_or("")
                        == taint.value.as_deref().unwrap_or("") =>
                {
                    Some(taint.clone())
                }
                Some(wanted) => Some(wanted.clone()),
                None if ours.contains(&identity(taint)) => None,
                None => Some(taint.clone()),
            }
        })
        .collect();
    for taint in wanted {
        if !result
            .iter()
            .any(|present| identity(present) == identity(taint))
        {
            result.push(taint.clone());
        }
    }
    result
}

fn removing_taint() -> TaintView {
    TaintView {
        key: labels::REMOVING_TAINT.into(),
        value: None,
        effect: "NoSchedule".into(),
        time_added: None,
    }
}

/// The change that cordons a Node as ours; a human's cordon stays a human's.
pub(super) fn cordon(row: &NodeRow, owner: &str) -> Option<Value> {
    if row.node.shape.unschedulable {
        return None;
    }
    let mut taints = row.taints.clone();
    if !taints
        .iter()
        .any(|taint| taint.key == labels::REMOVING_TAINT)
    {
        taints.push(removing_taint());
    }
    Some(json!({
        "metadata": { "annotations": { labels::CORDONED_BY: owner } },
        "spec": { "unschedulable": true, "taints": taints },
    }))
}

/// We cordoned the Node and have not taken our mark off again. Without the annotation, our taint
/// says so only while the node is schedulable: a human's cordon stays a human's.
pub(in crate::controllers) fn is_marked(row: &NodeRow) -> bool {
    if planted::is(Bug::UncordonHuman) {
        return row.node.shape.unschedulable;
    }
    let tainted = row
        .taints
        .iter()
        .any(|taint| taint.key == labels::REMOVING_TAINT);
    row.annotation(labels::CORDONED_BY).is_some() || (tainted && !row.node.shape.unschedulable)
}

/// Who cordoned the Node.
pub(in crate::controllers) fn cordon_of(row: &NodeRow) -> Cordon {
    match (row.node.shape.unschedulable, is_marked(row)) {
        (false, false) => Cordon::None,
        (false, true) => Cordon::Undone,
        (true, true) => Cordon::Ours,
        (true, false) => Cordon::Human,
    }
}

/// The change that undoes our cordon; nothing when it is not ours.
pub(super) fn uncordon(row: &NodeRow) -> Option<Value> {
    if !is_marked(row) {
        return None;
    }
    let taints: Vec<&TaintView> = row
        .taints
        .iter()
        .filter(|taint| taint.key != labels::REMOVING_TAINT)
        // Kubernetes' own taint of a cordoned node goes with the cordon.
        .filter(|taint| taint.key != labels::UNSCHEDULABLE_TAINT)
        .collect();
    Some(json!({
        "metadata": { "annotations": { labels::CORDONED_BY: null } },
        "spec": { "unschedulable": null, "taints": taints },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(key: &str, value: &str) -> TaintView {
        TaintView {
            key: key.into(),
            value: Some(value.into()),
            effect: "NoSchedule".into(),
            time_added: None,
        }
    }

    fn map(pairs: &[(&str, &str)]) -> Map {
        pairs
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect()
    }

    fn apply(present: &mut Present, patch: &Value) {
        for (target, part) in [
            (&mut present.labels, "labels"),
            (&mut present.annotations, "annotations"),
        ] {
            for (key, value) in patch["metadata"][part].as_object().into_iter().flatten() {
                match value.as_str() {
                    Some(value) => target.insert(key.clone(), value.into()),
                    None => target.remove(key),
                };
            }
        }
        if let Some(taints) = patch["spec"].get("taints") {
            present.taints = serde_json::from_value(taints.clone()).unwrap();
        }
    }

    #[test]
    fn what_the_group_wants_is_put_on_repaired_and_taken_away_and_the_rest_is_left() {
        let mut wanted = Wanted {
            labels: map(&[("tier", "web"), ("old", "x")]),
            defaults: map(&[("zone", "hel")]),
            annotations: map(&[("note", "a")]),
            taints: vec![taint("dedicated", "web")],
            startup_taints: vec![taint("starting", "")],
        };
        let mut present = Present {
            labels: map(&[("theirs", "1"), ("zone", "real")]),
            annotations: Map::new(),
            taints: vec![taint("theirs", "1")],
        };
        let patch = change(&wanted, &present, true).unwrap();
        apply(&mut present, &patch);
        assert_eq!(
            change(&wanted, &present, false),
            None,
            "applied once, then nothing to do"
        );
        assert_eq!(present.labels["zone"], "real");
        let keys: Vec<&str> = present.taints.iter().map(|t| t.key.as_str()).collect();
        assert_eq!(keys, ["theirs", "dedicated", "starting"]);

        present.taints.retain(|taint| taint.key != "starting");
        assert_eq!(
            change(&wanted, &present, false),
            None,
            "startup taints stay gone"
        );

        present.labels.insert("tier".into(), "tampered".into());
        present.taints[1].value = Some("tampered".into());
        let patch = change(&wanted, &present, false).unwrap();
        apply(&mut present, &patch);
        assert_eq!(present.labels["tier"], "web");
        assert_eq!(present.taints[1].value.as_deref(), Some("web"));

        wanted.labels.remove("old");
        wanted.taints.clear();
        let patch = change(&wanted, &present, false).unwrap();
        apply(&mut present, &patch);
        assert!(!present.labels.contains_key("old"));
        assert_eq!(present.taints, [taint("theirs", "1")]);
        assert_eq!(present.labels["theirs"], "1");
    }
}
