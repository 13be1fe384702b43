//! Whose time is believed: what most of the servers agree on, within what a machine is used in, and within how far a clock that
//! was right once can be off. Whoever has the service that asks them, or a server, sets no clock beyond that.

use core::net::IpAddr;

use hal::time::Moment;

use super::{Sense, sense};
use crate::report::Utc;

/// Servers that are further apart than this do not agree.
const AGREE_MILLIS: u64 = 2000;
/// The hardware clock agrees with a server that says what it says within so much: it is read in whole seconds, and drifts.
const WITNESS_MILLIS: u64 = 60_000;
/// Once a server was believed the clock moves so much at once, at most, ...
const STEPS_MILLIS_MAX: u64 = 7 * 86_400_000;

/// What is believed.
#[derive(Debug, Default)]
pub(super) struct Judge {
    /// How much of the steps was used, and when that was counted; nothing before the first time that is believed.
    used: Option<(u64, Moment)>,
}

impl Judge {
    /// Whether the clock may be set so, and what then counts as used.
    ///
    /// ... and as time passes so much more: a clock moves forward no faster than twice as fast as time does. What the hardware's
    /// own clock says too, which nobody on a network sets, is no such step: a machine that was paused is behind by any time.
    pub(super) fn weigh(
        &self,
        moment: Moment,
        (now_millis, offset_millis): (u64, i64),
        built_seconds: u64,
        hardware_millis: Option<u64>,
    ) -> Result<Judge, String> {
        let right = now_millis.saturating_add_signed(offset_millis);
        if sense(right / 1000, built_seconds) != Sense::Plausible {
            return Err(format!("{}, when no machine runs this image", Utc(right)));
        }
        let Some((used, counted)) = self.used else { return Ok(Self { used: Some((0, moment)) }) };
        let has_witness =
            hardware_millis.is_some_and(|says| says.abs_diff(right) <= WITNESS_MILLIS);
        let step = if has_witness { 0 } else { offset_millis.unsigned_abs() };
        let used = used.saturating_sub(moment.since(counted)).saturating_add(step);
        if used > STEPS_MILLIS_MAX {
            return Err(format!(
                "{}, and a clock that was right before cannot be off by that much: where it is, start the machine again",
                Utc(right)
            ));
        }
        Ok(Self { used: Some((used, moment)) })
    }
}

/// What more than half of them agree on, as the first of these servers has it; servers in the order in which they count.
pub(super) fn agreed(answers: &[(IpAddr, i64)]) -> Result<(IpAddr, i64), String> {
    let near = |one: i64, other: i64| one.abs_diff(other) <= AGREE_MILLIS;
    let agrees = |(_, offset): &&(IpAddr, i64)| {
        let with_it = answers.iter().filter(|(_, other)| near(*offset, *other)).count();
        with_it * 2 > answers.len()
    };
    answers.iter().find(agrees).copied().ok_or_else(|| {
        let told = answers.iter().map(|(server, offset)| format!("{server} {offset} ms"));
        format!(
            "time servers do not agree on what is to be added to the clock ({}): name one that is right",
            told.collect::<Vec<_>>().join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILT: u64 = 1_790_000_000;
    const NOW: u64 = (BUILT + 30 * 86_400) * 1000;
    const DAY: i64 = 86_400_000;

    fn server(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn what_most_agree_on_is_believed_and_one_alone_where_there_is_no_other() {
        let told = |offsets: &[i64]| {
            let answers = offsets.iter().zip(1..);
            agreed(&answers.map(|(offset, last)| (server(last), *offset)).collect::<Vec<_>>())
        };
        assert_eq!(told(&[500]), Ok((server(1), 500)));
        assert_eq!(told(&[500, 700]), Ok((server(1), 500)));
        assert_eq!(told(&[DAY, 500, 700]), Ok((server(2), 500)));
        assert_eq!(told(&[500, DAY, 700]), Ok((server(1), 500)));
        assert_eq!(told(&[i64::MIN, 1, i64::MAX, -1, 2]), Ok((server(2), 1)));
        for apart in [&[0, DAY][..], &[0, DAY, -DAY], &[0, 1, DAY, DAY]] {
            assert!(told(apart).unwrap_err().contains("10.0.0.2"), "{apart:?}");
        }
        assert!(told(&[]).is_err());
    }

    #[test]
    fn no_time_is_believed_in_which_no_machine_runs_this_image() {
        let weigh = |offset| Judge::default().weigh(Moment(0), (NOW, offset), BUILT, None).is_ok();
        assert!(weigh(0) && weigh(-30 * DAY) && weigh(3650 * DAY));
        assert!(!weigh(-31 * DAY) && !weigh(365 * 30 * DAY));
        assert!(!weigh(i64::MIN) && !weigh(i64::MAX));
    }

    #[test]
    fn whoever_lies_moves_a_clock_that_was_right_by_a_week_and_then_no_faster_than_time_itself() {
        let (mut judge, mut now, mut moment) = (Judge::default(), NOW, Moment(0));
        judge = judge.weigh(moment, (now, 5000), BUILT, None).unwrap();
        assert!(
            judge
                .weigh(moment, (now, 8 * DAY), BUILT, None)
                .unwrap_err()
                .contains("start the machine")
        );
        assert!(judge.weigh(moment, (now, -8 * DAY), BUILT, None).is_err());
        // An hour of lies each, as large as is believed, for sixty days.
        for _ in 0..60 * 24 {
            moment = moment.after(3_600_000);
            now += 3_600_000;
            let step = [7 * DAY, DAY, DAY / 24, 1000].into_iter().find_map(|step| {
                let judged = judge.weigh(moment, (now, step), BUILT, None).ok()?;
                Some((step, judged))
            });
            if let Some((step, judged)) = step {
                (now, judge) = (now.saturating_add_signed(step), judged);
            }
        }
        let moved = now - NOW;
        assert!(moved <= 127 * 86_400_000, "{moved}");
        assert!(moved > 120 * 86_400_000, "what is allowed was used: {moved}");
    }

    #[test]
    fn a_machine_that_was_paused_for_long_is_set_right_where_its_hardware_clock_says_the_same() {
        let judge = Judge::default().weigh(Moment(0), (NOW, 0), BUILT, None).unwrap();
        let paused = 40 * DAY;
        let weigh = |hardware| judge.weigh(Moment(1), (NOW, paused), BUILT, hardware);
        let right = NOW.saturating_add_signed(paused);
        assert!(weigh(None).is_err() && weigh(Some(NOW)).is_err());
        assert!(weigh(Some(right + WITNESS_MILLIS + 1)).is_err());
        let after = weigh(Some(right - WITNESS_MILLIS)).unwrap();
        // It costs nothing of what is allowed without a witness.
        assert!(after.weigh(Moment(1), (right, 6 * DAY), BUILT, Some(NOW)).is_ok());
        assert!(after.weigh(Moment(1), (right, 8 * DAY), BUILT, Some(NOW)).is_err());
        // Not even that clock says when no machine runs this image.
        let late = NOW.saturating_add_signed(365 * 30 * DAY);
        assert!(judge.weigh(Moment(1), (NOW, 365 * 30 * DAY), BUILT, Some(late)).is_err());
    }
}
