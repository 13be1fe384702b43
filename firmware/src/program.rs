//! From the command line to the exit code.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::appliance::processes::{self, Starter};
use crate::cli::CommandLine;
use crate::here::guard;
use crate::remote::client::Ended;
use crate::report::{EXIT_USAGE, Ending, Failure, exit_code, line};
use crate::services::Keeper;
use crate::session::Machine;
use crate::{appliance, courier, interrupt, logging, remote, services, verbs};

/// Runs the program: as the first process of a machine it is the appliance, otherwise the command line.
#[must_use]
pub fn run() -> ExitCode {
    if appliance::is_first_process() {
        appliance::run();
    }
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    // Before anything is parsed, and before there is a second thread.
    if let Some((_, words)) = words.split_first().filter(|(first, _)| *first == services::VERB) {
        return services::run(words);
    }
    if let Some((_, words)) = words.split_first().filter(|(first, _)| *first == guard::VERB) {
        return guard::run(words);
    }
    match remote::line::read(&words, &Machine::real().settings) {
        Ok(None) => {}
        Ok(Some(line)) => return elsewhere(&line),
        Err(error) => return end(&Err(Failure::Usage(error))),
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
    if let Some(starter) = processes::starter() {
        // Limits of memory and tasks are for one courier of a machine, and that is its first process's.
        courier::keep(Keeper { strict: starter == Starter::First, groups: None });
    }
    end(&interrupt::outcome(verbs::run(line)))
}

/// The verb is run by an appliance elsewhere.
fn elsewhere(line: &remote::line::Line) -> ExitCode {
    let (out, err) = (&mut std::io::stdout(), &mut std::io::stderr());
    match remote::client::run(line, out, err) {
        Ok(code) => ExitCode::from(code),
        Err(Ended { error, code: EXIT_USAGE }) => end(&Err(Failure::Usage(error))),
        Err(Ended { error, .. }) => end(&Err(Failure::Failed(error))),
    }
}

fn end(ending: &Ending) -> ExitCode {
    if let Some(line) = line(ending) {
        // Nobody may be there to read it; the exit code says enough.
        let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
    }
    ExitCode::from(exit_code(ending))
}
