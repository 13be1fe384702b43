//! What protection would need and cost, from the server's own churn: changes are tracked for some days, and nothing is sent.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use pipeline::limits::{BLOCK_BYTES, SEGMENT_BYTES_MAX};
use serde::Serialize;

use crate::blocks::BlockSet;
use crate::devices;
use crate::tracker::{self, Tracker};

/// Where its marks have their names, apart from those of a running agent.
const PINS: &str = "/sys/fs/bpf/lifeboat-measure";
/// A point each minute is what is measured.
const MINUTE: Duration = Duration::from_secs(60);
const HOUR_MINUTES: u64 = 60;
const DAY_MINUTES: u64 = 24 * HOUR_MINUTES;
/// What changed blocks shrink to, in percent: half, as files of servers mostly do.
const STORED_PERCENT: u64 = 50;
const PRICES: &str = include_str!("../measure/prices.txt");

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Churn {
    /// Minutes that were measured.
    pub minutes: u64,
    /// Size of all disks.
    pub disk_bytes: u64,
    /// What the server wrote.
    pub written_bytes: u64,
    /// What points of each minute would have sent, in all.
    pub sent_bytes: u64,
    /// Most of one minute.
    pub minute_bytes_max: u64,
    /// Most of one hour.
    pub hour_bytes_max: u64,
    /// What changed of a day, each block once: what the vault grows by where a point a day is kept. The most of a day.
    pub day_bytes_max: u64,
}

/// Adds up minutes.
#[derive(Debug, Default)]
struct Sum {
    churn: Churn,
    hour_bytes: u64,
    day: Vec<BlockSet>,
}

impl Sum {
    fn minute(&mut self, taken: &[BlockSet]) {
        let bytes = |sets: &[BlockSet]| -> u64 {
            sets.iter().map(BlockSet::count).sum::<u64>().saturating_mul(BLOCK_BYTES as u64)
        };
        let sent = bytes(taken);
        self.churn.minutes += 1;
        self.churn.sent_bytes += sent;
        self.churn.minute_bytes_max = self.churn.minute_bytes_max.max(sent);
        self.hour_bytes += sent;
        self.churn.hour_bytes_max = self.churn.hour_bytes_max.max(self.hour_bytes);
        if self.churn.minutes.is_multiple_of(HOUR_MINUTES) {
            self.hour_bytes = 0;
        }
        if self.day.is_empty() {
            self.day = taken.to_vec();
        }
        self.day.iter_mut().zip(taken).for_each(|(day, taken)| day.union(taken));
        self.churn.day_bytes_max = self.churn.day_bytes_max.max(bytes(&self.day));
        if self.churn.minutes.is_multiple_of(DAY_MINUTES) {
            self.day.clear();
        }
    }
}

/// Measures for so many days, or until it is stopped: then what was measured until then counts.
///
/// Errors: this kernel tracks nothing.
pub fn measure(days: u32, stop: &AtomicBool) -> Result<Churn, String> {
    let leaves = devices::leaves();
    let options = tracker::Options { pins: PathBuf::from(PINS), ..tracker::Options::default() };
    let mut tracker = tracker::attach(&leaves, &options)?.tracker;
    let sets = || -> Vec<BlockSet> {
        leaves.iter().map(|leaf| BlockSet::new(leaf.bytes.div_ceil(BLOCK_BYTES as u64))).collect()
    };
    let mut sum = Sum::default();
    sum.churn.disk_bytes = leaves.iter().map(|leaf| leaf.bytes).sum();
    log::info!(
        "measuring for {days} days; nothing is sent; stop it at any time for what is known by then"
    );
    for _ in 0..u64::from(days) * DAY_MINUTES {
        let until = Instant::now() + MINUTE;
        while Instant::now() < until && !stop.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(200));
        }
        let mut taken = sets();
        for (place, set) in taken.iter_mut().enumerate() {
            if leaves.get(place).is_some_and(|leaf| leaf.untracked.is_none()) {
                tracker.take(place, set)?;
            }
        }
        sum.minute(&taken);
        if stop.load(Ordering::SeqCst) {
            break;
        }
    }
    sum.churn.written_bytes = tracker.written_bytes();
    tracker.remove()?;
    Ok(sum.churn)
}

fn price(name: &str) -> f64 {
    let lines = PRICES.lines().filter(|line| !line.starts_with('#'));
    let found = lines.filter_map(|line| line.split_once(' ')).find(|(word, _)| *word == name);
    found.and_then(|(_, price)| price.trim().parse().ok()).unwrap_or(0.0)
}

impl Churn {
    fn stored(bytes: u64) -> u64 {
        bytes / 100 * STORED_PERCENT
    }

    /// Bits a second that the link to the vault must take so that the busiest hour is through in an hour.
    #[must_use]
    pub fn link_bits(&self) -> u64 {
        Self::stored(self.hour_bytes_max).saturating_mul(8) / 3600
    }

    /// Bytes of spool that a day without a link needs.
    #[must_use]
    pub fn spool_day_bytes(&self) -> u64 {
        (self.sent_bytes / self.minutes.max(1)).saturating_mul(DAY_MINUTES)
    }

    /// Bytes that the vault has after a month: the first copy, and thirty days of a point a day kept.
    #[must_use]
    pub fn vault_month_bytes(&self) -> u64 {
        Self::stored(self.disk_bytes)
            .saturating_add(Self::stored(self.day_bytes_max).saturating_mul(30))
    }

    /// Objects that are written in a month.
    fn month_objects(&self) -> u64 {
        let day = Self::stored(self.spool_day_bytes()) / SEGMENT_BYTES_MAX as u64 + DAY_MINUTES;
        day * 30
    }
}

impl fmt::Display for Churn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: u64 = 1 << 20;
        #[expect(clippy::cast_precision_loss, reason = "money, to two places")]
        let gib = |bytes: u64| bytes as f64 / (1_u64 << 30) as f64;
        #[expect(clippy::cast_precision_loss, reason = "money, to two places")]
        let writes = self.month_objects() as f64 / 10_000.0 * price("write_ten_thousand");
        let vault = gib(self.vault_month_bytes());
        writeln!(
            f,
            "measured: {} minutes, disks of {:.1} GiB",
            self.minutes,
            gib(self.disk_bytes)
        )?;
        writeln!(f, "the server wrote {} MiB", self.written_bytes / MIB)?;
        writeln!(f, "with a point each minute it would have sent {} MiB", self.sent_bytes / MIB)?;
        writeln!(f, "  the busiest minute {} MiB", self.minute_bytes_max / MIB)?;
        writeln!(f, "  the busiest hour {} MiB", self.hour_bytes_max / MIB)?;
        let link = self.link_bits().div_ceil(100_000);
        writeln!(f, "link to the vault: at least {}.{} Mbit/s", link / 10, link % 10)?;
        writeln!(f, "spool for a day without that link: {:.1} GiB", gib(self.spool_day_bytes()))?;
        writeln!(f, "vault after a month, a point a day kept: {vault:.1} GiB")?;
        writeln!(
            f,
            "  at list prices: {:.2} hot or {:.2} cool a month, and {writes:.2} for writing (US dollars; assumed, ask Azure)",
            vault * price("hot_gib_month"),
            vault * price("cool_gib_month")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_hours_and_days_add_up() {
        let mut sum = Sum::default();
        sum.churn.disk_bytes = 100 << 30;
        let mut set = BlockSet::new(1000);
        set.insert_range(0, 16);
        for _ in 0..DAY_MINUTES + 30 {
            sum.minute(core::slice::from_ref(&set));
        }
        let mut other = BlockSet::new(1000);
        other.insert_range(500, 600);
        sum.minute(&[other]);
        let churn = sum.churn;
        assert_eq!(churn.minute_bytes_max, 100 * 65_536);
        assert_eq!(churn.hour_bytes_max, 60 << 20);
        assert_eq!(churn.day_bytes_max, 116 * 65_536, "each block of a day once");
        assert_eq!(churn.sent_bytes, (1470 << 20) + 100 * 65_536);
        assert_eq!(churn.link_bits(), (60 << 20) / 100 * 50 * 8 / 3600);
        let text = churn.to_string();
        assert!(text.contains("the busiest hour 60 MiB") && text.contains("US dollars"), "{text}");
    }

    #[test]
    fn every_price_is_there() {
        for name in ["hot_gib_month", "cool_gib_month", "write_ten_thousand"] {
            assert!(price(name) > 0.0, "{name}");
        }
    }
}
