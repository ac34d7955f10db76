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

    /// Reads a Secret whose credentials all have the value `bytes`, and one where a word that is
    /// none of ours stands before them.
    ///
    /// # Panics
    /// When what is shown of the credentials, or of their refusal, holds that word.
    pub fn credentials(bytes: &[u8]) {
        const CANARY: &str = "qvx7kz0wj3";
        let shown = |value: Vec<u8>| {
            let data = ["token", "clientId", "clientSecret"]
                .map(|key| (key.to_owned(), value.clone()))
                .into();
            let allowed = crate::Allowed::default();
            match crate::Credentials::from_secret(&data, crate::AuthMode::Auto, &allowed) {
                Ok(credentials) => format!("{credentials:?}"),
                Err(error) => error.to_string(),
            }
        };
        shown(bytes.to_vec());
        let marked = shown([CANARY.as_bytes(), bytes].concat());
        assert!(!marked.contains(CANARY), "a secret is repeated");
    }
}

pub use base_url::{Allowed, UrlError};
pub use credentials::{AuthMode, Credentials, CredentialsError};
pub use observer::{Observer, Silent};
pub use provider::{Options, Vpsie};
pub use transport::{BoxFuture, ReqwestTransport, Transport, TransportError};
