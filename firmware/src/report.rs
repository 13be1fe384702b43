//! What the program says at its end: one line for a failure, exit codes, and numbers as people read them.
//!
//! It refuses to decide anything; every function is pure but `print`, which writes standard output.

use core::fmt;
use core::time::Duration;
use std::io::{ErrorKind, Write};

use pipeline_vault::Error;

/// How a verb ended when it did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything asked for was done.
    Done,
    /// Done, but something is missing from it, as the sentence says: blocks that the disk could not read.
    Incomplete(String),
}

/// How a verb failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The command line asks for something that cannot be; nothing was started.
    Usage(Error),
    /// It was tried and failed.
    Failed(Error),
    /// It was stopped by a signal of this number; the work's own words, where it ended in order.
    Interrupted(i32, Option<Error>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// An address given with `--listen` that cannot be listened on.
pub(crate) fn cannot_listen(address: &dyn fmt::Display, error: &std::io::Error) -> Error {
    let remedy = match error.kind() {
        ErrorKind::AddrInUse => "another program listens there: give another --listen",
        ErrorKind::PermissionDenied => {
            "ports below 1024 and foreign folders need root: give another --listen"
        }
        _ => "give an address of this machine with --listen",
    };
    Error::device(address.to_string(), format!("cannot be listened on: {error}")).remedy(remedy)
}

/// What a verb gives back.
pub type Ending = Result<Outcome, Failure>;

/// Everything asked for was done.
pub const EXIT_DONE: u8 = 0;
/// It failed; the line on standard error says what, and what to do.
pub const EXIT_FAILED: u8 = 1;
/// The command line was wrong; nothing was started.
pub const EXIT_USAGE: u8 = 2;
/// Done but incomplete: a point was made, or a disk restored, with blocks missing that could not be read.
pub const EXIT_INCOMPLETE: u8 = 3;

/// The code that the program ends with: 128 plus the signal's number where one stopped it.
#[must_use]
pub fn exit_code(ending: &Ending) -> u8 {
    match ending {
        Ok(Outcome::Done) => EXIT_DONE,
        Ok(Outcome::Incomplete(_)) => EXIT_INCOMPLETE,
        Err(Failure::Failed(_)) => EXIT_FAILED,
        Err(Failure::Usage(_)) => EXIT_USAGE,
        Err(Failure::Interrupted(signal, _)) => {
            u8::try_from(*signal).unwrap_or(2).saturating_add(128)
        }
    }
}

/// The line for standard error, `None` where all is well.
#[must_use]
pub fn line(ending: &Ending) -> Option<String> {
    let text = match ending {
        Ok(Outcome::Done) => return None,
        Ok(Outcome::Incomplete(sentence)) => sentence.clone(),
        Err(
            Failure::Usage(error) | Failure::Failed(error) | Failure::Interrupted(_, Some(error)),
        ) => error.to_string(),
        Err(Failure::Interrupted(_, None)) => {
            "interrupted: nothing that was finished is lost; run the same command again to resume"
                .to_owned()
        }
    };
    Some(format!("lifeboat: {}", printable(&text)))
}

/// The text on one line, without anything that could move a terminal's cursor.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            '\n' | '\r' | '\t' => ' ',
            _ if letter.is_control() => '\u{FFFD}',
            _ => letter,
        })
        .collect()
}

/// Writes all of `text` to standard output.
pub fn print(text: &str) -> Result<(), Error> {
    let mut output = std::io::stdout().lock();
    output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
        .map_err(|error| Error::device("standard output", format!("cannot be written: {error}")))
}

/// Prints a value as JSON, one document and a line end.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::misuse("the answer", format!("has no JSON form: {error}")))?;
    print(&(text + "\n"))
}

/// A number of bytes in binary units with three digits: `512 B`, `1.50 MiB`, `23.4 GiB`, `640 GiB`.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return f.pad(&format!("{} B", self.0));
        }
        let mut unit = 0;
        let mut scaled = u128::from(self.0) * 1000 / 1024;
        // 1023.5 and more would print as 1024 of the unit below.
        while scaled >= 1_023_500 && unit + 1 < UNITS.len() {
            scaled /= 1024;
            unit += 1;
        }
        f.pad(&format!("{} {}", three_digits(scaled), UNITS[unit]))
    }
}

/// Thousandths as a number with three digits.
fn three_digits(thousandths: u128) -> String {
    let whole = thousandths / 1000;
    match whole {
        0..10 => {
            let hundredths = (thousandths + 5) / 10;
            format!("{}.{:02}", hundredths / 100, hundredths % 100)
        }
        10..100 => {
            let tenths = (thousandths + 50) / 100;
            format!("{}.{}", tenths / 10, tenths % 10)
        }
        _ => format!("{}", (thousandths + 500) / 1000),
    }
}

/// A length of time as people say it: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 07 min`, `3 d 04 h`.
#[derive(Clone, Copy, Debug)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
        f.pad(&match seconds {
            0..10 => format!("{seconds}.{} s", self.0.subsec_millis() / 100),
            10..60 => format!("{seconds} s"),
            60..3600 => format!("{minutes} min {:02} s", seconds % 60),
            3600..86_400 => format!("{hours} h {:02} min", minutes % 60),
            _ => format!("{days} d {:02} h", hours % 24),
        })
    }
}

/// An instant in UTC, from milliseconds since 1970: `2026-11-22T16:19:05Z`.
#[derive(Clone, Copy, Debug)]
pub struct Utc(pub u64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let (year, month, day) = civil(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        f.pad(&format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
    }
}

/// Year, month and day of a number of days since 1970, by the Gregorian calendar of 400-year cycles that
/// begin on the first of March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let cycle = shifted / 146_097;
    let day_of_cycle = shifted % 146_097;
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year =
        day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_cycle + cycle * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// Rows under their headings, columns as wide as they need; numbers to the right where `right` says so.
#[must_use]
pub fn table(headings: &[&str], right: &[bool], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let format_row = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (column, cell) in cells.enumerate().take(widths.len()) {
            let wide = widths[column];
            if right[column] {
                text += &format!("{cell:>wide$}  ");
            } else {
                text += &format!("{cell:<wide$}  ");
            }
        }
        text.trim_end().to_owned() + "\n"
    };
    let mut text = format_row(&mut headings.iter().copied());
    for row in rows {
        text += &format_row(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests;
