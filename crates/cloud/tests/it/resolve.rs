//! The laws of [`cloud::resolve`], for any requests and any listing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cloud::{OpenOperation, RequestState, Windows, resolve};
use jiff::Timestamp;
use model::{
    Hostname, Instance, InstanceId, InstancePhase, Observation, OperationId, Resolution, Role,
};
use proptest::prelude::*;

const QUARANTINE: Duration = Duration::from_mins(5);
const WINDOWS: Windows = Windows {
    quarantine: QUARANTINE,
    settle: Duration::from_mins(15),
    watched_since: Timestamp::UNIX_EPOCH,
};
const SHAPES: [(u32, u64); 2] = [(2, 4096), (4, 8192)];

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn id(n: usize) -> InstanceId {
    InstanceId::from(format!("machine-{n}"))
}

fn instance(n: usize) -> Instance {
    Instance {
        id: id(n),
        numeric_id: None,
        hostname: Hostname::new(format!("host-{n}")),
        addresses: vec![],
        role: Role::Worker,
        phase: InstancePhase::Running,
        pool: None,
        shape: Some(SHAPES[0]),
        created_at: None,
    }
}

fn operation(n: usize, state: RequestState) -> OpenOperation {
    OpenOperation {
        wanted: true,
        id: OperationId::from(format!("operation-{n}")),
        state,
        baseline: BTreeSet::new(),
        requested_at: at(n as i64),
        shape: Some(SHAPES[0]),
        instance: None,
    }
}

fn seen(instances: Vec<Instance>, second: i64, complete: bool) -> Observation {
    Observation {
        instances,
        pools: vec![],
        complete,
        started_at: at(second),
        defects: vec![],
    }
}

fn judged(operations: &[OpenOperation], observation: &Observation, second: i64) -> Vec<Resolution> {
    let verdicts = resolve(
        operations,
        &BTreeSet::new(),
        observation,
        at(second),
        &WINDOWS,
    );
    operations
        .iter()
        .map(|operation| verdicts[&operation.id].clone())
        .collect()
}

#[test]
fn one_machine_that_is_new_belongs_to_the_one_request() {
    for state in [RequestState::Accepted, RequestState::Unknown] {
        let verdict = judged(
            &[operation(0, state)],
            &seen(vec![instance(7)], 9, false),
            9,
        );
        assert_eq!(verdict, [Resolution::Found(id(7))], "{state:?}");
    }
}

#[test]
fn the_only_new_machine_belongs_to_the_request_that_was_accepted() {
    let operations = [
        operation(0, RequestState::Unknown),
        operation(1, RequestState::Accepted),
    ];
    let verdict = judged(&operations, &seen(vec![instance(7)], 9, true), 9);
    assert_eq!(
        verdict,
        [Resolution::StillPending, Resolution::Found(id(7))]
    );
}

#[test]
fn more_new_machines_than_requests_give_no_adoption_at_all() {
    let verdict = judged(
        &[operation(0, RequestState::Accepted)],
        &seen(vec![instance(7), instance(8)], 9, true),
        9,
    );
    assert_eq!(verdict, [Resolution::Ambiguous(vec![id(7), id(8)])]);
}

#[test]
fn a_surplus_of_one_size_does_not_hinder_the_requests_of_another() {
    let mut large = operation(1, RequestState::Accepted);
    large.shape = Some(SHAPES[1]);
    let mut larger = instance(9);
    larger.shape = Some(SHAPES[1]);
    let verdict = judged(
        &[operation(0, RequestState::Accepted), large],
        &seen(vec![instance(7), instance(8), larger], 9, true),
        9,
    );
    assert!(matches!(&verdict[0], Resolution::Ambiguous(ids) if ids.len() == 2));
    assert_eq!(verdict[1], Resolution::Found(id(9)));
}

#[test]
fn an_unknown_request_is_proven_absent_only_by_a_complete_look_after_the_quarantine() {
    let unknown = [operation(0, RequestState::Unknown)];
    for (started, now, complete, expected) in [
        (300, 300, true, Resolution::ProvenAbsent),
        (299, 301, true, Resolution::StillPending),
        (300, 400, false, Resolution::StillPending),
        (100, 400, true, Resolution::StillPending),
    ] {
        let verdict = judged(&unknown, &seen(vec![], started, complete), now);
        assert_eq!(verdict, [expected], "{started} {now} {complete}");
    }
    let accepted = [operation(0, RequestState::Accepted)];
    let verdict = judged(&accepted, &seen(vec![], 9000, true), 9000);
    assert_eq!(verdict, [Resolution::StillPending], "the cloud said yes");
}

#[test]
fn a_machine_that_fits_no_request_is_ambiguous_for_one_that_was_accepted_not_forgotten() {
    let mut wrong_size = instance(7);
    wrong_size.shape = Some(SHAPES[1]);
    let mut nameless = instance(8);
    nameless.role = Role::Unknown;
    let of = |state, machine: &Instance, second| {
        judged(
            &[operation(0, state)],
            &seen(vec![machine.clone()], second, true),
            second,
        )
    };
    for machine in [&wrong_size, &nameless] {
        let ambiguous = [Resolution::Ambiguous(vec![machine.id.clone()])];
        assert_eq!(
            of(RequestState::Accepted, machine, 299),
            [Resolution::StillPending]
        );
        assert_eq!(of(RequestState::Accepted, machine, 300), ambiguous);
    }
    assert_eq!(
        of(RequestState::Unknown, &wrong_size, 300),
        [Resolution::ProvenAbsent]
    );
    assert_eq!(
        of(RequestState::Unknown, &nameless, 300),
        [Resolution::Ambiguous(vec![id(8)])]
    );
}

#[test]
fn a_machine_that_came_after_a_requests_time_does_not_confuse_a_later_request() {
    let first = operation(0, RequestState::Accepted);
    let mut second = operation(1, RequestState::Accepted);
    second.baseline = [id(7), id(8)].into();
    let listing = seen(vec![instance(7), instance(8), instance(9)], 2000, true);
    second.requested_at = at(15 * 60);
    let verdict = judged(&[first.clone(), second.clone()], &listing, 2000);
    assert_eq!(
        verdict,
        [
            Resolution::Ambiguous(vec![id(7), id(8)]),
            Resolution::Found(id(9))
        ]
    );
    second.requested_at = at(15 * 60 - 1);
    let verdict = judged(&[first, second], &listing, 2000);
    assert!(
        matches!(verdict[1], Resolution::Ambiguous(_)),
        "{verdict:?}"
    );
}

#[test]
fn a_clock_that_is_ahead_proves_nothing_before_this_process_has_watched_for_the_quarantine() {
    let unknown = [operation(0, RequestState::Unknown)];
    let late = Windows {
        watched_since: at(1000),
        ..WINDOWS
    };
    for (second, expected) in [
        (1299, Resolution::StillPending),
        (1300, Resolution::ProvenAbsent),
    ] {
        let seen = seen(vec![], second, true);
        let verdict = resolve(&unknown, &BTreeSet::new(), &seen, at(second), &late);
        assert_eq!(verdict[&unknown[0].id], expected);
    }
}

#[test]
fn an_identity_that_was_told_is_awaited_and_nothing_else_taken_for_it() {
    let mut told = operation(0, RequestState::Accepted);
    told.instance = Some(id(3));
    let verdict = judged(&[told.clone()], &seen(vec![instance(7)], 9, true), 9);
    assert_eq!(verdict, [Resolution::StillPending]);
    let verdict = judged(&[told], &seen(vec![instance(3), instance(7)], 9, true), 9);
    assert_eq!(verdict, [Resolution::Found(id(3))]);
}

prop_compose! {
    fn any_instance()(
        n in 0..8_usize,
        role in prop_oneof![
            6 => Just(Role::Worker),
            1 => Just(Role::ControlPlane),
            1 => Just(Role::Unknown),
        ],
        deleting in prop::bool::weighted(0.2),
        shape in prop_oneof![Just(None), Just(Some(SHAPES[0])), Just(Some(SHAPES[1]))],
    ) -> Instance {
        let phase = if deleting { InstancePhase::Deleting } else { InstancePhase::Running };
        Instance { role, phase, shape, ..instance(n) }
    }
}

prop_compose! {
    fn any_operation()(
        n in 0..6_usize,
        accepted in any::<bool>(),
        baseline in prop::collection::btree_set(0..8_usize, 0..4),
        requested in 0..600_i64,
        shape in prop_oneof![Just(None), Just(Some(SHAPES[0])), Just(Some(SHAPES[1]))],
        told in prop::option::weighted(0.2, 0..8_usize),
    ) -> OpenOperation {
        let state = if accepted { RequestState::Accepted } else { RequestState::Unknown };
        OpenOperation {
            wanted: true,
            baseline: baseline.into_iter().map(id).collect(),
            requested_at: at(requested),
            shape,
            instance: told.map(id),
            ..operation(n, state)
        }
    }
}

#[derive(Debug, Clone)]
struct Situation {
    operations: Vec<OpenOperation>,
    owned: BTreeSet<InstanceId>,
    observation: Observation,
    now: Timestamp,
}

prop_compose! {
    fn any_situation()(
        operations in prop::collection::vec(any_operation(), 0..6),
        owned in prop::collection::btree_set(0..8_usize, 0..3),
        instances in prop::collection::vec(any_instance(), 0..8),
        started in 0..1200_i64,
        age in 0..300_i64,
        complete in any::<bool>(),
    ) -> Situation {
        // Ids are unique, on both sides, as they are where these come from; a told identity
        // belongs to one request.
        let mut told = BTreeSet::new();
        let operations: BTreeMap<_, _> = operations
            .into_iter()
            .map(|mut operation| {
                if operation.instance.as_ref().is_some_and(|id| !told.insert(id.clone())) {
                    operation.instance = None;
                }
                (operation.id.clone(), operation)
            })
            .collect();
        let instances: BTreeMap<_, _> =
            instances.into_iter().map(|instance| (instance.id.clone(), instance)).collect();
        let owned = owned.into_iter().map(id).filter(|id| !told.contains(id)).collect();
        Situation {
            operations: operations.into_values().collect(),
            owned,
            observation: seen(instances.into_values().collect(), started, complete),
            now: at(started + age),
        }
    }
}

fn verdicts(situation: &Situation) -> BTreeMap<OperationId, Resolution> {
    resolve(
        &situation.operations,
        &situation.owned,
        &situation.observation,
        situation.now,
        &WINDOWS,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_request_is_judged_and_no_machine_given_twice(situation in any_situation()) {
        let verdicts = verdicts(&situation);
        prop_assert_eq!(verdicts.len(), situation.operations.len());
        let mut given = BTreeSet::new();
        for verdict in verdicts.values() {
            if let Resolution::Found(id) = verdict {
                prop_assert!(given.insert(id.clone()), "{} twice", id);
            }
        }
    }

    #[test]
    fn nobody_is_given_what_could_not_be_theirs(situation in any_situation()) {
        let verdicts = verdicts(&situation);
        for operation in &situation.operations {
            let Resolution::Found(id) = &verdicts[&operation.id] else { continue };
            let instance = situation.observation.instance(id).expect("only what is listed");
            prop_assert!(!situation.owned.contains(id), "owned");
            if operation.instance.is_some() {
                prop_assert_eq!(Some(id), operation.instance.as_ref());
                continue;
            }
            prop_assert!(!operation.baseline.contains(id), "existed before");
            prop_assert_eq!(instance.role, Role::Worker);
            prop_assert_ne!(instance.phase, InstancePhase::Deleting);
            if let (Some(asked), Some(seen)) = (operation.shape, instance.shape) {
                prop_assert_eq!(asked, seen);
            }
        }
    }

    #[test]
    fn nothing_is_proven_absent_too_early_or_by_half_a_look(situation in any_situation()) {
        for (id, verdict) in verdicts(&situation) {
            if verdict != Resolution::ProvenAbsent { continue; }
            let operation = situation.operations.iter().find(|o| o.id == id).expect("judged");
            prop_assert!(situation.observation.complete);
            prop_assert_eq!(operation.state, RequestState::Unknown);
            let since = situation.observation.started_at.duration_since(operation.requested_at);
            prop_assert!(Duration::try_from(since).unwrap_or_default() >= QUARANTINE);
        }
    }

    #[test]
    fn nobody_is_given_one_of_more_machines_than_were_asked_for(situation in any_situation()) {
        let verdicts = verdicts(&situation);
        for (id, verdict) in &verdicts {
            let Resolution::Ambiguous(candidates) = verdict else { continue };
            prop_assert!(!candidates.is_empty());
            for candidate in candidates {
                let taken = verdicts.values().any(|v| *v == Resolution::Found(candidate.clone()));
                prop_assert!(!taken, "{} is ambiguous for {} and given away", candidate, id);
            }
        }
    }

    #[test]
    fn the_order_in_which_requests_and_machines_are_listed_does_not_matter(
        situation in any_situation(),
        rotation in 0..8_usize,
    ) {
        let mut turned = situation.clone();
        if !turned.operations.is_empty() {
            let by = rotation % turned.operations.len();
            turned.operations.rotate_left(by);
        }
        turned.observation.instances.reverse();
        prop_assert_eq!(verdicts(&situation), verdicts(&turned));
    }
}
