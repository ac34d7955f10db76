//! What is true of every plan, in random clusters in which every rule may play a part; and how much
//! of the money that is safely free it frees.

use model::{
    HostPort, InclusionPolicy, Namespaces, PodHealth, PodTerm, Protocol, SpreadConstraint,
};
use planner::removal::plan::{explain, still_removable};
use proptest::prelude::*;

use super::*;
use crate::removal_simulation::exhaustive::frees_nearly_all;

const ZONE: &str = "zone";

fn term(app: &str, key: &str) -> PodTerm {
    PodTerm {
        selector: Some(selector(app)),
        namespaces: Namespaces {
            names: ["a".into()].into(),
            selector: None,
        },
        topology_key: key.into(),
    }
}

fn over_zones(app: &str) -> SpreadConstraint {
    SpreadConstraint {
        topology_key: ZONE.into(),
        max_skew: 2,
        min_domains: 1,
        selector: Some(selector(app)),
        node_affinity_policy: InclusionPolicy::Honor,
        node_taints_policy: InclusionPolicy::Ignore,
    }
}

/// What is special about a node.
fn mark(case: &mut Case, name: &str, what: u8) {
    match what {
        0 => {
            Arc::make_mut(&mut case.node(name).shape).unschedulable = true;
            case.on(name).cordon = Cordon::Human;
        }
        1 => case.node(name).ready = false,
        2 => {
            case.leaving.insert(name.into());
        }
        3 => {
            case.on(name).machine = None;
            case.on(name).group = None;
        }
        4 => case.on(name).protected_by = Some("somebody".into()),
        5 => case.on(name).unneeded_since = None,
        6 => case.on(name).removal = DRAINING,
        7 => {
            let failed = (RemovalCause::Failed, RemovalStep::DeletingMachine);
            case.on(name).removal = Some(failed);
        }
        8 => case.on(name).own = true,
        9 => case.on(name).allowed_hours = Some("12:00-13:00".into()),
        10 => case.on(name).ready_at = Some(at(900)),
        11..=15 => case.on(name).group = Some(key("h")),
        16 => case.on(name).savings = None,
        _ => {}
    }
}

/// What is special about a pod.
fn mark_pod(pod: &mut Pod, what: u8) {
    match what {
        0 => pod.role = PodRole::DaemonSet,
        1 => pod.terminating = Some(at(1010)),
        2 => upkeep(pod).controller = None,
        3 => {
            upkeep(pod).controller = None;
            wish(pod, "autoscaler.vpsie.com/safe-to-evict", "true");
        }
        4 => upkeep(pod).local_volumes = vec!["data".into()],
        5 => wish(pod, "karpenter.sh/do-not-disrupt", "true"),
        6 => wish(pod, "karpenter.sh/do-not-disrupt", "10m"),
        7 => upkeep(pod).controller.as_mut().unwrap().uid = Uid::new("gone"),
        8 | 9 => pod.health = PodHealth::Starting,
        10 | 11 => pod.health = PodHealth::Unready,
        12 => pod.role = PodRole::Mirror,
        13 => {
            class(pod).host_ports = vec![HostPort {
                protocol: Protocol::Tcp,
                address: "0.0.0.0".into(),
                port: 80,
            }];
        }
        _ => {}
    }
}

/// A small cluster in which every rule may play a part.
fn any_case() -> impl Strategy<Value = Case> {
    let nodes = prop::collection::vec((1..5_i64, 1..40_i64, 0..40_u8), 2..8);
    let pods = prop::collection::vec((0..7_usize, 1..9_i64, 0..4_u8, 0..40_u8), 0..16);
    let waiting = prop::collection::vec(1..9_i64, 0..3);
    let budgets = prop::collection::vec((0..4_u8, 0..4_u32, any::<bool>(), any::<bool>()), 0..3);
    let limits = (0..3_u32, 1..5_u32, 1..4_u32, any::<bool>(), any::<bool>());
    (nodes, pods, waiting, budgets, limits).prop_map(|(nodes, pods, waiting, budgets, limits)| {
        let mut case = Case::of(&[]);
        case.groups.insert(key("h"), group());
        for (index, (size, cents, what)) in nodes.iter().enumerate() {
            let name = format!("n{index}");
            case.add(&name);
            let shape = Arc::make_mut(&mut case.node(&name).shape);
            shape.allocatable.cpu_milli = size * 1000;
            if index % 3 < 2 {
                let zone = ["x", "y"][index % 3];
                shape.labels.insert(ZONE.into(), zone.into());
            }
            case.on(&name).savings = Some(HourlyPrice::new(Decimal::new(*cents, 2)));
            mark(&mut case, &name, *what);
        }
        for (index, (on, quarters, kind, what)) in pods.iter().enumerate() {
            let on = format!("n{}", on % nodes.len());
            let own = format!("app-{kind}");
            let pod = case.run(&format!("p{index:02}"), &on, quarters * 60);
            let class = class(pod);
            class.labels = Labels::from([("app".into(), own.as_str().into())]);
            match kind {
                0 => class.anti_affinity = vec![term(&own, HOSTNAME)],
                1 => class.spread = vec![over_zones(&own)],
                2 => class.affinity = vec![term(&own, ZONE)],
                _ => {}
            }
            mark_pod(pod, *what);
        }
        for (index, quarters) in waiting.iter().enumerate() {
            case = case.waits(&format!("w{index}"), quarters * 125);
        }
        for (kind, allowed, healthy, always) in budgets {
            let budget = case.budget(&format!("app-{kind}"), allowed);
            budget.healthy = healthy;
            budget.unhealthy_always = always;
        }
        let (min_nodes, at_once, of_group, buffer, looked) = limits;
        case.settings.at_once = at_once;
        case.group().min_nodes = min_nodes;
        case.group().at_once = of_group;
        case.settings.buffer_percent = if buffer { 120 } else { 0 };
        case.brakes.many_since = looked.then(|| at(0));
        case
    })
}

/// The removals of the plan have begun.
fn begun(case: &Case, plan: &Plan) -> Case {
    let mut begun = case.clone();
    for chosen in &plan.remove {
        let candidate = begun.on(chosen.node.as_str());
        candidate.removal = Some((chosen.cause, RemovalStep::Cordoning));
        candidate.cordon = Cordon::Ours;
    }
    begun
}

proptest! {
    // The audit looks over every plan (`Case::plan`): the checker finds each place right.
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_plan_of_removals_is_refused_and_what_begins_is_not_taken_back_at_once(case in any_case()) {
        let (plan, report) = case.plan();
        let begun = begun(&case, &plan);
        for chosen in &plan.remove {
            let still = still_removable(&begun.input(), &chosen.machine);
            prop_assert_eq!(still, Ok(()), "{}", chosen.node);
        }
        prop_assert!(plan.remove.len() <= case.settings.at_once as usize);
        // Judged by itself what goes can go, and what cannot does not.
        let alone = explain(&case.input()).nodes;
        prop_assert_eq!(alone.len(), case.candidates.len());
        for (node, said) in &alone {
            prop_assert!(said.refusals.is_empty() || report.contains_key(node), "{} {:?}", node, said);
            prop_assert!(said.refusals.is_empty() || said.moves.is_empty());
        }
    }

    #[test]
    fn the_order_in_which_nodes_are_named_plays_no_part(case in any_case()) {
        let mut reversed = case.clone();
        reversed.candidates.reverse();
        let (mut plan, report) = case.plan();
        let (mut other, reasons) = reversed.plan();
        for plan in [&mut plan, &mut other] {
            plan.window_started.sort();
            plan.window_broken.sort();
        }
        // Of those that are under way any may be named.
        let named = |report: &Report| -> Vec<(NodeName, Vec<&'static str>)> {
            let names = report.iter();
            names.map(|(node, why)| (node.clone(), why.iter().map(Refusal::name).collect())).collect()
        };
        prop_assert_eq!(plan, other);
        prop_assert_eq!(named(&report), named(&reasons));
    }
}

#[test]
fn nearly_all_of_the_money_that_is_safely_free_is_in_the_plan() {
    frees_nearly_all(|puzzle| {
        let mut case = Case::of(&[]);
        case.settings.at_once = u32::MAX;
        case.settings.buffer_percent = 0;
        case.settings.assume_unneeded = true;
        case.brakes.many_since = Some(at(0));
        for (index, ([cpu, memory], cents)) in puzzle.nodes.iter().enumerate() {
            let name = format!("n{index}");
            case.add(&name);
            let has = &mut Arc::make_mut(&mut case.node(&name).shape).allocatable;
            (has.cpu_milli, has.memory) = (cpu * 250, memory << 28);
            case.on(&name).savings = Some(HourlyPrice::new(Decimal::new(*cents, 2)));
        }
        for (index, (node, [cpu, memory], kind)) in puzzle.pods.iter().enumerate() {
            let own = format!("app-{kind}");
            let pod = case.run(&format!("p{index:02}"), &format!("n{node}"), cpu * 250);
            let class = class(pod);
            class.labels = Labels::from([("app".into(), own.as_str().into())]);
            class.requests.memory = memory << 28;
            if *kind < puzzle.apart {
                class.anti_affinity = vec![term(&own, HOSTNAME)];
            }
        }
        let (plan, _) = case.plan();
        plan.remove.iter().filter_map(|one| one.savings).sum()
    });
}
