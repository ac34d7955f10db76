//! Where pods of one class can still go, found without looking twice where they cannot.
//!
//! Places are kept apart by the domains that the class's rules go by, as far as those are few. What
//! refuses a whole domain is asked once for it; a place that is full is passed for good; one that a
//! rule by node refuses is passed until the rule's numbers have moved.

use std::{cmp::Reverse, collections::BTreeMap};

use model::SchedulingClass;
use scheduling::{ClassId, Obstacle, Snapshot, TopologyKey};

use super::ground::{Ground, Of, Spot};

/// A label with more values than this is not kept apart by.
const FEW_DOMAINS: usize = 64;
/// Places with room looked at for the best of them, in each part.
const LOOKED_AT: usize = 12;
/// Machines that could be larger, looked at in each part.
const GROWING: usize = 16;

/// Spots kept apart by the domains of some labels.
#[derive(Default)]
pub(super) struct Parts {
    /// In their order.
    spots: Vec<Vec<usize>>,
    of: BTreeMap<Vec<Option<u32>>, usize>,
    known: usize,
}

impl Parts {
    /// Takes note of new spots.
    pub(super) fn follow(&mut self, engine: &Snapshot, keys: &[TopologyKey], spots: &[Spot]) {
        for (index, spot) in spots.iter().enumerate().skip(self.known) {
            let domains = keys.iter().map(|&key| engine.domain(spot.node, key));
            let part = *self.of.entry(domains.collect()).or_insert_with(|| {
                self.spots.push(Vec::new());
                self.spots.len() - 1
            });
            self.spots[part].push(index);
        }
        self.known = spots.len();
    }

    /// The spots of each part.
    pub(super) fn spots(&self) -> &[Vec<usize>] {
        &self.spots
    }
}

/// How far the places of one part were looked at.
#[derive(Clone, Default)]
struct Place {
    /// Those before are passed: for room that is there…
    room: usize,
    /// Machines that could be larger, as far as is known…
    growing: Vec<usize>,
    /// …of the first so many…
    known: usize,
    /// …and which was looked at last.
    growth: usize,
}

pub(super) struct Lane<'a> {
    /// The class.
    pub(super) class: ClassId,
    /// What it was compiled from.
    pub(super) source: &'a SchedulingClass,
    apart_by: Vec<TopologyKey>,
    places: Vec<Place>,
    tide: u64,
    prefers: bool,
}

impl<'a> Lane<'a> {
    pub(super) fn new(ground: &Ground<'_>, class: ClassId, source: &'a SchedulingClass) -> Self {
        let engine = &ground.engine;
        let mut apart_by = engine.topology_keys(class);
        apart_by.retain(|&key| !engine.is_hostname(key) && engine.domains(key) <= FEW_DOMAINS);
        Self {
            class,
            source,
            apart_by,
            places: Vec::new(),
            tide: engine.tide(class),
            prefers: engine.preferred(class) > 0,
        }
    }

    /// Takes note of new spots, and that passed ones may be open again.
    fn follow(&mut self, ground: &mut Ground<'_>) {
        ground.follow(&self.apart_by);
        let parts = ground.parts(&self.apart_by).len();
        self.places.resize(parts, Place::default());
        let tide = ground.engine.tide(self.class);
        if tide != self.tide {
            self.tide = tide;
            for place in &mut self.places {
                *place = Place::default();
            }
        }
    }

    /// A place with room, of the first ones: the one that is preferred most, then the fullest. Only
    /// nodes that are there are looked at where that is all that is `there`.
    pub(super) fn room(&mut self, ground: &mut Ground<'_>, there: bool) -> Option<usize> {
        self.follow(ground);
        let (class, source) = (self.class, self.source);
        let mut found: Vec<usize> = Vec::new();
        let parts = ground.parts(&self.apart_by);
        for (spots, part) in parts.iter().zip(&mut self.places) {
            let mut at = part.room;
            let mut is_first = true;
            let mut looked_at = 0;
            while let Some(&spot) = spots.get(at) {
                if there && !matches!(ground.spots[spot].of, Of::Existing) {
                    break;
                }
                match ground.obstacle(class, source, spot) {
                    None => {
                        found.push(spot);
                        is_first = false;
                    }
                    Some(Obstacle::Domain(key)) if self.apart_by.contains(&key) => break,
                    Some(_) if is_first => part.room = at + 1,
                    Some(_) => {}
                }
                looked_at += usize::from(!is_first);
                if looked_at >= LOOKED_AT {
                    break;
                }
                at += 1;
            }
        }
        let level = |spot: &usize| match ground.spots[*spot].of {
            Of::Existing => 0,
            Of::InFlight(..) | Of::Bought { .. } => 1,
            Of::Open(_) => 2,
        };
        let least = found.iter().map(level).min()?;
        let preference = |spot: usize| {
            ground
                .engine
                .preference(class, ground.spots[spot].node, false)
        };
        found
            .into_iter()
            .filter(|spot| level(spot) == least)
            .min_by_key(|&spot| {
                let met = if self.prefers { preference(spot) } else { 0 };
                (Reverse(met), ground.left_over(source, spot), spot)
            })
    }

    /// Open machines, some of each part, that would take a pod if they were larger; `can_grow` says
    /// whether one can be. Each time others are named, so that all have their turn.
    pub(super) fn growable(
        &mut self,
        ground: &mut Ground<'_>,
        can_grow: impl Fn(&Ground<'_>, usize) -> bool,
    ) -> Vec<usize> {
        self.follow(ground);
        let mut found = Vec::new();
        let parts = ground.parts(&self.apart_by);
        for (spots, part) in parts.iter().zip(&mut self.places) {
            let open = |spot: &&usize| matches!(ground.spots[**spot].of, Of::Open(_));
            part.growing.extend(spots[part.known..].iter().filter(open));
            part.known = spots.len();
            let mut named = 0;
            while named < GROWING.min(part.growing.len()) {
                part.growth = (part.growth + 1) % part.growing.len();
                let spot = part.growing[part.growth];
                let node = ground.spots[spot].node;
                match ground.engine.obstacle(self.class, node) {
                    None if can_grow(ground, spot) => {
                        found.push(spot);
                        named += 1;
                    }
                    Some(Obstacle::Domain(key)) if self.apart_by.contains(&key) => break,
                    _ => {
                        part.growing.swap_remove(part.growth);
                    }
                }
            }
        }
        found
    }
}
