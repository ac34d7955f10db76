//! VolumeRestrictions, NodeVolumeLimits, VolumeBinding, VolumeZone.

use model::{
    NodeName, Operator, SchedulingClass, Uid,
    storage::{
        AccessMode, ClaimRef, ClaimUse, DiskId, InTree, InlineDisk, StorageCapacity, VolumeHandle,
    },
};
use scheduling::{ClaimProblem, Failure, Filter};

use crate::cluster::{
    Cluster, ZONE, claim_use, expressions, labels, node, pod, requirement, selector,
};

fn using(claims: &[&str]) -> SchedulingClass {
    pod("a", "", |class| {
        class.claims = claims.iter().map(|name| claim_use(name)).collect();
    })
}

fn mounting(id: DiskId, read_only: bool) -> SchedulingClass {
    pod("a", "", |class| {
        class.disks = vec![InlineDisk { id, read_only }];
    })
}

const BETA: &str = "failure-domain.beta.kubernetes.io/zone";

/// A claim `data` bound to `v1`.
fn bound(cluster: Cluster) -> Cluster {
    cluster
        .claim("data", |claim| {
            claim.volume = Some("v1".into());
            claim.bind_completed = true;
        })
        .volume("v1", |volume| volume.available = false)
}

fn zoned() -> Cluster {
    Cluster::of([
        node("n1", &format!("{ZONE}=a")),
        node("n2", &format!("{ZONE}=b")),
        node("bare", ""),
        node("regional", "topology.kubernetes.io/region=r"),
    ])
}

#[test]
fn f21_a_volumes_zone_must_be_the_nodes_unless_that_has_no_zone_at_all() {
    let hosts = |words: &str| {
        let words = words.to_owned();
        bound(zoned())
            .volume("v1", move |volume| volume.labels = labels(&words))
            .hosts(using(&["data"]))
    };
    assert_eq!(hosts(&format!("{ZONE}=a")), ["n1", "bare"]);
    assert_eq!(hosts(&format!("{ZONE}=a__b")), ["n1", "n2", "bare"]);
    // A list that cannot be read says nothing.
    assert_eq!(hosts(&format!("{ZONE}=a__")).len(), 4);
    // A beta label of the volume means today's label of the node.
    assert_eq!(hosts(&format!("{BETA}=b")), ["n2", "bare"]);
}

#[test]
fn f21_a_nodes_beta_label_does_not_answer_for_todays() {
    let beta = node("old", &format!("{BETA}=a"));
    let cluster = bound(Cluster::of([beta]))
        .volume("v1", |volume| volume.labels = labels(&format!("{ZONE}=a")));
    assert_eq!(cluster.refusals(using(&["data"])), [[Filter::VolumeZone]]);
}

#[test]
fn f22_a_claim_with_a_volume_is_bound_only_when_binding_is_complete() {
    let cluster = bound(zoned()).claim("half", |claim| claim.volume = Some("v1".into()));
    assert_eq!(cluster.hosts(using(&["data"])).len(), 4);
    assert!(cluster.hosts(using(&["half"])).is_empty());
}

#[test]
fn f23_a_claim_for_one_pod_is_used_up_anywhere() {
    let cluster = bound(zoned()).claim("data", |claim| {
        claim.volume = Some("v1".into());
        claim.bind_completed = true;
        claim.access_modes = vec![AccessMode::ReadWriteOncePod];
    });
    assert_eq!(cluster.hosts(using(&["data"])).len(), 4);
    let cluster = cluster.ends("n2", using(&["data"]));
    assert!(
        cluster
            .refusals(using(&["data"]))
            .iter()
            .all(|filters| filters == &[Filter::VolumeRestrictions])
    );
}

/// Claims `c1`… bound to `v1`… of one driver.
fn volumes(mut cluster: Cluster, count: u32) -> Cluster {
    for number in 1..=count {
        let volume = format!("v{number}");
        let name = volume.clone();
        cluster = cluster
            .claim(&format!("c{number}"), move |claim| {
                claim.volume = Some(name.as_str().into());
                claim.bind_completed = true;
            })
            .volume(&volume, |_| {});
    }
    cluster
}

#[test]
fn f24_attach_limits_count_each_volume_once() {
    let cluster = volumes(Cluster::of([node("n1", "")]), 3)
        .limit("n1", Some(2))
        .runs("n1", using(&["c1"]))
        .runs("n1", using(&["c1"]));
    assert_eq!(cluster.hosts(using(&["c1"])), ["n1"]);
    assert_eq!(cluster.hosts(using(&["c1", "c2"])), ["n1"]);
    assert_eq!(cluster.hosts(using(&["c2", "c2"])), ["n1"]);
    assert_eq!(
        cluster.reasons(using(&["c2", "c3"]), "n1"),
        [Failure::TooManyVolumes {
            driver: "csi.a.io".into(),
            attached: 1,
            added: 2,
            limit: 2
        }]
    );
}

#[test]
fn f24_no_count_is_no_limit_and_none_is_none() {
    let with = |limit| {
        let cluster = volumes(Cluster::of([node("n1", "")]), 1).limit("n1", limit);
        !cluster.hosts(using(&["c1"])).is_empty()
    };
    assert!(with(None));
    assert!(with(Some(1)));
    assert!(!with(Some(0)));
    let unlimited = volumes(Cluster::of([node("n1", "")]), 1);
    assert_eq!(unlimited.hosts(using(&["c1"])), ["n1"]);
}

#[test]
fn f24_disks_mounted_directly_and_claims_still_waiting_count_for_their_driver() {
    let mut cluster = Cluster::of([node("n1", "")])
        .class("wait", |_| {})
        .claim("waiting", |claim| claim.class = Some("wait".into()))
        .limit("n1", Some(0));
    let limits = &mut cluster.surroundings.storage.limits;
    limits
        .get_mut(&NodeName::new("n1"))
        .unwrap()
        .insert("ebs.csi.aws.com".into(), Some(0));
    let disk = mounting(DiskId::Ebs("vol-1".into()), false);
    assert_eq!(cluster.refusals(disk), [[Filter::NodeVolumeLimits]]);
    assert_eq!(
        cluster.refusals(using(&["waiting"])),
        [[Filter::NodeVolumeLimits]]
    );
}

#[test]
fn f24_what_is_attached_without_a_pod_counts_beside_what_pods_use() {
    let mut cluster = volumes(Cluster::of([node("n1", "")]), 2)
        .limit("n1", Some(2))
        .runs("n1", using(&["c1"]));
    let handle = |name: &str| VolumeHandle {
        driver: "csi.a.io".into(),
        handle: name.into(),
    };
    let attached = &mut cluster.surroundings.storage.attached;
    attached.insert(NodeName::new("n1"), [handle("v1")].into());
    assert_eq!(cluster.hosts(using(&["c2"])), ["n1"], "v1 counts once");
    let attached = &mut cluster.surroundings.storage.attached;
    attached.insert(NodeName::new("n1"), [handle("left")].into());
    assert!(cluster.hosts(using(&["c2"])).is_empty());
}

fn waiting(cluster: Cluster, count: u32) -> Cluster {
    let mut cluster = cluster.class("wait", |class| {
        class.provisioner = "kubernetes.io/no-provisioner".into();
    });
    for number in 1..=count {
        cluster = cluster.claim(&format!("w{number}"), |claim| {
            claim.class = Some("wait".into());
            claim.requested = i64::from(number) << 30;
        });
    }
    cluster
}

#[test]
fn f25_each_waiting_claim_needs_a_volume_of_its_own() {
    let free = |volume: &mut model::storage::Volume| {
        volume.class = Some("wait".into());
        volume.capacity = 5 << 30;
    };
    let cluster = waiting(Cluster::of([node("n1", "")]), 2).volume("v1", free);
    assert_eq!(cluster.hosts(using(&["w1"])), ["n1"]);
    assert_eq!(
        cluster.reasons(using(&["w1", "w2"]), "n1"),
        [Failure::Claim {
            filter: Filter::VolumeBinding,
            claim: "w2".into(),
            problem: ClaimProblem::NoVolume {
                class: "wait".into()
            }
        }]
    );
    let cluster = cluster.volume("v2", free);
    assert_eq!(cluster.hosts(using(&["w1", "w2"])), ["n1"]);
}

#[test]
fn f29_small_claims_are_served_first_and_take_the_smallest_volume() {
    let free = |gibibytes: i64, modes: Vec<AccessMode>| {
        move |volume: &mut model::storage::Volume| {
            volume.class = Some("wait".into());
            volume.capacity = gibibytes << 30;
            volume.access_modes = modes;
        }
    };
    let (once, many) = (AccessMode::ReadWriteOnce, AccessMode::ReadWriteMany);
    let one = || waiting(Cluster::of([node("n1", "")]), 2);
    let cluster = one()
        .volume("a", free(2, vec![once]))
        .volume("b", free(1, vec![once]));
    assert_eq!(cluster.hosts(using(&["w1", "w2"])), ["n1"]);
    // The small claim takes the only volume that the large one could have.
    let cluster = one()
        .volume("a", free(2, vec![once, many]))
        .volume("b", free(3, vec![once]))
        .claim("w2", |claim| {
            claim.class = Some("wait".into());
            claim.requested = 2 << 30;
            claim.access_modes = vec![many];
        });
    assert_eq!(cluster.hosts(using(&["w2"])), ["n1"]);
    assert!(cluster.hosts(using(&["w2", "w1"])).is_empty());
}

#[test]
fn a_waiting_claim_takes_a_volume_that_fits_in_every_respect() {
    type Change = fn(&mut model::storage::Volume);
    let changes: [(Change, bool); 8] = [
        (|_| {}, true),
        (|volume| volume.capacity = 1, false),
        (|volume| volume.available = false, false),
        (|volume| volume.deleting = true, false),
        (|volume| volume.block = true, false),
        (|volume| volume.class = Some("other".into()), false),
        (|volume| volume.access_modes.clear(), false),
        (
            |volume| volume.attributes_class = Some("gold".into()),
            false,
        ),
    ];
    for (number, (change, fits)) in changes.into_iter().enumerate() {
        let cluster = waiting(Cluster::of([node("n1", "")]), 1).volume("v1", |volume| {
            volume.class = Some("wait".into());
            change(volume);
        });
        assert_eq!(!cluster.hosts(using(&["w1"])).is_empty(), fits, "{number}");
    }
}

#[test]
fn a_volume_within_reach_of_some_nodes_binds_there_only() {
    let near = |zone: &'static str| {
        move |volume: &mut model::storage::Volume| {
            volume.class = Some("wait".into());
            volume.node_affinity = Some(vec![expressions(vec![requirement(
                ZONE,
                Operator::In,
                &[zone],
            )])]);
        }
    };
    let cluster = waiting(zoned(), 1).volume("v1", near("b"));
    assert_eq!(cluster.hosts(using(&["w1"])), ["n2"]);
    let cluster = bound(zoned()).volume("v1", near("a"));
    assert_eq!(cluster.hosts(using(&["data"])), ["n1"]);
}

#[test]
fn a_volume_that_is_kept_for_the_claim_is_the_only_one_it_takes() {
    let kept = |uid: Option<&'static str>, class: &'static str, zone: &'static str| {
        waiting(zoned(), 1)
            .claim("w1", |claim| {
                claim.class = Some("wait".into());
                claim.uid = Some(Uid::new("u1"));
            })
            .volume("free", |volume| volume.class = Some("wait".into()))
            .volume("kept", |volume| {
                volume.class = Some(class.into());
                volume.claim = Some(ClaimRef {
                    namespace: "a".into(),
                    name: "w1".into(),
                    uid: uid.map(Uid::new),
                });
                volume.node_affinity = Some(vec![expressions(vec![requirement(
                    ZONE,
                    Operator::In,
                    &[zone],
                )])]);
            })
            .hosts(using(&["w1"]))
            .len()
    };
    assert_eq!(kept(None, "wait", "b"), 1);
    assert_eq!(kept(Some("u1"), "wait", "b"), 1);
    assert_eq!(kept(Some("u2"), "wait", "b"), 4, "for one before it");
    assert_eq!(kept(None, "other", "b"), 4, "of another class");
    assert_eq!(kept(None, "wait", "nowhere"), 0);
}

#[test]
fn a_claim_may_select_its_volume_by_labels() {
    let selecting = |words: &str| {
        let words = words.to_owned();
        waiting(Cluster::of([node("n1", "")]), 1)
            .claim("w1", |claim| {
                claim.class = Some("wait".into());
                claim.selector = Some(selector("disk=ssd"));
            })
            .volume("v1", move |volume| {
                volume.class = Some("wait".into());
                volume.labels = labels(&words);
            })
            .hosts(using(&["w1"]))
            .len()
    };
    assert_eq!((selecting("disk=ssd"), selecting("disk=hdd")), (1, 0));
}

#[test]
fn a_bound_volume_whose_plugin_moved_to_csi_is_where_its_driver_says() {
    let mut cluster = bound(zoned()).volume("v1", |volume| {
        volume.in_tree = Some(InTree {
            plugin: "kubernetes.io/aws-ebs".into(),
            node_affinity: Some(vec![expressions(vec![requirement(
                ZONE,
                Operator::In,
                &["b"],
            )])]),
        });
    });
    assert_eq!(cluster.hosts(using(&["data"])).len(), 4);
    let migrated = &mut cluster.surroundings.storage.migrated;
    for node in ["n1", "n2"] {
        let plugins = ["kubernetes.io/aws-ebs".into()].into();
        migrated.insert(NodeName::new(node), plugins);
    }
    assert_eq!(
        cluster.hosts(using(&["data"])),
        ["n2", "bare", "regional"],
        "only where it has moved"
    );
}

#[test]
fn f25_a_claim_with_a_selected_node_is_judged_there_as_provisioning() {
    let cluster = |provisioner: &'static str| {
        zoned()
            .class("wait", move |class| class.provisioner = provisioner.into())
            .claim("w", |claim| {
                claim.class = Some("wait".into());
                claim.selected_node = Some(NodeName::new("n2"));
            })
            .volume("v1", |volume| volume.class = Some("wait".into()))
    };
    assert_eq!(cluster("csi.a.io").hosts(using(&["w"])), ["n2"]);
    let none = cluster("kubernetes.io/no-provisioner");
    assert!(none.hosts(using(&["w"])).is_empty(), "v1 is not looked at");
}

#[test]
fn provisioning_goes_by_topology_and_by_what_is_left_where_the_driver_says_so() {
    let claiming = |cluster: Cluster| {
        cluster.claim("w", |claim| {
            claim.class = Some("wait".into());
            claim.requested = 10;
        })
    };
    let topology = claiming(zoned()).class("wait", |class| {
        class.allowed_topologies = vec![vec![], vec![requirement(ZONE, Operator::In, &["b"])]];
    });
    assert_eq!(topology.hosts(using(&["w"])), ["n2"]);
    let mut cluster = claiming(zoned()).class("wait", |_| {});
    let published = |nodes: &str, capacity, maximum_volume_size| StorageCapacity {
        class: "wait".into(),
        nodes: Some(selector(&format!("{ZONE}={nodes}"))),
        capacity,
        maximum_volume_size,
    };
    cluster.surroundings.storage.capacities = vec![
        published("a", Some(100), Some(9)),
        published("b", Some(10), None),
    ];
    assert_eq!(cluster.hosts(using(&["w"])).len(), 4, "nobody publishes");
    let publishing = &mut cluster.surroundings.storage.publishing_drivers;
    publishing.insert("csi.a.io".into());
    assert_eq!(cluster.hosts(using(&["w"])), ["n2"]);
}

#[test]
fn f26_a_broken_claim_fails_in_every_filter_that_looks_it_up() {
    let refusals = |cluster: Cluster| cluster.refusals(using(&["data"])).remove(0);
    let one = || Cluster::of([node("n1", "")]);
    assert_eq!(
        refusals(one()),
        [
            Filter::VolumeRestrictions,
            Filter::NodeVolumeLimits,
            Filter::VolumeBinding,
            Filter::VolumeZone
        ]
    );
    let classless = one().claim("data", |claim| claim.class = Some("gone".into()));
    assert_eq!(
        refusals(classless),
        [Filter::VolumeBinding, Filter::VolumeZone]
    );
    let lost = one().claim("data", |claim| {
        claim.volume = Some("gone".into());
        claim.bind_completed = true;
        claim.lost = true;
    });
    assert_eq!(refusals(lost), [Filter::VolumeBinding, Filter::VolumeZone]);
    let lost = bound(one()).claim("data", |claim| {
        claim.volume = Some("v1".into());
        claim.bind_completed = true;
        claim.lost = true;
    });
    assert_eq!(refusals(lost), [Filter::VolumeBinding]);
    let deleting = bound(one()).claim("data", |claim| {
        claim.volume = Some("v1".into());
        claim.bind_completed = true;
        claim.deleting = true;
    });
    assert_eq!(refusals(deleting), [Filter::VolumeBinding]);
    let immediate = one()
        .class("now", |class| class.waits_for_consumer = false)
        .claim("data", |claim| claim.class = Some("now".into()));
    assert_eq!(
        refusals(immediate),
        [Filter::VolumeBinding, Filter::VolumeZone]
    );
}

#[test]
fn a_generated_claim_must_be_the_pods_own() {
    let cluster = bound(Cluster::of([node("n1", "")])).claim("data", |claim| {
        claim.volume = Some("v1".into());
        claim.bind_completed = true;
        claim.owner = Some(Uid::new("u1"));
    });
    let of = |uid: &str| {
        pod("a", "", |class| {
            class.claims = vec![ClaimUse {
                name: "data".into(),
                owner: Some(Uid::new(uid)),
            }];
        })
    };
    assert_eq!(cluster.hosts(of("u1")), ["n1"]);
    let both = [Filter::NodeVolumeLimits, Filter::VolumeBinding];
    assert_eq!(cluster.refusals(of("u2")), [both]);
    let nothing = Cluster::of([node("n1", "")]);
    assert_eq!(nothing.refusals(of("u1")), [both], "not made yet");
    // One on the node keeps all others away that have volumes to be counted.
    let cluster = volumes(cluster, 1)
        .limit("n1", Some(9))
        .runs("n1", of("u2"));
    assert_eq!(
        cluster.reasons(using(&["c1"]), "n1"),
        [Failure::UncountableVolumes]
    );
}

#[test]
fn f28_disks_conflict_by_kind() {
    let rbd = |monitor: &str, image: &str| DiskId::Rbd {
        monitors: vec!["m0".into(), monitor.into()],
        pool: "p".into(),
        image: image.into(),
    };
    let conflict = |a: DiskId, b: DiskId, read_only| {
        let cluster = Cluster::of([node("n1", "")]).runs("n1", mounting(a, read_only));
        cluster.hosts(mounting(b, read_only)).is_empty()
    };
    let ebs = || DiskId::Ebs("vol-1".into());
    assert!(conflict(ebs(), ebs(), true), "even readers");
    for disk in [
        DiskId::Gce("d".into()),
        DiskId::Iscsi("iqn".into()),
        rbd("m1", "i"),
    ] {
        assert!(conflict(disk.clone(), disk.clone(), false), "{disk:?}");
        assert!(!conflict(disk.clone(), disk.clone(), true));
        let cluster = Cluster::of([node("n1", "")]).runs("n1", mounting(disk.clone(), true));
        assert!(cluster.hosts(mounting(disk, false)).is_empty());
    }
    assert!(
        conflict(rbd("m1", "i"), rbd("m2", "i"), false),
        "m0 is shared"
    );
    assert!(!conflict(rbd("m1", "i"), rbd("m1", "j"), false));
    assert!(!conflict(ebs(), DiskId::Ebs("vol-2".into()), false));
    let azure = || DiskId::AzureDisk("d".into());
    assert!(!conflict(azure(), azure(), false));
}
