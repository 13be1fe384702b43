//! Histories of servers, by seed: ordinary ones are no jump, an encrypted one is, within few points.

use hal_sim::random::Random;

use super::*;

const MINUTE: u64 = 60_000;
const BEGIN: u64 = 1_794_000_000_000 / (24 * HOUR_MILLIS) * 24 * HOUR_MILLIS;

/// What a server does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Habit {
    /// A database by day, little by night.
    Database,
    /// Logs that grow, and are packed by gzip at midnight.
    Logs,
    /// Mail and documents, half of them packed already.
    Documents,
    /// Nearly nothing.
    Idle,
}

/// A server's points, one each five minutes; the seed makes each server another.
struct Server {
    random: Random,
    habit: Habit,
    busy: f64,
    ratio: f64,
    /// At this hour each night a backup is written that does not compress, or none is.
    backup: Option<u64>,
}

impl Server {
    fn new(seed: u64, habit: Habit) -> Self {
        let mut random = Random::new(seed);
        let busy = 1.0 + f64::from(u32::try_from(random.below(100)).unwrap()) / 10.0;
        let ratio = 0.2 + f64::from(u32::try_from(random.below(40)).unwrap()) / 100.0;
        let backup = (random.below(2) == 0).then(|| random.below(6));
        Self { random, habit, busy, ratio, backup }
    }

    /// From `least` to about twenty times as much, small ones more often: what servers write is no bell.
    fn burst(&mut self, least: f64) -> f64 {
        let part = f64::from(u32::try_from(self.random.below(1000)).unwrap()) / 1000.0;
        least * (part * part * 3.0).exp()
    }

    fn sample(&mut self, at: u64) -> Sample {
        let hour = at / HOUR_MILLIS % 24;
        let day = (8..19).contains(&hour);
        let minute = at / MINUTE % 60;
        let (mut soft, mut dense) = match self.habit {
            Habit::Database => (self.burst(self.busy * if day { 6.0 } else { 1.0 }), 0.0),
            Habit::Logs => (
                self.burst(self.busy),
                if hour == 0 && minute < 5 { self.busy * 40.0 } else { 0.0 },
            ),
            Habit::Documents => {
                let all = self.burst(self.busy * if day { 4.0 } else { 0.5 });
                (all / 2.0, all / 2.0)
            }
            Habit::Idle => (self.burst(0.05), 0.0),
        };
        if self.backup == Some(hour) && minute < 30 {
            dense += self.burst(self.busy * 20.0);
        }
        // An upgrade of packages now and then: much, and it compresses.
        if self.random.below(600) == 0 {
            soft += 400.0;
        }
        let sway = 0.9 + f64::from(u32::try_from(self.random.below(200)).unwrap()) / 1000.0;
        let stored = soft * self.ratio * sway + dense;
        Sample { at, new_bytes: whole((soft + dense) * MIB), stored_bytes: whole(stored * MIB) }
    }

    fn days(&mut self, days: u64) -> Vec<Sample> {
        (0..days * 24 * 12).map(|at| self.sample(BEGIN + at * 5 * MINUTE)).collect()
    }
}

const HABITS: [Habit; 4] = [Habit::Database, Habit::Logs, Habit::Documents, Habit::Idle];

#[test]
fn ordinary_histories_jump_so_seldom_that_the_second_look_costs_nothing() {
    let (mut days, mut nights) = (0_usize, Vec::new());
    for seed in 0..24 {
        for habit in HABITS {
            let mut server = Server::new(seed, habit);
            let mut samples = Vec::new();
            for sample in server.days(10) {
                samples.push(sample);
                thin(&mut samples);
                let day = (sample.at - BEGIN) / HOUR_MILLIS / 24;
                if judge(&samples).is_some() && nights.last() != Some(&(seed, habit, day)) {
                    nights.push((seed, habit, day));
                }
            }
            days += 10;
        }
    }
    // A jump of the figures alone has the vault read, and raises nothing.
    let later = nights.iter().filter(|(.., day)| *day >= 3).count();
    println!(
        "in {days} days {} with a jump, {later} of them with three days of history",
        nights.len()
    );
    println!("{:?}", nights.iter().take(20).collect::<Vec<_>>());
    assert!(later * 100 <= days, "{later} of {days} days");
}

#[test]
fn files_that_are_encrypted_are_a_jump_within_few_points() {
    for seed in 0..40 {
        for habit in HABITS {
            let mut server = Server::new(seed, habit);
            let mut samples = server.days(10);
            let noon = samples.last().unwrap().at;
            for point in 0..12 * 12 {
                samples.push(server.sample(noon + (point + 1) * 5 * MINUTE));
            }
            let noon = samples.last().unwrap().at;
            // 60 MiB a point is 200 KiB a second: slow, for what it is.
            let raised = (1..=12).find(|point| {
                let mut sample = server.sample(noon + point * 5 * MINUTE);
                let encrypted = whole((60.0_f64).max(server.busy * 45.0) * MIB);
                sample.new_bytes += encrypted;
                sample.stored_bytes += encrypted;
                samples.push(sample);
                thin(&mut samples);
                judge(&samples).is_some()
            });
            assert!(raised.is_some_and(|point| point <= 8), "seed {seed}, {habit:?}: {raised:?}");
            let jump = judge(&samples).unwrap();
            let began = u64::try_from(jump.points).unwrap();
            assert!(
                began >= raised.unwrap(),
                "what is held is younger than the jump: seed {seed}, {habit:?}, {jump:?}"
            );
        }
    }
}

#[test]
fn what_compresses_is_no_jump_however_much_it_is() {
    for seed in 0..20 {
        let mut server = Server::new(seed, Habit::Database);
        let mut samples = server.days(5);
        let at = samples.last().unwrap().at + 5 * MINUTE;
        for point in 0..10 {
            let soft = 5000.0 * MIB;
            let stored_bytes = whole(soft * server.ratio);
            samples.push(Sample {
                at: at + point * 5 * MINUTE,
                new_bytes: whole(soft),
                stored_bytes,
            });
            assert_eq!(judge(&samples), None, "seed {seed}");
        }
    }
}

#[test]
fn there_is_no_jump_before_there_is_a_history_and_none_of_nothing() {
    let mut server = Server::new(1, Habit::Idle);
    let mut samples = server.days(1);
    samples.truncate(200);
    samples.push(Sample {
        at: samples.last().unwrap().at + 1,
        new_bytes: 1 << 33,
        stored_bytes: 1 << 33,
    });
    samples.push(Sample {
        at: samples.last().unwrap().at + 1,
        new_bytes: 1 << 33,
        stored_bytes: 1 << 33,
    });
    assert_eq!(judge(&samples), None, "less than a day");
    assert_eq!(judge(&[]), None);
    let nothing = vec![Sample { at: 5, ..Sample::default() }; 500];
    assert_eq!(judge(&nothing), None);
    let strange = |at: u64| Sample {
        at: at.wrapping_mul(u64::MAX / 7),
        new_bytes: u64::MAX,
        stored_bytes: u64::MAX,
    };
    let strange: Vec<Sample> = (0..500).map(strange).collect();
    // Whatever a clock or a manifest says, it is an answer.
    let _ = judge(&strange);
}

#[test]
fn a_month_has_bounds_and_keeps_its_largest() {
    let mut samples = Vec::new();
    for at in 0..40 * 24 * 60 {
        let stored_bytes = if at % 60 == 30 { 1000 } else { 1 };
        samples.push(Sample { at: BEGIN + at * MINUTE, new_bytes: 1, stored_bytes });
        thin(&mut samples);
        assert!(samples.len() <= 2 * 28 * 24 + WHOLE_MAX + 4);
    }
    let hours = &samples[..samples.len() - WHOLE_MAX];
    assert!(hours.is_sorted_by_key(|sample| sample.at));
    let large = hours.iter().filter(|sample| sample.stored_bytes == 1000).count();
    assert!(large * 2 >= hours.len() - 2, "{large} of {}", hours.len());
    assert!(samples[0].at + 29 * 24 * HOUR_MILLIS > samples.last().unwrap().at);
}
