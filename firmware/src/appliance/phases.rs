//! Boot as data: what each phase needs, and what happens when it fails; and the runner, which knows no phase.
//!
//! It refuses to mount, load or wait itself: a phase does, and time is handed in.

use core::panic::AssertUnwindSafe;
use core::time::Duration;
use std::panic::catch_unwind;

/// What a failed phase means for the rest of the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// The rest goes on without it, and the console says so.
    GoOn,
    /// Tried so many times more, with this pause between, then as `GoOn`.
    Retry {
        /// Further tries.
        times: u8,
        /// Before each.
        pause: Duration,
    },
    /// Nothing after it makes sense: the machine stays up for a person to read why.
    Stay,
    /// Only a new start can help: after a pause that is long enough to read the reason.
    Reboot {
        /// Long enough to read, and to not wear out a server in a loop.
        pause: Duration,
    },
}

/// One phase of the boot.
pub(crate) struct Phase<C> {
    /// As the console and the machine-readable lines call it.
    pub(crate) name: &'static str,
    /// Earlier phases without which it is skipped.
    pub(crate) needs: &'static [&'static str],
    /// When it fails.
    pub(crate) on_failure: OnFailure,
    /// What it does; the words tell what came of it.
    pub(crate) run: fn(&C) -> Result<String, String>,
}

/// How a phase ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It did what it should.
    Done,
    /// It failed for good.
    Failed,
    /// It failed and is tried again.
    Again,
    /// Not tried: what it needs failed.
    Skipped,
}

impl State {
    /// One word for the console and the machine-readable lines.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Again => "again",
            Self::Skipped => "skipped",
        }
    }
}

/// One phase as it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Which.
    pub(crate) name: &'static str,
    /// How it ended.
    pub(crate) state: State,
    /// How long it took, retries apart.
    pub(crate) millis: u64,
    /// What came of it.
    pub(crate) words: String,
}

/// What the boot came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All that must be there is.
    Ready,
    /// A person is needed; the words say why.
    Stay(String),
    /// A new start after this pause; the words say why.
    Reboot(String, Duration),
}

/// The world as the runner needs it.
pub(crate) trait Around {
    /// Milliseconds of a clock that only runs forwards.
    fn millis(&self) -> u64;
    /// Waits.
    fn rest(&self, pause: Duration);
    /// Hears of a phase that begins.
    fn begins(&self, name: &'static str);
    /// Hears how it ended.
    fn ended(&self, step: &Step);
}

/// What is wrong with a plan: a need that is no earlier phase, or a name given twice.
#[cfg(test)]
pub(crate) fn flaws<C>(plan: &[Phase<C>]) -> Vec<String> {
    let mut flaws = Vec::new();
    for (place, phase) in plan.iter().enumerate() {
        let earlier = || plan.iter().take(place);
        if earlier().any(|other| other.name == phase.name) {
            flaws.push(format!("{} is there twice", phase.name));
        }
        for need in phase.needs {
            if !earlier().any(|other| other.name == *need) {
                flaws.push(format!("{} needs {need}, which is no earlier phase", phase.name));
            }
        }
    }
    flaws
}

/// Runs the plan in order.
pub(crate) fn run<C>(plan: &[Phase<C>], context: &C, around: &dyn Around) -> Verdict {
    let mut missing: Vec<&'static str> = Vec::new();
    for phase in plan {
        if let Some(need) = phase.needs.iter().find(|need| missing.contains(need)) {
            missing.push(phase.name);
            let words = format!("not tried, because {need} failed");
            around.ended(&Step { name: phase.name, state: State::Skipped, millis: 0, words });
            continue;
        }
        let Err(words) = attempt(phase, context, around) else { continue };
        missing.push(phase.name);
        match phase.on_failure {
            OnFailure::GoOn | OnFailure::Retry { .. } => {}
            OnFailure::Stay => return Verdict::Stay(format!("{}: {words}", phase.name)),
            OnFailure::Reboot { pause } => {
                return Verdict::Reboot(format!("{}: {words}", phase.name), pause);
            }
        }
    }
    Verdict::Ready
}

fn attempt<C>(phase: &Phase<C>, context: &C, around: &dyn Around) -> Result<(), String> {
    let (mut left, pause) = match phase.on_failure {
        OnFailure::Retry { times, pause } => (times, pause),
        _ => (0, Duration::ZERO),
    };
    around.begins(phase.name);
    loop {
        let began = around.millis();
        let result = guarded(|| (phase.run)(context));
        let millis = around.millis().saturating_sub(began);
        let (state, words) = match &result {
            Ok(words) => (State::Done, words.clone()),
            Err(words) if left > 0 => (State::Again, words.clone()),
            Err(words) => (State::Failed, words.clone()),
        };
        around.ended(&Step { name: phase.name, state, millis, words });
        if state != State::Again {
            return result.map(drop);
        }
        left -= 1;
        around.rest(pause);
    }
}

/// A panic is a failure like any other: it must never end the first process.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panic_words(&*panic)))
}

/// What a panic said.
pub(crate) fn panic_words(panic: &(dyn core::any::Any + Send)) -> String {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a word");
    format!("a fault of Lifeboat itself: {said}; please report it")
}

#[cfg(test)]
mod tests;
