//! Policies as people write them, and what they keep of every kind of history.

use super::*;

const NOW: u64 = 1_767_225_600_000; // Thursday, 2026-01-01 00:00 UTC

fn policy(text: &str) -> Policy {
    Policy::parse(text).expect("a policy")
}

fn points(times: impl IntoIterator<Item = u64>) -> Vec<Dated> {
    (0..).zip(times).map(|(slot, time)| Dated { time, slot }).collect()
}

/// Times of the points that are kept, in the order given.
fn kept(text: &str, points: &[Dated], now: u64) -> Vec<u64> {
    let fates = policy(text).keep(points, now);
    assert_eq!(fates.len(), points.len());
    points
        .iter()
        .zip(fates)
        .filter(|(_, fate)| fate.is_kept())
        .map(|(point, _)| point.time)
        .collect()
}

#[test]
fn policies_read_back_as_they_were_written() {
    for text in [
        "72h",
        "last=1",
        "72h,hourly=7d,daily=30d,weekly=12w,monthly=24m,yearly=10y,last=3",
        "hourly=2d",
        "1000y",
    ] {
        assert_eq!(policy(text).to_string(), text);
        assert_eq!(policy(text).to_string().parse(), Ok(policy(text)));
    }
    assert_eq!(
        policy(" 72H , last=2, daily = 3d,hourly=24mo").to_string(),
        "72h,hourly=24m,daily=3d,last=2"
    );
}

#[test]
fn what_cannot_be_meant_is_named() {
    for (text, part, what) in [
        ("", "«»", "is empty"),
        ("72h,", "«»", "is empty"),
        ("72", "«72»", "has no unit"),
        ("72s", "«72s»", "unknown unit «s»"),
        ("30min", "«30min»", "unknown unit «min»"),
        ("h", "«h»", "whole number"),
        ("soon", "«soon»", "is no length of time"),
        ("0h", "«0h»", "is zero"),
        ("last=0", "«last=0»", "is zero"),
        ("last=3d", "«last=3d»", "whole number"),
        ("last=-3", "«last=-3»", "whole number"),
        ("last=1,last=2", "«last=2»", "second time"),
        ("daily=3d,daily=4d", "«daily=4d»", "second time"),
        ("daily=3d,72h", "«72h»", "needs a name"),
        ("72h,48h", "«48h»", "needs a name"),
        ("minutely=3d", "«minutely=3d»", "unknown name «minutely»"),
        ("daily", "«daily»", "is no length of time"),
        ("daily=", "«daily=»", "has no unit"),
        ("99999999999h", "«99999999999h»", "too large"),
        ("4000000000y", "«4000000000y»", "longer than 1000 years"),
        ("१h", "«१h»", "is no length of time"),
    ] {
        let error = Policy::parse(text).expect_err(text);
        let line = error.to_string();
        assert!(text.is_empty() || line.contains(part), "{line}");
        assert!(line.contains(what), "{line}");
        assert!(line.contains("72h,hourly=7d"), "{line}");
    }
}

#[test]
fn everything_young_is_kept_to_the_millisecond() {
    let history = points([NOW - 3 * HOUR - 1, NOW - 3 * HOUR, NOW - HOUR, NOW]);
    assert_eq!(kept("3h", &history, NOW), [NOW - 3 * HOUR, NOW - HOUR, NOW]);
}

#[test]
fn the_newest_point_stays_however_old_it_is() {
    let history = points([5, 6, 7]);
    assert_eq!(kept("1h", &history, NOW), [7]);
    assert_eq!(kept("1h", &points([]), NOW), [0_u64; 0]);
    let fates = policy("1h").keep(&history, NOW);
    assert_eq!(fates[2].reasons, [Reason::Newest]);
}

#[test]
fn the_last_so_many_stay_by_their_slots_and_not_by_their_times() {
    let history = [(9, 100), (8, 900), (7, 500), (6, 600)].map(|(slot, time)| Dated { time, slot });
    assert_eq!(kept("last=2", &history, NOW), [100, 900]);
    assert_eq!(kept("last=100", &history, NOW).len(), 4);
}

#[test]
fn of_every_period_the_newest_point_is_kept() {
    // Every ten minutes for three days; the last at NOW - 10 min.
    let history = points((1..=432).rev().map(|step| NOW - step * HOUR / 6));
    let hourly = kept("hourly=1d", &history, NOW);
    assert_eq!(hourly.len(), 24);
    assert!(hourly.iter().all(|time| time % HOUR == 50 * 60_000), "{hourly:?}");
    let daily = kept("daily=30d", &history, NOW);
    assert_eq!(daily, [NOW - 2 * DAY, NOW - DAY, NOW].map(|end| end - HOUR / 6));
    let both = kept("2h,hourly=1d,daily=30d", &history, NOW);
    assert_eq!(both.len(), 12 + 22 + 2);
}

#[test]
fn weeks_begin_on_monday_and_months_and_years_are_those_of_the_calendar() {
    let day = |days: u64| days * DAY + 12 * HOUR;
    // 2024-02-28 Wed is day 19781; 29 Thu; Mar 1 Fri; Mar 3 Sun; Mar 4 Mon.
    let history = points([day(19_781), day(19_782), day(19_783), day(19_785), day(19_786)]);
    let now = day(19_786) + HOUR;
    assert_eq!(kept("weekly=52w", &history, now), [day(19_785), day(19_786)]);
    assert_eq!(kept("monthly=24m", &history, now), [day(19_782), day(19_786)]);
    assert_eq!(kept("yearly=9y", &history, now), [day(19_786)]);
    // 2023-12-31 is day 19722, 2024-01-01 is day 19723, 2025-12-31 is day 20453.
    let history = points([day(19_722), day(19_723), day(19_800), day(20_453), NOW]);
    assert_eq!(kept("yearly=9y", &history, NOW), [day(19_722), day(19_800), day(20_453), NOW]);
    assert_eq!(kept("monthly=99m", &history, NOW).len(), 5);
}

#[test]
fn months_follow_a_calendar_counted_by_hand() {
    let (mut year, mut month, mut day) = (1970_u64, 1_u64, 1_u64);
    for days in 0..200_000 {
        assert_eq!(month_of(days), (year, month), "day {days}");
        let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let length = match month {
            2 => 28 + u64::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        day += 1;
        if day > length {
            (day, month) = (1, month + 1);
        }
        if month > 12 {
            (month, year) = (1, year + 1);
        }
    }
}

#[test]
fn order_does_not_matter_and_equal_times_go_by_slot() {
    let mut history = points((0..200).map(|step| NOW - (step % 50) * HOUR / 3));
    let text = "2h,hourly=8h,daily=2d,last=2";
    let slots = |history: &[Dated]| {
        let fates = policy(text).keep(history, NOW);
        let mut slots: Vec<_> = history
            .iter()
            .zip(fates)
            .filter(|(_, fate)| fate.is_kept())
            .map(|(point, fate)| (point.slot, fate.reasons))
            .collect();
        slots.sort();
        slots
    };
    let expected = slots(&history);
    history.reverse();
    assert_eq!(slots(&history), expected);
    history.rotate_left(77);
    history.swap(3, 90);
    assert_eq!(slots(&history), expected);
    let same = points([NOW, NOW, NOW]);
    assert_eq!(
        policy("hourly=1d").keep(&same, NOW).iter().filter(|fate| fate.is_kept()).count(),
        1
    );
    assert!(policy("hourly=1d").keep(&same, NOW)[2].is_kept());
}

#[test]
fn points_from_the_future_count_as_new_and_take_nobodys_place() {
    let history = points([NOW - 2 * HOUR, NOW + 900 * DAY, NOW - HOUR]);
    let fates = policy("3h,last=1").keep(&history, NOW);
    assert!(fates.iter().all(Fate::is_kept));
    assert_eq!(fates[2].reasons, [Reason::Newest, Reason::Last, Reason::All]);
    let fates = policy("daily=1d").keep(&history, NOW);
    let kept: Vec<_> = fates.iter().map(Fate::is_kept).collect();
    assert_eq!(kept, [false, true, true], "{fates:?}");
    assert_eq!(policy("3h").keep(&points([u64::MAX, u64::MAX]), u64::MAX).len(), 2);
    assert_eq!(policy("1h").keep(&points([1, 2]), 0).len(), 2);
}

#[test]
fn thinning_a_history_again_and_again_ends_where_thinning_once_does() {
    let text = "6h,hourly=2d,daily=7d,weekly=5w,monthly=12m";
    let start = NOW - 100 * DAY;
    let all = points((0..2400).map(|step| start + step * HOUR + 7 * 60_000));
    let mut alive = all.clone();
    for run in 1..=400 {
        let now = start + run * 6 * HOUR;
        let past: Vec<_> = alive.iter().copied().filter(|point| point.time <= now).collect();
        let fates = policy(text).keep(&past, now);
        let gone: Vec<u64> = past
            .iter()
            .zip(fates)
            .filter(|(_, fate)| !fate.is_kept())
            .map(|(point, _)| point.slot)
            .collect();
        alive.retain(|point| !gone.contains(&point.slot));
    }
    let once = kept(text, &all, NOW);
    let often: Vec<_> = alive.iter().map(|point| point.time).collect();
    assert_eq!(often, once);
}

#[test]
fn the_longest_reason_says_until_when() {
    let history = points([NOW - HOUR]);
    let fates = policy("2h,daily=3d,hourly=1d").keep(&history, NOW);
    assert_eq!(fates[0].until, NOW - HOUR + 3 * DAY);
    let words: Vec<_> = fates[0].reasons.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["newest", "all", "hourly", "daily"]);
}
