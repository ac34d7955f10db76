//! One refusal after the other: a node with one pod would go, but for one thing; and it goes where
//! that thing is just not so.

use std::{collections::BTreeSet, time::Duration};

use model::{
    NodeSelectorTerm, Operator, PodHealth, PodKey, PodRole, Requirement, Taint, TaintEffect, Uid,
    UnevaluatedRule, Usage, WorkloadKind,
    storage::{Claim, ClaimUse, Volume},
};
use planner::{
    lifecycle::{Cordon, RemovalCause, RemovalStep},
    removal::{
        plan::explain,
        refusal::Refusal,
        simulation::{Reason, Refusing},
    },
};

use super::*;

type Change = fn(&mut Case);

/// `n1` has a pod of a tenth of a CPU and would go; there is room on somebody else's node.
fn case() -> Case {
    Case::of(&["n1"]).foreign("host").runs("p", "n1", 100)
}

fn p() -> PodKey {
    PodKey::new("a", "p")
}

fn measured(case: &mut Case, cpu_milli: i64, memory: i64, second: i64) {
    let usage = Usage {
        cpu_milli,
        memory,
        at: at(second),
    };
    case.disruption.usage.insert("n1".into(), usage);
}

fn used(resource: &'static str, measured: bool) -> Refusal {
    Refusal::NotUnderutilized {
        resource,
        measured,
        percent: 50,
        threshold: 50,
    }
}

fn going(case: &mut Case, cause: RemovalCause, step: RemovalStep) {
    case.add("n2");
    case.on("n2").removal = Some((cause, step));
}

fn system(case: &mut Case) {
    let pod = case.last();
    pod.key = PodKey::new("kube-system", "p");
    class(pod).namespace = "kube-system".into();
}

fn say(case: &mut Case, key: &str, value: &str) {
    wish(case.last(), key, value);
}

const SAFE: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";

/// The pod's volume can be used where a node is called one of these.
fn pinned(case: &mut Case, names: &[&str]) {
    let owner = ClaimUse {
        name: "data".into(),
        owner: None,
    };
    class(case.last()).claims = vec![owner];
    let storage = &mut Arc::make_mut(&mut case.cluster.surroundings).storage;
    let claim = Claim {
        volume: Some("pv".into()),
        bind_completed: true,
        ..Claim::default()
    };
    storage.claims.insert(("a".into(), "data".into()), claim);
    let terms = vec![NodeSelectorTerm {
        match_expressions: vec![Requirement {
            key: HOSTNAME.into(),
            operator: Operator::In,
            values: names.iter().map(|name| Arc::from(*name)).collect(),
        }],
        match_fields: vec![],
    }];
    let volume = Volume {
        node_affinity: Some(terms),
        ..Volume::default()
    };
    storage.volumes.insert("pv".into(), volume);
}

/// So many nodes of somebody else that are not Ready, and so many that are.
fn ill(case: &mut Case, unready: usize, ready: usize) {
    for index in 0..unready + ready {
        let name = format!("other-{index}");
        *case = case.clone().foreign(&name);
        case.node(&name).ready = index >= unready;
    }
}

/// What keeps the node, by what; and what nearly does.
fn cases() -> Vec<(Refusal, Change, Change)> {
    let no_place = |nodes, filter| {
        Refusal::Simulation(Reason::NoPlace {
            pod: p(),
            refusing: Refusing {
                nodes,
                filters: vec![(filter, nodes)],
            },
        })
    };
    vec![
        (
            used("cpu", false),
            |case| class(case.last()).requests.cpu_milli = 500,
            |case| class(case.last()).requests.cpu_milli = 499,
        ),
        (
            used("memory", false),
            |case| class(case.last()).requests.memory = 8 * GIB,
            |case| class(case.last()).requests.memory = 8 * GIB - 1,
        ),
        (
            used("cpu", true),
            |case| measured(case, 500, 0, 700),
            |case| measured(case, 500, 0, 699), // more than five minutes old
        ),
        (
            used("memory", true),
            |case| measured(case, 0, 8 * GIB, 1000),
            |case| measured(case, 499, 8 * GIB - 1, 1000),
        ),
        (
            // DaemonSet pods and those that are ending leave with the node, empty ones always may.
            used("cpu", false),
            |case| class(case.last()).requests.cpu_milli = 500,
            |case| {
                case.run("daemon", "n1", 900).role = PodRole::DaemonSet;
                case.run("mirror", "n1", 900).role = PodRole::Mirror;
                case.run("ending", "n1", 900).terminating = Some(at(1010));
            },
        ),
        (
            used("cpu", true),
            |case| measured(case, 500, 0, 1000),
            |case| {
                measured(case, 990, 15 * GIB, 1000);
                case.last().role = PodRole::DaemonSet;
            },
        ),
        (
            Refusal::WindowNotOver { until: at(1001) },
            |case| case.on("n1").unneeded_since = Some(at(401)),
            |case| case.on("n1").unneeded_since = Some(at(400)),
        ),
        (
            Refusal::WindowNotOver { until: at(1600) },
            |case| case.on("n1").unneeded_since = None,
            |case| case.group().window = Duration::ZERO,
        ),
        (
            // One sample is no window, even where that is of nothing.
            Refusal::WindowNotOver { until: at(1000) },
            |case| {
                case.on("n1").unneeded_since = None;
                case.group().window = Duration::ZERO;
            },
            |case| {
                case.on("n1").unneeded_since = Some(at(1000));
                case.group().window = Duration::ZERO;
            },
        ),
        (
            Refusal::NodeTooYoung { until: at(1001) },
            |case| case.on("n1").ready_at = Some(at(401)),
            |case| case.on("n1").ready_at = Some(at(0)),
        ),
        (
            Refusal::NodeTooYoung { until: at(1600) },
            |case| case.on("n1").ready_at = None,
            |_| {},
        ),
        (
            Refusal::CooldownActive { until: at(1001) },
            |case| case.group().last_scaled_at = Some(at(401)),
            |case| case.group().last_scaled_at = None,
        ),
        (
            Refusal::ScaleUpInProgress,
            |case| case.group().in_flight = 1,
            |case| {
                let other = Group {
                    in_flight: 3,
                    ..super::group()
                };
                case.groups.insert(key("h"), other);
            },
        ),
        (
            Refusal::RemovalInProgress("kube-system/n2".into()),
            |case| going(case, RemovalCause::Deleted, RemovalStep::DeletingMachine),
            |case| going(case, RemovalCause::Failed, RemovalStep::DeletingMachine),
        ),
        (
            Refusal::RemovalInProgress("kube-system/n2".into()),
            |case| going(case, RemovalCause::Empty, RemovalStep::Cordoning),
            |case| going(case, RemovalCause::Empty, RemovalStep::Gone),
        ),
        (
            Refusal::RemovalInProgress("kube-system/n2".into()),
            |case| {
                // It goes for certain, although nobody has begun with it yet.
                case.add("n2");
                case.leaving.insert("n2".into());
            },
            |case| {
                going(case, RemovalCause::Deleted, RemovalStep::Draining);
                case.settings.at_once = 2;
            },
        ),
        (
            Refusal::ScaleDownDisabled,
            |case| case.group().enabled = false,
            |_| {},
        ),
        (
            Refusal::GroupPaused,
            |case| case.group().paused = true,
            |_| {},
        ),
        (
            Refusal::ClusterPaused {
                by: "a note".into(),
            },
            |case| case.brakes.paused = Some("a note".into()),
            |_| {},
        ),
        (
            Refusal::GroupDeleting,
            |case| case.group().deleting = true,
            |_| {},
        ),
        (
            Refusal::Protected {
                by: "l=true".into(),
            },
            |case| case.on("n1").protected_by = Some("l=true".into()),
            |_| {},
        ),
        (
            // It is 00:16:40 in Greenwich.
            Refusal::OutsideAllowedHours {
                hours: "00:17-02:00".into(),
                until: Some(at(17 * 60)),
            },
            |case| case.on("n1").allowed_hours = Some("00:17-02:00".into()),
            |case| case.on("n1").allowed_hours = Some("23:00-00:17".into()),
        ),
        (
            Refusal::OutsideAllowedHours {
                hours: "00:00-01:00 Europe/Berlin".into(),
                until: Some(at(23 * 3600)),
            },
            |case| case.on("n1").allowed_hours = Some("00:00-01:00 Europe/Berlin".into()),
            |case| case.on("n1").allowed_hours = Some("01:00-02:00 Europe/Berlin".into()),
        ),
        (
            Refusal::HoursNotUnderstood {
                hours: "at night".into(),
                why: "hours are written HH:MM-HH:MM, then perhaps a time zone".into(),
            },
            |case| case.on("n1").allowed_hours = Some("at night".into()),
            |case| case.on("n1").allowed_hours = Some("00:00-24:00".into()),
        ),
        (
            Refusal::HumanCordon(p()),
            |case| case.on("n1").cordon = Cordon::Human,
            |case| {
                case.on("n1").cordon = Cordon::Human;
                case.last().role = PodRole::DaemonSet;
            },
        ),
        (
            Refusal::HumanCordon(p()),
            |case| {
                case.on("n1").cordon = Cordon::Human;
                case.last().terminating = Some(at(1010));
            },
            |case| case.last().terminating = Some(at(1010)),
        ),
        (
            Refusal::StartupTaints("agent".into()),
            |case| case.on("n1").startup_taints = vec!["agent".into()],
            |_| {},
        ),
        (
            Refusal::NotReady,
            |case| case.node("n1").ready = false,
            |_| {},
        ),
        (
            Refusal::NodeInvalid {
                detail: "no capacity".into(),
            },
            |case| case.node("n1").defect = Some("no capacity".into()),
            |_| {},
        ),
        (Refusal::OwnLeader, |case| case.on("n1").own = true, |_| {}),
        (
            Refusal::ControlPlane,
            |case| case.on("n1").control_plane = true,
            |_| {},
        ),
        (
            Refusal::NoVPSieNode,
            |case| case.on("n1").machine = None,
            |_| {},
        ),
        (
            Reason::GroupUnmanaged.into(),
            |case| case.on("n1").managed = false,
            |_| {},
        ),
        (
            Reason::GroupUnmanaged.into(),
            |case| case.groups.clear(),
            |_| {},
        ),
        (
            Reason::NodeNotFound.into(),
            |case| {
                case.cluster.nodes.remove(&NodeName::from("n1"));
            },
            |_| {},
        ),
        (
            Refusal::BarePod(p()),
            |case| upkeep(case.last()).controller = None,
            |case| {
                upkeep(case.last()).controller = None;
                say(case, SAFE, " TRUE");
            },
        ),
        (
            Refusal::BarePod(p()),
            |case| upkeep(case.last()).controller = None,
            |case| {
                upkeep(case.last()).controller = None;
                case.settings.respect_bare_pods = false;
            },
        ),
        (
            Refusal::ControllerGone {
                pod: p(),
                controller: "ReplicaSet/web".into(),
            },
            |case| {
                upkeep(case.last()).controller.as_mut().unwrap().uid = Uid::new("old");
            },
            |case| {
                upkeep(case.last()).controller.as_mut().unwrap().uid = Uid::new("old");
                let workloads = &mut case.disruption.workloads;
                let sets = workloads.get_mut(&WorkloadKind::ReplicaSet).unwrap();
                sets.complete = false;
            },
        ),
        (
            Refusal::ControllerGone {
                pod: p(),
                controller: "StatefulSet/web".into(),
            },
            |case| {
                upkeep(case.last()).controller.as_mut().unwrap().kind = "StatefulSet".into();
                let none = Workloads {
                    complete: true,
                    ..Workloads::default()
                };
                case.disruption.workloads = [(WorkloadKind::StatefulSet, none)].into();
            },
            // Of what cannot be read it is not said that it is gone.
            |case| upkeep(case.last()).controller.as_mut().unwrap().kind = "CloneSet".into(),
        ),
        (
            Refusal::LocalStorage {
                pod: p(),
                volumes: vec!["data".into()],
            },
            |case| {
                upkeep(case.last()).local_volumes = vec!["cache".into(), "data".into()];
                say(case, planner::removal::wishes::LOCAL_VOLUMES, "cache");
            },
            |case| {
                upkeep(case.last()).local_volumes = vec!["cache".into(), "data".into()];
                say(case, planner::removal::wishes::LOCAL_VOLUMES, "data, cache");
            },
        ),
        (
            Refusal::LocalStorage {
                pod: p(),
                volumes: vec!["data".into()],
            },
            |case| upkeep(case.last()).local_volumes = vec!["data".into()],
            |case| {
                upkeep(case.last()).local_volumes = vec!["data".into()];
                case.settings.respect_local_storage = false;
            },
        ),
        (
            Refusal::KubeSystemPod(PodKey::new("kube-system", "p")),
            system,
            |case| {
                system(case);
                case.budget("web", 1).namespace = "kube-system".into();
            },
        ),
        (
            Refusal::KubeSystemPod(PodKey::new("kube-system", "p")),
            |case| {
                system(case);
                case.budget("web", 1);
            },
            |case| {
                system(case);
                say(case, SAFE, "true");
            },
        ),
        (
            Refusal::KubeSystemPod(PodKey::new("kube-system", "p")),
            system,
            |case| {
                system(case);
                case.settings.respect_kube_system = false;
            },
        ),
        (
            Refusal::PodProtected {
                pod: p(),
                by: "karpenter.sh/do-not-disrupt=1001s".into(),
                until: Some(at(1001)),
            },
            |case| say(case, "karpenter.sh/do-not-disrupt", "1001s"),
            |case| say(case, "karpenter.sh/do-not-disrupt", "1000s"),
        ),
        (
            Refusal::PodProtected {
                pod: p(),
                by: format!("{SAFE}=false"),
                until: None,
            },
            |case| say(case, SAFE, "false"),
            |case| {
                say(case, SAFE, "false");
                case.last().role = PodRole::DaemonSet;
            },
        ),
        (
            Refusal::AnnotationNotUnderstood {
                pod: p(),
                key: SAFE.into(),
                value: "tru".into(),
            },
            |case| say(case, SAFE, "tru"),
            |case| {
                say(case, SAFE, "tru");
                case.last().terminating = Some(at(1001));
            },
        ),
        (
            Refusal::OnCompletion(p()),
            |case| say(case, SAFE, "on-completion"),
            |case| {
                say(case, SAFE, "on-completion");
                case.last().role = PodRole::Mirror;
            },
        ),
        (
            Refusal::ReplicaFloor {
                pod: p(),
                replicas: 3,
                floor: 4,
            },
            |case| case.settings.min_replicas = 4,
            |case| case.settings.min_replicas = 3,
        ),
        (
            Refusal::ReplicaFloor {
                pod: p(),
                replicas: 3,
                floor: 4,
            },
            |case| {
                case.settings.min_replicas = 4;
                say(case, SAFE, "true");
            },
            |case| {
                case.settings.min_replicas = 4;
                upkeep(case.last()).controller.as_mut().unwrap().kind = "Job".into();
            },
        ),
        (
            Refusal::PinnedVolume {
                pod: p(),
                claim: "data".into(),
            },
            |case| pinned(case, &["n1"]),
            |case| pinned(case, &["n1", "host"]),
        ),
        (
            Refusal::BudgetsUnreadable(p()),
            |case| case.disruption.budgets = None,
            |case| {
                case.disruption.budgets = None;
                case.last().role = PodRole::DaemonSet;
            },
        ),
        (
            Refusal::TargetedDeleteUnsupported,
            |case| case.brakes.targeted_delete = false,
            |_| {},
        ),
        (
            Refusal::WarmingUp { until: at(1001) },
            |case| case.brakes.warming_up_until = Some(at(1001)),
            |case| case.brakes.warming_up_until = Some(at(1000)),
        ),
        (
            Refusal::CacheStale {
                kind: "pods".into(),
            },
            |case| case.brakes.stale = Some("pods".into()),
            |_| {},
        ),
        (
            Refusal::HealthGate {
                group: None,
                unready: 5,
                nodes: 11,
            },
            |case| ill(case, 5, 4),
            |case| ill(case, 4, 4),
        ),
        (
            Refusal::HealthGate {
                group: Some(key("g")),
                unready: 2,
                nodes: 3,
            },
            |case| {
                ill(case, 2, 0);
                case.on("other-0").group = Some(key("g"));
                case.on("other-1").group = Some(key("g"));
            },
            |case| {
                ill(case, 2, 0);
                case.on("other-0").group = Some(key("g"));
                case.on("other-1").group = Some(key("h"));
            },
        ),
        (
            Refusal::HealthGate {
                group: None,
                unready: 5,
                nodes: 10,
            },
            |case| {
                ill(case, 5, 6);
                for index in 5..8 {
                    case.on(&format!("other-{index}")).control_plane = true;
                }
            },
            |case| {
                // What was never Ready is on its way.
                ill(case, 5, 0);
                for index in 0..5 {
                    let name = format!("other-{index}");
                    case.on(&name).machine = Some(format!("kube-system/{name}"));
                    case.on(&name).ready_at = None;
                }
            },
        ),
        (
            Refusal::RemovalsStopped { why: "n9".into() },
            |case| case.brakes.stopped = [(key("g"), "n9".into())].into(),
            |case| case.brakes.stopped = [(key("h"), "n9".into())].into(),
        ),
        (
            Reason::BudgetAllowsNone {
                pod: p(),
                budget: "a/web-0".into(),
            }
            .into(),
            |case| {
                case.budget("web", 0);
            },
            |case| {
                case.budget("web", 1);
                case.budget("other", 0);
            },
        ),
        (
            Reason::BudgetAllowsNone {
                pod: p(),
                budget: "a/web-0".into(),
            }
            .into(),
            |case| {
                case.budget("web", 0);
                case.last().health = PodHealth::Unready;
            },
            |case| {
                case.budget("web", 0).healthy = true;
                case.last().health = PodHealth::Unready;
            },
        ),
        (
            Reason::BudgetAllowsNone {
                pod: p(),
                budget: "a/web-0".into(),
            }
            .into(),
            |case| case.budget("web", 0).unhealthy_always = true,
            |case| {
                case.budget("web", 0).unhealthy_always = true;
                case.last().health = PodHealth::Unready;
            },
        ),
        (
            Reason::SeveralBudgets {
                pod: p(),
                budgets: vec!["a/web-0".into(), "a/web-1".into()],
            }
            .into(),
            |case| {
                case.budget("web", 9);
                case.budget("web", 9).unhealthy_always = true;
                case.last().health = PodHealth::Unready;
            },
            |case| {
                case.budget("web", 0);
                case.budget("web", 0);
                case.last().health = PodHealth::Starting;
            },
        ),
        (
            Reason::AtMinimum { min_nodes: 1 }.into(),
            |case| case.group().min_nodes = 1,
            |case| {
                case.group().min_nodes = 1;
                case.add("n2");
                case.on("n2").protected_by = Some("somebody".into());
            },
        ),
        (
            // Neither those that are not Ready count, nor those that go.
            Reason::AtMinimum { min_nodes: 1 }.into(),
            |case| {
                case.group().min_nodes = 1;
                case.settings.at_once = 9;
                going(case, RemovalCause::Unhealthy, RemovalStep::Draining);
                case.add("n3");
                case.node("n3").ready = false;
            },
            |case| case.settings.at_once = 9,
        ),
        (
            Reason::NominatedPod(PodKey::new("a", "w")).into(),
            |case| {
                *case = case.clone().waits("w", 850).runs("q", "host", 200);
            },
            |case| {
                *case = case.clone().waits("w", 800).runs("q", "host", 10);
            },
        ),
        (
            Reason::CapacityBuffer {
                resource: "cpu".into(),
                wanted: 120,
                free: 119,
            }
            .into(),
            |case| *case = case.clone().runs("q", "host", 881),
            |case| *case = case.clone().runs("q", "host", 880),
        ),
        (
            no_place(1, scheduling::Filter::TaintToleration),
            |case| {
                let taint = Taint {
                    key: "k".into(),
                    value: "".into(),
                    effect: TaintEffect::NoSchedule,
                };
                Arc::make_mut(&mut case.node("host").shape).taints = vec![taint];
            },
            |case| {
                let taint = Taint {
                    key: "k".into(),
                    value: "".into(),
                    effect: TaintEffect::PreferNoSchedule,
                };
                Arc::make_mut(&mut case.node("host").shape).taints = vec![taint];
            },
        ),
        (
            Reason::PodInvalid {
                pod: p(),
                detail: "cpu".into(),
            }
            .into(),
            |case| class(case.last()).defect = Some("cpu".into()),
            |_| {},
        ),
        (
            Reason::RuleNotEvaluated {
                pod: p(),
                rule: UnevaluatedRule::ResourceClaims,
            }
            .into(),
            |case| {
                class(case.last()).unevaluated = [UnevaluatedRule::ResourceClaims].into();
            },
            |_| {},
        ),
    ]
}

#[test]
fn each_thing_that_forbids_it_keeps_the_node_and_what_is_nearly_so_does_not() {
    assert_eq!(case().removed(), ["n1"]);
    for (expected, spoil, nearly) in cases() {
        let spoiled = case().with(spoil);
        assert_eq!(spoiled.removed(), [""; 0], "{expected}");
        let why = spoiled.why("n1");
        assert!(why.contains(&expected), "{expected}: {why:?}");
        let nearly = case().with(nearly);
        assert_eq!(
            nearly.removed(),
            ["n1"],
            "{expected}: {:?}",
            nearly.why("n1")
        );
    }
}

#[test]
fn one_thing_that_forbids_it_is_told_as_that_one_thing() {
    // A node whose group is not known has no minimum, and so on: these bring others with them.
    let alone = |refusal: &Refusal| {
        !matches!(
            refusal.name(),
            "NotReady" | "NodeInvalid" | "NoPlace" | "PodInvalid" | "RuleNotEvaluated"
        )
    };
    for (expected, spoil, _) in cases() {
        let why = case().with(spoil).why("n1");
        if alone(&expected) {
            assert_eq!(why, [expected]);
        }
    }
}

#[test]
fn every_refusal_is_one_that_some_test_brings_about() {
    let mut named: BTreeSet<&str> = cases().iter().map(|(refusal, ..)| refusal.name()).collect();
    // In `joint.rs` and `windows.rs`, and in the simulation's own tests.
    named.extend([
        "BeingRemoved",
        "ManyRemovable",
        "RoomTaken",
        "TakesPods",
        "BudgetSpent",
        "DrainedAlone",
        "EnoughAtOnce",
    ]);
    let all: BTreeSet<&str> = Refusal::examples().iter().map(Refusal::name).collect();
    assert_eq!(named, all);
}

#[test]
fn every_reason_is_told_and_not_only_the_first() {
    let case = case().with(|case| {
        case.on("n1").protected_by = Some("l=true".into());
        case.group().enabled = false;
        upkeep(case.last()).controller = None;
        upkeep(case.last()).local_volumes = vec!["data".into()];
        say(case, SAFE, "false");
        case.run("q", "n1", 10);
        upkeep(case.last()).controller = None;
    });
    assert_eq!(
        case.names("n1"),
        [
            "Protected",
            "ScaleDownDisabled",
            "PodProtected",
            "BarePod",
            "LocalStorage",
            "BarePod"
        ]
    );
}

#[test]
fn asked_to_explain_it_says_too_whether_the_pods_of_a_kept_node_would_find_places() {
    let case = case().with(|case| {
        case.on("n1").unneeded_since = None;
        case.node("host").ready = false;
        case.budget("web", 0);
    });
    assert_eq!(case.names("n1"), ["WindowNotOver"]);
    let alone = explain(&case.input()).nodes;
    let names = |node: &str| -> Vec<&str> {
        let said = &alone[&NodeName::from(node)];
        said.refusals.iter().map(Refusal::name).collect()
    };
    let expected = [
        "WindowNotOver",
        "BudgetAllowsNone",
        "CapacityBuffer",
        "NoPlace",
    ];
    assert_eq!(names("n1"), expected);
    // Of nodes that are not ours it says no more than that.
    let foreign = ["NoVPSieNode", "GroupUnmanaged", "NotReady"];
    assert_eq!(names("host"), foreign);
    let free = self::case();
    let said = explain(&free.input()).nodes;
    let n1 = &said[&NodeName::from("n1")];
    assert_eq!(
        (&n1.refusals[..], &n1.moves[..]),
        (&[][..], &[(p(), "host".into())][..])
    );
}

#[test]
fn with_the_evidence_taken_as_given_the_rules_of_safety_alone_answer() {
    let case = case().with(|case| {
        case.on("n1").unneeded_since = None;
        class(case.last()).requests.cpu_milli = 700;
        case.settings.assume_unneeded = true;
    });
    assert_eq!(case.removed(), ["n1"]);
    let case = case.with(|case| upkeep(case.last()).controller = None);
    assert_eq!(case.why("n1"), [Refusal::BarePod(p())]);
}
