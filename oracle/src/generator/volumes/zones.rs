//! Bound volumes with zones and regions, and nodes that have some of those labels.

use serde_json::json;

use super::{
    super::{
        Edge,
        draw::Draw,
        frame::{BETA_REGION, BETA_ZONE, REGION, World, ZONE},
    },
    bound,
};

pub(in super::super) fn add(world: &mut World, draw: &mut Draw) {
    for node in &mut world.nodes {
        let Some(labels) = node["metadata"]["labels"].as_object_mut() else {
            continue;
        };
        if draw.percent(30) {
            labels.remove(ZONE);
        }
        for (key, share) in [(REGION, 35), (BETA_ZONE, 25), (BETA_REGION, 10)] {
            if draw.percent(share) {
                labels.insert(key.to_owned(), json!(draw.one(&["a", "b"])));
            }
        }
    }
    for index in 0..world.pending.len() {
        if draw.percent(15) {
            continue;
        }
        draw.aim(Edge::ZoneKeys);
        for _ in 0..draw.one(&[1, 1, 2]) {
            bound(world, index, draw);
            let before = world.others.len() - 2;
            let labels = &mut world.others[before]["metadata"]["labels"];
            let value = match draw.below(5) {
                0 => {
                    draw.aim(Edge::ZoneList);
                    "a__b"
                }
                1 => {
                    draw.aim(Edge::ZoneList);
                    draw.one(&["b__c", "a____b", "c__a"])
                }
                _ => draw.one(&["a", "b"]),
            };
            match draw.below(8) {
                0 | 1 => labels[REGION] = json!(value),
                2 | 3 => {
                    draw.aim(Edge::ZoneBeta);
                    labels[draw.one(&[BETA_ZONE, BETA_ZONE, BETA_REGION])] = json!(value);
                }
                4 => {
                    labels[ZONE] = json!(value);
                    labels[REGION] = json!(draw.one(&["a", "b"]));
                }
                _ => labels[ZONE] = json!(value),
            }
        }
    }
}
