//! FORMAT.md's tables and `layout.rs` say the same.

use core::ops::Range;
use std::string::{String, ToString};

use super::*;

/// The rows of one table: name, offset, end.
fn rows(table: &str) -> Vec<(String, Range<usize>)> {
    let page = include_str!("../../../FORMAT.md");
    let mark = std::format!("<!-- layout: {table} -->");
    let (_, behind) = page.split_once(&mark).unwrap();
    let body = behind.trim_start().lines().skip(2).take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (offset, bytes): (usize, usize) =
            (cells[1].parse().unwrap(), cells[2].parse().unwrap());
        let name = cells[3].split(':').next().unwrap().to_string();
        (name, offset..offset + bytes)
    };
    body.map(row).collect()
}

fn agree(table: &str, bytes: usize, code: &[(&str, Range<usize>)]) {
    let page = rows(table);
    let code: Vec<_> = code.iter().map(|(name, field)| (name.to_string(), field.clone())).collect();
    assert_eq!(page, code, "{table}");
    let ends = page.iter().map(|(_, field)| field.end);
    let starts = page.iter().map(|(_, field)| field.start);
    assert!(starts.skip(1).chain([bytes]).eq(ends), "{table} has a gap or an overlap");
}

#[test]
fn this_page_and_the_code_agree() {
    use layout::{associated, entry, header, origin, table_head};
    let fields = [
        ("magic", header::MAGIC),
        ("version", header::VERSION),
        ("length", header::LENGTH),
        ("frames", header::FRAMES),
        ("vault", header::VAULT),
        ("server", header::SERVER),
        ("segment", header::SEGMENT),
        ("key epoch", header::KEY_EPOCH),
        ("table bytes", header::TABLE_BYTES),
        ("table offset", header::TABLE_OFFSET),
        ("salt", header::SALT),
        ("table nonce tail", header::TABLE_NONCE_TAIL),
        ("reserved", header::RESERVED),
        ("table tag", header::TABLE_TAG),
    ];
    agree("header", HEADER_BYTES, &fields);
    let fields = [
        ("frames", table_head::FRAMES),
        ("origins", table_head::ORIGINS),
        ("fingerprints", table_head::FINGERPRINTS),
        ("reserved", table_head::RESERVED),
    ];
    agree("table_head", layout::TABLE_HEAD_BYTES, &fields);
    let fields = [
        ("segment", origin::SEGMENT),
        ("key epoch", origin::KEY_EPOCH),
        ("version", origin::VERSION),
        ("reserved", origin::RESERVED),
        ("salt", origin::SALT),
    ];
    agree("origin", layout::ORIGIN_BYTES, &fields);
    let fields = [
        ("kind", entry::KIND),
        ("codec", entry::CODEC),
        ("fingerprints", entry::FINGERPRINTS),
        ("reserved", entry::RESERVED),
        ("origin", entry::ORIGIN),
        ("ordinal", entry::ORDINAL),
        ("offset", entry::OFFSET),
        ("sealed bytes", entry::SEALED_BYTES),
        ("plain bytes", entry::PLAIN_BYTES),
        ("nonce tail", entry::NONCE_TAIL),
        ("tag", entry::TAG),
    ];
    agree("entry", layout::ENTRY_BYTES, &fields);
    let fields = [
        ("version", associated::VERSION),
        ("kind", associated::KIND),
        ("codec", associated::CODEC),
        ("ordinal", associated::ORDINAL),
        ("plain bytes", associated::PLAIN_BYTES),
        ("sealed bytes", associated::SEALED_BYTES),
        ("vault", associated::VAULT),
        ("server", associated::SERVER),
        ("segment", associated::SEGMENT),
    ];
    agree("associated", associated::BYTES, &fields);
}

#[test]
fn the_limits_on_the_page_are_those_of_the_code() {
    let page = include_str!("../../../FORMAT.md");
    let mebibytes = |bytes: usize| std::format!("{} MiB", bytes >> 20);
    for (what, limit) in [
        ("segment", mebibytes(SEGMENT_BYTES_MAX)),
        ("frames in a segment", "65 535".to_string()),
        ("sealed table of a segment", mebibytes(crate::limits::SEGMENT_TABLE_BYTES_MAX)),
        ("plain content of a frame", mebibytes(crate::limits::EXTENT_BYTES_MAX)),
    ] {
        assert!(page.contains(&std::format!("| {what} | {limit} |")), "{what}");
    }
    assert_eq!(crate::limits::SEGMENT_FRAMES_MAX, 65_535);
    assert_eq!(crate::limits::STORED_UNLESS_SAVED_PARTS, 32, "chapter Codecs names it");
}
