//! The token of a client exchange: one login at a time, renewed before it ends, and after a
//! refused login a pause instead of a storm.

use std::time::Duration;

use cloud::CloudError;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;

/// A token is renewed this long before it ends, or a fifth of its life if that is shorter.
const EARLY: Duration = Duration::from_mins(5);
/// The life of a token whose end cannot be read (the predecessor's figure).
const ASSUMED: Duration = Duration::from_hours(1);
/// A token is used for this long at least, whatever end it claims: a wrong clock on either side
/// must not cost a login per request. Should it really have ended, the 401 renews it.
const SHORTEST: Duration = Duration::from_secs(30);
/// After refused credentials nobody logs in again for this long.
const PAUSE: Duration = Duration::from_secs(15);

/// A token that was handed out.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) value: SecretString,
    /// Grows with every login: a 401 on an older one is no reason for another login.
    pub(crate) generation: u64,
    renew_at: Timestamp,
}

/// The one place that holds tokens.
#[derive(Default)]
pub(crate) struct Tokens {
    /// Held during a login, so that callers wait for it instead of making their own.
    pub(crate) state: Mutex<State>,
}

/// What is known of the exchange.
#[derive(Default)]
pub(crate) struct State {
    current: Option<Token>,
    refused: Option<(Duration, CloudError)>,
}

impl State {
    /// The present token, if it lives long enough and is not the one that was refused.
    pub(crate) fn usable(&self, now: Timestamp, refused: Option<u64>) -> Option<Token> {
        self.current
            .as_ref()
            .filter(|token| token.renew_at > now && refused != Some(token.generation))
            .cloned()
    }

    /// Why nobody should log in at `now` (monotonic).
    pub(crate) fn refusal(&self, now: Duration) -> Option<CloudError> {
        self.refused
            .as_ref()
            .filter(|(at, _)| now.saturating_sub(*at) < PAUSE)
            .map(|(_, error)| error.clone())
    }

    /// The generation of the token that the next login makes.
    pub(crate) fn next_generation(&self) -> u64 {
        self.current
            .as_ref()
            .map_or(1, |token| token.generation + 1)
    }

    pub(crate) fn logged_in(&mut self, token: Token) {
        self.current = Some(token);
        self.refused = None;
    }

    /// The cloud refused the credentials at `now` (monotonic).
    pub(crate) fn refused(&mut self, now: Duration, error: &CloudError) {
        self.refused = Some((now, error.clone()));
    }
}

impl Token {
    /// A token that was just handed out; `skew` is the cloud's clock minus ours.
    pub(crate) fn new(
        value: String,
        expires: Option<&str>,
        now: Timestamp,
        skew: SignedDuration,
        generation: u64,
    ) -> Self {
        let expires = expires
            .and_then(|text| text.trim().parse::<Timestamp>().ok())
            .and_then(|at| at.checked_sub(skew).ok())
            .or_else(|| now.checked_add(ASSUMED).ok())
            .unwrap_or(now);
        let life = Duration::try_from(expires.duration_since(now)).unwrap_or_default();
        let use_for = life.saturating_sub(EARLY.min(life / 5)).max(SHORTEST);
        Self {
            value: value.into(),
            generation,
            renew_at: now.checked_add(use_for).unwrap_or(now),
        }
    }
}

/// The two encodings of the exchange that clients use; the first that works is kept.
pub(crate) fn login_body(
    form: bool,
    id: &SecretString,
    secret: &SecretString,
) -> (&'static str, String) {
    let (id, secret) = (id.expose_secret(), secret.expose_secret());
    if form {
        let encode = |text: &str| crate::base_url::segment(text);
        (
            "application/x-www-form-urlencoded",
            format!("clientId={}&clientSecret={}", encode(id), encode(secret)),
        )
    } else {
        (
            "application/json",
            serde_json::json!({ "clientId": id, "clientSecret": secret }).to_string(),
        )
    }
}

/// Where the exchange takes place.
pub(crate) const LOGIN: (Method, &str) = (Method::POST, "/auth/from/api");

#[cfg(test)]
mod tests {
    use super::*;

    fn renewed_after(expires: Option<&str>, skew: i64) -> i64 {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let skew = SignedDuration::from_secs(skew);
        let token = Token::new("t".into(), expires, now, skew, 1);
        token.renew_at.duration_since(now).as_secs()
    }

    #[test]
    fn a_token_is_renewed_five_minutes_or_a_fifth_of_its_life_before_its_end() {
        assert_eq!(renewed_after(Some("2026-01-01T01:00:00Z"), 0), 55 * 60);
        assert_eq!(renewed_after(Some("2026-01-01T00:10:00Z"), 0), 8 * 60);
    }

    #[test]
    fn a_token_whose_end_cannot_be_read_lives_an_hour() {
        for unreadable in [None, Some("soon"), Some("")] {
            assert_eq!(renewed_after(unreadable, 0), 55 * 60, "{unreadable:?}");
        }
    }

    #[test]
    fn the_clouds_clock_decides_when_a_token_ends() {
        // Its clock is ten minutes ahead of ours: what it calls 01:00 is our 00:50.
        assert_eq!(renewed_after(Some("2026-01-01T01:00:00Z"), 600), 45 * 60);
    }

    #[test]
    fn a_token_that_claims_to_have_ended_does_not_cause_a_login_per_request() {
        assert_eq!(renewed_after(Some("2025-01-01T00:00:00Z"), 0), 30);
    }
}
