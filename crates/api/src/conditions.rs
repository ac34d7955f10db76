//! Conditions with the standard transition rule: `lastTransitionTime` moves only when the status
//! does.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Condition types of NodeGroups.
pub mod node_group {
    /// Every wanted node is Ready and the group is valid.
    pub const READY: &str = "Ready";
    /// Machines are on their way or being removed.
    pub const SCALING: &str = "Scaling";
    /// Something is wrong; the reason says what.
    pub const ERROR: &str = "Error";
    /// Pods wait that no group could take; the reason says why this one could not.
    pub const PODS_UNPLACED: &str = "PodsUnplaced";
    /// Workers of its VPSie cluster belong to no VPSieNode; the message names them.
    pub const UNOWNED_MACHINES: &str = "UnownedMachines";
    /// Critical: nothing is removed in its VPSie cluster until a person takes the annotation
    /// `removals-stopped` away.
    pub const REMOVALS_STOPPED: &str = "RemovalsStopped";
    /// No fewer nodes are allowed.
    pub const AT_MIN_CAPACITY: &str = "AtMinCapacity";
    /// No more nodes are allowed.
    pub const AT_MAX_CAPACITY: &str = "AtMaxCapacity";
}

/// Condition types of VPSieNodes.
pub mod vpsie_node {
    /// The machine runs.
    pub const VPS_READY: &str = "VPSReady";
    /// The Node has joined.
    pub const NODE_JOINED: &str = "NodeJoined";
    /// The Node is Ready.
    pub const NODE_READY: &str = "NodeReady";
    /// Something is wrong; the reason says what.
    pub const ERROR: &str = "Error";
    /// Little of the node is in use and it stays; the reason says why.
    pub const SCALE_DOWN_BLOCKED: &str = "ScaleDownBlocked";
}

/// A condition's status.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody knows.
    Unknown,
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// A condition. `lastUpdateTime` is the predecessor's: kept where it is, never written.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The type.
    #[serde(rename = "type")]
    #[schemars(length(max = 316))]
    pub type_: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// When the status last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: Option<String>,
    /// Of the predecessor; not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_update_time: Option<String>,
    /// CamelCase, from a closed list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Sets one condition; returns whether anything changed.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    type_: &str,
    status: ConditionStatus,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> bool {
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    let Some(present) = conditions.iter_mut().find(|c| c.type_ == type_) else {
        conditions.push(Condition {
            type_: type_.to_owned(),
            status,
            last_transition_time: Some(seconds(now)),
            last_update_time: None,
            reason: text(reason),
            message: text(message),
        });
        return true;
    };
    if present.status == status
        && present.reason == text(reason)
        && present.message == text(message)
    {
        return false;
    }
    if present.status != status {
        present.last_transition_time = Some(seconds(now));
    }
    present.status = status;
    present.reason = text(reason);
    present.message = text(message);
    true
}

/// A timestamp as Kubernetes writes it: whole seconds, UTC.
#[must_use]
pub fn seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second())
        .map_or_else(|_| at.to_string(), |whole| whole.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut set = |status, message, second| {
            set_condition(&mut conditions, "Ready", status, "R", message, at(second))
        };
        assert!(set(ConditionStatus::False, "one", 100));
        assert!(!set(ConditionStatus::False, "one", 200));
        assert!(set(ConditionStatus::False, "two", 300));
        assert!(set(ConditionStatus::True, "two", 400));
        assert_eq!(conditions.len(), 1);
        assert_eq!(
            conditions[0].last_transition_time.as_deref(),
            Some("1970-01-01T00:06:40Z")
        );
    }

    #[test]
    fn a_condition_of_the_predecessor_is_taken_over_in_place() {
        let stored = r#"[{"type":"Ready","status":"False","lastTransitionTime":"2025-12-01T08:01:00Z","lastUpdateTime":"2025-12-01T09:01:00Z","reason":"Reconciling"}]"#;
        let mut conditions: Vec<Condition> = serde_json::from_str(stored).unwrap();
        let now = Timestamp::from_second(0).unwrap();
        assert!(set_condition(
            &mut conditions,
            "Ready",
            ConditionStatus::False,
            "ValidationFailed",
            "",
            now
        ));
        let [ready] = conditions.as_slice() else {
            panic!("{conditions:?}");
        };
        assert_eq!(
            ready.last_transition_time.as_deref(),
            Some("2025-12-01T08:01:00Z")
        );
        assert_eq!(
            ready.last_update_time.as_deref(),
            Some("2025-12-01T09:01:00Z")
        );
        assert_eq!(ready.reason.as_deref(), Some("ValidationFailed"));
    }
}
