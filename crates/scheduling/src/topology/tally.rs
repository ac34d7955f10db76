//! Numbers by domain.
//!
//! Most workloads have a handful of pods and a cluster has thousands of hostnames: a few numbers are
//! kept in a row and looked for; only where there are many does every domain get a place.

use super::keys::Domain;

/// More than so many numbers get places of their own.
const FEW: usize = 16;

/// A number for each domain, 0 unless said otherwise.
#[derive(Clone, Debug)]
pub(crate) enum Tally {
    /// Those that are not 0, by domain.
    Few(Vec<(Domain, u32)>),
    /// By domain; those beyond the end are 0.
    Many(Vec<u32>),
}

impl Default for Tally {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Tally {
    pub(crate) fn get(&self, domain: Domain) -> u32 {
        match self {
            Self::Few(few) => find(few, domain).map_or(0, |index| few[index].1),
            Self::Many(many) => many.get(domain as usize).copied().unwrap_or(0),
        }
    }

    /// Changes the domain's number; the number before, and after.
    pub(crate) fn change(&mut self, domain: Domain, by: impl Fn(u32) -> u32) -> (u32, u32) {
        match self {
            Self::Few(few) => match find(few, domain) {
                Ok(index) => {
                    let before = few[index].1;
                    let after = by(before);
                    if after == 0 {
                        few.remove(index);
                    } else {
                        few[index].1 = after;
                    }
                    (before, after)
                }
                Err(_) if few.len() == FEW => {
                    *self = Self::Many(spread_out(few));
                    self.change(domain, by)
                }
                Err(index) => {
                    let after = by(0);
                    if after > 0 {
                        few.insert(index, (domain, after));
                    }
                    (0, after)
                }
            },
            Self::Many(many) => {
                let domain = domain as usize;
                if many.len() <= domain {
                    many.resize(domain + 1, 0);
                }
                let before = many[domain];
                many[domain] = by(before);
                (before, many[domain])
            }
        }
    }

    /// (domain, number) wherever it is not 0.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Domain, u32)> + '_ {
        let (few, many) = match self {
            Self::Few(few) => (few.as_slice(), &[][..]),
            Self::Many(many) => (&[][..], many.as_slice()),
        };
        let many = many.iter().enumerate();
        let many = many.map(|(domain, number)| (domain as Domain, *number));
        few.iter()
            .copied()
            .chain(many.filter(|(_, number)| *number > 0))
    }
}

fn find(few: &[(Domain, u32)], domain: Domain) -> Result<usize, usize> {
    few.binary_search_by_key(&domain, |&(domain, _)| domain)
}

fn spread_out(few: &[(Domain, u32)]) -> Vec<u32> {
    let mut many = vec![0; few.last().map_or(0, |(domain, _)| *domain as usize + 1)];
    for (domain, number) in few {
        many[*domain as usize] = *number;
    }
    many
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn few_or_many_a_tally_is_a_map(changes in prop::collection::vec((0..60_u32, 0..3_u32), 0..90)) {
            let mut tally = Tally::default();
            let mut map = BTreeMap::new();
            for (domain, number) in changes {
                let before = map.insert(domain, number).unwrap_or(0);
                prop_assert_eq!(tally.change(domain, |_| number), (before, number));
            }
            map.retain(|_, number| *number > 0);
            for domain in 0..61 {
                prop_assert_eq!(tally.get(domain), map.get(&domain).copied().unwrap_or(0));
            }
            prop_assert_eq!(tally.iter().collect::<BTreeMap<_, _>>(), map);
        }
    }
}
