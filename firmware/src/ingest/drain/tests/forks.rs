//! A server is failed over while its original goes on: what it sends goes into a branch and nothing of it into its chain,
//! and when the failover has ended every point is the disk again.

use pipeline_vault::fork::{self, End, branch};
use pipeline_vault::reader::PointReader;

use super::*;

/// The content of each point of a chain, with its epoch.
fn points(access: &Access, server: ServerId, bytes: usize) -> Vec<(u64, Vec<u8>)> {
    let chain = read_chain(access, server).unwrap();
    let content = |link| {
        let reader = PointReader::open(access, &chain, link, "sda", 1 << 20).unwrap();
        let mut content = vec![0; bytes];
        reader.read_at(0, &mut content).unwrap();
        (link.record.point().unwrap().told.source_time.unwrap(), content)
    };
    chain.points().map(content).collect()
}

/// A site with a server that has a point, and a branch's keys in the ring.
fn failed_over(seed: u64) -> (Site, Server, Life, u64, Random) {
    let mut site = Site::new();
    let id = site.vault.enrol("web").unwrap().id;
    branch::enrol(&mut site.vault, id, "o-1").unwrap();
    let mut server = Server::new(id);
    let mut random = Random::new(seed);
    let life = Life::start(&site, seed);
    let line = server.connect(&life.hub);
    server.write(&life.hub, &mut random);
    let first = server.cut(&life.hub);
    server.hear_until(&life.hub, line, "the first point", |server| server.vaulted >= first);
    (site, server, life, line, random)
}

fn publish(site: &Site, server: &Server) {
    let point = server.points[&server.vaulted];
    fork::publish(&site.vault.access(), server.id, "o-1", point).unwrap();
}

#[test]
fn what_comes_behind_a_failover_goes_into_the_branch_and_its_end_is_caught_up_with() {
    for (seed, restarts) in [(1, false), (2, true)] {
        let (site, mut server, mut life, mut line, mut random) = failed_over(seed);
        let access = site.vault.access();
        publish(&site, &server);
        let length = |server: &Server| read_chain(&access, server.id).unwrap().links.len();
        let before = length(&server);
        if restarts {
            // Acknowledged, and on its way when the failover came.
            server.cut_while_away(&site, life, line, &mut random);
            life = Life::start(&site, seed + 10);
            line = server.connect(&life.hub);
        }
        for _ in 0..3 {
            server.write(&life.hub, &mut random);
            let epoch = server.cut(&life.hub);
            server.hear_until(&life.hub, line, "its branch", |server| server.vaulted >= epoch);
        }
        let demotion = server.demotion.clone().expect("it is told");
        assert_eq!((demotion.order.as_str(), demotion.branch.as_str()), ("o-1", "web~o-1"));
        assert_eq!(length(&server), before, "the chain is as it was");
        let into = branch::identity(&server.id, "o-1");
        let kept = points(&access, into, server.disk.len());
        assert_eq!(kept.len(), if restarts { 5 } else { 4 }, "the base and what came behind it");
        for (epoch, content) in &kept {
            assert!(*content == server.states[epoch], "epoch {epoch}");
        }
        assert_eq!(server.epoch, server.vaulted, "nothing was asked for again");
        // The end: the branch stays as it is.
        let ended = fork::end(&access, server.id, "o-1", End::Accepted);
        assert_eq!(ended, Ok(true));
        life.forks.look_again();
        assert!(life.hub.owed(server.id, line).1.is_some(), "its connections end");
        if restarts {
            life.end();
            life = Life::start(&site, seed + 20);
        }
        line = server.connect(&life.hub);
        server.write(&life.hub, &mut random);
        let last = server.cut(&life.hub);
        server.hear_until(&life.hub, line, "its own chain", |server| server.vaulted > last);
        assert_eq!(server.demotion, None);
        life.end();
        server.check_newest(&access, "behind the end");
        let own = points(&access, server.id, server.disk.len());
        for (epoch, content) in &own {
            assert!(*content == server.states[epoch], "epoch {epoch}");
        }
        assert_eq!(points(&access, into, server.disk.len()), kept);
    }
}

#[test]
fn a_run_that_never_heard_of_the_end_compares_all_the_same() {
    let (site, mut server, life, line, mut random) = failed_over(3);
    let access = site.vault.access();
    publish(&site, &server);
    server.write(&life.hub, &mut random);
    let epoch = server.cut(&life.hub);
    server.hear_until(&life.hub, line, "its branch", |server| server.vaulted >= epoch);
    fork::end(&access, server.id, "o-1", End::Cancelled).unwrap();
    life.forks.look_again();
    // A cut that it makes before it hears anything: with it the drain finds out.
    let _ = server.connect(&life.hub);
    server.write(&life.hub, &mut random);
    server.cut(&life.hub);
    let began = std::time::Instant::now();
    while life.hub.loss(server.id).is_none() {
        assert!(began.elapsed().as_secs() < 60, "it was not noticed");
        thread::sleep(Duration::from_millis(2));
    }
    life.end();
    // The agent starts again, and its new run knows only what it was told.
    server.run = [2; 16];
    (server.sequence, server.spooled) = (0, 0);
    server.unspooled.clear();
    let life = Life::start(&site, 33);
    let line = server.connect(&life.hub);
    server.write(&life.hub, &mut random);
    let void = server.cut(&life.hub);
    server.hear_until(&life.hub, line, "a point that holds", |server| server.vaulted > void);
    life.end();
    server.check_newest(&access, "another run");
    for (epoch, content) in points(&access, server.id, server.disk.len()) {
        assert!(content == server.states[&epoch], "epoch {epoch}");
    }
}

#[test]
fn a_failover_that_ended_before_anybody_wrote_costs_nothing() {
    let (site, mut server, life, line, mut random) = failed_over(4);
    let access = site.vault.access();
    publish(&site, &server);
    fork::end(&access, server.id, "o-1", End::Cancelled).unwrap();
    // The writer that is open meets both in its slot.
    server.write(&life.hub, &mut random);
    let epoch = server.cut(&life.hub);
    server.hear_until(&life.hub, line, "its own chain", |server| server.vaulted >= epoch);
    life.end();
    assert_eq!((server.epoch, count(&access, server.id)), (epoch, 2), "nothing was sent again");
    server.check_newest(&access, "cancelled");
}

fn count(access: &Access, server: ServerId) -> usize {
    read_chain(access, server).unwrap().points().count()
}
