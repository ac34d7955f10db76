//! NodeGroups, in JSON (docs/explain.md describes it, and it is stable) and for people: how each
//! stands, what becomes of each of its nodes, and which pending pods it cannot help.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::Arc,
};

use intake::dump::Dump;
use jiff::Timestamp;
use model::{GroupKey, HourlyPrice, NodeName, Pod, PodKey, PodState, SchedulingClass};
use serde::Serialize;

use super::{
    advice,
    answer::{VERSION, Verdict},
    cluster::{Cluster, Offer},
    fate::{Evidence, Fate, Fates},
    nodes::{self, NodeRow},
    words::{listed, money},
};
use crate::offline::{self, Catalogue, ReadGroup, reason::Reason};

/// Names of one line.
const NAMES: usize = 5;

/// The groups of a dump, with all that is said of them.
pub(super) struct Groups {
    read: Vec<ReadGroup>,
    fates: Fates,
    cluster: Cluster,
    /// Pods that a machine could help.
    pending: Vec<Arc<Pod>>,
}

/// Pods that no machine of a group would take, and why, by offering: equal pods together.
type Refused<'a> = Vec<(&'a [PodKey], Vec<(&'a Offer, &'a Vec<Reason>)>)>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupRow<'a> {
    group: String,
    managed: bool,
    deleting: bool,
    paused: bool,
    stopped: Option<&'a str>,
    scale_down: bool,
    min_nodes: u32,
    max_nodes: u32,
    ready: usize,
    in_flight: Vec<&'a str>,
    cooldown_until: Option<String>,
    problems: Vec<ProblemRow>,
    nodes: Vec<NodeRow<'a>>,
    savings: Option<String>,
    pending: Vec<PendingRow<'a>>,
}

#[derive(Serialize)]
struct ProblemRow {
    reason: &'static str,
    detail: String,
}

#[derive(Serialize)]
struct PendingRow<'a> {
    pod: String,
    offerings: Vec<OfferingRow<'a>>,
}

#[derive(Serialize)]
struct OfferingRow<'a> {
    offering: &'a str,
    #[serde(flatten)]
    verdict: Verdict,
}

impl Groups {
    /// Judges the nodes of a dump, and its pending pods on machines that the groups could get.
    pub(super) fn new(
        dump: Dump,
        catalogue: Option<&Catalogue>,
        evidence: Evidence,
        is_live: bool,
    ) -> Self {
        let groups = offline::groups(&dump, catalogue);
        let helped = |pod: &&Arc<Pod>| {
            let waits = matches!(pod.state, PodState::Unschedulable(_) | PodState::Waiting);
            waits && pod.terminating.is_none()
        };
        let pending: Vec<Arc<Pod>> = dump.waiting.iter().filter(helped).cloned().collect();
        let cluster = Cluster::new(dump.clone(), &pending, catalogue);
        Self {
            fates: Fates::new(dump, &groups, evidence, is_live),
            read: groups,
            cluster,
            pending,
        }
    }

    /// Writes the answer on one line.
    pub(super) fn write(&mut self, asked: &[GroupKey], out: &mut impl Write) -> io::Result<()> {
        write!(out, "{{\"version\":{VERSION},\"groups\":[")?;
        let judged = judged(&mut self.cluster, &self.pending);
        for (index, group) in self.asked(asked).enumerate() {
            if index > 0 {
                out.write_all(b",")?;
            }
            serde_json::to_writer(&mut *out, &self.row(group, &judged))?;
        }
        out.write_all(b"]}\n")
    }

    /// Writes the advice on each group.
    pub(super) fn advise(&mut self, asked: &[GroupKey], out: &mut impl Write) -> io::Result<()> {
        nodes::as_of(&self.fates, out)?;
        if asked.is_empty() {
            return writeln!(out, "\nThere is no NodeGroup.");
        }
        let judged = judged(&mut self.cluster, &self.pending);
        for group in self.asked(asked) {
            writeln!(out)?;
            self.standing(group, out)?;
            self.nodes_of(group, out)?;
            self.saved(group, out)?;
            self.refused(group, &judged, out)?;
        }
        Ok(())
    }

    fn asked<'a>(&'a self, asked: &'a [GroupKey]) -> impl Iterator<Item = &'a ReadGroup> {
        let groups = self.read.iter();
        groups.filter(|group| asked.contains(&group.input.key))
    }

    fn row<'a>(&'a self, group: &'a ReadGroup, judged: &'a Judged) -> GroupRow<'a> {
        let key = &group.input.key;
        let facts = self.fates.groups.get(key);
        let mut pending: Vec<PendingRow<'_>> = Vec::new();
        for (pods, offers) in self.turned_away(key, judged) {
            pending.extend(pods.iter().map(|pod| {
                PendingRow {
                    pod: pod.to_string(),
                    offerings: offers
                        .iter()
                        .map(|(offer, reasons)| OfferingRow {
                            offering: &offer.offering,
                            verdict: Verdict::of(reasons),
                        })
                        .collect(),
                }
            }));
        }
        pending.sort_by(|a, b| a.pod.cmp(&b.pod));
        GroupRow {
            group: key.to_string(),
            managed: group.object.is_managed(),
            deleting: group.input.deleting,
            paused: facts.is_some_and(|facts| facts.paused),
            stopped: self.fates.stopped.get(key).map(String::as_str),
            scale_down: facts.is_some_and(|facts| facts.enabled),
            min_nodes: group.input.min_nodes,
            max_nodes: group.input.max_nodes,
            ready: self.ready(key),
            in_flight: machines(group),
            cooldown_until: self.cooldown(key).map(|until| until.to_string()),
            problems: (group.problems.iter())
                .map(|problem| ProblemRow {
                    reason: problem.name(),
                    detail: problem.to_string(),
                })
                .collect(),
            nodes: (self.fates_of(key))
                .map(|(node, fate)| NodeRow::new(node, fate))
                .collect(),
            savings: self.savings(key).map(|saved| saved.to_string()),
            pending,
        }
    }

    fn fates_of<'a>(
        &'a self,
        group: &'a GroupKey,
    ) -> impl Iterator<Item = (&'a NodeName, &'a Fate)> {
        let nodes = self.fates.nodes.iter();
        nodes.filter(|(_, fate)| fate.owner.as_ref() == Some(group))
    }

    fn ready(&self, group: &GroupKey) -> usize {
        self.fates_of(group).filter(|(_, fate)| fate.serves).count()
    }

    /// Until when nothing is removed because the group has just changed.
    fn cooldown(&self, group: &GroupKey) -> Option<Timestamp> {
        let facts = self.fates.groups.get(group)?;
        let until = facts.last_scaled_at?.checked_add(facts.cooldown).ok()?;
        (until > self.fates.at).then_some(until)
    }

    /// What the nodes save that would go together, as far as their prices are known; nothing where
    /// none goes.
    fn savings(&self, group: &GroupKey) -> Option<HourlyPrice> {
        let together = self.together(group);
        let known: Vec<HourlyPrice> = (together.iter())
            .filter_map(|node| *self.fates.together.get(*node)?)
            .collect();
        (together.is_empty() || !known.is_empty()).then(|| known.into_iter().sum())
    }

    fn together<'a>(&'a self, group: &'a GroupKey) -> Vec<&'a NodeName> {
        let nodes = self.fates_of(group).map(|(node, _)| node);
        nodes
            .filter(|node| self.fates.together.contains_key(*node))
            .collect()
    }

    fn standing(&self, group: &ReadGroup, out: &mut impl Write) -> io::Result<()> {
        let (key, input) = (&group.input.key, &group.input);
        let ready = self.ready(key);
        let many = if ready == 1 { "node is" } else { "nodes are" };
        writeln!(
            out,
            "Group {key}: {ready} {many} Ready; it may have {} to {}.",
            input.min_nodes, input.max_nodes
        )?;
        if !group.object.is_managed() {
            let label = api::labels::MANAGED;
            writeln!(out, "It is not managed: its label {label} is not \"true\".")?;
        }
        if input.deleting {
            writeln!(out, "It is being deleted.")?;
        }
        let facts = self.fates.groups.get(key);
        if facts.is_some_and(|facts| facts.paused) {
            let label = api::labels::PAUSED;
            writeln!(out, "It is paused by its annotation {label}.")?;
        }
        if let Some(why) = self.fates.stopped.get(key) {
            writeln!(
                out,
                "Removals are stopped until somebody removes the annotation {}: {why}",
                api::labels::REMOVALS_STOPPED
            )?;
        }
        if facts.is_some_and(|facts| !facts.enabled) {
            writeln!(
                out,
                "It is not scaled down: scaleDownPolicy.enabled is false."
            )?;
        }
        let machines = machines(group);
        if !machines.is_empty() {
            let verb = if machines.len() == 1 { "is" } else { "are" };
            writeln!(out, "On the way {verb} {}.", listed(&machines, NAMES))?;
        }
        if let Some(until) = self.cooldown(key) {
            writeln!(
                out,
                "It scaled a short while ago; nothing is removed before {until}."
            )?;
        }
        for problem in &group.problems {
            if self.cluster.wants_catalogue && problem.name() == "CatalogueUnavailable" {
                continue;
            }
            writeln!(out, "Mind: {problem}.")?;
        }
        Ok(())
    }

    /// Each node's fate in one line.
    fn nodes_of(&self, group: &ReadGroup, out: &mut impl Write) -> io::Result<()> {
        let mut title = Some("Nodes:");
        for (node, fate) in self.fates_of(&group.input.key) {
            if let Some(title) = title.take() {
                writeln!(out, "{title}")?;
            }
            let price = fate.price.map(|price| format!(" ({price} USD/h)"));
            writeln!(
                out,
                "  {node}{}: {}",
                price.unwrap_or_default(),
                in_short(fate)
            )?;
        }
        Ok(())
    }

    fn saved(&self, group: &ReadGroup, out: &mut impl Write) -> io::Result<()> {
        let key = &group.input.key;
        let together = self.together(key);
        if together.is_empty() {
            return Ok(());
        }
        let names = listed(&together, NAMES);
        match self.savings(key) {
            Some(saved) => writeln!(
                out,
                "{} would be saved by what can go together: {names}.",
                money(saved)
            ),
            None => writeln!(out, "{names} can go together."),
        }
    }

    /// Pending pods that no machine of the group would take.
    fn refused(&self, group: &ReadGroup, judged: &Judged, out: &mut impl Write) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.cluster.wants_catalogue {
            return writeln!(
                out,
                "Whether it could help pending pods cannot be said without a list of what can be \
                 bought: give one with --offerings FILE."
            );
        }
        let refused = self.turned_away(&group.input.key, judged);
        if refused.is_empty() {
            return Ok(());
        }
        writeln!(out, "Pending pods that no machine of it would take:")?;
        for (pods, offers) in refused {
            writeln!(out, "  {}:", listed(pods, NAMES))?;
            let rows = offers
                .iter()
                .map(|(offer, reasons)| (offer.offering.clone(), *reasons));
            for (offerings, reasons) in advice::grouped(rows) {
                let said = advice::said(&reasons, "would take it");
                writeln!(out, "    {}: {said}", listed(&offerings, NAMES))?;
            }
        }
        Ok(())
    }

    fn turned_away<'a>(&'a self, group: &GroupKey, judged: &'a Judged) -> Refused<'a> {
        if self.cluster.wants_catalogue {
            return Vec::new();
        }
        let name = group.to_string();
        let mut refused = Vec::new();
        for (pods, verdicts) in judged {
            let offers: Vec<(&Offer, &Vec<Reason>)> = (self.cluster.offers().iter())
                .zip(verdicts)
                .filter(|(offer, _)| offer.group == name)
                .collect();
            if !offers.is_empty() && offers.iter().all(|(_, reasons)| !reasons.is_empty()) {
                refused.push((pods.as_slice(), offers));
            }
        }
        refused
    }
}

/// Equal pods, and what stands against them by offer.
type Judged = Vec<(Vec<PodKey>, Vec<Vec<Reason>>)>;

fn judged(cluster: &mut Cluster, pending: &[Arc<Pod>]) -> Judged {
    let mut by_class: BTreeMap<&Arc<SchedulingClass>, Vec<PodKey>> = BTreeMap::new();
    for pod in pending {
        by_class
            .entry(&pod.class)
            .or_default()
            .push(pod.key.clone());
    }
    let mut judged: Judged = by_class
        .into_iter()
        .map(|(class, pods)| (pods, cluster.judge(class).offers))
        .collect();
    judged.sort_by(|(a, _), (b, _)| a.cmp(b));
    judged
}

/// The machines of a group that are on their way.
fn machines(group: &ReadGroup) -> Vec<&str> {
    let machines = group.input.in_flight.iter();
    machines.map(|one| one.machine.as_str()).collect()
}

/// A node's fate in one line: names only, and the pods they are about.
fn in_short(fate: &Fate) -> String {
    if fate.is_removable() {
        return match fate.waits.first() {
            None => "could go".to_owned(),
            Some(refusal) => format!("could go alone; waits: {}", refusal.name()),
        };
    }
    if let (true, Some(refusal)) = (fate.is_going(), fate.refusals.first()) {
        return format!("goes: {refusal}");
    }
    let reasons: Vec<String> = fate
        .refusals
        .chunk_by(|a, b| a.name() == b.name())
        .filter_map(|alike| {
            let name = alike.first()?.name();
            let pods: Vec<&PodKey> = alike.iter().filter_map(|refusal| refusal.pod()).collect();
            Some(match pods.as_slice() {
                [] => name.to_owned(),
                pods => format!("{name} ({})", listed(pods, 2)),
            })
        })
        .collect();
    format!("stays: {}", reasons.join(", "))
}
