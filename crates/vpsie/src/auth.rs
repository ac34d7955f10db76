//! The token of a client exchange: one login at a time, renewed before it ends.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;

/// A token is renewed this long before it ends, or a fifth of its life if that is shorter.
const EARLY: Duration = Duration::from_mins(5);
/// The life of a token whose end cannot be read (the predecessor's figure).
const ASSUMED: Duration = Duration::from_secs(3600);

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
    pub(crate) current: Mutex<Option<Token>>,
}

impl Tokens {
    /// The present token, if it lives long enough and is not the one that was refused.
    pub(crate) fn usable(
        current: Option<&Token>,
        now: Timestamp,
        refused: Option<u64>,
    ) -> Option<Token> {
        current
            .filter(|token| token.renew_at > now && refused != Some(token.generation))
            .cloned()
    }
}

impl Token {
    /// A token that was just handed out; `skew` is the cloud's clock minus ours.
    pub(crate) fn new(
        value: String,
        expires: Option<&str>,
        now: Timestamp,
        skew: jiff::SignedDuration,
        generation: u64,
    ) -> Self {
        let expires = expires
            .and_then(|text| text.parse::<Timestamp>().ok())
            .and_then(|at| at.checked_sub(skew).ok())
            .or_else(|| now.checked_add(ASSUMED).ok())
            .unwrap_or(now);
        let life = Duration::try_from(expires.duration_since(now)).unwrap_or_default();
        let early = EARLY.min(life / 5);
        Self {
            value: value.into(),
            generation,
            renew_at: expires.checked_sub(early).unwrap_or(now),
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
