//! The rules about what is on the nodes: what people say, who would make a pod anew, its data, and
//! the budgets it is under.

use std::collections::BTreeMap;

use model::{Budget, Pod, PodHealth, WorkloadKind};

use super::{Findings, evicted, is_going};
use crate::{
    lifecycle::{RemovalCause, RemovalStep},
    removal::plan::{Chosen, Input, Plan},
};

/// The pods of one node, each by itself.
pub(super) fn judge(input: &Input<'_>, chosen: &Chosen, findings: &mut Findings) {
    let settings = input.settings;
    for pod in evicted(input, &chosen.node) {
        let mut hold = |holds: bool, what: &str| {
            findings.hold("S8", Some(&chosen.node), holds, || {
                format!("pod {}: {what}", pod.key)
            });
        };
        let said = said(pod, input.now);
        hold(said != Said::Stays, "it is not to be disturbed");
        if said == Said::MayGo {
            continue;
        }
        let made_anew = !settings.respect_bare_pods || is_made_anew(input, pod);
        hold(made_anew, "nobody would make it anew");
        let named = (pod.upkeep.wishes)
            .get("cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes")
            .map_or("", AsRef::as_ref);
        let named: Vec<&str> = named.split(',').map(str::trim).collect();
        let lost = (pod.upkeep.local_volumes.iter()).all(|volume| named.contains(&&**volume));
        hold(!settings.respect_local_storage || lost, "it has data here");
        let mut budgets = input.disruption.budgets.iter().flatten();
        let of_system = &*pod.class.namespace == "kube-system";
        let covered = !of_system || budgets.any(|budget| selects(budget, pod));
        hold(
            !settings.respect_kube_system || covered,
            "it is of the system",
        );
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Said {
    Nothing,
    MayGo,
    Stays,
}

/// What the annotations of a pod come to; anything that is not understood keeps it.
fn said(pod: &Pod, now: jiff::Timestamp) -> Said {
    let mut said = Said::Nothing;
    for (key, value) in &pod.upkeep.wishes {
        let value = value.trim().to_lowercase();
        let stays = match &**key {
            "cluster-autoscaler.kubernetes.io/safe-to-evict"
            | "autoscaler.vpsie.com/safe-to-evict" => {
                if value == "true" {
                    said = Said::MayGo;
                }
                value != "true"
            }
            "karpenter.sh/do-not-disrupt" | "autoscaler.vpsie.com/do-not-disrupt" => {
                let length = value.parse::<jiff::SignedDuration>().ok();
                let length = length.filter(|_| !value.starts_with(['-', '+']));
                let begun = pod.started_at.or(pod.created_at);
                let over = length.zip(begun).is_some_and(|(length, begun)| {
                    begun.checked_add(length).is_ok_and(|end| end <= now)
                });
                value != "false" && !over
            }
            "karpenter.sh/do-not-evict" | "autoscaler.vpsie.com/protected" => value != "false",
            _ => false,
        };
        if stays {
            return Said::Stays;
        }
    }
    said
}

fn is_made_anew(input: &Input<'_>, pod: &Pod) -> bool {
    let Some(controller) = &pod.upkeep.controller else {
        return false;
    };
    WorkloadKind::ALL.iter().all(|kind| {
        let same = kind.name() == &*controller.kind;
        let known = input.disruption.workloads.get(kind).filter(|_| same);
        known.is_none_or(|known| !known.complete || known.replicas.contains_key(&controller.uid))
    })
}

fn selects(budget: &Budget, pod: &Pod) -> bool {
    budget.namespace == pod.class.namespace && budget.selector.matches(&pod.class.labels)
}

/// Budgets over everything that goes, and over what is going already.
pub(super) fn judge_budgets(input: &Input<'_>, plan: &Plan, findings: &mut Findings) {
    let Some(budgets) = &input.disruption.budgets else {
        for chosen in &plan.remove {
            let pods = evicted(input, &chosen.node).count();
            findings.hold("S7", Some(&chosen.node), pods == 0, || {
                "it has pods, and budgets cannot be read".into()
            });
        }
        return;
    };
    // By budget: pods, and the nodes they are on.
    let mut spent: BTreeMap<usize, (u64, Vec<&model::NodeName>)> = BTreeMap::new();
    for chosen in &plan.remove {
        for pod in evicted(input, &chosen.node) {
            if pod.health == PodHealth::Starting {
                continue;
            }
            let indices = (0..budgets.len()).filter(|index| selects(&budgets[*index], pod));
            let under: Vec<usize> = indices.collect();
            findings.hold("S7", Some(&chosen.node), under.len() < 2, || {
                format!("pod {} is under {} budgets", pod.key, under.len())
            });
            let unready = pod.health == PodHealth::Unready;
            for index in under {
                let Budget {
                    healthy,
                    unhealthy_always,
                    ..
                } = budgets[index];
                if unready && (healthy || unhealthy_always) {
                    continue;
                }
                let (pods, nodes) = spent.entry(index).or_default();
                *pods += 1;
                if !nodes.contains(&&chosen.node) {
                    nodes.push(&chosen.node);
                }
            }
        }
    }
    // What failed and has no pods left keeps nobody waiting.
    let others = input.candidates.iter().any(|one| {
        let counts = match one.removal {
            Some((cause, step)) => cause != RemovalCause::Failed && step != RemovalStep::Gone,
            None => true,
        };
        is_going(input, one) && (counts || evicted(input, &one.node).next().is_some())
    });
    for (index, (pods, _)) in spent {
        let Budget {
            namespace,
            name,
            allowed,
            ..
        } = &budgets[index];
        findings.hold("S7", None, *allowed > 0, || {
            format!("budget {namespace}/{name} allows no eviction")
        });
        // One node alone may be drained in waves.
        let alone = plan.remove.len() == 1 && !others;
        findings.hold("S7", None, alone || pods <= u64::from(*allowed), || {
            format!("{pods} pods would be evicted under budget {namespace}/{name} of {allowed}")
        });
    }
}
