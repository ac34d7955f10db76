//! The checker is held to the scheduler itself, and a plan that breaks a rule is told so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{collections::BTreeSet, sync::Arc};

use checker::{Rule, World, replay};
use intake::dump::Dump;
use model::{
    LabelSelector, Node, NodeName, NodeShape, Operator, PodKey, PodTerm, Requirement, Resources,
    SchedulingClass, Storage, Surroundings,
    storage::{AccessMode, Claim, ClaimUse, Volume, VolumeHandle},
};

/// What the rules say of each pending pod on each node.
fn verdicts(dump: &Dump) -> Vec<(String, String, Vec<&'static str>)> {
    let mut world = World::new(Arc::new(dump.surroundings.clone()));
    for node in &dump.nodes {
        world.add(node.clone());
    }
    for pod in &dump.bound {
        if let Some(place) = pod.node().and_then(|node| world.find(node)) {
            world.put(&pod.class, place, pod.terminating.is_some());
        }
    }
    let mut verdicts = Vec::new();
    for pod in &dump.waiting {
        for node in &dump.nodes {
            let rules = world.broken(&pod.class, world.find(&node.name).unwrap());
            let rules = rules.into_iter().map(Rule::name).collect();
            verdicts.push((pod.key.to_string(), node.name.to_string(), rules));
        }
    }
    verdicts.sort();
    verdicts
}

#[test]
fn each_rule_says_what_the_scheduler_says_of_every_recorded_cluster() {
    let ours: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    assert_eq!(ours, oracle::FILTERS.into(), "a rule for each filter");
    let mut compared = 0;
    for case in oracle::corpus().unwrap() {
        let case = case.unwrap();
        let dump = Dump::from_slice(case.cluster.to_string().as_bytes()).unwrap();
        let mut expected: Vec<(String, String, Vec<&str>)> = Vec::new();
        for pod in &case.verdicts.pods {
            for node in &pod.nodes {
                let rules = node.filters.iter().map(String::as_str).collect();
                expected.push((pod.pod.clone(), node.node.clone(), rules));
            }
        }
        expected.sort();
        compared += expected.len();
        assert_eq!(verdicts(&dump), expected, "seed {}", case.seed);
    }
    assert!(compared > 10_000, "{compared}");
}

fn node(name: &str) -> Node {
    Node {
        name: NodeName::new(name),
        uid: None,
        shape: Arc::new(NodeShape {
            labels: [("kubernetes.io/hostname".into(), name.into())].into(),
            allocatable: Resources {
                cpu_milli: 1000,
                pods: 10,
                ..Resources::default()
            },
            ..NodeShape::default()
        }),
        ready: true,
        created_at: None,
        defect: None,
    }
}

#[test]
fn a_plan_is_told_of_the_step_that_breaks_a_rule_and_of_no_other() {
    let mut world = World::default();
    let places = [world.add(node("a")), world.add(node("b"))];
    let web = LabelSelector {
        requirements: vec![Requirement {
            key: "app".into(),
            operator: Operator::In,
            values: vec!["web".into()],
        }],
    };
    let apart = Arc::new(SchedulingClass {
        namespace: "default".into(),
        labels: [("app".into(), "web".into())].into(),
        requests: Resources {
            cpu_milli: 600,
            pods: 1,
            ..Resources::default()
        },
        anti_affinity: vec![PodTerm {
            selector: Some(web),
            namespaces: model::Namespaces {
                names: ["default".into()].into(),
                selector: None,
            },
            topology_key: "kubernetes.io/hostname".into(),
        }],
        ..SchedulingClass::default()
    });
    let pods: Vec<PodKey> = ["one", "two", "three"]
        .map(|name| PodKey::new("default", name))
        .into();
    let plan = [
        (&pods[0], &apart, places[0]),
        (&pods[1], &apart, places[1]),
        (&pods[2], &apart, places[1]),
    ];
    let violations = replay(&mut world, plan);
    let told: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["pod default/three on b: InterPodAffinity, NodeResourcesFit"]
    );
}

/// A claim of namespace `default` that is bound to a volume of its name, at one driver.
fn bound(storage: &mut Storage, name: &str, modes: &[AccessMode]) {
    let claim = Claim {
        volume: Some(name.into()),
        bind_completed: true,
        access_modes: modes.into(),
        ..Claim::default()
    };
    let volume = Volume {
        handle: Some(VolumeHandle {
            driver: "csi.a.io".into(),
            handle: name.into(),
        }),
        ..Volume::default()
    };
    let key = ("default".into(), name.into());
    storage.claims.insert(key, claim);
    storage.volumes.insert(name.into(), volume);
}

fn with_claim(name: &str) -> Arc<SchedulingClass> {
    Arc::new(SchedulingClass {
        namespace: "default".into(),
        requests: Resources {
            pods: 1,
            ..Resources::default()
        },
        claims: vec![ClaimUse {
            name: name.into(),
            owner: None,
        }],
        ..SchedulingClass::default()
    })
}

#[test]
fn what_a_plan_has_placed_takes_places_for_volumes_and_claims_for_one_pod() {
    let mut storage = Storage::default();
    let driver = ("csi.a.io".into(), Some(1));
    let limits = [(NodeName::new("a"), [driver].into())];
    storage.limits = limits.into();
    bound(&mut storage, "shared", &[AccessMode::ReadWriteMany]);
    bound(&mut storage, "second", &[AccessMode::ReadWriteOnce]);
    bound(&mut storage, "single", &[AccessMode::ReadWriteOncePod]);
    let mut world = World::new(Arc::new(Surroundings {
        storage,
        ..Surroundings::default()
    }));
    let places = [world.add(node("a")), world.add(node("b"))];
    let steps = [
        ("shared", 0),
        ("shared", 0),
        ("second", 0),
        ("second", 1),
        ("single", 1),
        ("single", 1),
    ];
    let steps: Vec<(PodKey, Arc<SchedulingClass>, usize)> = steps
        .iter()
        .enumerate()
        .map(|(number, (claim, place))| {
            let key = PodKey::new("default", format!("{number}"));
            (key, with_claim(claim), *place)
        })
        .collect();
    let plan = steps
        .iter()
        .map(|(key, class, place)| (key, class, places[*place]));
    let violations = replay(&mut world, plan);
    let told: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "pod default/2 on a: NodeVolumeLimits",
            "pod default/5 on b: VolumeRestrictions",
        ]
    );
}
