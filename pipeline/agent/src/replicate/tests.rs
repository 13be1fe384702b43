//! Seeded histories of the whole loop: writers between and within all steps, an appliance that comes and goes, loses its
//! spool and refuses, an agent that is killed. Every clean point must be the disks at its instant.

use std::sync::{Arc, Mutex};

use hal_sim::random::Random;

use super::*;

/// The appliance: journal, points, vault.
mod appliance;
/// Disks that are written to while they are read, their tracker and their freezer.
mod server;

use appliance::Appliance;
use server::{Fault, Server};

/// What a history counts at its end.
#[derive(Default)]
struct Tally {
    clean: usize,
    fuzzy: usize,
    kills: u32,
    resends: u32,
}

struct History {
    random: Random,
    server: Server,
    appliance: Appliance,
    replicator: Replicator,
    tally: Tally,
}

impl History {
    fn new(seed: u64, fault: Fault) -> Self {
        let server = Server::new(seed, fault);
        let replicator = server.start();
        let mut appliance = Appliance::new(server.blocks());
        appliance.policy.interval_seconds = 10;
        Self { random: Random::new(seed), server, appliance, replicator, tally: Tally::default() }
    }

    fn act(&mut self) {
        self.server.write(3);
        self.server.pass_millis(self.random.below(1500));
        let exchange = Arc::clone(&self.replicator.means.exchange);
        match self.random.below(100) {
            0..50 => drop(self.replicator.step()),
            50..85 => self.appliance.hear(&exchange, 1 + self.random.below(40)),
            85..93 => self.appliance.answer(&exchange),
            93..96 => self.appliance.drain(&exchange),
            96 => self.appliance.cut_network(&exchange),
            97 => {
                self.appliance.cut_network(&exchange);
                self.replicator = self.server.kill_and_start();
                self.tally.kills += 1;
            }
            98 if self.random.below(3) == 0 => {
                self.appliance.lose_spool(&exchange);
                self.tally.resends += 1;
            }
            _ => self.appliance.connect(&exchange),
        }
        self.judge();
    }

    /// In the end everything heals: a clean point comes, whatever was before.
    fn heal(&mut self) {
        let clean = self.tally.clean;
        for round in 0.. {
            let exchange = Arc::clone(&self.replicator.means.exchange);
            self.appliance.connect(&exchange);
            self.server.pass_millis(500);
            self.replicator.step();
            self.appliance.hear(&exchange, 1000);
            self.appliance.answer(&exchange);
            self.appliance.drain(&exchange);
            self.judge();
            if self.tally.clean > clean + 1 {
                return;
            }
            assert!(round < 20_000, "no clean point comes: {:?}", self.replicator.report());
        }
    }

    /// Every point against what the server was when it was frozen.
    fn judge(&mut self) {
        for (epoch, instant, state) in self.appliance.points.drain(..) {
            if instant == pipeline_wire::message::Instant::Crash {
                self.tally.clean += 1;
                let truth = self.server.frozen_as(epoch);
                let wrong = truth.iter().zip(&state).position(|(truth, found)| truth != found);
                assert!(wrong.is_none(), "point {epoch}: disk {wrong:?} is not what it was");
            } else {
                self.tally.fuzzy += 1;
            }
        }
    }
}

fn run(seed: u64, fault: Fault) -> Tally {
    let mut history = History::new(seed, fault);
    for _ in 0..1500 {
        history.act();
    }
    history.heal();
    // The appliance is reached before the agent ends, or by its next life alone.
    history.appliance.cut_network(&history.replicator.means.exchange);
    history.replicator = history.server.reboot();
    if seed.is_multiple_of(2) {
        history.replicator = history.server.kill_and_start();
    }
    history.heal();
    history.tally
}

#[test]
fn every_clean_point_is_the_disks_at_its_instant() {
    let mut all = Tally::default();
    let histories = std::env::var("LIFEBOAT_REPLICATION_HISTORIES");
    let histories = histories.ok().and_then(|number| number.parse().ok()).unwrap_or(40_u64);
    for seed in 0..histories {
        println!("seed {seed}");
        let tally = run(seed, Fault::None);
        all.clean += tally.clean;
        all.fuzzy += tally.fuzzy;
        all.kills += tally.kills;
        all.resends += tally.resends;
    }
    println!(
        "{} clean, {} fuzzy, {} kills, {} resends",
        all.clean, all.fuzzy, all.kills, all.resends
    );
    assert!(all.clean > 40 && all.kills > 40 && all.resends > 5, "histories say too little");
}

#[test]
fn a_tracker_that_clears_after_reading_is_found_out() {
    let lost =
        (0..20).any(|seed| std::panic::catch_unwind(|| run(seed, Fault::ClearsLate)).is_err());
    assert!(lost, "these histories do not find a write that was lost");
}

#[test]
fn what_is_held_is_needed_when_the_agent_is_killed() {
    let lost =
        (0..20).any(|seed| std::panic::catch_unwind(|| run(seed, Fault::HoldsNothing)).is_err());
    assert!(lost, "these histories do not need what is held");
}

#[test]
fn a_disk_whose_audit_fails_is_compared_and_the_point_says_so() {
    let tally = (0..6).map(|seed| run(seed, Fault::Doubts)).fold(0, |sum, tally| sum + tally.fuzzy);
    assert!(tally > 0, "{tally} points are labelled");
}

#[test]
fn that_a_disk_was_sent_whole_is_believed_of_the_marks_it_was_said_of_alone() {
    let lost =
        (0..20).any(|seed| std::panic::catch_unwind(|| run(seed, Fault::WholeForEver)).is_err());
    assert!(lost, "these histories do not find a write from before the marks");
}

#[test]
fn a_write_that_was_missed_is_in_no_clean_point_also_where_the_audit_that_found_it_came_to_nothing()
{
    let fuzzy = (0..20).map(|seed| run(seed, Fault::Misses).fuzzy).sum::<usize>();
    assert!(fuzzy > 0, "nothing was missed");
    let lost =
        (0..20).any(|seed| std::panic::catch_unwind(|| run(seed, Fault::MissesOnce)).is_err());
    assert!(lost, "these histories do not need an audit that finds again what was not obeyed");
}
