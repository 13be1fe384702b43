//! Lines for machines: `@lifeboat EVENT key=value ...` on the serial port, when the command line asks for them.
//!
//! Nothing secret is ever put on such a line. A value is one word: space, `%` and whatever is not printable ASCII stand as
//! `%` and two hexadecimal digits.

use core::fmt::{Display, Write as _};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// Where such lines go.
pub(crate) struct Events {
    serial: Option<Mutex<File>>,
}

impl Events {
    /// To the serial port, or nowhere.
    pub(crate) fn new(wanted: bool) -> Self {
        let open = || OpenOptions::new().write(true).open("/dev/ttyS0").ok();
        Self { serial: wanted.then(open).flatten().map(Mutex::new) }
    }

    /// Says one.
    pub(crate) fn say(&self, event: &str, pairs: &[(&str, &dyn Display)]) {
        let Some(serial) = &self.serial else { return };
        let line = line(event, pairs);
        let mut port = serial.lock().unwrap_or_else(PoisonError::into_inner);
        // A port that takes nothing must not stop the boot.
        let _ = port.write_all(line.as_bytes());
    }
}

/// The line with its ends: whatever stands on the terminal's line already is ended first.
fn line(event: &str, pairs: &[(&str, &dyn Display)]) -> String {
    let mut line = format!("\r\n@lifeboat {event}");
    for (key, value) in pairs {
        let _ = write!(line, " {key}=");
        word(&value.to_string(), &mut line);
    }
    line.push_str("\r\n");
    line
}

fn word(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            into.push(char::from(byte));
        } else {
            let _ = write!(into, "%{byte:02x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_word_whatever_it_holds() {
        let text = line("phase", &[("name", &"modules"), ("words", &"50 % of é\n@lifeboat x")]);
        assert_eq!(
            text,
            "\r\n@lifeboat phase name=modules words=50%20%25%20of%20%c3%a9%0a@lifeboat%20x\r\n"
        );
        assert_eq!(line("ready", &[("ms", &812)]), "\r\n@lifeboat ready ms=812\r\n");
    }

    #[test]
    fn without_the_wish_nothing_is_opened() {
        let events = Events::new(false);
        assert!(events.serial.is_none());
        events.say("ready", &[]);
    }
}
