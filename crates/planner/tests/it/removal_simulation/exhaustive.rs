//! How much money is freed, against trying every set of nodes and every place of every pod.

use std::{collections::BTreeSet, sync::Arc};

use model::HourlyPrice;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use rust_decimal::Decimal;

use super::{Case, HOSTNAME, app, node, term};

/// The most that can be saved, by trying every set of nodes and every place of every pod. Pods ask
/// for CPU and memory; those of one app with a name in `apart` keep away from each other.
#[derive(Clone, Debug)]
pub(crate) struct Exhaustive {
    /// (CPU, memory) free without pods, price.
    pub(crate) nodes: Vec<([i64; 2], i64)>,
    /// (node, CPU and memory, app).
    pub(crate) pods: Vec<(usize, [i64; 2], usize)>,
    pub(crate) apart: usize,
}

impl Exhaustive {
    pub(crate) fn most(&self) -> i64 {
        let mut sets: Vec<(i64, u32)> = (0..1_u32 << self.nodes.len())
            .map(|set| {
                let members = (0..self.nodes.len()).filter(|index| set & (1 << index) != 0);
                (members.map(|index| self.nodes[index].1).sum(), set)
            })
            .collect();
        sets.sort_by_key(|set| std::cmp::Reverse(*set));
        let feasible = |(_, set): &&(i64, u32)| {
            let mut free: Vec<[i64; 2]> = self.nodes.iter().map(|(free, _)| *free).collect();
            let mut there = vec![BTreeSet::new(); self.nodes.len()];
            let mut moving = Vec::new();
            for (index, (node, asks, app)) in self.pods.iter().enumerate() {
                if set & (1 << node) != 0 {
                    moving.push(index);
                } else {
                    free[*node][0] -= asks[0];
                    free[*node][1] -= asks[1];
                    there[*node].insert(*app);
                }
            }
            moving.sort_by_key(|index| std::cmp::Reverse(self.pods[*index].1));
            self.place(&moving, *set, &mut free, &mut there)
        };
        sets.iter().find(feasible).unwrap().0
    }

    fn place(
        &self,
        moving: &[usize],
        gone: u32,
        free: &mut [[i64; 2]],
        there: &mut [BTreeSet<usize>],
    ) -> bool {
        let Some((first, rest)) = moving.split_first() else {
            return true;
        };
        let (_, asks, app) = self.pods[*first];
        for node in 0..self.nodes.len() {
            let full = free[node][0] < asks[0] || free[node][1] < asks[1];
            let apart = app < self.apart && there[node].contains(&app);
            if gone & (1 << node) != 0 || full || apart {
                continue;
            }
            free[node][0] -= asks[0];
            free[node][1] -= asks[1];
            let new = there[node].insert(app);
            if self.place(rest, gone, free, there) {
                return true;
            }
            free[node][0] += asks[0];
            free[node][1] += asks[1];
            if new {
                there[node].remove(&app);
            }
        }
        false
    }
}

/// Nodes that are half full on average, with pods large enough to make it a puzzle.
pub(crate) fn puzzle() -> impl Strategy<Value = Exhaustive> {
    let nodes = prop::collection::vec((2..9_i64, 4..17_i64, 80..120_i64), 3..7);
    let pods = prop::collection::vec((0..6_usize, 1..9_i64, 1..9_i64, 0..6_usize), 4..15);
    (nodes, pods).prop_map(|(nodes, pods)| {
        let mut puzzle = Exhaustive {
            nodes: (nodes.iter())
                .map(|(cpu, memory, rate)| ([*cpu * 4, *memory * 2], (cpu * 6 + memory * 3) * rate))
                .collect(),
            pods: Vec::new(),
            apart: 2,
        };
        let mut free: Vec<[i64; 2]> = puzzle.nodes.iter().map(|(free, _)| *free).collect();
        for (node, cpu, memory, app) in pods {
            let node = node % free.len();
            let mut there = puzzle.pods.iter();
            let apart = app < 2 && there.any(|(on, _, other)| (*on, *other) == (node, app));
            if free[node][0] >= cpu && free[node][1] >= memory && !apart {
                free[node][0] -= cpu;
                free[node][1] -= memory;
                puzzle.pods.push((node, [cpu, memory], app));
            }
        }
        puzzle
    })
}

/// What `saved` frees of 200 puzzles: at least 95 % of what is safely free, and never more.
pub(crate) fn frees_nearly_all(saved: impl Fn(&Exhaustive) -> HourlyPrice) {
    let mut runner = TestRunner::deterministic();
    let (mut found, mut most, mut exact) = (0, 0, 0);
    for _ in 0..200 {
        let puzzle = puzzle().new_tree(&mut runner).unwrap().current();
        let cents = saved(&puzzle).amount() * Decimal::from(100);
        let saved = i64::try_from(cents.normalize().mantissa()).unwrap();
        let best = puzzle.most();
        assert!(saved <= best, "more than possible: {puzzle:?}");
        (found, most) = (found + saved, most + best);
        exact += u32::from(saved == best);
    }
    println!("{found} of {most}, {exact} of 200 exactly");
    assert!(found * 100 >= most * 95, "{found} of {most}");
    assert!(exact >= 180, "{exact} of 200");
}

#[test]
fn nearly_all_of_the_money_that_is_safely_free_is_freed() {
    frees_nearly_all(|puzzle| {
        let mut case = Case::of(&[]);
        for (index, ([cpu, memory], cents)) in puzzle.nodes.iter().enumerate() {
            let mut node = node(&format!("n{index}"), cpu * 250);
            Arc::make_mut(&mut node.shape).allocatable.memory = memory << 28;
            case.prices.insert(node.name.clone(), Some(*cents));
            case.cluster.nodes.insert(node.name.clone(), node);
        }
        for (index, (node, [cpu, memory], kind)) in puzzle.pods.iter().enumerate() {
            let own = format!("app-{kind}");
            let on = format!("n{node}");
            case = case.runs_with(&format!("p{index:02}"), &on, cpu * 250, |class| {
                app(&own)(class);
                class.requests.memory = memory << 28;
                if *kind < puzzle.apart {
                    class.anti_affinity = vec![term(&own, HOSTNAME)];
                }
            });
        }
        case.scan().plan.savings()
    });
}
