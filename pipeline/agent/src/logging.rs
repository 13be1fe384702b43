//! The log crate onto standard error, which systemd takes into the journal with the priority that a line begins with.

use std::io::{IsTerminal, Write};

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Stderr {
    /// A person reads it, not the journal.
    terminal: bool,
}

static JOURNAL: Stderr = Stderr { terminal: false };
static TERMINAL: Stderr = Stderr { terminal: true };

impl Log for Stderr {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = line(record.level(), &record.args().to_string(), self.terminal);
        // A log that cannot be written is no reason to stop the work.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

fn line(level: Level, text: &str, terminal: bool) -> String {
    let (priority, word) = match level {
        Level::Error => (3, "error: "),
        Level::Warn => (4, "warning: "),
        Level::Info => (6, ""),
        Level::Debug | Level::Trace => (7, ""),
    };
    // One line, whatever came from outside: nobody writes other lines into the journal.
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if terminal { format!("{word}{text}\n") } else { format!("<{priority}>{text}\n") }
}

/// Sends all logging to standard error, for the journal where that is no terminal.
pub fn start(debug: bool) {
    let logger = if std::io::stderr().is_terminal() { &TERMINAL } else { &JOURNAL };
    // Failing means that a logger is there already, which is what is wanted.
    let _ = log::set_logger(logger);
    log::set_max_level(if debug { LevelFilter::Debug } else { LevelFilter::Info });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_is_one_line_with_its_priority() {
        assert_eq!(line(Level::Warn, "a\nb\x1b[0m", false), "<4>a b [0m\n");
        assert_eq!(line(Level::Error, "gone", true), "error: gone\n");
        assert_eq!(line(Level::Info, "done", true), "done\n");
    }
}
