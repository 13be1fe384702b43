//! The keeper: many entries to one flush, room for what must always find room, and nothing acknowledged that is not there.

use hal_linux::SystemClock;
use hal_sim::{SimDisk, SimEntropy};
use pipeline::ids::ServerId;
use pipeline_wire::message::{Blocks, Content, DiskHello};
use pipeline_wire::runs::Run;

use super::*;
use crate::spool::layout::DISK_BYTES_MIN;
use crate::spool::{self, Owner, Spool};

fn life() -> Life {
    Life { server: ServerId([1; 16]), run: [2; 16] }
}

fn begin() -> Entry {
    let hello = DiskHello {
        name: "sda".to_owned(),
        identity: String::new(),
        bytes: 1 << 30,
        sector_bytes: 512,
    };
    Entry::Begin(life(), vec![SentDisk { hello, known: false }])
}

fn data(sequence: u64) -> (Entry, Vec<u8>) {
    let runs = vec![Run { first: sequence, blocks: 16 }];
    let blocks = Blocks { sequence, disk: 0, content: Content::Data, runs };
    (Entry::Blocks(life(), blocks), vec![1; 16 * BLOCK_BYTES])
}

fn spool(disk: &SimDisk, seed: u64) -> Box<dyn Records> {
    let owner = Owner::new(&SimEntropy::new(1)).unwrap();
    if seed == 0 {
        spool::format(disk.reopen(), &owner, &SimEntropy::new(2)).unwrap();
    }
    Box::new(Spool::open(disk.reopen(), &owner, &SimEntropy::new(seed + 3)).unwrap().0)
}

fn hub(ledger: &Ledger) -> Arc<Hub> {
    Arc::new(Hub::new(ledger, Mark::default(), true, Arc::new(SystemClock)))
}

#[test]
fn a_full_spool_keeps_its_order_and_can_always_be_emptied() {
    let disk = SimDisk::new(DISK_BYTES_MIN);
    let mut keeper = Keeper::new(spool(&disk, 0), Ledger::default(), Mark::default());
    let hub = hub(&Ledger::default());
    keeper.keep(&hub, vec![(begin(), Vec::new())]).unwrap();
    keeper.keep(&hub, (1..=100).map(data).collect()).unwrap();
    let kept = keeper.ledger.standing(&life().server).unwrap().sequence;
    assert!((40..62).contains(&kept), "{kept}");
    // The rest was put back, and is next.
    let Task::Keep(rest) = hub.next() else { panic!("nothing was put back") };
    assert_eq!(rest[0].0, data(kept + 1).0);
    let (done, ended) = std::sync::mpsc::sync_channel(1);
    let mut up_to = keeper.records.head();
    let mut reader = keeper.records.reader().unwrap();
    let durable = keeper.records.sync().unwrap();
    for _ in 0..30 {
        if let Read::Record { after, .. } = reader.read(up_to, durable).unwrap() {
            up_to = after;
        }
    }
    let point = pipeline::ids::PointId([9; 16]);
    let vaulted = vec![(life().server, 3, point)];
    let release = Release { up_to, vaulted, lost: Vec::new(), former: Vec::new(), done };
    keeper.release(&hub, release).unwrap();
    ended.recv().unwrap();
    keeper.keep(&hub, vec![data(kept + 1)]).unwrap();
    drop(keeper);
    disk.cut_power(5);
    // Where the server stands is known although its beginning was let go.
    let mut records = spool(&disk, 1);
    let found = read_all(&mut *records).unwrap();
    let standing = found.ledger.standing(&life().server).unwrap();
    assert_eq!((standing.sequence, standing.vaulted), (kept + 1, Some((3, point))));
    assert!(found.lives.contains_key(&life()) && found.lost == 0);
}

#[test]
fn what_is_no_entry_counts_as_lost() {
    let disk = SimDisk::new(DISK_BYTES_MIN);
    let mut records = spool(&disk, 0);
    records.append(&[b"nonsense"]).unwrap();
    let known = Standing::begin(life(), Vec::new());
    records.append(&[&journal::emit(&Entry::Standings(vec![known]))]).unwrap();
    let found = read_all(&mut *records).unwrap();
    assert_eq!((found.lost, found.ledger.standings().count()), (1, 1));
}
