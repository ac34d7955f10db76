//! A story for each refusal: the node stays, takes pods, and nothing on it is disturbed; it is told
//! why; and where that can be taken back, the node goes then.

use std::collections::BTreeSet;

use planner::removal::refusal::Refusal;
use serde_json::{Value, json};

use super::ground::{
    Act, Ground, Plan, annotated, budget, config, deployment, pod, running, with_spec, workload,
};
use crate::harness::virtually;

/// How it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    /// By Event, condition and metric.
    Aloud,
    /// By metric only: it passes, or the node is in use.
    Counted,
    /// Not at all: the node is none of ours.
    Not,
}

struct Case {
    reason: &'static str,
    /// What else tells it from another story of the same refusal.
    by: &'static str,
    flags: &'static [&'static str],
    group: Value,
    nodes: u32,
    /// What is put on `spare`; a Deployment of one pod where nothing is.
    pods: Vec<Act>,
    /// What else forbids the removal.
    acts: Vec<Act>,
    /// Whether the group lets a node go at all.
    released: bool,
    told: Told,
    /// What ends the refusal; where nothing is here, nothing can.
    lift: Vec<Act>,
    /// The node takes pods while it stays.
    serves: bool,
}

fn case(reason: &'static str) -> Case {
    Case {
        reason,
        by: "",
        flags: &[],
        group: json!({}),
        nodes: 2,
        pods: vec![Act::Apply(deployment("default", "web", 1, "100m"))],
        acts: vec![],
        released: true,
        told: Told::Aloud,
        lift: vec![],
        serves: true,
    }
}

fn by_wish(
    reason: &'static str,
    key: &'static str,
    value: &'static str,
    lifted: &'static str,
) -> Case {
    let web = annotated(deployment("default", "web", 1, "100m"), &[(key, value)]);
    Case {
        by: key,
        pods: vec![Act::Apply(web)],
        lift: vec![Act::Annotate("default/web", json!({ key: lifted }))],
        ..case(reason)
    }
}

fn by_mark(reason: &'static str, what: &'static str, key: &'static str, value: &str) -> Case {
    Case {
        by: key,
        acts: vec![Act::Mark("@spare", json!({ what: { key: value } }))],
        lift: vec![Act::Mark("@spare", json!({}))],
        ..case(reason)
    }
}

const SAFE: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";

/// What pods say.
fn of_pods() -> Vec<Case> {
    let scratch = json!({"volumes": [{"name": "scratch", "emptyDir": {}}]});
    let data = json!({"volumes": [{"name": "data", "hostPath": {"path": "/srv"}}]});
    let web = || deployment("default", "web", 1, "100m");
    let gone = json!({"ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "name": "was", "uid": "no-such-uid", "controller": true}]});
    let dns = budget("kube-system", "dns", "dns", &json!({"maxUnavailable": 1}));
    vec![
        Case {
            pods: vec![Act::Apply(pod("alone", "100m"))],
            lift: vec![Act::Delete("v1", "Pod", "default", "alone")],
            ..case("BarePod")
        },
        Case {
            pods: vec![Act::Insert(running("left", &gone, &json!({})))],
            lift: vec![Act::Delete("v1", "Pod", "default", "left")],
            ..case("ControllerGone")
        },
        Case {
            by: "emptyDir",
            pods: vec![Act::Apply(with_spec(web(), &scratch))],
            lift: vec![Act::Annotate("default/web", json!({ SAFE: "true" }))],
            ..case("LocalStorage")
        },
        Case {
            by: "hostPath",
            pods: vec![Act::Apply(with_spec(web(), &data))],
            lift: vec![Act::Annotate(
                "default/web",
                json!({ "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes": "data" }),
            )],
            ..case("LocalStorage")
        },
        Case {
            pods: vec![Act::Apply(deployment("kube-system", "dns", 1, "100m"))],
            lift: vec![Act::Apply(dns)],
            ..case("KubeSystemPod")
        },
        by_wish("PodProtected", SAFE, " False ", "true"),
        by_wish(
            "PodProtected",
            "autoscaler.vpsie.com/safe-to-evict",
            "false",
            "true",
        ),
        by_wish(
            "PodProtected",
            "karpenter.sh/do-not-disrupt",
            "true",
            "false",
        ),
        by_wish("PodProtected", "karpenter.sh/do-not-evict", "true", "false"),
        by_wish(
            "PodProtected",
            "autoscaler.vpsie.com/protected",
            "true",
            "false",
        ),
        by_wish(
            "PodProtected",
            "autoscaler.vpsie.com/do-not-disrupt",
            "TRUE",
            "false",
        ),
        Case {
            by: "for two hours",
            pods: vec![Act::Apply(annotated(
                web(),
                &[("karpenter.sh/do-not-disrupt", "2h")],
            ))],
            lift: vec![Act::Wait(100)],
            ..case("PodProtected")
        },
        by_wish("AnnotationNotUnderstood", SAFE, "perhaps", "true"),
        by_wish("OnCompletion", SAFE, "on-completion", "true"),
        Case {
            flags: &["--scale-down-min-replicas=2"],
            lift: vec![Act::Scale("web", 2)],
            ..case("ReplicaFloor")
        },
        Case {
            pods: vec![
                Act::Apply(web()),
                Act::Apply(budget(
                    "default",
                    "web",
                    "web",
                    &json!({"maxUnavailable": 0}),
                )),
            ],
            lift: vec![Act::Delete(
                "policy/v1",
                "PodDisruptionBudget",
                "default",
                "web",
            )],
            ..case("BudgetAllowsNone")
        },
        Case {
            pods: vec![
                Act::Apply(web()),
                Act::Apply(budget(
                    "default",
                    "one",
                    "web",
                    &json!({"maxUnavailable": 1}),
                )),
                Act::Apply(budget(
                    "default",
                    "two",
                    "web",
                    &json!({"maxUnavailable": 1}),
                )),
            ],
            lift: vec![Act::Delete(
                "policy/v1",
                "PodDisruptionBudget",
                "default",
                "two",
            )],
            ..case("SeveralBudgets")
        },
        // A permission, so that what is asked is whether the pod can be understood.
        Case {
            pods: vec![Act::Insert(running(
                "odd",
                &json!({"annotations": { SAFE: "true" }}),
                &json!({"affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "a", "operator": "Near", "values": ["b"]}]},
                ]}}}}),
            ))],
            lift: vec![Act::Delete("v1", "Pod", "default", "odd")],
            ..case("PodInvalid")
        },
        Case {
            pods: vec![Act::Insert(running(
                "device",
                &json!({"annotations": { SAFE: "true" }}),
                &json!({"resourceClaims": [{"name": "gpu", "resourceClaimName": "gpu"}]}),
            ))],
            lift: vec![Act::Delete("v1", "Pod", "default", "device")],
            ..case("RuleNotEvaluated")
        },
    ]
}

/// Whether there is room.
fn of_places() -> Vec<Case> {
    let pinned = json!({"nodeSelector": {"kubernetes.io/hostname": "@spare"}});
    let claim = json!({"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]});
    let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": "disk"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "local": {"path": "/disk"}, "storageClassName": "",
            "claimRef": {"kind": "PersistentVolumeClaim", "namespace": "default", "name": "data"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": ["@spare"]}]}]}}},
        "status": {"phase": "Bound"}});
    let claimed = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "default",
            "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"accessModes": ["ReadWriteOnce"], "volumeName": "disk", "storageClassName": "",
            "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Bound"}});
    let waits = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "slow", "namespace": "default"},
        "spec": {"schedulerName": "slow", "containers": [{"name": "main",
            "image": "registry.example/app:1",
            "resources": {"requests": {"cpu": "1200m", "memory": "64Mi"}}}]},
        "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "lastTransitionTime": "2026-01-05T08:00:00Z"}]}});
    vec![
        Case {
            pods: vec![Act::Apply(with_spec(
                deployment("default", "web", 1, "100m"),
                &pinned,
            ))],
            lift: vec![Act::Delete("apps/v1", "Deployment", "default", "web")],
            ..case("NoPlace")
        },
        // Eight tenths of a CPU fit beside the one that is in use, and not with a fifth more.
        Case {
            pods: vec![Act::Apply(deployment("default", "web", 1, "800m"))],
            lift: vec![Act::Delete("apps/v1", "Deployment", "default", "web")],
            ..case("CapacityBuffer")
        },
        Case {
            pods: vec![
                Act::Insert(volume),
                Act::Insert(claimed),
                Act::Apply(with_spec(deployment("default", "web", 1, "100m"), &claim)),
            ],
            lift: vec![Act::Delete("apps/v1", "Deployment", "default", "web")],
            ..case("PinnedVolume")
        },
        Case {
            acts: vec![Act::Insert(waits)],
            lift: vec![Act::Delete("v1", "Pod", "default", "slow")],
            ..case("NominatedPod")
        },
        Case {
            pods: vec![Act::Apply(deployment("default", "web", 1, "1000m"))],
            told: Told::Counted,
            lift: vec![Act::Delete("apps/v1", "Deployment", "default", "web")],
            ..case("NotUnderutilized")
        },
    ]
}

/// What the node says.
fn of_nodes() -> Vec<Case> {
    let taint = json!([{"key": "example.com/cni", "effect": "NoSchedule"}]);
    vec![
        by_mark(
            "Protected",
            "annotations",
            "autoscaler.vpsie.com/protected",
            "true",
        ),
        by_mark(
            "Protected",
            "labels",
            "autoscaler.vpsie.com/scale-down-disabled",
            "true",
        ),
        by_mark(
            "Protected",
            "annotations",
            "autoscaler.vpsie.com/scale-down",
            "disabled",
        ),
        by_mark(
            "Protected",
            "annotations",
            "cluster-autoscaler.kubernetes.io/scale-down-disabled",
            "true",
        ),
        by_mark(
            "Protected",
            "annotations",
            "karpenter.sh/do-not-disrupt",
            "true",
        ),
        Case {
            by: "UTC",
            lift: vec![Act::Wait(65)],
            ..by_mark(
                "OutsideAllowedHours",
                "annotations",
                "autoscaler.vpsie.com/scale-down-allowed-hours",
                "09:30-10:30",
            )
        },
        Case {
            by: "another time zone",
            lift: vec![Act::Wait(65)],
            ..by_mark(
                "OutsideAllowedHours",
                "annotations",
                "autoscaler.vpsie.com/scale-down-allowed-hours",
                "11:30-12:30 Europe/Helsinki",
            )
        },
        by_mark(
            "HoursNotUnderstood",
            "annotations",
            "autoscaler.vpsie.com/scale-down-allowed-hours",
            "at night",
        ),
        by_mark(
            "ControlPlane",
            "labels",
            "node-role.kubernetes.io/control-plane",
            "",
        ),
        Case {
            acts: vec![Act::Cordon("@spare", true)],
            lift: vec![Act::Scale("web", 0)],
            serves: false,
            ..case("HumanCordon")
        },
        Case {
            flags: &["--startup-timeout=3h"],
            acts: vec![
                Act::Apply(json!({"apiVersion": "v1", "kind": "Node",
                    "metadata": {"name": "@spare"}, "spec": {"taints": taint}})),
                Act::Group(json!({ "startupTaints": taint }), json!({})),
            ],
            lift: vec![Act::Mark("@spare", json!({}))],
            ..case("StartupTaints")
        },
        Case {
            flags: &["--identity=leader-0", "--pod-namespace=default"],
            pods: vec![Act::Apply(workload(
                "StatefulSet",
                "default",
                "leader",
                1,
                "100m",
            ))],
            lift: vec![Act::Delete("apps/v1", "StatefulSet", "default", "leader")],
            ..case("OwnLeader")
        },
        Case {
            acts: vec![Act::NodeStatus(
                "@spare",
                json!({"allocatable": {"cpu": "many"}}),
            )],
            // What of it is in use cannot be told either.
            told: Told::Counted,
            ..case("NodeInvalid")
        },
        Case {
            flags: &["--unhealthy-timeout=3h"],
            acts: vec![Act::Silence("@spare")],
            serves: false,
            ..case("NotReady")
        },
        Case {
            group: json!({"scaleDownPolicy":
                {"stabilizationWindowSeconds": 60, "cooldownSeconds": 3600}}),
            told: Told::Counted,
            lift: vec![Act::Wait(60)],
            ..case("NodeTooYoung")
        },
        Case {
            group: json!({"scaleDownPolicy":
                {"stabilizationWindowSeconds": 3600, "cooldownSeconds": 30}}),
            told: Told::Counted,
            lift: vec![Act::Wait(60)],
            ..case("WindowNotOver")
        },
    ]
}

/// What the group says, or the whole cluster.
fn of_brakes() -> Vec<Case> {
    let pause = json!({"autoscaler.vpsie.com/paused": "true"});
    let stopped = json!({"autoscaler.vpsie.com/removals-stopped": "another machine vanished"});
    let takes_back = || vec![Act::Group(json!({}), json!({}))];
    vec![
        Case {
            released: false,
            lift: takes_back(),
            ..case("AtMinimum")
        },
        Case {
            acts: vec![Act::Group(json!({}), pause.clone())],
            released: false,
            lift: takes_back(),
            ..case("GroupPaused")
        },
        Case {
            acts: vec![Act::Apply(config(&pause))],
            lift: vec![Act::Apply(config(&json!({})))],
            ..case("ClusterPaused")
        },
        Case {
            acts: vec![Act::Group(json!({}), stopped)],
            released: false,
            lift: takes_back(),
            ..case("RemovalsStopped")
        },
        Case {
            acts: vec![Act::Group(
                json!({"scaleDownPolicy": {"enabled": false,
                    "stabilizationWindowSeconds": 60, "cooldownSeconds": 30}}),
                json!({}),
            )],
            released: false,
            lift: takes_back(),
            ..case("ScaleDownDisabled")
        },
        Case {
            flags: &["--joining-timeout=3h"],
            acts: vec![
                Act::NeverJoin,
                Act::Apply(deployment("default", "more", 1, "1850m")),
                Act::Wait(1),
            ],
            ..case("ScaleUpInProgress")
        },
        Case {
            flags: &["--vpsie-targeted-delete=false"],
            ..case("TargetedDeleteUnsupported")
        },
        Case {
            nodes: 4,
            acts: vec![Act::Silence("@others")],
            ..case("HealthGate")
        },
        Case {
            acts: vec![Act::Unmanage],
            released: false,
            told: Told::Not,
            ..case("GroupUnmanaged")
        },
    ]
}

fn cases() -> Vec<Case> {
    [of_pods(), of_places(), of_nodes(), of_brakes()]
        .into_iter()
        .flatten()
        .collect()
}

/// Refusals that another test tells a story of.
const ELSEWHERE: [(&str, &str); 14] = [
    ("BeingRemoved", "joint"),
    ("BudgetSpent", "joint"),
    ("BudgetsUnreadable", "joint"),
    ("CacheStale", "joint"),
    ("CooldownActive", "joint"),
    ("DrainedAlone", "joint"),
    ("EnoughAtOnce", "joint"),
    ("GroupDeleting", "aborts: the group's nodes go, another way"),
    ("ManyRemovable", "joint"),
    ("NoVPSieNode", "joint"),
    ("RemovalInProgress", "joint"),
    ("RoomTaken", "joint"),
    ("TakesPods", "joint"),
    ("WarmingUp", "joint"),
];
/// A node that is not there does not stay.
const NO_NODE: &str = "NodeNotFound";

async fn stays(seed: u64, case: &Case) {
    let what = format!("{} {}", case.reason, case.by);
    let ground = Ground::with(Plan {
        nodes: case.nodes,
        flags: case.flags,
        group: case.group.clone(),
        ..Plan::of(seed)
    })
    .await;
    ground.on_spare(&case.pods).await;
    for act in &case.acts {
        match act {
            Act::Silence("@others") => {
                for other in &ground.others {
                    ground.harness.world.silence(other);
                }
                // Until they are known to be silent.
                ground.harness.minutes(2).await;
            }
            act => ground.act(std::slice::from_ref(act)).await,
        }
    }
    if case.released {
        let group = case.acts.iter().find_map(|act| match act {
            Act::Group(change, _) => Some(change.clone()),
            _ => None,
        });
        ground
            .group(1, &group.unwrap_or_default(), &json!({}))
            .await;
    }
    let paid = ground.harness.paid();
    ground.harness.minutes(25).await;

    let picture = || format!("{what}\n{}", ground.harness.picture());
    assert_eq!(ground.destructive(), 0, "{}", picture());
    assert_eq!(ground.evicted(), [""; 0], "{what}");
    assert_eq!(ground.harness.paid(), paid, "{}", picture());
    assert_eq!(ground.step(), None, "{}", picture());
    if case.serves {
        assert!(ground.serves(&ground.spare), "{}", picture());
    }
    if case.told != Told::Not {
        let metrics = || ground.replica.metrics();
        let blocked = || {
            let lines = metrics();
            let lines = lines.lines().filter(|line| line.contains("blocked_nodes"));
            lines.map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        assert!(
            ground.kept_for(case.reason),
            "{:#?}{}",
            blocked(),
            picture()
        );
    }
    if case.told == Told::Aloud {
        assert!(ground.said_to_stay_for(case.reason), "{}", picture());
    }
    if !case.lift.is_empty() {
        ground.act(&case.lift).await;
        ground.goes(30).await;
        assert_eq!(ground.harness.paid(), paid - 1, "{}", picture());
    }
    ground.replica.stop().await;
}

/// Tells them all, and then which went wrong.
fn tell(seed: u64, cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for (number, case) in (0..).zip(cases) {
        let what = format!("{} {}", case.reason, case.by);
        let story = move || {
            virtually(move || async move { Box::pin(stays(seed + number, &case)).await });
        };
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(story)).is_err() {
            wrong.push(what);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_node_stays_for_what_its_pods_are_or_say_until_that_is_over() {
    tell(2100, of_pods());
}

#[test]
fn a_node_stays_while_its_pods_have_no_place_elsewhere() {
    tell(2200, of_places());
}

#[test]
fn a_node_stays_for_what_it_is_or_says_until_that_is_over() {
    tell(2300, of_nodes());
}

#[test]
fn a_node_stays_for_what_its_group_or_the_cluster_says_until_that_is_over() {
    tell(2400, of_brakes());
}

#[test]
fn every_refusal_there_is_has_its_story() {
    let told: BTreeSet<&str> = (cases().iter().map(|case| case.reason))
        .chain(ELSEWHERE.iter().map(|(name, _)| *name))
        .chain([NO_NODE])
        .collect();
    let all: BTreeSet<&str> = Refusal::examples().iter().map(Refusal::name).collect();
    assert_eq!(told, all);
}
