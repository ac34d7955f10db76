//! What nodes have in use, asked of metrics-server: a cluster may have none, and what it says is a
//! ground to keep nodes, never one to remove them. So no failure here stops anything.

use std::{collections::BTreeMap, future::poll_fn, pin::Pin, time::Duration};

use http_body::Body as _;
use intake::NodeMetricsList;
use kube::{Client, client::Body};
use model::{NodeName, Usage};
use runtime::Clock;

/// How often metrics-server is worth asking: it measures anew about as often.
pub const POLL: Duration = Duration::from_mins(1);

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// More bytes than this are not read: 5,000 nodes have a tenth of it.
const MOST_BYTES: usize = 16 << 20;
const PATH: &str = "/apis/metrics.k8s.io/v1beta1/nodes";

/// Why usage is not known.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// There is no metrics-server, or it may not be asked, or it is not up.
    #[error("the metrics API is not there (status {0})")]
    Absent(u16),
    /// It did not answer in time.
    #[error("the metrics API did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// It could not be asked.
    #[error("asking the metrics API failed")]
    Ask(#[source] Box<kube::Error>),
    /// The answer is no list of NodeMetrics.
    #[error("the answer of the metrics API cannot be read")]
    Decode(#[source] serde_json::Error),
    /// The answer is too large.
    #[error("the answer of the metrics API has more than {0} bytes")]
    TooLarge(usize),
}

/// Asks what nodes have in use; a node whose figures cannot be read is left out.
///
/// To be entered with [`super::ClusterState::note_usage`]; after an error what was known stays, and
/// grows old by itself.
pub async fn read_usage(
    client: &Client,
    clock: &Clock,
) -> Result<BTreeMap<NodeName, Usage>, UsageError> {
    match clock.timeout(PATIENCE, ask(client)).await {
        Ok(answer) => answer,
        Err(_) => Err(UsageError::Timeout(PATIENCE)),
    }
}

async fn ask(client: &Client) -> Result<BTreeMap<NodeName, Usage>, UsageError> {
    let failed = |error| UsageError::Ask(Box::new(error));
    let request = http::Request::get(PATH)
        .body(Body::empty())
        .map_err(|error| failed(kube::Error::HttpError(error)))?;
    let response = client.send(request).await.map_err(failed)?;
    let status = response.status();
    if !status.is_success() {
        return Err(UsageError::Absent(status.as_u16()));
    }
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        if let Ok(data) = frame.map_err(failed)?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > MOST_BYTES {
            return Err(UsageError::TooLarge(MOST_BYTES));
        }
    }
    let list: NodeMetricsList = serde_json::from_slice(&bytes).map_err(UsageError::Decode)?;
    let readable = list.items.iter().filter_map(|item| match item.usage() {
        Ok(usage) => Some((item.node(), usage)),
        Err(defect) => {
            tracing::debug!(node = %item.node(), defect, "its usage cannot be read");
            None
        }
    });
    Ok(readable.collect())
}

/// Says once that usage is not known, and once that it is again.
#[derive(Debug, Default)]
pub struct UsageLog {
    missing: bool,
}

impl UsageLog {
    /// An answer came, or none.
    pub fn note<T>(&mut self, answer: &Result<T, UsageError>) {
        match answer {
            Ok(_) if self.missing => tracing::info!("the metrics API answers again"),
            Err(error) if !self.missing => tracing::info!(
                error = error as &dyn std::error::Error,
                "utilization is that of requests alone"
            ),
            _ => {}
        }
        self.missing = answer.is_err();
    }
}
