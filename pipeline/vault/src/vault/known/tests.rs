//! What a machine remembers, and what it makes of a vault that went back in time.

use super::*;
use crate::scratch::{Scratch, mutations};

const VAULT: VaultId = VaultId([7; 16]);
const SERVER: ServerId = ServerId([1; 16]);

fn head(slot: u64, byte: u8) -> Head {
    let point = Some((PointId([byte; 16]), 1000 + slot));
    Head { server: SERVER, slot, digest: Digest([byte; 32]), point }
}

fn load(scratch: &Scratch) -> Known {
    let (known, told) = Known::load(scratch.path(), VAULT).expect("a readable folder");
    assert_eq!(told, None);
    known
}

#[test]
fn nothing_known_passes_everything() {
    let scratch = Scratch::new();
    let known = load(&scratch);
    known.check_ring(0).expect("nothing is known");
    known.check_head(&SERVER, 0, &Digest([0; 32])).expect("nothing is known");
}

#[test]
fn older_rings_and_heads_are_a_rollback() {
    let scratch = Scratch::new();
    let mut known = load(&scratch);
    known.note_ring(5);
    known.note_ring(4);
    known.note_head(head(9, 9));
    known.note_head(head(8, 8));
    known.save().expect("a writable folder");
    let known = load(&scratch);
    assert_eq!(known.head(&SERVER), Some(&head(9, 9)));
    known.check_ring(5).and_then(|()| known.check_ring(6)).expect("as new or newer");
    let error = known.check_ring(4).expect_err("older");
    assert!(error.what.contains("rolled back") && error.what.contains("version 5"), "{error}");
    let error = known.check_head(&SERVER, 8, &Digest([8; 32])).expect_err("older");
    assert!(error.what.contains("record 9") && error.what.contains("0909"), "{error}");
    let error = known.check_head(&SERVER, 9, &Digest([8; 32])).expect_err("another object");
    assert!(error.what.contains("replaced"), "{error}");
    known.check_head(&SERVER, 9, &Digest([9; 32])).expect("the same");
    known.check_head(&SERVER, 10, &Digest([1; 32])).expect("newer");
    known.check_head(&ServerId([2; 16]), 0, &Digest([1; 32])).expect("another server");
}

#[test]
fn a_head_without_a_point_keeps_the_point_before_it() {
    let scratch = Scratch::new();
    let mut known = load(&scratch);
    known.note_head(head(9, 9));
    known.note_head(Head { point: None, ..head(10, 10) });
    let kept = known.head(&SERVER).expect("noted");
    assert_eq!((kept.slot, kept.point), (10, head(9, 9).point));
}

#[test]
fn two_processes_learn_from_each_other() {
    let scratch = Scratch::new();
    let (mut one, mut two) = (load(&scratch), load(&scratch));
    one.note_head(head(9, 9));
    one.note_ring(2);
    two.note_head(head(5, 5));
    two.note_head(Head { server: ServerId([0; 16]), ..head(3, 3) });
    two.note_ring(4);
    one.save().expect("a writable folder");
    two.save().expect("a writable folder");
    let known = load(&scratch);
    assert_eq!(known.head(&SERVER), Some(&head(9, 9)));
    assert_eq!(known.heads().len(), 2);
    assert!(known.check_ring(3).is_err());
}

#[test]
fn saving_at_once_loses_nothing() {
    let scratch = Scratch::new();
    std::thread::scope(|scope| {
        for byte in 0..8_u8 {
            let scratch = &scratch;
            scope.spawn(move || {
                for slot in 0..10 {
                    let mut known = load(scratch);
                    known.note_head(Head { server: ServerId([byte; 16]), ..head(slot, byte) });
                    known.save().expect("a writable folder");
                }
            });
        }
    });
    let known = load(&scratch);
    assert_eq!(known.heads().len(), 8);
    assert!(known.heads().iter().all(|head| head.slot == 9));
}

#[test]
fn a_damaged_file_is_set_aside_and_told() {
    let scratch = Scratch::new();
    let mut known = load(&scratch);
    known.note_ring(5);
    known.save().expect("a writable folder");
    let path = file_path(scratch.path(), VAULT);
    let bytes = fs::read(&path).expect("it was saved");
    fs::write(&path, &bytes[..bytes.len() - 1]).expect("a file");
    let (known, told) = Known::load(scratch.path(), VAULT).expect("a readable folder");
    assert!(told.is_some_and(|error| error.what.contains("damaged") && !error.remedy.is_empty()));
    known.check_ring(0).expect("nothing is known any more");
    assert!(path.with_extension("damaged").exists() && !path.exists());
    load(&scratch);
}

#[test]
fn a_newer_file_is_neither_read_nor_overwritten() {
    let scratch = Scratch::new();
    let state = State { vault: VAULT, ring_version: 1, heads: vec![] };
    let mut bytes = encode(&state).expect("small");
    bytes[8] = 2;
    let sum = digest(&[&bytes[..10], &bytes[HEADER_BYTES..]]);
    bytes[10..HEADER_BYTES].copy_from_slice(&sum.0);
    let path = file_path(scratch.path(), VAULT);
    fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
    fs::write(&path, &bytes).expect("a file");
    assert!(Known::load(scratch.path(), VAULT).is_err());
    assert_eq!(fs::read(&path).ok(), Some(bytes));
}

#[test]
fn forgetting_is_for_good() {
    let scratch = Scratch::new();
    let mut known = load(&scratch);
    known.note_ring(5);
    known.save().expect("a writable folder");
    known.forget().expect("a writable folder");
    known.forget().expect("forgotten already");
    load(&scratch).check_ring(1).expect("nothing is known");
}

#[test]
fn mutated_files_are_damaged_and_never_panic() {
    let heads = vec![head(9, 9), Head { server: ServerId([2; 16]), ..head(3, 3) }];
    let state = State { vault: VAULT, ring_version: 5, heads };
    let bytes = encode(&state).expect("small");
    assert!(matches!(decode(&bytes), Ok(back) if back == state));
    mutations(&bytes, 20_000, |changed| {
        assert!(changed == bytes || matches!(decode(changed), Err(Unread::Damaged)));
    });
}

#[test]
fn the_folder_is_the_users_or_the_systems() {
    let variables = |pairs: &'static [(&'static str, &'static str)]| {
        move |name: &str| {
            let found = pairs.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        }
    };
    let at =
        |pairs, is_root| folder(&variables(pairs), is_root).map(|path| path.display().to_string());
    let home = &[("HOME", "/home/op"), ("LIFEBOAT_STATE", "")];
    assert_eq!(at(home, false).as_deref(), Some("/home/op/.local/state/lifeboat"));
    assert_eq!(at(home, true).as_deref(), Some("/var/lib/lifeboat"));
    let state = &[("HOME", "/home/op"), ("XDG_STATE_HOME", "/state")];
    assert_eq!(at(state, false).as_deref(), Some("/state/lifeboat"));
    assert_eq!(at(&[("LIFEBOAT_STATE", "/here")], true).as_deref(), Some("/here"));
    assert_eq!(at(&[], false), None);
}
