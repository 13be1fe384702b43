//! Figures of servers over a month: steps of a minute, of five and of an hour, each with the worst that was measured in it.
//!
//! Every ring has a fixed number of places of two bytes: a server takes at most 16.4 KiB, 500 servers 8 MiB. It refuses to
//! measure anything itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use firmware_web::api::views::servers::{Figure, Series, SeriesAsked};

/// How it is kept across restarts.
mod saved;

/// Figures, in the order of their rings.
const FIGURES: [Figure; 5] =
    [Figure::Rpo, Figure::Churn, Figure::StoredPercent, Figure::Backlog, Figure::Frozen];
/// Length of a step in seconds, and how many there are: six hours, two days, a month.
const STEPS: [(u64, usize); 3] = [(60, 360), (300, 576), (3600, 744)];
/// Values of one answer.
const VALUES_MAX: u64 = 400;
/// Servers that are measured; what is over is left out.
const SERVERS_MAX: usize = 2000;
/// Nothing was measured.
const NONE: u16 = u16::MAX;

/// What was measured of all servers.
#[derive(Default)]
pub(crate) struct History(Mutex<BTreeMap<String, Rings>>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Rings([[Ring; 3]; 5]);

/// The newest steps of one length.
#[derive(Clone, Debug, Default, PartialEq)]
struct Ring {
    /// The newest last.
    values: VecDeque<u16>,
    /// The number of the newest step since 1970.
    newest: u64,
}

impl Ring {
    fn note(&mut self, step: u64, code: u16, room: usize) {
        // A wall clock that was set back measures into the newest step until it is there again; one that was far ahead begins anew.
        if self.values.is_empty() || self.newest > step + room as u64 {
            self.values.clear();
            self.newest = step;
            self.values.push_back(NONE);
        }
        let missed = step.saturating_sub(self.newest).min(room as u64);
        for _ in 0..missed {
            self.values.push_back(NONE);
        }
        while self.values.len() > room {
            self.values.pop_front();
        }
        self.newest = self.newest.max(step);
        if let Some(value) = self.values.back_mut() {
            *value = if *value == NONE { code } else { code.max(*value) };
        }
    }

    fn at(&self, step: u64) -> Option<u64> {
        let back = usize::try_from(self.newest.checked_sub(step)?).ok()?;
        let place = self.values.len().checked_sub(back + 1)?;
        self.values.get(place).filter(|code| **code != NONE).map(|code| decoded(*code))
    }
}

impl History {
    /// What was measured of a server now, by wall clock.
    pub(crate) fn note(&self, server: &str, now_millis: u64, measured: &[(Figure, u64)]) {
        let mut servers = self.lock();
        if servers.len() >= SERVERS_MAX && !servers.contains_key(server) {
            return;
        }
        let rings = servers.entry(server.to_owned()).or_default();
        for (figure, value) in measured {
            let code = coded(*value);
            for (ring, (seconds, room)) in rings.0[place(*figure)].iter_mut().zip(STEPS) {
                ring.note(now_millis / 1000 / seconds, code, room);
            }
        }
    }

    /// Forgets servers that are no more.
    pub(crate) fn keep_only(&self, is_there: &dyn Fn(&str) -> bool) {
        self.lock().retain(|server, _| is_there(server));
    }

    /// The worst of each of the last 60 minutes, the newest last.
    pub(crate) fn recent(&self, server: &str, now_millis: u64) -> Vec<Option<u32>> {
        let servers = self.lock();
        let newest = now_millis / 60_000;
        let ring = servers.get(server).map(|rings| &rings.0[place(Figure::Rpo)][0]);
        let value = |step: u64| ring.and_then(|ring| ring.at(step));
        let bounded = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        (newest.saturating_sub(59)..=newest).map(|step| value(step).map(bounded)).collect()
    }

    /// A figure over time, in the finest steps that are kept for so long and give no more than 400 values.
    pub(crate) fn series(&self, server: &str, asked: &SeriesAsked, now_millis: u64) -> Series {
        let span = asked.span_seconds.clamp(60, 744 * 3600);
        let fits = |(seconds, room): &(u64, usize)| {
            span.div_ceil(*seconds) <= VALUES_MAX.min(*room as u64)
        };
        let which = STEPS.iter().position(fits).unwrap_or(STEPS.len() - 1);
        let (seconds, _) = STEPS[which];
        let steps = span.div_ceil(seconds);
        let together = steps.div_ceil(VALUES_MAX);
        let count = steps.div_ceil(together);
        // Steps that are put together always begin at the same instants, or the picture would shiver.
        let newest = now_millis / 1000 / seconds / together;
        let first = newest.saturating_sub(count - 1);
        let servers = self.lock();
        let ring = servers.get(server).map(|rings| &rings.0[place(asked.figure)][which]);
        let value = |group: u64| {
            let mut worst = None;
            for step in group * together..(group + 1) * together {
                worst = worst.max(ring.and_then(|ring| ring.at(step)));
            }
            worst.map(|value| value as f64)
        };
        Series {
            began_millis: first * together * seconds * 1000,
            step_seconds: together * seconds,
            values: (first..=newest).map(value).collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Rings>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(figure: Figure) -> usize {
    FIGURES.iter().position(|known| *known == figure).unwrap_or(0)
}

/// A value in two bytes, to a thousandth, rounded down: a larger value never has a smaller code.
fn coded(value: u64) -> u16 {
    let low = |value: u64| u16::try_from(value & 1023).unwrap_or(0);
    let bits = 64 - value.leading_zeros();
    match bits.checked_sub(10) {
        None | Some(0) => low(value),
        Some(exponent) => {
            let mantissa = low(value >> (exponent - 1));
            u16::try_from(exponent).unwrap_or(0) * 1024 + mantissa
        }
    }
}

fn decoded(code: u16) -> u64 {
    let (exponent, mantissa) = (u32::from(code / 1024), u64::from(code % 1024));
    match exponent.checked_sub(1) {
        None => mantissa,
        // Damaged bytes may say anything.
        Some(shift) => (1024 + mantissa).checked_shl(shift).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests;
