//! Where the cloud is. Whoever edits the Secret chooses the host the credentials are sent to, so
//! the choice is narrow.

use http::Uri;

/// The host of the public API.
const HOST: &str = "api.vpsie.com";
/// Used where the URL has no path.
const PREFIX: &str = "/apps/v2";

/// Which hosts may be named besides the public one: set by flag, in another trust domain than the
/// Secret.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Allowed {
    /// Further hosts.
    pub hosts: Vec<String>,
    /// Plain HTTP to this machine, for simulators.
    pub loopback_http: bool,
}

/// A URL that is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UrlError {
    /// Not a URL.
    #[error("the key url is not a URL")]
    Malformed,
    /// Not `https`.
    #[error("the key url must begin with https://")]
    NotHttps,
    /// Carries a user, a query or a fragment.
    #[error("the key url must be scheme, host and path only")]
    Surplus,
    /// A host nobody allowed.
    #[error("the key url names host {0}, which is not allowed (flag --vpsie-allowed-hosts)")]
    HostNotAllowed(String),
}

/// A base URL that was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BaseUrl {
    origin: String,
    prefix: String,
}

impl BaseUrl {
    /// The public API.
    pub(crate) fn public() -> Self {
        Self {
            origin: format!("https://{HOST}"),
            prefix: PREFIX.into(),
        }
    }

    pub(crate) fn parse(text: &str, allowed: &Allowed) -> Result<Self, UrlError> {
        let text = text.trim();
        if text.contains(['#', '?', '@', '\\']) || text.len() > 512 {
            return Err(UrlError::Surplus);
        }
        let uri: Uri = text.parse().map_err(|_| UrlError::Malformed)?;
        let host = uri.host().ok_or(UrlError::Malformed)?.to_ascii_lowercase();
        let loopback = is_loopback(&host);
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if loopback && allowed.loopback_http => {}
            _ => return Err(UrlError::NotHttps),
        }
        // The public API has one port; another one on its name would be somebody else's.
        let public = host == HOST && matches!(uri.port_u16(), None | Some(443));
        let known = public
            || allowed
                .hosts
                .iter()
                .any(|other| other.eq_ignore_ascii_case(&host))
            || (loopback && allowed.loopback_http);
        if !known {
            return Err(UrlError::HostNotAllowed(host));
        }
        let scheme = uri.scheme_str().unwrap_or("https");
        let port = uri
            .port_u16()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        let path = uri.path().trim_end_matches('/');
        Ok(Self {
            origin: format!("{scheme}://{host}{port}"),
            prefix: if path.is_empty() { PREFIX } else { path }.into(),
        })
    }

    /// The URL of `path`, which begins with a slash.
    pub(crate) fn join(&self, path: &str) -> String {
        format!("{}{}{path}", self.origin, self.prefix)
    }
}

/// This machine, by a name that no resolver is asked for (RFC 6761 for `localhost`).
pub(crate) fn is_loopback(host: &str) -> bool {
    matches!(host, "127.0.0.1" | "localhost" | "[::1]")
}

/// One path segment, percent-encoded: identifiers come from users.
pub(crate) fn segment(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
            encoded.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allowed_hosts_over_https_are_taken() {
        let strict = Allowed::default();
        assert_eq!(
            BaseUrl::parse("https://api.vpsie.com/", &strict)
                .unwrap()
                .join("/x"),
            "https://api.vpsie.com/apps/v2/x"
        );
        assert_eq!(
            BaseUrl::parse("https://api.vpsie.com/api/v2", &strict)
                .unwrap()
                .join("/x"),
            "https://api.vpsie.com/api/v2/x"
        );
        for (text, expected) in [
            ("http://api.vpsie.com", UrlError::NotHttps),
            ("ftp://api.vpsie.com", UrlError::NotHttps),
            ("https://user@api.vpsie.com", UrlError::Surplus),
            ("https://api.vpsie.com/?a=b", UrlError::Surplus),
            (
                "https://api.vpsie.com.evil.example",
                UrlError::HostNotAllowed("api.vpsie.com.evil.example".into()),
            ),
            (
                "https://169.254.169.254/",
                UrlError::HostNotAllowed("169.254.169.254".into()),
            ),
            ("http://127.0.0.1:8080", UrlError::NotHttps),
            (
                "https://api.vpsie.com:8443",
                UrlError::HostNotAllowed("api.vpsie.com".into()),
            ),
            (
                "https://10.0.0.1",
                UrlError::HostNotAllowed("10.0.0.1".into()),
            ),
        ] {
            assert_eq!(BaseUrl::parse(text, &strict), Err(expected), "{text}");
        }
        let demo = Allowed {
            hosts: vec![],
            loopback_http: true,
        };
        assert!(BaseUrl::parse("http://127.0.0.1:8080", &demo).is_ok());
    }

    #[test]
    fn identifiers_cannot_leave_their_segment() {
        assert_eq!(
            segment("../../vm?x=1#y"),
            "%2E%2E%2F%2E%2E%2Fvm%3Fx%3D1%23y"
        );
    }
}
