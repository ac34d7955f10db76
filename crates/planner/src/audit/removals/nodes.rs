//! The rules about nodes and groups: whose they are, who asked that they stay, how many are left.

use std::collections::BTreeMap;

use jiff::Timestamp;
use model::{GroupKey, PodRole};

use super::{Findings, is_going};
use crate::{
    lifecycle::{Cordon, RemovalCause, RemovalStep},
    removal::plan::{Candidate, Input, Plan},
};

/// One node by itself.
pub(super) fn judge(input: &Input<'_>, candidate: &Candidate, findings: &mut Findings) {
    let node = Some(&candidate.node);
    let mut hold = |rule, holds: bool, detail: &dyn Fn() -> String| {
        findings.hold(rule, node, holds, detail);
    };
    let brakes = &input.brakes;
    hold("S5", brakes.targeted_delete, &|| {
        "its machine cannot be deleted by identity".into()
    });
    hold("S5", !is_going(input, candidate), &|| {
        "it is being removed already".into()
    });
    hold("S16", candidate.managed, &|| {
        "its group is not managed".into()
    });
    hold("S16", !candidate.control_plane, &|| {
        "it is of the control plane".into()
    });
    hold("S8", candidate.protected_by.is_none(), &|| {
        "it is protected".into()
    });
    hold("E2", !candidate.own, &|| "the leader runs on it".into());
    hold("E8", candidate.startup_taints.is_empty(), &|| {
        "it has startup taints".into()
    });
    hold("E2", brakes.paused.is_none(), &|| {
        "the cluster is paused".into()
    });
    let warm = brakes.warming_up_until.is_none_or(|at| at <= input.now);
    hold("S10", warm, &|| "the leader still looks".into());
    hold("S6", brakes.stale.is_none(), &|| {
        "what is known of the cluster may be old".into()
    });
    let here = input.cluster.nodes.get(&candidate.node);
    hold("S5", here.is_some_and(|node| node.ready), &|| {
        "it is not there, or not Ready".into()
    });
    let ours = |pod: &model::Pod| pod.role == PodRole::Ordinary;
    let occupied =
        (input.cluster.bound.iter()).any(|pod| pod.node() == Some(&candidate.node) && ours(pod));
    hold(
        "S12",
        candidate.cordon != Cordon::Human || !occupied,
        &|| "somebody cordoned it, and pods are on it".into(),
    );
    let Some((key, group)) =
        (candidate.group.as_ref()).and_then(|key| Some((key, input.groups.get(key)?)))
    else {
        hold("S16", false, &|| "its group is not known".into());
        return;
    };
    hold("S2", !brakes.stopped.contains_key(key), &|| {
        "removals of its group are stopped".into()
    });
    hold(
        "E2",
        group.enabled && !group.paused && !group.deleting,
        &|| "its group is disabled, paused or being deleted".into(),
    );
    hold("S18", group.in_flight == 0, &|| {
        "machines of its group are on their way".into()
    });
    let over = |since: Option<Timestamp>, wait: std::time::Duration| {
        since.is_some_and(|since| since.checked_add(wait).is_ok_and(|end| end <= input.now))
    };
    let cool = group.last_scaled_at.is_none() || over(group.last_scaled_at, group.cooldown);
    hold("S18", cool, &|| "its group scaled a short while ago".into());
    hold("E8", over(candidate.ready_at, group.cooldown), &|| {
        "it became Ready a short while ago".into()
    });
    let seen = input.settings.assume_unneeded || over(candidate.unneeded_since, group.window);
    hold("E1", seen, &|| "its window is not over".into());
}

/// All of them together, and with what is going already.
pub(super) fn judge_all(input: &Input<'_>, plan: &Plan, findings: &mut Findings) {
    let mut chosen: BTreeMap<&GroupKey, u32> = BTreeMap::new();
    for (index, one) in plan.remove.iter().enumerate() {
        let before = &plan.remove[..index];
        let twice = (before.iter()).any(|two| two.node == one.node || two.machine == one.machine);
        findings.hold("S5", Some(&one.node), !twice, || {
            "it is chosen twice".into()
        });
        findings.hold("S6", Some(&one.node), one.cause.is_voluntary(), || {
            format!("nobody decides {} here", one.cause.name())
        });
        let pods = input.cluster.bound.iter();
        let occupied = (pods.filter(|pod| pod.role == PodRole::Ordinary))
            .any(|pod| pod.node() == Some(&one.node));
        let called_empty = one.cause == RemovalCause::Empty;
        findings.hold("S6", Some(&one.node), !(called_empty && occupied), || {
            "it is called empty, and a pod is on it".into()
        });
        *chosen.entry(&one.group).or_default() += 1;
    }
    let under_way = |group: Option<&GroupKey>| {
        let all = input.candidates.iter();
        let going = all.filter(|one| match one.removal {
            Some((cause, step)) => cause != RemovalCause::Failed && step != RemovalStep::Gone,
            None => is_going(input, one),
        });
        let same = going.filter(|one| group.is_none() || one.group.as_ref() == group);
        u32::try_from(same.count()).unwrap_or(u32::MAX)
    };
    for (key, count) in &chosen {
        let Some(group) = input.groups.get(*key) else {
            continue;
        };
        let ready = (input.candidates.iter())
            .filter(|one| one.group.as_ref() == Some(key) && one.machine.is_some())
            .filter(|one| !is_going(input, one))
            .filter(|one| (input.cluster.nodes.get(&one.node)).is_some_and(|node| node.ready))
            .count() as u64;
        let left = ready.saturating_sub(u64::from(*count));
        findings.hold("S4", None, left >= u64::from(group.min_nodes), || {
            format!("{left} Ready nodes of group {key} would be left")
        });
        let at_once = u64::from(under_way(Some(key))) + u64::from(*count);
        findings.hold("S17", None, at_once <= u64::from(group.at_once), || {
            format!("{at_once} nodes of group {key} would be under way at once")
        });
    }
    let at_once = u64::from(under_way(None)) + plan.remove.len() as u64;
    let most = u64::from(input.settings.at_once);
    findings.hold("S17", None, at_once <= most, || {
        format!("{at_once} nodes would be under way at once")
    });
    gate(input, &chosen, findings);
    let told = plan.many.is_none() || input.brakes.many_since.is_some();
    findings.hold("S17", None, told, || {
        "many nodes look removable, which was not seen before".into()
    });
}

/// Too many workers that were Ready once are not: of all, or of a group of which some would go.
fn gate(input: &Input<'_>, chosen: &BTreeMap<&GroupKey, u32>, findings: &mut Findings) {
    let (mut nodes, mut unready) = (0_u64, 0_u64);
    let mut groups: BTreeMap<&GroupKey, (u64, u64)> = BTreeMap::new();
    for candidate in &input.candidates {
        let Some(node) = input.cluster.nodes.get(&candidate.node) else {
            continue;
        };
        let starting = candidate.machine.is_some() && candidate.ready_at.is_none();
        // What goes for good is not ill.
        let ends = (candidate.removal).is_some_and(|(_, step)| step >= RemovalStep::DeletingNode);
        if candidate.control_plane || ends || (starting && !node.ready) {
            continue;
        }
        let ill = u64::from(!node.ready);
        nodes += 1;
        unready += ill;
        if let Some(group) = &candidate.group {
            let (nodes, unready) = groups.entry(group).or_default();
            *nodes += 1;
            *unready += ill;
        }
    }
    let shut = unready > 3 && unready * 20 > nodes * 9;
    findings.hold("S20", None, !shut, || {
        format!("{unready} of {nodes} nodes are not Ready")
    });
    groups.retain(|group, _| chosen.contains_key(group));
    for (group, (nodes, unready)) in groups {
        findings.hold("S20", None, unready <= nodes.div_ceil(5), || {
            format!("{unready} of {nodes} nodes of group {group} are not Ready")
        });
    }
}
