//! From the command line to the exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::CommandLine;
use crate::report::{EXIT_USAGE, Ending, exit_code, line};
use crate::{appliance, interrupt, logging, verbs};

/// Runs the program: as the first process of a machine it is the appliance, otherwise the command line.
#[must_use]
pub fn run() -> ExitCode {
    if appliance::is_first_process() {
        appliance::run();
    }
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(EXIT_USAGE);
            // Help that nobody can read is no reason to panic.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    logging::start(line.verbose);
    end(&interrupt::outcome(verbs::run(line)))
}

fn end(ending: &Ending) -> ExitCode {
    if let Some(line) = line(ending) {
        // Nobody may be there to read it; the exit code says enough.
        let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
    }
    ExitCode::from(exit_code(ending))
}
