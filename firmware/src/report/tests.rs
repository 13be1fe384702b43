//! Numbers, instants and endings as people see them.

use super::*;

#[test]
fn sizes_have_three_digits_and_binary_units() {
    let cases = [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (65_536, "64.0 KiB"),
        (1_572_864, "1.50 MiB"),
        (1_048_575, "1.00 MiB"),
        (3 << 30, "3.00 GiB"),
        (8 << 40, "8.00 TiB"),
        (640 << 30, "640 GiB"),
        (u64::MAX, "16.0 EiB"),
    ];
    for (bytes, text) in cases {
        assert_eq!(Size(bytes).to_string(), text, "{bytes}");
    }
}

#[test]
fn spans_read_like_speech() {
    let cases = [
        (400, "0.4 s"),
        (9_999, "9.9 s"),
        (12_000, "12 s"),
        (185_000, "3 min 05 s"),
        (7_620_000, "2 h 07 min"),
        (273_600_000, "3 d 04 h"),
    ];
    for (millis, text) in cases {
        assert_eq!(Span(Duration::from_millis(millis)).to_string(), text);
    }
}

#[test]
fn instants_follow_the_calendar() {
    let cases = [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_399_999, "2000-02-28T23:59:59Z"),
        (951_782_400_000, "2000-02-29T00:00:00Z"),
        (1_709_251_200_000, "2024-03-01T00:00:00Z"),
        (1_795_364_345_000, "2026-11-22T16:19:05Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00Z"),
    ];
    for (millis, text) in cases {
        assert_eq!(Utc(millis).to_string(), text);
    }
    let far = Utc(u64::MAX).to_string();
    assert!(far.ends_with('Z'), "any number has a text: {far}");
}

#[test]
fn every_ending_has_its_own_code() {
    let error = Error::misuse("x", "y");
    let endings: [Ending; 5] = [
        Ok(Outcome::Done),
        Err(Failure::Failed(error.clone())),
        Err(Failure::Usage(error)),
        Ok(Outcome::Incomplete("z".into())),
        Err(Failure::Interrupted(2, None)),
    ];
    let codes: Vec<u8> = endings.iter().map(exit_code).collect();
    assert_eq!(codes, [0, 1, 2, 3, 130]);
    assert_eq!(line(&endings[0]), None);
    assert_eq!(line(&endings[1]).as_deref(), Some("lifeboat: x: y"));
}

#[test]
fn a_hostile_name_stays_on_one_line() {
    let error = Error::corrupt("a\nb\u{1b}[2J", "broke").remedy("look\tthere");
    let text = line(&Err(error.into())).unwrap();
    assert_eq!(text, "lifeboat: a b\u{FFFD}[2J: broke; look there");
}

#[test]
fn tables_line_up() {
    let rows = [vec!["sda".to_owned(), "1".to_owned()], vec!["b".to_owned(), "200".to_owned()]];
    assert_eq!(table(&["disk", "n"], &[false, true], &rows), "disk    n\nsda     1\nb     200\n");
}
