//! A guest's serial line: what it prints as lines and events, and what is typed into it.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use core::time::Duration;

use crate::error::Error;

/// Bytes into lines, lines into events.
mod text;

pub use text::Event;
use text::Splitter;

/// Lines that an error shows of the console's end.
const TAIL_LINES: usize = 25;
/// What a kernel says when it gives up.
const PANIC: &str = "Kernel panic - not syncing";

/// One line, without its end and without what moves a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was complete, counted from the machine's start.
    pub at: Duration,
    /// Its text.
    pub text: String,
}

/// Where else a guest's words are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Echo {
    /// Nowhere.
    #[default]
    Silent,
    /// On standard error, among what a test prints.
    Errors,
    /// On standard output, as a terminal.
    Terminal,
}

impl Echo {
    /// Shown where `LIFEBOAT_VM_ECHO` is set, for who looks for the reason of a failure.
    pub(crate) fn from_environment() -> Self {
        match std::env::var_os("LIFEBOAT_VM_ECHO") {
            Some(_) => Self::Errors,
            None => Self::Silent,
        }
    }

    fn write(self, bytes: &[u8]) {
        // Nobody may be there to read it.
        let _ = match self {
            Self::Silent => Ok(()),
            Self::Errors => io::stderr().lock().write_all(bytes),
            Self::Terminal => {
                let mut output = io::stdout().lock();
                output.write_all(bytes).and_then(|()| output.flush())
            }
        };
    }
}

/// The console of a running machine. Waiting consumes: each wait begins after the line that the last one found.
#[derive(Clone, Debug)]
pub struct Console {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    input: Mutex<UnixStream>,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line>,
    splitter: Splitter,
    raw: Vec<u8>,
    /// The first line that no wait has looked at.
    next: usize,
    closed: bool,
}

/// What a wait found.
enum Found<T> {
    Yes(T),
    Closed,
    Panicked,
    NotYet,
}

impl Console {
    /// Reads a guest's serial line until it is closed.
    pub(crate) fn attach(stream: UnixStream, began: Instant, echo: Echo) -> Result<Self, Error> {
        let reader =
            stream.try_clone().map_err(|error| Error::io("opening the console twice", error))?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
            input: Mutex::new(stream),
        });
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("console".to_owned())
            .spawn(move || theirs.read(reader, began, echo))
            .map_err(|error| Error::io("starting the console's thread", error))?;
        Ok(Self { shared })
    }

    /// Types bytes, as a person at the other end would.
    pub fn type_bytes(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut input = self.shared.input.lock().unwrap_or_else(PoisonError::into_inner);
        input.write_all(bytes).map_err(|error| Error::io("typing into the console", error))
    }

    /// Types a line and the key that ends it.
    pub fn type_line(&self, line: &str) -> Result<(), Error> {
        self.type_bytes(format!("{line}\r").as_bytes())
    }

    /// Waits for an event of this name.
    pub fn event(&self, name: &str, wait: Duration) -> Result<Event, Error> {
        self.event_where(name, wait, |_| true)
    }

    /// Waits for an event of this name that `wanted` takes.
    pub fn event_where(
        &self,
        name: &str,
        wait: Duration,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Event, Error> {
        self.scan(&format!("the event {name}"), wait, |line| {
            Event::parse(line).filter(|event| event.name == name && wanted(event))
        })
    }

    /// Waits for an event of any name that `wanted` takes.
    pub fn any_event(
        &self,
        what: &str,
        wait: Duration,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Event, Error> {
        self.scan(&format!("the event {what}"), wait, |line| Event::parse(line).filter(&wanted))
    }

    /// Waits for a line that holds `words`.
    pub fn line(&self, words: &str, wait: Duration) -> Result<Line, Error> {
        self.scan(&format!("the line «{words}»"), wait, |line| {
            line.text.contains(words).then(|| line.clone())
        })
    }

    /// Waits for words anywhere in what was printed since the start, also where no line ends after them: a prompt.
    /// Control sequences that move the cursor are in the way here, so that a whole screen can be looked at.
    pub fn prompt(&self, words: &str, wait: Duration) -> Result<(), Error> {
        self.await_state(&format!("the words «{words}»"), wait, |state| {
            if state.splitter.pending().contains(words) {
                return Found::Yes(());
            }
            let seen =
                state.lines.iter().skip(state.next).position(|line| line.text.contains(words));
            match seen {
                Some(at) => {
                    state.next += at + 1;
                    Found::Yes(())
                }
                None if state.closed => Found::Closed,
                None => Found::NotYet,
            }
        })
    }

    /// Every event so far, whether waited for or not.
    pub fn events(&self) -> Vec<Event> {
        self.lines().iter().filter_map(Event::parse).collect()
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<Line> {
        self.shared.lock().lines.clone()
    }

    /// Every byte so far, control sequences too.
    pub fn bytes(&self) -> Vec<u8> {
        self.shared.lock().raw.clone()
    }

    /// Lets the next wait look only at what comes from now on.
    pub fn forget(&self) {
        let mut state = self.shared.lock();
        state.next = state.lines.len();
    }

    /// The last lines, for a person who wants to know where it hangs.
    pub fn tail(&self) -> String {
        self.shared.lock().tail()
    }

    fn scan<T>(
        &self,
        what: &str,
        wait: Duration,
        wanted: impl Fn(&Line) -> Option<T>,
    ) -> Result<T, Error> {
        self.await_state(what, wait, |state| {
            while let Some(line) = state.lines.get(state.next) {
                state.next += 1;
                if let Some(found) = wanted(line) {
                    return Found::Yes(found);
                }
                if line.text.contains(PANIC) {
                    return Found::Panicked;
                }
            }
            if state.closed { Found::Closed } else { Found::NotYet }
        })
    }

    fn await_state<T>(
        &self,
        what: &str,
        wait: Duration,
        mut look: impl FnMut(&mut State) -> Found<T>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + wait;
        let mut state = self.shared.lock();
        loop {
            let what = what.to_owned();
            match look(&mut state) {
                Found::Yes(found) => return Ok(found),
                Found::Closed => return Err(Error::Ended { what, console: state.tail() }),
                Found::Panicked => return Err(Error::Panicked { what, console: state.tail() }),
                Found::NotYet => (),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Timeout { what, after: wait, console: state.tail() });
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, mut stream: UnixStream, began: Instant, echo: Echo) {
        let mut buffer = [0_u8; 4096];
        loop {
            let bytes = match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // The other end is gone, by whatever way.
                Err(_) => break,
            };
            let Some(piece) = buffer.get(..bytes) else { break };
            echo.write(piece);
            let at = began.elapsed();
            let mut state = self.lock();
            state.raw.extend_from_slice(piece);
            let fresh = state.splitter.take(piece);
            state.lines.extend(fresh.into_iter().map(|text| Line { at, text }));
            drop(state);
            self.changed.notify_all();
        }
        let mut state = self.lock();
        if let Some(text) = state.splitter.finish() {
            state.lines.push(Line { at: began.elapsed(), text });
        }
        state.closed = true;
        drop(state);
        self.changed.notify_all();
    }
}

impl State {
    fn tail(&self) -> String {
        let from = self.lines.len().saturating_sub(TAIL_LINES);
        let mut tail = String::new();
        for line in self.lines.iter().skip(from) {
            tail.push_str(&format!("{:8.2} {}\n", line.at.as_secs_f32(), line.text));
        }
        tail.push_str(self.splitter.pending());
        tail
    }
}

#[cfg(test)]
mod tests;
