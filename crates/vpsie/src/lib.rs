//! The VPSie cloud over HTTP: managed clusters behind [`cloud::CloudProvider`].
//!
//! Layers, from the wire up: [`Transport`] (bytes), the client (authentication, rate limit,
//! breaker, retries of reads, classification), and the provider (catalogue, observation, create,
//! delete). Everything waits and draws on the seams it is given, so that the whole of it runs in
//! virtual time over an in-process transport just as it does over the network.

mod auth;
mod base_url;
mod breaker;
mod catalogue;
mod classify;
mod client;
mod credentials;
mod limiter;
mod observe;
mod observer;
mod offers;
mod provider;
mod transport;
mod wire;
mod workers;

/// Decoders of what the cloud sends, for fuzzing.
pub mod fuzzing {
    /// Decodes a body every way the provider does; must not panic on any input.
    pub fn decode_body(bytes: &[u8]) {
        crate::wire::decode_all(bytes);
    }

    /// Reads a base URL.
    ///
    /// # Panics
    /// When what is accepted points elsewhere than to the public API over TLS.
    pub fn base_url(text: &str) {
        let allowed = crate::base_url::Allowed::default();
        if let Ok(base) = crate::base_url::BaseUrl::parse(text, &allowed) {
            let url = base.join("/x");
            let public = ["https://api.vpsie.com/", "https://api.vpsie.com:443/"];
            assert!(public.iter().any(|start| url.starts_with(start)), "{url}");
        }
    }

    /// Reads a Secret whose credentials all have the value `bytes`.
    ///
    /// # Panics
    /// When what is shown of them, or of their refusal, repeats a value of twelve characters or
    /// more.
    pub fn credentials(bytes: &[u8]) {
        let data = ["token", "clientId", "clientSecret"]
            .map(|key| (key.to_owned(), bytes.to_vec()))
            .into();
        let allowed = crate::Allowed::default();
        let read = crate::Credentials::from_secret(&data, crate::AuthMode::Auto, &allowed);
        let shown = match &read {
            Ok(credentials) => format!("{credentials:?}"),
            Err(error) => error.to_string(),
        };
        let value = String::from_utf8_lossy(bytes);
        // Short values may be words of ours.
        assert!(value.trim().len() < 12 || !shown.contains(value.trim()));
    }
}

pub use base_url::{Allowed, UrlError};
pub use credentials::{AuthMode, Credentials, CredentialsError};
pub use observer::{Observer, Silent};
pub use provider::{Options, Vpsie};
pub use transport::{BoxFuture, ReqwestTransport, Transport, TransportError};
