//! Logs: JSON lines on standard error, or console lines for people.

use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::args::{LogFormat, LogLevel, RunArgs};

/// Installs the process's one subscriber; a second call leaves the first in place.
pub(crate) fn install(args: &RunArgs) {
    let level = if args.development {
        "debug"
    } else {
        match args.log_level {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        }
    };
    // kube logs expected refusals (404, 409) as errors; ours say what they mean.
    // What was bought and what was taken away is told at every level.
    let filter = format!("{level},audit=info,kube_client=off,hyper=warn,reqwest=warn");
    let filter = EnvFilter::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    let console = args.development || args.log_format == LogFormat::Console;
    let installed = if console {
        registry
            .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr))
            .try_init()
    } else {
        registry
            .with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_writer(std::io::stderr),
            )
            .try_init()
    };
    if installed.is_err() {
        tracing::debug!("logs go where they went before");
    }
}
