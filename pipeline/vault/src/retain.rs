//! Which points a retention policy keeps, and why: times go in, verdicts come out.
//! It refuses to read a clock or a vault, and it never gives the newest point away.
//!
//! A policy is a list such as `72h,hourly=7d,daily=30d,weekly=12w,monthly=24m,last=3`:
//!
//! - a bare length first: every point younger than that is kept;
//! - `hourly=`, `daily=`, `weekly=`, `monthly=`, `yearly=` with a length: of every such period, the newest point in
//!   it is kept until it is older than the length;
//! - `last=` with a number: the newest so many are kept whatever their age.
//!
//! A point is kept if any rule keeps it. Lengths are whole numbers of `h` hours, `d` days, `w` weeks, `m` or `mo`
//! months and `y` years; a month counts 31 days and a year 366, so that nothing goes early. Periods are those of the
//! calendar in UTC; weeks begin on Monday. The newest point of a period that is over never changes, so the choice is
//! stable from run to run. There are no minutes: `m` is months.

use core::cmp::Reverse;
use core::fmt;
use core::str::FromStr;

use crate::error::Error;

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
/// Longest length in years: longer ones are typing errors.
const YEARS_MAX: u64 = 1000;
const EXAMPLE: &str = "write it like 72h,hourly=7d,daily=30d,weekly=12w,monthly=24m,last=3";

/// What to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    all: Option<Length>,
    /// In ascending order of the periods, each at most once.
    rules: Vec<(Period, Length)>,
    last: u32,
}

/// A point as far as retention looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dated {
    /// When it was made, milliseconds since 1970: the later of what the two clocks said.
    pub time: u64,
    /// Its slot: of equal times the higher slot is the newer point, and the highest slot is the newest of all.
    pub slot: u64,
}

/// Why a point is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// It is the newest of all.
    Newest,
    /// It is one of the newest so many.
    Last,
    /// It is younger than the length for which everything is kept.
    All,
    /// It was failed over to, and that failover stands.
    Fork,
    /// Somebody holds it.
    Held,
    /// It is the newest of a calendar period.
    Period(Period),
}

/// A calendar period in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Period {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week from Monday on.
    Week,
    /// A calendar month.
    Month,
    /// A calendar year.
    Year,
}

/// What becomes of one point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// Why it is kept; empty where it may go.
    pub reasons: Vec<Reason>,
    /// When the last rule with a length lets it go, if nothing newer takes its place before, milliseconds since 1970.
    pub until: u64,
}

impl Fate {
    /// Whether any rule keeps the point.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        !self.reasons.is_empty()
    }
}

impl Policy {
    /// Reads a policy; the error names the part that cannot be meant.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut policy = Self { all: None, rules: Vec::new(), last: 0 };
        let lower = text.trim().to_ascii_lowercase();
        for (at, part) in lower.split(',').map(str::trim).enumerate() {
            policy.take(at, part).map_err(|what| {
                Error::misuse(format!("policy «{text}»"), format!("«{part}» {what}"))
                    .remedy(EXAMPLE)
            })?;
        }
        policy.rules.sort_unstable_by_key(|(period, _)| *period);
        Ok(policy)
    }

    fn take(&mut self, at: usize, part: &str) -> Result<(), String> {
        if part.is_empty() {
            return Err("is empty: something must be kept".to_owned());
        }
        let Some((name, value)) = part.split_once('=') else {
            let length = Length::parse(part)?;
            if at > 0 {
                return Err(
                    "needs a name before it: only the first part, how long to keep every point, has none"
                        .to_owned(),
                );
            }
            self.all = Some(length);
            return Ok(());
        };
        let (name, value) = (name.trim(), value.trim());
        if name == "last" {
            if self.last > 0 {
                return Err("says «last» a second time".to_owned());
            }
            self.last = number(value)?;
            return Ok(());
        }
        let period = Period::ALL.into_iter().find(|period| period.rule() == name);
        let period = period.ok_or_else(|| {
            format!(
                "has an unknown name «{name}»: hourly, daily, weekly, monthly, yearly and last are known"
            )
        })?;
        if self.rules.iter().any(|(known, _)| *known == period) {
            return Err(format!("says «{name}» a second time"));
        }
        self.rules.push((period, Length::parse(value)?));
        Ok(())
    }

    /// What becomes of each point now, in the order in which they are given (which does not matter).
    /// Points from the future count as just made.
    #[must_use]
    pub fn keep(&self, points: &[Dated], now: u64) -> Vec<Fate> {
        let mut fates = vec![Fate::default(); points.len()];
        let mut by_slot: Vec<usize> = (0..points.len()).collect();
        by_slot.sort_unstable_by_key(|&at| Reverse(points[at].slot));
        for (rank, &at) in by_slot.iter().enumerate() {
            if rank == 0 {
                fates[at].reasons.push(Reason::Newest);
            }
            if u64::from(self.last) > rank as u64 {
                fates[at].reasons.push(Reason::Last);
            }
        }
        let mut by_time = by_slot;
        by_time.sort_by_key(|&at| Reverse(points[at].time));
        if let Some(all) = self.all {
            for &at in &by_time {
                fates[at].keep(Reason::All, points[at].time, all, now);
            }
        }
        for (period, length) in &self.rules {
            let mut before = None;
            for &at in &by_time {
                let time = points[at].time;
                let this = Some(period.of(time));
                if this != before {
                    fates[at].keep(Reason::Period(*period), time, *length, now);
                }
                before = this;
            }
        }
        fates
    }
}

impl Fate {
    fn keep(&mut self, reason: Reason, time: u64, length: Length, now: u64) {
        let until = time.saturating_add(length.millis());
        if until >= now {
            self.reasons.push(reason);
            self.until = self.until.max(until);
        }
    }
}

impl FromStr for Policy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for Policy {
    /// What `parse` reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        if let Some(all) = self.all {
            write!(f, "{all}")?;
            comma = ",";
        }
        for (period, length) in &self.rules {
            write!(f, "{comma}{}={length}", period.rule())?;
            comma = ",";
        }
        if self.last > 0 { write!(f, "{comma}last={}", self.last) } else { Ok(()) }
    }
}

impl fmt::Display for Reason {
    /// A word for a table: `newest`, `last`, `all`, `hourly`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Newest => "newest",
            Self::Last => "last",
            Self::All => "all",
            Self::Fork => "failover",
            Self::Held => "held",
            Self::Period(period) => period.rule(),
        })
    }
}

impl Period {
    const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// The name of its rule in a policy.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        }
    }

    /// The number of the period that a time is in.
    fn of(self, time: u64) -> u64 {
        let days = time / DAY;
        match self {
            Self::Hour => time / HOUR,
            Self::Day => days,
            // 1970-01-01 was a Thursday.
            Self::Week => (days + 3) / 7,
            Self::Month => {
                let (year, month) = month_of(days);
                year * 12 + month
            }
            Self::Year => month_of(days).0,
        }
    }
}

/// Year and month (from 0 for March) of a day since 1970, after Hinnant; the year counts from March to February
/// for the arithmetic and is put right at the end.
fn month_of(days: u64) -> (u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let year = year_of_era + era * 400 + u64::from(from_march >= 10);
    let month = if from_march >= 10 { from_march - 9 } else { from_march + 3 };
    (year, month)
}

/// A length of time as it was written, so that it reads back the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Length {
    count: u32,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Length {
    fn parse(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = text.split_at(digits);
        let unit = match unit {
            "h" => Unit::Hour,
            "d" => Unit::Day,
            "w" => Unit::Week,
            "m" | "mo" => Unit::Month,
            "y" => Unit::Year,
            "" => return Err("has no unit: h, d, w, m (months) or y".to_owned()),
            _ if digits == 0 => return Err(format!("is no length of time: {LENGTH}")),
            other => return Err(format!("has an unknown unit «{other}»: {LENGTH}")),
        };
        let length = Self { count: number(count)?, unit };
        if length.millis() > YEARS_MAX * 366 * DAY {
            return Err(format!("is longer than {YEARS_MAX} years"));
        }
        Ok(length)
    }

    fn millis(self) -> u64 {
        let unit = match self.unit {
            Unit::Hour => HOUR,
            Unit::Day => DAY,
            Unit::Week => 7 * DAY,
            Unit::Month => 31 * DAY,
            Unit::Year => 366 * DAY,
        };
        u64::from(self.count).saturating_mul(unit)
    }
}

const LENGTH: &str = "a number and h, d, w, m (months) or y";

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Hour => 'h',
            Unit::Day => 'd',
            Unit::Week => 'w',
            Unit::Month => 'm',
            Unit::Year => 'y',
        };
        write!(f, "{}{unit}", self.count)
    }
}

fn number(digits: &str) -> Result<u32, String> {
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(format!("needs a whole number where «{digits}» stands"));
    }
    match digits.parse() {
        Ok(0) => Err("is zero, which would keep nothing".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err(format!("has a number that is too large: {digits}")),
    }
}

#[cfg(test)]
mod tests;
