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

    /// Reads a base URL; must not panic on any input.
    pub fn base_url(text: &str) {
        let _ = crate::base_url::BaseUrl::parse(text, &crate::base_url::Allowed::default());
    }
}

pub use base_url::{Allowed, UrlError};
pub use credentials::{AuthMode, Credentials, CredentialsError};
pub use observer::{Observer, Silent};
pub use provider::{Options, Vpsie};
pub use transport::{BoxFuture, ReqwestTransport, Transport, TransportError};
