//! What time a machine believes it is when it starts.

use std::time::{SystemTime, UNIX_EPOCH};

/// A machine's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The host's.
    #[default]
    Right,
    /// Another, from which it runs on.
    At(SystemTime),
}

impl Clock {
    /// QEMU's `base`.
    pub(crate) fn base(self) -> String {
        match self {
            Self::Right => "utc".to_owned(),
            Self::At(time) => {
                let after = time.duration_since(UNIX_EPOCH).unwrap_or_default();
                calendar(after.as_secs())
            }
        }
    }
}

/// `YYYY-MM-DDTHH:MM:SS` of seconds since 1970, by the proleptic Gregorian calendar.
fn calendar(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days from 1 March of year 0; eras of 400 years are alike.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest % 3600 / 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn days_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_709_164_800, "2024-02-29T00:00:00"),
            (1_735_689_599, "2024-12-31T23:59:59"),
            (4_102_444_800, "2100-01-01T00:00:00"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(Clock::At(time).base(), text);
        }
        assert_eq!(Clock::Right.base(), "utc");
    }
}
