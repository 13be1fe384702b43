//! The suite that every store passes: each store's test file hands it a factory, and a broken rule is a panic that
//! names it.
//!
//! It is in the library, so that stores of other crates run the same one. It never assumes that a store is fast.

use std::collections::BTreeSet;
use std::thread;

use crate::error::Blame;
use crate::store::{BlobStore, Created, LIST_PAGE_MAX, check_name, list_all};

/// The largest body that the suite sends: a whole segment.
const LARGE_BYTES: usize = 8 * 1024 * 1024;
/// Threads that create one name at once.
const RIVALS: u8 = 6;

/// One rule, checked on a fresh store.
type Rule = fn(&dyn BlobStore);

/// Runs every rule, each on a fresh store of the factory's making.
///
/// # Panics
/// Where the store breaks a rule.
pub fn run(make: &dyn Fn() -> Box<dyn BlobStore>) {
    let rules: [(&str, Rule); 16] = [
        ("preparing twice does no harm", preparing_twice_does_no_harm),
        ("bodies of all sizes come back", bodies_of_all_sizes_come_back),
        ("an existing object is never changed", an_existing_object_is_never_changed),
        ("any range can be read", any_range_can_be_read),
        ("a range beyond the end is corrupt", a_range_beyond_the_end_is_corrupt),
        ("a missing object is told as missing", a_missing_object_is_told_as_missing),
        ("a larger object than allowed is refused", a_larger_object_is_refused),
        ("names with every allowed character work", names_with_every_character_work),
        ("names that no store can keep are refused", impossible_names_are_refused),
        ("facts tell length and time", facts_tell_length_and_time),
        ("listings are in order of whole names", listings_are_in_order),
        ("listings keep to their prefix", listings_keep_to_their_prefix),
        ("pages cover everything once", pages_cover_everything_once),
        ("deleting answers name by name", deleting_answers_name_by_name),
        ("of rivals exactly one creates", of_rivals_exactly_one_creates),
        ("an object appears whole or not at all", an_object_appears_whole),
    ];
    for (rule, check) in rules {
        log::debug!("conformance: {rule}");
        let store = make();
        store.prepare().unwrap_or_else(|error| panic!("{rule}: preparing failed: {error}"));
        check(&*store);
    }
}

fn preparing_twice_does_no_harm(store: &dyn BlobStore) {
    create(store, "vault", b"marker");
    store.prepare().expect("a vault can be prepared again");
    assert_eq!(read_all(store, "vault"), b"marker");
    assert!(!store.place().is_empty() && store.parallel() > 0);
    assert!(store.now().expect("a store knows the time") > 1_600_000_000_000, "it is after 2020");
}

fn bodies_of_all_sizes_come_back(store: &dyn BlobStore) {
    for length in [0, 1, 4095, 4096, 65_537, LARGE_BYTES] {
        let name = format!("body/{length}");
        let body = pattern(length, 7);
        create(store, &name, &body);
        assert!(read_all(store, &name) == body, "a body of {length} bytes came back changed");
        let facts = store.facts(&name).expect("facts of what was just made").expect("it exists");
        assert_eq!(facts.bytes, length as u64);
    }
}

fn an_existing_object_is_never_changed(store: &dyn BlobStore) {
    let body = pattern(300_000, 1);
    create(store, "slot/1", &body);
    assert_eq!(store.create("slot/1", &body), Ok(Created::Same), "the same bytes are the same");
    let mut other = body.clone();
    other[299_999] ^= 1;
    assert_eq!(store.create("slot/1", &other), Ok(Created::Taken), "the last byte differs");
    assert_eq!(store.create("slot/1", &body[..299_999]), Ok(Created::Taken), "shorter differs");
    assert_eq!(store.create("slot/1", b""), Ok(Created::Taken), "empty differs");
    assert!(read_all(store, "slot/1") == body, "a refused create changed the object");
    create(store, "slot/2", b"");
    assert_eq!(store.create("slot/2", b""), Ok(Created::Same));
    assert_eq!(store.create("slot/2", b"x"), Ok(Created::Taken));
}

fn any_range_can_be_read(store: &dyn BlobStore) {
    let body = pattern(200_000, 3);
    create(store, "ranges", &body);
    for (start, end) in
        [(0, 0), (0, 1), (199_999, 200_000), (200_000, 200_000), (1, 131_073), (65_536, 131_072)]
    {
        let mut into = vec![0xEE; end - start];
        store.read("ranges", start as u64, &mut into).expect("a range within the object");
        assert!(into == body[start..end], "bytes {start}..{end} came back changed");
    }
    create(store, "empty", b"");
    store.read("empty", 0, &mut []).expect("nothing of nothing");
}

fn a_range_beyond_the_end_is_corrupt(store: &dyn BlobStore) {
    create(store, "short", &pattern(1000, 4));
    for (offset, length) in [(0, 1001), (999, 2), (1000, 1), (5000, 1), (u64::MAX, 1), (5000, 0)] {
        let error = store.read("short", offset, &mut vec![0; length]);
        let error = error.expect_err("a range beyond the end");
        assert_eq!(error.blame, Blame::Corrupt, "{offset}+{length}: {error}");
        assert!(!error.is_missing(), "a short object is not a missing one");
    }
}

fn a_missing_object_is_told_as_missing(store: &dyn BlobStore) {
    create(store, "here/object", b"1");
    for name in ["gone", "here/gone", "nowhere/gone"] {
        let read = store.read(name, 0, &mut [0]).expect_err("a missing object");
        let whole = store.read_all(name, 10).expect_err("a missing object");
        for error in [read, whole] {
            assert!(error.is_missing() && error.blame == Blame::Corrupt, "{name}: {error}");
            assert!(error.object.contains(name), "{error} does not name {name}");
        }
        assert_eq!(store.facts(name), Ok(None));
    }
}

fn a_larger_object_is_refused(store: &dyn BlobStore) {
    create(store, "large", &pattern(1000, 5));
    assert_eq!(store.read_all("large", 1000).map(|body| body.len()), Ok(1000));
    let error = store.read_all("large", 999).expect_err("larger than allowed");
    assert_eq!(error.blame, Blame::Corrupt);
}

fn names_with_every_character_work(store: &dyn BlobStore) {
    let long = "a".repeat(crate::store::NAME_PART_BYTES_MAX);
    let deep = "d/".repeat(20) + "end";
    let names = ["abcdefghijklmnopqrstuvwxyz0123456789-_.x", "a.b/c..d/e-f_g", "0", &long, &deep];
    for (index, name) in names.iter().enumerate() {
        create(store, name, name.as_bytes());
        assert_eq!(read_all(store, name), name.as_bytes());
        assert_eq!(list_all(store, name).expect("a listing").len(), 1, "{name}");
        assert_eq!(list_all(store, "").expect("a listing").len(), index + 1);
    }
}

fn impossible_names_are_refused(store: &dyn BlobStore) {
    let long_part = "a".repeat(crate::store::NAME_PART_BYTES_MAX + 1);
    let long = "a/".repeat(crate::store::NAME_BYTES_MAX / 2) + "a";
    for name in [
        "", "/", "/a", "a/", "a//b", "..", "a/../b", ".hidden", "a.", "A", "a b", "ä", "a\0b",
        "a\\b", "a*", &long_part, &long,
    ] {
        assert!(check_name(name).is_err());
        let refused = store.create(name, b"x").expect_err("a name that cannot be");
        assert_eq!(refused.blame, Blame::Misuse, "{name:?}: {refused}");
        assert!(store.read(name, 0, &mut []).is_err() && store.read_all(name, 1).is_err());
        assert!(store.facts(name).is_err());
        assert!(store.delete(&[name.to_owned()])[0].is_err());
    }
    assert!(list_all(store, "").expect("a listing").is_empty(), "a refused name left something");
    for prefix in ["/", "../", "a//", "A", ".", "a/../"] {
        assert!(list_all(store, prefix).expect("a listing").is_empty(), "{prefix:?} lists nothing");
    }
}

fn facts_tell_length_and_time(store: &dyn BlobStore) {
    let before = store.now().expect("the time");
    create(store, "facts", b"12345");
    let facts = store.facts("facts").expect("facts").expect("it exists");
    assert_eq!((facts.name.as_str(), facts.bytes), ("facts", 5));
    // Stores keep whole seconds, and a network file system has a clock of its own.
    assert!(facts.modified.abs_diff(before) < 600_000, "made {} at {before}", facts.modified);
    let listed = list_all(store, "facts").expect("a listing");
    assert_eq!(listed, [facts], "a listing tells the same as facts");
}

fn listings_are_in_order(store: &dyn BlobStore) {
    // The order of whole names differs from that of a tree's parts around the slash: - and . come before it.
    let names = ["a", "a-b", "a.b", "a0", "aa", "b-/x", "b.c", "b/a", "b/c/d", "b/c0", "b0", "c"];
    for name in names.iter().rev() {
        create(store, name, b"");
    }
    assert_eq!(names_of(store, ""), names);
    for limit in 1..=names.len() + 1 {
        assert_eq!(paged(store, "", limit), names, "in pages of {limit}");
    }
}

fn listings_keep_to_their_prefix(store: &dyn BlobStore) {
    for name in ["k/1", "k/10", "k/2", "k/2/x", "k2/1", "kk", "l"] {
        // Object stores keep `k/2` beside `k/2/x`; a folder cannot, and nobody relies on it.
        if name != "k/2/x" {
            create(store, name, b"");
        }
    }
    assert_eq!(names_of(store, "k/"), ["k/1", "k/10", "k/2"]);
    assert_eq!(names_of(store, "k"), ["k/1", "k/10", "k/2", "k2/1", "kk"]);
    assert_eq!(names_of(store, "k/1"), ["k/1", "k/10"]);
    assert_eq!(names_of(store, "k/10"), ["k/10"]);
    assert_eq!(names_of(store, "k/100"), [""; 0]);
    assert_eq!(names_of(store, "m/"), [""; 0]);
    assert_eq!(names_of(store, "l/"), [""; 0]);
    assert_eq!(paged(store, "k/", 1), ["k/1", "k/10", "k/2"]);
}

fn pages_cover_everything_once(store: &dyn BlobStore) {
    let names: BTreeSet<String> = (0..83_u32)
        .map(|index| format!("p{}/{:08x}", index % 3, index.wrapping_mul(0x9E37_79B9)))
        .collect();
    names.iter().for_each(|name| create(store, name, name.as_bytes()));
    let expected: Vec<String> = names.iter().cloned().collect();
    for limit in [1, 7, 82, 83, LIST_PAGE_MAX, usize::MAX] {
        assert_eq!(paged(store, "", limit), expected, "in pages of {limit}");
    }
    // What is made and deleted between two pages neither hides nor doubles what stays.
    let first = store.list("", None, 10).expect("a listing");
    create(store, "p0/00000000-new", b"");
    create(store, "p9/new", b"");
    store.delete(&expected[..5]);
    let mut seen: Vec<String> = first.objects.iter().map(|facts| facts.name.clone()).collect();
    let mut next = first.next;
    while let Some(from) = next {
        let page = store.list("", Some(&from), 10).expect("a listing");
        seen.extend(page.objects.into_iter().map(|facts| facts.name));
        next = page.next;
    }
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "names ascend, none twice");
    assert!(expected[5..].iter().all(|name| seen.contains(name)), "what stayed is listed");
}

fn deleting_answers_name_by_name(store: &dyn BlobStore) {
    create(store, "d/1", b"1");
    create(store, "d/2", b"2");
    let names = ["d/1", "d/none", "other/none", "d/2"].map(String::from);
    let answers = store.delete(&names);
    assert_eq!(answers, [Ok(true), Ok(false), Ok(false), Ok(true)]);
    assert_eq!(store.facts("d/1"), Ok(None));
    assert!(store.read_all("d/2", 10).expect_err("deleted").is_missing());
    assert!(names_of(store, "").is_empty());
    create(store, "d/1", b"again");
    assert_eq!(read_all(store, "d/1"), b"again");
    assert!(store.delete(&[]).is_empty());
    let many: Vec<String> = (0..300).map(|index| format!("m/{index:03}")).collect();
    many.iter().step_by(2).for_each(|name| create(store, name, b""));
    let answers = store.delete(&many);
    let expected: Vec<_> = (0..300).map(|index| Ok(index % 2 == 0)).collect();
    assert_eq!(answers, expected, "more names than one batch takes");
}

fn of_rivals_exactly_one_creates(store: &dyn BlobStore) {
    for round in 0..8 {
        let name = format!("race/{round}");
        let outcomes: Vec<(u8, Created)> = thread::scope(|scope| {
            let rivals: Vec<_> = (0..RIVALS)
                .map(|rival| {
                    let name = &name;
                    let body = pattern(40_000, rival / 2);
                    scope.spawn(move || (rival, store.create(name, &body).expect("a create")))
                })
                .collect();
            rivals.into_iter().map(|rival| rival.join().expect("no rival panics")).collect()
        });
        let new: Vec<_> = outcomes.iter().filter(|(_, made)| *made == Created::New).collect();
        assert_eq!(new.len(), 1, "{outcomes:?}");
        let winner = new[0].0 / 2;
        for (rival, made) in &outcomes {
            let same = rival / 2 == winner;
            assert_eq!(same, *made != Created::Taken, "rival {rival} of winner {winner}: {made:?}");
        }
        assert!(read_all(store, &name) == pattern(40_000, winner), "the winner's bytes are kept");
    }
}

fn an_object_appears_whole(store: &dyn BlobStore) {
    let body = pattern(LARGE_BYTES, 9);
    thread::scope(|scope| {
        let writer = scope.spawn(|| store.create("whole", &body).expect("a create"));
        loop {
            let finished = writer.is_finished();
            let facts = store.facts("whole").expect("facts");
            if let Some(facts) = &facts {
                assert_eq!(facts.bytes, LARGE_BYTES as u64, "a reader saw a part");
                assert!(read_all(store, "whole") == body, "a reader saw other bytes");
            }
            assert!(names_of(store, "").len() <= 1, "a half-written object is listed");
            if finished {
                assert!(facts.is_some(), "a finished create is visible");
                break;
            }
        }
        assert_eq!(writer.join().expect("the writer does not panic"), Created::New);
    });
}

/// Bytes that differ everywhere and between seeds.
fn pattern(length: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

fn create(store: &dyn BlobStore, name: &str, body: &[u8]) {
    let made = store.create(name, body).unwrap_or_else(|error| panic!("creating {name}: {error}"));
    assert_eq!(made, Created::New, "{name} is a fresh name");
}

fn read_all(store: &dyn BlobStore, name: &str) -> Vec<u8> {
    store
        .read_all(name, LARGE_BYTES as u64)
        .unwrap_or_else(|error| panic!("reading {name}: {error}"))
}

fn names_of(store: &dyn BlobStore, prefix: &str) -> Vec<String> {
    let all = list_all(store, prefix).unwrap_or_else(|error| panic!("listing {prefix}: {error}"));
    all.into_iter().map(|facts| facts.name).collect()
}

fn paged(store: &dyn BlobStore, prefix: &str, limit: usize) -> Vec<String> {
    let mut names = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let page = store.list(prefix, next.as_deref(), limit);
        let page = page.unwrap_or_else(|error| panic!("listing {prefix}: {error}"));
        assert!(page.objects.len() <= limit, "a page is larger than asked for");
        names.extend(page.objects.into_iter().map(|facts| facts.name));
        match page.next {
            Some(more) => next = Some(more),
            None => return names,
        }
    }
}
