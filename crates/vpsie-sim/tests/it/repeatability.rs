use vpsie_sim::{Fault, Match, Route, Rule, Span};

use crate::client::{SMALL, seeded};

/// A story with chance, faults and several callers at once.
async fn story(seed: u64) -> String {
    let caller = seeded(seed, |config| {
        config.staleness.lag = Span::seconds(0, 30);
        config.shuffled_rows = true;
    });
    let faults = caller.sim.faults();
    faults.add(
        Rule::on(Match::Writes, Fault::LostResponseAfterCommit)
            .always()
            .probability(0.3),
    );
    faults.add(
        Rule::on(Route::AddWorker, Fault::NeverJoins)
            .always()
            .probability(0.2),
    );
    let group = caller
        .sim
        .human_add_group(crate::client::CLUSTER, "general", SMALL)
        .unwrap();
    for _ in 0..10 {
        let path = format!(
            "/k8s/cluster/byId/{}/add/slave/group/{group}",
            crate::client::CLUSTER
        );
        let post = || caller.send(crate::client::request(http::Method::POST, &path, None));
        let (one, two) = tokio::join!(post(), post());
        let _ = (one.is_ok(), two.is_ok());
        caller.pass(45).await;
        caller.nodes().await;
    }
    caller.pass(600).await;
    let nodes = caller.nodes().await;
    format!("{}\n{nodes:?}", caller.sim.trace().join("\n"))
}

fn run(seed: u64) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(story(seed))
}

#[test]
fn one_seed_gives_one_trace_and_another_seed_another() {
    let first = run(7);
    assert!(first.contains("Lost") && first.contains("machine running"));
    assert_eq!(first, run(7));
    assert_ne!(first, run(8));
}

#[test]
fn adding_a_rule_that_never_strikes_changes_nothing() {
    let with = |rule: Option<Rule>| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let caller = seeded(3, |config| config.faults.extend(rule));
            let group = caller.group("general", SMALL).await;
            caller.add(group).await;
            caller.pass(400).await;
            caller.sim.trace()
        })
    };
    let idle = Rule::on(Route::DeleteWorker, Fault::Truncated).always();
    assert_eq!(with(None), with(Some(idle)));
}
