//! S13: a record's phase moves along the life of a machine only.

use super::{Rule, broken};
use crate::{
    Violation,
    picture::{Picture, Step},
};

/// S13.
pub(super) struct Edges;

/// From each phase, where the next may be.
const EDGES: [(&str, &[&str]); 9] = [
    ("", &["Pending", "Provisioning", "Failed", "Terminating"]),
    (
        "Pending",
        &["Provisioning", "Failed", "Terminating", "Deleting"],
    ),
    (
        "Provisioning",
        &["Provisioned", "Failed", "Terminating", "Deleting"],
    ),
    (
        "Provisioned",
        &["Joining", "Ready", "Failed", "Terminating", "Deleting"],
    ),
    ("Joining", &["Ready", "Failed", "Terminating", "Deleting"]),
    ("Ready", &["Failed", "Terminating", "Deleting"]),
    ("Terminating", &["Deleting"]),
    // A kubelet that restarted registered the Node anew.
    ("Deleting", &["Terminating"]),
    ("Failed", &[]),
];

impl Rule for Edges {
    fn observe(&mut self, picture: &Picture, step: &Step<'_>, found: &mut Vec<Violation>) {
        let Some((Some(before), after)) = step.record(picture) else {
            return;
        };
        if before.meta.uid != after.meta.uid || before.phase == after.phase {
            return;
        }
        let allowed = EDGES
            .iter()
            .find(|(from, _)| *from == before.phase)
            .is_some_and(|(_, to)| to.contains(&after.phase.as_str()));
        if !allowed {
            let detail = format!(
                "{} goes from {:?} to {:?}",
                after.key(),
                before.phase,
                after.phase
            );
            broken(found, "S13", picture, detail);
        }
    }
}
