//! The process: arguments, wiring, subcommands.

mod admin;
mod args;
mod credentials;
#[cfg(feature = "demo")]
pub mod demo;
mod explain;
mod logs;
pub mod offline;
mod simulate;
mod term;
mod wire;

use std::process::ExitCode;

pub use args::{Args, Command, RunArgs};
pub use explain::{ExplainArgs, Output, Topic};
pub use simulate::SimulateArgs;
pub use wire::{Replica, Seams};

/// Exit status for arguments that cannot be used.
const USAGE: u8 = 2;

/// Runs the subcommand; `run` is the default.
#[must_use]
pub fn run(args: Args) -> ExitCode {
    match args.command.unwrap_or(Command::Run(Box::new(args.run))) {
        Command::Run(run) => wire::main(*run),
        Command::Explain(explain) => explain::main(&explain),
        Command::Simulate(simulate) => simulate::main(&simulate),
        #[cfg(feature = "demo")]
        Command::Demo(demo) => demo::main(&demo),
        Command::Crds => {
            print!("{}", api::crds::yaml());
            ExitCode::SUCCESS
        }
        Command::Version => {
            println!("vpsie-autoscaler {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
    }
}

/// Answers arguments that cannot be used with one line and status 2; help and version as usual.
#[must_use]
pub fn refuse(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        // Printing help can fail only when nobody reads it.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let line = text.lines().next().unwrap_or("error: bad arguments");
    eprintln!("{line}");
    ExitCode::from(USAGE)
}
