//! What is said: to the kernel's log, which a crash may leave behind, and to the console.
//!
//! The kernel is told first to keep its own messages off the console, which would tear up the screen; only its last cry
//! is still shown. Nothing here is ever a secret: whoever logs takes care of that.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::board::Board;
use crate::report::printable;

/// The kernel cuts a record at less than a thousand bytes.
const RECORD_BYTES_MAX: usize = 900;

struct Journal {
    kernel: Mutex<Option<File>>,
    board: Arc<Board>,
}

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Info
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = printable(&record.args().to_string());
        if let Some(file) = self.kernel.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            let number = match record.level() {
                Level::Error => 3,
                Level::Warn => 4,
                _ => 6,
            };
            let end = text.floor_char_boundary(RECORD_BYTES_MAX.min(text.len()));
            let kept = text.get(..end).unwrap_or_default();
            // A full log is no reason to stop.
            let _ = file.write_all(format!("<{number}>lifeboat: {kept}\n").as_bytes());
        }
        if record.level() <= Level::Warn {
            self.board.update(|view| view.last_error = Some(text.clone()));
        }
        self.board.message(text);
    }

    fn flush(&self) {}
}

/// From now on everything logged goes to the kernel's log and to the board.
pub(crate) fn start(board: &Arc<Board>) -> Result<String, String> {
    let kernel = OpenOptions::new().write(true).open("/dev/kmsg");
    let words = match &kernel {
        Ok(_) => "to the kernel's log".to_owned(),
        Err(error) => format!("on the console only; /dev/kmsg: {error}"),
    };
    let journal = Journal { kernel: Mutex::new(kernel.ok()), board: Arc::clone(board) };
    // A second start is a test's; the first logger stays.
    let _ = log::set_boxed_logger(Box::new(journal));
    log::set_max_level(LevelFilter::Info);
    // Emergencies only; the rest is in the kernel's log.
    let quiet = std::fs::write("/proc/sys/kernel/printk", "1 4 1 7");
    quiet.map_err(|error| format!("the kernel's messages stay on the console: {error}"))?;
    Ok(words)
}
