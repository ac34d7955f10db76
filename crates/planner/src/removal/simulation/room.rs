//! Which host is the next that has enough room: a tree of maxima over hosts in their order.

/// Pods, CPU, memory, ephemeral storage.
pub(super) type Amounts = [i64; 4];

/// Less than anything that can be asked for: the room of a host that is out.
const NOTHING: Amounts = [i64::MIN; 4];

/// What is free on each host.
pub(super) struct Room {
    /// A power of two; the tree's leaves begin here.
    leaves: usize,
    /// Each the maximum, amount by amount, of the two at twice its place.
    tree: Vec<Amounts>,
}

impl Room {
    pub(super) fn new(free: &[Amounts]) -> Self {
        let leaves = free.len().next_power_of_two();
        let mut tree = vec![NOTHING; 2 * leaves];
        tree[leaves..leaves + free.len()].copy_from_slice(free);
        for at in (1..leaves).rev() {
            tree[at] = larger(&tree[2 * at], &tree[2 * at + 1]);
        }
        Self { leaves, tree }
    }

    /// What is free on a host; `None` where it is out.
    pub(super) fn get(&self, host: usize) -> Option<&Amounts> {
        let free = &self.tree[self.leaves + host];
        (*free != NOTHING).then_some(free)
    }

    /// Changes what is free on a host, `None` takes it out; gives what was free before.
    pub(super) fn set(&mut self, host: usize, free: Option<Amounts>) -> Option<Amounts> {
        let before = self.get(host).copied();
        let mut at = self.leaves + host;
        self.tree[at] = free.unwrap_or(NOTHING);
        while at > 1 {
            at /= 2;
            let larger = larger(&self.tree[2 * at], &self.tree[2 * at + 1]);
            if self.tree[at] == larger {
                break;
            }
            self.tree[at] = larger;
        }
        before
    }

    /// The first host from `from` on with room for `need`; an amount of [`i64::MIN`] asks for
    /// nothing.
    pub(super) fn first(&self, from: usize, need: &Amounts) -> Option<usize> {
        if from >= self.leaves {
            return None;
        }
        let mut at = self.leaves + from;
        loop {
            if holds(&self.tree[at], need) {
                if at >= self.leaves {
                    return Some(at - self.leaves);
                }
                // No leaf need hold all amounts at once: both halves may have to be tried.
                at *= 2;
                continue;
            }
            // On to the right neighbour, of the nearest ancestor that has one.
            while at & 1 == 1 {
                at >>= 1;
            }
            if at == 0 {
                return None;
            }
            at += 1;
        }
    }
}

fn larger(a: &Amounts, b: &Amounts) -> Amounts {
    std::array::from_fn(|index| a[index].max(b[index]))
}

fn holds(free: &Amounts, need: &Amounts) -> bool {
    *free != NOTHING && free.iter().zip(need).all(|(free, need)| need <= free)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_next_host_with_room_is_the_one_a_walk_along_all_of_them_finds(
            mut free in prop::collection::vec(prop::array::uniform4(0..8_i64), 1..40),
            changes in prop::collection::vec((0..40_usize, prop::option::of(prop::array::uniform4(0..8_i64))), 0..20),
            need in prop::array::uniform4(0..9_i64),
            from in 0..45_usize,
        ) {
            let mut room = Room::new(&free);
            let mut out = vec![false; free.len()];
            for (host, to) in changes {
                let host = host % free.len();
                let before = (!out[host]).then_some(free[host]);
                prop_assert_eq!(room.set(host, to), before);
                out[host] = to.is_none();
                free[host] = to.unwrap_or(free[host]);
            }
            let need = need.map(|amount| if amount == 0 { i64::MIN } else { amount });
            let expected = (from..free.len()).find(|&host| {
                !out[host] && (0..4).all(|index| need[index] <= free[host][index])
            });
            prop_assert_eq!(room.first(from, &need), expected);
        }
    }
}
