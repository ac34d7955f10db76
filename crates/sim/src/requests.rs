//! The actors' writes: plain requests with JSON bodies through a `kube::Client`.

use http::{Method, Request, header::CONTENT_TYPE};
use kube::Client;
use serde_json::{Value, json};

use crate::objects::Key;

/// Where a resource lives: its API prefix and plural.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(&'static str, &'static str);

pub(crate) const PODS: Place = Place("/api/v1", "pods");
pub(crate) const NODES: Place = Place("/api/v1", "nodes");
pub(crate) const NAMESPACES: Place = Place("/api/v1", "namespaces");
pub(crate) const SECRETS: Place = Place("/api/v1", "secrets");
pub(crate) const EVENTS: Place = Place("/api/v1", "events");
pub(crate) const DEPLOYMENTS: Place = Place("/apis/apps/v1", "deployments");
pub(crate) const REPLICA_SETS: Place = Place("/apis/apps/v1", "replicasets");
pub(crate) const STATEFUL_SETS: Place = Place("/apis/apps/v1", "statefulsets");
pub(crate) const DAEMON_SETS: Place = Place("/apis/apps/v1", "daemonsets");
pub(crate) const JOBS: Place = Place("/apis/batch/v1", "jobs");
pub(crate) const BUDGETS: Place = Place("/apis/policy/v1", "poddisruptionbudgets");
pub(crate) const LEASES: Place = Place("/apis/coordination.k8s.io/v1", "leases");
pub(crate) const CRDS: Place = Place("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions");

impl Place {
    fn collection(self, namespace: &str) -> String {
        let Self(prefix, plural) = self;
        if namespace.is_empty() {
            format!("{prefix}/{plural}")
        } else {
            format!("{prefix}/namespaces/{namespace}/{plural}")
        }
    }

    fn object(self, key: &Key) -> String {
        format!("{}/{}", self.collection(&key.namespace), key.name)
    }
}

/// Writes as one actor.
#[derive(Clone)]
pub(crate) struct Writer {
    client: Client,
}

impl Writer {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    pub(crate) async fn create(
        &self,
        place: Place,
        namespace: &str,
        object: &Value,
    ) -> Result<Value, kube::Error> {
        let path = place.collection(namespace);
        self.send(Method::POST, path, "application/json", object)
            .await
    }

    /// Posts to a subresource, such as `binding`.
    pub(crate) async fn post(
        &self,
        place: Place,
        key: &Key,
        subresource: &str,
        body: &Value,
    ) -> Result<Value, kube::Error> {
        let path = format!("{}/{subresource}", place.object(key));
        self.send(Method::POST, path, "application/json", body)
            .await
    }

    pub(crate) async fn get(&self, place: Place, key: &Key) -> Result<Value, kube::Error> {
        self.send(
            Method::GET,
            place.object(key),
            "application/json",
            &Value::Null,
        )
        .await
    }

    /// Merge patch: lists are replaced as a whole.
    pub(crate) async fn merge(
        &self,
        place: Place,
        key: &Key,
        patch: &Value,
    ) -> Result<Value, kube::Error> {
        let path = place.object(key);
        self.send(Method::PATCH, path, "application/merge-patch+json", patch)
            .await
    }

    /// Merge patch of an object at a path.
    pub(crate) async fn merge_path(
        &self,
        path: String,
        patch: &Value,
    ) -> Result<Value, kube::Error> {
        self.send(Method::PATCH, path, "application/merge-patch+json", patch)
            .await
    }

    /// Merge patch of the status.
    pub(crate) async fn merge_status(
        &self,
        place: Place,
        key: &Key,
        status: &Value,
    ) -> Result<Value, kube::Error> {
        let patch = json!({ "status": status });
        self.merge_at(place, key, "status", &patch).await
    }

    /// Merge patch at a subresource, of more than the status alone.
    pub(crate) async fn merge_at(
        &self,
        place: Place,
        key: &Key,
        subresource: &str,
        patch: &Value,
    ) -> Result<Value, kube::Error> {
        let path = format!("{}/{subresource}", place.object(key));
        self.send(Method::PATCH, path, "application/merge-patch+json", patch)
            .await
    }

    /// Strategic merge patch of the status: conditions are merged by their type.
    pub(crate) async fn patch_status(
        &self,
        place: Place,
        key: &Key,
        status: &Value,
    ) -> Result<Value, kube::Error> {
        let path = format!("{}/status", place.object(key));
        let patch = json!({ "status": status });
        self.send(
            Method::PATCH,
            path,
            "application/strategic-merge-patch+json",
            &patch,
        )
        .await
    }

    /// Server-side apply.
    pub(crate) async fn apply(&self, path: &str, object: &Value) -> Result<Value, kube::Error> {
        let path = format!("{path}?fieldManager=world&force=true");
        self.send(Method::PATCH, path, "application/apply-patch+yaml", object)
            .await
    }

    /// Deletes `uid` and nothing else of that name; `grace` in seconds where it is to be other
    /// than the object's own.
    pub(crate) async fn delete(
        &self,
        place: Place,
        key: &Key,
        uid: Option<&str>,
        grace: Option<i64>,
    ) -> Result<Value, kube::Error> {
        let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions",
            "propagationPolicy": "Background"});
        if let Some(uid) = uid {
            options["preconditions"] = json!({ "uid": uid });
        }
        if let Some(grace) = grace {
            options["gracePeriodSeconds"] = json!(grace);
        }
        let path = place.object(key);
        self.send(Method::DELETE, path, "application/json", &options)
            .await
    }

    /// Deletes what is at `path`.
    pub(crate) async fn delete_at(&self, path: &str) -> Result<Value, kube::Error> {
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
        self.send(
            Method::DELETE,
            path.to_owned(),
            "application/json",
            &options,
        )
        .await
    }

    async fn send(
        &self,
        method: Method,
        path: String,
        content_type: &str,
        body: &Value,
    ) -> Result<Value, kube::Error> {
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, content_type)
            .body(bytes)
            .map_err(kube::Error::HttpError)?;
        self.client.request(request).await
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// The object is not there (any more).
pub(crate) fn absent(error: &kube::Error) -> bool {
    code(error) == Some(404)
}

/// Whether nothing is left to write: it was taken, or the object is not there (any more).
pub(crate) fn settled(written: &Result<Value, kube::Error>) -> bool {
    written.as_ref().map_or_else(absent, |_| true)
}

/// The object is there already, or has changed meanwhile.
pub(crate) fn conflict(error: &kube::Error) -> bool {
    code(error) == Some(409)
}

/// Whether asking again the same way can help: not for what the server has refused for good.
pub(crate) fn worth_repeating(error: &kube::Error) -> bool {
    !matches!(code(error), Some(400 | 403 | 404 | 405 | 409 | 410 | 422))
}
