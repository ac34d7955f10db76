//! For each rule a history that breaks it and one, as near as can be, that does not.

mod liveness;

use serde_json::json;

use crate::{
    Errand, Fate, Note, Origin,
    tale::{BY_NAME, EXACTLY, Tale, US},
};

const NONE: [&str; 0] = [];

/// A node is emptied and taken away as it must be.
fn rightly() -> Tale {
    let mut tale = Tale::new();
    tale.pod("web-1", "a");
    tale.later(60);
    tale.leads(US);
    tale.begins_to_empty("a");
    tale.evict("web-1", EXACTLY);
    tale.later(5);
    tale.ends("web-1");
    tale.pod("web-2", "b");
    tale.leads(US);
    tale.looks_at("a");
    tale.deletes_node("a");
    tale.looks_at("a");
    tale.deletes_machine("a");
    tale.later(60);
    tale.machine("a", Origin::Nobody, Fate::Gone);
    tale.leads(US);
    tale.lets_go("a");
    tale
}

#[test]
fn a_removal_as_it_must_be_breaks_no_rule() {
    assert_eq!(rightly().broken(), NONE);
}

#[test]
fn s1_a_second_machine_for_one_record_is_found() {
    let mut tale = Tale::new();
    tale.intends("c");
    tale.asks_for("c");
    assert_eq!(tale.broken(), NONE);
    tale.asks_for("c-again");
    assert_eq!(tale.broken(), ["S1"]);
}

#[test]
fn s1_two_machines_that_the_cloud_makes_of_one_request_are_no_doing_of_ours() {
    let mut tale = Tale::new();
    tale.intends("c");
    let number = tale.asks_for("c");
    tale.machine("c-twin", Origin::Request(number), Fate::Bought);
    assert_eq!(tale.broken(), NONE);
}

#[test]
fn s1_a_record_that_names_a_machine_that_a_person_added_leaves_its_own_to_nobody() {
    let mut tale = Tale::new();
    tale.intends("c");
    tale.asks_for("c");
    tale.machine("theirs", Origin::Person, Fate::Bought);
    tale.change(US, "vpsienodes", "c", |record| {
        record["spec"]["vpsieNodeIdentifier"] = json!("m-theirs");
    });
    tale.intends("d");
    tale.asks_for("d");
    assert_eq!(tale.broken(), NONE);
    tale.asks_for("d-again");
    assert_eq!(tale.broken(), ["S1"]);
}

#[test]
fn s2_a_machine_that_no_record_names_for_a_quarter_of_an_hour_is_found() {
    let mut tale = Tale::new();
    tale.buy("c");
    tale.joins("c");
    // The record is forgotten, the machine is not.
    tale.gone("people", "delete", "vpsienodes", "c", BY_NAME);
    tale.later(600);
    tale.leads(US);
    assert_eq!(tale.broken(), NONE);
    tale.later(600);
    tale.leads(US);
    assert_eq!(tale.broken(), ["S2"]);
}

#[test]
fn s2_a_machine_that_was_reported_may_stay() {
    let mut tale = Tale::new();
    tale.buy("c");
    tale.gone("people", "delete", "vpsienodes", "c", BY_NAME);
    let told = json!({"metadata": {"namespace": "kube-system", "name": "e", "uid": "e"},
        "involvedObject": {"kind": "NodeGroup", "namespace": "kube-system", "name": "g"},
        "reason": "MachineNotOurs", "message": "worker c (m-c) belongs to no VPSieNode"});
    tale.write(US, "create", "events", told, BY_NAME);
    tale.later(3600);
    tale.leads(US);
    assert_eq!(tale.broken(), NONE);
}

#[test]
fn s3_a_machine_above_the_maximum_is_found() {
    let mut tale = Tale::new();
    tale.group(1, 3);
    tale.later(60);
    tale.leads(US);
    tale.buy("c");
    assert_eq!(tale.broken(), NONE);
    tale.buy("d");
    assert_eq!(tale.broken(), ["S3"]);
}

#[test]
fn s3_a_maximum_that_was_lowered_this_moment_need_not_be_known() {
    let mut tale = Tale::new();
    tale.group(1, 2);
    tale.later(2);
    tale.buy("c");
    assert_eq!(tale.broken(), NONE);
}

#[test]
fn s3_the_limit_of_the_cluster_counts_too() {
    let mut tale = Tale::new();
    tale.history.limits.machines = Some(2);
    tale.buy("c");
    assert_eq!(tale.broken(), ["S3"]);
}

#[test]
fn s4_a_removal_below_the_minimum_is_found() {
    let mut tale = Tale::new();
    tale.removes("a", "Empty");
    assert_eq!(tale.broken(), NONE);
    let mut tale = Tale::new();
    tale.group(2, 5);
    tale.later(60);
    tale.leads(US);
    tale.removes("a", "Empty");
    assert_eq!(tale.broken(), ["S4"]);
    let mut tale = Tale::new();
    tale.group(2, 5);
    tale.ready("a", false);
    tale.later(60);
    tale.leads(US);
    tale.removes("a", "Unhealthy");
    assert_eq!(tale.broken(), NONE, "one that is broken is replaced");
}

#[test]
fn s4_two_removals_may_not_count_on_each_others_node() {
    let mut tale = Tale::new();
    tale.history.limits.removals_at_once = 5;
    tale.removes("a", "Empty");
    tale.removes("b", "Empty");
    assert_eq!(tale.broken(), ["S4"]);
}

#[test]
fn s5_what_no_record_names_may_not_be_touched() {
    let mut tale = Tale::new();
    tale.cloud(
        US,
        Errand::Delete {
            machine: Some("m-stranger".into()),
        },
    );
    assert_eq!(tale.broken(), ["S5"]);
    let mut tale = Tale::new();
    tale.joins_without_record("stranger");
    tale.cordon(US, "stranger", true);
    assert_eq!(tale.broken(), ["S5"]);
    let mut tale = Tale::new();
    tale.removes("a", "Empty");
    tale.cordon(US, "a", true);
    assert_eq!(tale.broken(), NONE);
}

#[test]
fn s5_a_record_keeps_its_machine_and_shares_it_with_none() {
    let mut tale = Tale::new();
    tale.change(US, "vpsienodes", "a", |record| {
        record["spec"]["vpsieNodeIdentifier"] = json!("m-other");
    });
    assert!(tale.broken().contains(&"S5"), "{:?}", tale.broken());
    let mut tale = Tale::new();
    tale.intends("c");
    tale.change(US, "vpsienodes", "c", |record| {
        record["spec"]["vpsieNodeIdentifier"] = json!("m-a");
    });
    assert!(tale.broken().contains(&"S5"), "{:?}", tale.broken());
}

#[test]
fn s6_a_node_that_is_deleted_under_a_pod_is_found() {
    let mut tale = Tale::new();
    tale.pod("web-1", "a");
    tale.later(60);
    tale.leads(US);
    tale.begins_to_empty("a");
    tale.deletes_node("a");
    assert_eq!(tale.broken(), ["S6"]);
}

#[test]
fn s6_a_pod_that_came_after_the_last_look_cannot_have_been_known() {
    let mut tale = Tale::new();
    tale.begins_to_empty("a");
    tale.pod("web-1", "a");
    tale.deletes_node("a");
    assert_eq!(tale.broken(), NONE);
}

#[test]
fn s6_a_machine_whose_node_serves_may_not_be_deleted() {
    let mut tale = Tale::new();
    tale.begins_to_empty("a");
    tale.deletes_machine("a");
    assert_eq!(tale.broken(), ["S6"]);
}

/// The request for its machine's deletion is on its way meanwhile, or waits long before it is sent.
#[test]
fn s6_a_node_that_registers_before_its_machine_is_asked_to_go_is_found() {
    for (before, broken) in [(None, vec![]), (Some(1), vec![]), (Some(20), vec!["S6"])] {
        let mut tale = Tale::new();
        tale.buy("late");
        let machine = Some("m-late".to_owned());
        let number = match before {
            None => {
                let number = tale.cloud(US, Errand::Delete { machine });
                tale.joins("late");
                number
            }
            Some(seconds) => {
                tale.joins("late");
                tale.later(seconds);
                tale.leads(US);
                tale.cloud(US, Errand::Delete { machine })
            }
        };
        tale.later(30);
        tale.machine(
            "late",
            Origin::Nobody,
            Fate::Deleted(Origin::Request(number)),
        );
        let s6 = tale.broken().into_iter().filter(|rule| *rule == "S6");
        assert_eq!(s6.collect::<Vec<_>>(), broken, "{before:?}");
    }
}

#[test]
fn s7_a_pod_that_is_deleted_or_evicted_by_name_is_found() {
    let mut tale = Tale::new();
    tale.pod("web-1", "a");
    tale.later(60);
    tale.leads(US);
    tale.begins_to_empty("a");
    tale.evict("web-1", BY_NAME);
    assert_eq!(tale.broken(), ["S15", "S7"]);
    let mut tale = Tale::new();
    tale.pod("web-1", "a");
    tale.gone(US, "delete", "pods", "web-1", EXACTLY);
    assert_eq!(tale.broken(), ["S7"]);
}

#[test]
fn s7_a_pod_that_is_not_given_its_own_time_to_end_is_found() {
    for (given, broken) in [(30, vec![]), (1, vec!["S7"])] {
        let mut tale = Tale::new();
        tale.pod("web-1", "a");
        tale.later(60);
        tale.leads(US);
        tale.begins_to_empty("a");
        tale.change("kubelet", "pods", "web-1", |pod| {
            pod["metadata"]["deletionGracePeriodSeconds"] = json!(given);
        });
        tale.evict("web-1", EXACTLY);
        assert_eq!(tale.broken(), broken, "{given} of 30 s");
    }
}

#[test]
fn s7_a_pod_that_leaves_before_one_of_a_lower_priority_is_found() {
    for (first, broken) in [("low", vec![]), ("high", vec!["S7"])] {
        let mut tale = Tale::new();
        for (name, priority) in [("low", 0), ("high", 1000)] {
            tale.pod(name, "a");
            tale.change("people", "pods", name, |pod| {
                pod["spec"]["priority"] = json!(priority);
            });
        }
        tale.later(60);
        tale.leads(US);
        tale.begins_to_empty("a");
        tale.evict(first, EXACTLY);
        assert_eq!(tale.broken(), broken, "{first} first");
    }
}

#[test]
fn s7_an_eviction_against_its_budget_is_found() {
    for (allowed, broken) in [(0, vec!["S7"]), (1, vec![])] {
        let mut tale = Tale::new();
        tale.pod("web-1", "a");
        tale.budget("one", allowed);
        tale.later(60);
        tale.leads(US);
        tale.begins_to_empty("a");
        tale.evict("web-1", EXACTLY);
        assert_eq!(tale.broken(), broken);
    }
}

#[test]
fn s7_a_pod_under_two_budgets_is_not_evicted() {
    let mut tale = Tale::new();
    tale.pod("web-1", "a");
    tale.budget("one", 1);
    tale.budget("two", 1);
    tale.later(60);
    tale.leads(US);
    tale.begins_to_empty("a");
    tale.evict("web-1", EXACTLY);
    assert_eq!(tale.broken(), ["S7"]);
}

/// A pod of node a is changed and its node emptied, for this cause; what is broken.
fn emptied(cause: &str, change: impl FnOnce(&mut serde_json::Value)) -> Vec<&'static str> {
    let mut tale = Tale::new();
    tale.pod("web-1", "a");
    tale.change("people", "pods", "web-1", change);
    tale.later(60);
    tale.leads(US);
    tale.begins_to_empty("a");
    tale.change(US, "vpsienodes", "a", |record| {
        record["status"]["removal"]["cause"] = json!(cause);
    });
    tale.evict("web-1", EXACTLY);
    tale.broken()
}

#[test]
fn s8_a_protected_bare_or_local_pod_keeps_its_node() {
    let protect = |pod: &mut serde_json::Value| {
        pod["metadata"]["annotations"] =
            json!({"cluster-autoscaler.kubernetes.io/safe-to-evict": " False"});
    };
    assert_eq!(emptied("Underutilized", protect), ["S8"]);
    assert_eq!(emptied("Deleted", protect), NONE, "it was ordered");
    let bare = |pod: &mut serde_json::Value| pod["metadata"]["ownerReferences"] = json!([]);
    assert_eq!(emptied("Underutilized", bare), ["S8"]);
    let local = |pod: &mut serde_json::Value| {
        pod["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    };
    assert_eq!(emptied("Underutilized", local), ["S8"]);
    let allowed = |pod: &mut serde_json::Value| {
        pod["metadata"]["ownerReferences"] = json!([]);
        pod["metadata"]["annotations"] =
            json!({"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"});
    };
    assert_eq!(emptied("Underutilized", allowed), NONE);
    assert_eq!(emptied("Underutilized", |_| {}), NONE);
}

#[test]
fn s8_a_protected_node_is_not_emptied() {
    let mut tale = Tale::new();
    tale.pod("web-1", "a");
    tale.later(60);
    tale.leads(US);
    tale.removes("a", "Underutilized");
    tale.cordon(US, "a", true);
    tale.change("people", "nodes", "a", |node| {
        node["metadata"]["annotations"]["autoscaler.vpsie.com/protected"] = json!("true");
    });
    tale.looks_at("a");
    tale.evict("web-1", EXACTLY);
    assert_eq!(tale.broken(), ["S8"]);
}

#[test]
fn s9_a_node_whose_pods_have_no_place_elsewhere_is_not_emptied() {
    for (pods, broken) in [(2, vec![]), (3, vec!["S9"])] {
        let mut tale = Tale::new();
        tale.pod("web-a1", "a");
        tale.pod("web-a2", "a");
        for number in 0..pods {
            tale.pod(&format!("web-b{number}"), "b");
        }
        tale.later(60);
        tale.leads(US);
        tale.begins_to_empty("a");
        tale.evict("web-a1", EXACTLY);
        assert_eq!(
            tale.broken(),
            broken,
            "{pods} pods on the other node of room for four"
        );
    }
}

/// A tale in which a pod was evicted, and what replaces it begins to wait; in between, if so, another
/// pod of the set is lost with its node.
fn one_evicted_and_one_waiting(lost: bool) -> Tale {
    let mut tale = Tale::new();
    tale.pod("web-1", "a");
    tale.pod("web-0", "b");
    tale.later(60);
    tale.leads(US);
    tale.history.calm = Some(tale.now());
    tale.begins_to_empty("a");
    tale.evict("web-1", EXACTLY);
    if lost {
        tale.gone(
            "kube-controller-manager",
            "delete",
            "pods",
            "web-0",
            BY_NAME,
        );
    }
    let mut pod = tale.get("pods", "web-1");
    pod["metadata"] = json!({"namespace": "default", "name": "web-2", "uid": "p-web-2",
        "ownerReferences": pod["metadata"]["ownerReferences"]});
    pod["spec"]["nodeName"] = json!(null);
    pod["status"] = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]});
    tale.write("kube-controller-manager", "create", "pods", pod, BY_NAME);
    // A machine is on its way, so that nothing but the wait is wrong.
    tale.intends("c");
    tale.later(100);
    tale.leads(US);
    tale
}

#[test]
fn s9_what_replaces_an_evicted_pod_does_not_wait() {
    for (lost, broken) in [(false, vec!["S9"]), (true, vec![])] {
        let mut tale = one_evicted_and_one_waiting(lost);
        assert_eq!(tale.broken(), NONE);
        tale.later(60);
        tale.leads(US);
        assert_eq!(tale.broken(), broken, "another one was lost: {lost}");
    }
}

#[test]
fn s10_a_destructive_step_on_old_facts_is_found() {
    let mut tale = Tale::new();
    tale.begins_to_empty("a");
    tale.later(12);
    tale.leads(US);
    tale.deletes_node("a");
    assert_eq!(tale.broken(), ["S10"]);
    let mut tale = Tale::new();
    tale.begins_to_empty("a");
    tale.later(8);
    tale.deletes_node("a");
    assert_eq!(tale.broken(), NONE);
}

#[test]
fn s11_a_write_without_the_lease_is_found() {
    let mut tale = Tale::new();
    tale.leads("other");
    tale.later(1);
    tale.removes("a", "Empty");
    assert_eq!(tale.broken(), ["S11"]);
    let mut tale = Tale::new();
    tale.later(14);
    tale.removes("a", "Empty");
    assert_eq!(tale.broken(), NONE);
    tale.later(2);
    tale.cordon(US, "a", true);
    assert_eq!(tale.broken(), ["S11"]);
}

#[test]
fn s12_what_is_done_out_of_turn_is_found() {
    let mut tale = Tale::new();
    tale.pod("web-1", "a");
    tale.removes("a", "Underutilized");
    tale.later(60);
    tale.leads(US);
    tale.looks_at("a");
    tale.evict("web-1", EXACTLY);
    assert_eq!(tale.broken(), ["S12"], "evicted before the cordon");
    let mut tale = Tale::new();
    tale.removes("a", "Empty");
    tale.later(60);
    tale.leads(US);
    tale.looks_at("a");
    tale.deletes_node("a");
    assert_eq!(tale.broken(), ["S12"], "deleted before the cordon");
    let mut tale = Tale::new();
    tale.begins_to_empty("a");
    tale.deletes_node("a");
    tale.change(US, "vpsienodes", "a", |record| {
        record["status"]["removal"] = json!(null);
    });
    tale.looks_at("a");
    tale.deletes_machine("a");
    assert_eq!(tale.broken(), ["S12"], "the record was taken back");
}

#[test]
fn s12_a_humans_cordon_is_not_undone() {
    let mut tale = Tale::new();
    tale.cordon("people", "a", true);
    tale.later(60);
    tale.leads(US);
    tale.cordon(US, "a", false);
    assert_eq!(tale.broken(), ["S12"]);
    let mut tale = Tale::new();
    tale.removes("a", "Empty");
    tale.cordon(US, "a", true);
    tale.cordon(US, "a", false);
    assert_eq!(tale.broken(), NONE);
}

#[test]
fn s13_a_phase_that_goes_back_is_found() {
    let mut tale = Tale::new();
    tale.change(US, "vpsienodes", "a", |record| {
        record["status"]["phase"] = json!("Terminating");
    });
    assert_eq!(tale.broken(), NONE);
    tale.change(US, "vpsienodes", "a", |record| {
        record["status"]["phase"] = json!("Ready");
    });
    assert_eq!(tale.broken(), ["S13"]);
}

#[test]
fn s14_a_record_that_is_let_go_before_its_machine_is_found() {
    let mut tale = Tale::new();
    tale.lets_go("a");
    assert!(tale.broken().contains(&"S14"), "{:?}", tale.broken());
}

#[test]
fn s15_what_names_no_identity_is_found() {
    let mut tale = Tale::new();
    tale.begins_to_empty("a");
    tale.gone(US, "delete", "nodes", "a", BY_NAME);
    assert_eq!(tale.broken(), ["S15"]);
    let mut tale = Tale::new();
    tale.cloud(US, Errand::DeleteAny);
    assert_eq!(tale.broken(), ["S15"]);
    let mut tale = Tale::new();
    let record = tale.get("vpsienodes", "a");
    tale.write(US, "patch", "vpsienodes", record, BY_NAME);
    assert_eq!(tale.broken(), ["S15"]);
}

#[test]
fn s16_a_group_that_is_not_managed_is_left_alone() {
    let mut tale = Tale::new();
    tale.change("people", "nodegroups", "g", |group| {
        group["metadata"]["labels"] = json!({});
    });
    tale.later(5);
    tale.leads(US);
    tale.removes("a", "Empty");
    assert_eq!(tale.broken(), NONE);
    tale.later(60);
    tale.leads(US);
    tale.cordon(US, "a", true);
    assert_eq!(tale.broken(), ["S16"]);
}

#[test]
fn s17_too_many_removals_at_once_are_found() {
    let mut tale = Tale::new();
    tale.buy("c");
    tale.joins("c");
    tale.later(300);
    tale.leads(US);
    tale.removes("a", "Empty");
    tale.removes("b", "Failed");
    assert_eq!(tale.broken(), NONE, "one was ordered by what happened");
    tale.removes("c", "Underutilized");
    assert!(tale.broken().contains(&"S17"), "{:?}", tale.broken());
}

#[test]
fn s18_no_removal_while_the_group_grows_or_cools_down() {
    let mut tale = Tale::new();
    tale.intends("c");
    tale.later(100);
    tale.leads(US);
    tale.removes("a", "Empty");
    assert_eq!(tale.broken(), ["S18"]);
    for (wait, broken) in [(30, vec!["S18"]), (70, vec![])] {
        let mut tale = Tale::new();
        tale.buy("c");
        tale.joins("c");
        tale.later(wait);
        tale.leads(US);
        tale.removes("a", "Empty");
        assert_eq!(tale.broken(), broken, "{wait} s later");
    }
}

#[test]
fn s19_purchases_above_the_rate_are_found() {
    let mut tale = Tale::new();
    tale.history.limits.creates_per_hour = Some(2);
    assert_eq!(tale.broken(), NONE);
    tale.later(3600);
    tale.leads(US);
    tale.buy("c");
    tale.buy("d");
    assert_eq!(tale.broken(), NONE);
    tale.buy("e");
    assert_eq!(tale.broken(), ["S19"]);
}

#[test]
fn s10_who_leads_since_a_moment_destroys_nothing() {
    for (patience, broken) in [(16, vec![]), (5, vec!["S10"])] {
        let mut tale = Tale::new();
        tale.pod("web-1", "a");
        tale.later(60);
        tale.leads(US);
        tale.begins_to_empty("a");
        tale.later(60);
        tale.leads("other");
        tale.later(patience);
        tale.leads("other");
        tale.looks_at_as("other", "a");
        tale.evict_as("other", "web-1", EXACTLY);
        assert_eq!(tale.broken(), broken, "after {patience} s");
    }
}

#[test]
fn s10_what_another_asked_for_is_not_held_against_who_leads_since_a_moment() {
    let mut tale = Tale::new();
    tale.pod("web-1", "a");
    tale.later(60);
    tale.leads(US);
    tale.begins_to_empty("a");
    tale.leads("other");
    tale.evict("web-1", EXACTLY);
    assert_eq!(tale.broken(), NONE);
}

#[test]
fn s20_nothing_is_destroyed_while_much_of_a_group_is_unwell() {
    for (unwell, broken) in [(1, vec![]), (2, vec!["S20"])] {
        let mut tale = Tale::new();
        for name in ["c", "d", "e"] {
            tale.buy(name);
            tale.joins(name);
        }
        for name in ["d", "e"].into_iter().take(unwell) {
            tale.ready(name, false);
        }
        tale.later(300);
        tale.leads(US);
        tale.begins_to_empty("a");
        tale.deletes_node("a");
        assert_eq!(tale.broken(), broken, "{unwell} of five");
    }
}

#[test]
fn s20_nothing_is_destroyed_while_much_of_the_cluster_is_unwell() {
    for (unwell, broken) in [(4, vec![]), (5, vec!["S20"])] {
        let mut tale = Tale::new();
        // Nodes of nobody's group, so that only the cluster's gate speaks.
        for number in 0..8 {
            tale.joins_without_record(&format!("static-{number}"));
        }
        for number in 0..unwell {
            tale.ready(&format!("static-{number}"), false);
        }
        tale.later(60);
        tale.leads(US);
        tale.begins_to_empty("a");
        tale.deletes_node("a");
        assert_eq!(tale.broken(), broken, "{unwell} of ten");
    }
}

fn waiting_pod(tale: &mut Tale) {
    tale.pod("web-9", "a");
    tale.change("kube-scheduler", "pods", "web-9", |pod| {
        pod["spec"]["nodeName"] = json!(null);
        pod["status"] = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]});
    });
}

#[test]
fn every_rule_has_its_name() {
    let count = crate::rules::all().len();
    assert_eq!(crate::NAMES.len(), count);
}
