//! Between this program and QEMU: this program once more, which asks the kernel to be killed with its starter and then becomes
//! QEMU. What the kernel was asked for stays with the process.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// The first word of its command line. It stands in no help: nobody but this program starts one.
pub(crate) const VERB: &str = "here-machine";

/// The command that becomes this program with those words.
pub(super) fn command(program: &std::path::Path, words: &[OsString]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(VERB).arg(std::process::id().to_string()).arg(program).args(words);
    // Ctrl-C is this program's to hear; it ends the machine in order.
    command.process_group(0);
    command
}

/// Becomes the program that is named behind the number of who starts it.
pub(crate) fn run(words: &[OsString]) -> ExitCode {
    let [starter, program, words @ ..] = words else { return ExitCode::FAILURE };
    let asked = set_parent_process_death_signal(Some(Signal::KILL));
    // He may have gone before the kernel was asked.
    let starter = starter.to_str().and_then(|number| number.parse().ok()).and_then(Pid::from_raw);
    if asked.is_err() || starter.is_none() || getppid() != starter {
        return ExitCode::FAILURE;
    }
    let error = Command::new(program).args(words).exec();
    eprintln!("{}: {error}", program.to_string_lossy());
    ExitCode::FAILURE
}
