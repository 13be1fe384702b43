//! How many requests are in flight: more while that brings throughput, half as soon as the store says slow down.

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// Done: bytes moved, and how long it took.
    Done {
        /// Bytes sent or received.
        bytes: u64,
        /// From sending to the whole answer.
        micros: u64,
    },
    /// The store asked for less (429, 503 with a busy code, 500 timeouts).
    Throttled,
    /// The network failed (reset, timeout): perhaps too much, perhaps chance.
    Failed,
}

/// A window of replies is judged at once: one per request in flight, but at least this many.
const WINDOW_REPLIES_MIN: u32 = 4;
/// Throughput must grow by a twentieth for a wider window to have paid (measured windows vary by a few percent).
const GAIN_PARTS: u64 = 20;
/// Windows without growth before a wider one is tried again.
const PROBE_WINDOWS: u32 = 8;
/// Windows after throttling in which nothing grows.
const REST_WINDOWS: u32 = 2;

/// Additive increase, multiplicative decrease, over windows of replies.
#[derive(Clone, Debug)]
pub struct ParallelGovernor {
    floor: usize,
    ceiling: usize,
    allowed: usize,
    /// Doubling per window until the first sign of a limit.
    starting: bool,
    window: Window,
    /// Bytes per second of the last window, at its width.
    rate: u64,
    probing: bool,
    rest: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    replies: u32,
    bytes: u64,
    micros: u64,
    failures: u32,
    throttled: bool,
}

impl ParallelGovernor {
    /// Between `floor` (at least 1) and `ceiling`, beginning at `floor`.
    #[must_use]
    pub fn new(floor: usize, ceiling: usize) -> Self {
        let floor = floor.max(1);
        Self {
            floor,
            ceiling: ceiling.max(floor),
            allowed: floor,
            starting: true,
            window: Window::default(),
            rate: 0,
            probing: false,
            rest: 0,
        }
    }

    /// How many requests may be in flight now.
    #[must_use]
    pub fn allowed(&self) -> usize {
        self.allowed
    }

    /// Tells how a request ended. Gives how many may be in flight now.
    pub fn observe(&mut self, reply: Reply) -> usize {
        self.window.replies += 1;
        match reply {
            Reply::Done { bytes, micros } => {
                self.window.bytes = self.window.bytes.saturating_add(bytes);
                self.window.micros = self.window.micros.saturating_add(micros);
            }
            Reply::Failed => self.window.failures += 1,
            Reply::Throttled => self.throttle(),
        }
        let full = u32::try_from(self.allowed).unwrap_or(u32::MAX).max(WINDOW_REPLIES_MIN);
        if self.window.replies >= full {
            self.close_window();
        }
        self.allowed
    }

    /// At once, but once per window: all requests of one window learn of one and the same crowding.
    fn throttle(&mut self) {
        if !self.window.throttled {
            self.window.throttled = true;
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        self.allowed = (self.allowed / 2).max(self.floor);
        self.starting = false;
        self.probing = false;
        self.rest = REST_WINDOWS;
        self.rate = 0;
    }

    fn close_window(&mut self) {
        let window = core::mem::take(&mut self.window);
        if window.throttled {
            return;
        }
        // A lone failure is chance; a quarter of a window is not.
        if window.failures * 4 >= window.replies {
            self.shrink();
            return;
        }
        let rate = rate(&window, self.allowed);
        let grew = rate > self.rate.saturating_add(self.rate / GAIN_PARTS);
        if self.starting {
            self.start(grew);
        } else if self.probing {
            self.probing = false;
            if !grew {
                self.allowed = (self.allowed - 1).max(self.floor);
                self.rest = PROBE_WINDOWS;
                return;
            }
            self.widen(1);
        } else if self.rest > 0 {
            self.rest -= 1;
        } else {
            self.widen(1);
        }
        self.rate = rate;
    }

    fn start(&mut self, grew: bool) {
        if grew {
            self.widen(self.allowed);
            self.starting = self.allowed < self.ceiling;
        } else {
            // The last doubling brought nothing: half of it is enough, and single steps from there.
            self.allowed = (self.allowed * 3 / 4).max(self.floor);
            self.starting = false;
            self.rest = PROBE_WINDOWS;
        }
    }

    fn widen(&mut self, by: usize) {
        let wider = self.allowed.saturating_add(by).min(self.ceiling);
        self.probing = wider > self.allowed && !self.starting;
        self.allowed = wider;
    }
}

/// Bytes per second of `width` requests side by side, from what each moved while it lasted.
fn rate(window: &Window, width: usize) -> u64 {
    let width = u64::try_from(width).unwrap_or(u64::MAX);
    let bytes = window.bytes.saturating_mul(1_000_000) / window.micros.max(1);
    bytes.saturating_mul(width)
}

#[cfg(test)]
mod tests;
