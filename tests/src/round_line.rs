//! A TCP proxy that counts round trips: whatever a client waits for comes only once the client has nothing more to ask.
//!
//! Opening a connection takes a round, and so does every answer: what is asked within one round is one trip over a long way,
//! and only what needed an answer is in the next. It measures no time. It ends a round when every request has its answer here
//! and nothing has stirred for a while; on a busy machine a client that was not let on in time looks as if it had waited, so one
//! round may be counted as two, never two as one.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use core::net::SocketAddr;
use core::time::Duration;

use crate::azurite::server::{Handler, Server};

/// Bytes that are moved at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// The proxy; it ends when this is dropped.
pub struct RoundLine {
    server: Server,
    rounds: Arc<Rounds>,
}

/// A request by its first line, and the round in which it was asked, counted from 1.
pub type Asked = (u32, String);

impl RoundLine {
    /// Starts it before a server. A round ends when nothing has stirred for so long.
    pub fn start(upstream: SocketAddr, patience: Duration) -> io::Result<Self> {
        let rounds = Arc::new(Rounds::default());
        let server = Server::start(Counted { upstream, rounds: Arc::clone(&rounds) })?;
        let turning = Arc::clone(&rounds);
        thread::spawn(move || turning.turn(patience));
        Ok(Self { server, rounds })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// How many rounds somebody waited for so far, and what was asked in which.
    pub fn counted(&self) -> (u32, Vec<Asked>) {
        let state = self.rounds.lock();
        (state.ended_rounds, state.asked.clone())
    }
}

impl Drop for RoundLine {
    fn drop(&mut self) {
        self.rounds.lock().over = true;
        self.rounds.changed.notify_all();
    }
}

#[derive(Default)]
struct Rounds {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ended_rounds: u32,
    /// Those who wait for the end of the round.
    waiting: u32,
    /// Requests whose answers are not here yet.
    unanswered: u32,
    last_stir: Option<Instant>,
    asked: Vec<Asked>,
    over: bool,
}

impl Rounds {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stir(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.last_stir = Some(Instant::now());
        state
    }

    /// Waits for the end of the round that had so many before it.
    fn wait_for_end(&self, of: u32) {
        let mut state = self.stir();
        state.waiting += 1;
        while state.ended_rounds == of && !state.over {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
        state.last_stir = Some(Instant::now());
    }

    fn turn(&self, patience: Duration) {
        let mut state = self.lock();
        while !state.over {
            let quiet = state.last_stir.is_some_and(|last| last.elapsed() > patience);
            if state.waiting > 0 && state.unanswered == 0 && quiet {
                state.ended_rounds += 1;
                state.last_stir = Some(Instant::now());
                self.changed.notify_all();
            }
            drop(state);
            thread::sleep(Duration::from_millis(2));
            state = self.lock();
        }
    }
}

struct Counted {
    upstream: SocketAddr,
    rounds: Arc<Rounds>,
}

/// What both directions of a connection know: the rounds that had ended when it was asked last, where that has no answer yet.
type Pending = Mutex<Option<u32>>;

impl Handler for Counted {
    fn serve(&self, near: TcpStream) -> io::Result<()> {
        let opened = self.rounds.stir().ended_rounds;
        self.rounds.wait_for_end(opened);
        let far = TcpStream::connect(self.upstream)?;
        far.set_nodelay(true)?;
        near.set_read_timeout(None)?;
        let pending = Arc::new(Pending::default());
        let (near_in, far_in) = (near.try_clone()?, far.try_clone()?);
        let (rounds, asked) = (Arc::clone(&self.rounds), Arc::clone(&pending));
        let out = thread::spawn(move || ask(near_in, far, &rounds, &asked));
        answer(far_in, near, &self.rounds, &pending);
        drop(out.join());
        Ok(())
    }
}

/// Hands on what is asked, at once, and notes it.
fn ask(mut near: TcpStream, mut far: TcpStream, rounds: &Rounds, pending: &Pending) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = near.read(&mut piece).unwrap_or(0);
        let mut state = rounds.stir();
        let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
        if length > 0 && pending.is_none() {
            *pending = Some(state.ended_rounds);
            state.unanswered += 1;
            let line = piece[..length].split(|byte| *byte == b'\r').next().unwrap_or_default();
            let asked = (state.ended_rounds + 1, String::from_utf8_lossy(line).into_owned());
            state.asked.push(asked);
        }
        drop((state, pending));
        if length == 0 || far.write_all(&piece[..length]).is_err() {
            drop(far.shutdown(Shutdown::Write));
            return;
        }
    }
}

/// Hands on what is answered, once the round is over in which it was asked.
fn answer(mut far: TcpStream, mut near: TcpStream, rounds: &Rounds, pending: &Pending) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = far.read(&mut piece).unwrap_or(0);
        let asked = pending.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(round) = asked {
            rounds.stir().unanswered -= 1;
            rounds.wait_for_end(round);
        }
        if length == 0 || near.write_all(&piece[..length]).is_err() {
            drop((near.shutdown(Shutdown::Both), far.shutdown(Shutdown::Both)));
            return;
        }
        drop(rounds.stir());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azurite::server::{Answers, answer as bytes_of};

    fn get(stream: &mut TcpStream, name: &str) {
        stream.write_all(format!("GET /{name} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
        let mut came = vec![0; bytes_of(200, &[], b"x").len()];
        stream.read_exact(&mut came).unwrap();
    }

    #[test]
    fn what_is_asked_at_once_is_one_round_and_a_connection_another() {
        let server = Server::start(Answers(|_: &_| bytes_of(200, &[], b"x"))).unwrap();
        let line = RoundLine::start(server.address(), Duration::from_millis(200)).unwrap();
        let mut streams = Vec::new();
        thread::scope(|scope| {
            let opened = ["a", "b", "c"].map(|name| {
                let address = line.address();
                scope.spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    get(&mut stream, name);
                    stream
                })
            });
            streams.extend(opened.map(|opened| opened.join().unwrap()));
        });
        get(&mut streams[0], "d");
        get(&mut streams[1], "e");
        let (rounds, asked) = line.counted();
        assert_eq!(rounds, 4, "{asked:?}");
        let mut rounds: Vec<u32> = asked.iter().map(|(round, _)| *round).collect();
        rounds.sort_unstable();
        assert_eq!(rounds, [2, 2, 2, 3, 4], "{asked:?}");
        assert!(asked.iter().any(|(_, line)| line == "GET /e HTTP/1.1"), "{asked:?}");
    }
}
