//! Random histories of appending, syncing, reading, releasing and power cuts: what was acknowledged is there, in order, and
//! nothing is there that was never appended.

use super::*;

/// What a history knows of itself.
#[derive(Default)]
struct Story {
    /// Appended so far, in all openings; the number is the content.
    appended: u64,
    /// What must be there: numbers in order, from the oldest that was not released.
    durable: Vec<u64>,
    /// What may be there behind it.
    loose: Vec<u64>,
    /// Durably or maybe released: the numbers before which nothing must be.
    released: u64,
}

impl Story {
    fn check(&mut self, seed: u64, numbers: &[u64]) {
        // What was released may be there again where the release was cut; nothing else may.
        let from = numbers.iter().position(|number| *number >= self.released);
        let numbers = &numbers[from.unwrap_or(numbers.len())..];
        assert!(
            numbers.starts_with(&self.durable),
            "seed {seed}: acknowledged {:?}, found {numbers:?}",
            self.durable
        );
        let rest = &numbers[self.durable.len()..];
        assert!(self.loose.starts_with(rest), "seed {seed}: {:?}, found {rest:?}", self.loose);
        // Whatever was found is there from now on.
        self.durable = numbers.to_vec();
        self.loose.clear();
    }
}

fn step(
    spool: &mut Spool<SimDisk>,
    story: &mut Story,
    random: &mut Random,
) -> Result<(), SpoolError> {
    match random.below(10) {
        0..6 => match spool.append(&payload(story.appended, length(random))) {
            Ok(_) => {
                story.loose.push(story.appended);
                story.appended += 1;
                // It may have synced by itself; that is no promise to anybody.
            }
            Err(SpoolError::Full(..)) => {}
            Err(error) => {
                story.loose.push(story.appended);
                story.appended += 1;
                return Err(error);
            }
        },
        6..8 => {
            spool.sync()?;
            story.durable.append(&mut story.loose);
        }
        _ => {
            let (mut at, mut released) = (spool.head(), story.released);
            let most = if random.below(3) == 0 { 40 } else { 6 };
            for _ in 0..random.below(most) {
                match spool.read(at)? {
                    Read::Record { payload, after } => {
                        released = released.max(number_of(&payload) + 1);
                        at = after;
                    }
                    Read::End => break,
                    lost @ Read::Lost { .. } => panic!("{lost:?}"),
                }
            }
            spool.release(at)?;
            story.released = released;
            story.durable.retain(|number| *number >= story.released);
            story.loose.retain(|number| *number >= story.released);
        }
    }
    Ok(())
}

fn history(seed: u64, rounds: u64) -> (u64, u64) {
    let mut random = Random::new(seed);
    let sectors = [Sectors::Small, Sectors::Emulated, Sectors::Large];
    let sectors = sectors[usize::try_from(random.below(3)).unwrap()];
    let disk = SimDisk::with_sectors(DISK, sectors);
    format(disk.reopen(), &owner(1), &SimEntropy::new(seed)).unwrap();
    let mut story = Story::default();
    let (mut cuts, mut found) = (0, 0);
    for round in 0..rounds {
        let entropy = SimEntropy::new(seed.wrapping_mul(1000) + round);
        let vanish = random.below(2) == 0;
        if vanish {
            // Anywhere: while it is opened too.
            let after = Some(random.below(120));
            let reorder_per_million = 300_000;
            disk.set_faults(Faults {
                seed: seed + round,
                vanish_after_requests: after,
                reorder_per_million,
                ..Faults::default()
            });
        }
        if let Ok((mut spool, told)) = Spool::open(disk.reopen(), &owner(1), &entropy) {
            assert_eq!(told.troubles, [""; 0], "seed {seed}: a power cut is no damage");
            let (mut numbers, mut at) = (Vec::new(), spool.head());
            let read = loop {
                match spool.read(at) {
                    Ok(Read::Record { payload, after }) => {
                        numbers.push(number_of(&payload));
                        at = after;
                    }
                    Ok(Read::End) => break true,
                    Ok(lost) => panic!("seed {seed}: {lost:?}"),
                    Err(_) => break false,
                }
            };
            if read {
                story.check(seed, &numbers);
                found += story.durable.len() as u64;
                for _ in 0..random.below(60) {
                    if step(&mut spool, &mut story, &mut random).is_err() {
                        break;
                    }
                }
            }
        }
        disk.set_faults(Faults::default());
        if random.below(4) > 0 {
            disk.cut_power(random.number());
            cuts += 1;
        }
    }
    (cuts, found)
}

#[test]
fn no_history_of_power_cuts_loses_what_was_acknowledged_or_invents_anything() {
    let histories = std::env::var("LIFEBOAT_SPOOL_HISTORIES").ok();
    let histories = histories.and_then(|text| text.parse().ok()).unwrap_or(12_u64);
    let (mut cuts, mut found) = (0, 0);
    for seed in 0..histories {
        let (cut, there) = history(seed, 25);
        (cuts, found) = (cuts + cut, found + there);
    }
    assert!(cuts > 10 * histories && found > 100 * histories, "{cuts} cuts, {found} records");
}

#[test]
fn a_power_cut_at_every_request_of_one_history_loses_nothing() {
    let mut total = 0;
    for after in 0.. {
        let disk = SimDisk::new(DISK);
        format(disk.reopen(), &owner(1), &SimEntropy::new(1)).unwrap();
        disk.set_faults(Faults { vanish_after_requests: Some(after), ..Faults::default() });
        let (acknowledged, done) = play(&disk);
        disk.set_faults(Faults::default());
        disk.cut_power(after);
        let (numbers, missing) = all(&mut open(&disk, 1000 + after));
        assert!(numbers.len() as u64 >= acknowledged, "cut after {after}: {numbers:?}");
        assert_eq!((numbers.clone(), missing), ((0..numbers.len() as u64).collect(), 0));
        total += 1;
        if done {
            break;
        }
    }
    assert!(total > 60, "{total}");
}

/// Appends and syncs; how many records were acknowledged, and whether it came to its end.
fn play(disk: &SimDisk) -> (u64, bool) {
    let mut acknowledged = 0;
    let mut run = || -> Result<(), SpoolError> {
        let (mut spool, _) = Spool::open(disk.reopen(), &owner(1), &SimEntropy::new(50))?;
        for number in 0..30 {
            spool.append(&payload(number, 20_000))?;
            if number % 4 == 3 {
                acknowledged = spool.sync()?.number();
            }
        }
        Ok(())
    };
    let done = run().is_ok();
    (acknowledged, done)
}

#[test]
fn a_power_cut_while_formatting_leaves_a_spool_or_none() {
    let mut made = 0;
    for after in 0..40 {
        let disk = SimDisk::new(DISK);
        disk.load(0, &[0xCD; 8192]);
        disk.set_faults(Faults { vanish_after_requests: Some(after), ..Faults::default() });
        let formatted = format(disk.reopen(), &owner(1), &SimEntropy::new(2)).is_ok();
        disk.set_faults(Faults::default());
        disk.cut_power(after);
        match Spool::open(disk.reopen(), &owner(1), &SimEntropy::new(3)) {
            Ok(_) => made += 1,
            Err(SpoolError::None | SpoolError::Damaged(_)) => assert!(!formatted, "{after}"),
            Err(error) => panic!("{after}: {error}"),
        }
    }
    assert!(made > 0 && made < 40, "{made}");
}
