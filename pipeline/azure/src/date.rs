//! Dates as HTTP and SAS tokens write them, to and from milliseconds since 1970. It knows no time zone but UTC.

/// Milliseconds in a day.
const DAY_MS: u64 = 86_400_000;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The date as HTTP headers carry it: `Sun, 22 Nov 2026 12:44:35 GMT`.
pub fn http_date(unix_ms: u64) -> String {
    let (year, month, day) = civil(unix_ms / DAY_MS);
    let seconds = unix_ms % DAY_MS / 1000;
    // 1970-01-01 was a Thursday, the fourth day of a week that starts on Monday.
    let weekday = DAYS[usize::try_from((unix_ms / DAY_MS + 3) % 7).unwrap_or(0)];
    let name = MONTHS[usize::try_from(month - 1).unwrap_or(0) % 12];
    format!(
        "{weekday}, {day:02} {name} {year:04} {:02}:{:02}:{:02} GMT",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Reads what `http_date` writes; `None` for anything else.
pub fn parse_http_date(text: &str) -> Option<u64> {
    let rest = text.trim().strip_suffix(" GMT")?;
    let (_, rest) = rest.split_once(", ")?;
    let mut parts = rest.split(' ').filter(|part| !part.is_empty());
    let day = number(parts.next()?)?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? + 1;
    let year = number(parts.next()?)?;
    let time = parts.next()?;
    if parts.next().is_some() {
        return None;
    }
    Some(unix_days(year, u64::try_from(month).ok()?, day)? * DAY_MS + time_of_day(time)? * 1000)
}

/// The date as SAS tokens carry it: `2026-11-22T12:44:35Z`.
pub fn iso_date(unix_ms: u64) -> String {
    let (year, month, day) = civil(unix_ms / DAY_MS);
    let seconds = unix_ms % DAY_MS / 1000;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Reads the forms that a SAS token may carry: a day, a minute or a second of UTC, fractions cut off.
pub fn parse_iso_date(text: &str) -> Option<u64> {
    let (date, time) = match text.trim().split_once('T') {
        Some((date, time)) => (date, time.strip_suffix('Z')?),
        None => (text.trim(), "00:00"),
    };
    let mut parts = date.split('-');
    let (year, month, day) =
        (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
    if parts.next().is_some() {
        return None;
    }
    let time = time.split_once('.').map_or(time, |(whole, _)| whole);
    Some(unix_days(year, month, day)? * DAY_MS + time_of_day(time)? * 1000)
}

/// `hh:mm:ss` or `hh:mm` in seconds.
fn time_of_day(text: &str) -> Option<u64> {
    let mut parts = text.split(':');
    let (hours, minutes) = (number(parts.next()?)?, number(parts.next()?)?);
    let seconds = parts.next().map_or(Some(0), number)?;
    let fits = hours < 24 && minutes < 60 && seconds <= 60 && parts.next().is_none();
    fits.then_some(hours * 3600 + minutes * 60 + seconds)
}

/// Digits only, at most four of them: nothing that this crate reads needs more.
fn number(text: &str) -> Option<u64> {
    let plain = (1..=4).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// Days since 1970 of a date of the Gregorian calendar; `None` before 1970 or for a date that is none.
fn unix_days(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years are counted from March, so that the leap day comes last.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

/// Year, month and day of a day since 1970.
fn civil(unix_days: u64) -> (u64, u64, u64) {
    let days = unix_days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + u64::from(month >= 10);
    (year, if month < 10 { month + 3 } else { month - 9 }, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates_are_written_as_http_does() {
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(1_795_351_475_000), "Sun, 22 Nov 2026 12:44:35 GMT");
        assert_eq!(http_date(951_782_400_000), "Tue, 29 Feb 2000 00:00:00 GMT");
    }

    #[test]
    fn dates_survive_their_text() {
        for day in (0..60_000_u64).step_by(13) {
            let at = day * DAY_MS + 47_075_000;
            assert_eq!(parse_http_date(&http_date(at)), Some(at));
            assert_eq!(parse_iso_date(&iso_date(at)), Some(at));
        }
    }

    #[test]
    fn short_forms_of_a_token_are_read() {
        assert_eq!(parse_iso_date("2026-01-02"), parse_iso_date("2026-01-02T00:00:00Z"));
        assert_eq!(parse_iso_date("2026-01-02T03:04Z"), parse_iso_date("2026-01-02T03:04:00Z"));
        assert_eq!(
            parse_iso_date("2026-01-02T03:04:05.1234567Z"),
            parse_iso_date("2026-01-02T03:04:05Z")
        );
    }

    #[test]
    fn anything_else_is_no_date() {
        for text in ["", "GMT", "Sun, 99 Nov 2026 12:44:35 GMT", "Sun, 22 Nov 99999 1:2:3 GMT"] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
        for text in ["", "2026", "2026-13-01", "2026-01-02T", "2026-01-02T25:00Z", "é-ü-ß"] {
            assert_eq!(parse_iso_date(text), None, "{text}");
        }
    }
}
