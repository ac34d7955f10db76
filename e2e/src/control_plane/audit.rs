//! The API server's audit log, typed: who asked what, and how it was answered.
//!
//! The server writes a request's line about when it answers; a reader that was just answered may
//! have to look again. A watch stands in the log from its beginning, and once more when it ended.

use std::{collections::BTreeMap, fs, path::PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{ControlPlaneError, file};

/// Everything but the server's talk with itself and probes of health; what evictions say and are
/// answered, what deletions ask for, and what kubelets say of pods, with it.
pub(super) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: None
  users: ['system:apiserver']
- level: None
  nonResourceURLs: ['/healthz*', '/livez*', '/readyz*']
- level: RequestResponse
  resources: [{group: '', resources: [pods/eviction]}]
- level: Request
  resources: [{group: '', resources: [pods/status]}]
- level: Request
  verbs: [delete, deletecollection]
- level: Metadata
";

/// The audit log of a control plane; outlives restarts of the API server.
#[derive(Clone, Debug)]
pub struct Audit {
    path: PathBuf,
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// The server's id for it.
    pub id: String,
    /// Who asked: a user of [`super::Settings`], or `system:serviceaccount:<namespace>:<name>`.
    pub user: String,
    /// The program that asked.
    pub user_agent: String,
    /// In RBAC's words: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, …; of a path
    /// that is no resource the HTTP method in lower case.
    pub verb: String,
    /// Path and query.
    pub uri: String,
    /// API group; empty for core, and for a path that is no resource.
    pub group: String,
    /// The plural; empty for a path that is no resource.
    pub resource: String,
    /// Empty where there is none.
    pub subresource: String,
    /// Empty where there is none.
    pub namespace: String,
    /// Empty where none was asked for.
    pub name: String,
    /// The HTTP status; 0 where none was sent.
    pub code: u16,
    /// The reason of a refusal, as in `Status` (`NotFound`, `Forbidden`, …); else empty.
    pub reason: String,
    /// The message of a refusal; else empty.
    pub message: String,
    /// What RBAC said: `allow`, `forbid`, or empty where it was not asked.
    pub decision: String,
    /// When the request came.
    pub received: Timestamp,
    /// When the line was written: when the answer ended, or of a watch that goes on, began.
    pub answered: Timestamp,
    /// Whether the answer has ended; false for a watch that goes on, or was cut by a kill.
    pub complete: bool,
    /// The request's body, of evictions, deletions and changes of a pod's status only.
    pub request: Option<Value>,
    /// The answer's body, of evictions only.
    pub response: Option<Value>,
}

impl Audit {
    pub(super) fn of(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where the log is.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// All requests so far, in the order in which they came.
    pub fn entries(&self) -> Result<Vec<AuditEntry>, ControlPlaneError> {
        let text = fs::read_to_string(&self.path)
            .map_err(|source| file("read", self.path.clone(), source))?;
        read(&text)
    }

    /// The requests of one user.
    pub fn of_user(&self, user: &str) -> Result<Vec<AuditEntry>, ControlPlaneError> {
        let mut entries = self.entries()?;
        entries.retain(|entry| entry.user == user);
        Ok(entries)
    }
}

/// What the log's text says; a last line that is still being written is left out.
fn read(text: &str) -> Result<Vec<AuditEntry>, ControlPlaneError> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut by_id: BTreeMap<String, AuditEntry> = BTreeMap::new();
    for (number, line) in whole.lines().enumerate() {
        let event: Event =
            serde_json::from_str(line).map_err(|source| ControlPlaneError::Audit {
                line: number + 1,
                source,
            })?;
        let entry = event.entry();
        // The end of a watch says all that its beginning said.
        match by_id.get(&entry.id) {
            Some(known) if known.complete => {}
            _ => {
                by_id.insert(entry.id.clone(), entry);
            }
        }
    }
    let mut entries: Vec<AuditEntry> = by_id.into_values().collect();
    entries.sort_by_key(|entry| entry.received);
    Ok(entries)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: EventUser,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    request_object: Option<Value>,
    response_object: Option<Value>,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct EventUser {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
    reason: String,
    message: String,
}

impl Event {
    fn entry(mut self) -> AuditEntry {
        let decision = self.annotations.remove("authorization.k8s.io/decision");
        AuditEntry {
            id: self.audit_id,
            user: self.user.username,
            user_agent: self.user_agent,
            verb: self.verb,
            uri: self.request_uri,
            group: self.object_ref.api_group,
            resource: self.object_ref.resource,
            subresource: self.object_ref.subresource,
            namespace: self.object_ref.namespace,
            name: self.object_ref.name,
            code: self.response_status.code,
            reason: self.response_status.reason,
            message: self.response_status.message,
            decision: decision.unwrap_or_default(),
            received: self.request_received_timestamp,
            answered: self.stage_timestamp,
            complete: self.stage != "ResponseStarted",
            request: self.request_object,
            response: self.response_object,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVICTION: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"b","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/web/pods/a/eviction","verb":"create","user":{"username":"system:serviceaccount:kube-system:vpsie-autoscaler","groups":["system:authenticated"]},"sourceIPs":["127.0.0.1"],"userAgent":"x/1","objectRef":{"resource":"pods","namespace":"web","name":"a","apiVersion":"v1","subresource":"eviction"},"responseStatus":{"metadata":{},"status":"Failure","message":"budget","reason":"TooManyRequests","code":429},"requestReceivedTimestamp":"2026-01-01T00:00:02.000000Z","stageTimestamp":"2026-01-01T00:00:02.100000Z","annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":""}}"#;

    fn watch(stage: &str) -> String {
        let event = serde_json::json!({
            "auditID": "a", "stage": stage, "requestURI": "/apis/apps/v1/daemonsets?watch=true",
            "verb": "watch", "user": {"username": "admin"},
            "objectRef": {"resource": "daemonsets", "apiGroup": "apps", "apiVersion": "v1"},
            "responseStatus": {"code": 200},
            "requestReceivedTimestamp": "2026-01-01T00:00:01.000000Z",
            "stageTimestamp": "2026-01-01T00:00:01.000000Z",
        });
        event.to_string()
    }

    #[test]
    fn a_watch_counts_once_and_a_half_written_line_not_at_all() {
        let begun = format!("{}\n{EVICTION}\n{{\"kind", watch("ResponseStarted"));
        let entries = read(&begun).unwrap();
        assert_eq!(entries.len(), 2);
        assert!(!entries[0].complete);
        let ended = format!(
            "{}\n{EVICTION}\n{}\n",
            watch("ResponseStarted"),
            watch("ResponseComplete")
        );
        let entries = read(&ended).unwrap();
        assert_eq!(entries.len(), 2);
        assert!(entries[0].complete);
        let watched = (entries[0].verb.as_str(), entries[0].group.as_str());
        assert_eq!(watched, ("watch", "apps"));
    }

    #[test]
    fn a_refusal_is_read_with_its_reason() {
        let entries = read(&format!("{EVICTION}\n")).unwrap();
        let entry = &entries[0];
        let asked = (entry.resource.as_str(), entry.subresource.as_str());
        assert_eq!(asked, ("pods", "eviction"));
        assert_eq!(
            (entry.code, entry.reason.as_str()),
            (429, "TooManyRequests")
        );
        assert_eq!(entry.decision, "allow");
    }

    #[test]
    fn what_is_no_event_is_named_by_its_line() {
        let error = read(&format!("{EVICTION}\nnonsense\n")).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
