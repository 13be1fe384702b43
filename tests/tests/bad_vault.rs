//! Any byte of any object flipped, any object cut, grown, missing, swapped or replaced by an older one, the whole
//! vault put back: a deep verify names the object, and a restore gives the right bytes or a clear error.
//!
//! Of larger objects a sample of the bytes is tried; `LIFEBOAT_FLIPS=N` tries N of each, and all of those that are smaller.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use hal_sim::random::Random;
use pipeline_vault::Error;
use pipeline_vault::expect;
use pipeline_vault::keys::ring::object_name;
use pipeline_vault::points::read_chain;
use pipeline_vault::verify::Depth;
use tests::small_vault::{Folder, SmallVault, restored, restored_from, verified};

/// The first object of each class is tried byte by byte, up to this many bytes.
const SMALL_BYTES: usize = 700;

/// Errors are one line that says something.
fn clear(error: &Error) {
    let line = error.to_string();
    assert!(line.len() > 10 && !line.contains('\n'), "{line}");
}

/// With `name` hurt: opening refuses and names it, or a deep verify names it.
fn noticed(vault: &SmallVault, name: &str, how: &str) {
    let opened = match vault.open() {
        Ok(opened) => opened,
        Err(error) => {
            clear(&error);
            assert!(name == "vault" || name.starts_with("keys/"), "{how} {name}: {error}");
            return;
        }
    };
    let report = verified(&opened, Depth::Deep, &vault.heads);
    // A missing head is noticed by the chain that ends too early.
    let chain = name.rsplit_once('/').map_or(name, |(chain, _)| chain);
    let named =
        |object: &str| object.contains(name) || (how == "missing" && object.contains(chain));
    if !report.ok && report.all_problems().any(|problem| named(&problem.object)) {
        return;
    }
    // What was pruned or condemned, or needed by damaged records alone, is told and costs nothing more.
    assert!(report.all_notices().any(|notice| named(&notice.object)), "{how} {name}: {report:#?}");
    let whole = never_wrong(vault, name);
    assert!(how == "swapped" || whole == vault.kept.len(), "{how} {name}: {report:#?}");
}

/// Every point comes back right or not at all. Gives how many came back.
fn never_wrong(vault: &SmallVault, how: &str) -> usize {
    let Ok(opened) = vault.open() else { return 0 };
    let mut whole = 0;
    for kept in &vault.kept {
        match restored(&opened, kept) {
            Ok(content) => {
                assert!(content == kept.content, "{how}: point {} came back wrong", kept.point);
                whole += 1;
            }
            Err(error) => clear(&error),
        }
    }
    whole
}

#[test]
fn the_vault_is_whole_before_anything_is_done_to_it() {
    let vault = SmallVault::new();
    let opened = vault.open().expect("its own key");
    let report = verified(&opened, Depth::Deep, &vault.heads);
    assert!(report.ok, "{report:#?}");
    assert_eq!(never_wrong(&vault, "whole"), vault.kept.len());
}

#[test]
fn a_flipped_bit_anywhere_is_noticed_and_never_restored() {
    let vault = SmallVault::new();
    let hurt = flip(&vault, 1, 16);
    assert!(hurt > 20, "only {hurt} flips cost a point");
}

#[test]
fn a_flipped_bit_is_noticed_in_pruned_and_compacted_vaults_with_indexes_and_pins() {
    let vault = SmallVault::kept_up();
    let opened = vault.open().expect("its own key");
    let report = verified(&opened, Depth::Deep, &vault.heads);
    assert!(report.ok, "{report:#?}");
    assert_eq!(never_wrong(&vault, "whole"), vault.kept.len());
    let hurt = flip(&vault, 4, 3);
    assert!(hurt > 20, "only {hurt} flips cost a point");
}

/// Flips bits in every object, so many in those that are not tried byte by byte; gives how many flips cost a point.
fn flip(vault: &SmallVault, seed: u64, tries: usize) -> usize {
    let more = std::env::var("LIFEBOAT_FLIPS").ok().and_then(|text| text.parse().ok());
    let tries = more.unwrap_or(tries);
    let mut random = Random::new(seed);
    let mut hurt = 0;
    let mut classes: BTreeSet<String> = BTreeSet::new();
    for name in vault.objects() {
        let body = vault.body(&name);
        let class = name.split('/').next().unwrap_or_default().to_owned();
        let is_first = classes.insert(class);
        let places: Vec<usize> = if is_first && body.len() <= SMALL_BYTES || body.len() <= tries {
            (0..body.len()).collect()
        } else {
            (0..tries).map(|_| below(&mut random, body.len())).collect()
        };
        for (number, at) in places.into_iter().enumerate() {
            let mut bad = body.clone();
            bad[at] ^= 1 << random.below(8);
            vault.put(&name, &bad);
            noticed(vault, &name, "flipped");
            if number % 8 == 0 {
                let whole = never_wrong(vault, &name);
                hurt += usize::from(whole < vault.kept.len());
            }
        }
        vault.put(&name, &body);
    }
    hurt
}

#[test]
fn cut_grown_emptied_and_missing_objects_are_noticed_and_never_restored() {
    let vault = SmallVault::new();
    let mut random = Random::new(2);
    let newest_ring = object_name(vault.open().expect("its own key").ring().version());
    for name in vault.objects() {
        let body = vault.body(&name);
        let cut = below(&mut random, body.len());
        let mut grown = body.clone();
        grown.extend_from_slice(&[0; 7]);
        let states = [
            ("cut", &body[..cut]),
            ("short", &body[..body.len() - 1]),
            ("grown", &grown),
            ("empty", &[]),
        ];
        for (how, bytes) in states {
            vault.put(&name, bytes);
            noticed(&vault, &name, how);
            never_wrong(&vault, &name);
        }
        vault.lose(&name);
        // Older key rings hold nothing that the newest does not, and a rekey deletes them.
        if !name.starts_with("keys/") || name.starts_with(&newest_ring) {
            noticed(&vault, &name, "missing");
        }
        never_wrong(&vault, &name);
        vault.put(&name, &body);
    }
    assert_eq!(never_wrong(&vault, "mended"), vault.kept.len());
}

#[test]
fn swapped_objects_are_both_noticed_and_never_restored() {
    let vault = SmallVault::new();
    let names = vault.objects();
    let mut random = Random::new(3);
    for one in &names {
        for _ in 0..4 {
            let other = &names[below(&mut random, names.len())];
            let (left, right) = (vault.body(one), vault.body(other));
            // A key ring and its copy are the same bytes.
            if left == right {
                continue;
            }
            vault.put(one, &right);
            vault.put(other, &left);
            for name in [one, other] {
                noticed(&vault, name, "swapped");
            }
            never_wrong(&vault, one);
            vault.put(one, &left);
            vault.put(other, &right);
        }
    }
}

#[test]
fn records_of_a_fork_of_the_vault_are_told_from_ours() {
    let mut vault = SmallVault::new();
    let fork = Folder::new();
    copy(&vault.place(), &fork.path().join("before"));
    vault.point("db1", 11);
    copy(&vault.place(), &fork.path().join("theirs"));
    let theirs: Vec<String> = vault.objects();
    let (kept, heads) = (vault.kept.pop(), vault.heads.clone());
    assert!(kept.is_some());
    fs::remove_dir_all(vault.place()).expect("our own folder");
    copy(&fork.path().join("before"), &vault.place());
    vault.point("db1", 12);
    vault.point("db1", 13);
    assert_ne!(heads, vault.heads);
    let mut replaced = 0;
    for name in theirs {
        let their = fs::read(fork.path().join("theirs").join(&name)).expect("an object");
        let path = vault.place().join(&name);
        if !path.is_file() || vault.body(&name) == their {
            continue;
        }
        let ours = vault.body(&name);
        // Sealed with the right keys, under the right name: only the links between records tell.
        vault.put(&name, &their);
        noticed_fork(&vault, &name);
        never_wrong(&vault, &name);
        vault.put(&name, &ours);
        replaced += 1;
    }
    assert!(replaced >= 2, "an epoch-open and a point at least");
}

/// A record that was replaced by a fork's is named, or the one after it, which does not follow.
fn noticed_fork(vault: &SmallVault, name: &str) {
    let opened = vault.open().expect("its own key");
    let report = verified(&opened, Depth::Deep, &vault.heads);
    let chain = name.rsplit_once('/').map_or(name, |(chain, _)| chain);
    let blamed = report.all_problems().any(|problem| problem.object.starts_with(chain));
    assert!(!report.ok && blamed, "{name}: {report:#?}");
}

#[test]
fn a_whole_vault_put_back_is_noticed_by_whoever_saw_it_newer() {
    let mut vault = SmallVault::new();
    let old = Folder::new();
    copy(&vault.place(), &old.path().join("vault"));
    vault.point("db1", 21);
    vault.point("web", 22);
    let newest = vault.kept.iter().rfind(|kept| kept.server == "db1").expect("a point");
    let back = vault.open_at(&old.path().join("vault")).expect("an older state opens");
    assert!(verified(&back, Depth::Deep, &[]).ok, "it is whole in itself");
    let report = verified(&back, Depth::Shallow, &vault.heads);
    let told: Vec<_> =
        report.all_problems().filter(|problem| problem.what.contains("rolled back")).collect();
    assert_eq!(told.len(), 2, "both chains: {report:#?}");
    let server = back.server("db1").expect("a server").id;
    let view = read_chain(&back.access(), server).expect("a chain");
    let error = expect::point(&view, &newest.point).expect_err("rolled back");
    assert!(error.to_string().contains("the vault was rolled back"), "{error}");
    let head = vault.heads.iter().find(|head| head.server == server).expect("a head");
    assert!(expect::head(&view, head).is_err());
    // What the older state still has comes back right.
    let first = &vault.kept[0];
    let content = restored_from(&back.access(), &view, &first.point).expect("an older point");
    assert!(content == first.content);
}

#[test]
fn one_chain_put_back_is_noticed_by_the_other() {
    let mut vault = SmallVault::new();
    let old = Folder::new();
    copy(&vault.place(), &old.path().join("vault"));
    vault.point("db1", 31);
    vault.point("web", 32);
    let server = vault.open().expect("its own key").server("db1").expect("a server").id;
    let newer: Vec<String> = vault
        .objects()
        .into_iter()
        .filter(|name| name.contains(&server.to_string()))
        .filter(|name| !old.path().join("vault").join(name).exists())
        .collect();
    assert!(newer.len() >= 3, "two records and a segment: {newer:?}");
    newer.iter().for_each(|name| vault.lose(name));
    let opened = vault.open().expect("its own key");
    let report = verified(&opened, Depth::Shallow, &[]);
    let told = report.all_problems().find(|problem| problem.what.contains("rolled back"));
    assert!(told.is_some_and(|told| told.object.contains(&server.to_string())), "{report:#?}");
}

fn below(random: &mut Random, limit: usize) -> usize {
    usize::try_from(random.below(limit.max(1) as u64)).expect("below a usize")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("room for a copy");
        }
    }
}
