//! The ways of packing that are tried for a plan, and in which order pods take turns in each.
//!
//! How many depends on the size of the question only.

use scheduling::{ClassId, Snapshot};

use super::{
    by_rules::{Choose, Waiting},
    ground::Ground,
};

/// Classes × kinds up to which more than one way is tried…
pub(super) const LARGE: usize = 1 << 16;
/// …and every one.
pub(super) const SMALL: usize = 1 << 12;
/// What a pod that is placed by itself counts for beside them.
const ONE_BY_ONE: usize = 4;

/// A way of packing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Way {
    /// Everything by the rules, also what no rule ties.
    pub(super) all_by_rules: bool,
    pub(super) choose: Choose,
    /// First fit, decreasing, and nothing else.
    pub(super) first_fit: bool,
    /// Machines to come are used the largest first.
    pub(super) largest_first: bool,
    /// What may go to fewer places comes first, whatever its size.
    pub(super) tightest_first: bool,
    /// The small ones come first, by this measure.
    pub(super) smallest_first: Option<Measure>,
    /// Beside machines that are bought, pods find their places anew, wherever they were before.
    pub(super) anew: bool,
}

/// By what a pod is small: more places go round among those that ask for little of what is scarce,
/// and what is scarce shows only in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Measure {
    /// The largest share of any resource.
    Share,
    Cpu,
    Memory,
}

impl Measure {
    pub(super) const ALL: [Self; 3] = [Self::Share, Self::Cpu, Self::Memory];
}

impl Way {
    /// Machines that are bought are used in the order in which they were.
    pub(super) const fn keeps_their_order(self) -> bool {
        self.first_fit && self.anew
    }
}

/// In which order queues take turns: indices.
pub(super) struct Order {
    /// Those that are placed by the rules.
    pub(super) by_rules: Vec<usize>,
    /// The others.
    pub(super) free: Vec<usize>,
    /// All of them.
    pub(super) all: Vec<usize>,
    /// By queue: what a pod of it asks for of CPU, and of memory.
    asks: Vec<(i64, i64)>,
    /// By queue: how freely it may be placed.
    pub(super) freedom: Vec<Freedom>,
    /// By queue: it wants to be near others.
    pub(super) follows: Vec<bool>,
    /// By queue: its pods would rather have something…
    pub(super) weighs: Vec<bool>,
    /// …which is so of some.
    pub(super) prefers: bool,
}

/// How freely pods may be placed, the least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Freedom {
    /// Each needs a place of its own.
    Alone,
    /// Some rule goes node by node.
    ByNode,
    /// Some rule goes by larger domains.
    ByDomain,
    /// No rule.
    Free,
}

impl Freedom {
    pub(super) fn of(engine: &Snapshot, class: ClassId) -> Self {
        if engine.comes_alone(class) {
            return Self::Alone;
        }
        let keys = engine.topology_keys(class);
        match keys.iter().any(|&key| engine.is_hostname(key)) {
            true => Self::ByNode,
            false if keys.is_empty() => Self::Free,
            false => Self::ByDomain,
        }
    }
}

impl Order {
    pub(super) fn of(ground: &Ground<'_>, all: &[Waiting]) -> Self {
        let engine = &ground.engine;
        let queues: Vec<usize> = (0..all.len()).collect();
        let (free, by_rules) = queues
            .iter()
            .partition(|&&queue| engine.is_independent(all[queue].class));
        let follows = |waiting: &Waiting| {
            !waiting.source.affinity.is_empty() && !engine.may_come_first(waiting.class)
        };
        let weighs: Vec<bool> = all
            .iter()
            .map(|waiting| engine.preferred(waiting.class) > 0)
            .collect();
        Self {
            asks: all
                .iter()
                .map(|waiting| &waiting.source.requests)
                .map(|requests| (requests.cpu_milli, requests.memory))
                .collect(),
            by_rules,
            free,
            all: queues,
            freedom: all
                .iter()
                .map(|waiting| Freedom::of(engine, waiting.class))
                .collect(),
            follows: all.iter().map(follows).collect(),
            prefers: weighs.contains(&true),
            weighs,
        }
    }

    /// Something is not a matter of counts alone.
    pub(super) fn is_tied(&self) -> bool {
        self.prefers || !self.by_rules.is_empty()
    }

    /// The size of the question. Pods that would rather have something are placed one by one.
    pub(super) fn effort(&self, waiting: &[Waiting], kinds: usize) -> usize {
        let queues = waiting.iter().zip(&self.weighs);
        let one_by_one = queues.filter(|(_, weighs)| **weighs);
        let pods: usize = one_by_one.map(|(queue, _)| queue.left as usize).sum();
        waiting.len() * kinds + pods * ONE_BY_ONE
    }

    /// Those that are placed by the rules, as they take turns; the others by counts.
    pub(super) fn turns(&self, way: Way) -> (Vec<usize>, Vec<usize>) {
        if way.first_fit {
            return (self.all.clone(), Vec::new());
        }
        let (mut by_rules, mut free) = if way.all_by_rules {
            (self.all.clone(), Vec::new())
        } else {
            (self.by_rules.clone(), self.free.clone())
        };
        if let Some(measure) = way.smallest_first {
            for turns in [&mut by_rules, &mut free] {
                // They come by share, the largest first.
                turns.reverse();
                match measure {
                    Measure::Share => {}
                    Measure::Cpu => turns.sort_by_key(|&queue| self.asks[queue].0),
                    Measure::Memory => turns.sort_by_key(|&queue| self.asks[queue].1),
                }
            }
        }
        by_rules.sort_by_key(|&queue| {
            let freedom = way.tightest_first.then_some(self.freedom[queue]);
            (self.follows[queue], freedom)
        });
        (by_rules, free)
    }
}

/// The ways worth trying, the likeliest first.
pub(super) fn ways(order: &Order, effort: usize, nothing_to_buy: bool) -> Vec<Way> {
    let plain = Way {
        all_by_rules: false,
        choose: Choose::Cheapest,
        first_fit: false,
        largest_first: false,
        tightest_first: true,
        smallest_first: None,
        anew: false,
    };
    if nothing_to_buy && effort > SMALL {
        return vec![Way {
            smallest_first: Some(Measure::Share),
            tightest_first: false,
            ..plain
        }];
    }
    if !order.is_tied() {
        return vec![plain];
    }
    let all_by_rules = Way {
        all_by_rules: true,
        ..plain
    };
    if effort > LARGE {
        return vec![all_by_rules];
    }
    let mut ways = vec![all_by_rules];
    if !order.free.is_empty() {
        ways.push(plain);
    }
    let mut also = |change: &dyn Fn(Way) -> Way| {
        let changed: Vec<Way> = ways.iter().map(|way| change(*way)).collect();
        ways.extend(changed);
    };
    // One by one there is no difference.
    if order.weighs.contains(&false) && !nothing_to_buy {
        also(&|way| Way {
            choose: Choose::ByPod,
            ..way
        });
    }
    if effort <= SMALL {
        if order.all.len() > 1 {
            also(&|way| Way {
                tightest_first: false,
                ..way
            });
        }
        also(&|way| Way { anew: true, ..way });
        let anew: Vec<Way> = ways.iter().copied().filter(|way| way.anew).collect();
        ways.extend(anew.into_iter().map(|way| Way {
            largest_first: true,
            ..way
        }));
    }
    // Nothing is to cost more than that.
    let first_fit = Way {
        first_fit: true,
        ..all_by_rules
    };
    ways.push(first_fit);
    if effort <= SMALL {
        ways.push(Way {
            anew: true,
            ..first_fit
        });
    }
    ways
}
