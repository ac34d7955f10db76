//! Where a plan puts pods: on the nodes that are there and on the machines it buys; and how good
//! that is, beside its price.

use std::{collections::BTreeMap, sync::Arc};

use model::{Labels, NodeName, PodKey, PodTerm, Resources, SchedulingClass};
use planner::scale_up::{Input, Placement, Plan, Report, template};
use serde::Serialize;

/// A node that is there or will be.
struct Spot<'a> {
    name: String,
    labels: Labels,
    room: Resources,
    used: Resources,
    bought: bool,
    /// Pods that ran there, and those that were placed there.
    pods: Vec<(&'a SchedulingClass, bool)>,
}

/// All of them.
pub(crate) struct Layout<'a> {
    spots: Vec<Spot<'a>>,
}

/// How much of the machines bought is asked for by the pods they are bought for, from 0 to 1.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Utilisation {
    cpu_mean: f64,
    cpu_p10: f64,
    memory_mean: f64,
    memory_p10: f64,
}

impl<'a> Layout<'a> {
    /// What `plan` leads to.
    pub(crate) fn new(input: &'a Input, plan: &Plan, report: &Report) -> Self {
        let mut spots: Vec<Spot<'_>> = Vec::new();
        let mut by_name: BTreeMap<&NodeName, usize> = BTreeMap::new();
        for (name, node) in &input.cluster.nodes {
            by_name.insert(name, spots.len());
            spots.push(Spot {
                name: name.to_string(),
                labels: node.shape.labels.clone(),
                room: node.shape.allocatable.clone(),
                used: Resources::default(),
                bought: false,
                pods: Vec::new(),
            });
        }
        for pod in &input.cluster.bound {
            if let Some(spot) = pod.node().and_then(|name| by_name.get(name)) {
                spots[*spot].put(&pod.class, false);
            }
        }
        let waiting: BTreeMap<&PodKey, &Arc<SchedulingClass>> = input
            .cluster
            .waiting
            .iter()
            .map(|pod| (&pod.key, &pod.class))
            .collect();
        for (key, placement) in &report.pods {
            if let Placement::Existing(name) = placement
                && let (Some(spot), Some(class)) = (by_name.get(name), waiting.get(key))
            {
                spots[*spot].put(class, true);
            }
        }
        for create in &plan.create {
            let group = input.groups.iter().find(|group| group.key == create.group);
            let Some((group, choice)) = group.and_then(|group| {
                let mut choices = group.choices.iter();
                let choice = choices.find(|choice| choice.offering.id == create.offering)?;
                Some((group, choice))
            }) else {
                continue;
            };
            for pods in &create.pods {
                let name = format!("new/{}", spots.len());
                let node = template(group, choice, &input.limits.reserve, &name);
                let mut spot = Spot {
                    name,
                    labels: node.shape.labels.clone(),
                    room: node.shape.allocatable.clone(),
                    used: Resources::default(),
                    bought: true,
                    pods: Vec::new(),
                };
                for class in pods.iter().filter_map(|key| waiting.get(key)) {
                    spot.put(class, true);
                }
                spots.push(spot);
            }
        }
        Self { spots }
    }

    /// How full the bought machines are; `None` without any.
    pub(crate) fn utilisation(&self) -> Option<Utilisation> {
        let bought = || self.spots.iter().filter(|spot| spot.bought);
        let share = |used: i64, room: i64| used as f64 / room.max(1) as f64;
        let cpu = bought().map(|spot| share(spot.used.cpu_milli, spot.room.cpu_milli));
        let memory = bought().map(|spot| share(spot.used.memory, spot.room.memory));
        let (cpu_mean, cpu_p10) = mean_and_p10(cpu.collect())?;
        let (memory_mean, memory_p10) = mean_and_p10(memory.collect())?;
        Some(Utilisation {
            cpu_mean,
            cpu_p10,
            memory_mean,
            memory_p10,
        })
    }

    /// How much of what placed pods would rather have they get, by weight, from 0 to 1; `None` where
    /// they prefer nothing. Preferred spread has no weight of its own and is not counted.
    pub(crate) fn preference_score(&self) -> Option<f64> {
        let mut counts: BTreeMap<&PodTerm, BTreeMap<&str, u32>> = BTreeMap::new();
        let (mut met, mut all) = (0_i64, 0_i64);
        for spot in &self.spots {
            for (class, _) in spot.pods.iter().filter(|(_, placed)| *placed) {
                let preferences = &class.preferences;
                for (weight, term) in &preferences.nodes {
                    all += i64::from(*weight);
                    if term.matches(&spot.name, &spot.labels) {
                        met += i64::from(*weight);
                    }
                }
                let near = preferences.near.iter().map(|rule| (rule, true));
                let apart = preferences.apart.iter().map(|rule| (rule, false));
                for ((weight, term), wanted) in near.chain(apart) {
                    all += i64::from(*weight);
                    let domains = counts.entry(term).or_insert_with(|| self.count(term));
                    let domain = spot.labels.get(&*term.topology_key);
                    let there = domain.and_then(|domain| domains.get(&**domain));
                    // The pod itself is no company.
                    let own = u32::from(domain.is_some() && selects(term, class));
                    let others = there.map_or(0, |there| there.saturating_sub(own));
                    if (others > 0) == wanted {
                        met += i64::from(*weight);
                    }
                }
            }
        }
        (all > 0).then(|| rounded(met as f64 / all as f64))
    }

    /// How many pods a term selects, by domain.
    fn count(&self, term: &PodTerm) -> BTreeMap<&str, u32> {
        let mut domains: BTreeMap<&str, u32> = BTreeMap::new();
        for spot in &self.spots {
            if let Some(domain) = spot.labels.get(&*term.topology_key) {
                let selected = spot.pods.iter().filter(|(class, _)| selects(term, class));
                *domains.entry(domain).or_default() += selected.count() as u32;
            }
        }
        domains
    }
}

impl<'a> Spot<'a> {
    fn put(&mut self, class: &'a SchedulingClass, placed: bool) {
        self.used.add(&class.requests);
        self.pods.push((class, placed));
    }
}

/// Whether a term is about pods of this class. Namespaces selected by their labels do not occur here.
fn selects(term: &PodTerm, class: &SchedulingClass) -> bool {
    term.namespaces.names.contains(&class.namespace)
        && (term.selector.as_ref()).is_some_and(|selector| selector.matches(&class.labels))
}

fn mean_and_p10(mut shares: Vec<f64>) -> Option<(f64, f64)> {
    shares.sort_unstable_by(f64::total_cmp);
    let tenth = *shares.get(shares.len() / 10)?;
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    Some((rounded(mean), rounded(tenth)))
}

/// To four decimals.
pub(crate) fn rounded(share: f64) -> f64 {
    (share * 1e4).round() / 1e4
}
