//! How fast, and when not at all: the limit, 429, the breaker.

use std::time::Duration;

use cloud::{CloudProvider as _, ErrorClass, contract::Harness as _};
use futures::future::join_all;
use vpsie_sim::{Fault, Match, RateLimit, RetryAfter, Route};

use crate::harness::{Cloud, Login, a_call, call_within, quick};

#[tokio::test(start_paused = true)]
async fn no_minute_has_more_than_a_hundred_requests_however_many_are_wanted() {
    let mut config = quick();
    // One more than we allow ourselves would be answered with 429.
    config.rate_limit = Some(RateLimit {
        per_minute: 100,
        retry_after: RetryAfter::Missing,
    });
    let cloud = Cloud::new(config, Login::StaticToken);
    let call = call_within(Duration::from_mins(10));
    let answers = join_all((0..300).map(|_| cloud.provider.health(&call))).await;
    assert!(answers.iter().all(Result::is_ok));
    let sent: Vec<_> = cloud
        .sim
        .journal()
        .iter()
        .map(|request| request.at)
        .collect();
    assert_eq!(sent.len(), 300);
    for pair in sent.windows(101) {
        let span = pair[100].duration_since(pair[0]);
        assert!(span.as_secs() >= 60, "101 requests within {span:?}");
    }
    assert!(!cloud.reports.waits.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_write_overtakes_the_catalogue_when_the_minute_is_nearly_used_up() {
    let cloud = Cloud::new(quick(), Login::StaticToken);
    let pool = cloud.pool("101").await;
    let call = call_within(Duration::from_mins(10));
    let began = cloud.clock.monotonic();
    let crowd = join_all((0..200).map(|_| cloud.provider.health(&call)));
    let write = async {
        // Arrives last.
        cloud.clock.sleep(Duration::from_secs(1)).await;
        let intent = cloud.intent(&pool);
        let outcome = cloud.provider.create(&call, &intent).await;
        (outcome, cloud.clock.monotonic().saturating_sub(began))
    };
    let (_, (outcome, took)) = tokio::join!(crowd, write);
    assert!(matches!(outcome, cloud::CreateOutcome::Accepted(_)));
    assert!(took < Duration::from_secs(5), "waited {took:?}");
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_in_every_form_and_an_absurd_one_is_not() {
    for (retry_after, seconds) in [
        (RetryAfter::Seconds(20), 20),
        (RetryAfter::Date(20), 20),
        (RetryAfter::Seconds(4000), 300),
        (RetryAfter::Missing, 5),
        (RetryAfter::Absurd, 5),
    ] {
        let cloud = Cloud::new(quick(), Login::StaticToken);
        cloud.strike(Match::Any, Fault::RateLimited { retry_after }, 1);
        let call = call_within(Duration::from_mins(10));
        let began = cloud.clock.monotonic();
        cloud.provider.health(&call).await.unwrap();
        let took = cloud.clock.monotonic().saturating_sub(began).as_secs();
        // A date has no fractions of a second.
        assert!(
            took.abs_diff(seconds) <= 1,
            "{retry_after:?}: {took} s instead of {seconds}"
        );
        assert_eq!(cloud.requests(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_breaker_opens_on_failures_sends_nothing_and_closes_after_one_good_probe() {
    let cloud = Cloud::new(quick(), Login::StaticToken);
    cloud.strike(Match::Any, Fault::Html500, 5);
    let call = call_within(Duration::from_secs(5));
    let mut last = None;
    while cloud.requests() < 5 {
        last = cloud.provider.health(&call).await.err();
    }
    assert!(last.is_some());
    let error = cloud.provider.health(&call).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::CircuitOpen);
    assert_eq!(cloud.requests(), 5);
    cloud.clock.sleep(Duration::from_secs(31)).await;
    cloud.provider.health(&call).await.unwrap();
    assert_eq!(
        *cloud.reports.breaker.lock().unwrap(),
        [
            ("closed", "open"),
            ("open", "half-open"),
            ("half-open", "closed")
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn silence_opens_the_breaker_too_even_when_callers_are_impatient() {
    let cloud = Cloud::new(quick(), Login::StaticToken);
    let hang = Fault::Slow {
        by: Duration::from_hours(1),
        after_commit: false,
    };
    cloud.strike(Match::Any, hang, 99);
    let call = call_within(Duration::from_secs(3));
    for _ in 0..5 {
        let error = cloud.provider.health(&call).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Transient);
    }
    let error = cloud.provider.health(&call).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::CircuitOpen);
}

#[tokio::test(start_paused = true)]
async fn business_refusals_do_not_open_the_breaker() {
    let cloud = Cloud::new(quick(), Login::StaticToken);
    let pool = cloud.pool("101").await;
    cloud.cap_workers(0);
    let (call, intent) = (a_call(), cloud.intent(&pool));
    for _ in 0..10 {
        let outcome = cloud.provider.create(&call, &intent).await;
        assert!(
            matches!(&outcome, cloud::CreateOutcome::Rejected(error)
                if error.class == ErrorClass::Quota { limit: Some(0) }),
            "{outcome:?}"
        );
    }
    assert_eq!(cloud.asked(Route::AddWorker), 10);
    assert!(cloud.reports.breaker.lock().unwrap().is_empty());
}

/// Retries draw on randomness, calls overlap, answers are late: what the cloud saw of it.
async fn a_disorderly_minute() -> Vec<String> {
    let cloud = Cloud::new(quick(), Login::Client);
    let pool = cloud.pool("101").await;
    let late = Fault::Slow {
        by: Duration::from_secs(3),
        after_commit: true,
    };
    for (fault, times) in [
        (Fault::Html500, 3),
        (late, 9),
        (Fault::ResetBeforeCommit, 2),
    ] {
        cloud.strike(Match::Reads, fault, times);
    }
    let intents: Vec<_> = (0..4).map(|_| cloud.intent(&pool)).collect();
    let (call, impatient) = (
        call_within(Duration::from_mins(1)),
        call_within(Duration::from_secs(5)),
    );
    let creates = join_all(
        intents
            .iter()
            .map(|intent| cloud.provider.create(&call, intent)),
    );
    let reads = join_all((0..6).map(|_| cloud.observe()));
    let others = join_all((0..6).map(|_| cloud.provider.health(&impatient)));
    let _ = tokio::join!(creates, reads, others);
    cloud.clock.sleep(Duration::from_mins(1)).await;
    cloud.sim.trace()
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_requests_at_the_same_moments() {
    let first = a_disorderly_minute().await;
    assert!(first.len() > 20);
    assert_eq!(first, a_disorderly_minute().await);
}

#[tokio::test(start_paused = true)]
async fn a_create_that_could_not_be_sent_in_time_is_refused_and_not_unknown() {
    let cloud = Cloud::new(quick(), Login::StaticToken);
    let pool = cloud.pool("101").await;
    cloud.strike(
        Match::Any,
        Fault::RateLimited {
            retry_after: RetryAfter::Seconds(120),
        },
        1,
    );
    let impatient = call_within(Duration::from_secs(1));
    assert!(cloud.provider.health(&impatient).await.is_err());
    let (call, intent) = (call_within(Duration::from_secs(10)), cloud.intent(&pool));
    let outcome = cloud.provider.create(&call, &intent).await;
    assert!(
        matches!(&outcome, cloud::CreateOutcome::Rejected(error)
            if error.class == ErrorClass::Transient),
        "{outcome:?}"
    );
    assert_eq!(cloud.create_requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_permit_ends_while_it_waits_for_its_place_is_not_sent() {
    let cloud = Cloud::new(quick(), Login::StaticToken);
    let pool = cloud.pool("101").await;
    cloud.strike(
        Match::Any,
        Fault::RateLimited {
            retry_after: RetryAfter::Seconds(20),
        },
        1,
    );
    let impatient = call_within(Duration::from_secs(1));
    assert!(cloud.provider.health(&impatient).await.is_err());
    let end = cloud.clock.monotonic() + Duration::from_secs(5);
    let clock = cloud.clock.clone();
    let leading = cloud::Call {
        permit: cloud::Permit::new(move || clock.monotonic() < end),
        ..call_within(Duration::from_mins(10))
    };
    let outcome = cloud.provider.create(&leading, &cloud.intent(&pool)).await;
    assert!(cloud.clock.monotonic() > end, "it did not wait");
    assert!(
        matches!(&outcome, cloud::CreateOutcome::Rejected(error)
            if error.class == ErrorClass::Withheld),
        "{outcome:?}"
    );
    assert_eq!(cloud.create_requests(), 0);
}
