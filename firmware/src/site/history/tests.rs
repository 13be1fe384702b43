//! Figures over time.

use hal_sim::random::Random;

use super::*;
use crate::admin::keep::{Keep, MemoryKeep};

const NOW: u64 = 1_767_225_600_000;
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

fn asked(figure: Figure, span_seconds: u64) -> SeriesAsked {
    SeriesAsked { figure, span_seconds }
}

#[test]
fn codes_are_in_order_and_right_to_a_thousandth() {
    let mut last = 0;
    let mut random = Random::new(7);
    let mut values: Vec<u64> = (0..3000).collect();
    values.extend((0..60).flat_map(|bit| [1 << bit, (1 << bit) - 1, (1_u64 << bit) + 1]));
    values.extend((0..5000).map(|_| random.below(u64::MAX)));
    values.push(u64::MAX);
    values.sort_unstable();
    for value in values {
        let code = coded(value);
        assert!(code >= last && code != NONE, "{value}");
        last = code;
        let back = decoded(code);
        assert!(back <= value && value - back <= value / 1000, "{value} became {back}");
    }
    for code in 0..=u16::MAX {
        let _ = decoded(code);
    }
}

#[test]
fn each_step_has_its_worst_and_what_was_not_measured_is_told_so() {
    let history = History::default();
    for (at, value) in [(0, 5), (20_000, 90), (40_000, 7), (3 * MINUTE, 11)] {
        history.note("web", NOW + at, &[(Figure::Rpo, value)]);
    }
    let now = NOW + 4 * MINUTE;
    let recent = history.recent("web", now);
    assert_eq!(recent.len(), 60);
    assert_eq!(recent[55..], [Some(90), None, None, Some(11), None]);
    let series = history.series("web", &asked(Figure::Rpo, 300), now);
    assert_eq!((series.began_millis, series.step_seconds), (NOW, 60));
    assert_eq!(series.values, [Some(90.0), None, None, Some(11.0), None]);
    assert!(history.recent("db", now).iter().all(Option::is_none));
    let churn = history.series("web", &asked(Figure::Churn, 300), now);
    assert!(churn.values.iter().all(Option::is_none));
}

#[test]
fn a_month_is_kept_and_no_answer_has_more_than_400_values() {
    let history = History::default();
    for hour in 0..800 {
        history.note("web", NOW + hour * HOUR, &[(Figure::Backlog, hour)]);
    }
    let now = NOW + 799 * HOUR;
    for (span, step) in
        [(1, 60), (360 * 60, 60), (86_400, 300), (400 * 3600, 3600), (u64::MAX, 7200)]
    {
        let series = history.series("web", &asked(Figure::Backlog, span), now);
        assert_eq!(series.step_seconds, step, "{span}");
        assert!(series.values.len() <= 400);
    }
    let month = history.series("web", &asked(Figure::Backlog, 31 * 86_400), now);
    assert_eq!(
        (month.values.len(), month.values[371], month.values[1]),
        (372, Some(799.0), Some(59.0))
    );
    let rings = history.lock();
    let places: usize = rings["web"].0.iter().flatten().map(|ring| ring.values.len()).sum();
    assert_eq!(places, 360 + 576 + 744, "one figure was measured");
}

#[test]
fn a_wall_clock_that_jumps_breaks_nothing() {
    let history = History::default();
    for at in [NOW, NOW + 50 * 366 * 24 * HOUR, NOW + MINUTE, 0, NOW + 2 * MINUTE] {
        history.note("web", at, &[(Figure::Rpo, 3)]);
    }
    let recent = history.recent("web", NOW + 2 * MINUTE);
    assert_eq!(recent[59], Some(3));
    assert_eq!(history.series("web", &asked(Figure::Rpo, 60), 0).values, [None]);
}

#[test]
fn a_restart_keeps_the_last_day_of_500_servers_in_a_small_document() {
    let (history, keep, mut random) = (History::default(), MemoryKeep::default(), Random::new(1));
    let names: Vec<String> = (0..500).map(|number| format!("server-{number}")).collect();
    for step in 0..24 * 12 {
        for name in &names {
            let value = |bound: u64, random: &mut Random| random.below(bound);
            let measured = [
                (Figure::Rpo, value(120, &mut random)),
                (Figure::Churn, value(50 << 20, &mut random)),
                (Figure::StoredPercent, value(100, &mut random)),
                (Figure::Backlog, value(1 << 30, &mut random)),
                (Figure::Frozen, value(90_000, &mut random)),
            ];
            history.note(name, NOW + step * 5 * MINUTE, &measured);
        }
    }
    history.save(&keep).unwrap();
    let now = NOW + 24 * HOUR - MINUTE;
    let back = History::load(&keep).unwrap();
    let day = back.series("server-499", &asked(Figure::Rpo, 400 * 3600), now);
    let before = history.series("server-499", &asked(Figure::Rpo, 400 * 3600), now);
    assert_eq!(day, before);
    assert_eq!(day.values.iter().flatten().count(), 24);
    // A few servers keep everything.
    history.keep_only(&|name| name == "server-7");
    history.save(&keep).unwrap();
    let back = History::load(&keep).unwrap();
    assert_eq!(*back.lock(), *history.lock());
    for seed in 0..300 {
        let mut bytes = keep.read("history").unwrap().unwrap();
        let mut random = Random::new(seed);
        let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
        bytes[at] ^= 1 << random.below(8);
        let damaged = MemoryKeep::default();
        damaged.write("history", &bytes).unwrap();
        // Whatever it is read as.
        let _ = History::load(&damaged);
    }
}
