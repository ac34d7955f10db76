//! What an answer means: by its body first, then by its status (`vpsie-api.md` §d).
//!
//! The cloud answers 200 with `error: true`, and 500 for a business limit; so a status alone says
//! little. What cannot be read proves nothing: on a read that is drift of the contract, on a write
//! it is ambiguous.

use std::time::Duration;

use cloud::ErrorClass;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use crate::wire;

/// Whether the request could change something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Read,
    Write,
}

/// A failure as far as it is understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Verdict {
    pub(crate) class: ErrorClass,
    pub(crate) message: String,
    /// Says that the cloud, or the way there, is unwell (for the breaker).
    pub(crate) unwell: bool,
}

/// The answer's data, or why it is none.
pub(crate) fn judge(
    kind: Kind,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Value, Verdict> {
    let verdict = |class, message: &str, unwell| Verdict {
        class,
        message: message.to_owned(),
        unwell,
    };
    if status == StatusCode::NO_CONTENT {
        return Ok(Value::Null);
    }
    let decoded = wire::json(body);
    let message = decoded.as_ref().map(wire::message).unwrap_or_default();
    let message = if message.is_empty() {
        status.canonical_reason().unwrap_or("no message").to_owned()
    } else {
        message
    };
    match status.as_u16() {
        401 => return Err(verdict(ErrorClass::Auth, &message, false)),
        429 => {
            let after = retry_after(headers, now);
            return Err(verdict(ErrorClass::RateLimited { after }, &message, true));
        }
        _ => {}
    }
    let Some(decoded) = decoded else {
        let unwell = status.is_server_error();
        let class = match kind {
            Kind::Write => ErrorClass::Ambiguous,
            Kind::Read if unwell => ErrorClass::Transient,
            Kind::Read => ErrorClass::ContractDrift,
        };
        return Err(verdict(class, "the answer is not JSON", unwell));
    };
    if status.is_success() && !wire::says_error(&decoded) {
        return match decoded.get("data") {
            Some(data) => Ok(data.clone()),
            None if decoded.is_object() => Ok(decoded),
            None => Err(verdict(
                if kind == Kind::Write {
                    ErrorClass::Ambiguous
                } else {
                    ErrorClass::ContractDrift
                },
                "the answer has another shape than promised",
                false,
            )),
        };
    }
    if let Some(class) = by_message(&message) {
        return Err(verdict(class, &message, false));
    }
    let unwell = status.is_server_error();
    let class = match status.as_u16() {
        // A route nobody knows: our mistake or a changed API, never proof that something is gone.
        404 if message.eq_ignore_ascii_case("not found") => ErrorClass::ContractDrift,
        404 => ErrorClass::NotFound,
        403 => ErrorClass::Auth,
        409 => ErrorClass::Conflict,
        400..=499 => ErrorClass::InvalidRequest,
        500..=599 if kind == Kind::Write => ErrorClass::Ambiguous,
        500..=599 => ErrorClass::Transient,
        // 200 with `error: true` and words nobody has met.
        _ => ErrorClass::InvalidRequest,
    };
    Err(verdict(class, &message, unwell))
}

/// Words that mean something whatever the status.
fn by_message(message: &str) -> Option<ErrorClass> {
    let text = message.to_ascii_lowercase();
    let has = |words: &str| text.contains(words);
    if has("rate limit") || has("too many requests") {
        return Some(ErrorClass::RateLimited { after: None });
    }
    if has("please authenticate") {
        return Some(ErrorClass::Auth);
    }
    if has("exceeds the allowed limit") {
        let limit = text
            .rsplit(|c: char| !c.is_ascii_digit())
            .find(|digits| !digits.is_empty())
            .and_then(|digits| digits.parse().ok());
        return Some(ErrorClass::Quota { limit });
    }
    let quota = [
        "quota exceeded",
        "plan does not allow",
        "maximum number of",
        "limit reached",
        "subscription does not allow",
    ];
    if quota.iter().any(|words| has(words)) {
        return Some(ErrorClass::Quota { limit: None });
    }
    if has("same selected size") {
        return Some(ErrorClass::Conflict);
    }
    if has("out of stock") || has("sold out") || has("no capacity") || has("not enough resources") {
        return Some(ErrorClass::OutOfStock);
    }
    if has("wrong password") {
        return Some(ErrorClass::InvalidRequest);
    }
    if has("not found") && !text.eq("not found") {
        return Some(ErrorClass::NotFound);
    }
    None
}

/// `Retry-After` in seconds or as an HTTP date; nonsense counts as absent.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get("retry-after")?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds.min(86_400)));
    }
    let date = http_date(text)?;
    Duration::try_from(date.duration_since(now)).ok()
}

/// An HTTP date (`Sun, 06 Nov 1994 08:49:37 GMT`).
pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
    let civil = jiff::fmt::strtime::parse("%a, %d %b %Y %H:%M:%S GMT", text)
        .ok()?
        .to_datetime()
        .ok()?;
    civil
        .to_zoned(jiff::tz::TimeZone::UTC)
        .ok()
        .map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(kind: Kind, status: u16, body: &str) -> ErrorClass {
        judge(
            kind,
            StatusCode::from_u16(status).unwrap(),
            &HeaderMap::new(),
            body.as_bytes(),
            Timestamp::UNIX_EPOCH,
        )
        .unwrap_err()
        .class
    }

    #[test]
    fn the_body_is_asked_before_the_status() {
        let quoted = r#"{"error":true,"code":500,"message":"Worker nodes count exceeds the allowed limit 5","type":false}"#;
        assert_eq!(
            class(Kind::Write, 500, quoted),
            ErrorClass::Quota { limit: Some(5) }
        );
        let same = r#"{"error":true,"message":"Group GRP-Advanced-c745 has same selected Size, please select another size"}"#;
        assert_eq!(class(Kind::Write, 200, same), ErrorClass::Conflict);
        let password = r#"{"error":true,"message":"You entered the wrong password"}"#;
        assert_eq!(
            class(Kind::Write, 200, password),
            ErrorClass::InvalidRequest
        );
        let rate = r#"{"error":1,"message":"Rate limit reached"}"#;
        assert!(matches!(
            class(Kind::Read, 200, rate),
            ErrorClass::RateLimited { .. }
        ));
    }

    #[test]
    fn what_cannot_be_read_proves_nothing() {
        for status in [200, 500, 502] {
            assert_eq!(class(Kind::Write, status, "<html>"), ErrorClass::Ambiguous);
        }
        assert_eq!(class(Kind::Read, 502, "<html>"), ErrorClass::Transient);
        assert_eq!(class(Kind::Read, 200, "{\"da"), ErrorClass::ContractDrift);
        assert_eq!(
            class(Kind::Write, 500, r#"{"error":true,"message":"boom"}"#),
            ErrorClass::Ambiguous
        );
    }

    #[test]
    fn an_unknown_route_is_never_taken_for_something_gone() {
        let body = r#"{"error":true,"message":"Not found"}"#;
        assert_eq!(class(Kind::Write, 404, body), ErrorClass::ContractDrift);
        let body = r#"{"error":true,"message":"Node not found"}"#;
        assert_eq!(class(Kind::Write, 404, body), ErrorClass::NotFound);
    }

    #[test]
    fn retry_after_comes_in_seconds_or_as_a_date() {
        let now: Timestamp = "1994-11-06T08:49:27Z".parse().unwrap();
        let mut headers = HeaderMap::new();
        for (text, expected) in [
            ("7", Some(7)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", None),
            ("soon", None),
        ] {
            headers.insert("retry-after", text.parse().unwrap());
            assert_eq!(
                retry_after(&headers, now),
                expected.map(Duration::from_secs),
                "{text}"
            );
        }
    }
}
