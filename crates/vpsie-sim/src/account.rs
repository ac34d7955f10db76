//! Who may call, and how often: issued tokens and the window of the server's own rate limit.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use http::HeaderMap;
use runtime::Randomness;

use crate::config::Credentials;

const WINDOW: Duration = Duration::from_mins(1);

/// The tokens that were issued and the requests of the last minute. Times count from the start of
/// the simulation.
#[derive(Debug, Default)]
pub(crate) struct Account {
    issued: BTreeMap<String, Duration>,
    recent: VecDeque<Duration>,
}

impl Account {
    /// A new access token, valid until `expires`.
    pub(crate) fn issue(&mut self, random: &Randomness, expires: Duration) -> String {
        let token = random.uuid().simple().to_string();
        self.issued.insert(token.clone(), expires);
        token
    }

    /// Ends every issued token.
    pub(crate) fn expire_all(&mut self) {
        self.issued.clear();
    }

    /// True when the headers carry the static token or an issued one that is still valid.
    pub(crate) fn admits(
        &self,
        headers: &HeaderMap,
        credentials: &Credentials,
        now: Duration,
    ) -> bool {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let fixed = credentials.token.as_deref();
        if let Some(token) = text("vpsie-auth") {
            return fixed == Some(token);
        }
        let Some(token) = text("authorization").and_then(|value| value.strip_prefix("Bearer "))
        else {
            return false;
        };
        fixed == Some(token) || self.issued.get(token).is_some_and(|expires| now < *expires)
    }

    /// Counts a request; `Err` with the time until the window has room when it is one too many.
    pub(crate) fn count(&mut self, per_minute: u32, now: Duration) -> Result<(), Duration> {
        while let Some(oldest) = self.recent.front()
            && *oldest + WINDOW <= now
        {
            self.recent.pop_front();
        }
        if self.recent.len() >= per_minute as usize {
            let oldest = self.recent.front().copied().unwrap_or(now);
            return Err((oldest + WINDOW).saturating_sub(now));
        }
        self.recent.push_back(now);
        Ok(())
    }
}
