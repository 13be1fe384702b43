//! What the builder says while it works: one line per step on standard error, with the seconds since the start.

use std::io::Write as _;
use std::time::Instant;

/// Says what happens.
#[derive(Debug)]
pub struct Progress {
    begin: Instant,
    quiet: bool,
}

impl Progress {
    /// Begins now.
    #[must_use]
    pub fn start(quiet: bool) -> Self {
        Self { begin: Instant::now(), quiet }
    }

    /// A step.
    pub fn say(&self, what: &str) {
        if !self.quiet {
            self.line(what);
        }
    }

    /// What must not be overlooked.
    pub fn loud(&self, what: &str) {
        self.line(&format!("WARNING: {what}"));
    }

    /// Seconds since the start.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    fn line(&self, what: &str) {
        // Nobody may be there to read it.
        let _ = writeln!(std::io::stderr().lock(), "image {:7.2} s  {what}", self.seconds());
    }
}
