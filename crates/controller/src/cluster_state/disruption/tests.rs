//! The rows without any stream: objects in, what removals look at out.

use intake::dump::Dump;
use k8s_openapi::api::{
    apps::v1::{ReplicaSet, StatefulSet},
    batch::v1::Job,
    core::v1::ReplicationController,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

const KINDS: [Kind; 5] = [
    Kind::PodDisruptionBudgets,
    Kind::ReplicaSets,
    Kind::ReplicationControllers,
    Kind::StatefulSets,
    Kind::Jobs,
];

fn view<F: DeserializeOwned>(object: &Value) -> F {
    serde_json::from_value(object.clone()).unwrap()
}

fn put(rows: &mut Rows, object: &Value) -> bool {
    match object["kind"].as_str().unwrap() {
        "PodDisruptionBudget" => rows.put(&view::<BudgetView>(object)),
        "ReplicaSet" => rows.put(&view::<WorkloadView<ReplicaSet>>(object)),
        "ReplicationController" => rows.put(&view::<WorkloadView<ReplicationController>>(object)),
        "StatefulSet" => rows.put(&view::<WorkloadView<StatefulSet>>(object)),
        "Job" => rows.put(&view::<WorkloadView<Job>>(object)),
        "AutoscalerConfig" => rows.put(&view::<ConfigView>(object)),
        other => panic!("{other}"),
    }
}

fn remove(rows: &mut Rows, object: &Value) -> bool {
    match object["kind"].as_str().unwrap() {
        "PodDisruptionBudget" => rows.remove(&view::<BudgetView>(object)),
        "ReplicaSet" => rows.remove(&view::<WorkloadView<ReplicaSet>>(object)),
        "ReplicationController" => {
            rows.remove(&view::<WorkloadView<ReplicationController>>(object))
        }
        "StatefulSet" => rows.remove(&view::<WorkloadView<StatefulSet>>(object)),
        "Job" => rows.remove(&view::<WorkloadView<Job>>(object)),
        "AutoscalerConfig" => rows.remove(&view::<ConfigView>(object)),
        other => panic!("{other}"),
    }
}

/// As complete lists of everything tell of it.
fn listed(objects: &[Value]) -> Rows {
    let mut rows = Rows::default();
    for kind in KINDS {
        rows.begin(kind);
    }
    for object in objects {
        assert!(put(&mut rows, object), "{object}");
    }
    for kind in KINDS {
        rows.sweep(kind);
    }
    rows
}

fn budget(allowed: u32) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "b", "namespace": "shop", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "web"}}},
        "status": {"observedGeneration": 1, "disruptionsAllowed": allowed}})
}

fn workload(api: &str, kind: &str, replicas: u32) -> Value {
    json!({"apiVersion": api, "kind": kind,
        "metadata": {"name": "w", "namespace": "shop", "uid": format!("uid-{kind}")},
        "spec": {"replicas": replicas}})
}

/// One object of each kind, and the same one changed.
fn pairs() -> Vec<(Kind, Value, Value)> {
    let of = |kind, api, name| (kind, workload(api, name, 1), workload(api, name, 2));
    vec![
        (Kind::PodDisruptionBudgets, budget(1), budget(0)),
        of(Kind::ReplicaSets, "apps/v1", "ReplicaSet"),
        of(Kind::ReplicationControllers, "v1", "ReplicationController"),
        of(Kind::StatefulSets, "apps/v1", "StatefulSet"),
        of(Kind::Jobs, "batch/v1", "Job"),
    ]
}

fn before() -> Vec<Value> {
    pairs().into_iter().map(|(_, before, _)| before).collect()
}

/// What a dump says of these objects; of a kind without any, what a list of none does.
fn dumped(objects: &[Value]) -> Disruption {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let dump = Dump::from_slice(list.to_string().as_bytes()).unwrap();
    assert!(dump.problems.is_empty(), "{:?}", dump.problems);
    let mut disruption = dump.disruption;
    for kind in WorkloadKind::ALL {
        disruption.workloads.entry(kind).or_default().complete = true;
    }
    disruption
}

#[test]
fn each_kind_that_comes_changes_or_goes_shows_as_a_dump_would_show_it() {
    let mut rows = listed(&before());
    assert_eq!(*rows.read(), dumped(&before()));
    for (index, (kind, before_change, after)) in pairs().into_iter().enumerate() {
        let mut all = before();
        assert!(put(&mut rows, &after), "{kind:?}");
        all[index] = after.clone();
        assert_eq!(*rows.read(), dumped(&all), "{kind:?} changed");

        assert!(remove(&mut rows, &after), "{kind:?}");
        all.remove(index);
        assert_eq!(*rows.read(), dumped(&all), "{kind:?} went");
        assert_eq!(rows.count(kind), 0, "{kind:?}");

        assert!(put(&mut rows, &before_change), "{kind:?}");
        assert_eq!(rows.count(kind), 1, "{kind:?}");
        assert_eq!(*rows.read(), dumped(&before()), "{kind:?} came back");
    }
}

#[test]
fn what_changes_nothing_that_decides_is_no_news_and_leaves_the_value_alone() {
    let mut rows = listed(&before());
    let value = rows.read();
    for mut same in before() {
        same["metadata"]["resourceVersion"] = json!("77");
        same["metadata"]["annotations"] = json!({"example.com/seen": "now"});
        same["status"]["replicas"] = json!(9);
        assert!(!put(&mut rows, &same), "{same}");
    }
    assert!(Arc::ptr_eq(&value, &rows.read()));
}

#[test]
fn until_a_list_is_complete_a_missing_object_says_nothing() {
    let mut rows = Rows::default();
    assert_eq!(*rows.read(), Disruption::default());
    for kind in KINDS {
        rows.begin(kind);
    }
    for object in before() {
        put(&mut rows, &object);
    }
    let value = rows.read();
    assert_eq!(value.budgets, None);
    assert!(value.workloads.values().all(|all| !all.complete));
    for kind in KINDS {
        rows.sweep(kind);
    }
    assert_eq!(*rows.read(), dumped(&before()));
}

#[test]
fn a_list_drops_what_it_does_not_tell_of_and_nothing_of_another_kind() {
    for (kind, object, _) in pairs() {
        let mut rows = listed(&before());
        rows.begin(kind);
        assert_eq!(rows.count(kind), 1, "{kind:?} until the list is complete");
        rows.sweep(kind);
        let left: Vec<Value> = before().into_iter().filter(|o| *o != object).collect();
        assert_eq!(*rows.read(), dumped(&left), "{kind:?}");
    }
}

#[test]
fn a_kind_that_may_not_be_read_any_more_is_not_taken_for_empty() {
    for (kind, _, _) in pairs() {
        let mut rows = listed(&before());
        rows.refused(kind);
        let value = rows.read();
        let full = dumped(&before());
        match super::workload(kind) {
            None => {
                assert_eq!(value.budgets, None);
                assert_eq!(value.workloads, full.workloads);
            }
            Some(gone) => {
                assert!(!value.workloads.contains_key(&gone));
                assert_eq!(value.workloads.len(), 3);
                assert_eq!(value.budgets, full.budgets);
            }
        }
        rows.begin(kind);
        for object in before() {
            put(&mut rows, &object);
        }
        rows.sweep(kind);
        assert_eq!(*rows.read(), full, "{kind:?} can be read again");
    }
}

#[test]
fn a_controller_made_anew_under_its_name_is_another_one() {
    let mut rows = listed(&before());
    let old = workload("apps/v1", "ReplicaSet", 1);
    let mut new = old.clone();
    new["metadata"]["uid"] = json!("another");
    assert!(put(&mut rows, &new));
    assert!(remove(&mut rows, &old), "late news of the old one");
    let value = rows.read();
    let known: Vec<&str> = value.workloads[&WorkloadKind::ReplicaSet]
        .replicas
        .keys()
        .map(Uid::as_str)
        .collect();
    assert_eq!(known, ["another"]);
}

#[test]
fn a_reader_keeps_the_value_it_has_when_rows_change() {
    let mut rows = listed(&before());
    let value = rows.read();
    for (_, _, after) in pairs() {
        put(&mut rows, &after);
        remove(&mut rows, &after);
    }
    assert_eq!(*value, dumped(&before()));
}

#[test]
fn the_cluster_is_paused_while_the_one_object_that_counts_says_so() {
    let config = |name: &str, value: &str| {
        json!({"apiVersion": "autoscaler.vpsie.com/v1alpha1", "kind": "AutoscalerConfig",
            "metadata": {"name": name, "annotations": {"autoscaler.vpsie.com/paused": value}},
            "spec": {}})
    };
    let mut rows = Rows::default();
    assert_eq!(rows.paused(), None);
    assert!(!put(&mut rows, &config("other", "true")));
    assert_eq!(rows.paused(), None);
    assert!(put(&mut rows, &config("default", "true")));
    assert!(!put(&mut rows, &config("default", "true")), "no news");
    assert!(rows.paused().unwrap().contains("default"));
    assert!(put(&mut rows, &config("default", "false")));
    assert_eq!(rows.paused(), None);
    put(&mut rows, &config("default", "true"));
    rows.refused(Kind::AutoscalerConfigs);
    assert!(rows.paused().is_some(), "it was meant");
    assert!(remove(&mut rows, &config("default", "true")));
    assert_eq!(rows.paused(), None);
    put(&mut rows, &config("default", "true"));
    rows.begin(Kind::AutoscalerConfigs);
    rows.sweep(Kind::AutoscalerConfigs);
    assert_eq!(rows.paused(), None, "it went unheard");
    assert_eq!(rows.count(Kind::AutoscalerConfigs), 0);
}

#[test]
fn usage_is_replaced_as_a_whole() {
    let usage = |cpu_milli| Usage {
        cpu_milli,
        memory: 1,
        at: "2026-01-01T00:00:00Z".parse().unwrap(),
    };
    let mut rows = listed(&before());
    rows.note_usage([(NodeName::new("a"), usage(1))].into());
    let first = rows.read();
    rows.note_usage([(NodeName::new("a"), usage(1))].into());
    assert!(Arc::ptr_eq(&first, &rows.read()), "nothing new");
    rows.note_usage([(NodeName::new("b"), usage(2))].into());
    let nodes: Vec<NodeName> = rows.read().usage.keys().cloned().collect();
    assert_eq!(nodes, [NodeName::new("b")]);
}
