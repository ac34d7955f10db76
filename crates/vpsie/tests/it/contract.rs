//! The contract suite in every variant of the API.

use std::sync::Arc;

use cloud::contract::{Verdict, cases};
use runtime::{Clock, Randomness};
use vpsie::{Options, Silent, Vpsie};
use vpsie_sim::{Config, CountAt, NodeShape, Route};

use crate::harness::{Cloud, InProcess, Login, credentials, epoch, quick};

/// Cases that a managed cluster cannot stage or does not promise.
const NOT_APPLICABLE: [&str; 2] = [
    "a_named_create_is_found_by_its_name_instead_of_bought_twice",
    "a_provider_without_targeted_delete_deletes_nothing",
];

async fn the_suite_holds(config: Config, login: Login) {
    let mut violations = Vec::new();
    for case in cases() {
        let cloud = Cloud::new(config.clone(), login);
        match case.run(&cloud).await {
            Ok(Verdict::Held) => {}
            Ok(Verdict::NotApplicable(why)) => {
                assert!(NOT_APPLICABLE.contains(&case.name), "{}: {why}", case.name);
            }
            Err(violation) => violations.push(violation.to_string()),
        }
        // Whatever happens: the cloud never chooses a victim, and no route is invented.
        for forbidden in [Route::ReduceCluster, Route::ReduceGroup, Route::Unknown] {
            assert_eq!(cloud.asked(forbidden), 0, "{} in {}", forbidden, case.name);
        }
        cloud.tasks.abort();
    }
    assert!(violations.is_empty(), "{violations:#?}");
}

#[tokio::test(start_paused = true)]
async fn the_contract_holds_with_a_static_token() {
    the_suite_holds(quick(), Login::StaticToken).await;
}

#[tokio::test(start_paused = true)]
async fn the_contract_holds_with_a_bearer_token() {
    the_suite_holds(quick(), Login::Bearer).await;
}

#[tokio::test(start_paused = true)]
async fn the_contract_holds_with_a_client_exchange() {
    the_suite_holds(quick(), Login::Client).await;
}

#[tokio::test(start_paused = true)]
async fn the_contract_holds_with_every_shape_of_node() {
    for node_shape in [NodeShape::Sdk, NodeShape::Goas, NodeShape::Union] {
        let config = Config {
            node_shape,
            ..quick()
        };
        the_suite_holds(config, Login::StaticToken).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_contract_holds_when_the_api_is_strict_tells_identities_and_counts_early() {
    let config = Config {
        strict: true,
        add_answers_object: true,
        count_at: CountAt::Accept,
        shuffled_rows: true,
        ..quick()
    };
    the_suite_holds(config, Login::Client).await;
}

#[tokio::test(start_paused = true)]
async fn the_contract_holds_with_the_timings_that_are_expected_of_the_real_cloud() {
    the_suite_holds(Config::default(), Login::StaticToken).await;
}

#[tokio::test(start_paused = true)]
async fn without_targeted_delete_nothing_is_deleted() {
    let case = cases()
        .into_iter()
        .find(|case| case.name == NOT_APPLICABLE[1])
        .unwrap();
    let clock = Clock::starting_at(epoch(), 1.0);
    let mut cloud = Cloud::without_credentials(quick(), Login::StaticToken, clock.clone(), |sim| {
        Arc::new(InProcess(sim))
    });
    cloud.provider = Vpsie::new(
        Options {
            targeted_delete: false,
            ..Options::default()
        },
        Arc::new(InProcess(cloud.sim.clone())),
        clock,
        Randomness::seeded(1),
        Arc::new(Silent),
    );
    let credentials = credentials(&cloud.config, Login::StaticToken);
    cloud.provider.set_credentials(Some(&credentials));
    assert_eq!(case.run(&cloud).await, Ok(Verdict::Held));
    assert_eq!(cloud.asked(Route::DeleteWorker), 0);
}
