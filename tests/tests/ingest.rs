//! Promise: what an agent was told is kept is kept, and every point that the appliance makes of what agents send is the disk,
//! bit for bit, whatever is killed, taken away or full meanwhile.
//!
//! A scripted agent speaks over real TLS with the real `lifeboat serve`, and knows by a model of its own what each point must
//! hold. `LIFEBOAT_KILLS` (default 4) sets the kills, `LIFEBOAT_SEED` repeats a run:
//! `LIFEBOAT_KILLS=100 cargo nextest run --release -p tests --test ingest --no-capture`

use core::time::Duration;
use std::time::Instant;

use hal_sim::random::Random;
use pipeline::limits::BLOCK_BYTES;
use pipeline_wire::message::{FromAgent, FromAppliance, Why};
use tests::ingesting::Appliance;
use tests::scripted_agent::{Away, ScriptedAgent};
use tests::serving::SPOOL_BYTES;

/// The vault in Azure.
#[path = "ingest/azure.rs"]
mod azure;

const DISK: usize = 400 * BLOCK_BYTES + 4096;

fn seed() -> u64 {
    let seed = std::env::var("LIFEBOAT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("LIFEBOAT_SEED={seed}");
    seed
}

fn fingerprints(agent: &ScriptedAgent) -> Vec<[u8; 16]> {
    let key = &agent.welcome.as_ref().expect("a welcome").fingerprint_key;
    let fingerprinter = pipeline::fingerprint::Fingerprinter::new(key);
    let mut padded = agent.disk.clone();
    padded.resize(padded.len().next_multiple_of(BLOCK_BYTES), 0);
    let of = |block: &[u8]| {
        if block.iter().all(|byte| *byte == 0) { [0; 16] } else { fingerprinter.of(block).0 }
    };
    padded.chunks(BLOCK_BYTES).map(of).collect()
}

#[test]
fn rounds_and_cuts_become_points_that_restore_bit_for_bit() {
    for spool in [true, false] {
        let mut appliance = Appliance::new("rounds", spool);
        appliance.start();
        let mut agent = ScriptedAgent::enrol(&appliance.token(), "web", DISK, seed()).unwrap();
        agent.connect_patiently();
        assert_eq!(agent.welcome.as_ref().unwrap().known_disks, [false]);
        for _ in 0..4 {
            agent.write_some(40);
            agent.write_some(10);
            let epoch = agent.cut();
            agent.work_until("the point", |agent| agent.vaulted >= epoch);
        }
        agent.work_until("the acknowledgement", |agent| agent.is_spooled());
        appliance.check_points(&agent, 4);
        let listed = appliance.listed();
        assert_eq!(listed["servers"][0]["name"], "web");
        appliance.stop();
    }
}

#[test]
fn a_killed_appliance_loses_nothing_that_it_acknowledged() {
    let seed = seed();
    let kills =
        std::env::var("LIFEBOAT_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(4);
    let mut random = Random::new(seed);
    let mut appliance = Appliance::new("kills", true);
    appliance.start();
    let mut agent = ScriptedAgent::enrol(&appliance.token(), "web", DISK, seed).unwrap();
    agent.connect_patiently();
    for kill in 0..kills {
        let life = Duration::from_millis(random.below(1500));
        println!("kill {kill} after {life:?}");
        let began = Instant::now();
        while began.elapsed() < life {
            agent.write_some(1 + random.below(30));
            if random.below(3) == 0 {
                agent.cut();
            }
            if agent.work().is_err() {
                agent.connect_patiently();
            }
        }
        appliance.kill();
        appliance.start();
        agent.connect_patiently();
    }
    let epoch = agent.cut();
    agent.work_until("the last point", |agent| agent.vaulted >= epoch);
    appliance.check_points(&agent, 1);
    appliance.verify();
    appliance.stop();
}

#[test]
fn a_vault_that_is_away_is_caught_up_with_and_a_full_spool_takes_no_more_than_it_holds() {
    let mut appliance = Appliance::new("away", true);
    appliance.start();
    let mut agent = ScriptedAgent::enrol(&appliance.token(), "web", DISK, seed()).unwrap();
    agent.connect_patiently();
    agent.write_some(20);
    let first = agent.cut();
    agent.work_until("the first point", |agent| agent.vaulted >= first);
    appliance.take_vault_away();
    // Points go on into the spool.
    agent.write_some(20);
    let second = agent.cut();
    agent.work_until("the spool's word", |agent| agent.is_spooled());
    assert_eq!(agent.vaulted, first);
    // As much as the spool can never hold: what it has no room for is not acknowledged.
    let mut sent = 0;
    while sent < 3 * SPOOL_BYTES {
        let blocks: Vec<u64> = (0..400).collect();
        agent.write_some(50);
        agent.send_blocks(&blocks);
        sent += 400 * BLOCK_BYTES as u64;
        agent.work().unwrap();
    }
    let last = agent.cut();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        agent.work().unwrap();
    }
    assert!(!agent.is_spooled(), "the spool took more than it has");
    appliance.bring_vault_back();
    agent.work_until("everything", |agent| agent.vaulted >= last);
    assert!(second < last);
    appliance.check_points(&agent, 3);
    appliance.stop();
}

#[test]
fn a_newer_run_takes_over_a_copy_is_refused_and_an_older_run_stays_out() {
    let mut appliance = Appliance::new("rivals", true);
    appliance.start();
    let mut agent = ScriptedAgent::enrol(&appliance.token(), "web", DISK, seed()).unwrap();
    agent.connect_patiently();
    let old_run = agent.run;
    agent.write_some(30);
    agent.cut();
    agent.work_until("the spool's word", |agent| agent.is_spooled());
    let (mut old_line, _) = agent.dial(1).unwrap();
    agent.begin_run();
    agent.connect_patiently();
    // The old session hears that it is over, and may not come back.
    let told = loop {
        match tests::scripted_agent::hear(&mut old_line) {
            Ok(FromAppliance::Refused(refused)) => break Some(refused.why),
            Ok(_) => {}
            Err(_) => break None,
        }
    };
    assert_eq!(told, Some(Why::Demoted));
    let new_run = core::mem::replace(&mut agent.run, old_run);
    assert!(matches!(agent.dial(0), Err(Away::Refused(refused)) if refused.why == Why::Demoted));
    agent.run = new_run;
    // The same disks on another board.
    let machine = core::mem::replace(&mut agent.binding.machine, [9; 16]);
    assert!(matches!(agent.dial(1), Err(Away::Refused(refused)) if refused.why == Why::Copy));
    agent.binding.machine = machine;
    agent.write_some(5);
    let epoch = agent.cut();
    agent.work_until("the point of the new run", |agent| agent.vaulted >= epoch);
    appliance.check_points(&agent, 1);
    appliance.revoke("web");
    let refused = loop {
        match agent.listen() {
            Err(Away::Refused(refused)) => break refused,
            Err(Away::Gone(words)) => panic!("{words}"),
            Ok(()) => {}
        }
    };
    assert_eq!(refused.why, Why::Unknown);
    appliance.stop();
}

#[test]
fn repeated_numbers_and_connections_out_of_order_change_nothing() {
    let mut appliance = Appliance::new("order", true);
    appliance.start();
    let seed = seed();
    let mut random = Random::new(seed);
    let mut agent = ScriptedAgent::enrol(&appliance.token(), "web", DISK, seed).unwrap();
    agent.connect_patiently();
    for _ in 0..3 {
        agent.write_some(40);
        agent.write_some(20);
        let epoch = agent.cut();
        let mut messages = agent.take_unspooled();
        let mut lines: Vec<_> = (1..4).map(|number| agent.dial(number).unwrap().0).collect();
        // Some twice, over any connection, in any order.
        messages.extend(messages.clone().into_iter().filter(|_| random.below(4) == 0));
        while !messages.is_empty() {
            let at = usize::try_from(random.below(messages.len() as u64)).unwrap();
            let (message, payload) = messages.swap_remove(at);
            let line = usize::try_from(random.below(3)).unwrap();
            lines[line].send_with(&message, &[&payload]).unwrap();
        }
        agent.work_until("the point", |agent| agent.vaulted >= epoch);
    }
    appliance.check_points(&agent, 3);
    appliance.stop();
}

#[test]
fn nonsense_ends_a_connection_and_nobody_else_notices() {
    let mut appliance = Appliance::new("nonsense", true);
    appliance.start();
    let mut agent = ScriptedAgent::enrol(&appliance.token(), "web", DISK, seed()).unwrap();
    agent.connect_patiently();
    let foreign = FromAgent::Blocks(pipeline_wire::message::Blocks {
        sequence: 1,
        disk: 0,
        content: pipeline_wire::message::Content::Zeros,
        runs: vec![pipeline_wire::runs::Run { first: 401, blocks: 1 }],
    });
    agent.say(&foreign).unwrap();
    let refused = loop {
        match agent.listen() {
            Err(Away::Refused(refused)) => break refused,
            Err(Away::Gone(words)) => panic!("{words}"),
            Ok(()) => {}
        }
    };
    assert_eq!(refused.why, Why::Nonsense);
    appliance.rudeness(seed());
    agent.hang_up();
    agent.connect_patiently();
    agent.write_some(10);
    let epoch = agent.cut();
    agent.work_until("the point", |agent| agent.vaulted >= epoch);
    appliance.check_points(&agent, 1);
    appliance.stop();
}

#[test]
fn what_is_compared_is_wanted_where_it_differs_or_is_on_its_way() {
    let mut appliance = Appliance::new("compare", true);
    appliance.start();
    let mut agent = ScriptedAgent::enrol(&appliance.token(), "web", DISK, seed()).unwrap();
    agent.connect_patiently();
    agent.write_some(60);
    let epoch = agent.cut();
    agent.work_until("the first point", |agent| agent.vaulted >= epoch);
    // As after a restart of the server that lost track: nothing changed but these.
    agent.begin_run();
    agent.connect_patiently();
    assert_eq!(agent.welcome.as_ref().unwrap().known_disks, [true]);
    let before = agent.disk.clone();
    agent.disk[7 * BLOCK_BYTES] ^= 1;
    agent.disk[300 * BLOCK_BYTES..301 * BLOCK_BYTES].fill(0);
    let mut wanted = Vec::new();
    let asked = fingerprints(&agent);
    for (leaf, part) in asked.chunks(256).enumerate() {
        wanted.extend(agent.ask(leaf as u64 * 256, part).unwrap());
    }
    let differs = |block: usize| {
        let end = ((block + 1) * BLOCK_BYTES).min(DISK);
        before[block * BLOCK_BYTES..end] != agent.disk[block * BLOCK_BYTES..end]
    };
    let expected: Vec<bool> = (0..401).map(differs).collect();
    assert_eq!(wanted, expected);
    // What is sent and not in the vault yet is wanted, whatever the vault has.
    appliance.take_vault_away();
    agent.send_blocks(&[7]);
    agent.work_until("the spool's word", |agent| agent.is_spooled());
    let wanted = agent.ask(0, &asked[..256]).unwrap();
    assert!(wanted.iter().all(|wanted| *wanted));
    appliance.bring_vault_back();
    agent.send_blocks(&[300]);
    let epoch = agent.cut();
    agent.work_until("the point", |agent| agent.vaulted >= epoch);
    appliance.check_points(&agent, 2);
    appliance.stop();
}
