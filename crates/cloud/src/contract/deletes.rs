//! Promises about deletes: exactly the machine named, only when the guards agree, safe to repeat.

use std::time::Duration;

use model::{Hostname, InstanceId, Role};

use super::{
    Case, Disturbance, Outcome, Target, Verdict, World, applies, cases_of, promise, shown,
};
use crate::{Call, DeleteOutcome, DeleteTarget, ErrorClass, Permit};

pub(super) const CASES: &[Case] = cases_of![
    a_delete_removes_exactly_the_machine_named,
    a_delete_under_another_host_name_is_refused,
    a_delete_of_the_control_plane_is_refused,
    a_delete_of_an_unknown_machine_finds_it_gone,
    a_delete_whose_answer_is_lost_may_be_repeated,
    a_delete_that_cannot_look_first_deletes_nothing,
    a_delete_without_permit_is_withheld_and_deletes_nothing,
    a_delete_ends_within_its_timeout,
    a_provider_without_targeted_delete_deletes_nothing,
];

const WITHOUT: &str = "machines cannot be deleted by identity";

async fn a_delete_removes_exactly_the_machine_named(world: &World<'_>) -> Outcome {
    applies!(world.capabilities().targeted_delete, WITHOUT);
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    let mut machines = Vec::new();
    for n in 0..3 {
        machines.push(world.bought(&pool, &format!("contract-{n}")).await?);
    }
    let victim = machines.remove(1);
    let outcome = world.delete(&world.target(&victim)).await;
    promise!(
        matches!(outcome, DeleteOutcome::Accepted),
        "an undisturbed delete gave {outcome:?}"
    );
    world.settle().await;
    let left = world.true_workers();
    promise!(
        left.len() == 2
            && machines
                .iter()
                .all(|kept| left.iter().any(|machine| machine.id == kept.id)),
        "of three machines these are left: {left:?}"
    );
    let listed = world.workers().await?;
    promise!(
        listed.iter().all(|instance| instance.id != victim.id),
        "the deleted machine is still listed"
    );
    Ok(Verdict::Held)
}

async fn a_delete_under_another_host_name_is_refused(world: &World<'_>) -> Outcome {
    applies!(world.capabilities().targeted_delete, WITHOUT);
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    let machine = world.bought(&pool, "contract-kept").await?;
    let target = DeleteTarget {
        hostname: Hostname::new("contract-another-name"),
        ..world.target(&machine)
    };
    let outcome = world.delete(&target).await;
    promise!(
        matches!(&outcome, DeleteOutcome::Rejected(error) if error.class == ErrorClass::Conflict),
        "another host name gave {outcome:?}"
    );
    promise!(world.true_workers().len() == 1, "the machine is gone");
    Ok(Verdict::Held)
}

async fn a_delete_of_the_control_plane_is_refused(world: &World<'_>) -> Outcome {
    let seen = world.observe().await.map_err(|error| shown(&error))?;
    let Some(control_plane) = seen
        .instances
        .iter()
        .find(|instance| instance.role == Role::ControlPlane)
    else {
        return Ok(Verdict::NotApplicable("no control plane is listed"));
    };
    let before = world.harness.machines();
    let outcome = world.delete(&world.target(control_plane)).await;
    promise!(
        matches!(outcome, DeleteOutcome::Rejected(_)),
        "deleting the control plane gave {outcome:?}"
    );
    world.settle().await;
    promise!(
        world.harness.machines() == before,
        "the control plane was deleted"
    );
    Ok(Verdict::Held)
}

async fn a_delete_of_an_unknown_machine_finds_it_gone(world: &World<'_>) -> Outcome {
    applies!(world.capabilities().targeted_delete, WITHOUT);
    let target = DeleteTarget {
        scope: world.harness.scope(),
        instance: InstanceId::new("00000000-0000-4000-8000-000000000000"),
        hostname: Hostname::new("contract-never-was"),
    };
    let outcome = world.delete(&target).await;
    promise!(
        matches!(outcome, DeleteOutcome::AlreadyGone),
        "an unknown machine gave {outcome:?}"
    );
    Ok(Verdict::Held)
}

async fn a_delete_whose_answer_is_lost_may_be_repeated(world: &World<'_>) -> Outcome {
    applies!(world.capabilities().targeted_delete, WITHOUT);
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    let kept = world.bought(&pool, "contract-kept").await?;
    let machine = world.bought(&pool, "contract-deleted").await?;
    applies!(
        world
            .harness
            .disturb(Target::Delete, Disturbance::AnswerLost, 1),
        "a lost answer cannot be staged"
    );
    for _ in 0..2 {
        let outcome = world.delete(&world.target(&machine)).await;
        promise!(
            !matches!(outcome, DeleteOutcome::Rejected(_)),
            "a delete with a lost answer gave {outcome:?}"
        );
    }
    world.settle().await;
    let left = world.true_workers();
    promise!(
        left.len() == 1 && left[0].id == kept.id,
        "of two machines these are left: {left:?}"
    );
    let outcome = world.delete(&world.target(&machine)).await;
    promise!(
        matches!(outcome, DeleteOutcome::AlreadyGone),
        "a delete of what is gone gave {outcome:?}"
    );
    Ok(Verdict::Held)
}

async fn a_delete_that_cannot_look_first_deletes_nothing(world: &World<'_>) -> Outcome {
    applies!(world.capabilities().targeted_delete, WITHOUT);
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    let machine = world.bought(&pool, "contract-unseen").await?;
    applies!(
        world
            .harness
            .disturb(Target::Observe, Disturbance::EmptyLists, u32::MAX),
        "empty lists cannot be staged"
    );
    let outcome = world.delete(&world.target(&machine)).await;
    promise!(
        matches!(
            outcome,
            DeleteOutcome::Rejected(_) | DeleteOutcome::Unknown(_)
        ),
        "a machine that only the listing hides gave {outcome:?}"
    );
    promise!(world.true_workers().len() == 1, "the machine is gone");
    Ok(Verdict::Held)
}

async fn a_delete_without_permit_is_withheld_and_deletes_nothing(world: &World<'_>) -> Outcome {
    applies!(world.capabilities().targeted_delete, WITHOUT);
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    let machine = world.bought(&pool, "contract-kept").await?;
    let call = Call {
        permit: Permit::new(|| false),
        ..world.call()
    };
    let outcome = world.provider.delete(&call, &world.target(&machine)).await;
    promise!(
        matches!(&outcome, DeleteOutcome::Rejected(error) if error.class == ErrorClass::Withheld),
        "a delete without permit gave {outcome:?}"
    );
    world.settle().await;
    promise!(world.true_workers().len() == 1, "the machine is gone");
    Ok(Verdict::Held)
}

async fn a_delete_ends_within_its_timeout(world: &World<'_>) -> Outcome {
    applies!(world.capabilities().targeted_delete, WITHOUT);
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    let machine = world.bought(&pool, "contract-silent").await?;
    applies!(
        world
            .harness
            .disturb(Target::Delete, Disturbance::Hangs, u32::MAX),
        "a silent cloud cannot be staged"
    );
    let timeout = Duration::from_secs(7);
    let began = world.harness.clock().monotonic();
    let outcome = world
        .provider
        .delete(&world.call_within(timeout), &world.target(&machine))
        .await;
    promise!(world.in_time(began, timeout), "overran its timeout");
    promise!(
        matches!(outcome, DeleteOutcome::Unknown(_)),
        "silence gave {outcome:?}"
    );
    Ok(Verdict::Held)
}

async fn a_provider_without_targeted_delete_deletes_nothing(world: &World<'_>) -> Outcome {
    applies!(
        !world.capabilities().targeted_delete,
        "machines can be deleted by identity"
    );
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    let machine = world.bought(&pool, "contract-kept").await?;
    let outcome = world.delete(&world.target(&machine)).await;
    promise!(
        matches!(&outcome, DeleteOutcome::Rejected(error) if error.class == ErrorClass::Unsupported),
        "a delete gave {outcome:?}"
    );
    world.settle().await;
    promise!(world.true_workers().len() == 1, "the machine is gone");
    Ok(Verdict::Held)
}
