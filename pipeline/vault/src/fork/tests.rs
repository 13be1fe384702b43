//! Who may write into a chain before, during and after a failover.

use std::sync::Arc;

use hal::disk::Disk;
use hal_sim::SimDisk;
use hal_sim::random::Random;
use pipeline::ids::{Digest, WriterId};

use super::*;
use crate::error::Blame;
use crate::record::{Record, Trail};
use crate::retain::Policy;
use crate::store::memory::MemoryStore;
use crate::test_bed::{BLOCK, SERVER, access, assert_same, point, restored, scribble};
use crate::upkeep;
use crate::writer::{DiskJob, Options, Run, Silent, Writer};

const BYTES: u64 = 40 * BLOCK;

fn options() -> Options {
    Options { workers: 1, host: "here".to_owned(), ..Options::default() }
}

/// A vault with so many points of a disk that changes, and what the disk is now.
fn history(points: u32) -> (Access, SimDisk, Vec<PointId>) {
    let access = access(Arc::new(MemoryStore::new()), 7);
    let (disk, mut random) = (SimDisk::new(BYTES), Random::new(7));
    let mut made = Vec::new();
    for _ in 0..points {
        scribble(&disk, BYTES, &mut random, 6);
        made.push(point(&access, &disk, &options()).expect("a point").id);
    }
    (access, disk, made)
}

fn points(access: &Access) -> Vec<PointId> {
    let view = read_chain(access, SERVER).expect("a chain");
    view.points().filter_map(|link| link.record.point()).map(|point| point.id).collect()
}

#[test]
fn after_a_failover_nobody_adds_a_point_until_it_is_over() {
    let (access, disk, made) = history(2);
    let fork = publish(&access, SERVER, "order-1", made[0]).expect("a fork");
    assert_eq!((fork.point, fork.order.as_str()), (made[0], "order-1"));
    assert_eq!(standing(&read_chain(&access, SERVER).unwrap()), Some(fork.clone()));
    let refused = point(&access, &disk, &options()).expect_err("no point");
    assert_eq!(refused.blame, Blame::Refused);
    assert!(refused.to_string().contains("failed over to point"), "{refused}");
    assert!(refused.to_string().contains("order-1"), "{refused}");
    assert_eq!(points(&access), made);

    assert!(end(&access, SERVER, "order-1", End::Cancelled).expect("an end"));
    assert_eq!(standing(&read_chain(&access, SERVER).unwrap()), None);
    let after = point(&access, &disk, &options()).expect("a point").id;
    assert_eq!(points(&access), [made, vec![after]].concat());
    assert_same(&restored(&access, "latest").expect("a disk"), &disk, BYTES);
    // Said twice because a reply was lost: only while nothing came after it.
    assert!(end(&access, SERVER, "order-1", End::Cancelled).is_err());
}

#[test]
fn a_writer_that_was_at_it_when_the_failover_came_publishes_nothing() {
    let (access, disk, made) = history(1);
    let mut writer = Writer::open(&access, SERVER, options()).expect("a writer");
    let fork = publish(&access, SERVER, "order-1", made[0]).expect("a fork");
    let job = || DiskJob {
        name: "sda".to_owned(),
        identity: "wwn-1".to_owned(),
        disk: disk.another().expect("a disk"),
        changed: None,
    };
    let refused = writer.run(vec![job()], &Run::from(&options()), &Silent).expect_err("no point");
    assert_eq!(refused, stands(SERVER, &fork));
    // And not after the end either: it does not know what happened in between.
    end(&access, SERVER, "order-1", End::Accepted).expect("an end");
    assert!(writer.run(vec![job()], &Run::from(&options()), &Silent).is_err());
    assert_eq!(points(&access), made);
}

#[test]
fn an_order_says_it_twice_changes_its_point_and_keeps_others_out() {
    let (access, _, made) = history(3);
    let fork = publish(&access, SERVER, "order-1", made[1]).expect("a fork");
    assert_eq!(publish(&access, SERVER, "order-1", made[1]).expect("the same"), fork);
    let moved = publish(&access, SERVER, "order-1", made[0]).expect("another point");
    assert_eq!((moved.point, moved.epoch), (made[0], fork.epoch + 1));
    let other = publish(&access, SERVER, "order-2", made[1]).expect_err("another order");
    assert_eq!(other, stands(SERVER, &moved));
    assert_eq!(end(&access, SERVER, "order-2", End::Cancelled).expect_err("no"), other);
    assert!(end(&access, SERVER, "order-1", End::Cancelled).expect("an end"));
    assert!(!end(&access, SERVER, "order-1", End::Cancelled).expect("once more"));
    assert!(end(&access, SERVER, "order-2", End::Cancelled).is_err());
}

#[test]
fn what_cannot_be_failed_over_to_leaves_the_chain_as_it_was() {
    let (access, _, made) = history(1);
    for order in ["", "a~b", "a b", &"x".repeat(65)] {
        assert_eq!(publish(&access, SERVER, order, made[0]).unwrap_err().blame, Blame::Misuse);
    }
    assert!(publish(&access, SERVER, "order-1", PointId([9; 16])).is_err());
    let view = read_chain(&access, SERVER).unwrap();
    assert!(view.links.last().is_some_and(|link| link.record.point().is_some()));
}

#[test]
fn the_point_that_was_failed_over_to_outlives_every_policy_while_the_fork_stands() {
    let (access, _, made) = history(4);
    publish(&access, SERVER, "order-1", made[1]).expect("a fork");
    let policy = Policy::parse("last=1").unwrap();
    let sure = upkeep::Options { confirmed: true, ..upkeep::Options::default() };
    upkeep::run(&access, SERVER, &policy, &sure).expect("upkeep");
    assert_eq!(points(&access), [made[1], made[3]]);
    // The record itself stays too.
    assert!(standing(&read_chain(&access, SERVER).unwrap()).is_some());
    restored(&access, &made[1].to_string()).expect("a disk");
    // What was pruned cannot be failed over to.
    assert!(publish(&access, SERVER, "order-1", made[0]).is_err());
    end(&access, SERVER, "order-1", End::Cancelled).expect("an end");
    upkeep::run(&access, SERVER, &policy, &sure).expect("upkeep");
    assert_eq!(points(&access), [made[3]]);
}

/// FORMAT.md "Fork" has these bytes by name.
#[test]
fn the_bytes_of_both_records_do_not_change_by_accident() {
    let fork = Fork {
        epoch: 3,
        order: "f-1".to_owned(),
        point: PointId([0x11; 16]),
        slot: 300,
        time: 1_700_000_000_000,
    };
    let ended = ForkEnded {
        epoch: 4,
        order: "f-1".to_owned(),
        how: End::Accepted,
        time: 1_700_000_000_001,
    };
    let record = |body| Record {
        server: SERVER,
        slot: 1,
        previous: Digest([0; 32]),
        writer: WriterId([2; 16]),
        writer_epoch: 3,
        local_time: 1,
        store_time: 2,
        trail: Trail::default(),
        body,
    };
    let head = 16 + 1 + 32 + 16 + 3 + 4;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (body, golden) in [
        (Body::Fork(fork), "040303662d3111111111111111111111111111111111ac0280d095ffbc31"),
        (Body::ForkEnded(ended), "050403662d310181d095ffbc31"),
    ] {
        let record = record(body);
        let bytes = record.encode().unwrap();
        assert_eq!(hex(&bytes[head..]), golden);
        assert_eq!(Record::decode(&bytes).unwrap(), record);
        assert_eq!(record.trail_after().epoch, Some(1));
    }
}
