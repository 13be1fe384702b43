//! The log crate onto standard error, one line each; `-v` shows more.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::progress::ERASE_LINE;
use crate::report::printable;

struct Stderr {
    /// A progress bar may stand on the last line.
    terminal: bool,
}

impl Log for Stderr {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = line(record.level(), record.target(), &record.args().to_string());
        let erase = if self.terminal { ERASE_LINE } else { "" };
        // A log that cannot be written is no reason to stop the work.
        let _ = std::io::stderr().lock().write_all(format!("{erase}{line}\n").as_bytes());
    }

    fn flush(&self) {}
}

fn line(level: Level, target: &str, text: &str) -> String {
    let word = match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let text = printable(text);
    match level {
        Level::Error | Level::Warn => format!("lifeboat: {word}: {text}"),
        _ => format!("lifeboat: {word}: {target}: {text}"),
    }
}

/// How much is shown for so many `-v`.
fn filter(verbose: u8) -> LevelFilter {
    match verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    }
}

/// Sends all logging to standard error. A second call changes only how much is shown.
pub fn start(verbose: u8) {
    static LOGGER: OnceLock<Stderr> = OnceLock::new();
    let logger = LOGGER.get_or_init(|| Stderr { terminal: std::io::stderr().is_terminal() });
    // Failing means that a logger is there already, which is what is wanted.
    let _ = log::set_logger(logger);
    log::set_max_level(filter(verbose));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_for_people_and_the_rest_names_its_place() {
        assert_eq!(line(Level::Warn, "x::y", "disk is slow"), "lifeboat: warning: disk is slow");
        assert_eq!(line(Level::Debug, "x::y", "a\nb"), "lifeboat: debug: x::y: a b");
    }

    #[test]
    fn each_v_shows_more() {
        let levels: Vec<LevelFilter> = (0..5).map(filter).collect();
        assert!(levels.is_sorted());
        assert_eq!((levels[0], levels[4]), (LevelFilter::Warn, LevelFilter::Trace));
    }
}
