//! Promises about creates: one request each, and never a certainty that the wire did not give.

use std::{collections::BTreeMap, time::Duration};

use model::{OperationId, Resolution};

use super::{
    Case, Disturbance, Outcome, Target, Verdict, World, applies, cases_of, create_error, promise,
    refusal, shown,
};
use crate::{
    Call, CreateOutcome, ErrorClass, OpenOperation, Permit, RequestState, Windows, resolve,
};

pub(super) const CASES: &[Case] = cases_of![
    a_create_buys_one_machine_with_one_request,
    a_create_whose_answer_is_lost_is_unknown_and_never_sent_again,
    a_create_answered_by_a_broken_gateway_is_unknown_and_never_sent_again,
    a_create_whose_connection_breaks_is_unknown_and_never_sent_again,
    a_create_whose_answer_is_cut_is_not_taken_for_refused,
    a_create_ends_within_its_timeout_and_is_then_unknown,
    a_rate_limited_create_is_refused_and_buys_nothing,
    a_create_beyond_the_cap_is_refused_as_quota_and_buys_nothing,
    a_sold_out_size_is_refused_as_out_of_stock_and_buys_nothing,
    a_create_without_permit_is_withheld_and_nothing_is_sent,
    creates_at_once_buy_as_many_machines_as_they_are,
    a_named_create_is_found_by_its_name_instead_of_bought_twice,
    a_lost_create_is_resolved_by_observation,
    a_create_that_never_happened_is_proven_absent_after_the_quarantine,
];

async fn a_create_buys_one_machine_with_one_request(world: &World<'_>) -> Outcome {
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    let (requests, machines) = (world.harness.create_requests(), world.true_workers().len());
    let outcome = world.create(&pool, "contract-one").await;
    promise!(
        matches!(outcome, CreateOutcome::Accepted(_)),
        "an undisturbed create gave {outcome:?}"
    );
    world.settle().await;
    let sent = world.harness.create_requests() - requests;
    promise!(sent == 1, "{sent} creating requests");
    let bought = world.true_workers().len() - machines;
    promise!(bought == 1, "{bought} machines bought");
    let listed = world.workers().await?;
    promise!(listed.len() == machines + 1, "{} listed", listed.len());
    if let CreateOutcome::Accepted(Some(id)) = outcome {
        promise!(
            listed.iter().any(|instance| instance.id == id),
            "the identity told, {id}, is not the machine's"
        );
    }
    Ok(Verdict::Held)
}

/// Disturbs the creating request and wants `Unknown` after exactly one of it; `bought`: whether
/// the machine exists nevertheless.
async fn unknown_after_one_request(world: &World<'_>, what: Disturbance, bought: bool) -> Outcome {
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    // For as long as it lasts: a provider that sent it again would be disturbed again.
    applies!(
        world.harness.disturb(Target::Create, what, u32::MAX),
        "the disturbance cannot be staged"
    );
    let requests = world.harness.create_requests();
    let outcome = world.create(&pool, "contract-disturbed").await;
    promise!(
        matches!(outcome, CreateOutcome::Unknown(_)),
        "{what:?} gave {outcome:?}"
    );
    if let Some(error) = create_error(&outcome) {
        promise!(
            error.class == ErrorClass::Ambiguous,
            "the class of an unknown create is {}",
            error.class.name()
        );
    }
    world.settle().await;
    let sent = world.harness.create_requests() - requests;
    promise!(sent == 1, "{sent} creating requests");
    let machines = world.true_workers().len();
    promise!(
        machines == usize::from(bought),
        "{machines} machines exist after {what:?}"
    );
    Ok(Verdict::Held)
}

async fn a_create_whose_answer_is_lost_is_unknown_and_never_sent_again(
    world: &World<'_>,
) -> Outcome {
    unknown_after_one_request(world, Disturbance::AnswerLost, true).await
}

async fn a_create_answered_by_a_broken_gateway_is_unknown_and_never_sent_again(
    world: &World<'_>,
) -> Outcome {
    unknown_after_one_request(world, Disturbance::ServerErrorAfterEffect, true).await
}

async fn a_create_whose_connection_breaks_is_unknown_and_never_sent_again(
    world: &World<'_>,
) -> Outcome {
    unknown_after_one_request(world, Disturbance::ConnectionReset, false).await
}

async fn a_create_whose_answer_is_cut_is_not_taken_for_refused(world: &World<'_>) -> Outcome {
    unknown_after_one_request(world, Disturbance::Truncated, true).await
}

async fn a_create_ends_within_its_timeout_and_is_then_unknown(world: &World<'_>) -> Outcome {
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    applies!(
        world
            .harness
            .disturb(Target::Create, Disturbance::Hangs, u32::MAX),
        "a silent cloud cannot be staged"
    );
    let timeout = Duration::from_secs(7);
    let (began, requests) = (
        world.harness.clock().monotonic(),
        world.harness.create_requests(),
    );
    let outcome = world
        .provider
        .create(
            &world.call_within(timeout),
            &world.intent(&pool, "contract-silent"),
        )
        .await;
    promise!(world.in_time(began, timeout), "overran its timeout");
    promise!(
        matches!(outcome, CreateOutcome::Unknown(_)),
        "silence gave {outcome:?}"
    );
    let sent = world.harness.create_requests() - requests;
    promise!(sent == 1, "{sent} creating requests");
    Ok(Verdict::Held)
}

/// Wants the create refused with a class that `fits`, after at most one request, and nothing
/// bought.
async fn refused(world: &World<'_>, pool: &model::Pool, fits: fn(ErrorClass) -> bool) -> Outcome {
    let (requests, machines) = (world.harness.create_requests(), world.true_workers().len());
    let outcome = world.create(pool, "contract-refused").await;
    match refusal(&outcome) {
        Some(class) if fits(class) => {}
        _ => return Err(format!("the create gave {outcome:?}")),
    }
    world.settle().await;
    let sent = world.harness.create_requests() - requests;
    promise!(sent <= 1, "{sent} creating requests");
    promise!(
        world.true_workers().len() == machines,
        "a refused create bought a machine"
    );
    Ok(Verdict::Held)
}

async fn a_rate_limited_create_is_refused_and_buys_nothing(world: &World<'_>) -> Outcome {
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    applies!(
        world
            .harness
            .disturb(Target::Create, Disturbance::RateLimited, u32::MAX),
        "a rate limit cannot be staged"
    );
    refused(world, &pool, |class| {
        matches!(class, ErrorClass::RateLimited { .. })
    })
    .await
}

async fn a_create_beyond_the_cap_is_refused_as_quota_and_buys_nothing(
    world: &World<'_>,
) -> Outcome {
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    applies!(world.harness.cap_workers(1), "a cap cannot be staged");
    world.bought(&pool, "contract-within-the-cap").await?;
    refused(world, &pool, |class| {
        matches!(
            class,
            ErrorClass::Quota {
                limit: None | Some(1)
            }
        )
    })
    .await
}

async fn a_sold_out_size_is_refused_as_out_of_stock_and_buys_nothing(world: &World<'_>) -> Outcome {
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    applies!(world.harness.sell_out(&size), "nothing can be sold out");
    refused(world, &pool, |class| class == ErrorClass::OutOfStock).await
}

async fn a_create_without_permit_is_withheld_and_nothing_is_sent(world: &World<'_>) -> Outcome {
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    let requests = world.harness.create_requests();
    let call = Call {
        permit: Permit::new(|| false),
        ..world.call()
    };
    let outcome = world
        .provider
        .create(&call, &world.intent(&pool, "contract-withheld"))
        .await;
    promise!(
        refusal(&outcome) == Some(ErrorClass::Withheld),
        "a create without permit gave {outcome:?}"
    );
    let sent = world.harness.create_requests() - requests;
    promise!(sent == 0, "{sent} creating requests");
    Ok(Verdict::Held)
}

async fn creates_at_once_buy_as_many_machines_as_they_are(world: &World<'_>) -> Outcome {
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    let requests = world.harness.create_requests();
    let names: Vec<String> = (0..5).map(|n| format!("contract-at-once-{n}")).collect();
    // Five requests wait for the rate limit together; the deadline leaves room for that.
    let calls: Vec<_> = names
        .iter()
        .map(|name| {
            (
                world.call_within(Duration::from_mins(2)),
                world.intent(&pool, name),
            )
        })
        .collect();
    let outcomes = futures::future::join_all(
        calls
            .iter()
            .map(|(call, intent)| world.provider.create(call, intent)),
    )
    .await;
    for outcome in &outcomes {
        promise!(
            matches!(outcome, CreateOutcome::Accepted(_)),
            "an undisturbed create gave {outcome:?}"
        );
    }
    world.settle().await;
    let sent = world.harness.create_requests() - requests;
    promise!(sent == names.len(), "{sent} creating requests");
    let bought = world.true_workers().len();
    promise!(bought == names.len(), "{bought} machines bought");
    Ok(Verdict::Held)
}

async fn a_named_create_is_found_by_its_name_instead_of_bought_twice(world: &World<'_>) -> Outcome {
    applies!(
        world.capabilities().named_create,
        "machines are not named by the caller"
    );
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    let first = world.bought(&pool, "contract-named").await?;
    let second = world.create(&pool, "contract-named").await;
    match second {
        CreateOutcome::AlreadyExists(instance) => promise!(
            instance.id == first.id,
            "found {} instead of {}",
            instance.id,
            first.id
        ),
        other => return Err(format!("a second create of one name gave {other:?}")),
    }
    let machines = world.true_workers().len();
    promise!(machines == 1, "{machines} machines of one name");
    Ok(Verdict::Held)
}

const QUARANTINE: Duration = Duration::from_mins(5);

async fn verdict_after(
    world: &World<'_>,
    wait: Duration,
    disturbance: Disturbance,
) -> Result<Option<Resolution>, String> {
    let [size, _] = world.harness.sizes();
    let pool = world.pool_of(&size).await?;
    let baseline = world.observe().await.map_err(|error| shown(&error))?.ids();
    if !world.harness.disturb(Target::Create, disturbance, 1) {
        return Ok(None);
    }
    let id = OperationId::new("contract-lost");
    let open = OpenOperation {
        wanted: true,
        id: id.clone(),
        state: RequestState::Unknown,
        baseline,
        requested_at: world.harness.clock().now(),
        shape: None,
        instance: None,
    };
    let outcome = world.create(&pool, "contract-lost").await;
    promise!(
        matches!(outcome, CreateOutcome::Unknown(_)),
        "{disturbance:?} gave {outcome:?}"
    );
    world.harness.clock().sleep(wait).await;
    let seen = world.observe().await.map_err(|error| shown(&error))?;
    let mut verdicts: BTreeMap<_, _> = resolve(
        &[open],
        &std::collections::BTreeSet::new(),
        &seen,
        world.harness.clock().now(),
        &Windows {
            quarantine: QUARANTINE,
            settle: 3 * QUARANTINE,
            watched_since: jiff::Timestamp::UNIX_EPOCH,
        },
    );
    Ok(verdicts.remove(&id))
}

async fn a_lost_create_is_resolved_by_observation(world: &World<'_>) -> Outcome {
    let wait = world.harness.settle_time();
    let verdict = verdict_after(world, wait, Disturbance::AnswerLost).await?;
    applies!(verdict.is_some(), "a lost answer cannot be staged");
    let machines = world.true_workers();
    match (verdict, machines.as_slice()) {
        (Some(Resolution::Found(id)), [machine]) if id == machine.id => Ok(Verdict::Held),
        (verdict, machines) => Err(format!(
            "{verdict:?} with {} machines bought",
            machines.len()
        )),
    }
}

async fn a_create_that_never_happened_is_proven_absent_after_the_quarantine(
    world: &World<'_>,
) -> Outcome {
    let wait = QUARANTINE + Duration::from_secs(1);
    let verdict = verdict_after(world, wait, Disturbance::ConnectionReset).await?;
    applies!(verdict.is_some(), "a reset cannot be staged");
    promise!(
        verdict == Some(Resolution::ProvenAbsent),
        "judged {verdict:?}"
    );
    Ok(Verdict::Held)
}
