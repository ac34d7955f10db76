//! What is true of every plan, in random clusters in which every rule may play a part.

use std::sync::Arc;

use jiff::Timestamp;
use model::{HostPort, InclusionPolicy, PodRole, Protocol, SpreadConstraint};
use planner::removal::simulation::{Limits, choose, scan};
use proptest::prelude::*;

use super::{Case, HOSTNAME, app, node, selector, term};

const ZONE: &str = "zone";

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

/// A small cluster in which every rule may play a part.
fn any_case() -> impl Strategy<Value = Case> {
    let nodes = prop::collection::vec((1..5_i64, 1..40_i64, 0..16_u8), 2..7);
    let pods = prop::collection::vec((0..6_usize, 1..9_i64, 0..4_u8, 0..12_u8), 0..14);
    let waiting = prop::collection::vec(1..9_i64, 0..3);
    let budgets = prop::collection::vec((0..4_u8, 0..4_u32), 0..3);
    let limits = (0..3_u32, 1..5_u32, any::<bool>());
    (nodes, pods, waiting, budgets, limits).prop_map(|(nodes, pods, waiting, budgets, limits)| {
        let mut case = Case::of(&[]);
        for (index, (size, cents, what)) in nodes.iter().enumerate() {
            let mut node = node(&format!("n{index}"), size * 1000);
            let shape = Arc::make_mut(&mut node.shape);
            if index % 3 < 2 {
                let zone = ["x", "y"][index % 3];
                shape.labels.insert(ZONE.into(), zone.into());
            }
            match what {
                0 => shape.unschedulable = true,
                1 => node.ready = false,
                2 => {
                    case.leaving.insert(node.name.clone());
                }
                _ => {}
            }
            if *what < 14 {
                let price = (*what != 13).then_some(*cents);
                case.prices.insert(node.name.clone(), price);
            }
            case.cluster.nodes.insert(node.name.clone(), node);
        }
        for (index, (on, quarters, kind, what)) in pods.iter().enumerate() {
            let on = format!("n{}", on % nodes.len());
            let own = format!("app-{kind}");
            case = case.runs_with(&format!("p{index:02}"), &on, quarters * 125, |class| {
                app(&own)(class);
                // Equal pods have equal rules.
                match kind {
                    0 => class.anti_affinity = vec![term(&own, HOSTNAME)],
                    1 => {
                        class.spread = vec![over_zones(&own)];
                    }
                    2 => class.affinity = vec![term(&own, ZONE)],
                    _ => {}
                }
                if *what == 3 {
                    class.host_ports = vec![HostPort {
                        protocol: Protocol::Tcp,
                        address: "0.0.0.0".into(),
                        port: 80,
                    }];
                }
            });
            case = case.but(|pod| match what {
                0 => pod.role = PodRole::DaemonSet,
                1 => pod.terminating = Some(Timestamp::UNIX_EPOCH),
                _ => {}
            });
        }
        for (index, quarters) in waiting.iter().enumerate() {
            case = case.waits(&format!("w{index}"), quarters * 125);
        }
        for (kind, allowed) in budgets {
            case = case.budget(&format!("app-{kind}"), allowed);
        }
        let (min_nodes, at_once, buffer) = limits;
        case.grouped(nodes.len() as u32, min_nodes, at_once)
            .limited(Limits {
                at_once: 4,
                buffer_percent: if buffer { 120 } else { 0 },
            })
    })
}

/// Many candidates, so that not every set is tried.
fn large_case() -> impl Strategy<Value = Case> {
    (any_case(), 1..4_i64, 66..90_usize).prop_map(|(mut case, quarters, nodes)| {
        for index in 0..nodes {
            let name = format!("m{index:02}");
            let mut node = node(&name, 2000);
            let zone = ["x", "y"][index % 2];
            let shape = Arc::make_mut(&mut node.shape);
            shape.labels.insert(ZONE.into(), zone.into());
            case.prices
                .insert(node.name.clone(), Some(1 + index as i64 % 7));
            case.cluster.nodes.insert(node.name.clone(), node);
            for pod in 0..index % 4 {
                let own = format!("app-{}", (index + pod) % 4);
                case = case.runs_with(&format!("{name}-{pod}"), &name, quarters * 125, |class| {
                    app(&own)(class);
                    if own == "app-0" {
                        class.anti_affinity = vec![term(&own, HOSTNAME)];
                    }
                    if own == "app-1" {
                        class.spread = vec![over_zones(&own)];
                    }
                });
            }
        }
        let at_once = if quarters == 1 { 5 } else { u32::MAX };
        case.budgets.clear();
        case.grouped(200, 2, u32::MAX).limited(Limits {
            at_once,
            buffer_percent: 120,
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_move_is_accepted_by_the_checker_and_nobody_is_moved_to_a_node_that_goes(
        case in any_case(),
    ) {
        case.scan();
        case.check(&case.ask(choose));
    }

    #[test]
    fn the_order_of_the_candidates_plays_no_part(case in any_case()) {
        let (forwards, backwards) = case.ask(|input| {
            let mut reversed = input.clone();
            reversed.candidates.reverse();
            (scan(input), scan(&reversed))
        });
        prop_assert_eq!(forwards, backwards);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn in_a_larger_cluster_every_move_is_accepted_by_the_checker_too(case in large_case()) {
        let found = case.ask(scan);
        case.check(&found.plan);
        prop_assert_eq!(case.ask(scan), found);
    }
}
