//! Laws of the election, and its rules one by one.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A server with compare-and-swap, and candidates whose clocks run at different rates, whose
/// reads and writes are on their way for a while, arrive twice or are never answered, and
/// which pause or start anew.
struct World {
    now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    sent: u64,
    draws: std::vec::IntoIter<u16>,
    record: Option<Record>,
    writes: u64,
    candidates: Vec<Candidate>,
    times: Times,
    terms: BTreeMap<u64, (usize, u64)>,
}

struct Candidate {
    election: Election,
    /// Of its clock, in thousandths.
    rate: u64,
    life: u64,
    /// In true time; what its guard says.
    valid_until: u64,
}

#[derive(Clone)]
struct Write {
    who: usize,
    life: u64,
    begun: u64,
    expected: Option<String>,
    record: Record,
}

#[derive(Clone)]
enum Happening {
    Look(usize),
    Seen(usize, u64, Option<Record>),
    Commit(Write),
    Answer(Write),
}

impl World {
    fn new(draws: Vec<u16>, rates: [u64; 3], times: Times) -> Self {
        let candidates = rates.map(|rate| Candidate {
            election: Election::new(String::new(), times),
            rate,
            life: 0,
            valid_until: 0,
        });
        let mut world = Self {
            now: 0,
            queue: BTreeMap::new(),
            sent: 0,
            draws: draws.into_iter(),
            record: None,
            writes: 0,
            candidates: candidates.into(),
            times,
            terms: BTreeMap::new(),
        };
        for who in 0..3 {
            world.candidates[who].election = Election::new(format!("c{who}"), times);
            world.after(0, Happening::Look(who));
        }
        world
    }

    fn draw(&mut self, bound: u64) -> u64 {
        u64::from(self.draws.next().unwrap_or_default()) % bound
    }

    /// Mostly a short time, sometimes a long one.
    fn while_(&mut self, short: u64, long: u64) -> u64 {
        let bound = if self.draw(4) == 0 { long } else { short };
        self.draw(bound)
    }

    fn after(&mut self, delay: u64, happening: Happening) {
        self.sent += 1;
        self.queue.insert((self.now + delay, self.sent), happening);
    }

    fn local(&self, who: usize, at: u64) -> Duration {
        Duration::from_millis(at * self.candidates[who].rate / 1000)
    }

    /// Runs until the draws are used up; `Err` names two that led at once.
    fn run(&mut self) -> Result<(), String> {
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            if self.draws.len() == 0 {
                break;
            }
            self.now = at;
            self.happen(happening)?;
        }
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Look(who) => {
                if self.draw(30) == 0 {
                    let candidate = &mut self.candidates[who];
                    candidate.election = Election::new(format!("c{who}"), self.times);
                    candidate.life += 1;
                    candidate.valid_until = 0;
                }
                let life = self.candidates[who].life;
                let record = self.record.clone();
                let delay = self.while_(50, 3000);
                self.after(delay, Happening::Seen(who, life, record));
            }
            Happening::Seen(who, life, record) => {
                let begun = self.now;
                let local = self.local(who, begun);
                let next = self.candidates[who].election.observed(local, record);
                let (expected, transitions) = match next {
                    Try::Wait => (None, None),
                    Try::Create(term) => (None, Some(term)),
                    Try::Acquire(seen) => (Some(seen.version), Some(seen.transitions + 1)),
                    Try::Renew(seen) => (Some(seen.version), Some(seen.transitions)),
                };
                if let Some(transitions) = transitions {
                    let record = Record {
                        holder: format!("c{who}"),
                        transitions,
                        ..Record::default()
                    };
                    let write = Write {
                        who,
                        life,
                        begun,
                        expected,
                        record,
                    };
                    for _ in 0..=u64::from(self.draw(8) == 0) {
                        let delay = self.while_(50, 20_000);
                        self.after(delay, Happening::Commit(write.clone()));
                    }
                }
                let pause = self.while_(2500, 30_000);
                self.after(3000.min(pause) + pause, Happening::Look(who));
            }
            Happening::Commit(mut write) => {
                let version = self.record.as_ref().map(|record| record.version.clone());
                if version == write.expected {
                    self.writes += 1;
                    write.record.version = self.writes.to_string();
                    self.record = Some(write.record.clone());
                    let delay = self.while_(50, 5000);
                    if self.draw(10) != 0 {
                        self.after(delay, Happening::Answer(write));
                    }
                }
            }
            Happening::Answer(write) => return self.answered(write),
        }
        Ok(())
    }

    fn answered(&mut self, write: Write) -> Result<(), String> {
        let (who, now) = (write.who, self.now);
        let local = self.local(who, now);
        let begun = self.local(who, write.begun);
        let candidate = &mut self.candidates[who];
        // A request is given up after three seconds, and with it its answer.
        if candidate.life != write.life || local.saturating_sub(begun) > Duration::from_secs(3) {
            return Ok(());
        }
        let (epoch, until) = candidate.election.succeeded(begun, write.record);
        let lasts = until.saturating_sub(begun).as_millis() as u64 * 1000 / candidate.rate;
        candidate.valid_until = write.begun + lasts;
        let life = candidate.life;
        if *self.terms.entry(epoch).or_insert((who, life)) != (who, life) {
            return Err(format!("term {epoch} belongs to two"));
        }
        let leading: Vec<usize> = (0..3)
            .filter(|i| self.candidates[*i].valid_until > now)
            .collect();
        if leading.len() > 1 {
            return Err(format!("{leading:?} lead at {now}"));
        }
        if self.candidates[who].election.lost(local) {
            self.candidates[who].valid_until = 0;
        }
        Ok(())
    }
}

proptest! {
    /// Clocks run up to 10 % fast or slow.
    #[test]
    fn two_guards_are_never_valid_at_once_and_a_term_belongs_to_one(
        draws in prop::collection::vec(any::<u16>(), 100..3000),
        rates in prop::array::uniform3(900..1100_u64),
    ) {
        let mut world = World::new(draws, rates, Times::default());
        prop_assert_eq!(world.run(), Ok(()));
    }
}

#[test]
fn the_property_notices_a_guard_that_outlives_the_lease() {
    let times = Times {
        renew_deadline: Duration::from_secs(30),
        ..Times::default()
    };
    let random = runtime::Randomness::seeded(1);
    let found = (0..200).any(|_| {
        let draws = (0..2000).map(|_| random.next_u64() as u16).collect();
        World::new(draws, [900, 1000, 1100], times).run().is_err()
    });
    assert!(found);
}

#[test]
fn a_lease_is_taken_only_when_it_did_not_change_for_its_duration_on_the_own_clock() {
    let times = Times::default();
    let mut election = Election::new("b".into(), times);
    let record = |version: &str| Record {
        holder: "a".into(),
        renewed: "2000-01-01".into(),
        transitions: 3,
        version: version.into(),
    };
    let at = Duration::from_secs;
    assert_eq!(
        election.observed(at(100), Some(record("1"))),
        Try::Wait,
        "however old it looks"
    );
    assert_eq!(election.observed(at(114), Some(record("2"))), Try::Wait);
    assert_eq!(election.observed(at(128), Some(record("2"))), Try::Wait);
    assert_eq!(
        election.observed(at(129), Some(record("2"))),
        Try::Acquire(record("2"))
    );
    let mut free = record("3");
    free.holder.clear();
    assert_eq!(
        election.observed(at(130), Some(free.clone())),
        Try::Acquire(free)
    );
}

#[test]
fn a_lease_somebody_deleted_is_made_anew_only_by_its_leader_or_after_its_duration() {
    let at = Duration::from_secs;
    let record = Record {
        holder: "a".into(),
        transitions: 3,
        version: "7".into(),
        ..Record::default()
    };
    let mut leader = Election::new("a".into(), Times::default());
    leader.succeeded(at(0), record.clone());
    assert_eq!(leader.observed(at(2), None), Try::Create(4));

    let mut standby = Election::new("b".into(), Times::default());
    assert_eq!(standby.observed(at(0), Some(record)), Try::Wait);
    assert_eq!(standby.observed(at(2), None), Try::Wait);
    assert_eq!(standby.observed(at(16), None), Try::Wait);
    assert_eq!(standby.observed(at(17), None), Try::Create(4));

    let mut newcomer = Election::new("c".into(), Times::default());
    assert_eq!(newcomer.observed(at(0), None), Try::Create(1));
}

#[test]
fn times_that_would_let_two_lead_are_refused() {
    let times = Times::default();
    assert_eq!(times.validate(), Ok(()));
    let long = Times {
        renew_deadline: times.lease_duration,
        ..times
    };
    assert_eq!(long.validate(), Err(BadTimes::DeadlineTooLong));
    let rare = Times {
        retry_period: times.renew_deadline,
        ..times
    };
    assert_eq!(rare.validate(), Err(BadTimes::RetryTooLong));
}

#[test]
fn a_term_ends_with_its_deadline_or_when_another_holds_the_lease() {
    let at = Duration::from_secs;
    let own = Record {
        holder: "a".into(),
        transitions: 1,
        version: "1".into(),
        ..Record::default()
    };
    let mut election = Election::new("a".into(), Times::default());
    election.succeeded(at(0), own.clone());
    assert!(!election.lost(at(9)));
    assert!(election.lost(at(10)), "validity counts from the request");
    assert!(!election.leads());

    election.succeeded(at(20), own.clone());
    let other = Record {
        holder: "b".into(),
        transitions: 2,
        version: "2".into(),
        ..Record::default()
    };
    election.observed(at(21), Some(other));
    assert!(election.lost(at(21)));
}

#[test]
fn our_own_name_from_an_earlier_life_is_not_taken_for_ours() {
    let mut election = Election::new("a".into(), Times::default());
    let record = Record {
        holder: "a".into(),
        version: "1".into(),
        ..Record::default()
    };
    assert_eq!(election.observed(Duration::ZERO, Some(record)), Try::Wait);
}
