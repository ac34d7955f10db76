//! How a call that changes something can fail, when to try it again, and whom to tell.

use std::time::Duration;

use kube::core::Status;

use crate::leader::NotLeader;

/// A call that was not made, or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This replica does not lead (any more); nothing was sent.
    #[error("{operation} refused")]
    NotLeading {
        /// What was to be done.
        operation: String,
        /// Why not.
        #[source]
        source: NotLeader,
    },
    /// In a dry run nothing is sent.
    #[error("{operation}: not done, this is a dry run")]
    DryRun {
        /// What would have been done.
        operation: String,
    },
    /// The API server did not answer in time: the write may have taken effect.
    #[error("{operation}: no answer within {}s", .limit.as_secs())]
    Timeout {
        /// What was tried.
        operation: String,
        /// For how long.
        limit: Duration,
    },
    /// The object changed, or belongs to someone else by now; decide anew.
    #[error("{operation}: {message}")]
    Conflict {
        /// What was tried.
        operation: String,
        /// In the API server's words.
        message: String,
    },
    /// The API server took the write and did not store all of it: the installed
    /// CustomResourceDefinition is older than this program.
    #[error("{object}: {field} was not stored; apply the output of `vpsie-autoscaler crds`")]
    NotStored {
        /// The object.
        object: String,
        /// What is missing.
        field: &'static str,
    },
    /// The API server refuses what was to be written as invalid; writing it again changes nothing.
    #[error("{operation}: {message}")]
    Invalid {
        /// What was tried.
        operation: String,
        /// In the API server's words.
        message: String,
    },
    /// What was decided breaks a rule that must never be broken: it is not done.
    #[error("{operation} refused by the audit")]
    Refused {
        /// What was decided.
        operation: String,
        /// The rule.
        #[source]
        source: planner::audit::StepViolation,
    },
    /// The object does not exist.
    #[error("{operation}: not found")]
    NotFound {
        /// What was tried.
        operation: String,
    },
    /// A budget does not allow the eviction now.
    #[error("{operation}: {message}")]
    Budget {
        /// What was tried.
        operation: String,
        /// In the API server's words.
        message: String,
    },
    /// Anything else.
    #[error("{operation}")]
    Kubernetes {
        /// What was tried.
        operation: String,
        /// The client's error.
        #[source]
        source: Box<kube::Error>,
    },
    /// The cloud's answer.
    #[error(transparent)]
    Cloud(#[from] cloud::CloudError),
}

impl Error {
    pub(super) fn from_kube(operation: String, error: kube::Error) -> Self {
        let kube::Error::Api(status) = &error else {
            return Self::Kubernetes {
                operation,
                source: Box::new(error),
            };
        };
        let message = status.message.clone();
        match status.code {
            404 => Self::NotFound { operation },
            409 => Self::Conflict { operation, message },
            422 => Self::Invalid { operation, message },
            429 if is_budget(status) => Self::Budget { operation, message },
            _ => Self::Kubernetes {
                operation,
                source: Box::new(error),
            },
        }
    }

    /// How long to wait before the same is tried again.
    #[must_use]
    pub const fn retry_after(&self) -> Duration {
        match self {
            Self::Conflict { .. } | Self::NotFound { .. } => Duration::from_millis(500),
            Self::NotLeading { .. } | Self::Timeout { .. } => Duration::from_secs(2),
            Self::Budget { .. } | Self::Kubernetes { .. } => Duration::from_secs(5),
            Self::Cloud(_) => Duration::from_secs(15),
            // The same will be decided again; once a minute is often enough to tell.
            Self::DryRun { .. } => Duration::from_mins(1),
            Self::NotStored { .. } | Self::Invalid { .. } | Self::Refused { .. } => {
                Duration::from_secs(30)
            }
        }
    }

    /// The reason of the Event that tells people of it: trying again does not help, they have to
    /// act.
    #[must_use]
    pub const fn told_as(&self) -> Option<&'static str> {
        match self {
            Self::NotStored { .. } => Some("CRDOutdated"),
            Self::Invalid { .. } => Some("WriteRefused"),
            Self::Refused { .. } => Some("PlanRefused"),
            _ => None,
        }
    }
}

fn is_budget(status: &Status) -> bool {
    status.details.as_ref().is_some_and(|details| {
        details
            .causes
            .iter()
            .any(|c| c.reason == "DisruptionBudget")
    })
}
