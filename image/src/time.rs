//! Dates, for the formats that want one: seconds since 1970 in the Gregorian calendar.

/// A moment, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    /// Year.
    pub year: u64,
    /// Month, from 1.
    pub month: u64,
    /// Day, from 1.
    pub day: u64,
    /// Hour.
    pub hour: u64,
    /// Minute.
    pub minute: u64,
    /// Second.
    pub second: u64,
}

impl Utc {
    /// The moment so many seconds after the beginning of 1970.
    #[must_use]
    pub fn of(seconds: u64) -> Self {
        let (mut days, rest) = (seconds / 86_400, seconds % 86_400);
        let mut year = 1970;
        loop {
            let length = if leap(year) { 366 } else { 365 };
            // No clock of ours says more, and the loop must end.
            if days < length || year >= 9999 {
                break;
            }
            days -= length;
            year += 1;
        }
        let february = if leap(year) { 29 } else { 28 };
        let mut month = 1;
        for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        let day = days.min(30) + 1;
        Self { year, month, day, hour: rest / 3600, minute: rest / 60 % 60, second: rest % 60 }
    }

    /// As RFC 3339 writes it.
    #[must_use]
    pub fn text(self) -> String {
        let Self { year, month, day, hour, minute, second } = self;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

fn leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_are_right() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Utc::of(seconds).text(), text);
        }
        assert_eq!(Utc::of(u64::MAX).year, 9999);
    }
}
