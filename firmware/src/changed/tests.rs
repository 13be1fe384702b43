//! What the parser of `--changed` takes and what it refuses.

use super::*;

const DISKS: [(&str, u64); 2] = [("sda", 100 * BLOCK), ("sdb", 10 * BLOCK + 512)];

fn run(text: &[u8]) -> Result<BTreeMap<String, BlockSet>, Error> {
    let disks = DISKS.iter().map(|&(name, bytes)| (name.to_owned(), bytes)).collect();
    read(text, "ranges.txt", &disks)
}

fn runs(sets: &BTreeMap<String, BlockSet>, disk: &str) -> Vec<Range<u64>> {
    sets[disk].runs().collect()
}

#[test]
fn ranges_become_blocks_and_merge() {
    let sets = run(b"sda 0 1\nsda 65536 65536\n# words\n\n  sdb\t655360 512 \r\nsda 200000 65536")
        .unwrap();
    assert_eq!(runs(&sets, "sda"), [0..2, 3..5]);
    assert_eq!(runs(&sets, "sdb"), vec![10..11; 1]);
    assert_eq!(sets["sda"].blocks(), 4);
}

#[test]
fn every_disk_has_an_answer() {
    let sets = run(b"").unwrap();
    assert_eq!((runs(&sets, "sda").len(), runs(&sets, "sdb").len()), (0, 0));
}

#[test]
fn an_empty_range_names_no_block() {
    assert_eq!(run(b"sda 65536 0\nsda 0 0").unwrap()["sda"].blocks(), 0);
}

#[test]
fn a_whole_disk_is_one_run_over_page_borders() {
    let disks = BTreeMap::from([("big".to_owned(), 10_000 * BLOCK)]);
    let text = format!("big 0 {}", 10_000 * BLOCK);
    let sets = read(text.as_bytes(), "f", &disks).unwrap();
    assert_eq!(runs(&sets, "big"), vec![0..10_000; 1]);
}

#[test]
fn each_mistake_names_its_line() {
    let long = [b"sda 0 1\n".as_slice(), &[b'x'; 2000]].concat();
    let cases: [(&[u8], &str); 9] = [
        (b"sda 0 1\nsda 0", "line 2: has not exactly three words"),
        (b"sda 0 1 1", "line 1: has not exactly three words"),
        (b"sda -1 1", "line 1: has an offset «-1»"),
        (b"sda 0 0x10", "line 1: has a length «0x10»"),
        (b"sda 0 99999999999999999999", "beyond any disk"),
        (b"\n\nsdc 0 1", "line 3: names a disk «sdc»"),
        (b"sdb 655360 513", "line 1: goes past the end of sdb, which has 655872 bytes"),
        (b"sda \xFF 1", "line 1: is no UTF-8"),
        (&long, "line 2: is longer than 1024 bytes"),
    ];
    for (text, expected) in cases {
        let error = run(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} should contain {expected}");
        assert!(error.starts_with("ranges.txt, line "), "{error}");
    }
    assert!(run(b"sda 18446744073709551615 2").is_err(), "the sum overflows");
}

#[test]
fn noise_never_panics() {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let letters = b"sdab 0123456789\n#\xC3-";
    for _ in 0..2000 {
        let mut text = Vec::new();
        for _ in 0..200 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text.push(letters[usize::try_from(state % letters.len() as u64).unwrap()]);
        }
        let _ = run(&text);
    }
}

#[test]
fn memory_is_bounded_by_the_disk_not_the_file() {
    let disks = BTreeMap::from([("big".to_owned(), 8 << 40)]);
    let mut text = String::new();
    for step in 0..50_000_u64 {
        text.push_str(&format!("big {} 512\n", (step * 7_919 % 1000) << 30));
    }
    let sets = read(text.as_bytes(), "f", &disks).unwrap();
    assert!(sets["big"].pages.len() <= 1000);
}

#[test]
fn many_runs_become_few_ranges_that_hold_them_all() {
    let disks = BTreeMap::from([("big".to_owned(), 10_000 * BLOCK + 512)]);
    let mut text = String::new();
    for block in (0..10_001).step_by(3) {
        text.push_str(&format!("big {} 1\n", block * BLOCK));
    }
    let set = &read(text.as_bytes(), "f", &disks).unwrap()["big"];
    let exact = set.ranges(10_000 * BLOCK + 512, 1_000_000);
    assert_eq!(exact.len(), 3334);
    assert_eq!(exact[1], (3 * BLOCK, BLOCK));
    let few = set.ranges(10_000 * BLOCK + 512, 50);
    assert!((1..=50).contains(&few.len()), "{}", few.len());
    for (offset, _) in exact {
        assert!(
            few.iter().any(|&(start, length)| (start..start + length).contains(&offset)),
            "{offset}"
        );
    }
    let (start, length) = few[few.len() - 1];
    assert!(start + length <= 10_000 * BLOCK + 512, "no range goes past the end");
}
