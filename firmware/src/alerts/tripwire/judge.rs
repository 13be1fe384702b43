//! Whether a server writes what it never wrote: much more that does not compress than at the same hour of other days.
//!
//! Pure: figures of points in, a jump or none out. What a point says of itself is enough, so the vault is the history, and an
//! appliance that takes a vault over has it at once: how many blocks were new, and how many bytes they became. From their ratio
//! follows how much of what was new did not compress at all, if the rest of it compressed as this server's blocks usually do.
//! The weakness of it: it is an estimate. A server whose blocks never compress (it is encrypted already, or holds
//! films) has nothing to jump, and what is written a little at a time, for days, becomes its history.

/// One mebibyte.
const MIB: f64 = 1_048_576.0;
const HOUR_MILLIS: u64 = 3_600_000;
const DAY_HOURS: u64 = 24;
/// Points before there is a history to jump out of, and the time that they must span.
const WARM_POINTS: usize = 32;
const WARM_MILLIS: u64 = 24 * HOUR_MILLIS;
/// A jump may have gone on for so long already.
const FRESH_MILLIS: u64 = 6 * HOUR_MILLIS;
/// How far back the history goes.
const HISTORY_MILLIS: u64 = 28 * DAY_HOURS * HOUR_MILLIS;
/// Points of the same hour, with the hours beside it, that are enough to be a history of their own.
const HOUR_POINTS: usize = 24;
/// The newest points that are looked at together: a sudden jump in two, a slow one in more.
const SPANS: [usize; 6] = [2, 4, 8, 16, 32, 64];
/// Points that may lead up to a span.
const LED_MAX: usize = 256;
/// Less than this, in all points of a span, is no jump.
const LEAST_MIB: f64 = 24.0;
/// How far out of the history it must be: deviations from the median, on a scale where each step is a factor.
const DEVIATIONS: f64 = 3.0;
/// The least that counts as a deviation: a history without any sway is no reason to jump at trifles.
const DEVIATION_LEAST: f64 = 0.35;
/// Only points count that exceed the largest of their hour on other days: a nightly backup is no jump.
const OVER_LARGEST: f64 = 1.5;
/// How much of what is new must not compress, and how much more of it than usual.
const SHARE_LEAST: f64 = 0.4;
const SHARE_MORE: f64 = 0.25;
/// A server whose blocks usually become more than this of their size cannot jump.
const RATIO_MOST: f64 = 0.9;
/// A point of less than this says nothing of how blocks compress: the map's pages outweigh it.
const RATIO_BYTES_LEAST: f64 = 1.0 * MIB;

/// What a point says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Its instant, milliseconds since 1970.
    pub at: u64,
    /// Bytes of blocks that were new to the server.
    pub new_bytes: u64,
    /// Bytes that were stored for it.
    pub stored_bytes: u64,
}

/// A jump.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jump {
    /// How many of the newest points it is made of.
    pub points: usize,
    /// Bytes in them that do not compress.
    pub dense_bytes: u64,
    /// How many times as much as is usual at this hour.
    pub times: f64,
    /// How much of what was new in them does not compress, of a hundred.
    pub percent: u64,
}

/// Whether the newest points jump out of those before them. Samples are the oldest first; the first of a chain, which is a whole
/// disk, is not among them.
#[must_use]
pub fn judge(samples: &[Sample]) -> Option<Jump> {
    let newest = samples.last()?;
    let base = usual_ratio(samples)?;
    let since = newest.at.saturating_sub(HISTORY_MILLIS);
    // What is younger grew up with the jump itself: it says nothing of other days.
    let until = newest.at.saturating_sub(FRESH_MILLIS);
    let history = samples.get(
        samples.partition_point(|sample| sample.at < since)
            ..samples.partition_point(|sample| sample.at < until),
    )?;
    let span_millis = newest.at.saturating_sub(history.first()?.at);
    if history.len() < WARM_POINTS || span_millis < WARM_MILLIS {
        return None;
    }
    let usual = Usual::of(history, base);
    let spans = SPANS.iter().filter(|span| **span < samples.len());
    spans.into_iter().find_map(|span| jump(samples, *span, &usual))
}

/// What is usual at one hour of the day, with the hours beside it.
#[derive(Clone, Copy, Debug, Default)]
struct Hour {
    /// On the scale where each step is a factor: the middle, and how far points are from it.
    middle: f64,
    sway: f64,
    /// The largest.
    largest: f64,
    /// How much of what is new does not compress.
    share: f64,
}

/// What is usual.
struct Usual {
    base: f64,
    hours: [Hour; 24],
}

impl Usual {
    fn of(history: &[Sample], base: f64) -> Self {
        let mut hours = [Hour::default(); 24];
        let mut by_hour: [Vec<Sample>; 24] = core::array::from_fn(|_| Vec::new());
        for sample in history {
            by_hour[hour_of(sample.at)].push(*sample);
        }
        for (hour, usual) in hours.iter_mut().enumerate() {
            let beside = [(hour + 23) % 24, hour, (hour + 1) % 24];
            let same: Vec<Sample> = beside.iter().flat_map(|at| &by_hour[*at]).copied().collect();
            *usual = Hour::of(if same.len() >= HOUR_POINTS { &same } else { history }, base);
        }
        Self { base, hours }
    }

    fn at(&self, sample: &Sample) -> &Hour {
        &self.hours[hour_of(sample.at)]
    }

    /// What does not compress of a sample, beyond the largest of its hour.
    fn excess(&self, sample: &Sample) -> f64 {
        let most = OVER_LARGEST * self.at(sample).largest;
        let dense = dense(sample, self.base);
        if dense > most { dense } else { 0.0 }
    }
}

impl Hour {
    fn of(samples: &[Sample], base: f64) -> Self {
        let all: Vec<f64> = samples.iter().map(|sample| dense(sample, base)).collect();
        let mut steps: Vec<f64> = all.iter().copied().map(step).collect();
        let middle = median(&mut steps).unwrap_or(0.0);
        let mut sways: Vec<f64> = steps.iter().map(|step| (step - middle).abs()).collect();
        // 1.4826 makes it the standard deviation where the sway is a normal one.
        let sway = (1.4826 * median(&mut sways).unwrap_or(0.0)).max(DEVIATION_LEAST);
        let largest = all.iter().copied().fold(0.0, f64::max);
        Self { middle, sway, largest, share: share_of(samples, base) }
    }
}

fn jump(samples: &[Sample], span: usize, usual: &Usual) -> Option<Jump> {
    let (before, span) = samples.split_at(samples.len() - span);
    let excess: f64 = span.iter().map(|sample| usual.excess(sample)).sum();
    let new: f64 = span.iter().map(|sample| float(sample.new_bytes)).sum();
    if excess < LEAST_MIB * MIB {
        return None;
    }
    let share = excess / new;
    let mean = excess / float(u64::try_from(span.len()).unwrap_or(1));
    let most = |of: &dyn Fn(&Hour) -> f64| {
        span.iter().map(|sample| of(usual.at(sample))).fold(0.0, f64::max)
    };
    let (middle, sway) = (most(&|hour| hour.middle), most(&|hour| hour.sway));
    let jumps = (step(mean) - middle) / sway >= DEVIATIONS
        && share >= SHARE_LEAST
        && share - most(&|hour| hour.share) >= SHARE_MORE;
    // It may have begun before the span: what leads up to it and is far from usual belongs to it.
    let leads = |sample: &&Sample| {
        let hour = usual.at(sample);
        (step(dense(sample, usual.base)) - hour.middle) / hour.sway >= DEVIATIONS / 1.5
    };
    let led = before.iter().rev().take(LED_MAX).take_while(leads).count();
    jumps.then(|| Jump {
        points: span.len() + led,
        dense_bytes: whole(excess),
        times: mean / (middle.exp() * MIB - MIB).max(MIB),
        percent: whole(share * 100.0),
    })
}

/// How much of its size a new block usually becomes, by the middle of all points; nothing where that says nothing.
fn usual_ratio(samples: &[Sample]) -> Option<f64> {
    let telling = |sample: &&Sample| float(sample.new_bytes) >= RATIO_BYTES_LEAST;
    let ratio = |sample: &Sample| float(sample.stored_bytes) / float(sample.new_bytes);
    let mut ratios: Vec<f64> = samples.iter().filter(telling).map(ratio).collect();
    // Where no point says anything, a block becomes a half: jumps are told by their size then.
    let usual = median(&mut ratios).unwrap_or(0.5);
    (usual < RATIO_MOST).then_some(usual)
}

/// Bytes of a point's new blocks that did not compress, if the others did as usual.
fn dense(sample: &Sample, base: f64) -> f64 {
    let new = float(sample.new_bytes);
    if new == 0.0 {
        return 0.0;
    }
    let ratio = float(sample.stored_bytes) / new;
    if new < RATIO_BYTES_LEAST {
        // What is stored of it is pages of the map, for the most part.
        return 0.0;
    }
    new * ((ratio - base) / (1.0 - base)).clamp(0.0, 1.0)
}

fn share_of(samples: &[Sample], base: f64) -> f64 {
    let new: f64 = samples.iter().map(|sample| float(sample.new_bytes)).sum();
    let all: f64 = samples.iter().map(|sample| dense(sample, base)).sum();
    if new > 0.0 { all / new } else { 0.0 }
}

/// On this scale each step is a factor, and nothing is zero.
fn step(bytes: f64) -> f64 {
    (1.0 + bytes / MIB).ln()
}

/// Of the day, by UTC.
fn hour_of(at: u64) -> usize {
    usize::try_from(at / HOUR_MILLIS % DAY_HOURS).unwrap_or(0)
}

fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    let (_, value, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*value)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "bytes of points, far below where the last bits are lost"
)]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it saturates, and none is negative"
)]
fn whole(bytes: f64) -> u64 {
    bytes as u64
}

/// Forgets what is too old, and of older hours all but the first point and the largest, so that a month has bounds whatever the
/// interval is: 256 points and two for each hour.
pub fn thin(samples: &mut Vec<Sample>) {
    let Some(newest) = samples.last().copied() else { return };
    let whole = samples.len().saturating_sub(WHOLE_MAX);
    if whole == 0 {
        return;
    }
    let tail = samples.split_off(whole);
    let since = newest.at.saturating_sub(HISTORY_MILLIS);
    let mut kept: Vec<Sample> = Vec::new();
    for hour in samples.chunk_by(|one, other| one.at / HOUR_MILLIS == other.at / HOUR_MILLIS) {
        let fresh = hour.iter().filter(|sample| sample.at >= since);
        let largest = fresh.clone().max_by_key(|sample| sample.stored_bytes);
        let first = fresh.clone().next().filter(|first| Some(*first) != largest);
        let mut both: Vec<Sample> = first.into_iter().chain(largest).copied().collect();
        both.sort_by_key(|sample| sample.at);
        kept.append(&mut both);
    }
    kept.extend(tail);
    *samples = kept;
}

/// The newest points, which are kept one by one.
const WHOLE_MAX: usize = 256;

#[cfg(test)]
mod tests;
