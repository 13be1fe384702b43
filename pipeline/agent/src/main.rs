//! The program `lifeboat-agent`.

use std::process::ExitCode;

use pipeline_agent::freeze::dead_man;

fn main() -> ExitCode {
    // Not for people: this program starts itself so.
    if std::env::args().nth(1).is_some_and(|verb| verb == dead_man::VERB) {
        return match dead_man::process::run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!(
                    "lifeboat-agent {}: only the agent itself starts this: {error}",
                    dead_man::VERB
                );
                ExitCode::from(2)
            }
        };
    }
    ExitCode::SUCCESS
}
