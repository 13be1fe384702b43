//! Seeded histories of a capture: an appliance that comes and goes and loses its spool, a machine that is switched off and
//! ran in between. What is called made is the disks, bit for bit.

use std::sync::Mutex;

use hal::time::UnixMillis;
use hal_sim::random::Random;
use pipeline::limits::BLOCK_BYTES;

use pipeline_wire::message::DiskHello;

use super::*;
use crate::content::{Content, Each};
use crate::replicate::tests::appliance::{Appliance, UNREAD};

const SIZES: [usize; 2] = [900, 40];

/// Disks of stamps; a stamp that says so cannot be read.
type Stamps = Arc<Mutex<Vec<Vec<u64>>>>;

struct Stamped(Stamps, usize);

impl Content for Stamped {
    fn read(&mut self, blocks: &[u64], each: &mut Each<'_>) -> Result<(), DiskError> {
        let stamps = self.0.lock().unwrap()[self.1].clone();
        for block in blocks {
            let stamp = stamps[usize::try_from(*block).unwrap()];
            if stamp == UNREAD {
                let error = DiskError::new(hal::disk::ErrorKind::Medium, "a bad sector");
                each(*block, Err(&error));
                continue;
            }
            let mut content = vec![0; BLOCK_BYTES];
            content[..8].copy_from_slice(&stamp.to_le_bytes());
            each(*block, Ok(&content));
        }
        Ok(())
    }

    fn bytes(&mut self) -> Result<u64, DiskError> {
        Ok((SIZES[self.1] * BLOCK_BYTES) as u64)
    }
}

/// Stands still; randomness that never repeats within a history.
struct Means(Mutex<(u64, Random)>);

impl Clock for Means {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.lock().unwrap().0)
    }

    fn monotonic_nanos(&self) -> u64 {
        self.0.lock().unwrap().0 * 1_000_000
    }
}

impl Entropy for Means {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), hal::time::EntropyUnavailable> {
        self.0.lock().unwrap().1.fill(bytes);
        Ok(())
    }
}

struct History {
    random: Random,
    means: Arc<Means>,
    stamps: Stamps,
    appliance: Appliance,
    exchange: Arc<Exchange>,
    point: StillPoint,
}

fn disks(stamps: &Stamps) -> Vec<StillDisk> {
    let disk = |(place, size): (usize, &usize)| {
        let hello = DiskHello {
            name: format!("sd{place}"),
            identity: format!("serial={place}"),
            bytes: (size * BLOCK_BYTES) as u64,
            sector_bytes: 512,
        };
        StillDisk::new(hello, Box::new(Stamped(Arc::clone(stamps), place)))
    };
    SIZES.iter().enumerate().map(disk).collect()
}

fn start(stamps: &Stamps, means: &Arc<Means>) -> (Arc<Exchange>, StillPoint) {
    let exchange = Arc::new(Exchange::default());
    let both: (Arc<dyn Clock>, Arc<dyn Entropy>) = (means.clone(), means.clone());
    let (binding, disks) = (Binding::default(), disks(stamps));
    let point = StillPoint::new(exchange.clone(), both, binding, disks, Instant::Crash, Vec::new());
    (exchange, point.unwrap())
}

impl History {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let stamp = |random: &mut Random| match random.below(10) {
            0..3 => 0,
            3 => UNREAD,
            _ => random.number().min(UNREAD - 1),
        };
        let stamps = SIZES.map(|size| (0..size).map(|_| stamp(&mut random)).collect());
        let stamps: Stamps = Arc::new(Mutex::new(stamps.to_vec()));
        let means = Arc::new(Means(Mutex::new((1000, Random::new(seed + 1)))));
        let (exchange, point) = start(&stamps, &means);
        let appliance = Appliance::new(SIZES.to_vec());
        Self { random, means, stamps, appliance, exchange, point }
    }

    /// The machine was switched off, ran for a while, and is started for a capture again; how many blocks changed.
    fn begin_again(&mut self, most: u64) -> u64 {
        self.appliance.cut_network(&self.exchange);
        let mut changed = 0;
        for _ in 0..self.random.below(most + 1) {
            let block = usize::try_from(self.random.below(SIZES[0] as u64)).unwrap();
            let fresh = self.random.number().min(UNREAD - 1);
            changed += u64::from(fresh != 0);
            self.stamps.lock().unwrap()[0][block] = fresh;
        }
        (self.exchange, self.point) = start(&self.stamps, &self.means);
        changed
    }

    fn act(&mut self) {
        self.means.0.lock().unwrap().0 += self.random.below(3000);
        match self.random.below(100) {
            0..50 => drop(self.step()),
            50..80 => self.appliance.hear(&self.exchange, 1 + self.random.below(20)),
            80..90 => self.appliance.answer(&self.exchange),
            90..93 => self.appliance.drain(&self.exchange),
            93..95 => self.appliance.cut_network(&self.exchange),
            95 if self.random.below(3) == 0 => self.appliance.lose_spool(&self.exchange),
            96 if self.random.below(4) == 0 => drop(self.begin_again(20)),
            _ => self.appliance.connect(&self.exchange),
        }
        self.judge();
    }

    /// Whether the point is made. A session of an older run ends.
    fn step(&mut self) -> bool {
        let (before, _) = self.exchange.introduction().unwrap();
        let made = matches!(self.point.step().unwrap(), Step::Made(_));
        if self.exchange.introduction().unwrap().0 != before {
            self.appliance.cut_network(&self.exchange);
        }
        made
    }

    /// Every point is the disks as they are now: they change only while no point is on its way.
    fn judge(&mut self) {
        let truth = self.stamps.lock().unwrap().clone();
        for point in self.appliance.points.drain(..) {
            let cut = point.cut;
            assert_eq!(cut.instant, Instant::Crash);
            assert!(point.disks == truth, "the point of epoch {} is not the disks", cut.epoch);
            let said = cut.remarks.iter().any(|remark| remark.contains("cannot be read"));
            let bad = truth.iter().flatten().any(|stamp| *stamp == UNREAD);
            assert_eq!(said, bad, "{:?}", cut.remarks);
        }
    }

    /// Without trouble from here on, until it is made.
    fn finish(&mut self) {
        for _ in 0..2000 {
            self.means.0.lock().unwrap().0 += 500;
            self.appliance.connect(&self.exchange);
            let made = self.step();
            self.appliance.hear(&self.exchange, 1000);
            self.appliance.answer(&self.exchange);
            self.appliance.drain(&self.exchange);
            self.judge();
            if made {
                return;
            }
        }
        panic!("no point comes: {:?}, {:?}", self.point.work(), self.point.loss);
    }
}

#[test]
fn what_is_called_made_is_the_disks_whatever_happens_on_the_way() {
    let seeds = std::env::var("LIFEBOAT_CAPTURE_HISTORIES").ok().and_then(|n| n.parse().ok());
    for seed in 0..seeds.unwrap_or(50_u64) {
        println!("seed {seed}");
        let mut history = History::new(seed);
        for _ in 0..history.random.below(1500) {
            history.act();
        }
        history.finish();
        let unread: u64 = history.point.disks().iter().map(StillDisk::unread_blocks).sum();
        let stamps = history.stamps.lock().unwrap();
        let bad = stamps.iter().flatten().filter(|stamp| **stamp == UNREAD).count();
        assert_eq!(unread, bad as u64, "seed {seed}");
    }
}

#[test]
fn a_second_capture_sends_what_differs_and_nothing_else() {
    let mut history = History::new(7);
    history.finish();
    let first = history.point.work();
    assert_eq!(first.done_bytes, first.total_bytes);
    assert_eq!(first.known_blocks, 0);
    // What cannot be read may be readable by now, and is tried and said again; here it is mended.
    for stamp in history.stamps.lock().unwrap().iter_mut().flatten() {
        *stamp = if *stamp == UNREAD { 0 } else { *stamp };
    }
    history.begin_again(0);
    history.finish();
    let changed = history.begin_again(50);
    history.finish();
    let work = history.point.work();
    let block = BLOCK_BYTES as u64;
    assert!(changed > 0 && work.sent_bytes <= changed * block, "{work:?}, {changed} changed");
    assert_eq!(work.new_blocks + work.known_blocks, (SIZES[0] + SIZES[1]) as u64);
    assert!(work.sent_bytes > 0 && work.done_bytes == work.total_bytes, "{work:?}");
    history.begin_again(0);
    history.finish();
    assert_eq!(history.point.work().sent_bytes, 0, "nothing changed");
}

#[test]
fn an_appliance_that_lost_everything_it_had_acknowledged_gets_all_of_it_again() {
    let mut history = History::new(3);
    while !history.point.is_closed() || history.exchange.kept_bytes() > 0 {
        history.appliance.connect(&history.exchange);
        assert!(!history.step());
        history.appliance.hear(&history.exchange, 1000);
        history.appliance.answer(&history.exchange);
    }
    history.appliance.cut_network(&history.exchange);
    history.judge();
    // Its spool is another one, and empty.
    history.appliance = Appliance::new(SIZES.to_vec());
    history.finish();
    let work = history.point.work();
    assert_eq!(work.done_bytes, work.total_bytes);
}

#[test]
fn a_disk_that_the_policy_leaves_out_is_not_in_the_point_and_all_of_them_are_refused() {
    let mut history = History::new(5);
    history.appliance.policy.left_out = vec!["sd0".to_owned()];
    history.appliance.connect(&history.exchange);
    assert_eq!(history.point.step(), Ok(Step::Rest(REST)));
    let names: Vec<&str> =
        history.point.disks().iter().map(|disk| disk.hello().name.as_str()).collect();
    assert_eq!(names, ["sd1"]);
    let (_, introduced) = history.exchange.introduction().unwrap();
    assert_eq!(introduced.disks.len(), 1, "a run without it begins");
    assert!(history.point.remarks[0].contains("sd0 is left out"));
    let mut history = History::new(6);
    history.appliance.policy.left_out = vec!["sd0".to_owned(), "sd1".to_owned()];
    history.appliance.connect(&history.exchange);
    assert_eq!(history.point.step(), Err(NoPoint::LeftOut));
}

#[test]
fn a_refusal_that_only_a_person_can_mend_ends_it_and_another_does_not() {
    use pipeline_wire::message::{Refused, Why};

    let refused =
        |why| Event::Refused(Refused { why, words: "no".to_owned(), remedy: "ask".to_owned() });
    let mut history = History::new(9);
    assert_eq!(history.point.hear(refused(Why::Later)), Ok(()));
    assert_eq!(
        history.point.hear(refused(Why::Copy)),
        Err(NoPoint::Refused("no".to_owned(), "ask".to_owned()))
    );
}
