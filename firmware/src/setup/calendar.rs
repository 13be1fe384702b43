//! Limits by the hours of a zone, as replication takes them: by UTC, in whole hours.
//!
//! A zone that is half an hour off is taken by the full hour below. There is no table of summer times: a limit then holds an
//! hour earlier or later until the zone is set anew.

use firmware_web::api::Refusal;
use firmware_web::api::views::appliance::{CalendarRow, CalendarView};

use super::refused::field;
use crate::ingest::calendar::{Pace, Span};

/// Rows at most: one for each hour of a day, and some.
const ROWS_MAX: usize = 32;
const DAY: i32 = 24;

/// As replication takes it; or which field does not hold together.
pub(super) fn pace(calendar: &CalendarView, zone_minutes: i16) -> Result<Pace, Refusal> {
    const TITLE: &str = "the calendar";
    if calendar.rows.len() > ROWS_MAX {
        return Err(field("/calendar/rows", TITLE, format!("has more than {ROWS_MAX} rows")));
    }
    let mut spans = Vec::new();
    for (place, row) in calendar.rows.iter().enumerate() {
        let wrong =
            |name: &str, what: &str| field(&format!("/calendar/rows/{place}/{name}"), TITLE, what);
        if row.days.is_empty() || row.days.iter().any(|day| *day > 6) {
            return Err(wrong(
                "days",
                "names no day, or one that is none: 0 is Monday, 6 is Sunday",
            ));
        }
        if row.to_hour > 24 || row.from_hour >= row.to_hour {
            return Err(wrong("to_hour", "is not after the first hour: write 0 to 23 and 1 to 24"));
        }
        spans.extend(shifted(row, i32::from(zone_minutes).div_euclid(60)));
    }
    Ok(Pace { bytes_per_second: calendar.otherwise_bytes_per_second, spans })
}

/// A row moved so many hours back, cut where days change.
fn shifted(row: &CalendarRow, hours: i32) -> Vec<Span> {
    let (from, to) = (i32::from(row.from_hour) - hours, i32::from(row.to_hour) - hours);
    (-1..=1)
        .filter_map(|day: i32| {
            let hour =
                |at: i32| u8::try_from(at.clamp(day * DAY, day * DAY + DAY) - day * DAY).ok();
            let (from_hour, to_hour) = (hour(from)?, hour(to)?);
            let days = row.days.iter().fold(0, |bits, known| {
                let moved = (i32::from(*known) + day).rem_euclid(7);
                bits | (1 << moved)
            });
            let bytes_per_second = row.bytes_per_second;
            (from_hour < to_hour).then_some(Span { days, from_hour, to_hour, bytes_per_second })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use hal::time::UnixMillis;

    use super::*;

    const HOUR: u64 = 3_600_000;
    /// 1970-01-05.
    const MONDAY: u64 = 4 * 24 * HOUR;

    fn row(days: &[u8], from_hour: u8, to_hour: u8, bytes_per_second: u64) -> CalendarRow {
        CalendarRow { days: days.to_vec(), from_hour, to_hour, bytes_per_second }
    }

    /// What holds at an hour of the week by the zone's own clock, straight from the rows.
    fn expected(calendar: &CalendarView, hour: u64) -> u64 {
        let (day, hour) = (hour / 24, hour % 24);
        let fits = |row: &&CalendarRow| {
            row.days.iter().any(|known| u64::from(*known) == day)
                && (u64::from(row.from_hour)..u64::from(row.to_hour)).contains(&hour)
        };
        let found = calendar.rows.iter().find(fits);
        found.map_or(calendar.otherwise_bytes_per_second, |row| row.bytes_per_second)
    }

    #[test]
    fn every_hour_of_the_week_is_what_the_zone_says_wherever_it_is() {
        let rows = vec![
            row(&[0, 1, 2, 3, 4], 8, 18, 1000),
            row(&[6], 22, 24, 7),
            row(&[0], 0, 1, 9),
            row(&[0, 1, 2, 3, 4, 5, 6], 0, 24, 500),
        ];
        let calendar = CalendarView { rows, otherwise_bytes_per_second: 3 };
        for zone in -12_i64..=14 {
            let pace = pace(&calendar, i16::try_from(zone * 60).unwrap()).unwrap();
            for hour in 0..7 * 24 {
                let week = i64::try_from(MONDAY + 7 * 24 * HOUR + hour * HOUR).unwrap();
                let utc = week - zone * i64::try_from(HOUR).unwrap();
                let at = pace.at(UnixMillis(u64::try_from(utc).unwrap()));
                assert_eq!(at, Some(expected(&calendar, hour)), "zone {zone}, hour {hour}");
            }
        }
    }

    #[test]
    fn what_does_not_hold_together_is_told_by_its_field() {
        let told = |row: CalendarRow| {
            let calendar = CalendarView { rows: vec![row], ..CalendarView::default() };
            pace(&calendar, 0).unwrap_err().field.unwrap()
        };
        assert_eq!(told(row(&[], 0, 1, 0)), "/calendar/rows/0/days");
        assert_eq!(told(row(&[7], 0, 1, 0)), "/calendar/rows/0/days");
        assert_eq!(told(row(&[0], 5, 5, 0)), "/calendar/rows/0/to_hour");
        assert_eq!(told(row(&[0], 0, 25, 0)), "/calendar/rows/0/to_hour");
        let rows = vec![row(&[0], 0, 1, 0); 33];
        let many = CalendarView { rows, ..CalendarView::default() };
        assert_eq!(pace(&many, 0).unwrap_err().field.as_deref(), Some("/calendar/rows"));
    }
}
