//! A cluster, listed with the API as a dump would have it. Reads only; a kind that may not be read,
//! or that the server does not have, counts as empty, with a note. Budgets that may not be read are
//! not taken for none.

use std::time::Duration;

use kube::{Client, api::ListParams, core::Request};
use runtime::Clock;
use serde::Deserialize;

/// Pods before nodes: a node that comes in between is there for its pods.
const KINDS: [&str; 20] = [
    "/api/v1/pods",
    "/api/v1/nodes",
    "/api/v1/namespaces",
    "/api/v1/persistentvolumeclaims",
    "/api/v1/persistentvolumes",
    "/apis/storage.k8s.io/v1/storageclasses",
    "/apis/storage.k8s.io/v1/csinodes",
    "/apis/storage.k8s.io/v1/csidrivers",
    "/apis/storage.k8s.io/v1/csistoragecapacities",
    "/apis/storage.k8s.io/v1/volumeattachments",
    "/apis/apps/v1/daemonsets",
    "/apis/autoscaler.vpsie.com/v1alpha1/nodegroups",
    "/apis/autoscaler.vpsie.com/v1alpha1/vpsienodes",
    "/apis/autoscaler.vpsie.com/v1alpha1/autoscalerconfigs",
    BUDGETS,
    "/apis/apps/v1/replicasets",
    "/apis/apps/v1/statefulsets",
    "/apis/batch/v1/jobs",
    "/api/v1/replicationcontrollers",
    METRICS,
];

const BUDGETS: &str = "/apis/policy/v1/poddisruptionbudgets";
/// Not every cluster has them.
const METRICS: &str = "/apis/metrics.k8s.io/v1beta1/nodes";

/// Objects of one answer.
const PAGE: u32 = 500;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the server told.
#[derive(Default)]
pub(crate) struct Listed {
    /// The lists of all kinds, one after the other.
    pub(crate) text: Vec<u8>,
    /// Budgets could be read.
    pub(crate) budgets: bool,
}

/// Lists the cluster of a kubeconfig.
pub(crate) fn read(kubeconfig: &str, note: &mut dyn FnMut(String)) -> Result<Listed, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime could not be started: {error}"))?;
    runtime.block_on(async {
        let client = crate::wire::client(kubeconfig).await?;
        list(&client, &Clock::system(), note).await
    })
}

/// Where a list goes on.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMeta,
}

#[derive(Deserialize, Default)]
struct PageMeta {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

async fn list(
    client: &Client,
    clock: &Clock,
    note: &mut dyn FnMut(String),
) -> Result<Listed, String> {
    let mut listed = Listed {
        budgets: true,
        ..Listed::default()
    };
    let text = &mut listed.text;
    for path in KINDS {
        let kind = match path {
            METRICS => "metrics of nodes",
            path => path.rsplit('/').next().unwrap_or(path),
        };
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let wrong = |error: &dyn std::fmt::Display| format!("{kind}: {error}");
            let request = Request::new(path)
                .list(&params)
                .map_err(|error| wrong(&error))?;
            let answer = clock.timeout(PATIENCE, client.request_text(request)).await;
            let page = match answer {
                Ok(Ok(page)) => page,
                Ok(Err(_)) | Err(_) if path == METRICS => break,
                Ok(Err(kube::Error::Api(status))) if matches!(status.code, 403 | 404) => {
                    listed.budgets &= path != BUDGETS;
                    let why = if status.code == 403 {
                        "may not be read"
                    } else {
                        "are not known to the server"
                    };
                    let so = match path {
                        BUDGETS => "nodes with pods are kept",
                        _ => "count as empty",
                    };
                    note(format!("{kind} {why} and {so}"));
                    break;
                }
                Ok(Err(error)) => return Err(wrong(&error)),
                Err(_) => return Err(wrong(&format!("no answer for {} s", PATIENCE.as_secs()))),
            };
            let next = serde_json::from_str::<Page>(&page)
                .map_err(|error| wrong(&error))?
                .metadata
                .next;
            text.extend_from_slice(page.as_bytes());
            text.push(b'\n');
            match next {
                Some(next) if !next.is_empty() => params.continue_token = Some(next),
                _ => break,
            }
        }
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use intake::dump::Dump;
    use kube::client::Body;

    use super::*;

    /// What a server answers to a path with its query.
    fn answer(uri: &str) -> (u16, String) {
        let list = |kind: &str, next: &str, item: &str| {
            format!(
                r#"{{"kind":"{kind}List","apiVersion":"v1","metadata":{{"continue":"{next}"}},"items":[{item}]}}"#
            )
        };
        let pod = |name: &str| format!(r#"{{"metadata":{{"namespace":"a","name":"{name}"}}}}"#);
        let status = |code: u16| {
            (
                code,
                format!(
                    r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"x","message":"y","code":{code}}}"#
                ),
            )
        };
        match uri {
            uri if uri.starts_with("/api/v1/pods?") && uri.contains("continue=a%2Bb") => {
                (200, list("Pod", "", &pod("second")))
            }
            uri if uri.starts_with("/api/v1/pods?") => (200, list("Pod", "a+b", &pod("first"))),
            uri if uri.starts_with("/api/v1/nodes?") => {
                let node = r#"{"metadata":{"name":"n"},"status":{"capacity":{"cpu":"1"}}}"#;
                (200, list("Node", "", node))
            }
            uri if uri.contains("persistentvolumes") => status(403),
            uri if uri.contains("vpsie") => status(404),
            uri if uri.contains("poddisruptionbudgets") => status(403),
            uri if uri.contains("metrics.k8s.io") => status(503),
            _ => (200, list("Other", "", "")),
        }
    }

    #[tokio::test]
    async fn pages_are_followed_and_kinds_that_may_not_be_read_count_as_empty() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let service = tower::service_fn(move |request: http::Request<Body>| {
            log.lock().unwrap().push(request.method().clone());
            let (status, body) = answer(&request.uri().to_string());
            let response = http::Response::builder()
                .status(status)
                .body(Body::from(body.into_bytes()));
            async move { response }
        });
        let client = Client::new(service, "default");
        let mut notes = Vec::new();
        let listed = list(&client, &Clock::system(), &mut |note| notes.push(note))
            .await
            .unwrap();
        assert!(!listed.budgets);
        let dump = Dump::from_slice(&listed.text).unwrap();
        let pods: Vec<String> = dump.waiting.iter().map(|pod| pod.key.to_string()).collect();
        assert_eq!(pods, ["a/first", "a/second"]);
        assert_eq!(dump.nodes.len(), 1);
        assert!(dump.problems.is_empty(), "{:?}", dump.problems);
        assert_eq!(
            notes,
            [
                "persistentvolumes may not be read and count as empty",
                "nodegroups are not known to the server and count as empty",
                "vpsienodes are not known to the server and count as empty",
                "autoscalerconfigs are not known to the server and count as empty",
                "poddisruptionbudgets may not be read and nodes with pods are kept",
            ]
        );
        assert!(
            asked
                .lock()
                .unwrap()
                .iter()
                .all(|method| *method == http::Method::GET)
        );
    }
}
