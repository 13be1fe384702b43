//! Pieces: what closes them, whose turn it is, and from where records are needed.

use pipeline_wire::message::{Cut, DiskHello, Instant};
use pipeline_wire::runs::Run;

use super::*;

fn life(server: u8, run: u8) -> Life {
    Life { server: ServerId([server; 16]), run: [run; 16] }
}

fn disks(names: &[&str], blocks: u64) -> Vec<SentDisk> {
    let disk = |name: &&str| SentDisk {
        hello: DiskHello {
            name: (*name).to_owned(),
            identity: String::new(),
            bytes: blocks * BLOCK_BYTES as u64,
            sector_bytes: 512,
        },
        known: false,
    };
    names.iter().map(disk).collect()
}

fn blocks(life: Life, sequence: u64, disk: u16, first: u64, count: u32) -> Entry {
    let runs = vec![Run { first, blocks: count }];
    Entry::Blocks(life, Blocks { sequence, disk, content: Content::Data, runs })
}

fn cut(life: Life, sequence: u64, epoch: u64, verdict: Verdict) -> Entry {
    let (instant, remarks) = (Instant::Crash, Vec::new());
    let cut =
        Cut { sequence, epoch, instant, at_millis: 0, frozen_micros: 0, remarks, group: None };
    Entry::Cuts(vec![KeptCut { life, cut, verdict, came_millis: 0 }])
}

/// Marks of a ring in memory with records of one byte: each is a place of its own.
fn marks(count: usize) -> Vec<Mark> {
    use crate::spool::records::Records as _;
    let mut ring = crate::spool::memory::MemoryRing::new(1 << 25);
    (0..count).map(|_| ring.append(&[b"x"]).unwrap()).collect()
}

struct Journal {
    backlog: Backlog,
    marks: std::vec::IntoIter<Mark>,
}

impl Journal {
    fn new() -> Self {
        let backlog = Backlog::new(Mark::default(), core::iter::empty(), BTreeMap::new());
        Self { backlog, marks: marks(100).into_iter() }
    }

    /// The place before the entry.
    fn take(&mut self, entry: Entry) -> Mark {
        let at = self.backlog.cursor();
        assert_eq!(self.backlog.take(self.marks.next().unwrap(), entry), None);
        at
    }
}

#[test]
fn a_piece_is_what_came_between_two_cuts_and_records_are_needed_until_it_is_done() {
    let mut journal = Journal::new();
    let web = life(1, 1);
    journal.take(Entry::Begin(web, disks(&["sda"], 100)));
    let first = journal.take(blocks(web, 1, 0, 5, 2));
    journal.take(cut(web, 2, 1, Verdict::Point));
    let second = journal.take(blocks(web, 3, 0, 5, 1));
    assert_eq!(journal.backlog.needed_from(), first);
    let job = journal.backlog.next(0, &|_| false).unwrap();
    assert_eq!((job.sequence, job.extents[0].at(6)), (2, Some((7, Place::Record(first, 1)))));
    assert!(journal.backlog.next(0, &|_| false).is_none(), "one piece of a server at a time");
    assert_eq!(journal.backlog.finish(web.server), second);
    journal.backlog.free(web.server);
    assert!(journal.backlog.next(0, &|_| false).is_none(), "no cut closed what came behind");
    journal.take(cut(web, 4, 2, Verdict::Void));
    assert!(journal.backlog.next(0, &|_| false).is_none(), "a void cut closes nothing");
    assert!(journal.backlog.squeeze(0));
    let job = journal.backlog.next(0, &|_| false).unwrap();
    assert!(job.cut.is_none() && job.extents[0].at(5) == Some((6, Place::Record(second, 0))));
    journal.backlog.failed(web.server, 50);
    assert!(
        journal.backlog.next(49, &|_| false).is_none()
            && journal.backlog.next(50, &|_| false).is_some()
    );
}

#[test]
fn servers_take_turns_by_bytes() {
    let mut journal = Journal::new();
    let (busy, quiet) = (life(1, 1), life(2, 1));
    for server in [busy, quiet] {
        journal.take(Entry::Begin(server, disks(&["sda"], 1000)));
    }
    for epoch in 1..=3 {
        journal.take(blocks(busy, epoch * 2 - 1, 0, 0, 500));
        journal.take(cut(busy, epoch * 2, epoch, Verdict::Point));
        journal.take(blocks(quiet, epoch * 2 - 1, 0, 0, 1));
        journal.take(cut(quiet, epoch * 2, epoch, Verdict::Point));
    }
    let mut order = Vec::new();
    while let Some(job) = journal.backlog.next(0, &|_| false) {
        order.push(job.life.server.0[0]);
        journal.backlog.finish(job.life.server);
        journal.backlog.free(job.life.server);
    }
    assert_eq!(order, [1, 2, 2, 2, 1, 1]);
}

#[test]
fn another_run_goes_on_with_what_was_not_cut_and_the_disks_of_both_are_remembered() {
    let mut journal = Journal::new();
    let (old, new) = (life(1, 1), life(1, 2));
    journal.take(Entry::Begin(old, disks(&["sda", "sdb"], 100)));
    let first = journal.take(blocks(old, 1, 1, 90, 10));
    journal.take(Entry::Begin(new, disks(&["sdb", "sdc"], 95)));
    assert_eq!(journal.backlog.former(), [Standing::begin(old, disks(&["sda", "sdb"], 100))]);
    let second = journal.take(blocks(new, 1, 0, 91, 1));
    journal.take(cut(new, 2, 1, Verdict::Point));
    let job = journal.backlog.next(0, &|_| false).unwrap();
    let said = |block| job.extents[0].at(block).map(|(_, place)| place);
    assert_eq!(
        [said(90), said(91)],
        [Some(Place::Record(first, 0)), Some(Place::Record(second, 0))]
    );
    assert_eq!(
        [said(94), said(95)],
        [Some(Place::Record(first, 4)), None],
        "the disk became smaller"
    );
    assert!(job.extents[1].is_empty());
    journal.backlog.finish(old.server);
    assert_eq!(journal.backlog.former(), [], "nothing of it waits");
}

#[test]
fn what_the_vault_had_before_a_kill_is_not_put_there_again() {
    let web = life(1, 1);
    let known = Standing {
        vaulted: Some((4, pipeline::ids::PointId([1; 16]))),
        ..Standing::begin(web, disks(&["sda"], 9))
    };
    let lives = BTreeMap::from([(web, disks(&["sda"], 9))]);
    let backlog = Backlog::new(Mark::default(), [&known].into_iter(), lives);
    let mut journal = Journal { backlog, marks: marks(10).into_iter() };
    journal.take(blocks(web, 7, 0, 1, 1));
    journal.take(cut(web, 8, 4, Verdict::Point));
    assert!(journal.backlog.next(0, &|_| false).is_none());
    assert_eq!(journal.backlog.needed_from(), journal.backlog.cursor());
    assert_eq!(journal.backlog.settled(), [(web, 8)]);
    assert_eq!(journal.backlog.settled(), []);
    journal.take(blocks(web, 9, 0, 2, 1));
    journal.take(cut(web, 10, 5, Verdict::Point));
    let job = journal.backlog.next(0, &|_| false).unwrap();
    assert_eq!(job.extents[0].iter().count(), 1);
}

#[test]
fn after_a_loss_no_cut_holds_but_of_a_run_that_began_behind_it() {
    let mut journal = Journal::new();
    let (web, other) = (life(1, 1), life(2, 1));
    journal.take(Entry::Begin(web, disks(&["sda"], 9)));
    let after = journal.marks.next().unwrap();
    assert_eq!(journal.backlog.lose(after, 5), [web.server]);
    journal.take(blocks(web, 2, 0, 1, 1));
    journal.take(cut(web, 3, 1, Verdict::Point));
    assert!(journal.backlog.next(0, &|_| false).is_none());
    let unknown = journal.backlog.take(journal.marks.next().unwrap(), blocks(other, 9, 0, 1, 1));
    assert_eq!(unknown, Some(other.server), "its beginning was lost");
    journal.take(Entry::Begin(life(1, 2), disks(&["sda"], 9)));
    journal.take(cut(life(1, 2), 1, 2, Verdict::Point));
    assert!(journal.backlog.next(0, &|_| false).is_some());
}

#[test]
fn pieces_without_blocks_and_runs_without_cuts_take_room_too() {
    let mut journal = Journal::new();
    journal.marks = marks(20_000).into_iter();
    let web = life(1, 1);
    journal.take(Entry::Begin(web, disks(&["sda"], 100)));
    let mut epoch = 0;
    while journal.backlog.has_room() {
        assert!(epoch < 19_000, "cuts without blocks are taken without end");
        for _ in 0..500 {
            epoch += 1;
            journal.take(cut(web, epoch, epoch, Verdict::Point));
        }
    }
    let mut journal = Journal::new();
    journal.take(Entry::Begin(web, disks(&["sda"], 100)));
    journal.take(blocks(web, 1, 0, 1, 1));
    for run in 2..=60 {
        journal.take(Entry::Begin(life(1, run), disks(&["sda"], 100)));
    }
    assert!(journal.backlog.has_jobs(), "what is open was closed");
    journal.backlog.next(0, &|_| false).unwrap();
    journal.backlog.finish(web.server);
    assert_eq!(journal.backlog.former(), []);
}

#[test]
fn servers_that_are_paced_leave_a_worker_to_the_others() {
    let mut journal = Journal::new();
    for server in 1..=3 {
        let one = life(server, 1);
        journal.take(Entry::Begin(one, disks(&["sda"], 100)));
        journal.take(blocks(one, 1, 0, 0, 1));
        journal.take(cut(one, 2, 1, Verdict::Point));
    }
    let is_paced = |server: ServerId| server.0[0] < 3;
    let mut next = || journal.backlog.next(0, &is_paced).map(|job| job.life.server.0[0]);
    assert_eq!([next(), next(), next()], [Some(1), Some(3), None], "one of the two waits");
    journal.backlog.finish(ServerId([1; 16]));
    journal.backlog.free(ServerId([1; 16]));
    let next = journal.backlog.next(0, &is_paced).map(|job| job.life.server.0[0]);
    assert_eq!(next, Some(2), "its turn");
}
