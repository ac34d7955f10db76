//! Who may ask: the static token, or an access token of the client exchange (`vpsie-api.md` §a).

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::{VpsieSim, handle::Answer};

impl VpsieSim {
    /// Whether the headers carry something that opens the account.
    pub(crate) fn authenticated(&self, headers: &HeaderMap) -> bool {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let world = self.lock();
        let now = self.clock.now();
        let valid = |token: &str| {
            (!token.is_empty() && token == world.credentials.token)
                || world.tokens.get(token).is_some_and(|expires| *expires > now)
        };
        text("vpsie-auth").is_some_and(valid)
            || text("authorization")
                .and_then(|value| value.strip_prefix("Bearer "))
                .is_some_and(valid)
    }

    /// `POST /auth/from/api`, in form or JSON encoding.
    pub(crate) fn exchange(&self, headers: &HeaderMap, body: &Bytes) -> Answer {
        let form = headers
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let fields: BTreeMap<String, String> = if form {
            String::from_utf8_lossy(body)
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect()
        } else {
            serde_json::from_slice::<Value>(body)
                .ok()
                .and_then(|value| serde_json::from_value(value).ok())
                .unwrap_or_default()
        };
        let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
        let mut world = self.lock();
        let known = field("clientId") == world.credentials.client_id
            && field("clientSecret") == world.credentials.client_secret;
        if !known {
            return Answer::error(StatusCode::UNAUTHORIZED, "Please authenticate");
        }
        let token = format!("access-canary-{}", self.random.uuid());
        let expires = self
            .clock
            .now()
            .saturating_add(self.config.token_lifetime)
            .unwrap_or(self.clock.now());
        world.tokens.insert(token.clone(), expires);
        Answer::ok(json!({
            "error": false,
            "code": 200,
            "accessToken": { "token": token, "expires": expires.to_string() },
            "refreshToken": { "token": "refresh-canary", "expires": expires.to_string() },
        }))
    }
}
