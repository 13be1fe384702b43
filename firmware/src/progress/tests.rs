//! What the meter says for given counters and times.

use super::*;

const MIB: u64 = 1 << 20;

fn sample(seconds: u64, done: u64, total: u64, stored: u64) -> Sample {
    Sample {
        at: Duration::from_secs(seconds),
        done: done * MIB,
        total: total * MIB,
        stored: stored * MIB,
    }
}

#[test]
fn rate_ratio_and_time_left_follow_the_counters() {
    let mut meter = Meter::new("protect web1");
    meter.look(sample(2, 200, 1000, 50));
    assert_eq!(meter.rate(), Some(100 * MIB));
    assert_eq!(meter.left(), Some(Duration::from_secs(8)));
    assert_eq!(
        meter.plain(),
        "protect web1: 20 %, 200 MiB of 1000 MiB, 100 MiB/s, ratio 4.0, 8.0 s left"
    );
    assert_eq!(meter.summary(), "protect web1: 200 MiB in 2.0 s, 100 MiB/s, ratio 4.0");
}

#[test]
fn the_rate_forgets_what_is_old() {
    let mut meter = Meter::new("x");
    for second in 1..=30 {
        meter.look(sample(second, second * 100, 10_000, 0));
    }
    for second in 31..=60 {
        meter.look(sample(second, 3000 + (second - 30), 10_000, 0));
    }
    assert_eq!(meter.rate(), Some(MIB));
    assert!(meter.samples.len() <= 12, "{}", meter.samples.len());
}

#[test]
fn a_stall_shows_no_time_left() {
    let mut meter = Meter::new("x");
    meter.look(sample(1, 10, 100, 0));
    meter.look(sample(30, 10, 100, 0));
    meter.look(sample(60, 10, 100, 0));
    assert_eq!(meter.left(), None);
    assert!(meter.plain().ends_with("0 B/s"), "{}", meter.plain());
}

#[test]
fn a_bar_fits_its_columns_whatever_the_numbers() {
    let numbers = [0, 1, 999, 123_456, u64::MAX / MIB];
    for done in numbers {
        for total in numbers {
            for stored in numbers {
                let mut meter =
                    Meter::new("a label that is much too long for any terminal line of ours");
                meter.look(sample(3, done, total, stored));
                assert!(meter.bar().chars().count() <= BAR_COLUMNS, "{}", meter.bar());
            }
        }
    }
}

#[test]
fn a_bar_shows_its_part() {
    let mut meter = Meter::new("restore sda");
    meter.look(sample(1, 500, 1000, 0));
    assert_eq!(
        meter.bar(),
        "restore sda [######      ]  50 %  500 MiB of 1000 MiB  500 MiB/s  1.0 s left"
    );
}

#[test]
fn nothing_known_yet_is_no_division_by_zero() {
    let meter = Meter::new("x");
    assert_eq!((meter.rate(), meter.left()), (None, None));
    assert_eq!(meter.plain(), "x: 0 B");
    assert_eq!(meter.bar(), "x 0 B");
}

#[test]
fn the_painter_stops_when_dropped() {
    let counters = Arc::new(Counters::default());
    let started = Instant::now();
    drop(Painter::start("x", Arc::clone(&counters), Mode::Plain));
    assert!(started.elapsed() < Duration::from_secs(4), "it did not wait for its next line");
    assert_eq!(Arc::strong_count(&counters), 1, "its thread has ended");
}

#[test]
fn programs_get_plain_numbers() {
    let mut meter = Meter::new("protect \"web1\"\n");
    meter.look(sample(2, 200, 1000, 50));
    let value: serde_json::Value = serde_json::from_str(&meter.json()).unwrap();
    assert_eq!(value["done_bytes"], 200 * MIB);
    assert_eq!(value["total_bytes"], 1000 * MIB);
    assert_eq!(value["stored_bytes"], 50 * MIB);
    assert_eq!(value["bytes_per_second"], 100 * MIB);
    assert_eq!(Mode::choose(true, true), Mode::Json, "the wish of a program comes first");
}
