//! The program vm: a machine on this terminal.

use std::process::ExitCode;

use clap::Parser as _;

/// The appliance as it is built now.
mod appliance;
/// What a person asks for.
mod arguments;
/// The terminal as the machine's serial line.
mod terminal;

fn main() -> ExitCode {
    let line = arguments::CommandLine::parse();
    match terminal::run(&line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vm: {error}");
            ExitCode::FAILURE
        }
    }
}
