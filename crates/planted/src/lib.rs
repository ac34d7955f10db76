//! Mistakes that are planted in the product on purpose, one at a time, to see whether the tests find
//! them.
//!
//! Where the product could go wrong in a way that costs machines or production, it asks [`is`]. That
//! says no, always, unless the feature `switch` is on *and* the build has debug assertions: then the
//! environment names the mistake, for the whole process. A release has neither; there the question
//! is a constant and leaves nothing in the program.

use std::fmt;

/// The variable of the environment that names the mistake to plant.
pub const VARIABLE: &str = "VPSIE_PLANTED_BUG";

macro_rules! bugs {
    ($($(#[doc = $doc:literal])+ $bug:ident,)+) => {
        /// A mistake that can be planted.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Bug {
            $($(#[doc = $doc])+ $bug,)+
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$bug),+];

            /// The name, as the environment has it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$bug => stringify!($bug),)+
                }
            }

            /// What goes wrong.
            #[must_use]
            pub fn about(self) -> String {
                let text = match self {
                    $(Self::$bug => concat!($($doc,)+),)+
                };
                text.trim().to_owned()
            }
        }
    };
}

bugs! {
    // What is bought.
    /// A create request whose answer was lost is sent again at once.
    AskAgain,
    /// Any worker that nobody owns is taken for the one that was bought.
    AdoptAnyone,
    /// Records are written without the version they were read in.
    WriteUnversioned,
    /// One machine more than a group's maximum is bought.
    ExceedMaximum,
    /// A cloud that is in trouble for a moment is taken to have refused for good.
    GiveUpAtOnce,
    /// A machine that was asked for and is not listed yet is forgotten with its record.
    ForgetMachine,

    // What is chosen to go.
    /// One node less than a group's minimum stays.
    UndercutMinimum,
    /// What pods and people say about disruption is not read.
    IgnoreWishes,
    /// Two nodes count on the same free room.
    CountRoomTwice,
    /// Windows that nobody watched count as evidence.
    TrustOldWindows,
    /// Nodes that look removable all at once are believed.
    BelieveMany,
    /// The node on which the product itself runs is a node like others.
    RemoveOwnNode,
    /// However many nodes are not Ready, removals go on.
    IgnoreHealthGate,
    /// An unhealthy node is taken away before its replacement serves.
    RemoveBeforeReplacing,

    // How a node is emptied.
    /// Nothing is looked at again between the decision and the drain.
    SkipRecheck,
    /// Facts for steps that destroy something come from the cache.
    TrustTheCache,
    /// A pod is evicted by its name, whichever pod has it by then.
    EvictByName,
    /// A pod gets a second to end, whatever its own grace period.
    OwnGracePeriod,
    /// Pods are deleted, not evicted: no budget is asked.
    DeletePods,
    /// Pods of every priority leave at once.
    AllBandsAtOnce,
    /// A drain that fails is followed by the machine's deletion.
    DeleteAfterFailedDrain,
    /// A drain that fails is followed by an uncordon, and then by the machine's deletion.
    UncordonThenDelete,
    /// A cordon that a person made is undone.
    UncordonHuman,
    /// A removal that is taken back leaves its cordon.
    LeaveCordoned,
    /// Volumes that are still attached are not waited for.
    SkipDetach,

    // How a machine ends.
    /// A machine that one listing lacks is gone.
    BelieveOneAbsence,
    /// A machine whose deletion was taken is gone.
    BelieveTheAnswer,
    /// The worker that came last is deleted, not the one that was meant.
    DeleteNewest,
    /// A deletion that waited for its turn is sent, whatever has changed meanwhile.
    SendAnyway,
    /// A deletion that took another machine stops nothing.
    IgnoreStop,

    // Who may act, and when.
    /// What is sent is not held to the lease.
    ActWithoutLease,
    /// A new leader destroys something in its first moment.
    SkipWarmUp,
    /// A pause holds up nothing that has begun.
    IgnorePause,
    /// A dry run writes to Kubernetes.
    ActInDryRun,

    // Workers without an owner.
    /// A worker that a Node only claims to run on is taken for ours.
    AdoptContradicted,
    /// A worker without an owner is taken back when it is first seen.
    AdoptAtOnce,
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether this mistake is planted.
#[must_use]
#[inline]
pub fn is(bug: Bug) -> bool {
    chosen() == Some(bug)
}

#[cfg(feature = "switch")]
mod hunt;
#[cfg(feature = "switch")]
pub use hunt::{Found, hunt};

#[cfg(not(all(feature = "switch", debug_assertions)))]
const fn chosen() -> Option<Bug> {
    None
}

#[cfg(all(feature = "switch", debug_assertions))]
#[expect(
    clippy::panic,
    reason = "in tests only, and a misspelt name must not look like no bug found"
)]
fn chosen() -> Option<Bug> {
    static CHOSEN: std::sync::OnceLock<Option<Bug>> = std::sync::OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var(VARIABLE).ok()?;
        let bug = Bug::ALL.iter().find(|bug| bug.name() == name);
        Some(*bug.unwrap_or_else(|| panic!("{VARIABLE}: there is no mistake {name}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_planted_by_itself() {
        assert!(Bug::ALL.iter().all(|bug| !is(*bug)));
        assert_eq!(Bug::AskAgain.to_string(), "AskAgain");
        assert!(Bug::ALL.iter().all(|bug| bug.about().ends_with('.')));
    }
}
