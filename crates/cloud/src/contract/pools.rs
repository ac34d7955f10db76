//! Promises about pools: found or made once, whoever asks and whatever is lost.

use super::{
    Case, Disturbance, Outcome, Target, Verdict, World, applies, cases_of, promise, shown,
};
use crate::{ErrorClass, PoolRequest};

pub(super) const CASES: &[Case] = cases_of![
    asking_twice_for_a_pool_gives_the_same_pool,
    two_sizes_give_two_pools,
    where_a_size_has_one_pool_another_name_finds_it,
    a_pool_whose_answer_was_lost_is_found_and_not_made_again,
];

async fn pools_of(world: &World<'_>, size: &model::SizeId) -> Result<usize, String> {
    let seen = world.observe().await.map_err(|error| shown(&error))?;
    Ok(seen.pools.iter().filter(|pool| pool.size == *size).count())
}

async fn asking_twice_for_a_pool_gives_the_same_pool(world: &World<'_>) -> Outcome {
    let [size, _] = world.harness.sizes();
    let first = world.pool_of(&size).await?;
    let second = world.pool_of(&size).await?;
    promise!(
        first.id == second.id,
        "pools {} and {} for one name and size",
        first.id,
        second.id
    );
    promise!(
        first.size == size,
        "asked for size {size}, got {}",
        first.size
    );
    let count = pools_of(world, &size).await?;
    promise!(count == 1, "{count} pools of one size exist");
    Ok(Verdict::Held)
}

async fn two_sizes_give_two_pools(world: &World<'_>) -> Outcome {
    let [one, other] = world.harness.sizes();
    let (one, other) = (world.pool_of(&one).await?, world.pool_of(&other).await?);
    promise!(one.id != other.id, "pool {} serves two sizes", one.id);
    Ok(Verdict::Held)
}

async fn where_a_size_has_one_pool_another_name_finds_it(world: &World<'_>) -> Outcome {
    applies!(
        world.capabilities().one_pool_per_size,
        "several pools may have one size"
    );
    let [size, _] = world.harness.sizes();
    let first = world.pool_of(&size).await?;
    let request = PoolRequest {
        scope: world.harness.scope(),
        name: "contract-of-another-name".into(),
        size,
    };
    let second = world
        .provider
        .ensure_pool(&world.call(), &request)
        .await
        .map_err(|error| shown(&error))?;
    promise!(
        second.id == first.id,
        "a second pool {} of one size",
        second.id
    );
    Ok(Verdict::Held)
}

async fn a_pool_whose_answer_was_lost_is_found_and_not_made_again(world: &World<'_>) -> Outcome {
    let [size, _] = world.harness.sizes();
    applies!(
        world
            .harness
            .disturb(Target::MakePool, Disturbance::AnswerLost, 1),
        "a lost answer cannot be staged"
    );
    let request = PoolRequest {
        scope: world.harness.scope(),
        name: "contract-lost".into(),
        size: size.clone(),
    };
    // The first call may find it by looking again, or say that it does not know.
    if let Err(error) = world.provider.ensure_pool(&world.call(), &request).await {
        promise!(
            matches!(error.class, ErrorClass::Ambiguous | ErrorClass::Transient),
            "a lost answer is {}",
            shown(&error)
        );
    }
    world.settle().await;
    world
        .provider
        .ensure_pool(&world.call(), &request)
        .await
        .map_err(|error| format!("asked again: {}", shown(&error)))?;
    let count = pools_of(world, &size).await?;
    promise!(count == 1, "{count} pools of one size exist");
    Ok(Verdict::Held)
}
