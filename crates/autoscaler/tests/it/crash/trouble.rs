//! One thing that goes wrong at the cloud or at the API server in a story in which the product dies.
//! Only what leaves the number of machines as it is: they are counted in the end.

use std::time::Duration;

use kube_sim::{Effect, Match};
use sim::World;
use vpsie_sim::{Fault, RetryAfter, Route};

const LIMITED: Fault = Fault::RateLimited {
    retry_after: RetryAfter::Seconds(20),
};

/// One fault, set up when the story proper begins.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    Cloud(vpsie_sim::Rule),
    Kubernetes(kube_sim::Rule),
}

impl Trouble {
    /// Every one of them.
    pub(super) fn all() -> Vec<Self> {
        let cloud = creates().chain(deletes()).chain(reads()).map(Self::Cloud);
        cloud.chain(kubernetes().map(Self::Kubernetes)).collect()
    }

    /// From here on it happens, but for the first so many requests that it is about.
    pub(super) fn begin(&self, world: &World, skip: u64) {
        match self.clone() {
            Self::Cloud(rule) => {
                world.cloud.faults().add(rule);
            }
            Self::Kubernetes(rule) => {
                world.kube.faults().add(rule.after(skip));
            }
        }
    }
}

fn rules<const N: usize>(
    on: impl Into<vpsie_sim::Match>,
    faults: [Fault; N],
) -> impl Iterator<Item = vpsie_sim::Rule> {
    let on = on.into();
    let rule = move |fault| vpsie_sim::Rule::on(on, fault);
    faults.into_iter().map(rule)
}

fn creates() -> impl Iterator<Item = vpsie_sim::Rule> {
    let by = Duration::from_mins(1);
    rules(
        Route::AddWorker,
        [
            Fault::LostResponseAfterCommit,
            Fault::ResetBeforeCommit,
            Fault::LateCommit { by },
            Fault::Truncated,
            Fault::Html502 { after_commit: true },
        ],
    )
}

fn deletes() -> impl Iterator<Item = vpsie_sim::Rule> {
    rules(
        Route::DeleteWorker,
        [
            Fault::LostResponseAfterCommit,
            Fault::ResetBeforeCommit,
            Fault::DeleteAnswersSuccessButStays,
            Fault::Html500,
            Fault::Html502 { after_commit: true },
            LIMITED,
        ],
    )
}

fn reads() -> impl Iterator<Item = vpsie_sim::Rule> {
    let reads = rules(
        vpsie_sim::Match::Reads,
        [
            Fault::Html500,
            Fault::Truncated,
            Fault::EmptyListAlthough,
            Fault::PartialPage,
            Fault::ShuffledRows,
            Fault::MissingUuid,
            Fault::WrongTypes,
            Fault::Unauthorized,
            LIMITED,
            Fault::Slow {
                by: Duration::from_secs(30),
                after_commit: false,
            },
        ],
    );
    reads.map(|rule| rule.times(3))
}

fn kubernetes() -> impl Iterator<Item = kube_sim::Rule> {
    let refuse = |code| Effect::Refuse {
        code,
        retry_after: None,
    };
    let late = Duration::from_secs(12);
    let ours = || Match::actor("vpsie-autoscaler");
    let writes = [
        Effect::Delay(late),
        Effect::DelayResponse(late),
        refuse(403),
        refuse(409),
        refuse(429),
        refuse(500),
        Effect::DropRequest,
        Effect::LoseResponse,
        Effect::TruncateResponse,
    ];
    let writes = (writes.into_iter())
        .map(move |effect| kube_sim::Rule::times(ours().verb("write"), effect, 2));
    let reads = [Effect::Delay(late), refuse(500), Effect::TruncateResponse];
    let reads = reads.into_iter().flat_map(move |effect| {
        let of = |verb| kube_sim::Rule::times(ours().verb(verb), effect.clone(), 2);
        [of("get"), of("list")]
    });
    // While no watch can be started nothing goes, by right: about three times each.
    let gone = kube_sim::Rule::times(ours().verb("watch"), Effect::Gone, 60);
    let watches = [
        Effect::SlowWatch(late),
        Effect::CutWatchAfter(Duration::from_secs(5)),
        Effect::ExpireWatchAfter(Duration::from_secs(5)),
    ];
    let watches = (watches.into_iter())
        .map(move |effect| kube_sim::Rule::always(ours().verb("watch"), effect));
    writes.chain(reads).chain([gone]).chain(watches)
}
