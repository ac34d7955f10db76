//! Pods as rows: ready containers, the status word, restarts, age.

use jiff::Timestamp;
use serde_json::Value;

use super::{AGE, Column, NAME, Printer, age, items, name, text_or};
use crate::object::{at, is_deleting, str_at};

pub(super) const PODS: Printer = Printer {
    columns: &[
        NAME,
        Column("Ready", "string", "", 0),
        Column("Status", "string", "", 0),
        Column("Restarts", "string", "", 0),
        AGE,
        Column("IP", "string", "", 1),
        Column("Node", "string", "", 1),
        Column("Nominated Node", "string", "", 1),
        Column("Readiness Gates", "string", "", 1),
    ],
    row,
};

fn condition<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    items(pod, &["status", "conditions"]).find(|condition| condition["type"] == name)
}

fn holds(pod: &Value, name: &str) -> bool {
    condition(pod, name).is_some_and(|condition| condition["status"] == "True")
}

fn exit(terminated: &Value) -> String {
    match (
        str_at(terminated, &["reason"]),
        terminated["signal"].as_i64(),
        terminated["exitCode"].as_i64().unwrap_or_default(),
    ) {
        ("", Some(signal), _) if signal != 0 => format!("Signal:{signal}"),
        ("", _, code) => format!("ExitCode:{code}"),
        (reason, ..) => reason.to_owned(),
    }
}

/// What of the restarts is printed: their number and when the last one was.
#[derive(Default)]
struct Restarts {
    count: i64,
    last: String,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count += status["restartCount"].as_i64().unwrap_or_default();
        let ended = str_at(status, &["lastState", "terminated", "finishedAt"]);
        if ended > self.last.as_str() {
            ended.clone_into(&mut self.last);
        }
    }
}

/// The status word while init containers keep the pod from starting.
fn initializing(pod: &Value, restarts: &mut Restarts) -> Option<String> {
    let specs: Vec<&Value> = items(pod, &["spec", "initContainers"]).collect();
    for (index, status) in items(pod, &["status", "initContainerStatuses"]).enumerate() {
        restarts.add(status);
        let sidecar = specs
            .iter()
            .any(|spec| spec["name"] == status["name"] && spec["restartPolicy"] == "Always");
        let terminated = at(status, &["state", "terminated"]);
        let waiting = str_at(status, &["state", "waiting", "reason"]);
        if terminated.is_some_and(|end| end["exitCode"].as_i64() == Some(0))
            || (sidecar && status["started"] == true)
        {
            continue;
        }
        return Some(match terminated {
            Some(end) => format!("Init:{}", exit(end)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => {
                format!("Init:{waiting}")
            }
            None => format!("Init:{index}/{}", specs.len()),
        });
    }
    None
}

fn row(pod: &Value, now: Timestamp) -> Vec<Value> {
    let phase = str_at(pod, &["status", "phase"]);
    let own_reason = str_at(pod, &["status", "reason"]);
    let mut word = if own_reason.is_empty() {
        phase
    } else {
        own_reason
    }
    .to_owned();
    if condition(pod, "PodScheduled").is_some_and(|c| c["reason"] == "SchedulingGated") {
        "SchedulingGated".clone_into(&mut word);
    }
    let sidecars = |specs: &[&str]| {
        items(pod, specs)
            .filter(|spec| spec["restartPolicy"] == "Always")
            .count()
    };
    let total = items(pod, &["spec", "containers"]).count() + sidecars(&["spec", "initContainers"]);
    let (mut ready, mut restarts) = (0, Restarts::default());
    let blocked = initializing(pod, &mut restarts);
    if let Some(blocked) = &blocked {
        word.clone_from(blocked);
    }
    if blocked.is_none() || holds(pod, "Initialized") {
        let mut running = false;
        let statuses: Vec<&Value> = items(pod, &["status", "containerStatuses"]).collect();
        for status in statuses.into_iter().rev() {
            restarts.add(status);
            let waiting = str_at(status, &["state", "waiting", "reason"]);
            if !waiting.is_empty() {
                waiting.clone_into(&mut word);
            } else if let Some(end) = at(status, &["state", "terminated"]) {
                word = exit(end);
            } else if status["ready"] == true && at(status, &["state", "running"]).is_some() {
                running = true;
                ready += 1;
            }
        }
        if word == "Completed" && running {
            let shown = if holds(pod, "Ready") {
                "Running"
            } else {
                "NotReady"
            };
            shown.clone_into(&mut word);
        }
    }
    if is_deleting(pod) {
        if own_reason == "NodeLost" {
            "Unknown".clone_into(&mut word);
        } else if !matches!(phase, "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut word);
        }
    }
    let restarted = if restarts.count != 0 && !restarts.last.is_empty() {
        format!(
            "{} ({} ago)",
            restarts.count,
            age::since(&restarts.last, now)
        )
    } else {
        restarts.count.to_string()
    };
    let gates = items(pod, &["spec", "readinessGates"]).count();
    let open = items(pod, &["spec", "readinessGates"])
        .filter(|gate| holds(pod, str_at(gate, &["conditionType"])))
        .count();
    vec![
        name(pod),
        format!("{ready}/{total}").into(),
        word.into(),
        restarted.into(),
        age::created(pod, now),
        text_or(pod, &["status", "podIP"], "<none>"),
        text_or(pod, &["spec", "nodeName"], "<none>"),
        text_or(pod, &["status", "nominatedNodeName"], "<none>"),
        if gates == 0 {
            "<none>".into()
        } else {
            format!("{open}/{gates}").into()
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn word(pod: &Value) -> (String, String) {
        let cells = row(pod, Timestamp::UNIX_EPOCH);
        let text = |at: usize| cells[at].as_str().unwrap().to_owned();
        (text(1), text(2))
    }

    #[test]
    fn the_status_word_says_what_a_pod_waits_for() {
        let spec = json!({"containers": [{"name": "a"}]});
        for (pod, ready, expected) in [
            (
                json!({"spec": spec, "status": {"phase": "Pending"}}),
                "0/1",
                "Pending",
            ),
            (
                json!({"spec": spec, "status": {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}}),
                "0/1",
                "ContainerCreating",
            ),
            (
                json!({"spec": spec, "status": {"phase": "Running", "containerStatuses": [{"ready": true, "state": {"running": {}}}]}}),
                "1/1",
                "Running",
            ),
            (
                json!({"spec": spec, "status": {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]}}),
                "0/1",
                "Completed",
            ),
            (
                json!({"metadata": {"deletionTimestamp": "2024-01-01T00:00:00Z"}, "spec": spec, "status": {"phase": "Running"}}),
                "0/1",
                "Terminating",
            ),
            (
                json!({"spec": spec, "status": {"phase": "Failed", "reason": "Evicted"}}),
                "0/1",
                "Evicted",
            ),
            (
                json!({"spec": {"containers": [{}], "initContainers": [{"name": "i"}]}, "status": {"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}}),
                "0/1",
                "Init:0/1",
            ),
        ] {
            assert_eq!(word(&pod), (ready.to_owned(), expected.to_owned()), "{pod}");
        }
    }
}
