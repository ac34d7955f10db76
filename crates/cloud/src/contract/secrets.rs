//! The promise that no error carries a secret, whatever the cloud answers.

use super::{Case, Disturbance, Outcome, Target, Verdict, World, applies, cases_of, promise};
use crate::{CreateOutcome, DeleteOutcome};

pub(super) const CASES: &[Case] = cases_of![
    no_error_carries_a_secret,
    an_undisturbed_outcome_carries_no_secret,
];

fn clean(world: &World<'_>, what: &str, shown: &str) -> Result<(), String> {
    for (index, secret) in world.harness.secrets().iter().enumerate() {
        promise_clean(!shown.contains(secret.as_str()), what, index)?;
    }
    Ok(())
}

/// Names the secret by its place in the list: a report must not carry it either.
fn promise_clean(held: bool, what: &str, index: usize) -> Result<(), String> {
    promise!(held, "{what} shows secret number {index}");
    Ok(())
}

async fn no_error_carries_a_secret(world: &World<'_>) -> Outcome {
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    let mut staged = false;
    for what in [
        Disturbance::EchoesCredentials,
        Disturbance::Unauthorized,
        Disturbance::ServerError,
        Disturbance::ConnectionReset,
    ] {
        if !world.harness.disturb(Target::Everything, what, 40) {
            continue;
        }
        staged = true;
        let call = world.call();
        if let Err(error) = world.provider.health(&call).await {
            clean(world, "health", &format!("{error} {error:?}"))?;
        }
        if let Err(error) = world.observe().await {
            clean(world, "observe", &format!("{error} {error:?}"))?;
        }
        if let Ok(seen) = world.observe().await {
            clean(world, "an observation", &format!("{seen:?}"))?;
        }
        match world.create(&pool, "contract-echo").await {
            CreateOutcome::Rejected(error) | CreateOutcome::Unknown(error) => {
                clean(world, "create", &format!("{error} {error:?}"))?;
            }
            CreateOutcome::Accepted(_) | CreateOutcome::AlreadyExists(_) => {}
        }
        let target = crate::DeleteTarget {
            scope: world.harness.scope(),
            instance: model::InstanceId::new("00000000-0000-4000-8000-000000000000"),
            hostname: model::Hostname::new("contract-never-was"),
        };
        match world.delete(&target).await {
            DeleteOutcome::Rejected(error) | DeleteOutcome::Unknown(error) => {
                clean(world, "delete", &format!("{error} {error:?}"))?;
            }
            DeleteOutcome::Accepted | DeleteOutcome::AlreadyGone => {}
        }
    }
    applies!(staged, "no failure can be staged");
    Ok(Verdict::Held)
}

async fn an_undisturbed_outcome_carries_no_secret(world: &World<'_>) -> Outcome {
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    let machine = world.bought(&pool, "contract-clean").await?;
    clean(world, "a machine", &format!("{machine:?}"))?;
    let seen = world
        .observe()
        .await
        .map_err(|error| super::shown(&error))?;
    clean(world, "an observation", &format!("{seen:?}"))?;
    Ok(Verdict::Held)
}
