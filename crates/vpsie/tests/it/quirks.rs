//! What the cloud's answers look like when they are odd, one by one.

use std::time::Duration;

use cloud::{
    CloudProvider as _, CreateOutcome, DeleteOutcome, DeleteTarget, ErrorClass, Scope,
    contract::Harness as _,
};
use model::{Hostname, HourlyPrice, InstancePhase, Role};
use vpsie_sim::{Config, Fault, Match, NodeShape, PriceEncoding, Route};

use crate::harness::{Cloud, Login, a_call, quick};

/// A cloud with three workers.
async fn populated(config: Config) -> Cloud {
    let cloud = Cloud::new(config, Login::StaticToken);
    let pool = cloud.pool("101").await;
    for _ in 0..3 {
        assert!(cloud.human_adds(pool.id));
    }
    cloud.clock.sleep(Duration::from_mins(1)).await;
    cloud
}

#[tokio::test(start_paused = true)]
async fn the_three_shapes_of_a_node_give_the_same_machines() {
    let mut seen = Vec::new();
    for node_shape in [NodeShape::Sdk, NodeShape::Goas, NodeShape::Union] {
        let cloud = populated(Config {
            node_shape,
            ..quick()
        })
        .await;
        let observation = cloud.observe().await.unwrap();
        assert!(observation.complete, "{:?}", observation.defects);
        let workers: Vec<_> = observation
            .instances
            .into_iter()
            .filter(|instance| instance.role == Role::Worker)
            .map(|instance| (instance.id, instance.hostname, instance.phase))
            .collect();
        assert_eq!(workers.len(), 3);
        // Only the shape without UUIDs costs the third request.
        let looked_up = cloud.asked(Route::ListStorageVms) > 0;
        assert_eq!(looked_up, node_shape == NodeShape::Sdk);
        seen.push(workers);
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[1], seen[2]);
}

#[tokio::test(start_paused = true)]
async fn numbers_as_text_and_flags_as_numbers_change_nothing() {
    let cloud = populated(quick()).await;
    let plain = cloud.observe().await.unwrap();
    cloud.strike(Match::Reads, Fault::NumbersAsStrings, 99);
    let odd = cloud.observe().await.unwrap();
    assert_eq!((plain.instances, plain.pools), (odd.instances, odd.pools));
    assert!(odd.complete, "{:?}", odd.defects);
}

#[tokio::test(start_paused = true)]
async fn machines_without_identity_are_found_by_host_name_or_make_the_observation_incomplete() {
    let cloud = populated(quick()).await;
    let plain = cloud.observe().await.unwrap();
    cloud.strike(Route::GetCluster, Fault::MissingUuid, 2);
    let joined = cloud.observe().await.unwrap();
    let ids = |observation: &model::Observation| -> Vec<_> {
        let workers = observation.instances.iter();
        workers
            .filter(|instance| instance.role == Role::Worker)
            .map(|instance| instance.id.clone())
            .collect()
    };
    assert_eq!(ids(&plain), ids(&joined));
    assert!(joined.complete, "{:?}", joined.defects);
    cloud.strike(Route::ListStorageVms, Fault::EmptyListAlthough, 1);
    let unnamed = cloud.observe().await.unwrap();
    assert!(!unnamed.complete);
    assert!(ids(&unnamed).is_empty());
}

#[tokio::test(start_paused = true)]
async fn half_a_list_is_not_complete_and_nothing_is_gone_on_its_strength() {
    let cloud = populated(quick()).await;
    let all = cloud.observe().await.unwrap();
    cloud.strike(Route::GetCluster, Fault::PartialPage, 1);
    let half = cloud.observe().await.unwrap();
    assert!(half.instances.len() < all.instances.len());
    assert!(!half.complete);
    for missing in all
        .instances
        .iter()
        .filter(|i| half.instance(&i.id).is_none())
    {
        cloud.strike(Route::GetCluster, Fault::PartialPage, 1);
        let target = DeleteTarget {
            scope: cloud.scope(),
            instance: missing.id.clone(),
            hostname: missing.hostname.clone(),
        };
        let outcome = cloud.provider.delete(&a_call(), &target).await;
        assert!(matches!(outcome, DeleteOutcome::Rejected(_)), "{outcome:?}");
    }
    assert_eq!(cloud.asked(Route::DeleteWorker), 0);
}

#[tokio::test(start_paused = true)]
async fn one_list_that_fails_makes_the_observation_incomplete_and_keeps_the_other() {
    let cloud = populated(quick()).await;
    cloud.strike(Route::ListGroups, Fault::WrongTypes, 9);
    let observation = cloud.observe().await.unwrap();
    assert!(!observation.complete);
    assert_eq!(observation.instances.len(), 4);
    assert!(observation.pools.is_empty());
    assert!(observation.defects[0].contains("node groups"));
}

#[tokio::test(start_paused = true)]
async fn absurd_answers_are_errors_and_never_observations() {
    for fault in [
        Fault::WrongTypes,
        Fault::DeepBody { depth: 100_000 },
        Fault::HugeBody { bytes: 11 << 20 },
        Fault::Truncated,
        Fault::ErrorTrue200 {
            message: "something nobody has met".into(),
        },
    ] {
        let cloud = populated(quick()).await;
        cloud.strike(Route::GetCluster, fault.clone(), 9);
        let error = cloud.observe().await.expect_err(&format!("{fault:?}"));
        assert!(
            matches!(
                error.class,
                ErrorClass::ContractDrift | ErrorClass::InvalidRequest
            ),
            "{fault:?}: {error:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn prices_are_exact_in_every_encoding() {
    for price_encoding in [
        PriceEncoding::Float,
        PriceEncoding::String,
        PriceEncoding::Int,
    ] {
        let mut config = Config {
            price_encoding,
            ..quick()
        };
        let monthly = if price_encoding == PriceEncoding::Int {
            "29"
        } else {
            "29.99"
        };
        config.datacenters[0].sizes[0].price = monthly.parse().unwrap();
        config.datacenters[0].sizes[1].hourly_price = "0.07".parse().ok();
        let cloud = Cloud::new(config, Login::StaticToken);
        let call = a_call();
        let datacenter = cloud.datacenter();
        let catalogue = cloud.provider.catalogue(&call, &datacenter).await.unwrap();
        let price = |index: usize| catalogue.offerings[index].price;
        let expected = HourlyPrice::from_monthly(monthly.parse().unwrap());
        assert_eq!(price(0), Some(expected), "{price_encoding:?}");
        if price_encoding != PriceEncoding::Int {
            assert_eq!(price(1), Some(HourlyPrice::new("0.07".parse().unwrap())));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_catalogue_does_not_replace_one_that_was_read() {
    let cloud = Cloud::new(quick(), Login::StaticToken);
    let (call, datacenter) = (a_call(), cloud.datacenter());
    let read = cloud.provider.catalogue(&call, &datacenter).await.unwrap();
    cloud.clock.sleep(Duration::from_hours(2)).await;
    cloud.strike(Route::ListOffers, Fault::EmptyListAlthough, 9);
    let kept = cloud.provider.catalogue(&call, &datacenter).await.unwrap();
    assert!(kept.stale);
    assert_eq!(kept.offerings, read.offerings);
}

#[tokio::test(start_paused = true)]
async fn a_datacenter_that_does_not_exist_is_not_found() {
    let cloud = Cloud::new(quick(), Login::StaticToken);
    let call = a_call();
    let nowhere = "ffffffff-0000-4000-8000-000000000000".into();
    let error = cloud.provider.catalogue(&call, &nowhere).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound);
}

#[tokio::test(start_paused = true)]
async fn machines_on_their_way_in_and_out_are_listed_with_their_phase() {
    let cloud = Cloud::new(quick(), Login::StaticToken);
    let pool = cloud.pool("101").await;
    assert!(cloud.human_adds(pool.id));
    let phase = async || {
        let seen = cloud.observe().await.unwrap();
        let worker = seen.instances.iter().find(|i| i.role == Role::Worker);
        worker.map(|worker| worker.phase)
    };
    cloud.clock.sleep(Duration::from_secs(4)).await;
    assert_eq!(phase().await, Some(InstancePhase::Creating));
    cloud.clock.sleep(Duration::from_secs(20)).await;
    assert_eq!(phase().await, Some(InstancePhase::Running));
    let uuid = cloud
        .machines()
        .into_iter()
        .find(|m| !m.control_plane)
        .unwrap()
        .id;
    assert!(cloud.sim.human_delete(uuid.as_str()));
    assert_eq!(phase().await, Some(InstancePhase::Deleting));
    cloud.clock.sleep(Duration::from_secs(20)).await;
    assert_eq!(phase().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_the_cloud_only_pretends_is_not_taken_for_proof() {
    let cloud = populated(quick()).await;
    let seen = cloud.observe().await.unwrap();
    let worker = seen
        .instances
        .iter()
        .find(|i| i.role == Role::Worker)
        .unwrap();
    cloud.strike(Route::DeleteWorker, Fault::DeleteAnswersSuccessButStays, 1);
    let target = DeleteTarget {
        scope: cloud.scope(),
        instance: worker.id.clone(),
        hostname: Hostname::new(worker.hostname.as_str()),
    };
    let call = a_call();
    assert!(matches!(
        cloud.provider.delete(&call, &target).await,
        DeleteOutcome::Accepted
    ));
    cloud.clock.sleep(Duration::from_mins(5)).await;
    let seen = cloud.observe().await.unwrap();
    assert!(seen.instance(&worker.id).is_some());
    // The second one is real.
    assert!(matches!(
        cloud.provider.delete(&call, &target).await,
        DeleteOutcome::Accepted
    ));
    cloud.clock.sleep(Duration::from_mins(5)).await;
    assert!(matches!(
        cloud.provider.delete(&call, &target).await,
        DeleteOutcome::AlreadyGone
    ));
}

#[tokio::test(start_paused = true)]
async fn plain_machines_are_unsupported_and_nothing_is_sent() {
    let cloud = Cloud::new(quick(), Login::StaticToken);
    let scope = Scope::Project {
        project: "p".into(),
        datacenter: cloud.datacenter(),
    };
    let call = a_call();
    let error = cloud.provider.observe(&call, &scope).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unsupported);
    let pool = cloud.pool("101").await;
    let sent = cloud.requests();
    let intent = cloud::CreateIntent {
        scope,
        ..cloud.intent(&pool)
    };
    let outcome = cloud.provider.create(&call, &intent).await;
    assert!(matches!(outcome, CreateOutcome::Rejected(_)));
    assert_eq!(cloud.requests(), sent);
}

#[tokio::test(start_paused = true)]
async fn the_request_id_travels_and_comes_back_with_errors() {
    let cloud = Cloud::new(quick(), Login::StaticToken);
    let call = a_call();
    let error = cloud
        .provider
        .observe(&call, &cloud.missing_scope())
        .await
        .unwrap_err();
    let journal = cloud.sim.journal();
    assert_eq!(journal[0].request_id.as_deref(), Some("test-call"));
    assert!(journal[0].actor.starts_with("vpsie-autoscaler/"));
    assert_eq!(error.class, ErrorClass::NotFound);
    cloud.strike(Route::GetProfile, Fault::Html500, 9);
    let error = cloud.provider.health(&call).await.unwrap_err();
    assert_eq!(error.request_id.as_deref(), Some("test-call"));
    assert_eq!(error.status, Some(500));
}

#[tokio::test(start_paused = true)]
async fn everything_sent_is_reported_with_method_route_and_class() {
    let cloud = Cloud::new(quick(), Login::StaticToken);
    cloud.strike(Route::GetProfile, Fault::Html500, 1);
    let call = a_call();
    cloud.provider.health(&call).await.unwrap();
    assert_eq!(
        *cloud.reports.requests.lock().unwrap(),
        [
            ("GET".to_owned(), "profile", Some(500), Some("Transient")),
            ("GET".to_owned(), "profile", Some(200), None),
        ]
    );
}
