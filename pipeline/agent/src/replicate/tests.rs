//! Seeded histories of the whole loop: writers between and within all steps, an appliance that comes and goes, loses its
//! spool and refuses, an agent that is killed. Every clean point must be the disks at its instant.

use std::sync::{Arc, Mutex};

use hal_sim::random::Random;

use super::*;

/// The appliance: journal, points, vault.
pub(crate) mod appliance;
/// Disks that are written to while they are read, their tracker and their freezer.
mod server;

use appliance::{Appliance, UNREAD};
use server::{Fault, NOBODYS, Server};

/// What a history counts at its end.
#[derive(Default)]
struct Tally {
    clean: usize,
    /// Clean, and no block is missing.
    whole: usize,
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
        self.server.turn();
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

    /// Goes on until two clean points more have come, in which nothing is missing.
    fn settle(&mut self, rounds: u32) {
        let whole = self.tally.whole;
        for _ in 0..rounds {
            self.go_on();
            if self.tally.whole > whole + 1 {
                return;
            }
        }
        panic!("no clean point comes: {:?}", self.replicator.report());
    }

    /// Half a second without trouble.
    fn go_on(&mut self) {
        let exchange = Arc::clone(&self.replicator.means.exchange);
        self.appliance.connect(&exchange);
        self.server.pass_millis(500);
        self.replicator.step();
        self.appliance.hear(&exchange, 1000);
        self.appliance.answer(&exchange);
        self.appliance.drain(&exchange);
        self.judge();
    }

    /// Every point against what the server was when it was frozen.
    fn judge(&mut self) {
        for (cut, state) in self.appliance.points.drain(..) {
            let epoch = cut.epoch;
            let missing = state.iter().flatten().any(|stamp| *stamp == UNREAD);
            let said = cut.remarks.iter().any(|words| words.contains("cannot be read"));
            assert!(said || !missing, "point {epoch}: blocks are missing, and nothing says so");
            if cut.instant == pipeline_wire::message::Instant::Crash {
                self.tally.clean += 1;
                self.tally.whole += usize::from(!missing);
                let truth = self.server.frozen_as(epoch);
                let is_wrong = |(truth, found): (&u64, &u64)| {
                    *truth != NOBODYS && *found != UNREAD && truth != found
                };
                let wrong = truth
                    .iter()
                    .zip(&state)
                    .position(|(truth, found)| truth.iter().zip(found).any(is_wrong));
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
    // In the end everything heals: a clean point comes, whatever was before.
    history.server.heal();
    history.settle(20_000);
    // The appliance is reached before the agent ends, or by its next life alone.
    history.appliance.cut_network(&history.replicator.means.exchange);
    history.replicator = history.server.reboot();
    if seed.is_multiple_of(2) {
        history.replicator = history.server.kill_and_start();
    }
    history.settle(20_000);
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
fn what_is_written_past_frozen_file_systems_outlives_the_agent() {
    let mut fuzzy = 0;
    for seed in 0..20 {
        println!("seed {seed}");
        fuzzy += run(seed, Fault::Raw).fuzzy;
    }
    assert!(fuzzy > 20, "{fuzzy} points had a writer that did not stop");
}

#[test]
fn blocks_that_could_not_be_read_are_said_to_be_missing_until_they_are_read() {
    for seed in 0..20 {
        println!("seed {seed}");
        run(seed, Fault::Bad);
    }
}

#[test]
fn swap_that_was_turned_off_is_sent_as_what_it_is() {
    let mut history = History::new(1, Fault::None);
    history.server.swap_on();
    history.settle(20_000);
    history.server.swap_off();
    history.settle(20_000);
}

#[test]
fn points_that_fail_are_tried_less_and_less_often() {
    let mut history = History::new(1, Fault::Breaks);
    history.appliance.policy.interval_seconds = 300;
    for _ in 0..4000 {
        history.server.write(3);
        history.go_on();
    }
    let freezes = history.server.freezes();
    assert!((4..20).contains(&freezes), "{freezes} freezes in 2000 seconds");
}

#[test]
fn a_point_of_a_disk_that_has_grown_is_not_called_clean() {
    let mut history = History::new(1, Fault::Grows);
    for _ in 0..200 {
        history.go_on();
    }
    assert!(history.tally.fuzzy > 2 && history.tally.clean == 0, "{} clean", history.tally.clean);
}

#[test]
fn a_compare_ends_however_often_there_is_doubt() {
    let server = Server::new(1, Fault::None);
    let mut replicator = server.start();
    let disk = &mut replicator.disks[0];
    disk.compare(Reason::Lost);
    while let Some((first, _)) = disk.compare.as_mut().unwrap().leaf() {
        disk.compare.as_mut().unwrap().settled();
        assert!(first < disk.blocks, "it goes on");
        disk.doubt_again();
    }
    assert!(!disk.end_compare(), "what was missed meanwhile may lie before where it was");
    assert!(disk.compare.as_ref().is_some_and(|compare| compare.reason == Reason::Doubt));
    while disk.compare.as_mut().unwrap().leaf().is_some() {
        disk.compare.as_mut().unwrap().settled();
    }
    assert!(disk.end_compare() && disk.whole, "nothing was missed in the second");
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
