//! Seeded histories of the whole loop: writers between and within all steps, an appliance that comes and goes, loses its
//! spool and refuses, an agent that is killed. Every clean point must be the disks at its instant.

use std::sync::{Arc, Mutex};

use hal_sim::random::Random;

use super::*;

/// The appliance: journal, points, vault.
pub(crate) mod appliance;
/// Failovers: demoted, accepted again, drained.
mod failover;
/// Disks that are written to while they are read, their tracker and their freezer.
mod server;

use appliance::{Appliance, Point, UNREAD};
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
    /// A disk that no point may have.
    without: Option<String>,
}

impl History {
    fn new(seed: u64, fault: Fault) -> Self {
        let server = Server::new(seed, fault);
        let replicator = server.start();
        let mut appliance = Appliance::new(server.blocks());
        appliance.policy.interval_seconds = 10;
        let (random, tally) = (Random::new(seed), Tally::default());
        Self { random, server, appliance, replicator, tally, without: None }
    }

    fn exchange(&self) -> Arc<Exchange> {
        Arc::clone(&self.replicator.means.exchange)
    }

    /// The agent is killed, and starts again.
    fn kill(&mut self) {
        self.appliance.cut_network(&self.exchange());
        self.replicator = self.server.kill_and_start();
    }

    /// A step, and what the service does behind it.
    fn step(&mut self) {
        self.replicator.step();
        let other = self.replicator.wants_other_disks(&self.server.omitted());
        if other && !self.replicator.is_busy() {
            self.appliance.cut_network(&self.exchange());
            let left_out = self.replicator.left_out().unwrap_or_default().to_vec();
            self.replicator = self.server.start_without(&left_out);
        }
    }

    fn act(&mut self) {
        self.server.write(3);
        self.server.turn();
        self.server.pass_millis(self.random.below(1500));
        let exchange = self.exchange();
        match self.random.below(100) {
            0..50 => self.step(),
            50..85 => self.appliance.hear(&exchange, 1 + self.random.below(40)),
            85..93 => self.appliance.answer(&exchange),
            93..96 => self.appliance.drain(&exchange),
            96 => self.appliance.cut_network(&exchange),
            97 => {
                self.kill();
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
        self.server.pass_millis(500);
        self.pass();
        self.judge();
    }

    /// A step without trouble.
    fn pass(&mut self) {
        self.appliance.connect(&self.exchange());
        self.step();
        let exchange = self.exchange();
        self.appliance.hear(&exchange, 1000);
        self.appliance.answer(&exchange);
        self.appliance.drain(&exchange);
    }

    /// Every point against what the server was when it was frozen.
    fn judge(&mut self) {
        for Point { cut, names, disks: state } in self.appliance.points.drain(..) {
            let epoch = cut.epoch;
            let is_out = names.iter().any(|name| Some(name) == self.without.as_ref());
            assert!(!is_out, "point {epoch} has a disk that the policy leaves out");
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
    history.appliance.cut_network(&history.exchange());
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

#[test]
fn a_disk_that_the_policy_leaves_out_is_in_no_point_and_is_compared_when_it_comes_back() {
    for seed in 0..10 {
        println!("seed {seed}");
        let mut history = History::new(seed, Fault::None);
        history.settle(20_000);
        while history.replicator.is_busy() {
            history.go_on();
        }
        history.without = Some("sd1".to_owned());
        let policy = history.appliance.policy.clone();
        let left_out = vec!["sd1".to_owned(), "sd7".to_owned()];
        history.appliance.tell(&history.exchange(), Policy { left_out, ..policy.clone() });
        history.settle(20_000);
        history.without = None;
        let asked = history.appliance.asked[1];
        history.appliance.tell(&history.exchange(), policy.clone());
        history.settle(20_000);
        assert!(history.appliance.asked[1] > asked, "it is not compared");
        let left_out = vec!["sd0".to_owned(), "sd1".to_owned()];
        history.appliance.tell(&history.exchange(), Policy { left_out, ..policy });
        let whole = history.tally.whole;
        (0..200).for_each(|_| history.go_on());
        assert!(history.tally.whole <= whole + 1, "points of nothing");
    }
}

#[test]
fn what_a_cut_does_not_have_is_sent_also_where_the_agent_is_killed_behind_it() {
    let mut left = 0;
    for seed in 0..20 {
        println!("seed {seed}");
        let mut history = History::new(seed, Fault::None);
        history.settle(20_000);
        history.server.write_raw();
        let fuzzy = history.tally.fuzzy;
        for _ in 0..400 {
            history.server.write(3);
            history.go_on();
            if history.tally.fuzzy > fuzzy && !history.replicator.is_busy() {
                break;
            }
        }
        // The vault has the cut, and nothing is written any more: whatever it lacks, nothing marks again.
        history.server.heal();
        history.server.rest();
        left += history.replicator.disks()[1].changed.count();
        (0..2).for_each(|_| {
            let exchange = history.exchange();
            history.appliance.hear(&exchange, 1000);
            history.appliance.answer(&exchange);
            history.appliance.drain(&exchange);
            while let Some(event) = exchange.event(Duration::ZERO) {
                history.replicator.hear(event);
            }
        });
        history.kill();
        history.settle(20_000);
    }
    assert!(left > 10, "only {left} blocks were in no cut");
}

#[test]
fn an_agent_that_starts_again_sends_nothing_that_the_vault_has() {
    let mut history = History::new(2, Fault::None);
    history.settle(20_000);
    history.server.rest();
    history.settle(20_000);
    while history.replicator.is_busy() {
        history.go_on();
    }
    // All of it is taken for a point that never comes.
    history.server.rewrite();
    while !history.replicator.is_busy() {
        history.server.pass_millis(500);
        history.step();
    }
    history.kill();
    let (came, asked) = (history.appliance.came, history.appliance.asked.clone());
    history.settle(20_000);
    assert_eq!(history.appliance.came, came, "blocks came again");
    // Two leaves, and one.
    assert_eq!(
        [history.appliance.asked[0] - asked[0], history.appliance.asked[1] - asked[1]],
        [2, 1]
    );
}

/// A server ends in order and goes on, and later its disks are put back as they were then. How often it was compared.
fn put_back(seed: u64, is_known: bool) -> usize {
    let mut history = History::new(seed, Fault::None);
    history.settle(20_000);
    history.appliance.cut_network(&history.exchange());
    let (ended, newest) = (history.server.end(), history.replicator.epoch);
    let mut compares = 0;
    for round in 0..2 {
        let newest = if is_known { newest } else { u64::MAX };
        history.replicator = history.server.start_from(&ended, newest);
        history.replicator.made_until(newest.min(1 << 20));
        while !history.replicator.begun {
            history.pass();
        }
        let is_compared = history.replicator.disks().iter().any(|disk| !disk.whole);
        assert_eq!(is_compared, is_known && round == 1, "round {round}");
        compares += usize::from(is_compared);
        history.settle(20_000);
        history.appliance.cut_network(&history.exchange());
    }
    compares
}

#[test]
fn disks_that_are_put_back_are_compared_where_the_vault_has_newer_points() {
    assert_eq!((0..20).map(|seed| put_back(seed, true)).sum::<usize>(), 20);
    let lost = (0..20).any(|seed| std::panic::catch_unwind(|| put_back(seed, false)).is_err());
    assert!(lost, "these histories do not need the newest point to be known");
}

#[test]
fn a_change_that_nothing_could_see_is_found_within_thirty_days_and_points_go_on_meanwhile() {
    const HOUR: u64 = 3_600_000;
    let mut history = History::new(5, Fault::None);
    history.settle(20_000);
    history.server.rest();
    history.server.change_unseen();
    let (mut compared, mut hours) = ([0; 2], 0);
    let mut more = 10;
    while more > 0 {
        history.server.pass_millis(HOUR);
        hours += 1;
        assert!(hours <= 30 * 24 + 12, "{compared:?}");
        more -= u32::from(!compared.contains(&0));
        for _ in 0..20 {
            history.pass();
            let disks = history.replicator.disks();
            let verified: Vec<usize> =
                (0..2).filter(|place| disks[*place].compare.is_some()).collect();
            assert!(verified.len() <= 1, "both at once");
            for place in verified {
                let begun = &mut compared[place];
                *begun = if *begun == 0 { hours } else { *begun };
            }
            let clean = |point: &Point| point.cut.instant == pipeline_wire::message::Instant::Crash;
            assert!(history.appliance.points.iter().all(clean));
            // Until then they are not what the disks are: that is what cannot be seen.
            history.appliance.points.clear();
        }
    }
    assert!(compared.iter().all(|hours| (24 * 24..=30 * 24).contains(hours)), "{compared:?}");
    history.settle(20_000);
    // And it is remembered that it was: nobody begins at once again.
    history.kill();
    history.settle(20_000);
    assert!(history.replicator.disks().iter().all(|disk| disk.compare.is_none()));
}

#[test]
fn a_disk_that_reads_nothing_ends_no_points_of_others_and_is_looked_at_again() {
    let mut history = History::new(4, Fault::Refuses);
    history.settle(20_000);
    history.server.refuse();
    let (freezes, fuzzy) = (history.server.freezes(), history.tally.fuzzy);
    for _ in 0..2000 {
        history.server.write(3);
        history.go_on();
        if history.tally.fuzzy > fuzzy + 2 {
            break;
        }
    }
    assert!(history.tally.fuzzy > fuzzy + 2, "no point comes: {:?}", history.replicator.report());
    let tried = history.server.freezes() - freezes;
    assert!((1..10).contains(&tried), "{tried} freezes");
    let gone = history.replicator.disks()[1].gone.clone().unwrap();
    assert!(gone.contains("cannot be read"), "{gone}");
    assert!(!history.replicator.has_answered(), "it was asked just now");
    history.server.pass_millis(GONE_MILLIS);
    assert!(history.replicator.has_answered() && !history.replicator.has_answered(), "once");
}

/// How old the newest point in the vault had become each time that the next was there, which takes so long from the spool to
/// the vault. A minute without writers, and two with them.
fn ages(seed: u64, to_vault_millis: u64) -> Vec<u64> {
    let mut history = History::new(seed, Fault::None);
    history.server.calm();
    history.settle(20_000);
    let (began, mut newest, mut ages) = (history.server.millis(), None, Vec::new());
    let mut under_way = VecDeque::new();
    while history.server.millis() < began + 180_000 {
        history.server.pass_millis(50);
        let now = history.server.millis();
        if now > began + 60_000 {
            history.server.write(6);
        }
        while history.replicator.step().is_zero() {}
        let exchange = history.exchange();
        // So many messages in each twentieth of a second.
        history.appliance.hear(&exchange, 20);
        history.appliance.answer(&exchange);
        let came = history.appliance.points.iter().map(|point| point.cut.at_millis);
        under_way.extend(came.map(|at| (now + to_vault_millis, at)));
        history.judge();
        while let Some((_, at)) =
            under_way.front().copied().filter(|(there, _): &(u64, u64)| *there <= now)
        {
            under_way.pop_front();
            history.appliance.drain(&exchange);
            ages.extend(newest.map(|newest| now - newest));
            newest = Some(at);
        }
    }
    ages
}

#[test]
fn the_next_point_is_in_the_vault_before_the_newest_is_older_than_the_policy_wants() {
    for seed in 0..10 {
        println!("seed {seed}");
        for to_vault_millis in [200, 1500, 3000] {
            let ages = ages(seed, to_vault_millis);
            // Of the first, what nobody has seen is foreseen by nobody.
            let late = ages.iter().skip(1).filter(|age| **age > 10_000).count();
            assert_eq!(late, 0, "{to_vault_millis} ms: {ages:?}");
            assert!((17..36).contains(&ages.len()), "{to_vault_millis} ms: {ages:?}");
        }
    }
}
