//! The table of refusals for people: what each means and what they can do about it. One example of
//! every refusal there is stands behind it, so that none is left out.

use std::{collections::BTreeSet, fmt::Write as _};

use jiff::Timestamp;
use model::{GroupKey, PodKey, UnevaluatedRule};

use super::Refusal;
use crate::{
    lifecycle::{RemovalCause, RemovalStep},
    removal::simulation::{Reason, Refusing},
};

/// Every refusal, its meaning and what a user does about it, as a table in Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut text =
        String::from("| Reason | The node stays because | What to do |\n|---|---|---|\n");
    let mut named = BTreeSet::new();
    for refusal in Refusal::examples() {
        if named.insert(refusal.name()) {
            let (meaning, remedy) = advice(&refusal);
            let _ = writeln!(text, "| `{}` | {meaning} | {remedy} |", refusal.name());
        }
    }
    text
}

impl Refusal {
    /// What a user does about it, in Markdown.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        advice(self).1
    }

    /// One of each, in the order in which they are documented.
    #[must_use]
    pub fn examples() -> Vec<Self> {
        let pod = || PodKey::new("shop", "cart-0");
        let until = Timestamp::UNIX_EPOCH;
        let refusing = || Refusing {
            nodes: 3,
            filters: vec![],
        };
        let budget = || "shop/cart".to_owned();
        let reasons = [
            Reason::NodeNotFound,
            Reason::GroupUnmanaged,
            Reason::AtMinimum { min_nodes: 2 },
            Reason::NominatedPod(pod()),
            Reason::PodInvalid {
                pod: pod(),
                detail: "cpu: \"much\"".into(),
            },
            Reason::RuleNotEvaluated {
                pod: pod(),
                rule: UnevaluatedRule::ResourceClaims,
            },
            Reason::BudgetAllowsNone {
                pod: pod(),
                budget: budget(),
            },
            Reason::SeveralBudgets {
                pod: pod(),
                budgets: vec![budget(), "shop/all".into()],
            },
            Reason::CapacityBuffer {
                resource: "cpu".into(),
                wanted: 1200,
                free: 1100,
            },
            Reason::NoPlace {
                pod: pod(),
                refusing: refusing(),
            },
            Reason::RoomTaken {
                pod: pod(),
                refusing: refusing(),
            },
            Reason::TakesPods { of: "n2".into() },
            Reason::BudgetSpent {
                budget: budget(),
                allowed: 1,
            },
            Reason::DrainedAlone {
                budget: budget(),
                allowed: 1,
            },
            Reason::EnoughAtOnce { most: 1 },
        ];
        let mut examples = vec![
            Self::NotUnderutilized {
                resource: "cpu",
                measured: false,
                percent: 61,
                threshold: 50,
            },
            Self::WindowNotOver { until },
            Self::NodeTooYoung { until },
            Self::CooldownActive { until },
            Self::ScaleUpInProgress,
            Self::BeingRemoved {
                cause: RemovalCause::Empty,
                step: RemovalStep::Settling,
            },
            Self::RemovalInProgress("kube-system/n2".into()),
            Self::ScaleDownDisabled,
            Self::GroupPaused,
            Self::ClusterPaused {
                by: "autoscaler.vpsie.com/paused=true".into(),
            },
            Self::GroupDeleting,
            Self::Protected {
                by: "autoscaler.vpsie.com/protected=true".into(),
            },
            Self::OutsideAllowedHours {
                hours: "22:00-06:00".into(),
                until: Some(until),
            },
            Self::HoursNotUnderstood {
                hours: "at night".into(),
                why: "hours are written HH:MM-HH:MM, then perhaps a time zone".into(),
            },
            Self::HumanCordon(pod()),
            Self::StartupTaints("example.com/agent-not-ready".into()),
            Self::NotReady,
            Self::NodeInvalid {
                detail: "no capacity".into(),
            },
            Self::OwnLeader,
            Self::ControlPlane,
            Self::NoVPSieNode,
            Self::BarePod(pod()),
            Self::ControllerGone {
                pod: pod(),
                controller: "ReplicaSet/cart".into(),
            },
            Self::LocalStorage {
                pod: pod(),
                volumes: vec!["scratch".into()],
            },
            Self::KubeSystemPod(pod()),
            Self::PodProtected {
                pod: pod(),
                by: "karpenter.sh/do-not-disrupt=true".into(),
                until: None,
            },
            Self::AnnotationNotUnderstood {
                pod: pod(),
                key: "karpenter.sh/do-not-disrupt".into(),
                value: "yes".into(),
            },
            Self::OnCompletion(pod()),
            Self::ReplicaFloor {
                pod: pod(),
                replicas: 1,
                floor: 2,
            },
            Self::PinnedVolume {
                pod: pod(),
                claim: "data-cart-0".into(),
            },
            Self::BudgetsUnreadable(pod()),
            Self::TargetedDeleteUnsupported,
            Self::WarmingUp { until },
            Self::CacheStale {
                kind: "pods".into(),
            },
            Self::HealthGate {
                group: Some(GroupKey::new("kube-system", "workers")),
                unready: 3,
                nodes: 9,
            },
            Self::ManyRemovable {
                removable: 40,
                nodes: 100,
                until,
            },
            Self::RemovalsStopped {
                why: "machine n3 vanished while n2 was deleted".into(),
            },
        ];
        examples.extend(reasons.map(Self::Simulation));
        examples
    }
}

/// What a refusal means, and what a user does about it.
const fn advice(refusal: &Refusal) -> (&'static str, &'static str) {
    match refusal {
        Refusal::NotUnderutilized { .. } => (
            "its CPU or memory is in use: the larger of what pods ask for (DaemonSet and mirror \
             pods not counted) and what metrics-server measured is not below the threshold",
            "nothing; or raise `scaleDownPolicy.cpuThreshold` or `memoryThreshold`",
        ),
        Refusal::WindowNotOver { .. } => (
            "it has not been unneeded for the whole window without a break",
            "wait; or shorten `scaleDownPolicy.stabilizationWindowSeconds`",
        ),
        Refusal::NodeTooYoung { .. } => (
            "it became Ready less than the cooldown ago",
            "wait; or shorten `scaleDownPolicy.cooldownSeconds`",
        ),
        Refusal::CooldownActive { .. } => (
            "its group grew or shrank less than the cooldown ago",
            "wait; or shorten `scaleDownPolicy.cooldownSeconds`",
        ),
        Refusal::ScaleUpInProgress => (
            "machines of its group are on their way",
            "wait until they are Ready or given up",
        ),
        Refusal::BeingRemoved { .. } => (
            "it does not: it is being removed",
            "look at the status of its VPSieNode",
        ),
        Refusal::RemovalInProgress(_) => (
            "as many nodes as may go at once are being removed",
            "wait; or let more go at once",
        ),
        Refusal::ScaleDownDisabled => (
            "its group is not scaled down",
            "set `scaleDownPolicy.enabled: true`",
        ),
        Refusal::GroupPaused => (
            "its NodeGroup has the annotation `autoscaler.vpsie.com/paused`",
            "remove the annotation",
        ),
        Refusal::ClusterPaused { .. } => (
            "the AutoscalerConfig `default` has the annotation `autoscaler.vpsie.com/paused`",
            "remove the annotation",
        ),
        Refusal::GroupDeleting => (
            "its group is being deleted, which takes its nodes another way",
            "nothing",
        ),
        Refusal::Protected { .. } => (
            "a label or annotation protects it; one whose value means nothing does, too",
            "remove the label or annotation that is named",
        ),
        Refusal::OutsideAllowedHours { .. } => (
            "it may go in certain hours only",
            "wait; or change `autoscaler.vpsie.com/scale-down-allowed-hours`",
        ),
        Refusal::HoursNotUnderstood { .. } => (
            "the annotation with its hours names none",
            "write them as `22:00-06:00` or `22:00-06:00 Europe/Berlin`",
        ),
        Refusal::HumanCordon(_) => (
            "somebody cordoned it, and more than DaemonSet and mirror pods are on it",
            "drain or uncordon it",
        ),
        Refusal::StartupTaints(_) => (
            "a startup taint is still on it: it never began to serve",
            "see why what removes the taint has not done so",
        ),
        Refusal::NotReady => (
            "it is not Ready, and so a matter of its health, not of money",
            "nothing: it is replaced if it stays so",
        ),
        Refusal::NodeInvalid { .. } => {
            ("its Node object cannot be understood", "mend what is named")
        }
        Refusal::OwnLeader => (
            "the replica of this product that leads runs on it",
            "nothing; or let another replica lead",
        ),
        Refusal::ControlPlane => ("it is a node of the control plane", "nothing"),
        Refusal::NoVPSieNode => (
            "no VPSieNode stands for it: it is not ours to take",
            "remove it by hand if it shall go",
        ),
        Refusal::BarePod(_) => (
            "a pod without a controller is on it: nobody would make it anew",
            "give it a controller, delete it, or allow it with \
             `cluster-autoscaler.kubernetes.io/safe-to-evict: \"true\"`",
        ),
        Refusal::ControllerGone { .. } => (
            "the controller of a pod does not exist any more: nobody would make it anew",
            "delete the pod, or allow it with `safe-to-evict: \"true\"`",
        ),
        Refusal::LocalStorage { .. } => (
            "a pod has data on the node (`hostPath`, or `emptyDir` that is not in memory)",
            "name such volumes in `cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes`, \
             or allow it with `safe-to-evict: \"true\"`",
        ),
        Refusal::KubeSystemPod(_) => (
            "a pod of `kube-system` that is of no DaemonSet is on it, and no budget covers it",
            "give it a PodDisruptionBudget, or allow it with `safe-to-evict: \"true\"`",
        ),
        Refusal::PodProtected { .. } => (
            "a pod is not to be disturbed, in one of the spellings of `do-not-disrupt`, \
             `safe-to-evict: \"false\"` and `protected`",
            "remove the annotation that is named",
        ),
        Refusal::AnnotationNotUnderstood { .. } => (
            "an annotation of a pod about its removal has a value that means nothing",
            "write `true`, `false`, or what the annotation knows besides",
        ),
        Refusal::OnCompletion(_) => (
            "a pod has `safe-to-evict: on-completion`",
            "wait until it has finished",
        ),
        Refusal::ReplicaFloor { .. } => (
            "a pod's controller has fewer replicas than those that may be disturbed",
            "raise its replicas, or lower the floor",
        ),
        Refusal::PinnedVolume { .. } => (
            "a volume of a pod can be used on this node only",
            "move the data to another volume",
        ),
        Refusal::BudgetsUnreadable(_) => (
            "PodDisruptionBudgets cannot be read, and a pod on it may be under one",
            "let the product list and watch `poddisruptionbudgets`",
        ),
        Refusal::TargetedDeleteUnsupported => (
            "the cloud cannot delete a machine by its identity, so that another might go",
            "use a provisioning mode that can",
        ),
        Refusal::WarmingUp { .. } => (
            "the replica that leads began to a short while ago, and looks first",
            "wait",
        ),
        Refusal::CacheStale { .. } => (
            "a watch is broken for more than eight seconds, so that what is known may be old",
            "wait; if it lasts, see why the API server ends the product's watches",
        ),
        Refusal::HealthGate { .. } => (
            "more than 45 % and more than three of all workers, or more than a fifth (rounded up) of \
             its group's, are not Ready",
            "see why they are not",
        ),
        Refusal::ManyRemovable { .. } => (
            "more than 30 % and more than three of the Ready nodes look removable at once, which \
             may be a mistake",
            "see whether something that runs there is missing; if it stays so for another window \
             they go one after the other",
        ),
        Refusal::RemovalsStopped { .. } => (
            "another machine than the one that was named vanished",
            "find out why, then remove `autoscaler.vpsie.com/removals-stopped` from the NodeGroup",
        ),
        Refusal::Simulation(reason) => advice_on_reason(reason),
    }
}

const fn advice_on_reason(reason: &Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::NodeNotFound => ("there is no such Node", "nothing"),
        Reason::GroupUnmanaged => (
            "its group is not managed by this product",
            "nothing; or label the NodeGroup `autoscaler.vpsie.com/managed: \"true\"`",
        ),
        Reason::AtMinimum { .. } => (
            "its group has no more Ready nodes than its minimum, those that go before it not \
             counted",
            "lower `minNodes`",
        ),
        Reason::NominatedPod(_) => (
            "a pod that waits is about to be placed on it",
            "wait until it is",
        ),
        Reason::PodInvalid { .. } => (
            "something in a pod on it cannot be understood",
            "mend what is named",
        ),
        Reason::RuleNotEvaluated { .. } => (
            "a pod on it uses a rule of the scheduler that is not evaluated",
            "nothing",
        ),
        Reason::BudgetAllowsNone { .. } => (
            "a budget lets none of its pods be evicted now",
            "wait until more of them are healthy; or loosen the budget",
        ),
        Reason::SeveralBudgets { .. } => (
            "a pod is under more than one budget, so that the API server evicts it never",
            "leave it under one",
        ),
        Reason::CapacityBuffer { .. } => (
            "too little would be free on the nodes that stay: 1.2 times what the pods to move ask \
             for is wanted",
            "nothing; or lower `--scale-down-capacity-buffer`",
        ),
        Reason::NoPlace { .. } => (
            "a pod finds no place on the nodes that stay, by the scheduler's own filters",
            "look at the filters that are named",
        ),
        Reason::RoomTaken { .. } => (
            "it could go alone; but nodes that go before it take the room that a pod needs",
            "wait",
        ),
        Reason::TakesPods { .. } => (
            "it could go alone; but pods of a node that goes before it have their place here",
            "wait",
        ),
        Reason::BudgetSpent { .. } => (
            "it could go alone; but nodes that go before it spend what a budget allows",
            "wait",
        ),
        Reason::DrainedAlone { .. } => (
            "it has more pods under a budget than that allows at once: it is drained in waves, \
             with no other node beside it",
            "wait",
        ),
        Reason::EnoughAtOnce { .. } => (
            "as many nodes go as may go at once",
            "wait; or let more go at once",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the variants of `enum {name}` in a source text.
    fn variants(source: &str, name: &str) -> BTreeSet<String> {
        let (_, rest) = source.split_once(&format!("pub enum {name} {{\n")).unwrap();
        let (body, _) = rest.split_once("\n}\n").unwrap();
        let of_enum = |line: &&str| {
            line.strip_prefix("    ")
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
        };
        body.lines()
            .filter(of_enum)
            .map(|line| {
                line.trim()
                    .split(['(', ' ', ','])
                    .next()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    }

    #[test]
    fn there_is_an_example_and_a_row_of_every_refusal_under_its_own_name() {
        let mut all = variants(include_str!("../refusal.rs"), "Refusal");
        assert!(all.remove("Simulation"));
        let reasons = variants(include_str!("../simulation/verdict.rs"), "Reason");
        assert!(all.is_disjoint(&reasons), "a name means one thing");
        all.extend(reasons);
        assert!(all.len() > 45, "{all:?}");
        let examples = Refusal::examples();
        let named: BTreeSet<String> = examples.iter().map(|one| one.name().into()).collect();
        assert_eq!(named, all);
        assert_eq!(examples.len(), all.len(), "each once");
        let table = markdown();
        assert_eq!(table.lines().count(), all.len() + 2);
        for name in &all {
            assert!(table.contains(&format!("| `{name}` | ")), "{name}");
        }
    }

    #[test]
    fn every_refusal_that_names_a_pod_says_which() {
        for refusal in Refusal::examples() {
            let text = refusal.to_string();
            assert!(!text.is_empty() && !text.ends_with('.'), "{text}");
            if let Some(pod) = refusal.pod() {
                assert!(text.contains(&pod.to_string()), "{text}");
            } else {
                assert!(!text.contains("shop/cart-0"), "{text}");
            }
        }
    }
}
