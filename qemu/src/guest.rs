//! What programs have in common that are PID 1 of a test's machine: they say events on the serial line, and never end.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::thread;

use core::fmt::Display;
use core::time::Duration;

use rustix::mount::{MountFlags, mount};

/// The serial line that commands come from and answers go to.
pub const LINE: &str = "/dev/ttyS0";

/// What became of something that was asked for.
pub type Answer = Result<(), String>;

/// The lines that the host types.
pub type Host = Lines<BufReader<File>>;

/// Serves as PID 1, and stays when that is over: the kernel would panic, which a test asks for in other ways.
pub fn be_first(program: &str, serve: impl FnOnce() -> Answer) -> ! {
    if std::process::id() != 1 {
        eprintln!("{program} is PID 1 of a test's machine; there is nothing it does elsewhere");
        std::process::exit(2);
    }
    match serve() {
        Ok(()) => say("end", &[("reason", &"the line was closed")]),
        Err(error) => say("end", &[("reason", &error)]),
    }
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

/// Mounts what the kernel shows of itself, and has it keep off the line: no message of its may cut an answer in two.
///
/// # Errors
/// What cannot be mounted or written.
pub fn settle(more: &[(&str, &str)]) -> Answer {
    const ALWAYS: [(&str, &str); 3] = [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")];
    for (kind, place) in ALWAYS.iter().chain(more) {
        fs::create_dir_all(place).map_err(|error| format!("{place}: {error}"))?;
        mount(*kind, *place, *kind, MountFlags::empty(), None)
            .map_err(|error| format!("mounting {place}: {error}"))?;
    }
    fs::write("/proc/sys/kernel/printk", "1").map_err(|error| error.to_string())
}

/// Does what the host types, line by line, and says what became of it, until the line is closed. Whoever obeys may read
/// further lines.
///
/// # Errors
/// A line that cannot be read.
pub fn obey_all(obey: impl Fn(&[&str], &mut Host) -> Answer) -> Answer {
    let input = File::open(LINE).map_err(|error| format!("{LINE}: {error}"))?;
    let mut host = BufReader::new(input).lines();
    while let Some(line) = host.next() {
        let line = line.map_err(|error| format!("{LINE}: {error}"))?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match obey(&words, &mut host) {
            Ok(()) => say("done", &[("command", &line)]),
            Err(error) => say("failed", &[("command", &line), ("error", &error)]),
        }
    }
    Ok(())
}

/// An event on the serial line, by one write. Of a value, what is not one word stands as `%` and its number.
pub fn say(event: &str, fields: &[(&str, &dyn Display)]) {
    let mut text = format!("\r\n@lifeboat {event}");
    for (key, value) in fields {
        text.push_str(&format!(" {key}="));
        for byte in value.to_string().bytes() {
            if byte.is_ascii_graphic() && byte != b'%' {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02x}"));
            }
        }
    }
    text.push_str("\r\n");
    if let Ok(mut line) = File::options().write(true).open(LINE) {
        // Where this fails there is nobody to tell.
        let _ = line.write_all(text.as_bytes());
    }
}
