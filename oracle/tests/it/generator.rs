//! What holds for every cluster that is made.

use std::collections::{BTreeMap, BTreeSet};

use oracle::{Edge, cluster};
use serde_json::Value;

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    for seed in 0..200 {
        let (one, two) = (cluster(seed), cluster(seed));
        assert_eq!(one.cluster.to_string(), two.cluster.to_string());
        assert_eq!(one.edges, two.edges);
        assert_ne!(one.cluster, cluster(seed + 1).cluster);
    }
}

#[test]
fn every_edge_is_aimed_at_often_enough_that_a_thousand_clusters_meet_it() {
    let mut aimed: BTreeMap<Edge, u32> = BTreeMap::new();
    for seed in 0..2000 {
        for edge in cluster(seed).edges {
            *aimed.entry(edge).or_default() += 1;
        }
    }
    for edge in Edge::ALL {
        let count = aimed.get(edge).copied().unwrap_or_default();
        assert!(count >= 20, "{edge:?} in {count} of 2000: {}", edge.text());
    }
}

#[test]
fn clusters_stay_small() {
    for seed in 0..1000 {
        let cluster = cluster(seed).cluster;
        let of = |kind: &str| items(&cluster, kind).count();
        assert!((1..=6).contains(&of("Node")));
        let (running, pending): (Vec<_>, Vec<_>) =
            items(&cluster, "Pod").partition(|pod| pod["spec"]["nodeName"].is_string());
        assert!(running.len() <= 10 && (1..=3).contains(&pending.len()));
    }
}

#[test]
fn no_two_volumes_and_no_two_claims_are_of_one_size() {
    for seed in 0..1000 {
        let cluster = cluster(seed).cluster;
        for (kind, place) in [
            ("PersistentVolume", "/spec/capacity/storage"),
            ("PersistentVolumeClaim", "/spec/resources/requests/storage"),
        ] {
            let mut sizes = BTreeSet::new();
            for object in items(&cluster, kind) {
                let size = object.pointer(place).unwrap().as_str().unwrap();
                assert!(sizes.insert(size.to_owned()), "seed {seed}: two of {size}");
            }
        }
    }
}

fn items<'c>(cluster: &'c Value, kind: &'c str) -> impl Iterator<Item = &'c Value> {
    let items = cluster["items"].as_array().unwrap().iter();
    items.filter(move |item| item["kind"] == kind)
}
