//! The story of one seed: replicas that come and go, and one thing after the other that happens.

use std::{sync::Arc, time::Duration};

use futures::FutureExt as _;
use history::Note;
use jiff::Timestamp;
use runtime::Randomness;
use serde_json::json;
use vpsie_autoscaler::Replica;

use super::{load::Load, people::People, trouble::Trouble};
use crate::harness::{Harness, Tripwire};

/// A replica, and the hand that makes it sleep.
struct Running {
    name: String,
    replica: Replica,
    sleep: Arc<Tripwire>,
    asleep_until: Option<Duration>,
}

pub(super) struct Chaos<'a> {
    harness: &'a Harness,
    random: Randomness,
    replicas: Vec<Running>,
    started: u32,
    load: Load<'a>,
    people: People<'a>,
    trouble: Trouble<'a>,
}

/// The groups: name, fewest, most, which size.
pub(super) const GROUPS: [(&str, u32, u32, usize); 3] = [
    ("general", 2, 9, 0),
    ("memory", 1, 7, 1),
    ("spare", 0, 4, 0),
];

/// What was done, for the history.
pub(super) fn disturb(harness: &Harness, what: String) {
    tracing::info!(what, "disturbance");
    harness.world.note("world", Note::Disturbance(what));
}

impl<'a> Chaos<'a> {
    /// Groups, load, and two replicas.
    pub(super) async fn begin(harness: &'a Harness, seed: u64) -> Self {
        let random = Randomness::seeded(seed).fork("chaos");
        for (name, min, max, size) in GROUPS {
            let change = json!({
                "offeringIDs": [harness.size(size)],
                "scaleDownPolicy": {"stabilizationWindowSeconds": 90, "cooldownSeconds": 60},
            });
            harness.group(name, min, max, change).await;
        }
        let mut chaos = Self {
            load: Load::new(harness, random.fork("load")),
            people: People::new(harness, random.fork("people")),
            trouble: Trouble::new(harness, random.fork("trouble")),
            harness,
            random: random.fork("turns"),
            replicas: Vec::new(),
            started: 0,
        };
        chaos.start();
        chaos.harness.clock.sleep(Duration::from_secs(3)).await;
        chaos.start();
        chaos.load.begin().await;
        chaos.harness.minutes(8).await;
        chaos
    }

    fn start(&mut self) {
        let name = format!("replica-{}", self.started);
        self.started += 1;
        let sleep: Arc<Tripwire> = Arc::default();
        let replica = self.harness.start_as(&name, &sleep);
        self.replicas.push(Running {
            name,
            replica,
            sleep,
            asleep_until: None,
        });
    }

    /// Something happens every few seconds, in bursts now and then.
    pub(super) async fn rage(&mut self, length: Duration) {
        let end = self.harness.clock.monotonic() + length;
        while self.harness.clock.monotonic() < end {
            let longest = if self.random.chance(0.2) {
                4_000
            } else {
                40_000
            };
            let wait = self
                .random
                .between(Duration::from_millis(50), Duration::from_millis(longest));
            self.harness.clock.sleep(wait).await;
            self.bring_back();
            match self.random.below(100) {
                0..45 => self.load.change().await,
                45..62 => self.people.act().await,
                62..90 => self.trouble.make().await,
                _ => self.replica().await,
            }
        }
    }

    /// Replicas that lost their term end, as the process does, and are begun anew; sleepers wake.
    fn bring_back(&mut self) {
        let now = self.harness.clock.monotonic();
        for running in &mut self.replicas {
            if running.asleep_until.is_some_and(|until| until <= now) {
                running.sleep.resume();
                running.asleep_until = None;
            }
        }
        let lost: Vec<usize> = (0..self.replicas.len())
            .filter(|index| {
                let running = &self.replicas[*index];
                running.asleep_until.is_none() && running.replica.lost().now_or_never().is_some()
            })
            .collect();
        for index in lost.into_iter().rev() {
            let running = self.replicas.remove(index);
            running.replica.crash();
            self.ended(&running.name);
        }
        while self.replicas.len() < 2 {
            self.start();
        }
    }

    fn ended(&self, name: &str) {
        self.harness.world.note(name, Note::Ended);
    }

    /// Something befalls a replica.
    async fn replica(&mut self) {
        if self.replicas.is_empty() {
            return;
        }
        let index = self.random.below(self.replicas.len() as u64) as usize;
        match self.random.below(4) {
            0 => {
                let seconds = 2 + self.random.below(60);
                let running = &mut self.replicas[index];
                disturb(self.harness, format!("{} sleeps {seconds} s", running.name));
                running.sleep.pause();
                let until = self.harness.clock.monotonic() + Duration::from_secs(seconds);
                running.asleep_until = Some(until);
            }
            1 => {
                let running = self.replicas.remove(index);
                disturb(self.harness, format!("{} is told to stop", running.name));
                running.sleep.resume();
                running.replica.stop().await;
                self.ended(&running.name);
            }
            _ => {
                let running = self.replicas.remove(index);
                disturb(self.harness, format!("{} dies", running.name));
                running.replica.crash();
                self.ended(&running.name);
            }
        }
    }

    /// Everything that was set is taken back; since when nothing disturbs any more.
    pub(super) async fn calm_down(&mut self) -> Timestamp {
        self.trouble.end();
        for running in &mut self.replicas {
            running.sleep.resume();
            running.asleep_until = None;
        }
        self.people.make_good().await;
        self.load.settle().await;
        // A replica that slept through its term has to end first.
        for _ in 0..6 {
            self.harness.clock.sleep(Duration::from_secs(10)).await;
            self.bring_back();
            self.people.release().await;
        }
        disturb(self.harness, "it is calm".to_owned());
        self.harness.clock.now()
    }

    /// A machine that a person deleted beside one of ours stops removals, some minutes later.
    pub(super) async fn release(&self) {
        self.people.release().await;
    }

    pub(super) async fn end(self) {
        for running in self.replicas {
            running.replica.stop().await;
        }
    }
}
