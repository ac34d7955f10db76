//! The binary: allocator, crypto provider, arguments; everything else is in the library.

use std::process::ExitCode;

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("error: the TLS provider could not be installed");
        return ExitCode::FAILURE;
    }
    match vpsie_autoscaler::Args::try_parse() {
        Ok(args) => vpsie_autoscaler::run(args),
        Err(error) => vpsie_autoscaler::refuse(&error),
    }
}
