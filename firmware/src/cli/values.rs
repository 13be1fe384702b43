//! Values of options: what a person may write, and what it means.

use core::time::Duration;

use clap::ValueEnum;

use pipeline_vault::retain::Policy;

use crate::disk_argument;
use crate::ingest::calendar::Span;

/// Which point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PointChoice {
    /// The newest.
    Latest,
    /// The one whose ID begins so.
    Id(String),
}

/// Shortest beginning of an ID that names a point.
const POINT_LETTERS_MIN: usize = 4;

impl core::str::FromStr for PointChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        let fits = (POINT_LETTERS_MIN..=32).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self::Id(text.to_ascii_lowercase()))
        } else {
            Err("give latest, or 4 to 32 hexadecimal digits as lifeboat points shows them"
                .to_owned())
        }
    }
}

/// What compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CodecChoice {
    /// Fast and small, in C
    Zstd,
    /// Pure Rust
    Deflate,
    /// Nothing does
    None,
}

pub(super) fn level(text: &str) -> Result<i32, String> {
    match text.parse() {
        Ok(level) if (-7..=19).contains(&level) && level != 0 => Ok(level),
        _ => Err("give a level from -7 to 19, but not 0".to_owned()),
    }
}

pub(super) fn policy(text: &str) -> Result<Policy, String> {
    Policy::parse(text).map_err(|error| error.to_string())
}

/// A whole number of s, min, h or d.
pub(super) fn length_of_time(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let seconds: u64 = match unit {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("give a number and s, min, h or d".to_owned()),
    };
    let count: u64 = count.parse().map_err(|_| "give a number and s, min, h or d".to_owned())?;
    let longest = 1000 * 366 * 86_400;
    let seconds = count.checked_mul(seconds).filter(|&seconds| seconds <= longest);
    seconds.map(Duration::from_secs).ok_or_else(|| "is longer than a thousand years".to_owned())
}

pub(super) fn server_name(text: &str) -> Result<String, String> {
    disk_argument::check_name(text).map(|()| text.to_owned())
}

/// A length of time that may lie between two points.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let length = length_of_time(text)?;
    if (10..=86_400).contains(&length.as_secs()) {
        Ok(length)
    } else {
        Err("give a time from 10s to 24h".to_owned())
    }
}

/// How long points are kept: a policy, or for ever.
pub(super) fn keep(text: &str) -> Result<String, String> {
    if text == "forever" { Ok(text.to_owned()) } else { policy(text).map(|_| text.to_owned()) }
}

/// Hours of the week and what they allow: `mon-fri:8-18=5`.
pub(super) fn span(text: &str) -> Result<Span, String> {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let wrong = || "give DAYS:FROM-TO=MIB, as mon-fri:8-18=5".to_owned();
    let day = |name: &str| DAYS.iter().position(|day| *day == name).ok_or_else(wrong);
    let (when, rate) = text.split_once('=').ok_or_else(wrong)?;
    let (days, hours) = when.split_once(':').ok_or_else(wrong)?;
    let (first, last) = days.split_once('-').unwrap_or((days, days));
    let (first, last) = (day(first)?, day(last)?);
    let (from, to) = hours.split_once('-').ok_or_else(wrong)?;
    let hour = |text: &str| text.parse::<u8>().map_err(|_| wrong());
    let (from_hour, to_hour) = (hour(from)?, hour(to)?);
    if first > last || from_hour >= to_hour || to_hour > 24 {
        return Err(wrong());
    }
    let days = (first..=last).fold(0, |days, day| days | 1 << day);
    let mebibytes: u32 = rate.parse().map_err(|_| wrong())?;
    let bytes_per_second = u64::from(mebibytes) << 20;
    Ok(Span { days, from_hour, to_hour, bytes_per_second })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_of_the_week_are_read_and_nothing_else() {
        let read = Span { days: 0b001_1111, from_hour: 8, to_hour: 18, bytes_per_second: 5 << 20 };
        assert_eq!(span("mon-fri:8-18=5"), Ok(read));
        assert_eq!(span("sun:0-24=0").map(|span| span.days), Ok(0b100_0000));
        for text in
            ["", "mon", "mon:8-18", "fri-mon:8-18=5", "mon:18-8=5", "mon:0-25=5", "mon:1-2=-1"]
        {
            assert!(span(text).is_err(), "{text}");
        }
        assert!(interval("10s").is_ok() && interval("9s").is_err() && interval("25h").is_err());
        assert!(keep("forever").is_ok() && keep("some").is_err());
    }
}
