//! The program lifeboat.

use std::process::ExitCode;

fn main() -> ExitCode {
    firmware::program::run()
}
