//! The cluster's other kinds as rows: nodes, namespaces, events, configuration, storage.

use jiff::Timestamp;
use serde_json::Value;

use super::{AGE, Column, NAME, Printer, age, items, name, number, selector, text_or};
use crate::object::{at, meta_str, str_at};

pub(super) const NODES: Printer = Printer {
    columns: &[
        NAME,
        Column("Status", "string", "", 0),
        Column("Roles", "string", "", 0),
        AGE,
        Column("Version", "string", "", 0),
        Column("Internal-IP", "string", "", 1),
        Column("External-IP", "string", "", 1),
        Column("OS-Image", "string", "", 1),
        Column("Kernel-Version", "string", "", 1),
        Column("Container-Runtime", "string", "", 1),
    ],
    row: |node, now| {
        let info =
            |field: &str, absent: &str| text_or(node, &["status", "nodeInfo", field], absent);
        vec![
            name(node),
            node_status(node).into(),
            roles(node).into(),
            age::created(node, now),
            info("kubeletVersion", ""),
            address(node, "InternalIP"),
            address(node, "ExternalIP"),
            info("osImage", "<unknown>"),
            info("kernelVersion", "<unknown>"),
            info("containerRuntimeVersion", "<unknown>"),
        ]
    },
};

fn node_status(node: &Value) -> String {
    let ready = items(node, &["status", "conditions"]).find(|c| c["type"] == "Ready");
    let word = match ready {
        Some(condition) if condition["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if at(node, &["spec", "unschedulable"]) == Some(&Value::Bool(true)) {
        format!("{word},SchedulingDisabled")
    } else {
        word.to_owned()
    }
}

fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = at(node, &["metadata", "labels"])
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(
            |(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
                Some(role) => Some(role),
                None if key == "kubernetes.io/role" => value.as_str(),
                None => None,
            },
        )
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() {
        "<none>".to_owned()
    } else {
        roles.join(",")
    }
}

fn address(node: &Value, kind: &str) -> Value {
    items(node, &["status", "addresses"])
        .find(|address| address["type"] == kind)
        .map_or_else(|| "<none>".into(), |found| found["address"].clone())
}

pub(super) const NAMESPACES: Printer = Printer {
    columns: &[NAME, Column("Status", "string", "", 0), AGE],
    row: |object, now| {
        vec![
            name(object),
            text_or(object, &["status", "phase"], ""),
            age::created(object, now),
        ]
    },
};

pub(super) const EVENTS: Printer = Printer {
    columns: &[
        Column("Last Seen", "string", "", 0),
        Column("Type", "string", "", 0),
        Column("Reason", "string", "", 0),
        Column("Object", "string", "", 0),
        Column("Subobject", "string", "", 1),
        Column("Source", "string", "", 1),
        Column("Message", "string", "", 0),
        Column("First Seen", "string", "", 1),
        Column("Count", "string", "", 1),
        Column("Name", "string", "name", 1),
    ],
    row: event,
};

/// Reads both forms of an event, the core one and that of `events.k8s.io`.
fn event(event: &Value, now: Timestamp) -> Vec<Value> {
    let first_of = |paths: &[&[&str]]| -> String {
        paths
            .iter()
            .map(|path| str_at(event, path))
            .find(|text| !text.is_empty())
            .unwrap_or_default()
            .to_owned()
    };
    let series = first_of(&[&["series", "lastObservedTime"]]);
    let first = first_of(&[
        &["firstTimestamp"],
        &["deprecatedFirstTimestamp"],
        &["eventTime"],
    ]);
    let last = if series.is_empty() {
        first_of(&[
            &["lastTimestamp"],
            &["deprecatedLastTimestamp"],
            &["eventTime"],
        ])
    } else {
        series
    };
    let involved = event
        .get("involvedObject")
        .or_else(|| event.get("regarding"))
        .unwrap_or(&Value::Null);
    let object = match (str_at(involved, &["kind"]), str_at(involved, &["name"])) {
        (kind, "") => kind.to_lowercase(),
        (kind, name) => format!("{}/{name}", kind.to_lowercase()),
    };
    let component = first_of(&[
        &["source", "component"],
        &["deprecatedSource", "component"],
        &["reportingComponent"],
        &["reportingController"],
    ]);
    let host = first_of(&[
        &["source", "host"],
        &["deprecatedSource", "host"],
        &["reportingInstance"],
    ]);
    let source = if host.is_empty() {
        component
    } else {
        format!("{component}, {host}")
    };
    let count = number(event, &["series", "count"])
        .max(number(event, &["count"]))
        .max(number(event, &["deprecatedCount"]))
        .max(1);
    vec![
        age::since(&last, now).into(),
        text_or(event, &["type"], ""),
        text_or(event, &["reason"], ""),
        object.into(),
        text_or(involved, &["fieldPath"], ""),
        source.into(),
        first_of(&[&["message"], &["note"]]).trim().into(),
        age::since(&first, now).into(),
        count.into(),
        name(event),
    ]
}

fn entries(object: &Value, fields: &[&str]) -> usize {
    fields
        .iter()
        .filter_map(|field| object.get(*field)?.as_object())
        .map(serde_json::Map::len)
        .sum()
}

pub(super) const SECRETS: Printer = Printer {
    columns: &[
        NAME,
        Column("Type", "string", "", 0),
        Column("Data", "string", "", 0),
        AGE,
    ],
    row: |object, now| {
        vec![
            name(object),
            text_or(object, &["type"], ""),
            entries(object, &["data"]).into(),
            age::created(object, now),
        ]
    },
};

pub(super) const CONFIG_MAPS: Printer = Printer {
    columns: &[NAME, Column("Data", "string", "", 0), AGE],
    row: |object, now| {
        vec![
            name(object),
            entries(object, &["data", "binaryData"]).into(),
            age::created(object, now),
        ]
    },
};

pub(super) const SERVICE_ACCOUNTS: Printer = Printer {
    columns: &[NAME, Column("Secrets", "string", "", 0), AGE],
    row: |object, now| {
        vec![
            name(object),
            items(object, &["secrets"]).count().into(),
            age::created(object, now),
        ]
    },
};

pub(super) const SERVICES: Printer = Printer {
    columns: &[
        NAME,
        Column("Type", "string", "", 0),
        Column("Cluster-IP", "string", "", 0),
        Column("External-IP", "string", "", 0),
        Column("Port(s)", "string", "", 0),
        AGE,
        Column("Selector", "string", "", 1),
    ],
    row: |object, now| {
        let ports: Vec<String> = items(object, &["spec", "ports"])
            .map(|port| {
                let protocol = port["protocol"].as_str().unwrap_or("TCP");
                match port["nodePort"].as_i64() {
                    Some(node) if node > 0 => format!("{}:{node}/{protocol}", port["port"]),
                    _ => format!("{}/{protocol}", port["port"]),
                }
            })
            .collect();
        let outside: Vec<&str> = items(object, &["spec", "externalIPs"])
            .filter_map(Value::as_str)
            .chain(
                items(object, &["status", "loadBalancer", "ingress"])
                    .filter_map(|ingress| ingress["ip"].as_str().or(ingress["hostname"].as_str())),
            )
            .collect();
        let or_none = |parts: String| {
            if parts.is_empty() {
                "<none>".to_owned()
            } else {
                parts
            }
        };
        let kind = str_at(object, &["spec", "type"]);
        let external = match (kind, outside.is_empty()) {
            ("LoadBalancer", true) => "<pending>".to_owned(),
            _ => or_none(outside.join(",")),
        };
        vec![
            name(object),
            kind.into(),
            text_or(object, &["spec", "clusterIP"], "<none>"),
            external.into(),
            or_none(ports.join(",")).into(),
            age::created(object, now),
            selector(at(object, &["spec", "selector"])).into(),
        ]
    },
};

fn modes(object: &Value, path: &[&str]) -> Value {
    items(object, path)
        .filter_map(Value::as_str)
        .map(|mode| match mode {
            "ReadWriteOnce" => "RWO",
            "ReadOnlyMany" => "ROX",
            "ReadWriteMany" => "RWX",
            "ReadWriteOncePod" => "RWOP",
            other => other,
        })
        .collect::<Vec<_>>()
        .join(",")
        .into()
}

pub(super) const CLAIMS: Printer = Printer {
    columns: &[
        NAME,
        Column("Status", "string", "", 0),
        Column("Volume", "string", "", 0),
        Column("Capacity", "string", "", 0),
        Column("Access Modes", "string", "", 0),
        Column("StorageClass", "string", "", 0),
        AGE,
    ],
    row: |object, now| {
        let bound = !str_at(object, &["spec", "volumeName"]).is_empty();
        let status = if crate::object::is_deleting(object) {
            "Terminating".into()
        } else {
            text_or(object, &["status", "phase"], "")
        };
        vec![
            name(object),
            status,
            text_or(object, &["spec", "volumeName"], ""),
            if bound {
                text_or(object, &["status", "capacity", "storage"], "")
            } else {
                "".into()
            },
            if bound {
                modes(object, &["status", "accessModes"])
            } else {
                "".into()
            },
            text_or(object, &["spec", "storageClassName"], ""),
            age::created(object, now),
        ]
    },
};

pub(super) const VOLUMES: Printer = Printer {
    columns: &[
        NAME,
        Column("Capacity", "string", "", 0),
        Column("Access Modes", "string", "", 0),
        Column("Reclaim Policy", "string", "", 0),
        Column("Status", "string", "", 0),
        Column("Claim", "string", "", 0),
        Column("StorageClass", "string", "", 0),
        AGE,
    ],
    row: |object, now| {
        let claim = match at(object, &["spec", "claimRef"]) {
            Some(claim) => format!(
                "{}/{}",
                str_at(claim, &["namespace"]),
                str_at(claim, &["name"])
            ),
            None => String::new(),
        };
        vec![
            name(object),
            text_or(object, &["spec", "capacity", "storage"], ""),
            modes(object, &["spec", "accessModes"]),
            text_or(object, &["spec", "persistentVolumeReclaimPolicy"], ""),
            text_or(object, &["status", "phase"], ""),
            claim.into(),
            text_or(object, &["spec", "storageClassName"], ""),
            age::created(object, now),
        ]
    },
};

pub(super) const LEASES: Printer = Printer {
    columns: &[NAME, Column("Holder", "string", "", 0), AGE],
    row: |object, now| {
        vec![
            name(object),
            text_or(object, &["spec", "holderIdentity"], ""),
            age::created(object, now),
        ]
    },
};

pub(super) const STORAGE_CLASSES: Printer = Printer {
    columns: &[
        NAME,
        Column("Provisioner", "string", "", 0),
        Column("ReclaimPolicy", "string", "", 0),
        Column("VolumeBindingMode", "string", "", 0),
        Column("AllowVolumeExpansion", "string", "", 0),
        AGE,
    ],
    row: |object, now| {
        let default = at(object, &["metadata", "annotations"])
            .is_some_and(|all| all["storageclass.kubernetes.io/is-default-class"] == "true");
        let shown = meta_str(object, "name");
        vec![
            if default {
                format!("{shown} (default)").into()
            } else {
                shown.into()
            },
            text_or(object, &["provisioner"], ""),
            text_or(object, &["reclaimPolicy"], "Delete"),
            text_or(object, &["volumeBindingMode"], "Immediate"),
            (at(object, &["allowVolumeExpansion"]) == Some(&Value::Bool(true))).into(),
            age::created(object, now),
        ]
    },
};

pub(super) const PRIORITY_CLASSES: Printer = Printer {
    columns: &[
        NAME,
        Column("Value", "integer", "", 0),
        Column("Global-Default", "boolean", "", 0),
        AGE,
        Column("PreemptionPolicy", "string", "", 0),
    ],
    row: |object, now| {
        vec![
            name(object),
            number(object, &["value"]).into(),
            (at(object, &["globalDefault"]) == Some(&Value::Bool(true))).into(),
            age::created(object, now),
            text_or(object, &["preemptionPolicy"], "PreemptLowerPriority"),
        ]
    },
};

pub(super) const CREATED_AT: Printer = Printer {
    columns: &[NAME, Column("Created At", "string", "date-time", 0)],
    row: |object, _| {
        vec![
            name(object),
            text_or(object, &["metadata", "creationTimestamp"], ""),
        ]
    },
};
