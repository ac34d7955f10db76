//! One reason against a node or a machine to come, and its form in JSON.

use scheduling::Failure;
use serde::Serialize;

/// One reason against a node or a machine to come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reason {
    /// A filter of the scheduler says no.
    Filter(Failure),
    /// It is not up to a filter.
    Other {
        /// The name.
        name: &'static str,
        /// In words.
        detail: String,
    },
}

impl Reason {
    /// The filter's name; empty where no filter says it.
    pub(crate) fn filter(&self) -> &'static str {
        match self {
            Self::Filter(failure) => failure.filter().name(),
            Self::Other { .. } => "",
        }
    }

    /// The reason's name.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Filter(failure) => failure.reason(),
            Self::Other { name, .. } => name,
        }
    }

    /// The reason in words.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Filter(failure) => failure.to_string(),
            Self::Other { detail, .. } => detail.clone(),
        }
    }
}

/// A reason in JSON.
#[derive(Serialize)]
pub(crate) struct ReasonRow {
    filter: &'static str,
    reason: &'static str,
    detail: String,
}

impl From<&Reason> for ReasonRow {
    fn from(reason: &Reason) -> Self {
        Self {
            filter: reason.filter(),
            reason: reason.name(),
            detail: reason.detail(),
        }
    }
}
