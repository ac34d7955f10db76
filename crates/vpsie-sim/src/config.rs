//! What the simulated account holds and how its API behaves: clusters, datacenters, sizes,
//! credentials, timings and the variants of answers that the public sources disagree on.
//!
//! Everything is serde, so that a scenario file can carry it; every field has a default, so that a
//! scenario names only what matters to it.

use std::time::Duration;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize};

use crate::fault::{RetryAfter, Rule};

/// Hours in a billing month: the figure by which a monthly price becomes an hourly one.
pub const HOURS_PER_MONTH: u32 = 730;

/// The simulated account and API.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Path prefixes under which every route answers.
    pub prefixes: Vec<String>,
    /// Who may call.
    pub credentials: Credentials,
    /// How `POST /auth/from/api` is spoken.
    pub login: Login,
    /// Where machines can be bought.
    pub datacenters: Vec<Datacenter>,
    /// The managed clusters.
    pub clusters: Vec<Cluster>,
    /// The projects of the account.
    pub projects: Vec<Project>,
    /// Which fields a node of `GET /k8s/cluster/byId` has.
    pub node_shape: NodeShape,
    /// `add/slave` answers an object instead of `true`.
    pub add_answers_object: bool,
    /// When a new worker is counted in `nodes_count` and `slaveCount`.
    pub count_at: CountAt,
    /// How prices are written.
    pub price_encoding: PriceEncoding,
    /// How long the steps of a machine take.
    pub timings: Timings,
    /// How far list answers lag behind writes.
    pub staleness: Staleness,
    /// How long a request travels to the server, and as long again its answer. By default no time
    /// passes.
    pub latency: Span,
    /// Requests accepted in any minute; `None`: as many as come (no server-side number is known).
    pub rate_limit: Option<RateLimit>,
    /// Rows of lists come in a random order.
    pub shuffled_rows: bool,
    /// Refuse what the lenient API lets pass: unknown body fields, a JSON body without its content
    /// type, worker deletions without `deleteStatistic`.
    pub strict: bool,
    /// The text with which a sold-out size is refused (an assumption: no sample is known).
    pub sold_out_message: String,
    /// Faults armed from the start.
    pub faults: Vec<Rule>,
}

impl Default for Config {
    fn default() -> Self {
        let datacenter = Datacenter::default();
        Self {
            prefixes: vec!["/apps/v2".into(), "/api/v2".into()],
            credentials: Credentials::default(),
            login: Login::default(),
            clusters: vec![Cluster {
                datacenter: datacenter.identifier.clone(),
                ..Cluster::default()
            }],
            datacenters: vec![datacenter],
            projects: vec![Project::default()],
            node_shape: NodeShape::default(),
            add_answers_object: false,
            count_at: CountAt::default(),
            price_encoding: PriceEncoding::default(),
            timings: Timings::default(),
            staleness: Staleness::default(),
            latency: Span::seconds(0, 0),
            rate_limit: None,
            shuffled_rows: false,
            strict: false,
            sold_out_message: "Selected plan is out of stock in this datacenter".into(),
            faults: Vec::new(),
        }
    }
}

/// Who may call. A `None` kind is not accepted at all.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Credentials {
    /// Accepted in `Vpsie-Auth` and as a bearer token.
    pub token: Option<String>,
    /// The id for `POST /auth/from/api`.
    pub client_id: Option<String>,
    /// The secret that belongs to it.
    pub client_secret: Option<String>,
    /// What `DELETE /vm` wants in its body.
    pub account_password: String,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            token: Some("simulated-static-token".into()),
            client_id: Some("simulated-client".into()),
            client_secret: Some("simulated-client-secret".into()),
            account_password: "simulated-account-password".into(),
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// How the login is spoken.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Login {
    /// The request encodings understood; another is answered 401.
    pub encoding: LoginEncoding,
    /// Which of the two known shapes the answer has.
    pub shape: LoginShape,
    /// The answer's fields sit below `data`.
    pub nested: bool,
    /// How long an access token is valid.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub lifetime: Duration,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            encoding: LoginEncoding::Both,
            shape: LoginShape::AccessToken,
            nested: false,
            lifetime: Duration::from_hours(1),
        }
    }
}

/// Request encodings of the login.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LoginEncoding {
    /// Only JSON.
    Json,
    /// Only `application/x-www-form-urlencoded`.
    Form,
    /// Either.
    Both,
}

/// Shapes of the login's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LoginShape {
    /// `{error, accessToken: {token, expires}, refreshToken: {…}}`.
    AccessToken,
    /// `{error, token: {access: {token, expires}, refresh: {…}}}`.
    Token,
}

/// A datacenter and what it sells.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Datacenter {
    /// UUID.
    pub identifier: String,
    /// Numeric id.
    pub id: i64,
    /// Display name.
    pub name: String,
    /// Where it is (`state` of the API: a place, not a status).
    pub state: String,
    /// Country.
    pub country: String,
    /// False: nothing can be bought here.
    pub active: bool,
    /// The sizes on offer.
    pub sizes: Vec<Size>,
}

impl Default for Datacenter {
    fn default() -> Self {
        let sizes = [
            (101, "small-2cpu-4gb", 2, 4, 80, 24),
            (102, "medium-4cpu-8gb", 4, 8, 160, 48),
            (103, "large-8cpu-16gb", 8, 16, 320, 96),
            (104, "memory-4cpu-32gb", 4, 32, 160, 144),
        ];
        Self {
            identifier: "5a1c1e0e-0d3c-4b7e-9f0a-1f6f00000001".into(),
            id: 6,
            name: "HEL".into(),
            state: "Uusimaa".into(),
            country: "Finland".into(),
            active: true,
            sizes: sizes
                .into_iter()
                .map(|(id, name, cpu, ram_gib, disk, price)| Size {
                    id,
                    name: name.to_owned(),
                    identifier: format!("b0c5e5d1-75c2-4c0f-8d6e-{id:012}"),
                    cpu,
                    ram_mb: ram_gib * 1024,
                    disk_gb: disk,
                    price: Decimal::from(price),
                    hourly_price: None,
                })
                .collect(),
        }
    }
}

/// A size on offer in one datacenter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Size {
    /// `KubeSizeID` and `boxsize_id`.
    pub id: i64,
    /// Display name.
    pub name: String,
    /// UUID of the size in this datacenter, as plain machines are ordered by.
    pub identifier: String,
    /// Virtual CPUs.
    pub cpu: u32,
    /// Memory in MiB.
    pub ram_mb: u64,
    /// Disk in GiB.
    pub disk_gb: u64,
    /// Dollars a month.
    #[serde(deserialize_with = "decimal")]
    pub price: Decimal,
    /// Dollars an hour, where the catalogue tells it.
    #[serde(default, deserialize_with = "optional_decimal")]
    pub hourly_price: Option<Decimal>,
}

impl Size {
    /// What an hour costs: the listed hourly price, else the monthly one over 730 hours.
    #[must_use]
    pub fn per_hour(&self) -> Decimal {
        self.hourly_price
            .unwrap_or_else(|| self.price / Decimal::from(HOURS_PER_MONTH))
    }
}

/// A managed cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Cluster {
    /// UUID.
    pub identifier: String,
    /// Name; its machines are called `<name>-master-…` and `<name>-slave-…`.
    pub name: String,
    /// UUID of its datacenter.
    pub datacenter: String,
    /// How many control-plane nodes it has.
    pub masters: u32,
    /// Workers it may have at once; `None`: any number.
    pub worker_cap: Option<u32>,
    /// Groups that exist from the start.
    pub groups: Vec<InitialGroup>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            identifier: "0a7c9f5e-3d52-4c3e-8a43-49ab00000001".into(),
            name: "HEL-Kubernetes-49ab".into(),
            datacenter: Datacenter::default().identifier,
            masters: 1,
            worker_cap: None,
            groups: Vec::new(),
        }
    }
}

/// A group that exists from the start.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InitialGroup {
    /// Its name.
    pub name: String,
    /// The numeric id of its size.
    pub size: i64,
    /// Workers that run from the start.
    #[serde(default)]
    pub workers: u32,
}

/// A project of the account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Project {
    /// Numeric id.
    pub id: i64,
    /// UUID.
    pub identifier: String,
    /// Name.
    pub name: String,
}

impl Default for Project {
    fn default() -> Self {
        Self {
            id: 31,
            identifier: "9d6a1c4f-7b1e-4f0a-b9f1-310000000001".into(),
            name: "default".into(),
        }
    }
}

/// Which fields a node of `GET /k8s/cluster/byId` has; the sources contradict each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NodeShape {
    /// As the official SDK declares it: no UUID, no status, a numeric `node_type`.
    Sdk,
    /// As the predecessor declares it: `identifier`, `role`, `status`, `ip`.
    Goas,
    /// Both.
    #[default]
    Union,
}

/// When a new worker is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CountAt {
    /// As soon as the request is accepted.
    Accept,
    /// When the machine is listed.
    #[default]
    Listing,
}

/// How a price is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PriceEncoding {
    /// A whole number (rounded).
    Int,
    /// A number with decimals.
    #[default]
    Float,
    /// A string.
    String,
}

/// A duration drawn uniformly between two bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Span {
    /// The shortest.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub low: Duration,
    /// The longest.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub high: Duration,
}

impl Span {
    /// Between `low` and `high` seconds.
    #[must_use]
    pub const fn seconds(low: u64, high: u64) -> Self {
        Self {
            low: Duration::from_secs(low),
            high: Duration::from_secs(high),
        }
    }

    /// A span of no length draws nothing, so that it does not move other draws.
    pub(crate) fn draw(self, random: &runtime::Randomness) -> Duration {
        if self.high <= self.low {
            return self.low;
        }
        random.between(self.low, self.high)
    }
}

/// How long the steps of a machine take. The defaults are assumptions: no measured latency is
/// published.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Timings {
    /// Accepted → being built (listed).
    pub queued: Span,
    /// Being built → running.
    pub creating: Span,
    /// Running → its Kubernetes Node registers.
    pub joining: Span,
    /// Registered → Ready.
    pub readying: Span,
    /// Delete accepted → gone.
    pub deleting: Span,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            queued: Span::seconds(5, 30),
            creating: Span::seconds(60, 240),
            joining: Span::seconds(20, 120),
            readying: Span::seconds(5, 60),
            deleting: Span::seconds(10, 90),
        }
    }
}

/// How far lists lag behind writes: each read of a list shows the state of a moment ago, each list
/// its own moment. By default they do not lag.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Staleness {
    /// The lag of one read.
    pub lag: Span,
    /// A later read of one list never shows an earlier moment than a former one.
    pub monotonic: bool,
}

impl Default for Staleness {
    fn default() -> Self {
        Self {
            lag: Span::seconds(0, 0),
            monotonic: true,
        }
    }
}

/// The server's own rate limit.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    /// Requests in any minute.
    pub per_minute: u32,
    /// What the 429 says about when to come again.
    #[serde(default)]
    pub retry_after: RetryAfter,
}

fn decimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    Amount::deserialize(deserializer)?.into_decimal()
}

fn optional_decimal<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Decimal>, D::Error> {
    Option::<Amount>::deserialize(deserializer)?
        .map(Amount::into_decimal)
        .transpose()
}

/// People write amounts as numbers and as strings.
#[derive(Deserialize)]
#[serde(untagged)]
enum Amount {
    Whole(i64),
    Float(f64),
    Text(String),
}

impl Amount {
    fn into_decimal<E: serde::de::Error>(self) -> Result<Decimal, E> {
        match self {
            Self::Whole(amount) => Ok(Decimal::from(amount)),
            // The shortest text that reads back as this number is what was written.
            Self::Float(amount) => amount.to_string().parse().map_err(E::custom),
            Self::Text(amount) => amount.trim().parse().map_err(E::custom),
        }
    }
}
