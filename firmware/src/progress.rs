//! How far a long verb is: a bar on a terminal, a plain line every few seconds elsewhere, nothing with `--json`.
//!
//! Time is handed in; what is drawn is a pure function of counters and time. Only `Painter` owns a clock and a thread.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::report::{Size, Span, printable};

/// What the work counts as it goes; the painter only looks.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes of the disks dealt with so far.
    pub done: AtomicU64,
    /// Bytes of the disks to deal with, 0 while unknown.
    pub total: AtomicU64,
    /// Bytes that went into the vault or came out of it, 0 where that says nothing.
    pub stored: AtomicU64,
}

impl pipeline_vault::writer::Progress for Counters {
    fn total(&self, bytes: u64) {
        self.total.store(bytes, Ordering::Relaxed);
    }

    fn advance(&self, covered_bytes: u64, sent_bytes: u64) {
        self.done.fetch_add(covered_bytes, Ordering::Relaxed);
        self.stored.fetch_add(sent_bytes, Ordering::Relaxed);
    }
}

impl Counters {
    fn sample(&self, at: Duration) -> Sample {
        Sample {
            at,
            done: self.done.load(Ordering::Relaxed),
            total: self.total.load(Ordering::Relaxed),
            stored: self.stored.load(Ordering::Relaxed),
        }
    }
}

/// The counters at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Since the start.
    pub at: Duration,
    /// As in `Counters`.
    pub done: u64,
    /// As in `Counters`.
    pub total: u64,
    /// As in `Counters`.
    pub stored: u64,
}

/// How the progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One line, drawn over and over.
    Bar,
    /// A line now and then.
    Plain,
    /// A line of JSON every second, for a program that shows it in its own way.
    Json,
    /// Nothing.
    Quiet,
}

impl Mode {
    /// Lines of JSON with `--progress-json`, quiet with `--json` or `--quiet`, a bar where standard error is a terminal,
    /// plain lines elsewhere.
    #[must_use]
    pub fn choose(quiet: bool, json: bool) -> Self {
        if json {
            Self::Json
        } else if quiet {
            Self::Quiet
        } else if std::io::stderr().is_terminal() {
            Self::Bar
        } else {
            Self::Plain
        }
    }

    fn pause(self) -> Duration {
        match self {
            Self::Bar => Duration::from_millis(200),
            Self::Json => Duration::from_secs(1),
            Self::Plain | Self::Quiet => Duration::from_secs(5),
        }
    }
}

/// The rate is that of this long; longer hides a stall, shorter makes the time left jump.
const WINDOW: Duration = Duration::from_secs(10);
const BAR_COLUMNS: usize = 79;
const BAR_CELLS: usize = 12;

/// The last samples, and what follows from them.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    label: String,
    samples: VecDeque<Sample>,
}

impl Meter {
    /// A meter whose lines start with `label`.
    #[must_use]
    pub fn new(label: &str) -> Self {
        Self { label: printable(label), samples: VecDeque::from([Sample::default()]) }
    }

    /// Takes the counters at a later instant.
    pub fn look(&mut self, sample: Sample) {
        self.samples.push_back(sample);
        while self.samples.len() > 2 && sample.at.saturating_sub(self.samples[1].at) >= WINDOW {
            self.samples.pop_front();
        }
    }

    fn last(&self) -> Sample {
        self.samples.back().copied().unwrap_or_default()
    }

    /// Bytes a second lately; `None` before any time has passed.
    #[must_use]
    pub fn rate(&self) -> Option<u64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        per_second(last.done.saturating_sub(first.done), last.at.saturating_sub(first.at))
    }

    /// Time left at the present rate; `None` while the rate or the total is unknown.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        let last = self.last();
        let rate = self.rate().filter(|&rate| rate > 0)?;
        if last.total == 0 {
            return None;
        }
        Some(Duration::from_secs(last.total.saturating_sub(last.done).div_ceil(rate)))
    }

    fn percent(&self) -> Option<u64> {
        let last = self.last();
        let percent = u128::from(last.done) * 100 / u128::from(last.total.max(1));
        (last.total > 0).then(|| u64::try_from(percent.min(100)).expect("at most 100"))
    }

    /// Times smaller in the vault than on the disks, in tenths.
    fn ratio(&self) -> Option<String> {
        let last = self.last();
        let tenths = (u128::from(last.done) * 10).checked_div(u128::from(last.stored))?;
        Some(if tenths >= 10_000 {
            "1000+".to_owned()
        } else {
            format!("{}.{}", tenths / 10, tenths % 10)
        })
    }

    /// One line for a program.
    #[must_use]
    pub fn json(&self) -> String {
        let last = self.last();
        let rate = self.rate().unwrap_or(0);
        format!(
            r#"{{"done_bytes":{},"total_bytes":{},"stored_bytes":{},"bytes_per_second":{rate}}}"#,
            last.done, last.total, last.stored
        )
    }

    /// One line of at most 79 columns for a terminal.
    #[must_use]
    pub fn bar(&self) -> String {
        let last = self.last();
        let mut text = String::new();
        if let Some(percent) = self.percent() {
            let cells = usize::try_from(percent).unwrap_or(100) * BAR_CELLS / 100;
            text +=
                &format!("[{:<BAR_CELLS$}] {percent:3} %  {}", "#".repeat(cells), Size(last.done));
            text += &format!(" of {}", Size(last.total));
        } else {
            text += &Size(last.done).to_string();
        }
        text += &self.rate().map(|rate| format!("  {}/s", Size(rate))).unwrap_or_default();
        text += &self.ratio().map(|ratio| format!("  {ratio}:1")).unwrap_or_default();
        text += &self.left().map(|left| format!("  {} left", Span(left))).unwrap_or_default();
        let room = BAR_COLUMNS.saturating_sub(text.chars().count() + 1);
        let label: String =
            if room >= 6 { self.label.chars().take(room).collect() } else { String::new() };
        let line = if label.is_empty() { text } else { format!("{label} {text}") };
        line.chars().take(BAR_COLUMNS).collect()
    }

    /// One line for a log.
    #[must_use]
    pub fn plain(&self) -> String {
        let last = self.last();
        let mut text = format!("{}: ", self.label);
        match self.percent() {
            Some(percent) => {
                text += &format!("{percent} %, {} of {}", Size(last.done), Size(last.total));
            }
            None => text += &Size(last.done).to_string(),
        }
        text += &self.rate().map(|rate| format!(", {}/s", Size(rate))).unwrap_or_default();
        text += &self.ratio().map(|ratio| format!(", ratio {ratio}")).unwrap_or_default();
        text += &self.left().map(|left| format!(", {} left", Span(left))).unwrap_or_default();
        text
    }

    /// The line at the end: all of it, and the mean rate.
    #[must_use]
    pub fn summary(&self) -> String {
        let last = self.last();
        let mut text = format!("{}: {} in {}", self.label, Size(last.done), Span(last.at));
        if let Some(rate) = per_second(last.done, last.at) {
            text += &format!(", {}/s", Size(rate));
        }
        text += &self.ratio().map(|ratio| format!(", ratio {ratio}")).unwrap_or_default();
        text
    }
}

fn per_second(bytes: u64, time: Duration) -> Option<u64> {
    let rate = (u128::from(bytes) * 1000).checked_div(time.as_millis())?;
    Some(u64::try_from(rate).unwrap_or(u64::MAX))
}

/// Erases the bar; log lines are written between erasing and the next drawing.
pub(crate) const ERASE_LINE: &str = "\r\x1b[K";

/// How far the painter's owner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Working,
    /// It succeeded: the summary is worth a line.
    Done,
    /// It did not: the error says all.
    Failed,
}

/// Draws a meter from a thread of its own until it is finished or dropped.
#[derive(Debug)]
pub struct Painter {
    stop: Arc<(Mutex<Stage>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Painter {
    /// Starts drawing what `counters` says on standard error.
    #[must_use]
    pub fn start(label: &str, counters: Arc<Counters>, mode: Mode) -> Self {
        let stop = Arc::new((Mutex::new(Stage::Working), Condvar::new()));
        if mode == Mode::Quiet {
            return Self { stop, thread: None };
        }
        let meter = Meter::new(label);
        let seen = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("progress".to_owned())
            .spawn(move || paint(meter, &counters, mode, &seen))
            .map_err(|error| log::warn!("no progress is shown: {error}"))
            .ok();
        Self { stop, thread }
    }
}

impl Painter {
    /// Ends the drawing with a summary where the work succeeded.
    pub fn finish(self, succeeded: bool) {
        if succeeded {
            *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = Stage::Done;
        }
    }
}

impl Drop for Painter {
    fn drop(&mut self) {
        {
            let mut stage = self.stop.0.lock().unwrap_or_else(PoisonError::into_inner);
            if *stage == Stage::Working {
                *stage = Stage::Failed;
            }
        }
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // A painter that panicked has nothing to say that matters more than the verb's own result.
            let _ = thread.join();
        }
    }
}

fn paint(mut meter: Meter, counters: &Counters, mode: Mode, stop: &(Mutex<Stage>, Condvar)) {
    let start = Instant::now();
    let mut stage = stop.0.lock().unwrap_or_else(PoisonError::into_inner);
    while *stage == Stage::Working {
        let waited = stop.1.wait_timeout(stage, mode.pause());
        stage = waited.unwrap_or_else(PoisonError::into_inner).0;
        meter.look(counters.sample(start.elapsed()));
        match (*stage, mode) {
            (Stage::Working, Mode::Bar) => say(&format!("{ERASE_LINE}{}", meter.bar())),
            (Stage::Working, Mode::Plain) => say(&format!("{}\n", meter.plain())),
            (Stage::Working | Stage::Done, Mode::Json) => say(&format!("{}\n", meter.json())),
            (Stage::Failed, Mode::Bar) => say(ERASE_LINE),
            (Stage::Done, Mode::Bar) => say(&format!("{ERASE_LINE}{}\n", meter.summary())),
            (Stage::Done, Mode::Plain) => say(&format!("{}\n", meter.summary())),
            (_, Mode::Quiet) | (Stage::Failed, Mode::Plain | Mode::Json) => (),
        }
    }
}

fn say(text: &str) {
    // Progress that cannot be shown is no reason to stop the work.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests;
