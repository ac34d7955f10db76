//! What must come right in the end: L1 to L7.

use super::*;

#[test]
fn l1_and_l2_what_does_not_converge_is_found() {
    let mut tale = rightly();
    tale.change(US, "nodegroups", "g", |group| {
        group["status"]["desiredNodes"] = json!(1);
    });
    tale.calm_for(7200);
    assert_eq!(tale.broken(), NONE);
    let mut tale = Tale::new();
    tale.intends("c");
    tale.calm_for(7200);
    assert_eq!(tale.broken(), ["L1"]);
    let mut tale = Tale::new();
    tale.change(US, "nodegroups", "g", |group| {
        group["status"]["desiredNodes"] = json!(3);
    });
    tale.calm_for(7200);
    assert_eq!(tale.broken(), ["L1"]);
    let mut tale = Tale::new();
    tale.intends("c");
    tale.change(US, "vpsienodes", "c", |record| {
        record["status"]["phase"] = json!("Failed");
    });
    tale.calm_for(1800);
    assert_eq!(tale.broken(), NONE, "evidence is kept for half an hour");
    tale.calm_for(7200);
    assert_eq!(tale.broken(), ["L2"]);
}

#[test]
fn l3_a_pod_for_which_nothing_is_done_and_nothing_said_is_found() {
    let mut tale = Tale::new();
    waiting_pod(&mut tale);
    tale.calm_for(600);
    assert_eq!(tale.broken(), ["L3"]);
    let mut tale = Tale::new();
    waiting_pod(&mut tale);
    let told = json!({"metadata": {"namespace": "default", "name": "e", "uid": "e"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web-9"},
        "reason": "NotTriggerScaleUp", "message": "no group has room"});
    tale.write(US, "create", "events", told, BY_NAME);
    tale.calm_for(600);
    assert_eq!(tale.broken(), NONE);
}

#[test]
fn l3_a_pod_whose_machine_does_not_come_is_served_anew_from_when_that_is_known() {
    let mut tale = Tale::new();
    tale.intends("c");
    waiting_pod(&mut tale);
    tale.calm_for(600);
    tale.change(US, "vpsienodes", "c", |record| {
        record["status"]["phase"] = json!("Failed");
    });
    tale.later(40);
    tale.leads(US);
    assert_eq!(tale.broken(), NONE);
    tale.later(40);
    tale.leads(US);
    assert_eq!(tale.broken(), ["L3"]);
}

#[test]
fn l4_a_deletion_that_never_ends_is_found() {
    let mut tale = Tale::new();
    let now = tale.now().to_string();
    tale.change("people", "nodegroups", "g", |group| {
        group["metadata"]["deletionTimestamp"] = json!(now);
    });
    tale.calm_for(1200);
    assert_eq!(tale.broken(), NONE);
    tale.history.calm = tale
        .history
        .calm
        .map(|calm| calm - jiff::SignedDuration::from_hours(2));
    tale.calm_for(7200);
    assert_eq!(tale.broken(), ["L4"]);
}

/// A node is cordoned for a removal of which the record says nothing any more.
fn forgets_its_cordon() -> Tale {
    let mut tale = Tale::new();
    tale.removes("a", "Empty");
    tale.cordon(US, "a", true);
    tale.change(US, "vpsienodes", "a", |record| {
        record["status"]["removal"] = json!(null);
    });
    tale
}

#[test]
fn l5_a_cordon_of_ours_that_nothing_wants_is_found() {
    let mut tale = Tale::new();
    tale.removes("a", "Empty");
    tale.cordon(US, "a", true);
    tale.calm_for(600);
    assert_eq!(tale.broken(), NONE);
    let mut tale = forgets_its_cordon();
    for _ in 0..30 {
        tale.later(10);
        tale.leads(US);
    }
    assert_eq!(tale.broken(), ["L5"]);
}

#[test]
fn l5_a_world_that_is_disturbed_all_the_time_is_not_judged() {
    let mut tale = forgets_its_cordon();
    for _ in 0..30 {
        tale.later(10);
        tale.leads(US);
        tale.note("world", Note::Disturbance("reads fail".into()));
    }
    assert_eq!(tale.broken(), NONE);
}

#[test]
fn l6_a_group_that_stays_below_its_minimum_is_found() {
    let mut tale = Tale::new();
    tale.group(3, 5);
    tale.calm_for(7200);
    assert_eq!(tale.broken(), ["L6"]);
    let mut tale = Tale::new();
    tale.group(2, 5);
    tale.calm_for(7200);
    assert_eq!(tale.broken(), NONE);
}

#[test]
fn l7_a_replica_that_has_gone_deaf_is_found() {
    let watch = |tale: &mut Tale| {
        tale.push(
            US,
            crate::Kind::Read(crate::Read {
                verb: "watch",
                resource: "pods".into(),
                name: String::new(),
                fields: String::new(),
                current: true,
                code: 200,
            }),
        );
    };
    let mut tale = Tale::new();
    watch(&mut tale);
    tale.calm_for(1200);
    assert_eq!(tale.broken(), ["L7"]);
    watch(&mut tale);
    assert_eq!(tale.broken(), NONE);
    // A request that arrives when its sender is dead.
    let mut tale = Tale::new();
    tale.note(US, crate::Note::Ended);
    watch(&mut tale);
    tale.calm_for(1200);
    assert_eq!(tale.broken(), NONE);
}
