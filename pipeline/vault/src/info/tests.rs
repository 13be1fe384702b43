//! The figures of a small vault, against what was put in.

use std::sync::Arc;

use hal_sim::SimDisk;
use hal_sim::random::Random;

use super::*;
use crate::names;
use crate::store::BlobStore;
use crate::store::memory::MemoryStore;
use crate::test_bed::{BLOCK, SERVER, access, point, scribble};
use crate::writer::Options;

#[test]
fn classes_add_up_and_servers_are_told_by_name() {
    let store = Arc::new(MemoryStore::new());
    let access = access(store.clone(), 1);
    let bytes = 100 * BLOCK;
    let disk = SimDisk::new(bytes);
    let mut random = Random::new(1);
    let (mut new, mut sent) = (0, 0);
    for _ in 0..3 {
        scribble(&disk, bytes, &mut random, 40);
        let outcome = point(&access, &disk, &Options::default()).expect("a point");
        new += outcome.work.new_blocks * BLOCK;
        sent += outcome.work.stored_bytes;
    }
    store.overwrite("holiday.jpg", b"a beach");
    let servers = [(SERVER, "db1".to_owned())];
    let info = collect(&access, &servers, &Prices::default()).expect("figures");
    let sum = |part: fn(&Class) -> u64| info.classes.values().map(part).sum::<u64>();
    assert_eq!(sum(|class| class.objects), store.names().len() as u64);
    assert_eq!(sum(|class| class.bytes), store.bytes());
    assert_eq!((info.classes["other"].objects, info.classes["chain"].objects), (1, 6));
    let server = &info.servers[0];
    assert_eq!((server.name.as_str(), server.points), ("db1", 3));
    assert_eq!((server.disk_bytes, server.all_points_bytes), (bytes, 3 * bytes));
    assert_eq!((server.new_bytes, server.sent_bytes), (new, sent));
    assert!(server.compression.is_some_and(|ratio| ratio > 1.0));
    assert_eq!(server.trouble, None);
    assert_eq!(server.stored.objects, info.total.objects - 1);
}

#[test]
fn cost_follows_the_prices_the_tiers_and_the_last_thirty_days() {
    let store = Arc::new(MemoryStore::new());
    let access = access(store.clone(), 2);
    let half_gib = vec![0; 1 << 20];
    for number in 0..4 {
        store.overwrite(&format!("seg/{SERVER}/00/{number}"), &half_gib);
    }
    store.set_tier(&format!("seg/{SERVER}/00/0"), Tier::Archive);
    let prices = Prices {
        online_gib_month: 1024.0,
        archive_gib_month: 512.0,
        writes_10k: 10_000.0,
        reads_10k: 20_000.0,
        ..Prices::default()
    };
    let cost = collect(&access, &[], &prices).expect("figures").cost;
    assert_eq!((cost.storage_month, cost.writes_month), (3.0 + 0.5, 4.0));
    assert_eq!((cost.month, cost.read_all_once), (7.5, 8.0));
    store.advance(31 * DAY);
    assert_eq!(collect(&access, &[], &prices).expect("figures").cost.writes_month, 0.0);
}

#[test]
fn a_damaged_chain_is_told_and_the_rest_is_counted() {
    let store = Arc::new(MemoryStore::new());
    let access = access(store.clone(), 3);
    let disk = SimDisk::new(10 * BLOCK);
    for _ in 0..2 {
        point(&access, &disk, &Options::default()).expect("a point");
    }
    let name = names::chain_slot(&SERVER, 1);
    let mut body = store.read_all(&name, 1 << 20).expect("a record");
    body[90] ^= 1;
    store.overwrite(&name, &body);
    let info = collect(&access, &[(SERVER, String::new())], &Prices::default()).expect("figures");
    assert_eq!(info.servers[0].points, 1);
    assert!(info.servers[0].trouble.as_ref().is_some_and(|trouble| trouble.contains(&name)));
}
