//! Minimal validation of metadata and of built-in objects, with Kubernetes' field paths.
//!
//! Decides what a write may contain; quantities are checked too unless the lenient knob is on.

use serde_json::{Value, json};

use crate::{
    error::Cause,
    event_view,
    names::{check_label, check_label_value, check_path_segment, check_qualified, check_subdomain},
    object::{at, finalizers, is_deleting, meta_str},
    registry::KindInfo,
    selector::LabelSelector,
};

/// Everything wrong with an object on create (`old` absent) or update.
pub(crate) fn check(
    kind: &KindInfo,
    object: &Value,
    old: Option<&Value>,
    lenient: bool,
) -> Vec<Cause> {
    let mut causes = Vec::new();
    metadata(kind, object, &mut causes);
    if let Some(old) = old {
        new_finalizers(object, old, &mut causes);
    }
    if kind.builtin && kind.kind == "ConfigMap" {
        keys(object, &mut causes);
    }
    if kind.builtin {
        match kind.kind.as_str() {
            "Pod" => pod(object, old, lenient, &mut causes),
            "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet" => {
                workload(kind, object, old, lenient, &mut causes);
            }
            "Node" => node(object, old, lenient, &mut causes),
            "Lease" => lease(object, &mut causes),
            "Secret" | "ConfigMap" => immutable_data(object, old, &mut causes),
            "PodDisruptionBudget" => budget(object, &mut causes),
            "CustomResourceDefinition" => definition(object, &mut causes),
            "Event" if event_view::is_view(kind) => {
                if let Some(old) = old {
                    causes.extend(event_view::check_change(object, old));
                }
            }
            "Event" => event(object, &mut causes),
            _ => {}
        }
    }
    causes
}

fn metadata(kind: &KindInfo, object: &Value, causes: &mut Vec<Cause>) {
    let name = meta_str(object, "name");
    if name.is_empty() {
        causes.push(Cause::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else {
        let base = meta_str(object, "generateName");
        if !base.is_empty() && kind.group != "rbac.authorization.k8s.io" {
            let stem = base.trim_end_matches('-');
            if let Some(why) = check_subdomain(&format!("{stem}a")) {
                causes.push(Cause::invalid("metadata.generateName", &json!(base), why));
            }
        }
        let wrong = match (kind.group.as_str(), kind.kind.as_str()) {
            ("rbac.authorization.k8s.io", _) => check_path_segment(name),
            ("", "Namespace" | "Service") => check_label(name),
            _ => check_subdomain(name),
        };
        let namespace = kind.group.is_empty() && kind.kind == "Namespace";
        let wrong = match wrong {
            Some(_) if namespace && name.contains('.') => Some("must not contain dots"),
            wrong => wrong,
        };
        if let Some(why) = wrong {
            causes.push(Cause::invalid("metadata.name", &json!(name), why));
        }
    }
    for (field, is_label) in [("labels", true), ("annotations", false)] {
        let Some(map) = at(object, &["metadata", field]) else {
            continue;
        };
        for (key, value) in map.as_object().into_iter().flatten() {
            let path = format!("metadata.{field}");
            let lower = key.to_lowercase();
            let checked = if is_label { key } else { &lower };
            if let Some(why) = check_qualified(checked) {
                causes.push(Cause::invalid(path.clone(), &json!(key), why));
            }
            if is_label && let Some(why) = value.as_str().and_then(check_label_value) {
                causes.push(Cause::invalid(path, value, why));
            }
        }
    }
    let owners = at(object, &["metadata", "ownerReferences"])
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let controllers: Vec<String> = owners
        .iter()
        .filter(|owner| owner["controller"] == json!(true))
        .map(|owner| {
            let text = |field: &str| owner[field].as_str().unwrap_or_default();
            format!("{}/{}", text("kind"), text("name"))
        })
        .collect();
    if let [first, second, ..] = controllers.as_slice() {
        let why = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"
        );
        let shown = Value::from(owners.clone());
        causes.push(Cause::invalid("metadata.ownerReferences", &shown, &why));
    }
    for owner in &owners {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                let path = format!("metadata.ownerReferences.{field}");
                let why = match field {
                    "apiVersion" => "version must not be empty",
                    _ => "must not be empty",
                };
                causes.push(Cause::invalid(path, &json!(""), why));
            }
        }
    }
    for (index, finalizer) in finalizers(object).into_iter().enumerate() {
        if let Some(why) = check_qualified(&finalizer) {
            causes.push(Cause::invalid(
                "metadata.finalizers",
                &json!(finalizer),
                why,
            ));
        } else if !finalizer.contains('/')
            && !["foregroundDeletion", "orphan", "kubernetes"].contains(&finalizer.as_str())
            && kind.builtin
            && kind.group != "apiextensions.k8s.io"
        {
            causes.push(Cause::invalid(
                format!("metadata.finalizers[{index}]"),
                &json!(finalizer),
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
}

fn new_finalizers(object: &Value, old: &Value, causes: &mut Vec<Cause>) {
    if !is_deleting(old) {
        return;
    }
    let before = finalizers(old);
    let added: Vec<String> = finalizers(object)
        .into_iter()
        .filter(|finalizer| !before.contains(finalizer))
        .collect();
    if !added.is_empty() {
        let list: Vec<String> = added.iter().map(|name| format!("{name:?}")).collect();
        causes.push(Cause::forbidden(
            "metadata.finalizers",
            &format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                list.join(", ")
            ),
        ));
    }
}

fn containers(spec: &Value, path: &str, lenient: bool, causes: &mut Vec<Cause>) {
    let list = spec["containers"].as_array();
    if list.is_none_or(Vec::is_empty) {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    let policy = spec["restartPolicy"].as_str().unwrap_or("Always");
    let policies = ["Always", "OnFailure", "Never"];
    if !policies.contains(&policy) {
        let path = format!("{path}.restartPolicy");
        causes.push(Cause::unsupported(path, &json!(policy), &policies));
    }
    for field in ["containers", "initContainers"] {
        let mut seen: Vec<&str> = Vec::new();
        for (index, container) in spec[field].as_array().into_iter().flatten().enumerate() {
            let here = format!("{path}.{field}[{index}]");
            let name = container["name"].as_str().unwrap_or_default();
            if name.is_empty() {
                causes.push(Cause::required(format!("{here}.name"), ""));
            } else if let Some(why) = check_label(name) {
                causes.push(Cause::invalid(format!("{here}.name"), &json!(name), why));
            } else if seen.contains(&name) {
                causes.push(Cause::new(
                    "FieldValueDuplicate",
                    format!("{here}.name"),
                    format!("Duplicate value: {name:?}"),
                ));
            }
            seen.push(name);
            if field == "containers" && container["image"].as_str().unwrap_or_default().is_empty() {
                causes.push(Cause::required(format!("{here}.image"), ""));
            }
            if !lenient {
                for part in ["requests", "limits"] {
                    quantities(
                        &container["resources"][part],
                        &format!("{here}.resources.{part}"),
                        causes,
                    );
                }
                let resources = &container["resources"];
                for (name, request) in resources["requests"].as_object().into_iter().flatten() {
                    let limit = &resources["limits"][name];
                    if let (Some(asked), Some(most)) = (amount(request), amount(limit))
                        && asked > most
                    {
                        let text = limit.as_str().unwrap_or_default();
                        causes.push(Cause::invalid(
                            format!("{here}.resources.requests"),
                            request,
                            &format!("must be less than or equal to {name} limit of {text}"),
                        ));
                    }
                }
            }
        }
    }
}

fn quantities(map: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (name, amount) in map.as_object().into_iter().flatten() {
        let ok = match amount {
            Value::String(text) => is_quantity(text),
            Value::Number(_) => true,
            _ => false,
        };
        if !ok {
            causes.push(Cause::invalid(
                format!("{path}[{name}]"),
                amount,
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ));
        } else if amount.as_str().is_some_and(|text| text.starts_with('-')) {
            causes.push(Cause::invalid(
                format!("{path}[{name}]"),
                amount,
                "must be greater than or equal to 0",
            ));
        }
    }
}

/// A quantity as a number, for comparing; `None` where it is none.
fn amount(quantity: &Value) -> Option<f64> {
    let text = quantity.as_str().filter(|text| is_quantity(text))?;
    let end = text
        .find(|letter: char| letter.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    let power = |list: &[&str]| {
        let at = list.iter().position(|known| *known == suffix)?;
        i32::try_from(at).ok()
    };
    power(&binary)
        .map(|at| number * 1024_f64.powi(at + 1))
        .or_else(|| power(&decimal).map(|at| number * 1000_f64.powi(at - 3)))
}

/// True when the text is a Kubernetes quantity.
pub(crate) fn is_quantity(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    let end = digits
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(digits.len());
    let (number, suffix) = digits.split_at(end);
    let valid_number = number.chars().any(|c| c.is_ascii_digit())
        && number.chars().filter(|c| *c == '.').count() <= 1;
    let exponent = suffix
        .strip_prefix(['e', 'E'])
        .map(|rest| rest.trim_start_matches(['+', '-']))
        .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit()));
    valid_number
        && (exponent
            || [
                "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
            ]
            .contains(&suffix))
}

fn pod(object: &Value, old: Option<&Value>, lenient: bool, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let Some(old) = old else {
        containers(spec, "spec", lenient, causes);
        return;
    };
    // Of a pod's spec only a few fields may change after creation.
    let frozen = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        if let Some(map) = spec.as_object_mut() {
            for field in [
                "activeDeadlineSeconds",
                "terminationGracePeriodSeconds",
                "tolerations",
                "schedulingGates",
            ] {
                map.remove(field);
            }
            for list in ["containers", "initContainers"] {
                for container in map
                    .get_mut(list)
                    .and_then(Value::as_array_mut)
                    .into_iter()
                    .flatten()
                {
                    if let Some(container) = container.as_object_mut() {
                        container.remove("image");
                    }
                }
            }
            let gated = pod["spec"]["schedulingGates"]
                .as_array()
                .is_some_and(|gates| !gates.is_empty());
            if gated {
                map.remove("nodeSelector");
                map.remove("affinity");
            }
        }
        spec
    };
    let mut before = frozen(old);
    let after = frozen(object);
    // While gated, selectors may be narrowed; compare them only when neither version is gated.
    for field in ["nodeSelector", "affinity"] {
        if after.get(field).is_none()
            && let Some(map) = before.as_object_mut()
        {
            map.remove(field);
        }
    }
    if before != after {
        causes.push(Cause::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        ));
    }
    let list =
        |pod: &Value, field: &str| pod["spec"][field].as_array().cloned().unwrap_or_default();
    let kept = list(object, "tolerations");
    if list(old, "tolerations")
        .iter()
        .any(|toleration| !kept.contains(toleration))
    {
        causes.push(Cause::forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        ));
    }
    let gates = list(old, "schedulingGates");
    if list(object, "schedulingGates")
        .iter()
        .any(|gate| !gates.contains(gate))
    {
        causes.push(Cause::forbidden(
            "spec.schedulingGates",
            "only deletion is allowed, but found new scheduling gates",
        ));
    }
}

fn workload(
    kind: &KindInfo,
    object: &Value,
    old: Option<&Value>,
    lenient: bool,
    causes: &mut Vec<Cause>,
) {
    let spec = &object["spec"];
    if let Some(replicas) = spec["replicas"].as_i64()
        && replicas < 0
    {
        causes.push(Cause::invalid(
            "spec.replicas",
            &spec["replicas"],
            "must be greater than or equal to 0",
        ));
    }
    if spec.get("selector").is_none_or(Value::is_null) {
        causes.push(Cause::required("spec.selector", ""));
    }
    if spec["selector"] == json!({}) {
        causes.push(Cause::invalid(
            "spec.selector",
            &json!({}),
            "empty selector is invalid for deployment",
        ));
    } else {
        let labels = spec["template"]["metadata"]["labels"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect();
        if spec.get("selector").is_none()
            || !LabelSelector::from_object(&spec["selector"]).matches(&labels)
        {
            causes.push(Cause::invalid(
                "spec.template.metadata.labels",
                &spec["template"]["metadata"]["labels"],
                "`selector` does not match template `labels`",
            ));
        }
    }
    if let Some(old) = old
        && old["spec"]["selector"] != spec["selector"]
        && kind.group == "apps"
    {
        causes.push(Cause::invalid(
            "spec.selector",
            &spec["selector"],
            "field is immutable",
        ));
    }
    containers(
        &spec["template"]["spec"],
        "spec.template.spec",
        lenient,
        causes,
    );
}

fn node(object: &Value, old: Option<&Value>, lenient: bool, causes: &mut Vec<Cause>) {
    if let Some(old) = old {
        let text =
            |node: &Value, field: &str| node["spec"][field].as_str().unwrap_or_default().to_owned();
        for (field, path) in [
            ("podCIDR", "spec.podCIDRs"),
            ("providerID", "spec.providerID"),
        ] {
            let before = text(old, field);
            if !before.is_empty() && before != text(object, field) {
                let why = format!("node updates may not change {field} except from \"\" to valid");
                causes.push(Cause::forbidden(path, &why));
            }
        }
    }
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (index, taint) in object["spec"]["taints"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let path = format!("metadata.taints[{index}]");
        let key = taint["key"].as_str().unwrap_or_default();
        let effect = taint["effect"].as_str().unwrap_or_default();
        if key.is_empty() {
            let why = "name part must be non-empty";
            causes.push(Cause::invalid(format!("{path}.key"), &json!(key), why));
        }
        if let Some(why) = check_qualified(key) {
            causes.push(Cause::invalid(format!("{path}.key"), &json!(key), why));
        }
        if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
            causes.push(Cause::unsupported(
                format!("{path}.effect"),
                &json!(effect),
                &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            ));
        }
        if seen.contains(&(key, effect)) {
            causes.push(Cause::new(
                "FieldValueDuplicate",
                path,
                format!("Duplicate value: {taint}: taints must be unique by key and effect pair"),
            ));
        }
        seen.push((key, effect));
    }
    if !lenient {
        for field in ["capacity", "allocatable"] {
            quantities(&object["status"][field], &format!("status.{field}"), causes);
        }
    }
}

fn lease(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    for (field, least, why) in [
        ("leaseDurationSeconds", 1, "must be greater than 0"),
        ("leaseTransitions", 0, "must be greater than or equal to 0"),
    ] {
        if spec[field].as_i64().is_some_and(|value| value < least) {
            causes.push(Cause::invalid(format!("spec.{field}"), &spec[field], why));
        }
    }
}

fn immutable_data(object: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let Some(old) = old else { return };
    if old["immutable"] == json!(true) {
        if object["immutable"] != json!(true) {
            causes.push(Cause::forbidden(
                "immutable",
                "field is immutable when `immutable` is set",
            ));
        }
        for field in ["data", "stringData", "binaryData"] {
            if old[field] != object[field] {
                causes.push(Cause::forbidden(
                    field,
                    "field is immutable when `immutable` is set",
                ));
            }
        }
    }
    if old.get("type").is_some() && old["type"] != object["type"] {
        causes.push(Cause::invalid(
            "type",
            &object["type"],
            "field is immutable",
        ));
    }
}

/// Keys of a config map are names of files.
fn keys(object: &Value, causes: &mut Vec<Cause>) {
    for field in ["data", "binaryData"] {
        for key in object[field]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key)
        {
            let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
            if key.is_empty() || !key.chars().all(fits) {
                causes.push(Cause::invalid(
                    format!("{field}[{key}]"),
                    &json!(key),
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
                ));
            }
        }
    }
}

fn budget(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        causes.push(Cause::invalid(
            "spec",
            spec,
            "minAvailable and maxUnavailable cannot be both set",
        ));
    }
    for field in ["minAvailable", "maxUnavailable"] {
        let path = format!("spec.{field}");
        match &spec[field] {
            Value::Number(count) if count.as_i64().is_some_and(|count| count < 0) => {
                let why = "must be greater than or equal to 0";
                causes.push(Cause::invalid(path, &spec[field], why));
            }
            Value::String(text) => {
                let digits = text.strip_suffix('%').unwrap_or_default();
                if digits.is_empty() || !digits.chars().all(|digit| digit.is_ascii_digit()) {
                    let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
                    causes.push(Cause::invalid(path, &spec[field], why));
                }
            }
            _ => {}
        }
    }
}

fn definition(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let expected = format!(
        "{}.{}",
        spec["names"]["plural"].as_str().unwrap_or_default(),
        spec["group"].as_str().unwrap_or_default()
    );
    if meta_str(object, "name") != expected {
        causes.push(Cause::invalid(
            "metadata.name",
            &json!(meta_str(object, "name")),
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    for field in ["kind", "plural"] {
        if spec["names"][field].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(format!("spec.names.{field}"), ""));
        }
    }
    let versions = spec["versions"].as_array();
    if versions.is_none_or(Vec::is_empty) {
        causes.push(Cause::required("spec.versions", ""));
    }
    let storage = versions
        .into_iter()
        .flatten()
        .filter(|version| version["storage"] == json!(true))
        .count();
    if storage != 1 {
        causes.push(Cause::invalid(
            "spec.versions",
            &spec["versions"],
            "must have exactly one version marked as storage version",
        ));
    }
    if !["Namespaced", "Cluster"].contains(&spec["scope"].as_str().unwrap_or_default()) {
        causes.push(Cause::unsupported(
            "spec.scope",
            &spec["scope"],
            &["Cluster", "Namespaced"],
        ));
    }
}

fn event(object: &Value, causes: &mut Vec<Cause>) {
    let involved = &object["involvedObject"]["namespace"];
    let namespace = meta_str(object, "namespace");
    let involved = involved.as_str().unwrap_or_default();
    let matches = if involved.is_empty() {
        namespace == "default" || namespace.is_empty()
    } else {
        involved == namespace
    };
    if !matches {
        causes.push(Cause::invalid(
            "involvedObject.namespace",
            &json!(involved),
            "does not match event.namespace",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_told_from_nonsense() {
        for good in ["1", "100m", "1.5Gi", "1e3", "0", "-1", "12E", ".5"] {
            assert!(is_quantity(good), "{good}");
        }
        for bad in ["", "abc", "1.2.3", "1Zi", "m", "1 Gi"] {
            assert!(!is_quantity(bad), "{bad}");
        }
    }
}
