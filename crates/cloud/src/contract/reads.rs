//! Promises about reads: they end in time, survive a passing failure, never lie by omission, and
//! the catalogue outlives the cloud's silence.

use std::time::Duration;

use model::Role;

use super::{
    Case, Disturbance, Outcome, Target, Verdict, World, applies, cases_of, promise, shown,
};
use crate::ErrorClass;

pub(super) const CASES: &[Case] = cases_of![
    an_undisturbed_observation_is_complete_sorted_and_without_duplicates,
    an_observation_tells_workers_from_the_control_plane,
    an_observation_survives_one_passing_failure,
    a_lasting_failure_is_an_error_or_an_incomplete_observation,
    an_empty_list_that_contradicts_other_answers_is_not_complete,
    a_truncated_answer_is_never_a_complete_observation,
    a_missing_scope_is_an_error_and_not_an_empty_observation,
    reads_end_within_their_timeout,
    refused_credentials_are_an_auth_error,
    health_answers_and_measures_the_clock,
    offerings_are_sorted_positive_and_priced_without_zero,
    the_catalogue_is_cached,
    the_catalogue_is_served_stale_when_the_cloud_is_silent,
    datacenters_are_served_stale_when_the_cloud_is_silent,
];

async fn an_undisturbed_observation_is_complete_sorted_and_without_duplicates(
    world: &World<'_>,
) -> Outcome {
    let [first, second] = world.harness.sizes();
    for size in [&first, &second] {
        let pool = world.pool_of(size).await?;
        promise!(
            world.harness.human_adds(pool.id),
            "the harness cannot add a machine"
        );
    }
    world.settle().await;
    let before = world.harness.clock().now();
    let seen = world.observe().await.map_err(|error| shown(&error))?;
    promise!(seen.complete, "not complete: {:?}", seen.defects);
    promise!(
        seen.defects.is_empty(),
        "complete, with defects {:?}",
        seen.defects
    );
    promise!(
        seen.started_at >= before && seen.started_at <= world.harness.clock().now(),
        "started_at {} lies outside of the call",
        seen.started_at
    );
    promise!(
        seen.instances
            .windows(2)
            .all(|pair| pair[0].id < pair[1].id),
        "instances are not strictly ascending by id"
    );
    promise!(
        seen.pools.windows(2).all(|pair| pair[0].id < pair[1].id),
        "pools are not strictly ascending by id"
    );
    for machine in world.harness.machines() {
        let Some(instance) = seen.instance(&machine.id) else {
            return Err(format!("{} exists and is not listed", machine.id));
        };
        promise!(
            instance.hostname == machine.hostname,
            "{} is listed as {}, is {}",
            machine.id,
            instance.hostname,
            machine.hostname
        );
    }
    Ok(Verdict::Held)
}

async fn an_observation_tells_workers_from_the_control_plane(world: &World<'_>) -> Outcome {
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    promise!(
        world.harness.human_adds(pool.id),
        "the harness cannot add a machine"
    );
    world.settle().await;
    let seen = world.observe().await.map_err(|error| shown(&error))?;
    for machine in world.harness.machines() {
        let role = seen.instance(&machine.id).map(|instance| instance.role);
        let wanted = if machine.control_plane {
            Role::ControlPlane
        } else {
            Role::Worker
        };
        promise!(
            role == Some(wanted),
            "{} is {wanted:?} and listed as {role:?}",
            machine.hostname
        );
    }
    Ok(Verdict::Held)
}

async fn an_observation_survives_one_passing_failure(world: &World<'_>) -> Outcome {
    for passing in [Disturbance::ConnectionReset, Disturbance::ServerError] {
        applies!(
            world.harness.disturb(Target::Observe, passing, 1),
            "the failure cannot be staged"
        );
        let seen = world
            .observe()
            .await
            .map_err(|error| format!("after one {passing:?}: {}", shown(&error)))?;
        promise!(
            seen.complete,
            "after one {passing:?}: incomplete {:?}",
            seen.defects
        );
    }
    Ok(Verdict::Held)
}

async fn a_lasting_failure_is_an_error_or_an_incomplete_observation(world: &World<'_>) -> Outcome {
    applies!(
        world
            .harness
            .disturb(Target::Observe, Disturbance::ServerError, u32::MAX),
        "the failure cannot be staged"
    );
    if let Ok(seen) = world.observe().await {
        promise!(
            !seen.complete,
            "complete although every answer was a server error"
        );
    }
    Ok(Verdict::Held)
}

async fn an_empty_list_that_contradicts_other_answers_is_not_complete(
    world: &World<'_>,
) -> Outcome {
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    world.bought(&pool, "contract-listed").await?;
    applies!(
        world
            .harness
            .disturb(Target::Observe, Disturbance::EmptyLists, u32::MAX),
        "empty lists cannot be staged"
    );
    if let Ok(seen) = world.observe().await {
        promise!(
            !seen.complete,
            "complete with {} machines although there are {}",
            seen.instances.len(),
            world.harness.machines().len()
        );
    }
    Ok(Verdict::Held)
}

async fn a_truncated_answer_is_never_a_complete_observation(world: &World<'_>) -> Outcome {
    applies!(
        world
            .harness
            .disturb(Target::Observe, Disturbance::Truncated, u32::MAX),
        "truncated answers cannot be staged"
    );
    if let Ok(seen) = world.observe().await {
        promise!(!seen.complete, "complete although every answer was cut");
    }
    Ok(Verdict::Held)
}

async fn a_missing_scope_is_an_error_and_not_an_empty_observation(world: &World<'_>) -> Outcome {
    let answer = world
        .provider
        .observe(&world.call(), &world.harness.missing_scope())
        .await;
    match answer {
        Err(error) => {
            promise!(
                error.class == ErrorClass::NotFound,
                "the class is {}",
                error.class.name()
            );
            Ok(Verdict::Held)
        }
        Ok(seen) => Err(format!("observed {} machines", seen.instances.len())),
    }
}

async fn reads_end_within_their_timeout(world: &World<'_>) -> Outcome {
    applies!(
        world
            .harness
            .disturb(Target::Everything, Disturbance::Hangs, u32::MAX),
        "a silent cloud cannot be staged"
    );
    let timeout = Duration::from_secs(4);
    let call = world.call_within(timeout);
    let (scope, datacenter) = (world.harness.scope(), world.harness.datacenter());
    let clock = world.harness.clock();

    let began = clock.monotonic();
    promise!(
        world.provider.health(&call).await.is_err(),
        "health without an answer"
    );
    promise!(world.in_time(began, timeout), "health overran its timeout");
    let began = clock.monotonic();
    if let Ok(seen) = world.provider.observe(&call, &scope).await {
        promise!(!seen.complete, "complete without an answer");
    }
    promise!(world.in_time(began, timeout), "observe overran its timeout");
    let began = clock.monotonic();
    let _ = world.provider.catalogue(&call, &datacenter).await;
    promise!(
        world.in_time(began, timeout),
        "catalogue overran its timeout"
    );
    let began = clock.monotonic();
    let _ = world.provider.datacenters(&call).await;
    promise!(
        world.in_time(began, timeout),
        "datacenters overran its timeout"
    );
    Ok(Verdict::Held)
}

async fn refused_credentials_are_an_auth_error(world: &World<'_>) -> Outcome {
    applies!(
        world
            .harness
            .disturb(Target::Everything, Disturbance::Unauthorized, u32::MAX),
        "refused credentials cannot be staged"
    );
    match world.observe().await {
        Err(error) => {
            promise!(
                error.class == ErrorClass::Auth,
                "the class is {}",
                error.class.name()
            );
            Ok(Verdict::Held)
        }
        Ok(_) => Err("an observation without credentials".to_owned()),
    }
}

async fn health_answers_and_measures_the_clock(world: &World<'_>) -> Outcome {
    let health = world
        .provider
        .health(&world.call())
        .await
        .map_err(|error| shown(&error))?;
    if let Some(skew) = health.clock_skew_seconds {
        promise!(
            skew.abs() <= 5,
            "both sides share a clock; measured {skew} s"
        );
    }
    Ok(Verdict::Held)
}

async fn offerings_are_sorted_positive_and_priced_without_zero(world: &World<'_>) -> Outcome {
    let catalogue = world
        .provider
        .catalogue(&world.call(), &world.harness.datacenter())
        .await
        .map_err(|error| shown(&error))?;
    promise!(!catalogue.stale, "fresh from the cloud and called stale");
    promise!(
        catalogue
            .offerings
            .windows(2)
            .all(|pair| pair[0].size < pair[1].size),
        "not strictly ascending by size id"
    );
    for offering in &catalogue.offerings {
        promise!(
            offering.cpus > 0 && offering.memory_mib > 0,
            "{} has no CPU or no memory",
            offering.id
        );
        promise!(
            offering.price != Some(model::HourlyPrice::ZERO),
            "{} costs zero; an unknown price is none",
            offering.id
        );
    }
    for size in world.harness.sizes() {
        promise!(
            catalogue
                .offerings
                .iter()
                .any(|offering| offering.size == size),
            "size {size} is sold and not listed"
        );
    }
    Ok(Verdict::Held)
}

async fn the_catalogue_is_cached(world: &World<'_>) -> Outcome {
    let datacenter = world.harness.datacenter();
    let (first, second) = (world.call(), world.call());
    // At once: a cold cache is filled by one flight, not by two.
    let (one, two) = futures::join!(
        world.provider.catalogue(&first, &datacenter),
        world.provider.catalogue(&second, &datacenter)
    );
    let one = one.map_err(|error| shown(&error))?;
    promise!(
        two.is_ok_and(|two| two.offerings == one.offerings),
        "two callers at once got different catalogues"
    );
    let requests = world.harness.requests();
    let again = world
        .provider
        .catalogue(&world.call(), &datacenter)
        .await
        .map_err(|error| shown(&error))?;
    promise!(
        world.harness.requests() == requests,
        "asked the cloud again at once"
    );
    promise!(again == one, "the cached catalogue differs");
    Ok(Verdict::Held)
}

/// Longer than any catalogue may be served without asking.
const A_DAY: Duration = Duration::from_hours(24);

async fn the_catalogue_is_served_stale_when_the_cloud_is_silent(world: &World<'_>) -> Outcome {
    let datacenter = world.harness.datacenter();
    let fresh = world
        .provider
        .catalogue(&world.call(), &datacenter)
        .await
        .map_err(|error| shown(&error))?;
    world.harness.clock().sleep(A_DAY).await;
    applies!(
        world
            .harness
            .disturb(Target::Everything, Disturbance::ServerError, u32::MAX),
        "the failure cannot be staged"
    );
    let stale = world
        .provider
        .catalogue(&world.call(), &datacenter)
        .await
        .map_err(|error| format!("nothing served: {}", shown(&error)))?;
    promise!(stale.stale, "an old catalogue is not called stale");
    promise!(
        stale.offerings == fresh.offerings && stale.fetched_at == fresh.fetched_at,
        "the stale catalogue is not the one read before"
    );
    Ok(Verdict::Held)
}

async fn datacenters_are_served_stale_when_the_cloud_is_silent(world: &World<'_>) -> Outcome {
    let fresh = world
        .provider
        .datacenters(&world.call())
        .await
        .map_err(|error| shown(&error))?;
    promise!(
        fresh
            .iter()
            .any(|datacenter| datacenter.id == world.harness.datacenter()),
        "the datacenter in use is not listed"
    );
    world.harness.clock().sleep(A_DAY).await;
    applies!(
        world
            .harness
            .disturb(Target::Everything, Disturbance::ServerError, u32::MAX),
        "the failure cannot be staged"
    );
    let stale = world
        .provider
        .datacenters(&world.call())
        .await
        .map_err(|error| format!("nothing served: {}", shown(&error)))?;
    promise!(stale == fresh, "the stale list is not the one read before");
    Ok(Verdict::Held)
}
