//! A ticket opens its point and nothing else, before and after frames were moved.

use std::sync::Arc;

use hal::disk::Disk;
use hal_sim::random::Random;
use hal_sim::{SimClock, SimDisk, SimEntropy};
use pipeline::ids::PointId;

use super::*;
use crate::points::read_chain;
use crate::reader::PointReader;
use crate::store::memory::MemoryStore;
use crate::test_bed::{BLOCK, relocate, scribble};
use crate::vault::Vault;
use crate::verify::{self, Depth};
use crate::writer::{DiskJob, Options, Silent, protect};

const BYTES: u64 = 200 * BLOCK;

struct Bed {
    store: Arc<MemoryStore>,
    vault: Vault,
    server: ServerId,
    disk: SimDisk,
    random: Random,
}

fn bed() -> Bed {
    let store = Arc::new(MemoryStore::new());
    let clock = Arc::new(SimClock::default());
    let entropy = Arc::new(SimEntropy::new(1));
    let (mut vault, _) = Vault::create(store.clone(), clock, entropy).expect("an empty place");
    let server = vault.enrol("db1").expect("a fresh name").id;
    let disk = SimDisk::new(BYTES);
    Bed { store, vault, server, disk, random: Random::new(2) }
}

impl Bed {
    fn point(&mut self, blocks: u64) -> PointId {
        scribble(&self.disk, BYTES, &mut self.random, blocks);
        let disk = self.disk.another().expect("a handle");
        let job = DiskJob { name: "sda".into(), identity: String::new(), disk, changed: None };
        let access = self.vault.access();
        protect(&access, self.server, vec![job], &Options::default(), &Silent).expect("a point").id
    }

    fn ticket(&self, point: &str) -> Ticket {
        let access = self.vault.access();
        let view = read_chain(&access, self.server).expect("a chain");
        let link = view.find(point).expect("a point");
        let request = Request { place: "memory:", server_name: "db1", expires: Some(u64::MAX) };
        fill(&access, &view, link, &request).expect("a ticket")
    }

    fn with(&self, ticket: &Ticket) -> Access {
        let (clock, entropy) = (Arc::new(SimClock::default()), Arc::new(SimEntropy::new(9)));
        access(ticket.clone(), self.store.clone(), clock, entropy).expect("it has not expired")
    }

    /// What the ticket alone gives back of its point.
    fn read(&self, ticket: &Ticket) -> Result<Vec<u8>, Error> {
        let access = self.with(ticket);
        let view = read_point(&access, ticket)?;
        let link = view.find("latest")?;
        let reader = PointReader::open(&access, &view, link, "sda", 1 << 20)?;
        let mut bytes = vec![0; usize::try_from(BYTES).expect("a small disk")];
        reader.read_at(0, &mut bytes)?;
        Ok(bytes)
    }
}

#[test]
fn a_ticket_alone_gives_its_point_back_and_opens_nothing_else() {
    let mut bed = bed();
    let before = bed.point(100);
    let wanted = bed.disk.content(0, usize::try_from(BYTES).expect("a small disk"));
    let ticket = bed.ticket(&before.to_string());
    bed.point(50);
    assert!(bed.read(&ticket).expect("its own point") == wanted);
    let access = bed.with(&ticket);
    let all = read_chain(&bed.vault.access(), bed.server).expect("a chain");
    for link in &all.links {
        let opened = read_slot(&access, &bed.server, link.record.slot).is_ok();
        assert_eq!(opened, link.record.slot == ticket.slot, "slot {}", link.record.slot);
    }
    assert!(read_chain(&access, bed.server).is_err(), "the chain as a whole stays closed");
    let frames = FrameReader::new(&access, bed.server, &all.upkeep, 1 << 20).expect("a reader");
    let newest = all.points().next_back().expect("a point").record.clone();
    for sent in newest.segments() {
        assert!(frames.table(&sent.segment).is_err(), "a newer point's segment opened");
    }
}

#[test]
fn a_ticket_opens_no_other_server_and_writes_nothing() {
    let mut bed = bed();
    bed.point(20);
    let ticket = bed.ticket("latest");
    let other = bed.vault.enrol("db2").expect("a fresh name").id;
    let access = bed.with(&ticket);
    assert!(access.keys.newest_record_key(&bed.server).is_none());
    assert!(access.keys.fingerprint_key(&other).is_none());
    assert!(access.keys.record_key(&other, ticket.slot, KeyEpoch(0)).is_none());
    let disk = bed.disk.another().expect("a handle");
    let job = DiskJob { name: "sda".into(), identity: String::new(), disk, changed: None };
    let written = protect(&access, bed.server, vec![job], &Options::default(), &Silent);
    assert!(written.is_err());
}

#[test]
fn frames_that_were_moved_open_by_ticket_after_a_rekey_too() {
    let mut bed = bed();
    bed.point(100);
    let wanted = bed.disk.content(0, usize::try_from(BYTES).expect("a small disk"));
    bed.vault.rekey(&[], None).expect("new keys");
    let access = bed.vault.access();
    let view = read_chain(&access, bed.server).expect("a chain");
    let sent = view.points().next().expect("a point").record.segments().to_vec();
    for segment in &sent {
        relocate(&access, bed.server, segment.segment);
        assert!(bed.store.lose(&names::segment(&bed.server, &segment.segment)));
    }
    let ticket = bed.ticket("latest");
    assert_eq!(ticket.objects.len(), 2, "the point and the newest upkeep");
    assert!(bed.read(&ticket).expect("its own point") == wanted);
    let report = verify::run(&access, &[bed.server], &verify::Options::new(Depth::Deep), &Silent);
    assert!(report.expect("a report").ok);
    // Without the keys of the segments that the frames were sealed in first, nothing opens.
    let mut less = ticket.clone();
    less.segments.retain(|known| sent.iter().all(|sent| sent.segment != known.segment));
    assert!(bed.read(&less).is_err());
}

#[test]
fn an_expired_ticket_is_refused_and_one_of_a_pruned_point_says_so() {
    let mut bed = bed();
    bed.point(20);
    let mut ticket = bed.ticket("latest");
    assert!(bed.store.lose(&names::chain_slot(&bed.server, ticket.slot)));
    let error = bed.read(&ticket).expect_err("gone");
    assert!(error.to_string().contains("pruned"), "{error}");
    ticket.expires = Some(0);
    let (clock, entropy) = (Arc::new(SimClock::default()), Arc::new(SimEntropy::new(9)));
    let refused = access(ticket, bed.store.clone(), clock, entropy).err().expect("expired");
    assert!(refused.to_string().contains("expired"), "{refused}");
}
