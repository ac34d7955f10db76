//! Workloads as rows: deployments, replica sets, stateful and daemon sets, jobs, budgets.

use jiff::Timestamp;
use serde_json::Value;

use super::{AGE, Column, NAME, Printer, age, items, name, number, selector, text_or};
use crate::object::{at, str_at};

const CONTAINERS: Column = Column("Containers", "string", "", 1);
const IMAGES: Column = Column("Images", "string", "", 1);
const SELECTOR: Column = Column("Selector", "string", "", 1);

fn status(object: &Value, field: &str) -> i64 {
    number(object, &["status", field])
}

fn ratio(object: &Value) -> Value {
    let wanted = number(object, &["spec", "replicas"]);
    format!("{}/{wanted}", status(object, "readyReplicas")).into()
}

/// Names, images and selector of the pod template.
fn template(object: &Value) -> [Value; 3] {
    let list = |field: &str| -> Value {
        items(object, &["spec", "template", "spec", "containers"])
            .filter_map(|container| container[field].as_str())
            .collect::<Vec<_>>()
            .join(",")
            .into()
    };
    let chosen = selector(at(object, &["spec", "selector"]));
    [list("name"), list("image"), chosen.into()]
}

pub(super) const DEPLOYMENTS: Printer = Printer {
    columns: &[
        NAME,
        Column("Ready", "string", "", 0),
        Column("Up-to-date", "string", "", 0),
        Column("Available", "string", "", 0),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    row: |object, now| {
        let mut cells = vec![
            name(object),
            ratio(object),
            status(object, "updatedReplicas").into(),
            status(object, "availableReplicas").into(),
            age::created(object, now),
        ];
        cells.extend(template(object));
        cells
    },
};

pub(super) const REPLICA_SETS: Printer = Printer {
    columns: &[
        NAME,
        Column("Desired", "integer", "", 0),
        Column("Current", "integer", "", 0),
        Column("Ready", "integer", "", 0),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    row: |object, now| {
        let mut cells = vec![
            name(object),
            number(object, &["spec", "replicas"]).into(),
            status(object, "replicas").into(),
            status(object, "readyReplicas").into(),
            age::created(object, now),
        ];
        cells.extend(template(object));
        cells
    },
};

pub(super) const STATEFUL_SETS: Printer = Printer {
    columns: &[
        NAME,
        Column("Ready", "string", "", 0),
        AGE,
        CONTAINERS,
        IMAGES,
    ],
    row: |object, now| {
        let [containers, images, _] = template(object);
        vec![
            name(object),
            ratio(object),
            age::created(object, now),
            containers,
            images,
        ]
    },
};

pub(super) const DAEMON_SETS: Printer = Printer {
    columns: &[
        NAME,
        Column("Desired", "integer", "", 0),
        Column("Current", "integer", "", 0),
        Column("Ready", "integer", "", 0),
        Column("Up-to-date", "integer", "", 0),
        Column("Available", "integer", "", 0),
        Column("Node Selector", "string", "", 0),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    row: |object, now| {
        let mut cells = vec![
            name(object),
            status(object, "desiredNumberScheduled").into(),
            status(object, "currentNumberScheduled").into(),
            status(object, "numberReady").into(),
            status(object, "updatedNumberScheduled").into(),
            status(object, "numberAvailable").into(),
            selector(at(object, &["spec", "template", "spec", "nodeSelector"])).into(),
            age::created(object, now),
        ];
        cells.extend(template(object));
        cells
    },
};

pub(super) const JOBS: Printer = Printer {
    columns: &[
        NAME,
        Column("Status", "string", "", 0),
        Column("Completions", "string", "", 0),
        Column("Duration", "string", "", 0),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    row: |object, now| {
        let mut cells = vec![
            name(object),
            job_word(object).into(),
            completions(object).into(),
            duration(object, now).into(),
            age::created(object, now),
        ];
        cells.extend(template(object));
        cells
    },
};

fn job_word(job: &Value) -> &'static str {
    let holds = |name: &str| {
        items(job, &["status", "conditions"])
            .any(|condition| condition["type"] == name && condition["status"] == "True")
    };
    let words = [
        ("Complete", "Complete"),
        ("Failed", "Failed"),
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
    ];
    if crate::object::is_deleting(job) {
        return "Terminating";
    }
    words
        .iter()
        .find(|(name, _)| holds(name))
        .map_or("Running", |(_, word)| word)
}

fn completions(job: &Value) -> String {
    let done = status(job, "succeeded");
    let wanted = at(job, &["spec", "completions"]).and_then(Value::as_i64);
    let parallel = at(job, &["spec", "parallelism"]).and_then(Value::as_i64);
    match (wanted, parallel) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, Some(parallel)) if parallel > 1 => format!("{done}/1 of {parallel}"),
        (None, _) => format!("{done}/1"),
    }
}

fn duration(job: &Value, now: Timestamp) -> String {
    let time = |field: &str| str_at(job, &["status", field]).parse::<Timestamp>().ok();
    match (time("startTime"), time("completionTime")) {
        (None, _) => String::new(),
        (Some(start), end) => age::between(start, end.unwrap_or(now)),
    }
}

pub(super) const CRON_JOBS: Printer = Printer {
    columns: &[
        NAME,
        Column("Schedule", "string", "", 0),
        Column("Timezone", "string", "", 0),
        Column("Suspend", "boolean", "", 0),
        Column("Active", "integer", "", 0),
        Column("Last Schedule", "string", "", 0),
        AGE,
    ],
    row: |object, now| {
        let last = str_at(object, &["status", "lastScheduleTime"]);
        let suspended = at(object, &["spec", "suspend"]) == Some(&Value::Bool(true));
        vec![
            name(object),
            text_or(object, &["spec", "schedule"], ""),
            text_or(object, &["spec", "timeZone"], "<none>"),
            if suspended { "True" } else { "False" }.into(),
            items(object, &["status", "active"]).count().into(),
            if last.is_empty() {
                "<none>".into()
            } else {
                age::since(last, now).into()
            },
            age::created(object, now),
        ]
    },
};

pub(super) const BUDGETS: Printer = Printer {
    columns: &[
        NAME,
        Column("Min Available", "string", "", 0),
        Column("Max Unavailable", "string", "", 0),
        Column("Allowed Disruptions", "integer", "", 0),
        AGE,
    ],
    row: |object, now| {
        let bound = |field: &str| -> Value {
            match at(object, &["spec", field]) {
                None | Some(Value::Null) => "N/A".into(),
                Some(Value::String(text)) => text.clone().into(),
                Some(other) => other.to_string().into(),
            }
        };
        vec![
            name(object),
            bound("minAvailable"),
            bound("maxUnavailable"),
            status(object, "disruptionsAllowed").into(),
            age::created(object, now),
        ]
    },
};
