//! Every request that arrived, and what became of it.

use jiff::Timestamp;
use serde::Serialize;

use crate::route::Route;

/// A request that arrived.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Request {
    /// Counts from 1 in the order of arrival.
    pub seq: u64,
    /// When it arrived.
    pub at: Timestamp,
    /// Method.
    pub method: String,
    /// Which route it met.
    pub route: Route,
    /// Path with its prefix, without its query.
    pub path: String,
    /// `User-Agent`; empty when there is none.
    pub actor: String,
    /// `X-Request-ID`, where it had one.
    pub request_id: Option<String>,
    /// The status of the answer, sent or lost.
    pub status: Option<u16>,
    /// What the caller got.
    pub outcome: Outcome,
    /// What it changed, one entry per change, such as `create <uuid>`.
    pub committed: Vec<String>,
}

/// What a caller got.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Outcome {
    /// Nothing yet.
    InFlight,
    /// The whole answer.
    Answered,
    /// A part of the answer.
    Truncated,
    /// A broken connection after the request was carried out (or while it still will be).
    Lost,
    /// A broken connection; the request was not carried out.
    Reset,
}
