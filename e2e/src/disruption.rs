//! What became of pods, from the audit log alone: how many were available, and who ended them.

use std::collections::BTreeSet;

use crate::{AuditEntry, product::USER};

/// Pods whose `namespace/name` begins alike, over a whole story.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disruption {
    /// The fewest that were Ready and stayed, once as many as asked about were.
    pub least: Option<usize>,
    /// Evictions by the product that the API server granted.
    pub granted: usize,
    /// And those it refused because of a budget.
    pub refused: usize,
    /// Pods that the product ended in another way than by eviction.
    pub deleted: Vec<String>,
}

/// Reads the log: a pod is available from when its kubelet says that it is Ready until that takes it
/// back, its eviction is granted or it is deleted. A request takes effect somewhere between its
/// arrival and its answer; a pod counts for as long as it can have been available, so that where
/// these are too few, there were. `enough` is how many there must have been before the fewest are
/// counted.
#[must_use]
pub fn of(entries: &[AuditEntry], pods: &str, enough: usize) -> Disruption {
    let mut entries: Vec<&AuditEntry> = entries
        .iter()
        .filter(|entry| entry.resource == "pods" && key(entry).starts_with(pods))
        .collect();
    entries.sort_by_key(|entry| match ready_said(entry) {
        Some(true) => entry.received,
        _ => entry.answered,
    });
    let mut found = Disruption::default();
    let mut available: BTreeSet<String> = BTreeSet::new();
    for entry in entries {
        let (pod, ours) = (key(entry), entry.user == USER);
        let done = (200..300).contains(&entry.code);
        match (entry.verb.as_str(), entry.subresource.as_str()) {
            ("patch" | "update", "status") if done => match ready_said(entry) {
                Some(true) => {
                    available.insert(pod);
                }
                Some(false) => {
                    available.remove(&pod);
                }
                None => {}
            },
            ("create", "eviction") if done => {
                available.remove(&pod);
                found.granted += usize::from(ours);
            }
            ("create", "eviction") => found.refused += usize::from(ours && entry.code == 429),
            ("delete", "") if done => {
                available.remove(&pod);
                found.deleted.extend(ours.then_some(pod));
            }
            _ => {}
        }
        if found.least.is_some() || available.len() >= enough {
            let least = found.least.unwrap_or(usize::MAX);
            found.least = Some(least.min(available.len()));
        }
    }
    found
}

fn key(entry: &AuditEntry) -> String {
    format!("{}/{}", entry.namespace, entry.name)
}

/// What a change of a pod's status says of whether it is Ready.
fn ready_said(entry: &AuditEntry) -> Option<bool> {
    let status = entry.subresource == "status";
    let change = entry.request.as_ref().filter(|_| status)?;
    let conditions = change["status"]["conditions"].as_array()?;
    let ready = conditions.iter().find(|one| one["type"] == "Ready")?;
    Some(ready["status"] == "True")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn entry(second: i64, user: &str, verb: &str, name: &str, part: &str, code: u16) -> AuditEntry {
        let at = Timestamp::from_second(second).unwrap();
        AuditEntry {
            id: second.to_string(),
            user: user.into(),
            user_agent: String::new(),
            verb: verb.into(),
            uri: String::new(),
            group: String::new(),
            resource: "pods".into(),
            subresource: part.into(),
            namespace: "default".into(),
            name: name.into(),
            code,
            reason: String::new(),
            message: String::new(),
            decision: "allow".into(),
            received: at,
            answered: at,
            complete: true,
            request: Some(json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}})),
            response: None,
        }
    }

    #[test]
    fn pods_are_counted_from_ready_to_their_end_and_who_ends_them_is_told() {
        let entries = [
            entry(1, "world", "patch", "web-a", "status", 200),
            entry(2, "world", "patch", "web-b", "status", 200),
            entry(3, "world", "patch", "other", "status", 200),
            entry(4, USER, "create", "web-a", "eviction", 429),
            entry(5, USER, "create", "web-a", "eviction", 201),
            entry(6, "world", "delete", "web-a", "", 200),
            entry(7, "world", "patch", "web-c", "status", 200),
        ];
        let found = of(&entries, "default/web-", 2);
        let wanted = Disruption {
            least: Some(1),
            granted: 1,
            refused: 1,
            deleted: Vec::new(),
        };
        assert_eq!(found, wanted);
        assert_eq!(of(&entries, "default/web-", 3).least, None);
        let deletes = [entry(1, USER, "delete", "web-a", "", 200)];
        assert_eq!(of(&deletes, "default/", 1).deleted, ["default/web-a"]);
    }

    /// Its Ready may have been seen, and the other's eviction granted for it, before it was answered.
    #[test]
    fn a_pod_counts_as_soon_as_it_can_have_been_available() {
        let mut slow = entry(2, "world", "patch", "web-b", "status", 200);
        slow.answered = Timestamp::from_second(4).unwrap();
        let entries = [
            entry(1, "world", "patch", "web-a", "status", 200),
            slow,
            entry(3, USER, "create", "web-a", "eviction", 201),
        ];
        assert_eq!(of(&entries, "default/web-", 1).least, Some(1));
    }
}
