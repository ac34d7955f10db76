//! Workers without an owner, and workers that vanish: what is believed on how much evidence.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use model::{GroupKey, Hostname, Instance, InstanceId, InstancePhase, NodeName, Observation, Role};
use planner::{
    collect::{
        self, Awaited, Bystander, DeleteRequest, GroupState, Input, Mark, NotOurs, ORPHAN_AGE,
        OpenRequest, Owner, Roll, Standing, Verdict, bystanders, judge,
    },
    lifecycle::{
        CloudView, CreateView, GroupRoom, Machine, MachineView, NodeView, Observation as Seen,
        Phase, Policy, PoolView, Record,
    },
    removal,
};
use proptest::prelude::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn id(number: u32) -> InstanceId {
    InstanceId::new(format!("00000000-0000-4000-8000-{number:012}"))
}

fn instance(number: u32) -> Instance {
    Instance {
        id: id(number),
        numeric_id: None,
        hostname: Hostname::new(format!("worker-{number}")),
        addresses: vec![],
        role: Role::Worker,
        phase: InstancePhase::Running,
        pool: None,
        shape: Some((2, 4096)),
        created_at: None,
    }
}

fn observation(numbers: &[u32], seconds: i64) -> Observation {
    Observation {
        instances: numbers.iter().copied().map(instance).collect(),
        pools: vec![],
        complete: true,
        started_at: at(seconds),
        defects: vec![],
    }
}

/// One world, seen as often as told.
struct World {
    roll: Roll,
    observation: Observation,
    owners: Vec<Owner>,
    marks: Vec<Mark>,
    groups: BTreeMap<GroupKey, GroupState>,
    targeted_delete: bool,
    now: i64,
}

impl World {
    /// Machine 1 of record `g-1` that is gone, marked by its Node.
    fn of_one_orphan() -> Self {
        Self {
            roll: Roll::default(),
            observation: observation(&[1], 0),
            owners: vec![],
            marks: vec![mark(1)],
            groups: BTreeMap::from([(
                group(),
                GroupState {
                    managed: true,
                    held: None,
                },
            )]),
            targeted_delete: true,
            now: 0,
        }
    }

    fn owned(&self) -> BTreeSet<InstanceId> {
        self.owners
            .iter()
            .filter_map(|o| o.instance.clone())
            .collect()
    }

    fn look(&mut self, numbers: &[u32]) {
        self.observation = observation(numbers, self.now);
        self.look_at_that();
    }

    fn look_at_that(&mut self) {
        self.observation.started_at = at(self.now);
        let now = Duration::from_secs(u64::try_from(self.now).unwrap());
        let owned = self.owned();
        self.roll.note(&self.observation, &owned, at(self.now), now);
    }

    /// Sees the same every minute for so many minutes.
    fn minutes(mut self, minutes: i64) -> Self {
        self.look_at_that();
        for _ in 0..minutes {
            self.now += 60;
            self.look_at_that();
        }
        self
    }

    fn verdicts(&self) -> BTreeMap<InstanceId, Verdict> {
        judge(&Input {
            observation: &self.observation,
            roll: &self.roll,
            owners: &self.owners,
            marks: &self.marks,
            groups: &self.groups,
            targeted_delete: self.targeted_delete,
        })
    }

    fn verdict(&self) -> Verdict {
        self.verdicts().remove(&id(1)).unwrap()
    }
}

fn group() -> GroupKey {
    GroupKey::new("kube-system", "g")
}

fn mark(number: u32) -> Mark {
    Mark {
        node: NodeName::new(format!("worker-{number}")),
        instance: id(number),
        managed: true,
        record: Some(format!("g-{number}")),
        group: Some(group()),
        offering: Some("small".into()),
        contradicted: None,
    }
}

fn owner(name: &str, instance: Option<InstanceId>) -> Owner {
    Owner {
        record: format!("kube-system/{name}"),
        instance,
        hostname: None,
        awaits: None,
    }
}

fn is_ripe(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Orphan(orphan) if orphan.ripe && orphan.held.is_none())
}

#[test]
fn an_orphan_is_told_at_once_and_ripe_after_a_quarter_of_an_hour_only() {
    let young = World::of_one_orphan().minutes(14).verdict();
    assert!(matches!(&young, Verdict::Orphan(o) if !o.ripe), "{young:?}");
    let old = World::of_one_orphan().minutes(15).verdict();
    assert!(is_ripe(&old), "{old:?}");
}

#[test]
fn two_looks_a_day_apart_make_no_ripe_orphan() {
    let mut world = World::of_one_orphan();
    world.look(&[1]);
    world.now += 86_400;
    world.look(&[1]);
    assert!(!is_ripe(&world.verdict()));
}

#[test]
fn a_look_without_the_machine_begins_its_time_anew() {
    let mut world = World::of_one_orphan().minutes(14);
    world.look(&[]);
    let world = World {
        observation: observation(&[1], 0),
        ..world
    }
    .minutes(10);
    assert!(!is_ripe(&world.verdict()));
}

#[test]
fn each_missing_piece_of_the_proof_makes_the_machine_somebody_elses() {
    type Break = fn(&mut World);
    let cases: [(&str, Break); 9] = [
        ("NoNode", |world| world.marks.clear()),
        ("NoNode", |world| world.marks[0].instance = id(2)),
        ("MarksIncomplete", |world| world.marks[0].managed = false),
        ("MarksIncomplete", |world| world.marks[0].record = None),
        ("MarksIncomplete", |world| world.marks[0].group = None),
        ("ClaimedTwice", |world| {
            world.marks.push(Mark {
                node: NodeName::new("copy"),
                ..mark(1)
            });
        }),
        ("NodeContradicts", |world| {
            world.marks[0].contradicted = Some("its name is another".into());
        }),
        ("RecordExists", |world| {
            world.owners.push(owner("g-1", Some(id(7))));
        }),
        ("GroupGone", |world| world.groups.clear()),
    ];
    for (name, change) in cases {
        let mut world = World::of_one_orphan();
        change(&mut world);
        let verdict = world.minutes(60).verdict();
        assert!(matches!(verdict, Verdict::NotOurs(_)), "{verdict:?}");
        assert_eq!(verdict.name(), name);
    }
}

#[test]
fn a_group_that_is_not_managed_gets_nothing_back() {
    let mut world = World::of_one_orphan();
    world.groups.get_mut(&group()).unwrap().managed = false;
    assert_eq!(
        world.minutes(60).verdict(),
        Verdict::NotOurs(NotOurs::GroupNotManaged { group: group() })
    );
}

#[test]
fn a_paused_group_or_a_provider_that_cannot_delete_one_machine_holds_the_orphan() {
    let mut paused = World::of_one_orphan();
    paused.groups.get_mut(&group()).unwrap().held = Some("it is paused".into());
    let mut blunt = World::of_one_orphan();
    blunt.targeted_delete = false;
    for world in [paused, blunt] {
        let verdict = world.minutes(60).verdict();
        let held = matches!(&verdict, Verdict::Orphan(o) if o.ripe && o.held.is_some());
        assert!(held, "{verdict:?}");
    }
}

#[test]
fn a_machine_that_an_open_request_may_claim_is_awaited_whatever_its_node_says() {
    let mut world = World::of_one_orphan();
    world.owners.push(Owner {
        awaits: Some(OpenRequest {
            baseline: BTreeSet::new(),
            shape: None,
        }),
        ..owner("g-2", None)
    });
    let verdict = world.minutes(60).verdict();
    let record = "kube-system/g-2".to_owned();
    assert_eq!(verdict, Verdict::Awaited(Awaited::OpenRequest { record }));
}

#[test]
fn a_request_that_found_the_machine_there_or_asked_for_another_size_does_not_await_it() {
    for (baseline, shape) in [
        (BTreeSet::from([id(1)]), None),
        (BTreeSet::new(), Some((4, 8192))),
    ] {
        let mut world = World::of_one_orphan();
        world.owners.push(Owner {
            awaits: Some(OpenRequest { baseline, shape }),
            ..owner("g-2", None)
        });
        assert!(is_ripe(&world.minutes(20).verdict()));
    }
}

#[test]
fn a_machine_that_a_record_knows_by_its_name_is_awaited() {
    let mut world = World::of_one_orphan();
    world.marks.clear();
    world.owners.push(Owner {
        hostname: Some(Hostname::new("WORKER-1")),
        ..owner("g-2", None)
    });
    assert_eq!(world.minutes(60).verdict().kind(), "awaited");
}

#[test]
fn nothing_is_said_of_a_stranger_before_its_third_sighting_a_minute_apart() {
    let mut world = World::of_one_orphan();
    world.marks.clear();
    for _ in 0..12 {
        world.look(&[1]);
        assert_eq!(world.verdict().name(), "Young");
        world.now += 10;
    }
    world.look(&[1]);
    assert_eq!(world.verdict(), Verdict::NotOurs(NotOurs::NoNode));
}

#[test]
fn the_control_plane_and_what_is_being_deleted_get_no_verdict_and_an_unknown_role_no_touch() {
    let mut world = World::of_one_orphan();
    world.observation.instances[0].role = Role::ControlPlane;
    assert!(world.minutes(60).verdicts().is_empty());
    let mut world = World::of_one_orphan();
    world.observation.instances[0].phase = InstancePhase::Deleting;
    assert!(world.minutes(60).verdicts().is_empty());
    let mut world = World::of_one_orphan();
    world.observation.instances[0].role = Role::Unknown;
    let verdict = world.minutes(60).verdict();
    assert_eq!(verdict, Verdict::NotOurs(NotOurs::RoleUnknown));
}

#[test]
fn every_verdict_has_a_name_of_its_own_and_its_line_in_the_table() {
    let examples = Verdict::examples();
    let names: BTreeSet<&str> = examples.iter().map(Verdict::name).collect();
    assert_eq!(names.len(), examples.len());
    let table = collect::markdown();
    assert_eq!(table.lines().count(), examples.len() + 2);
    for name in names {
        assert!(table.contains(&format!("| {name} |")), "{name}");
    }
}

proptest! {
    /// Whatever is listed, owned, marked and asked for: who has an owner is not judged, everybody
    /// else is, and only a proof that is whole takes a machine back.
    #[test]
    fn only_a_whole_proof_takes_a_machine_back(
        owned in proptest::collection::btree_set(0_u32..8, 0..4),
        marked in proptest::collection::vec((0_u32..8, 0_u32..10, 0_u8..8), 0..8),
        records in proptest::collection::btree_set(0_u32..10, 0..3),
        open in proptest::collection::vec(proptest::collection::btree_set(0_u32..8, 0..8), 0..2),
        managed in any::<bool>(),
        minutes in 0_i64..30,
    ) {
        let mut world = World::of_one_orphan();
        world.observation = observation(&[0, 1, 2, 3, 4, 5, 6, 7], 0);
        world.groups.get_mut(&group()).unwrap().managed = managed;
        world.owners = owned.iter().map(|n| owner(&format!("own-{n}"), Some(id(*n)))).collect();
        world.owners.extend(records.iter().map(|n| owner(&format!("g-{n}"), None)));
        for (number, baseline) in open.iter().enumerate() {
            world.owners.push(Owner {
                awaits: Some(OpenRequest {
                    baseline: baseline.iter().map(|n| id(*n)).collect(),
                    shape: None,
                }),
                ..owner(&format!("open-{number}"), None)
            });
        }
        world.marks = marked
            .iter()
            .enumerate()
            .map(|(number, (machine, record, flaws))| Mark {
                node: NodeName::new(format!("node-{number}")),
                instance: id(*machine),
                managed: flaws & 1 == 0,
                record: Some(format!("g-{record}")),
                group: (flaws & 2 == 0).then(group),
                offering: Some("small".into()),
                contradicted: (flaws & 4 != 0).then(String::new),
            })
            .collect();
        let world = world.minutes(minutes);
        let verdicts = world.verdicts();
        for number in 0..8 {
            prop_assert_eq!(verdicts.contains_key(&id(number)), !owned.contains(&number));
        }
        for (machine, verdict) in &verdicts {
            let Verdict::Orphan(orphan) = verdict else { continue };
            let claims: Vec<&Mark> = world.marks.iter().filter(|m| m.instance == *machine).collect();
            prop_assert_eq!(claims.len(), 1);
            prop_assert!(managed && claims[0].managed && claims[0].contradicted.is_none());
            prop_assert_eq!(claims[0].group.as_ref(), Some(&orphan.group));
            let record = format!("kube-system/{}", orphan.record);
            prop_assert!(world.owners.iter().all(|owner| owner.record != record));
            prop_assert!(open.iter().all(|baseline| baseline.iter().any(|n| id(*n) == *machine)));
            prop_assert!(!orphan.ripe || Duration::from_secs(minutes.unsigned_abs() * 60) >= ORPHAN_AGE);
        }
    }
}

// === Workers that vanish ===

fn request(number: u32, sent: i64, gone: Option<i64>) -> DeleteRequest {
    DeleteRequest {
        instance: id(number),
        hostname: Hostname::new(format!("worker-{number}")),
        sent_at: at(sent),
        gone_at: gone.map(at),
    }
}

/// Who is there at each look, ten seconds apart, all owned; and the roll after that.
fn looks(each: &[&[u32]]) -> Roll {
    let owned = each
        .iter()
        .flat_map(|all| all.iter().copied().map(id))
        .collect();
    let mut roll = Roll::default();
    for (number, there) in (0_i64..).zip(each) {
        let now = Duration::from_secs(u64::try_from(number * 10).unwrap());
        roll.note(
            &observation(there, number * 10),
            &owned,
            at(number * 10),
            now,
        );
    }
    roll
}

fn vanished(requests: &[DeleteRequest], roll: &Roll) -> Vec<(InstanceId, InstanceId)> {
    bystanders(requests, roll, &BTreeMap::new())
        .into_iter()
        .map(
            |Bystander {
                 instance, named, ..
             }| (instance, named),
        )
        .collect()
}

#[test]
fn another_worker_that_is_missing_twice_after_a_delete_is_a_bystander() {
    let sent = [request(1, 5, None)];
    let once = looks(&[&[1, 2, 3], &[1, 3]]);
    assert_eq!(vanished(&sent, &once), []);
    let twice = looks(&[&[1, 2, 3], &[1, 3], &[1, 3]]);
    assert_eq!(vanished(&sent, &twice), [(id(2), id(1))]);
    let back = looks(&[&[1, 2, 3], &[1, 3], &[1, 2, 3], &[1, 3]]);
    assert_eq!(vanished(&sent, &back), []);
}

#[test]
fn the_named_machine_and_others_that_were_named_are_no_bystanders() {
    let roll = looks(&[&[1, 2, 3], &[3], &[3], &[3]]);
    assert_eq!(
        vanished(&[request(1, 5, Some(20)), request(2, 6, None)], &roll),
        []
    );
    // The other's request is known from its VPSieNode alone.
    let standing = Standing {
        named: true,
        ..Standing::default()
    };
    let standings = BTreeMap::from([(id(2), standing)]);
    assert_eq!(
        bystanders(&[request(1, 5, Some(20))], &roll, &standings),
        []
    );
}

#[test]
fn what_vanished_before_the_delete_or_long_after_is_no_bystander() {
    let roll = looks(&[&[1, 2], &[1], &[1], &[1], &[1]]);
    assert_eq!(vanished(&[request(1, 15, None)], &roll), []);
    let mut roll = Roll::default();
    let owned = BTreeSet::from([id(1), id(2)]);
    for (there, seconds) in [(&[1, 2][..], 0), (&[1, 2], 400), (&[1], 410), (&[1], 420)] {
        let now = Duration::from_secs(u64::try_from(seconds).unwrap());
        roll.note(&observation(there, seconds), &owned, at(seconds), now);
    }
    assert_eq!(vanished(&[request(1, 5, Some(99))], &roll), []);
    assert_eq!(
        vanished(&[request(1, 5, Some(101))], &roll),
        [(id(2), id(1))]
    );
}

#[test]
fn a_worker_that_was_bought_after_the_delete_or_never_finished_is_no_bystander() {
    let bought_later = looks(&[&[1], &[1, 2], &[1], &[1]]);
    assert_eq!(vanished(&[request(1, 5, None)], &bought_later), []);
    let mut unfinished = observation(&[1, 2], 0);
    unfinished.instances[1].phase = InstancePhase::Creating;
    let mut roll = Roll::default();
    let owned = BTreeSet::from([id(1), id(2)]);
    roll.note(&unfinished, &owned, at(0), Duration::ZERO);
    for number in 1..4 {
        let now = Duration::from_secs(number * 10);
        roll.note(&observation(&[1], 10), &owned, at(10), now);
    }
    assert_eq!(vanished(&[request(1, 5, None)], &roll), []);
}

#[test]
fn a_worker_listed_as_being_deleted_has_vanished() {
    let mut roll = looks(&[&[1, 2]]);
    let owned = BTreeSet::from([id(1), id(2)]);
    let mut deleting = observation(&[1, 2], 10);
    deleting.instances[1].phase = InstancePhase::Deleting;
    for number in 1..3 {
        roll.note(&deleting, &owned, at(10), Duration::from_secs(number * 10));
    }
    assert_eq!(vanished(&[request(1, 5, None)], &roll), [(id(2), id(1))]);
}

#[test]
fn a_worker_that_this_process_saw_first_after_the_delete_was_there_if_its_record_says_so() {
    let roll = looks(&[&[1, 2], &[1], &[1]]);
    let sent = [request(1, -5, None)];
    assert_eq!(vanished(&sent, &roll), []);
    let standing = Standing {
        serves_since: Some(at(-60)),
        ..Standing::default()
    };
    let standings = BTreeMap::from([(id(2), standing)]);
    assert_eq!(bystanders(&sent, &roll, &standings).len(), 1);
}

#[test]
fn after_a_restart_the_records_say_who_was_there() {
    // Nothing was listed but what is still there.
    let mut roll = Roll::default();
    let owned = BTreeSet::from([id(1), id(2)]);
    for number in 1..3 {
        let now = Duration::from_secs(number * 10);
        roll.note(&observation(&[1], 100), &owned, at(100), now);
    }
    let sent = [request(1, 50, None)];
    let standing = |serves: Option<i64>, ill: Option<i64>| {
        let standing = Standing {
            serves_since: serves.map(at),
            ill_since: ill.map(at),
            ..Standing::default()
        };
        bystanders(&sent, &roll, &BTreeMap::from([(id(2), standing)])).len()
    };
    assert_eq!(standing(Some(0), None), 1);
    assert_eq!(
        standing(Some(0), Some(60)),
        1,
        "its Node fell silent afterwards"
    );
    assert_eq!(standing(Some(0), Some(40)), 0, "it was gone before");
    assert_eq!(standing(None, None), 0, "it never served");
    assert_eq!(standing(Some(70), None), 0, "it came later");
}

proptest! {
    /// Machines that are asked to go, each gone within some looks of its request, and nobody else:
    /// no bystander at any look. One more that goes in the middle is found at its second absence.
    #[test]
    fn ordinary_removals_have_no_bystander_and_one_that_is_there_is_found(
        removals in proptest::collection::btree_map(1_u32..12, (1_i64..20, 1_i64..6), 1..6),
        victim_at in proptest::option::of(0_usize..20),
    ) {
        let victim = 20_u32;
        let all: BTreeSet<InstanceId> = (0..12).chain([victim]).map(id).collect();
        let mut roll = Roll::default();
        let first = removals.values().map(|(sent, _)| *sent).min().unwrap();
        let mut gone_since = None;
        for look in 0_i64..30 {
            let there: Vec<u32> = (0..12)
                .filter(|n| removals.get(n).is_none_or(|(sent, lag)| look < sent + lag))
                .chain(
                    victim_at
                        .is_none_or(|at| look <= first + i64::try_from(at).unwrap())
                        .then_some(victim),
                )
                .collect();
            if !there.contains(&victim) && gone_since.is_none() {
                gone_since = Some(look);
            }
            let now = Duration::from_secs(u64::try_from(look * 10).unwrap());
            roll.note(&observation(&there, look * 10), &all, at(look * 10), now);
            // Sent right after the look of that number.
            let requests: Vec<DeleteRequest> = removals
                .iter()
                .filter(|(_, (sent, _))| *sent <= look)
                .map(|(n, (sent, lag))| {
                    let gone = sent + lag + 2;
                    request(*n, sent * 10 + 1, (gone <= look).then_some(gone * 10))
                })
                .collect();
            let found = vanished(&requests, &roll);
            let due = gone_since.is_some_and(|since| look > since);
            prop_assert_eq!(
                found.iter().map(|(who, _)| who.clone()).collect::<Vec<_>>(),
                if due { vec![id(victim)] } else { vec![] }
            );
        }
    }
}

// === The other direction: a VPSieNode without its machine ===

fn missing(since: Duration, sightings: u32, node: NodeView) -> Seen {
    Seen {
        create: CreateView {
            group_usable: true,
            room: GroupRoom::Enough,
            pool: PoolView::Missing,
            blocked: false,
            backoff_until: None,
            baseline: BTreeSet::new(),
            baseline_at: None,
        },
        cloud: CloudView::Seen {
            started_at: at(0),
            resolution: None,
            machine: MachineView::Missing { since, sightings },
        },
        node,
        keep: None,
        hold: None,
        replace_later: None,
        force_after: None,
    }
}

#[test]
fn a_machine_has_vanished_only_after_repeated_complete_observations_over_minutes() {
    let policy = Policy::default();
    let record = Record {
        phase: Phase::Ready,
        machine: Some(Machine {
            instance: id(1),
            hostname: Hostname::new("worker-1"),
        }),
        ..Record::new()
    };
    let gone = |since: Duration, sightings| {
        let seen = missing(since, sightings, NodeView::Absent { fresh: true });
        removal::vanished(&record, &seen, &policy)
    };
    assert!(gone(policy.disappearance, policy.sightings));
    assert!(
        !gone(policy.disappearance, policy.sightings - 1),
        "one look is none"
    );
    let just = policy.disappearance.saturating_sub(Duration::from_secs(1));
    assert!(!gone(just, 100), "however often within a moment");
    let conflict = NodeView::Conflict("two nodes have its name".into());
    let doubtful = missing(policy.disappearance, policy.sightings, conflict);
    assert!(!removal::vanished(&record, &doubtful, &policy));
    let never_listed = Record {
        machine: Some(Machine {
            instance: id(1),
            hostname: Hostname::new(""),
        }),
        ..record
    };
    let seen = missing(
        policy.disappearance * 2,
        100,
        NodeView::Absent { fresh: true },
    );
    assert!(
        !removal::vanished(&never_listed, &seen, &policy),
        "it may be on its way"
    );
}
