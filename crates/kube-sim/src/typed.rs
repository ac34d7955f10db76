//! Reads bodies as the API server's typed decoding does: what a built-in kind has no field for is
//! dropped and named, what is of another type is refused, and what Go leaves out when empty is left
//! out. Custom kinds go through it with their metadata only; their schema does the rest.

use std::fmt;

use k8s_openapi::{
    api::{
        admissionregistration::v1 as admission, apps::v1 as apps, batch::v1 as batch,
        coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery,
        events::v1 as events, policy::v1 as policy, rbac::v1 as rbac, scheduling::v1 as scheduling,
        storage::v1 as storage,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::{Map, Value, json};

use crate::{
    object::{drop_nulls, map_mut},
    registry::KindInfo,
    validate::is_quantity,
};

/// Maps that an empty value leaves out, as Go's `omitempty` does.
const MAPS: &[&str] = &[
    "annotations",
    "capacity",
    "allocatable",
    "binaryData",
    "data",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "requests",
];

/// Flags that are left out when false; elsewhere false is kept, for it may differ from absent.
const FLAGS: &[&str] = &[
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "paused",
    "stdin",
    "stdinOnce",
    "tty",
    "unschedulable",
];

/// Decodes `object` in place; answers the paths that the kind has no field for, or why it is of
/// the wrong type.
pub(crate) fn decode(
    kind: &KindInfo,
    object: &mut Value,
    lenient: bool,
) -> Result<Vec<String>, String> {
    drop_nulls_of_metadata(object);
    if !kind.builtin {
        let mut unknown = Vec::new();
        if let Some(meta) = object.get_mut("metadata") {
            let kept = kept::<ObjectMeta>(meta)?;
            lost("metadata", meta, &kept, &mut unknown);
            *meta = kept;
            tidy(meta);
        }
        return Ok(unknown);
    }
    drop_nulls(object);
    quantities(object, lenient)?;
    fractions(object)?;
    let kept = match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => kept::<core::Pod>(object)?,
        ("", "Node") => kept::<core::Node>(object)?,
        ("", "Namespace") => kept::<core::Namespace>(object)?,
        ("", "Event") => kept::<core::Event>(object)?,
        ("", "Secret") => kept::<core::Secret>(object)?,
        ("", "ConfigMap") => kept::<core::ConfigMap>(object)?,
        ("", "ServiceAccount") => kept::<core::ServiceAccount>(object)?,
        ("", "Service") => kept::<core::Service>(object)?,
        ("", "Endpoints") => kept::<core::Endpoints>(object)?,
        ("", "PersistentVolumeClaim") => kept::<core::PersistentVolumeClaim>(object)?,
        ("", "PersistentVolume") => kept::<core::PersistentVolume>(object)?,
        ("", "ReplicationController") => kept::<core::ReplicationController>(object)?,
        ("apps", "Deployment") => kept::<apps::Deployment>(object)?,
        ("apps", "ReplicaSet") => kept::<apps::ReplicaSet>(object)?,
        ("apps", "StatefulSet") => kept::<apps::StatefulSet>(object)?,
        ("apps", "DaemonSet") => kept::<apps::DaemonSet>(object)?,
        ("apps", "ControllerRevision") => kept::<apps::ControllerRevision>(object)?,
        ("batch", "Job") => kept::<batch::Job>(object)?,
        ("batch", "CronJob") => kept::<batch::CronJob>(object)?,
        ("policy", "PodDisruptionBudget") => kept::<policy::PodDisruptionBudget>(object)?,
        ("coordination.k8s.io", "Lease") => kept::<coordination::Lease>(object)?,
        ("events.k8s.io", "Event") => kept::<events::Event>(object)?,
        ("storage.k8s.io", "StorageClass") => kept::<storage::StorageClass>(object)?,
        ("storage.k8s.io", "CSINode") => kept::<storage::CSINode>(object)?,
        ("storage.k8s.io", "CSIDriver") => kept::<storage::CSIDriver>(object)?,
        ("storage.k8s.io", "CSIStorageCapacity") => kept::<storage::CSIStorageCapacity>(object)?,
        ("storage.k8s.io", "VolumeAttachment") => kept::<storage::VolumeAttachment>(object)?,
        ("scheduling.k8s.io", "PriorityClass") => kept::<scheduling::PriorityClass>(object)?,
        ("rbac.authorization.k8s.io", "Role") => kept::<rbac::Role>(object)?,
        ("rbac.authorization.k8s.io", "RoleBinding") => kept::<rbac::RoleBinding>(object)?,
        ("rbac.authorization.k8s.io", "ClusterRole") => kept::<rbac::ClusterRole>(object)?,
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => {
            kept::<rbac::ClusterRoleBinding>(object)?
        }
        ("discovery.k8s.io", "EndpointSlice") => kept::<discovery::EndpointSlice>(object)?,
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => {
            kept::<admission::ValidatingWebhookConfiguration>(object)?
        }
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => {
            kept::<admission::MutatingWebhookConfiguration>(object)?
        }
        _ => return Ok(Vec::new()),
    };
    let mut unknown = Vec::new();
    lost("", object, &kept, &mut unknown);
    *object = kept;
    tidy(object);
    Ok(unknown)
}

fn drop_nulls_of_metadata(object: &mut Value) {
    if let Some(meta) = object.get_mut("metadata") {
        drop_nulls(meta);
    }
}

fn kept<T: serde::de::DeserializeOwned + serde::Serialize>(
    object: &Value,
) -> Result<Value, String> {
    let typed: T = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    let mut kept = serde_json::to_value(&typed).map_err(|error| error.to_string())?;
    shed(&mut kept, object);
    Ok(kept)
}

/// Takes out what the types require and `sent` does not have: whether it may be missing is for
/// validation to say.
fn shed(kept: &mut Value, sent: &Value) {
    match (kept, sent) {
        (Value::Object(kept), Value::Object(sent)) => {
            kept.retain(|key, _| sent.contains_key(key));
            for (key, value) in kept {
                shed(value, &sent[key]);
            }
        }
        (Value::Array(kept), Value::Array(sent)) => {
            for (kept, sent) in kept.iter_mut().zip(sent) {
                shed(kept, sent);
            }
        }
        _ => {}
    }
}

/// Times with microseconds have all six digits.
fn fractions(value: &Value) -> Result<(), String> {
    match value {
        Value::Object(map) => {
            for (key, item) in map {
                let fine = ["acquireTime", "renewTime", "eventTime", "lastObservedTime"];
                match item {
                    Value::String(text) if fine.contains(&key.as_str()) => {
                        let fraction = text.split_once('.').map_or("", |(_, rest)| rest);
                        let digits = fraction.find(|letter: char| !letter.is_ascii_digit());
                        if digits != Some(6) {
                            return Err(format!(
                                "parsing time {text:?} as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse {text:?} as \".000000\""
                            ));
                        }
                    }
                    item => fractions(item)?,
                }
            }
            Ok(())
        }
        Value::Array(list) => list.iter().try_for_each(fractions),
        _ => Ok(()),
    }
}

/// Paths of `sent` that are not in `kept`.
fn lost(path: &str, sent: &Value, kept: &Value, out: &mut Vec<String>) {
    match (sent, kept) {
        (Value::Object(sent), Value::Object(kept)) => {
            for (key, value) in sent {
                let here = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                match kept.get(key) {
                    Some(kept) => lost(&here, value, kept, out),
                    None if value.is_null() => {}
                    None => out.push(here),
                }
            }
        }
        (Value::Array(sent), Value::Array(kept)) => {
            for (index, (sent, kept)) in sent.iter().zip(kept).enumerate() {
                lost(&format!("{path}[{index}]"), sent, kept, out);
            }
        }
        _ => {}
    }
}

/// Leaves out what Go leaves out when it is empty.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, item| {
                tidy(item);
                match item {
                    Value::Array(list) => !list.is_empty() || key == "managedFields",
                    Value::Object(inner) => !inner.is_empty() || !MAPS.contains(&key.as_str()),
                    Value::Bool(false) => !FLAGS.contains(&key.as_str()),
                    _ => true,
                }
            });
        }
        Value::Array(list) => list.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// Writes amounts in their shortest form, as the server stores them; refuses what is none unless
/// `lenient`.
fn quantities(value: &mut Value, lenient: bool) -> Result<(), String> {
    match value {
        Value::Object(map) => {
            for (key, item) in map.iter_mut() {
                match item {
                    Value::Object(amounts)
                        if matches!(
                            key.as_str(),
                            "requests" | "limits" | "capacity" | "allocatable" | "overhead"
                        ) =>
                    {
                        for amount in amounts.values_mut() {
                            if amount.is_number() {
                                *amount = json!(amount.to_string());
                            }
                            let Some(text) = amount.as_str() else {
                                continue;
                            };
                            if !lenient && !is_quantity(text) {
                                return Err("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'".to_owned());
                            }
                            if let Some(short) = shortest(text) {
                                *amount = json!(short);
                            }
                        }
                    }
                    item => quantities(item, lenient)?,
                }
            }
            Ok(())
        }
        Value::Array(list) => list
            .iter_mut()
            .try_for_each(|item| quantities(item, lenient)),
        _ => Ok(()),
    }
}

/// The canonical form of a quantity: an integer with the largest suffix of its own family. `None`
/// where the text is no such quantity or too fine to be told.
fn shortest(text: &str) -> Option<String> {
    let negative = text.starts_with('-');
    let plain = text.trim_start_matches(['+', '-']);
    let end = plain
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(plain.len());
    let (digits, suffix) = plain.split_at(end);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let figures: i128 = format!("{whole}{part}").parse().ok()?;
    let places = u32::try_from(part.len()).ok()?;
    let sign = if negative { "-" } else { "" };
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if let Some(power) = binary.iter().position(|known| *known == suffix) {
        let scaled = figures.checked_mul(1024_i128.pow(u32::try_from(power).ok()? + 1))?;
        let divisor = 10_i128.checked_pow(places)?;
        if scaled % divisor != 0 {
            return None;
        }
        let mut amount = scaled / divisor;
        let mut at = None;
        for name in binary {
            if amount == 0 || amount % 1024 != 0 {
                break;
            }
            amount /= 1024;
            at = Some(name);
        }
        return Some(format!("{sign}{amount}{}", at.unwrap_or_default()));
    }
    let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    let power = decimal.iter().position(|known| *known == suffix)?;
    // In nanos.
    let scaled = figures.checked_mul(1000_i128.checked_pow(u32::try_from(power).ok()?)?)?;
    let divisor = 10_i128.checked_pow(places)?;
    if scaled % divisor != 0 {
        return None;
    }
    let mut amount = scaled / divisor;
    if amount == 0 {
        return Some("0".to_owned());
    }
    let mut at = 0;
    while amount % 1000 == 0 && at + 1 < decimal.len() {
        amount /= 1000;
        at += 1;
    }
    Some(format!("{sign}{amount}{}", decimal[at]))
}

/// The paths of fields that a JSON text gives twice.
pub(crate) fn repeated(body: &[u8]) -> Vec<String> {
    use serde::de::DeserializeSeed as _;
    let mut found = Vec::new();
    let mut text = serde_json::Deserializer::from_slice(body);
    let walk = Walk {
        path: String::new(),
        found: &mut found,
    };
    // What is no JSON is refused by whoever decodes it.
    let _ = walk.deserialize(&mut text);
    found
}

struct Walk<'a> {
    path: String,
    found: &'a mut Vec<String>,
}

impl<'de> serde::de::DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> serde::de::Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = if self.path.is_empty() {
                key.clone()
            } else {
                format!("{}.{key}", self.path)
            };
            if seen.insert(key, Value::Null).is_some() {
                self.found.push(path.clone());
            }
            map.next_value_seed(Walk {
                path,
                found: self.found,
            })?;
        }
        Ok(())
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut index = 0;
        loop {
            let walk = Walk {
                path: format!("{}[{index}]", self.path),
                found: self.found,
            };
            if list.next_element_seed(walk)?.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// What the server fills in that Go's types always have, empty as it may be.
pub(crate) fn fill_always(kind: &KindInfo, object: &mut Value) {
    if !kind.builtin {
        return;
    }
    let conditions = |object: &mut Value, fields: &[&str]| {
        let list = object
            .pointer_mut("/status/conditions")
            .and_then(Value::as_array_mut);
        for condition in list.into_iter().flatten() {
            for field in fields {
                map_mut(condition).entry(*field).or_insert(Value::Null);
            }
        }
    };
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => {
            conditions(object, &["lastProbeTime", "lastTransitionTime"]);
            let containers = object
                .pointer_mut("/status/containerStatuses")
                .and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                map_mut(container).entry("lastState").or_insert(json!({}));
            }
            if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut)
                && let Some(ip) = status.get("podIP").cloned()
            {
                status.entry("podIPs").or_insert(json!([{"ip": ip}]));
            }
        }
        ("" | "events.k8s.io", "Event") => crate::event_view::fill_always(object),
        ("", "Node") => conditions(object, &["lastHeartbeatTime", "lastTransitionTime"]),
        ("apps", "Deployment") => conditions(object, &["lastUpdateTime", "lastTransitionTime"]),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_the_server_stores_them() {
        for (sent, stored) in [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("2048Ki", "2Mi"),
            ("1500m", "1500m"),
            ("1.5Gi", "1536Mi"),
            ("0", "0"),
            ("110", "110"),
            ("2000", "2k"),
            ("4194304Ki", "4Gi"),
        ] {
            assert_eq!(shortest(sent).as_deref(), Some(stored), "{sent}");
        }
        assert_eq!(shortest("lots"), None);
    }

    #[test]
    fn fields_given_twice_are_named() {
        let text = br#"{"a":1,"b":{"c":1,"c":2},"d":[{"e":1,"e":1}],"a":2}"#;
        assert_eq!(repeated(text), ["b.c", "d[0].e", "a"]);
    }
}
