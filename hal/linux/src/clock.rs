//! The machine's clocks. It refuses to correct them by itself: a wall clock that is wrong is somebody
//! else's to notice.

use std::fs::File;
use std::io;
use std::path::Path;

use hal::time::{Clock, UnixMillis};
use rustix::time::{ClockId, clock_gettime};

use crate::sys::hardware_clock::{self, Calendar};

/// The wall clock, and a clock that only runs forwards and counts on while the machine sleeps.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        let time = clock_gettime(ClockId::Realtime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let millis = u64::try_from(time.tv_nsec / 1_000_000).unwrap_or(0);
        UnixMillis(seconds.saturating_mul(1000).saturating_add(millis))
    }

    fn monotonic_nanos(&self) -> u64 {
        // Boot time, not monotonic: a lease must run out while a suspended machine sleeps.
        let time = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
    }
}

/// Sets the machine's hardware clock, which runs on while the machine is off, to a time in UTC.
pub fn set_hardware(device: &Path, time: UnixMillis) -> io::Result<()> {
    let file = File::open(device)?;
    hardware_clock::set(&file, &calendar(time.0 / 1000))?;
    Ok(())
}

/// What the machine's hardware clock says, taken as UTC.
pub fn hardware(device: &Path) -> io::Result<UnixMillis> {
    let file = File::open(device)?;
    let Calendar { second, minute, hour, day, month, year, .. } = hardware_clock::get(&file)?;
    let days = days(i64::from(year) + 1900, i64::from(month) + 1, i64::from(day));
    let clock = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    let seconds = u64::try_from(days * 86_400 + clock).unwrap_or(0);
    Ok(UnixMillis(seconds * 1000))
}

/// Days since 1970 of a day of the Gregorian calendar, by years that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let before = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    before + (153 * from_march + 2) / 5 + day - 1 - 719_468
}

/// Seconds since 1970 as the hardware clock's fields. The days of week and year are left to it.
fn calendar(seconds: u64) -> Calendar {
    let day_number = i64::try_from(seconds / 86_400).unwrap_or(0);
    // Whole numbers that are small by their meaning.
    let small = |value: i64| i32::try_from(value).unwrap_or(0);
    let clock = |unit: u64, most: u64| i32::try_from(seconds / unit % most).unwrap_or(0);
    let fits = |year: i64| days(year, 1, 1) <= day_number;
    let guess = 1970 + day_number / 366;
    let year = (guess..).take_while(|year| fits(*year)).last().unwrap_or(1970);
    let month = (1..=12).take_while(|month| days(year, *month, 1) <= day_number).last();
    let month = month.unwrap_or(1);
    Calendar {
        second: clock(1, 60),
        minute: clock(60, 60),
        hour: clock(3600, 24),
        day: small(day_number - days(year, month, 1) + 1),
        month: small(month - 1),
        year: small(year - 1900),
        ..Calendar::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn days_of_the_calendar_come_back() {
        for (seconds, year, month, day) in [
            (0, 1970, 1, 1),
            (951_782_399, 2000, 2, 28),
            (951_782_400, 2000, 2, 29),
            (1_709_164_800, 2024, 2, 29),
            (1_735_689_599, 2024, 12, 31),
            (4_102_444_800, 2100, 1, 1),
            (4_107_542_400, 2100, 3, 1),
        ] {
            let found = calendar(seconds);
            let date = (found.year + 1900, found.month + 1, found.day);
            assert_eq!(date, (year, month, day), "{seconds}");
            let number = days(i64::from(year), i64::from(month), i64::from(day));
            assert_eq!(u64::try_from(number).unwrap(), seconds / 86_400);
        }
        let last = calendar(951_782_399);
        assert_eq!((last.hour, last.minute, last.second), (23, 59, 59));
    }

    #[test]
    fn what_is_no_hardware_clock_is_refused() {
        assert!(set_hardware(Path::new("/dev/null"), UnixMillis(0)).is_err());
        assert!(hardware(Path::new("/dev/null")).is_err());
        assert!(hardware(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn wall_clock_is_the_systems() {
        let system = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let ours = u128::from(SystemClock.now().0);
        assert!(ours.abs_diff(system) < 10_000, "{ours} and {system}");
    }

    #[test]
    fn monotonic_clock_runs_forwards() {
        let mut last = SystemClock.monotonic_nanos();
        for _ in 0..1000 {
            let now = SystemClock.monotonic_nanos();
            assert!(now >= last);
            last = now;
        }
        assert!(last > 0);
    }
}
