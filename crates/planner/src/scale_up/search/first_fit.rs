//! First fit, decreasing, by price, in counts: one more solution, which no other is to be dearer than.

use std::rc::Rc;

use model::Resources;

use super::{Budget, Chosen, Filling, Search, State};

/// Machines that are filled alike, while pods are put onto the first that takes them.
struct Alike {
    /// Index into the offers.
    offer: usize,
    requested: Resources,
    /// (class, pods) of each.
    counts: Vec<(usize, u32)>,
    times: u32,
}

impl Search<'_> {
    /// First fit, decreasing: each pod on the first machine that takes it, else on a new one of the
    /// cheapest kind that does. So plain a way must find no lower price.
    pub(super) fn first_fit(&self, waiting: &[u32], budget: &Budget) -> State {
        let mut open: Vec<Alike> = Vec::new();
        let mut budget = budget.clone();
        let mut remaining = waiting.to_vec();
        for (index, left) in remaining.iter_mut().enumerate() {
            let mut taken: Vec<Alike> = Vec::with_capacity(open.len() + 2);
            for alike in open {
                self.share_out(alike, index, left, &mut taken);
            }
            for &offer in &self.by_price {
                let group = self.offers[offer].of.group;
                if *left == 0 {
                    break;
                }
                let mut opened = Vec::new();
                let empty = Alike {
                    offer,
                    requested: self.offers[offer].of.requested.clone(),
                    counts: Vec::new(),
                    times: budget.left(group),
                };
                self.share_out(empty, index, left, &mut opened);
                opened.retain(|alike| !alike.counts.is_empty());
                for alike in opened {
                    budget.spend(group, alike.times);
                    taken.push(alike);
                }
            }
            open = taken;
        }
        State {
            order: 0,
            remaining,
            budget,
            fills: Vec::new(),
            chosen: open
                .into_iter()
                .map(|alike| Chosen {
                    offer: alike.offer,
                    filled: Rc::new(self.measure(&self.offers[alike.offer], alike.counts)),
                    times: alike.times,
                })
                .collect(),
        }
    }

    /// Puts pods of a class onto machines that are alike, as many as fit onto the first, then onto
    /// the second, …; what comes of them is added to `into`, in their order.
    fn share_out(&self, alike: Alike, index: usize, left: &mut u32, into: &mut Vec<Alike>) {
        let with = |pods: u32, times: u32| {
            let mut machine = Filling {
                offer: &self.offers[alike.offer],
                requested: alike.requested.clone(),
            };
            let pods = machine.put(index, self.classes[index], pods);
            let mut counts = alike.counts.clone();
            if pods > 0 {
                counts.push((index, pods));
            }
            let alike = Alike {
                offer: alike.offer,
                requested: machine.requested,
                counts,
                times,
            };
            (pods, alike)
        };
        let (each, _) = with(*left, 1);
        let Some(full) = left.checked_div(each) else {
            into.push(alike);
            return;
        };
        let full = full.min(alike.times);
        let rest = alike.times - full;
        *left -= full * each;
        into.push(with(each, full).1);
        if rest > 0 {
            let (last, partly) = with(*left, u32::from(*left > 0));
            *left -= last;
            let untouched = rest - partly.times;
            into.extend((partly.times > 0).then_some(partly));
            into.extend((untouched > 0).then(|| with(0, untouched).1));
        }
    }
}
