//! What claims, volumes and drivers mean, from the JSON that the API server writes.

#![allow(clippy::needless_pass_by_value)] // JSON literals

use std::collections::BTreeMap;

use model::{NodeName, Uid, storage::Volume};
use serde_json::{Value, json};

use super::*;

fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

#[test]
fn a_claim_is_read_with_its_annotations() {
    let view: ClaimView = of(json!({
        "metadata": {"name": "c", "namespace": "n", "uid": "own", "annotations": {
            "pv.kubernetes.io/bind-completed": "yes",
            "volume.beta.kubernetes.io/storage-class": "beta",
            "volume.kubernetes.io/selected-node": "n1"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "pod",
                "controller": true}]},
        "spec": {"storageClassName": "ga", "volumeName": "v", "volumeMode": "Block",
            "accessModes": ["ReadWriteOncePod", "Sometimes"], "selector": {"matchLabels": {"a": "b"}},
            "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Lost"}}));
    let (claim, defect) = view.claim();
    assert_eq!(defect, None);
    assert!(claim.is_bound() && claim.lost && claim.block && !claim.deleting);
    assert_eq!(
        claim.class.as_deref(),
        Some("beta"),
        "the annotation goes first"
    );
    assert_eq!(claim.requested, 1 << 30);
    assert_eq!(claim.access_modes, [AccessMode::ReadWriteOncePod]);
    assert_eq!(claim.owner.as_ref().map(Uid::as_str), Some("pod"));
    assert_eq!(claim.selected_node, Some(NodeName::new("n1")));
}

#[test]
fn a_claim_whose_size_cannot_be_read_fits_no_volume() {
    let view: ClaimView = of(json!({"metadata": {"name": "c"},
        "spec": {"resources": {"requests": {"storage": "big"}}}}));
    let (claim, defect) = view.claim();
    assert_eq!(claim.requested, i64::MAX);
    assert_eq!(
        defect.as_deref(),
        Some("storage: \"big\" is not a quantity")
    );
}

fn volume(spec: Value, labels: Value) -> Volume {
    let view: VolumeView = of(json!({"metadata": {"name": "v", "labels": labels}, "spec": spec}));
    let (volume, defect) = view.volume();
    assert_eq!(defect, None);
    volume
}

fn handle(volume: &Volume) -> Option<String> {
    let handle = volume.handle.as_ref()?;
    Some(format!("{} {}", handle.driver, handle.handle))
}

#[test]
fn disks_that_kubernetes_once_knew_count_for_the_driver_that_took_their_place() {
    let zone = "topology.kubernetes.io/zone";
    for (spec, labels, expected) in [
        (
            json!({"csi": {"driver": "d", "volumeHandle": "h"}}),
            json!({}),
            Some("d h"),
        ),
        (
            json!({"awsElasticBlockStore": {"volumeID": "aws://z/vol-1"}}),
            json!({}),
            Some("ebs.csi.aws.com vol-1"),
        ),
        (
            json!({"gcePersistentDisk": {"pdName": "d"}}),
            json!({zone: "europe-west1-b"}),
            Some("pd.csi.storage.gke.io projects/UNSPECIFIED/zones/europe-west1-b/disks/d"),
        ),
        (
            json!({"gcePersistentDisk": {"pdName": "d"}}),
            json!({zone: "europe-west1-b__europe-west1-c"}),
            Some("pd.csi.storage.gke.io projects/UNSPECIFIED/regions/europe-west1/disks/d"),
        ),
        (
            json!({"gcePersistentDisk": {"pdName": "d"}}),
            json!({zone: "europe-west1-b__us-east1-c"}),
            None,
        ),
        (
            json!({"azureDisk": {"diskURI": "/d", "kind": "managed"}}),
            json!({}),
            Some("disk.csi.azure.com /d"),
        ),
        (json!({"azureDisk": {"diskURI": "/d"}}), json!({}), None),
        (
            json!({"cinder": {"volumeID": "v"}}),
            json!({}),
            Some("cinder.csi.openstack.org v"),
        ),
        (
            json!({"portworxVolume": {"volumeID": "v"}}),
            json!({}),
            Some("pxd.portworx.com v"),
        ),
        (json!({"nfs": {"server": "s"}}), json!({}), None),
    ] {
        let read = volume(spec.clone(), labels);
        assert_eq!(handle(&read).as_deref(), expected, "{spec}");
        let in_tree = spec.get("csi").is_none() && spec.get("nfs").is_none();
        assert_eq!(read.in_tree.is_some(), in_tree, "{spec}");
    }
}

fn zone_term(key: &str) -> Value {
    json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": key, "operator": "In", "values": ["a"]}]}]}})
}

#[test]
fn zones_are_translated_for_nodes_that_moved_to_the_driver() {
    let keys = |read: &Volume| -> Vec<String> {
        let in_tree = read.in_tree.as_ref().unwrap();
        let terms = in_tree.node_affinity.iter().flatten();
        terms
            .flat_map(|term| &term.match_expressions)
            .map(|r| format!("{} {}", r.key, r.values.join("+")))
            .collect()
    };
    let disk = |affinity: Value, labels: Value| {
        volume(
            json!({"awsElasticBlockStore": {"volumeID": "vol-1"}, "nodeAffinity": affinity}),
            labels,
        )
    };
    let own = ["topology.ebs.csi.aws.com/zone a"];
    for key in [ZONE, BETA_ZONE] {
        let read = disk(zone_term(key), json!({}));
        assert_eq!(keys(&read), own);
        let kept = read.node_affinity.unwrap();
        assert_eq!(
            &*kept[0].match_expressions[0].key, key,
            "elsewhere it stays"
        );
    }
    let labelled = disk(json!(null), json!({ZONE: "b__a"}));
    assert_eq!(keys(&labelled), ["topology.ebs.csi.aws.com/zone a+b"]);
    assert_eq!(labelled.node_affinity, None);
    let other = disk(zone_term("disk"), json!({BETA_ZONE: "a"}));
    assert_eq!(keys(&other), ["disk a", own[0]]);
    let bad = volume(
        json!({"awsElasticBlockStore": {"volumeID": "aws://a/b/c"}}),
        json!({}),
    );
    assert_eq!(
        bad.in_tree.unwrap().node_affinity,
        Some(Vec::new()),
        "no node"
    );
}

const ZONE: &str = "topology.kubernetes.io/zone";
const BETA_ZONE: &str = "failure-domain.beta.kubernetes.io/zone";

#[test]
fn names_of_nodes_in_a_volumes_affinity_are_not_looked_at() {
    let field = json!({"key": "metadata.name", "operator": "In", "values": ["n"]});
    let label = json!({"key": "zone", "operator": "In", "values": ["a"]});
    let affinity = |term: Value| {
        let terms = json!({"required": {"nodeSelectorTerms": [term]}});
        volume(json!({"nodeAffinity": terms}), json!({})).node_affinity
    };
    assert_eq!(affinity(json!({"matchFields": [field]})), None);
    let both = affinity(json!({"matchFields": [field], "matchExpressions": [label]}));
    assert!(both.unwrap()[0].match_fields.is_empty());
}

#[test]
fn a_class_says_when_and_where_its_volumes_are_made() {
    let class = |value: Value| of::<ClassView>(value).class();
    let plain = class(json!({"metadata": {"name": "s"}, "provisioner": "csi.example.com"}));
    assert!(!plain.waits_for_consumer && plain.allowed_topologies.is_empty());
    assert_eq!(plain.driver.as_deref(), Some("csi.example.com"));
    let zonal = class(
        json!({"metadata": {"name": "s"}, "provisioner": "kubernetes.io/aws-ebs",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowedTopologies": [{}, {"matchLabelExpressions": [{"key": "zone", "values": ["a"]}]}]}),
    );
    assert!(zonal.waits_for_consumer);
    assert_eq!(zonal.driver.as_deref(), Some("ebs.csi.aws.com"));
    assert!(
        !zonal.allowed_topologies[0][0].matches(None),
        "an empty term is no node"
    );
    assert!(zonal.allowed_topologies[1][0].matches(Some("a")));
    assert_eq!(driver_of_provisioner("kubernetes.io/azure-file"), None);
}

#[test]
fn a_node_says_how_many_volumes_it_takes_and_which_plugins_moved() {
    let view: CsiNodeView = of(json!({"metadata": {"name": "n", "annotations": {
            "storage.alpha.kubernetes.io/migrated-plugins": "kubernetes.io/aws-ebs,,x"}},
        "spec": {"drivers": [{"name": "a", "nodeID": "i", "allocatable": {"count": 0}},
            {"name": "b", "allocatable": {}}, {"name": "c"}]}}));
    let limits: Vec<(String, Option<i64>)> = view
        .limits()
        .into_iter()
        .map(|(driver, count)| (driver.to_string(), count))
        .collect();
    let expected = [
        ("a".into(), Some(0)),
        ("b".into(), None),
        ("c".into(), None),
    ];
    assert_eq!(limits, expected);
    assert_eq!(view.migrated().len(), 2);
}

#[test]
fn only_volumes_that_a_driver_made_count_as_attached() {
    let attachment = |value: Value| {
        of::<AttachmentView>(json!({"metadata": {"name": "a"}, "spec": value})).attachment()
    };
    let on = |volume: &str| {
        attachment(json!({"attacher": "x", "nodeName": "n",
            "source": {"persistentVolumeName": volume}}))
        .unwrap()
    };
    let volumes = BTreeMap::from([
        (
            Arc::from("csi"),
            volume(
                json!({"csi": {"driver": "d", "volumeHandle": "h"}}),
                json!({}),
            ),
        ),
        (
            Arc::from("ebs"),
            volume(
                json!({"awsElasticBlockStore": {"volumeID": "vol-1"}}),
                json!({}),
            ),
        ),
    ]);
    let all = [on("csi"), on("ebs"), on("gone")];
    let attached = attached(&all, &volumes);
    let handles: Vec<String> = attached[&NodeName::new("n")]
        .iter()
        .map(|handle| format!("{} {}", handle.driver, handle.handle))
        .collect();
    assert_eq!(handles, ["x h"], "counted for who attached it");
    assert_eq!(
        attachment(json!({"attacher": "x", "nodeName": "n", "source": {}})),
        None
    );
}

#[test]
fn published_capacity_is_read_with_where_it_is() {
    let capacity = |value: Value| of::<CapacityView>(value).capacity();
    let (row, defect) = capacity(json!({"metadata": {"name": "c"}, "storageClassName": "s",
        "nodeTopology": {"matchLabels": {"zone": "a"}}, "capacity": "1Gi"}));
    assert_eq!(defect, None);
    assert_eq!(
        (row.capacity, row.maximum_volume_size),
        (Some(1 << 30), None)
    );
    assert_eq!(row.nodes.unwrap().requirements.len(), 1);
    let (row, defect) = capacity(json!({"metadata": {"name": "c"}, "storageClassName": "s",
        "capacity": "1Gi", "maximumVolumeSize": []}));
    assert_eq!(row.maximum_volume_size, Some(0), "nothing fits");
    assert!(row.nodes.is_none() && defect.is_some());
}

#[test]
fn a_volume_is_free_once_its_phase_says_so() {
    for (phase, available) in [
        (json!("Available"), true),
        (json!("Released"), false),
        (json!("Pending"), false),
        (json!(""), false),
        (json!(null), false),
    ] {
        let view: VolumeView = of(json!({"metadata": {"name": "v"}, "spec": {},
            "status": {"phase": phase}}));
        assert_eq!(view.volume().0.available, available);
    }
}
