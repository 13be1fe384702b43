//! The program `lifeboat-agent`.

use std::process::ExitCode;

fn main() -> ExitCode {
    pipeline_agent::program::run()
}
