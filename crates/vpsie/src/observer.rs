//! Who is told about requests, so that metrics need not be known here.

use std::time::Duration;

/// Told about every request.
pub trait Observer: Send + Sync + 'static {
    /// A request ended; `status` is `None` without an answer, `error` its class when it failed.
    fn request(
        &self,
        method: &str,
        route: &'static str,
        status: Option<u16>,
        duration: Duration,
        error: Option<&'static str>,
    );
    /// The breaker changed its state.
    fn breaker(&self, from: &'static str, to: &'static str);
    /// A request waited for the client-side limit.
    fn waited(&self, method: &str, duration: Duration);
}

/// Nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn request(
        &self,
        _: &str,
        _: &'static str,
        _: Option<u16>,
        _: Duration,
        _: Option<&'static str>,
    ) {
    }
    fn breaker(&self, _: &'static str, _: &'static str) {}
    fn waited(&self, _: &str, _: Duration) {}
}
