//! The whole of ingest but the sockets, under power cuts, damage and a vault that fails: what was acknowledged is there, and
//! every point is what its server's model says.

use std::thread;

use hal_linux::SystemClock;
use hal_sim::random::Random;
use hal_sim::{SimDisk, SimEntropy};
use pipeline_vault::Retry;
use pipeline_vault::chain::Chain;
use pipeline_vault::points::read_chain;
use pipeline_vault::writer::{DiskJob, Publish, Run, Silent, Writer};

use super::*;
use crate::ingest::compare::Compare;
use crate::spool::records::Records;
use crate::spool::{self, Spool};

use bench::{BLOCK, BLOCKS, HOST, Life, Server, Site};

/// What histories are made of.
mod bench;
/// Servers that were failed over.
mod forks;

#[test]
fn what_was_acknowledged_survives_every_power_cut_and_every_point_is_the_disk() {
    let histories =
        std::env::var("LIFEBOAT_INGEST_HISTORIES").ok().and_then(|text| text.parse().ok());
    for seed in 0..histories.unwrap_or(12) {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let mut site = Site::new();
        let ids: Vec<ServerId> =
            ["web", "db"].iter().map(|name| site.vault.enrol(name).unwrap().id).collect();
        let mut servers: Vec<Server> = ids.into_iter().map(Server::new).collect();
        for start in 0..5 {
            let life = Life::start(&site, seed * 100 + start);
            let lines: Vec<u64> =
                servers.iter_mut().map(|server| server.connect(&life.hub)).collect();
            site.away.store(random.below(4) == 0, Ordering::SeqCst);
            for _ in 0..random.below(60) {
                let at = usize::try_from(random.below(2)).unwrap();
                match random.below(8) {
                    0..4 => servers[at].write(&life.hub, &mut random),
                    4 => {
                        servers[at].cut(&life.hub);
                    }
                    5 => thread::sleep(Duration::from_millis(random.below(15))),
                    _ => servers[at].hear(&life.hub, lines[at]),
                }
            }
            site.disk.cut_power(seed * 1000 + start);
            life.end();
        }
        site.away.store(false, Ordering::SeqCst);
        let life = Life::start(&site, seed * 100 + 99);
        for server in &mut servers {
            let line = server.connect(&life.hub);
            let epoch = server.cut(&life.hub);
            server.hear_until(&life.hub, line, "the last point", |server| server.vaulted >= epoch);
        }
        life.end();
        for server in &servers {
            assert!(server.check(&site.vault.access(), &format!("seed {seed}")) >= 1);
        }
    }
}

#[test]
fn a_lost_record_is_sent_again_and_no_point_is_wrong() {
    for seed in 0..6 {
        let mut random = Random::new(seed);
        let mut site = Site::new();
        let id = site.vault.enrol("web").unwrap().id;
        let mut server = Server::new(id);
        let life = Life::start(&site, seed);
        let line = server.connect(&life.hub);
        server.write(&life.hub, &mut random);
        let first = server.cut(&life.hub);
        server.hear_until(&life.hub, line, "the first point", |server| server.vaulted >= first);
        // Nothing goes out while the disk is damaged.
        site.away.store(true, Ordering::SeqCst);
        for _ in 0..6 {
            server.write(&life.hub, &mut random);
            server.cut(&life.hub);
        }
        let last = server.sequence;
        server.hear_until(&life.hub, line, "the spool", |server| server.spooled >= last);
        life.end();
        // Somewhere within what was written: the log begins at 1 MiB.
        for _ in 0..3 {
            let at = (1 << 20) + random.below(3 << 20);
            site.disk.load(at / 512 * 512, &[0xA5; 512]);
        }
        server.hurt = true;
        site.away.store(false, Ordering::SeqCst);
        let life = Life::start(&site, seed + 50);
        let line = server.connect(&life.hub);
        server.write(&life.hub, &mut random);
        server.cut(&life.hub);
        server.hear_until(&life.hub, line, "a point behind the loss", |server| {
            server.vaulted > first
        });
        let epoch = server.cut(&life.hub);
        server.hear_until(&life.hub, line, "the last point", |server| server.vaulted >= epoch);
        life.end();
        server.check(&site.vault.access(), &format!("seed {seed}"));
    }
}

#[test]
fn what_was_spooled_is_not_put_over_points_that_somebody_else_made_meanwhile() {
    let mut site = Site::new();
    let id = site.vault.enrol("web").unwrap().id;
    let mut server = Server::new(id);
    let life = Life::start(&site, 1);
    let line = server.connect(&life.hub);
    let mut random = Random::new(1);
    server.write(&life.hub, &mut random);
    let first = server.cut(&life.hub);
    server.hear_until(&life.hub, line, "the first point", |server| server.vaulted >= first);
    server.cut_while_away(&site, life, line, &mut random);
    make_point(&site.vault.access(), &server, &vec![0; server.disk.len()]);
    let life = Life::start(&site, 2);
    let line = server.connect(&life.hub);
    server
        .hear_until(&life.hub, line, "a point of what was sent again", |server| server.vaulted > 2);
    life.end();
    let access = site.vault.access();
    let chain = read_chain(&access, id).unwrap();
    assert!(!chain.points().any(|link| link.record.point().unwrap().told.source_time == Some(2)));
    server.check_newest(&access, "sent again");
}

/// Somebody else makes a point of it.
fn make_point(access: &Access, server: &Server, content: &[u8]) -> PointId {
    let disk = SimDisk::new(content.len() as u64);
    disk.load(0, content);
    let job = DiskJob { name: "sda".to_owned(), identity: String::new(), disk, changed: None };
    let options = Options { host: "other".to_owned(), ..Options::default() };
    pipeline_vault::writer::protect(access, server.id, vec![job], &options, &Silent).unwrap().id
}

#[test]
fn what_others_made_while_a_first_sync_was_on_its_way_is_no_base() {
    for (has_base, is_point) in [(false, true), (false, false), (true, true), (true, false)] {
        let mut site = Site::new();
        let mut server = Server::new(site.vault.enrol("web").unwrap().id);
        let mut random = Random::new(9);
        let access = site.vault.access();
        if has_base {
            random.fill(&mut server.disk);
            let content = server.disk.clone();
            server.base = Some(make_point(&access, &server, &content));
        }
        let life = Life::start(&site, 1);
        let line = server.connect(&life.hub);
        server.cut_while_away(&site, life, line, &mut random);
        if is_point {
            make_point(&access, &server, &vec![0xEE; server.disk.len()]);
        } else {
            take_over(&access, &server);
        }
        let life = Life::start(&site, 2);
        let line = server.connect(&life.hub);
        let label = format!("base: {has_base}, point: {is_point}");
        server.hear_until(&life.hub, line, &label, |server| server.vaulted > 0);
        life.end();
        server.check_newest(&access, &label);
    }
}

#[test]
fn an_agent_that_compares_is_answered_from_what_its_pieces_go_on_from() {
    let mut site = Site::new();
    let mut server = Server::new(site.vault.enrol("web").unwrap().id);
    let mut random = Random::new(10);
    random.fill(&mut server.disk);
    let access = site.vault.access();
    let content = server.disk.clone();
    server.base = Some(make_point(&access, &server, &content));
    let hub = Hub::new(&ledger::Ledger::default(), Mark::default(), true, Arc::new(SystemClock));
    server.connect(&hub);
    hub.vaulted(server.life(), 0, None);
    let fingerprinter = pipeline::fingerprint::Fingerprinter::new(
        &access.keys.fingerprint_key(&server.id).unwrap(),
    );
    let prints: Vec<[u8; 16]> =
        (0..BLOCKS).map(|block| fingerprinter.of(&server.block(block)).0).collect();
    make_point(&access, &server, &vec![0xEE; server.disk.len()]);
    let used = access.clone();
    let compare = Compare::new(Arc::new(move |_| used.clone()), HOST.to_owned());
    let wanted = compare.wanted(&hub, server.life(), 0, 0, &prints);
    assert!(wanted.iter().all(|bits| *bits == 0), "it is what the agent's base has: {wanted:?}");
    let foreign = [fingerprinter.of(&[0xEE; BLOCK]).0; 8];
    assert_eq!(compare.wanted(&hub, server.life(), 0, 0, &foreign), [0xFF], "that is no base");
}

#[test]
fn what_is_long_on_its_way_goes_into_the_vault_while_it_is_sent() {
    let mut site = Site::new();
    let mut server = Server::new(site.vault.enrol("web").unwrap().id);
    server.disk = vec![0; 12 << 20];
    Random::new(12).fill(&mut server.disk);
    let blocks: Vec<u64> = (0..server.disk.len() as u64 / BLOCK as u64).collect();
    let life = Life::start(&site, 1);
    let line = server.connect(&life.hub);
    server.send(&life.hub, &blocks);
    let (id, access) = (server.id, site.vault.access());
    server.hear_until(&life.hub, line, "a checkpoint", |_| {
        let chain = Chain::open(&access, id).unwrap();
        chain.newest_checkpoint().unwrap().is_some()
    });
    let epoch = server.cut(&life.hub);
    server.hear_until(&life.hub, line, "the point", |server| server.vaulted >= epoch);
    life.end();
    server.check(&access, "in two pieces");
}

#[test]
fn a_large_piece_ends_in_order_when_the_appliance_stops_and_is_gone_on_with() {
    // So large that no part of the piece goes before it was cut.
    let mut site = Site::with_spool(512 << 20);
    let mut server = Server::new(site.vault.enrol("web").unwrap().id);
    let mut random = Random::new(11);
    server.disk = vec![0; 40 << 20];
    random.fill(&mut server.disk);
    let blocks: Vec<u64> = (0..server.disk.len() as u64 / BLOCK as u64).collect();
    let life = Life::start(&site, 1);
    let line = server.connect(&life.hub);
    site.held.store(true, Ordering::SeqCst);
    server.send(&life.hub, &blocks);
    let epoch = server.cut(&life.hub);
    let waits = Arc::clone(&site.waits);
    server.hear_until(&life.hub, line, "the work", |_| waits.load(Ordering::SeqCst));
    life.hub.stop();
    site.held.store(false, Ordering::SeqCst);
    life.end();
    let access = site.vault.access();
    let chain = Chain::open(&access, server.id).unwrap();
    assert!(chain.newest_point().unwrap().is_none(), "it was not waited for");
    let checkpoint = chain.newest_checkpoint().unwrap().expect("what it came to");
    let done = checkpoint.record.manifest().unwrap().disks[0].done_blocks;
    assert!((1..blocks.len() as u64).contains(&done), "{done} blocks");
    site.disk.cut_power(1);
    let life = Life::start(&site, 2);
    let line = server.connect(&life.hub);
    server.hear_until(&life.hub, line, "the point", |server| server.vaulted >= epoch);
    life.end();
    server.check(&access, "gone on with");
}

/// Another machine takes the chain over, and sends a part of what became another disk.
fn take_over(access: &Access, server: &Server) {
    let disk = SimDisk::new(server.disk.len() as u64);
    disk.load(0, &[0xEE; 512]);
    let job = DiskJob { name: "sda".to_owned(), identity: String::new(), disk, changed: None };
    let options = Options { host: "other".to_owned(), ..Options::default() };
    let mut writer = Writer::open(access, server.id, options.clone()).unwrap();
    let run = Run { publish: Publish::Checkpoint, ..Run::from(&options) };
    writer.run(vec![job], &run, &Silent).unwrap();
}

#[test]
fn what_was_spooled_is_not_put_over_what_another_writer_began() {
    for is_running in [true, false] {
        let mut site = Site::new();
        let mut server = Server::new(site.vault.enrol("web").unwrap().id);
        let mut random = Random::new(7);
        let mut life = Life::start(&site, 1);
        let mut line = server.connect(&life.hub);
        server.write(&life.hub, &mut random);
        let first = server.cut(&life.hub);
        server.hear_until(&life.hub, line, "the first point", |server| server.vaulted >= first);
        let access = site.vault.access();
        if is_running {
            take_over(&access, &server);
            server.write(&life.hub, &mut random);
            server.cut(&life.hub);
        } else {
            server.cut_while_away(&site, life, line, &mut random);
            take_over(&access, &server);
            life = Life::start(&site, 2);
            line = server.connect(&life.hub);
        }
        server.hear_until(&life.hub, line, "its being sent again", |server| server.epoch > 2);
        if !is_running {
            server.hear_until(&life.hub, line, "its point", |server| server.vaulted > 2);
            server.check_newest(&access, "taken over");
        }
        life.end();
        let chain = read_chain(&access, server.id).unwrap();
        let epochs = chain.points().map(|link| link.record.point().unwrap().told.source_time);
        assert!(!epochs.into_iter().any(|epoch| epoch == Some(2)), "running: {is_running}");
    }
}

#[test]
fn what_this_appliance_began_is_gone_on_with_after_a_start() {
    let mut site = Site::new();
    let mut server = Server::new(site.vault.enrol("web").unwrap().id);
    let mut random = Random::new(8);
    let life = Life::start(&site, 1);
    let line = server.connect(&life.hub);
    server.write(&life.hub, &mut random);
    let first = server.cut(&life.hub);
    server.hear_until(&life.hub, line, "the first point", |server| server.vaulted >= first);
    life.end();
    let access = site.vault.access();
    let options = Options { host: HOST.to_owned(), ..Options::default() };
    let disk = SimDisk::new(server.disk.len() as u64);
    disk.load(0, &server.disk);
    let job = DiskJob { name: "sda".to_owned(), identity: String::new(), disk, changed: None };
    let mut writer = Writer::open(&access, server.id, options.clone()).unwrap();
    let run = Run { publish: Publish::Checkpoint, ..Run::from(&options) };
    writer.run(vec![job], &run, &Silent).unwrap();
    let life = Life::start(&site, 2);
    let line = server.connect(&life.hub);
    server.write(&life.hub, &mut random);
    let second = server.cut(&life.hub);
    server.hear_until(&life.hub, line, "the second point", |server| server.vaulted >= second);
    life.end();
    assert_eq!(server.epoch, second, "nothing was asked for again");
    assert_eq!(server.check(&access, "two points"), 2);
}

#[test]
fn a_server_that_has_no_way_into_the_vault_makes_room_only_where_others_go_on() {
    let mut site = Site::new();
    let mut server = Server::new(site.vault.enrol("web").unwrap().id);
    let (spool, _) = Spool::open(site.disk.reopen(), &site.owner, &SimEntropy::new(1)).unwrap();
    let records: Box<dyn Records> = Box::new(spool);
    let shelf = Shelf::new(records.reader().unwrap());
    let ledger = ledger::Ledger::default();
    let hub = Arc::new(Hub::new(&ledger, Mark::default(), true, Arc::new(SystemClock)));
    let (access, backlog) = (site.vault.access(), Backlog::default());
    let drain = Drain::new(
        Arc::clone(&hub),
        shelf,
        backlog,
        true,
        move |_| access.clone(),
        Options::default(),
    );
    let drain = drain.unwrap();
    let line = server.connect(&hub);
    let mut random = Random::new(3);
    server.write(&hub, &mut random);
    server.cut(&hub);
    let crate::ingest::hub::Task::Keep(entries) = hub.next() else { panic!("nothing to keep") };
    for (entry, _) in entries {
        assert_eq!(drain.backlog().take(Mark::default(), entry), None);
    }
    let usage = spool::Usage { used: 90, bytes: 100, ..spool::Usage::default() };
    hub.is_durable(&[], Mark::default(), usage);
    let error = Error::corrupt("its chain", "is damaged").retry(Retry::Never);
    drain.fail(server.id, &error);
    assert!(drain.backlog().has_jobs(), "perhaps the vault is away: nothing is given up");
    drain.succeeded.store(drain.now() + 1, Ordering::SeqCst);
    hub.stop();
    drain.fail(server.id, &error);
    assert!(!drain.backlog().has_jobs());
    let ended = hub.owed(server.id, line).1.map(|refused| refused.why);
    assert_eq!(ended, Some(pipeline_wire::message::Why::Later));
}
