use http::StatusCode;
use rust_decimal::Decimal;
use vpsie_sim::{Origin, Phase};

use crate::client::{CLUSTER, MEDIUM, SMALL, caller, caller_with, drain};

#[tokio::test(start_paused = true)]
async fn a_person_adds_and_deletes_workers_beside_the_api() {
    let caller = caller();
    let mut events = caller.sim.subscribe();
    let group = caller
        .sim
        .human_add_group(CLUSTER, "GRP-Advanced-c745", SMALL)
        .unwrap();
    let machine = caller.sim.human_add_worker(CLUSTER, group).unwrap();
    assert_eq!(
        (machine.origin, machine.phase),
        (Origin::Human, Phase::Queued)
    );
    caller.pass(300).await;
    assert_eq!(caller.nodes().await.len(), 2);
    assert!(caller.sim.human_delete(&machine.uuid));
    assert!(!caller.sim.human_delete(&machine.uuid), "twice");
    caller.pass(100).await;
    let machine = caller.workers().remove(0);
    assert_eq!(
        (machine.phase, machine.deleted_by),
        (Phase::Gone, Some(Origin::Human))
    );
    assert_eq!(drain(&mut events).len(), 4);
    assert_eq!(caller.sim.human_add_worker(CLUSTER, 1), None);
    assert_eq!(caller.sim.human_add_group(CLUSTER, "x", 999), None);
    assert!(!caller.sim.human_delete("unknown"));
}

#[tokio::test(start_paused = true)]
async fn a_lowered_cap_hinders_the_next_worker_and_takes_none_away() {
    let caller = caller();
    let group = caller.group("general", SMALL).await;
    caller.add(group).await;
    caller.add(group).await;
    caller.sim.set_worker_cap(CLUSTER, Some(1));
    let (status, answer) = caller.add(group).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        answer["message"],
        "Worker nodes count exceeds the allowed limit 1"
    );
    assert_eq!(caller.live(), 2);
    caller.sim.set_worker_cap(CLUSTER, None);
    assert_eq!(caller.add(group).await.0, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_sold_out_size_is_refused_until_it_is_back() {
    let caller = caller();
    let small = caller.group("small", SMALL).await;
    let medium = caller.group("medium", MEDIUM).await;
    caller.sim.set_sold_out(SMALL, true);
    let (_, answer) = caller.add(small).await;
    assert!(answer["message"].as_str().unwrap().contains("out of stock"));
    assert_eq!(caller.add(medium).await.0, StatusCode::OK);
    assert_eq!(caller.live(), 1);
    caller.sim.set_sold_out(SMALL, false);
    assert_eq!(caller.add(small).await.0, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_machine_is_paid_from_its_purchase_to_its_deletion() {
    let caller = caller_with(|config| {
        config.datacenters[0].sizes[0].hourly_price = Some("0.036".parse().unwrap());
    });
    let group = caller.group("general", SMALL).await;
    caller.add(group).await;
    caller.add(group).await;
    caller.pass(1800).await;
    let ledger = caller.sim.ledger();
    assert_eq!(ledger.hourly_now, "0.072".parse::<Decimal>().unwrap());
    assert_eq!((ledger.paid.as_secs(), ledger.machines_now), (3600, 2));
    assert_eq!(ledger.cost, "0.036".parse::<Decimal>().unwrap());

    caller.delete(&caller.workers()[0].uuid).await;
    caller.pass(3600).await;
    let ledger = caller.sim.ledger();
    assert_eq!(
        ledger.machines[0].paid.as_secs(),
        1800,
        "not paid while it is being deleted"
    );
    assert_eq!(ledger.machines[1].paid.as_secs(), 5400);
    assert_eq!(ledger.hourly_now, "0.036".parse::<Decimal>().unwrap());
    // A new price is for new machines.
    caller.sim.reconfigure(|config| {
        config.datacenters[0].sizes[0].hourly_price = Some(Decimal::ONE);
    });
    caller.add(group).await;
    let machines = caller.workers();
    assert_eq!(
        machines[1].hourly_price,
        "0.036".parse::<Decimal>().unwrap()
    );
}

#[tokio::test(start_paused = true)]
async fn control_planes_are_not_in_the_ledger() {
    let caller = caller();
    caller.pass(3600).await;
    assert_eq!(caller.sim.ledger(), vpsie_sim::Ledger::default());
    assert_eq!(caller.sim.machines().len(), 1);
}
