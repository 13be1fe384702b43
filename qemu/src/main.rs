//! The program vm: a machine on this terminal.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
