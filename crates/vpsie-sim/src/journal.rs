//! Every request that arrived, and what became of it; and, where somebody wants it, everything that
//! happened in one order with what happens elsewhere.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use jiff::Timestamp;
use serde::Serialize;

use crate::{machine::MachineEvent, route::Route};

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

/// The next number; shared by all who record one world.
pub type Order = Arc<AtomicU64>;

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Happening {
    /// Its place among all that happened.
    pub order: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A request that may change something arrived.
    Asked {
        /// Its number in the journal.
        seq: u64,
        /// Who asked.
        actor: String,
        /// Its route.
        route: Route,
        /// The values of the path's variables, in order.
        values: Vec<String>,
        /// The machine that its body names.
        machine: Option<String>,
    },
    /// Something became of a machine.
    Machine(Box<MachineEvent>),
}

/// What was kept since recording began.
#[derive(Debug)]
pub(crate) struct Recording {
    order: Order,
    pub(crate) happenings: Vec<Happening>,
}

impl Recording {
    pub(crate) fn new(order: Order) -> Self {
        Self {
            order,
            happenings: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, at: Timestamp, what: What) {
        let order = self.order.fetch_add(1, Ordering::SeqCst);
        self.happenings.push(Happening { order, at, what });
    }
}
