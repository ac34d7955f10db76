//! What pods mean, from the JSON that the API server writes.

#![allow(clippy::needless_pass_by_value)] // JSON literals

use model::{
    HostPort, InclusionPolicy, LabelSelector, Operator, Requirement,
    storage::{DiskId, InlineDisk},
};
use serde_json::{Value, json};

use super::*;

fn view(value: Value) -> PodView {
    serde_json::from_value(value).unwrap()
}

fn class(value: Value) -> SchedulingClass {
    view(value).class()
}

fn pod(spec: Value) -> SchedulingClass {
    let labels = json!({"app": "web", "pod-template-hash": "5d4f"});
    class(
        json!({"metadata": {"name": "p", "namespace": "shop", "uid": "u", "labels": labels},
        "spec": spec}),
    )
}

fn is(key: &str, value: &str) -> Requirement {
    crate::selector::equals(key, value)
}

fn is_not(key: &str, value: &str) -> Requirement {
    Requirement {
        operator: Operator::NotIn,
        ..is(key, value)
    }
}

fn selector(requirements: &[Requirement]) -> LabelSelector {
    LabelSelector {
        requirements: requirements.to_vec(),
    }
}

// === Ports ===

fn ports(spec: Value) -> Vec<String> {
    let class = pod(spec);
    assert_eq!(class.defect, None);
    let text = |port: &HostPort| format!("{:?} {} {}", port.protocol, port.address, port.port);
    class.host_ports.iter().map(text).collect()
}

#[test]
fn containers_and_sidecars_take_ports_of_the_host_and_init_containers_do_not() {
    let spec = json!({
        "containers": [{"ports": [
            {"containerPort": 80, "hostPort": 8080},
            {"containerPort": 53, "hostPort": 53, "protocol": "UDP", "hostIP": "10.0.0.1"},
            {"containerPort": 443},
        ]}],
        "initContainers": [
            {"restartPolicy": "Always", "ports": [{"containerPort": 9, "hostPort": 9, "hostIP": ""}]},
            {"ports": [{"containerPort": 7, "hostPort": 7}]},
        ],
    });
    let expected = ["Tcp 0.0.0.0 9", "Tcp 0.0.0.0 8080", "Udp 10.0.0.1 53"];
    assert_eq!(ports(spec), expected);
}

#[test]
fn with_the_network_of_the_host_every_port_is_one_of_the_host() {
    let spec = json!({"hostNetwork": true, "containers": [{"ports": [{"containerPort": 80}]}]});
    assert_eq!(ports(spec), ["Tcp 0.0.0.0 80"]);
}

#[test]
fn a_port_that_makes_no_sense_is_a_defect() {
    for port in [
        json!({"hostPort": 70_000}),
        json!({"hostPort": 80, "protocol": "QUIC"}),
    ] {
        let class = pod(json!({"containers": [{"ports": [port]}]}));
        assert!(class.defect.unwrap().starts_with("hostPort "));
    }
}

// === Spreading ===

#[test]
fn a_spread_constraint_has_the_defaults_of_the_api_and_its_keys_merged() {
    let constraint = json!({
        "topologyKey": "zone", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
        "matchLabelKeys": ["pod-template-hash", "not-there"],
    });
    let class = pod(json!({"topologySpreadConstraints": [constraint]}));
    let [spread] = class.spread.as_slice() else {
        panic!("{:?}", class.spread)
    };
    assert_eq!((spread.max_skew, spread.min_domains), (2, 1));
    assert_eq!(spread.node_affinity_policy, InclusionPolicy::Honor);
    assert_eq!(spread.node_taints_policy, InclusionPolicy::Ignore);
    let merged = [is("app", "web"), is("pod-template-hash", "5d4f")];
    assert_eq!(spread.selector, Some(selector(&merged)));

    // As the API server stores it since 1.34.
    let stored = json!({
        "topologyKey": "zone", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule",
        "minDomains": 1, "nodeAffinityPolicy": "Honor", "nodeTaintsPolicy": "Ignore",
        "labelSelector": {"matchLabels": {"app": "web"}, "matchExpressions": [
            {"key": "pod-template-hash", "operator": "In", "values": ["5d4f"]}]},
        "matchLabelKeys": ["pod-template-hash", "not-there"],
    });
    let stored = pod(json!({"topologySpreadConstraints": [stored]}));
    assert_eq!(stored.spread, class.spread);
}

#[test]
fn an_absent_selector_stays_apart_from_an_empty_one() {
    let of = |selector: Value| {
        let constraint = json!({"topologyKey": "zone", "maxSkew": 1,
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector,
            "matchLabelKeys": ["app"]});
        let class = pod(json!({"topologySpreadConstraints": [constraint]}));
        class.spread[0].selector.clone()
    };
    assert_eq!(of(json!(null)), None);
    assert_eq!(of(json!({})), Some(selector(&[is("app", "web")])));
}

#[test]
fn a_constraint_that_need_not_hold_is_a_preference() {
    let constraint = |when: &str| {
        json!({"topologyKey": "zone", "maxSkew": 1,
        "whenUnsatisfiable": when, "nodeTaintsPolicy": "Honor"})
    };
    let both = json!([constraint("ScheduleAnyway"), constraint("DoNotSchedule")]);
    let class = pod(json!({"topologySpreadConstraints": both}));
    assert_eq!((class.spread.len(), class.preferences.spread.len()), (1, 1));
    assert_eq!(class.spread, class.preferences.spread);
    assert_eq!(class.spread[0].node_taints_policy, InclusionPolicy::Honor);
}

#[test]
fn a_skew_below_one_is_a_defect() {
    let constraint =
        json!({"topologyKey": "zone", "maxSkew": 0, "whenUnsatisfiable": "DoNotSchedule"});
    let class = pod(json!({"topologySpreadConstraints": [constraint]}));
    let expected = "spread over zone: maxSkew 0 is below 1";
    assert_eq!(class.defect.as_deref(), Some(expected));
}

// === Affinity ===

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn anti(term: Value) -> model::PodTerm {
    let class = pod(json!({"affinity": {"podAntiAffinity": {REQUIRED: [term]}}}));
    assert_eq!(class.defect, None);
    class.anti_affinity[0].clone()
}

#[test]
fn a_term_is_about_the_namespaces_it_names_and_selects_or_else_its_own() {
    let names = |term: &model::PodTerm| -> Vec<String> {
        term.namespaces
            .names
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let own = anti(json!({"topologyKey": "zone"}));
    assert_eq!(
        (names(&own), own.namespaces.selector),
        (vec!["shop".into()], None)
    );
    let named = anti(json!({"topologyKey": "zone", "namespaces": ["b", "a"]}));
    assert_eq!(names(&named), ["a", "b"]);
    let every = anti(json!({"topologyKey": "zone", "namespaceSelector": {}}));
    assert_eq!(
        (names(&every), every.namespaces.selector),
        (vec![], Some(selector(&[])))
    );
    let both = anti(json!({"topologyKey": "zone", "namespaces": ["a"],
        "namespaceSelector": {"matchLabels": {"team": "x"}}}));
    assert_eq!(both.namespaces.selector, Some(selector(&[is("team", "x")])));
    assert_eq!(names(&both), ["a"]);
}

#[test]
fn keys_of_the_own_labels_are_merged_into_a_term_unless_it_has_no_selector() {
    let term = anti(
        json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"tier": "x"}},
        "matchLabelKeys": ["app"], "mismatchLabelKeys": ["pod-template-hash", "not-there"]}),
    );
    let merged = [
        is("app", "web"),
        is_not("pod-template-hash", "5d4f"),
        is("tier", "x"),
    ];
    assert_eq!(term.selector, Some(selector(&merged)));
    let stored = anti(
        json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"tier": "x"},
        "matchExpressions": [
            {"key": "app", "operator": "In", "values": ["web"]},
            {"key": "pod-template-hash", "operator": "NotIn", "values": ["5d4f"]}]},
        "matchLabelKeys": ["app"], "mismatchLabelKeys": ["pod-template-hash"]}),
    );
    assert_eq!(stored, term);
    let without = anti(json!({"topologyKey": "zone", "matchLabelKeys": ["app"]}));
    assert_eq!(without.selector, None);
}

#[test]
fn required_rules_are_kept_apart_from_preferred_ones() {
    let near = json!({"labelSelector": {}, "topologyKey": "zone"});
    let node = json!({"matchExpressions": [{"key": "disk", "operator": "Exists"}]});
    let class = pod(json!({"affinity": {
        "nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [node]},
            PREFERRED: [{"weight": 7, "preference": node}, {"weight": 1, "preference": {}}]},
        "podAffinity": {REQUIRED: [near], PREFERRED: [{"weight": 5, "podAffinityTerm": near}]},
        "podAntiAffinity": {PREFERRED: [{"weight": 3, "podAffinityTerm": near}]},
    }}));
    assert_eq!(class.required_terms.as_ref().map(Vec::len), Some(1));
    assert_eq!((class.affinity.len(), class.anti_affinity.len()), (1, 0));
    let weights = |terms: &[(i32, model::PodTerm)]| terms.iter().map(|t| t.0).collect::<Vec<_>>();
    assert_eq!(weights(&class.preferences.near), [5]);
    assert_eq!(weights(&class.preferences.apart), [3]);
    assert_eq!(
        class.preferences.nodes.len(),
        1,
        "an empty term prefers nothing"
    );
    assert_eq!(class.preferences.nodes[0].0, 7);
}

#[test]
fn a_selector_that_makes_no_sense_is_a_defect_that_names_the_rule() {
    let bad = json!({"topologyKey": "zone", "labelSelector": {"matchExpressions": [
        {"key": "app", "operator": "In", "values": []}]}});
    let class = pod(json!({"affinity": {"podAffinity": {REQUIRED: [bad]}}}));
    let expected = "pod affinity over zone: app: In with no values";
    assert_eq!(class.defect.as_deref(), Some(expected));
}

// === Volumes ===

#[test]
fn claims_are_in_the_order_of_the_volumes_and_generated_ones_have_an_owner() {
    let class = pod(json!({"volumes": [
        {"name": "data", "persistentVolumeClaim": {"claimName": "c2"}},
        {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
        {"name": "config", "configMap": {"name": "x"}},
        {"name": "more", "persistentVolumeClaim": {"claimName": "c1", "readOnly": true}},
    ]}));
    let claims: Vec<(&str, Option<&str>)> = class
        .claims
        .iter()
        .map(|claim| (&*claim.name, claim.owner.as_ref().map(Uid::as_str)))
        .collect();
    let expected = [("c2", None), ("p-scratch", Some("u")), ("c1", None)];
    assert_eq!(claims, expected);
}

#[test]
fn disks_are_told_apart_by_what_makes_them_the_same() {
    let class = pod(json!({"volumes": [
        {"name": "a", "awsElasticBlockStore": {"volumeID": "aws://z/vol-1"}},
        {"name": "b", "gcePersistentDisk": {"pdName": "d", "readOnly": true}},
        {"name": "c", "azureDisk": {"diskName": "x", "diskURI": "/d", "kind": "Managed"}},
        {"name": "d", "cinder": {"volumeID": "v"}},
        {"name": "e", "portworxVolume": {"volumeID": "w"}},
        {"name": "f", "iscsi": {"targetPortal": "t", "iqn": "iqn", "lun": 0}},
        {"name": "g", "rbd": {"monitors": ["m1", "m2"], "image": "i", "readOnly": true}},
    ]}));
    let disk = |id: DiskId, read_only: bool| InlineDisk { id, read_only };
    assert_eq!(
        class.disks,
        [
            disk(DiskId::Ebs("aws://z/vol-1".into()), false),
            disk(DiskId::Gce("d".into()), true),
            disk(DiskId::AzureDisk("/d".into()), false),
            disk(DiskId::Cinder("v".into()), false),
            disk(DiskId::Portworx("w".into()), false),
            disk(DiskId::Iscsi("iqn".into()), false),
            disk(
                DiskId::Rbd {
                    monitors: vec!["m1".into(), "m2".into()],
                    pool: "rbd".into(),
                    image: "i".into(),
                },
                true,
            ),
        ]
    );
    let shared = pod(json!({"volumes": [{"name": "c", "azureDisk": {"diskURI": "/d"}}]}));
    assert!(shared.defect.unwrap().contains("not managed"));
}

// === Features, devices ===

#[test]
fn a_pod_that_restarts_as_a_whole_needs_a_kubelet_that_can() {
    let rule =
        |action: &str| json!([{"action": action, "exitCodes": {"operator": "In", "values": [1]}}]);
    let features = |spec: Value| -> Vec<String> {
        pod(spec).features.iter().map(ToString::to_string).collect()
    };
    let whole = rule("RestartAllContainers");
    for spec in [
        json!({"containers": [{"restartPolicyRules": whole}]}),
        json!({"initContainers": [{"restartPolicyRules": whole}]}),
    ] {
        assert_eq!(features(spec), ["RestartAllContainersOnContainerExits"]);
    }
    let one = json!({"containers": [{"restartPolicyRules": rule("Restart")}]});
    assert!(features(one).is_empty());
    assert_eq!(
        features(json!({"hostNetwork": true, "hostUsers": false})),
        ["UserNamespacesHostNetworkSupport"]
    );
}

// === Requests ===

fn memory_of(pod: Value) -> i64 {
    let class = class(pod);
    assert_eq!(class.defect, None);
    class.requests.memory
}

/// A pod of one container that asks for 100 bytes and whose status is `status`.
fn resizing(node: Option<&str>, status: Value) -> Value {
    json!({"metadata": {"name": "p"}, "status": status, "spec": {"nodeName": node,
        "containers": [{"name": "c", "resources": {"requests": {"memory": "100"}}}]}})
}

#[test]
fn a_running_pod_counts_with_the_larger_of_what_it_asks_for_and_what_it_has() {
    let status = |actual: Value, allocated: &str| {
        json!({"containerStatuses": [{"name": "c", "allocatedResources": {"memory": allocated},
            "resources": actual}]})
    };
    let has = |bytes: &str| json!({"requests": {"memory": bytes}});
    let on_node = Some("n");
    assert_eq!(memory_of(resizing(on_node, status(has("50"), "70"))), 100);
    assert_eq!(memory_of(resizing(on_node, status(has("150"), "70"))), 150);
    assert_eq!(memory_of(resizing(on_node, status(has("50"), "170"))), 170);
    let unknown = status(json!(null), "170");
    assert_eq!(
        memory_of(resizing(on_node, unknown)),
        100,
        "what it has is not known"
    );
    assert_eq!(
        memory_of(resizing(None, status(has("150"), "150"))),
        100,
        "a pod without a node counts with what it asks for"
    );
}

#[test]
fn a_resize_that_is_refused_for_good_leaves_out_what_is_asked_for() {
    let status = |reason: &str| {
        json!({"conditions": [{"type": "PodResizePending", "status": "True", "reason": reason}],
            "containerStatuses": [{"name": "c", "resources": {"requests": {"memory": "60"}}}]})
    };
    assert_eq!(memory_of(resizing(Some("n"), status("Infeasible"))), 60);
    assert_eq!(memory_of(resizing(Some("n"), status("Deferred"))), 100);
}

#[test]
fn requests_of_the_whole_pod_replace_what_they_name_and_resize_as_well() {
    let pod = |status: Value| {
        json!({"metadata": {"name": "p"}, "status": status, "spec": {"nodeName": "n",
            "overhead": {"memory": "1"},
            "resources": {"requests": {"memory": "300", "hugepages-2Mi": "2Mi", "example.com/x": "9"}},
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "1", "memory": "100"}}}]}})
    };
    let requests = class(pod(json!({}))).requests;
    assert_eq!((requests.cpu_milli, requests.memory), (1000, 301));
    assert_eq!(requests.get("hugepages-2Mi"), 2 << 20);
    assert_eq!(requests.get("example.com/x"), 0, "not of the whole pod");
    let status = json!({"resources": {"requests": {"memory": "400"}},
        "allocatedResources": {"memory": "350"}});
    assert_eq!(class(pod(status)).requests.memory, 401);
}

#[test]
fn bytes_are_summed_exactly_over_containers() {
    let half = json!({"resources": {"requests": {"memory": "500m", "cpu": "500u"}}});
    let requests = pod(json!({"containers": [half, half, half]})).requests;
    assert_eq!((requests.memory, requests.cpu_milli), (2, 3));
}

// === Classes ===

#[test]
fn bound_pods_of_one_daemon_set_share_a_class() {
    let on = |node: &str, more: Value| {
        let term = json!({"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": [node]}], "matchExpressions": more});
        class(
            json!({"metadata": {"name": node, "ownerReferences": [{"apiVersion": "apps/v1",
                "kind": "DaemonSet", "name": "d", "uid": "u", "controller": true}]},
            "spec": {"nodeName": node,
                "affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [term]}}}}}),
        )
    };
    assert_eq!(on("a", json!([])), on("b", json!([])));
    let labelled = json!([{"key": "disk", "operator": "Exists"}]);
    assert_eq!(on("a", labelled.clone()), on("b", labelled.clone()));
    let terms = on("a", labelled).required_terms.unwrap();
    assert_eq!(terms[0].match_expressions.len(), 1);
}

#[test]
fn what_is_null_is_not_there() {
    let class = class(json!({"metadata": {"name": "p", "labels": null},
        "spec": {"containers": null, "volumes": null, "affinity": null, "tolerations": null,
            "topologySpreadConstraints": null},
        "status": null}));
    assert_eq!(class.defect, None);
    assert_eq!(class.requests.pods, 1);
}

// === Removal ===

fn upkeep(metadata: Value, spec: Value) -> Upkeep {
    view(json!({"metadata": metadata, "spec": spec})).upkeep()
}

#[test]
fn volumes_whose_data_is_on_the_node_are_those_of_the_host_and_empty_ones_that_are_not_in_memory() {
    let volumes = json!([
        {"name": "host", "hostPath": {"path": "/var/lib/x"}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "disk", "emptyDir": {"medium": "", "sizeLimit": "1Gi"}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "pages", "emptyDir": {"medium": "HugePages-2Mi"}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "c"}},
        {"name": "config", "configMap": {"name": "c"}},
        {"name": "none", "emptyDir": null, "hostPath": null},
    ]);
    let local = upkeep(json!({}), json!({"volumes": volumes})).local_volumes;
    let local: Vec<&str> = local.iter().map(AsRef::as_ref).collect();
    assert_eq!(local, ["host", "scratch", "disk"]);
}

#[test]
fn only_wishes_of_known_keys_are_kept_and_as_they_are_written() {
    let annotations = json!({
        "cluster-autoscaler.kubernetes.io/safe-to-evict": " False",
        "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes": "a, b",
        "karpenter.sh/do-not-disrupt": "30m",
        "karpenter.sh/do-not-evict": "true",
        "autoscaler.vpsie.com/safe-to-evict": "maybe",
        "autoscaler.vpsie.com/do-not-disrupt": "",
        "autoscaler.vpsie.com/protected": "true",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    });
    let wishes = upkeep(json!({"annotations": annotations}), json!({})).wishes;
    assert_eq!(wishes.len(), 7);
    assert_eq!(
        &*wishes["cluster-autoscaler.kubernetes.io/safe-to-evict"],
        " False"
    );
}

#[test]
fn who_makes_a_pod_anew_is_its_controller_and_no_other_owner() {
    let owner = |kind: &str, controller: Option<bool>| json!({"apiVersion": "v1", "kind": kind, "name": "o", "uid": "u", "controller": controller});
    let of = |owners: Value| upkeep(json!({"ownerReferences": owners}), json!({})).controller;
    assert_eq!(of(json!([])), None);
    assert_eq!(
        of(json!([owner("Node", None), owner("X", Some(false))])),
        None
    );
    let found = of(json!([owner("X", None), owner("Job", Some(true))])).unwrap();
    assert_eq!(
        (&*found.kind, &*found.name, found.uid.as_str()),
        ("Job", "o", "u")
    );
}

#[test]
fn the_grace_period_is_what_the_pod_says_and_thirty_seconds_where_it_does_not() {
    let grace = |spec: Value| upkeep(json!({}), spec).grace.as_secs();
    assert_eq!(grace(json!({})), 30);
    assert_eq!(grace(json!({"terminationGracePeriodSeconds": 0})), 0);
    assert_eq!(grace(json!({"terminationGracePeriodSeconds": 900})), 900);
}

#[test]
fn how_far_a_pod_has_come_is_told_by_its_phase_and_its_ready_condition() {
    let read = |node: Option<&str>, status: Value| {
        let view = view(
            json!({"metadata": {"name": "p"}, "spec": {"nodeName": node},
            "status": status}),
        );
        view.pod(view.key(), Arc::default(), Arc::default())
    };
    let ready = |phase: &str, status: &str| json!({"phase": phase, "conditions": [{"type": "Ready", "status": status}]});
    for (status, expected) in [
        (ready("Running", "True"), PodHealth::Ready),
        (ready("Running", "False"), PodHealth::Unready),
        (ready("Unknown", "Unknown"), PodHealth::Unready),
        (json!({"phase": "Running"}), PodHealth::Unready),
        (ready("Pending", "False"), PodHealth::Starting),
        (json!({}), PodHealth::Ready),
    ] {
        assert_eq!(read(Some("n"), status.clone()).health, expected, "{status}");
    }
    assert_eq!(read(None, json!({})).health, PodHealth::Starting);
    let started = json!({"phase": "Running", "startTime": "2026-01-01T00:00:00Z"});
    let started = read(Some("n"), started).started_at;
    assert_eq!(started, "2026-01-01T00:00:00Z".parse().ok());
}
