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
const DEVIATIONS: f64 = 6.0;
/// The least that counts as a deviation: a history without any sway is no reason to jump at trifles.
const DEVIATION_LEAST: f64 = 0.35;
/// It must exceed the largest point of the same hour too: a nightly backup is no jump.
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
    SPANS.iter().filter(|span| **span * 2 <= samples.len()).find_map(|span| {
        let (before, span) = samples.split_at(samples.len() - span);
        let since = newest.at.saturating_sub(HISTORY_MILLIS);
        let before = &before[before.partition_point(|sample| sample.at < since)..];
        let warm = before.len() >= WARM_POINTS
            && newest.at.saturating_sub(before.first()?.at) >= WARM_MILLIS;
        warm.then(|| jump(before, span, base)).flatten()
    })
}

fn jump(before: &[Sample], span: &[Sample], base: f64) -> Option<Jump> {
    let newest = span.last()?;
    let dense_of =
        |samples: &[Sample]| samples.iter().map(|sample| dense(sample, base)).collect::<Vec<f64>>();
    let dense_now: f64 = dense_of(span).iter().sum();
    let new_now: f64 = span.iter().map(|sample| float(sample.new_bytes)).sum();
    let share = if new_now > 0.0 { dense_now / new_now } else { 0.0 };
    let mean = dense_now / float(u64::try_from(span.len()).unwrap_or(1));
    let hour: Vec<Sample> =
        before.iter().filter(|sample| is_same_hour(sample.at, newest.at)).copied().collect();
    // The span itself grew up today: how today's hour went before it says nothing of other days.
    let others: Vec<Sample> =
        hour.iter().filter(|sample| newest.at - sample.at > 3 * HOUR_MILLIS).copied().collect();
    let history = if others.len() >= HOUR_POINTS { &others[..] } else { before };
    let mut steps: Vec<f64> = dense_of(history).into_iter().map(step).collect();
    let middle = median(&mut steps)?;
    let mut sways: Vec<f64> = steps.iter().map(|step| (step - middle).abs()).collect();
    // 1.4826 makes it the standard deviation where the sway is a normal one.
    let sway = (1.4826 * median(&mut sways)?).max(DEVIATION_LEAST);
    let largest = dense_of(&others).into_iter().fold(0.0, f64::max);
    let usual_share = share_of(history, base);
    let jumps = dense_now >= LEAST_MIB * MIB
        && (step(mean) - middle) / sway >= DEVIATIONS
        && mean > OVER_LARGEST * largest
        && share >= SHARE_LEAST
        && share - usual_share >= SHARE_MORE;
    let usual = middle.exp() * MIB - MIB;
    // It may have begun before the span: what leads up to it and is far from usual belongs to it.
    let leads = |sample: &&Sample| (step(dense(sample, base)) - middle) / sway >= DEVIATIONS / 2.0;
    let led = before.iter().rev().take(LED_MAX).take_while(leads).count();
    jumps.then(|| Jump {
        points: span.len() + led,
        dense_bytes: whole(dense_now),
        times: mean / usual.max(MIB),
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

fn is_same_hour(one: u64, other: u64) -> bool {
    let hour = |at: u64| at / HOUR_MILLIS % DAY_HOURS;
    let apart = hour(one).abs_diff(hour(other));
    apart <= 1 || apart == DAY_HOURS - 1
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
