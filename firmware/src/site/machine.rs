//! The machine: disks, cards, spool, and how much is sent when.

use firmware_web::api::site::Answer;
use firmware_web::api::views::appliance::{ApplianceView, CalendarRow, CalendarView, MachineDisk};
use firmware_web::api::{Caller, Refusal};
use hal_linux::inventory::inventory;

use super::facts::disk_view;
use super::refuse::{refusal, wrong};
use super::servers::spool_left;
use super::{LiveSite, lock};
use crate::appliance::figures::{available_bytes, memory_bytes};
use crate::ingest::calendar::{Pace, Span};

/// Rows of a calendar.
const ROWS_MAX: usize = 100;

impl LiveSite {
    pub(super) fn appliance_view(&self) -> ApplianceView {
        let view = self.facts.agents.view();
        let usage = view.as_ref().map(|view| view.usage()).unwrap_or_default();
        let pace = self.sight().roll.as_ref().map(|roll| roll.pace.clone()).unwrap_or_default();
        ApplianceView {
            name: self.facts.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            role: self.facts.role.to_owned(),
            uptime_seconds: self.moment().since(self.began) / 1000,
            memory_bytes: memory_bytes(),
            memory_available_bytes: available_bytes().unwrap_or(0),
            disks: self.disks(),
            links: (self.facts.links)(),
            spool: (self.facts.spool)(),
            spool_bytes: usage.bytes,
            spool_used_bytes: usage.used,
            spool_left_seconds: spool_left(&usage, &self.told()),
            certificate_sha256: self.facts.identity.fingerprint(),
            zone_minutes: (self.facts.zone_minutes)(),
            calendar: calendar_of(&pace, (self.facts.zone_minutes)()),
        }
    }

    /// Its disks, and beside them what it misses or cannot use.
    fn disks(&self) -> Vec<MachineDisk> {
        let used = |name: &str| (self.facts.used)(name);
        let mut disks: Vec<MachineDisk> =
            inventory().iter().map(|disk| disk_view(disk, used(disk.kernel_name()))).collect();
        // A device that is made of disks is nobody's worry here unless it is used.
        let failing = lock(&self.ailing).troubles().into_iter();
        let failing = failing.filter(|(name, _)| {
            !used(name).is_empty() || disks.iter().any(|disk| disk.name == *name)
        });
        let troubles: Vec<(String, String)> = failing.chain((self.facts.troubles)()).collect();
        for (name, words) in troubles {
            match disks.iter_mut().find(|disk| disk.name == name) {
                Some(disk) => {
                    let told = disk.trouble.take().map(|told| format!("{told}; {words}"));
                    disk.trouble = Some(told.unwrap_or(words));
                }
                None => {
                    let of_kernel = used(&name);
                    let used = if of_kernel.is_empty() { &name } else { of_kernel }.to_owned();
                    let trouble = Some(words);
                    disks.push(MachineDisk { name, used, trouble, ..MachineDisk::default() });
                }
            }
        }
        disks
    }

    pub(super) fn change_calendar(
        &self,
        by: &Caller,
        calendar: &CalendarView,
    ) -> Answer<ApplianceView> {
        let pace = pace_of(calendar, (self.facts.zone_minutes)())?;
        let roll = self.kept_roll()?;
        roll.change(&mut |roll| {
            roll.pace.clone_from(&pace);
            Ok(())
        })
        .map_err(refusal)?;
        let words = "How much is sent at which hours was changed.".to_owned();
        self.tell_of(by, "calendar_set", "appliance".to_owned(), words);
        self.look_at_roll_now();
        Ok(self.appliance_view())
    }
}

/// Bits and hours of a row at another place of the week: the roll has UTC, the page the zone of the machine.
fn moved(span: Span, minutes: i32) -> Vec<Span> {
    // Whole hours: calendars have no others.
    let hours = minutes.div_euclid(60);
    let begin = i32::from(span.from_hour) + hours;
    let end = i32::from(span.to_hour) + hours;
    let day_of = |hour: i32| hour.div_euclid(24);
    let mut parts = Vec::new();
    let mut from = begin;
    while from < end {
        let day = day_of(from);
        let to = end.min((day + 1) * 24);
        let part = |hour: i32| u8::try_from(hour - day * 24).unwrap_or(0);
        let turned = turned(span.days, day);
        parts.push(Span { days: turned, from_hour: part(from), to_hour: part(to), ..span });
        from = to;
    }
    parts
}

/// Days of the week, so many days later.
fn turned(days: u8, by: i32) -> u8 {
    let mut turned = 0;
    for day in 0..7_i32 {
        if days >> day & 1 == 1 {
            turned |= 1 << (day + by).rem_euclid(7);
        }
    }
    turned
}

fn calendar_of(pace: &Pace, zone_minutes: i16) -> CalendarView {
    let rows = pace.spans.iter().flat_map(|span| moved(*span, i32::from(zone_minutes)));
    let row = |span: Span| CalendarRow {
        days: (0..7).filter(|day| span.days >> day & 1 == 1).collect(),
        from_hour: span.from_hour,
        to_hour: span.to_hour,
        bytes_per_second: span.bytes_per_second,
    };
    CalendarView {
        rows: rows.map(row).collect(),
        otherwise_bytes_per_second: pace.bytes_per_second,
    }
}

/// The limits as the roll has them.
///
/// Errors: a row that cannot be meant.
pub(crate) fn pace_of(calendar: &CalendarView, zone_minutes: i16) -> Result<Pace, Refusal> {
    if calendar.rows.len() > ROWS_MAX {
        return Err(wrong("/rows", "calendar", format!("has more than {ROWS_MAX} rows")));
    }
    let mut spans = Vec::new();
    for (place, row) in calendar.rows.iter().enumerate() {
        let bad = |field: &str, what: &str| {
            wrong(&format!("/rows/{place}/{field}"), format!("row {}", place + 1), what)
        };
        if row.days.is_empty() || row.days.iter().any(|day| *day > 6) {
            return Err(bad("days", "names no day, or one that is not from 0, Monday, to 6"));
        }
        if row.from_hour > 23 {
            return Err(bad("from_hour", "begins at an hour that is not from 0 to 23"));
        }
        if row.to_hour > 24 || row.to_hour <= row.from_hour {
            return Err(bad("to_hour", "does not end behind its beginning, at 24 at the latest"));
        }
        let days = row.days.iter().fold(0, |days, day| days | 1 << day);
        let span = Span {
            days,
            from_hour: row.from_hour,
            to_hour: row.to_hour,
            bytes_per_second: row.bytes_per_second,
        };
        spans.extend(moved(span, -i32::from(zone_minutes)));
    }
    Ok(Pace { bytes_per_second: calendar.otherwise_bytes_per_second, spans })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(days: &[u8], from_hour: u8, to_hour: u8) -> CalendarView {
        let row = CalendarRow { days: days.to_vec(), from_hour, to_hour, bytes_per_second: 9 };
        CalendarView { rows: vec![row], otherwise_bytes_per_second: 5 }
    }

    #[test]
    fn hours_of_the_zone_become_those_of_utc_and_come_back() {
        let office = calendar(&[0, 4], 8, 18);
        for minutes in [0, 60, 120, -300, 540, 840, -720] {
            let pace = pace_of(&office, minutes).unwrap();
            let hours = |pace: &Pace| -> Vec<u64> {
                let week = 7 * 24;
                // 1970-01-05 was a Monday.
                let at = |hour: u64| hal::time::UnixMillis((4 * 24 + hour) * 3_600_000);
                (0..week).filter(|hour| pace.at(at(*hour)) == Some(9)).collect()
            };
            let expected: Vec<u64> = [0_i64, 4]
                .iter()
                .flat_map(|day| (8..18).map(move |hour| day * 24 + hour))
                .map(|hour| (hour - i64::from(minutes) / 60).rem_euclid(168).unsigned_abs())
                .collect();
            let mut expected = expected;
            expected.sort_unstable();
            assert_eq!(hours(&pace), expected, "{minutes}");
        }
        assert_eq!(calendar_of(&pace_of(&office, 60).unwrap(), 60), office);
    }

    #[test]
    fn what_cannot_be_meant_is_told_beside_its_field() {
        let field = |calendar: &CalendarView| pace_of(calendar, 0).unwrap_err().field;
        let of = |text: &str| Some(text.to_owned());
        assert_eq!(field(&calendar(&[7], 8, 18)), of("/rows/0/days"));
        assert_eq!(field(&calendar(&[], 8, 18)), of("/rows/0/days"));
        assert_eq!(field(&calendar(&[0], 24, 24)), of("/rows/0/from_hour"));
        assert_eq!(field(&calendar(&[0], 8, 8)), of("/rows/0/to_hour"));
        assert_eq!(field(&calendar(&[0], 8, 25)), of("/rows/0/to_hour"));
        let mut many = calendar(&[0], 8, 9);
        many.rows = vec![many.rows[0].clone(); 101];
        assert_eq!(field(&many), of("/rows"));
    }
}
