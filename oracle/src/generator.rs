//! Small clusters from a seed, aimed at the edges of the scheduler's rules.
//!
//! One to six nodes, up to ten running pods, one to three pending ones, and what volumes need. A few
//! themes are drawn for a cluster; words are few, so that things match; sizes are cut so that about
//! half of the verdicts hang on the last unit. The same seed gives the same bytes. Only objects that
//! an API server would have stored, with or without what it fills in.
//!
//! Left out, because the scheduler itself answers by chance: equal free volumes and equal waiting
//! claims. Each volume of a cluster has a size of its own, and so has each claim.

mod affinity;
mod disks;
mod draw;
mod edge;
mod frame;
mod nodes;
mod ports;
mod resources;
mod spread;
mod tight;
mod volumes;

use std::collections::BTreeSet;

use serde_json::{Value, json};

pub use edge::Edge;

use draw::Draw;
use frame::World;

/// A cluster, and what it aims at.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it was drawn from.
    pub seed: u64,
    /// A `List` of all its objects.
    pub cluster: Value,
    /// The rules it was drawn for.
    pub edges: BTreeSet<Edge>,
}

/// What a cluster is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theme {
    Resources,
    Ports,
    Taints,
    Cordons,
    NodeAffinity,
    Features,
    Spread,
    Affinity,
    Binding,
    Zones,
    Limits,
    Disks,
}

const THEMES: [Theme; 12] = [
    Theme::Resources,
    Theme::Ports,
    Theme::Taints,
    Theme::Cordons,
    Theme::NodeAffinity,
    Theme::Features,
    Theme::Spread,
    Theme::Affinity,
    Theme::Binding,
    Theme::Zones,
    Theme::Limits,
    Theme::Disks,
];

/// The cluster that belongs to `seed`.
#[must_use]
pub fn cluster(seed: u64) -> Case {
    let mut draw = Draw::new(seed);
    let themes = themes(&draw);
    let mut world = frame::world(&mut draw);
    for theme in THEMES {
        if !themes.contains(&theme) {
            continue;
        }
        match theme {
            Theme::Resources => resources::add(&mut world, &mut draw),
            Theme::Ports => ports::add(&mut world, &mut draw),
            Theme::Taints => nodes::taints(&mut world, &mut draw),
            Theme::Cordons => nodes::cordons(&mut world, &mut draw),
            Theme::NodeAffinity => nodes::affinity(&mut world, &mut draw),
            Theme::Features => nodes::features(&mut world, &mut draw),
            Theme::Spread => spread::add(&mut world, &mut draw),
            Theme::Affinity => affinity::add(&mut world, &mut draw),
            Theme::Binding => volumes::binding::add(&mut world, &mut draw),
            Theme::Zones => volumes::zones::add(&mut world, &mut draw),
            Theme::Limits => volumes::limits::add(&mut world, &mut draw),
            Theme::Disks => disks::add(&mut world, &mut draw),
        }
    }
    if themes.contains(&Theme::Resources) {
        tight::cut(&mut world, &mut draw);
    }
    Case {
        seed,
        cluster: list(world),
        edges: draw.edges,
    }
}

/// Two to four themes.
fn themes(draw: &Draw) -> Vec<Theme> {
    let count = draw.one(&[2, 3, 3, 4]);
    let mut themes = Vec::new();
    while themes.len() < count {
        // The rules for requests and for volumes that wait are many: they take more clusters to meet.
        let theme = match draw.below(100) {
            0..=7 => Theme::Binding,
            8..=15 => Theme::Resources,
            _ => draw.one(&THEMES),
        };
        if !themes.contains(&theme) {
            themes.push(theme);
        }
    }
    themes
}

fn list(world: World) -> Value {
    let World {
        nodes,
        running,
        pending,
        namespaces,
        others,
        claims: _,
    } = world;
    let items: Vec<Value> = [nodes, running, pending, namespaces, others].concat();
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}
