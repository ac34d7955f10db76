//! What an answer means: by its body first, then by its status.
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

/// A success.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Reply {
    /// The envelope's `data`, or the whole body where there is no envelope.
    pub(crate) data: Value,
    /// How many rows there are altogether, where the envelope tells it.
    pub(crate) total: Option<usize>,
}

impl Reply {
    /// The rows of a list. `Err` names what is wrong: no list, or fewer rows than there are.
    pub(crate) fn rows(&self) -> Result<&[Value], &'static str> {
        let rows = self.data.as_array().ok_or("the answer is not a list")?;
        match self.total {
            Some(total) if rows.len() < total => Err("the list is shorter than its total"),
            _ => Ok(rows),
        }
    }
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
) -> Result<Reply, Verdict> {
    let verdict = |class, message: &str, unwell| Verdict {
        class,
        message: message.to_owned(),
        unwell,
    };
    if status == StatusCode::NO_CONTENT {
        return Ok(Reply {
            data: Value::Null,
            total: None,
        });
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
            // A page is a gateway's, whatever status it chose.
            Kind::Read if unwell || is_page(body) => ErrorClass::Transient,
            Kind::Read => ErrorClass::ContractDrift,
        };
        return Err(verdict(class, "the answer is not JSON", unwell));
    };
    if status.is_success() && !wire::says_error(&decoded) {
        let total = wire::total(&decoded);
        return match decoded.get("data") {
            Some(data) => Ok(Reply {
                data: data.clone(),
                total,
            }),
            // A write that is answered by an object without envelope was not promised anything.
            None if kind == Kind::Read && decoded.is_object() || decoded.get("error").is_some() => {
                Ok(Reply {
                    data: decoded,
                    total,
                })
            }
            None => Err(verdict(
                undecodable(kind),
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
        200..=499 if names_no_object(&message) => ErrorClass::ContractDrift,
        404 => ErrorClass::NotFound,
        200..=499 if message.to_ascii_lowercase().contains("not found") => ErrorClass::NotFound,
        300..=399 => undecodable(kind),
        403 => ErrorClass::Auth,
        // A gateway gave up waiting for us or for the cloud.
        408 | 500..=599 if kind == Kind::Write => ErrorClass::Ambiguous,
        408 | 425 | 500..=599 => ErrorClass::Transient,
        409 => ErrorClass::Conflict,
        // Among them 200 with `error: true` and words nobody has met.
        _ => ErrorClass::InvalidRequest,
    };
    Err(verdict(class, &message, unwell))
}

/// What an answer that cannot be read means.
const fn undecodable(kind: Kind) -> ErrorClass {
    match kind {
        Kind::Read => ErrorClass::ContractDrift,
        Kind::Write => ErrorClass::Ambiguous,
    }
}

/// The first thing in it is a tag.
fn is_page(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'<')
}

/// "Not found", without saying what, or saying that the route is.
fn names_no_object(message: &str) -> bool {
    let text = message.to_ascii_lowercase();
    let text = text.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let what = text.strip_suffix("not found").unwrap_or("object").trim();
    matches!(
        what,
        "" | "404" | "error" | "route" | "page" | "path" | "endpoint" | "url" | "api"
    ) || ["get", "post", "put", "delete"]
        .iter()
        .any(|method| text.starts_with(&format!("cannot {method} /")))
}

/// Words that mean something whatever the status.
fn by_message(message: &str) -> Option<ErrorClass> {
    let text = message.to_ascii_lowercase();
    let has = |words: &str| text.contains(words);
    let throttled = [
        "rate limit",
        "too many requests",
        "request limit",
        "throttl",
    ];
    if throttled.iter().any(|words| has(words)) {
        return Some(ErrorClass::RateLimited { after: None });
    }
    if has("please authenticate") {
        return Some(ErrorClass::Auth);
    }
    if has("exceeds the allowed limit") {
        let after = text.split("exceeds the allowed limit").nth(1).unwrap_or("");
        let limit = after
            .split(|c: char| !c.is_ascii_digit())
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
    // Guesses: no sample of the cloud's wording is public.
    let sold_out = [
        "out of stock",
        "sold out",
        "no capacity",
        "insufficient capacity",
        "not enough resources",
        "no available resources",
    ];
    if sold_out.iter().any(|words| has(words)) {
        return Some(ErrorClass::OutOfStock);
    }
    if has("wrong password") {
        return Some(ErrorClass::InvalidRequest);
    }
    None
}

/// The longest `Retry-After` that is honoured.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(5);
/// One beyond this is no advice but a mistake.
const ABSURD_RETRY_AFTER: Duration = Duration::from_hours(24);

/// `Retry-After` in seconds or as an HTTP date, capped; nonsense counts as absent.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get("retry-after")?.to_str().ok()?.trim();
    let after = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => Duration::try_from(http_date(text)?.duration_since(now)).ok()?,
    };
    (after <= ABSURD_RETRY_AFTER).then_some(after.min(LONGEST_RETRY_AFTER))
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
        for vague in [
            "Not found.",
            "NOT FOUND",
            "Route not found",
            "Cannot DELETE /k8s",
            "",
        ] {
            let body = format!(r#"{{"error":true,"message":"{vague}"}}"#);
            assert_eq!(
                class(Kind::Write, 404, &body),
                ErrorClass::ContractDrift,
                "{vague}"
            );
        }
        let body = r#"{"error":true,"message":"Node not found"}"#;
        assert_eq!(class(Kind::Write, 404, body), ErrorClass::NotFound);
        assert_eq!(class(Kind::Write, 200, body), ErrorClass::NotFound);
        // A crash of the server while it worked proves nothing about the machine.
        assert_eq!(class(Kind::Write, 500, body), ErrorClass::Ambiguous);
    }

    #[test]
    fn the_limit_of_a_quota_is_read_from_the_words_and_not_from_other_numbers() {
        let body = r#"{"error":true,"message":"Error 42: worker nodes count exceeds the allowed limit 7 (code 500)"}"#;
        assert_eq!(
            class(Kind::Write, 500, body),
            ErrorClass::Quota { limit: Some(7) }
        );
        let body = r#"{"error":true,"message":"quota exceeded"}"#;
        assert_eq!(
            class(Kind::Write, 500, body),
            ErrorClass::Quota { limit: None }
        );
        for throttled in [
            "Rate limit reached",
            "Request limit reached",
            "limit reached: too many requests",
        ] {
            let body = format!(r#"{{"error":true,"message":"{throttled}"}}"#);
            assert_eq!(
                class(Kind::Write, 500, &body),
                ErrorClass::RateLimited { after: None }
            );
        }
    }

    #[test]
    fn a_list_that_is_shorter_than_its_total_is_no_list() {
        let reply = |body: &str| {
            judge(
                Kind::Read,
                StatusCode::OK,
                &HeaderMap::new(),
                body.as_bytes(),
                Timestamp::UNIX_EPOCH,
            )
            .unwrap()
        };
        assert_eq!(
            reply(r#"{"data":[1,2],"total ":2}"#)
                .rows()
                .map(<[Value]>::len),
            Ok(2)
        );
        assert!(reply(r#"{"data":[1,2],"total":"3"}"#).rows().is_err());
        assert!(
            reply(r#"{"data":[1],"total":[{"count":2}]}"#)
                .rows()
                .is_err()
        );
        assert!(reply(r#"{"data":false}"#).rows().is_err());
    }

    #[test]
    fn a_write_needs_more_than_some_object_to_count_as_accepted() {
        assert_eq!(
            class(Kind::Write, 200, r#"{"queue":"unknown"}"#),
            ErrorClass::Ambiguous
        );
        assert_eq!(
            class(Kind::Write, 302, r#"{"error":true,"message":"moved"}"#),
            ErrorClass::Ambiguous
        );
        assert_eq!(
            class(Kind::Write, 408, r#"{"error":true,"message":"slow"}"#),
            ErrorClass::Ambiguous
        );
        assert_eq!(
            class(Kind::Read, 200, "<html>please log in</html>"),
            ErrorClass::Transient
        );
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
            ("", None),
            ("-5", None),
            ("3600", Some(300)),
            ("Sun, 06 Nov 1994 20:49:37 GMT", Some(300)),
            ("99999999999", None),
            ("Sun, 06 Nov 2094 08:49:37 GMT", None),
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
