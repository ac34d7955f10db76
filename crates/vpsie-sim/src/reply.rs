//! One request as the endpoints see it, and the answer they give: the API's envelope.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use crate::{fault::Faults, route::Route};

/// A request, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) seq: u64,
    pub(crate) route: Route,
    /// The values of the path's variables.
    pub(crate) values: Vec<String>,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) faults: Faults,
    /// How long it travels, each way.
    pub(crate) latency: Duration,
}

impl Call {
    pub(crate) fn value(&self, index: usize) -> &str {
        self.values.get(index).map_or("", String::as_str)
    }

    pub(crate) fn is_json(&self) -> bool {
        self.has_content_type("application/json")
    }

    pub(crate) fn is_form(&self) -> bool {
        self.has_content_type("application/x-www-form-urlencoded")
    }

    fn has_content_type(&self, wanted: &str) -> bool {
        self.headers
            .get(http::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with(wanted))
    }

    /// The JSON object in the body; an empty body is an empty object. `allowed` are the fields the
    /// route knows: others are refused when the simulator is strict.
    pub(crate) fn object(
        &self,
        strict: bool,
        allowed: &[&str],
    ) -> Result<Map<String, Value>, Reply> {
        if self.body.is_empty() {
            return Ok(Map::new());
        }
        if strict && !self.is_json() {
            return Err(Reply::failure(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Content-Type must be application/json",
            ));
        }
        let Ok(Value::Object(object)) = serde_json::from_slice(&self.body) else {
            return Err(Reply::failure(
                StatusCode::BAD_REQUEST,
                "Unexpected token in JSON at position 0",
            ));
        };
        if strict && let Some(field) = object.keys().find(|key| !allowed.contains(&key.as_str())) {
            return Err(Reply::failure(
                StatusCode::BAD_REQUEST,
                format!("\"{field}\" is not allowed"),
            ));
        }
        Ok(object)
    }

    /// The fields of a form-urlencoded body.
    pub(crate) fn form(&self) -> BTreeMap<String, String> {
        std::str::from_utf8(&self.body).map_or_else(|_| BTreeMap::new(), pairs)
    }
}

/// Splits `a=b&c=d` and decodes the parts.
pub(crate) fn pairs(text: &str) -> BTreeMap<String, String> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        })
        .collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let hex = tail
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match (
            first,
            hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()),
        ) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a reply carries.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Body {
    Json(Value),
    /// Sent as it is, whatever it claims to be.
    Raw {
        content_type: &'static str,
        text: String,
    },
}

/// An answer.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Body,
    pub(crate) retry_after: Option<String>,
    /// What the request changed.
    pub(crate) committed: Vec<String>,
}

impl Reply {
    fn new(status: StatusCode, body: Body) -> Self {
        Self {
            status,
            body,
            retry_after: None,
            committed: Vec::new(),
        }
    }

    pub(crate) fn json(status: StatusCode, body: Value) -> Self {
        Self::new(status, Body::Json(body))
    }

    /// `{error: false, data}`.
    pub(crate) fn data(data: impl Into<Value>) -> Self {
        Self::json(StatusCode::OK, json!({"error": false, "data": data.into()}))
    }

    /// The rows with their number under `key`, as `total` (some lists spell either differently).
    pub(crate) fn list(rows: Vec<Value>, key: &str, total: Value) -> Self {
        let mut reply = Map::new();
        reply.insert("error".to_owned(), Value::Bool(false));
        reply.insert("data".to_owned(), Value::Array(rows));
        reply.insert(key.to_owned(), total);
        Self::json(StatusCode::OK, Value::Object(reply))
    }

    /// No such object: success, with `data: false`.
    pub(crate) fn no_such_object() -> Self {
        Self::data(false)
    }

    pub(crate) fn failure(status: StatusCode, message: impl Into<String>) -> Self {
        Self::json(
            status,
            json!({"error": true, "code": status.as_u16(), "message": message.into()}),
        )
    }

    /// A failure that says 200.
    pub(crate) fn failure_with_200(message: impl Into<String>) -> Self {
        Self::json(
            StatusCode::OK,
            json!({"error": true, "message": message.into()}),
        )
    }

    pub(crate) fn unauthorized() -> Self {
        Self::failure(StatusCode::UNAUTHORIZED, "Please authenticate")
    }

    pub(crate) fn html(status: StatusCode) -> Self {
        let reason = status.canonical_reason().unwrap_or_default();
        let code = status.as_u16();
        Self::new(
            status,
            Body::Raw {
                content_type: "text/html",
                text: format!(
                    "<html>\r\n<head><title>{code} {reason}</title></head>\r\n<body>\r\n\
                     <center><h1>{code} {reason}</h1></center>\r\n</body>\r\n</html>\r\n"
                ),
            },
        )
    }

    pub(crate) fn rate_limited(retry_after: Option<String>) -> Self {
        let mut reply = Self::failure(StatusCode::TOO_MANY_REQUESTS, "Too many requests");
        reply.retry_after = retry_after;
        reply
    }

    pub(crate) fn committing(mut self, what: impl Into<String>) -> Self {
        self.committed.push(what.into());
        self
    }
}

/// `seconds` of a duration, to three decimals, for traces.
pub(crate) fn stamp(at: Duration) -> String {
    format!("{:>10}.{:03}", at.as_secs(), at.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded_and_bad_escapes_are_kept() {
        let fields = pairs("clientId=a%2Bb+c&clientSecret=%zz%4&flag");
        assert_eq!(fields["clientId"], "a+b c");
        assert_eq!(fields["clientSecret"], "%zz%4");
        assert_eq!(fields["flag"], "");
    }
}
