//! A TCP proxy that is only far away: every byte arrives later, in order, and no more are under way than a window.
//!
//! There is no netem where these tests run. It loses nothing and reorders nothing.

use std::collections::VecDeque;
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

/// How far away.
#[derive(Clone, Copy, Debug)]
pub struct Distance {
    /// The delay in each direction: half a round trip.
    pub one_way: Duration,
    /// Bytes of one connection and direction that are under way before the first of them is acknowledged.
    pub window_bytes: usize,
}

impl Default for Distance {
    /// 75 ms each way, and a window as a well-set Linux has it on such a path.
    fn default() -> Self {
        Self { one_way: Duration::from_millis(75), window_bytes: 4 * 1024 * 1024 }
    }
}

/// The proxy; it ends when this is dropped.
pub struct DelayLine {
    server: Server,
}

impl DelayLine {
    /// Starts it before a server.
    pub fn start(upstream: SocketAddr, distance: Distance) -> io::Result<Self> {
        Ok(Self { server: Server::start(Far { upstream, distance })? })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

struct Far {
    upstream: SocketAddr,
    distance: Distance,
}

impl Handler for Far {
    fn serve(&self, near: TcpStream) -> io::Result<()> {
        let far = TcpStream::connect(self.upstream)?;
        far.set_nodelay(true)?;
        near.set_read_timeout(None)?;
        // The kernel took the connection at once; over the real distance that costs a round trip.
        let opened = Instant::now() + self.distance.one_way * 2;
        let out = Lane::new(self.distance, opened);
        let back = Lane::new(self.distance, opened);
        let (near_in, far_in) = (near.try_clone()?, far.try_clone()?);
        let threads = [
            thread::spawn({
                let lane = Arc::clone(&out);
                move || lane.take_in(near_in)
            }),
            thread::spawn(move || out.give_out(far)),
            thread::spawn({
                let lane = Arc::clone(&back);
                move || lane.take_in(far_in)
            }),
            thread::spawn(move || back.give_out(near)),
        ];
        for thread in threads {
            drop(thread.join());
        }
        Ok(())
    }
}

/// One direction of one connection.
struct Lane {
    distance: Distance,
    opened: Instant,
    state: Mutex<LaneState>,
    changed: Condvar,
}

#[derive(Default)]
struct LaneState {
    /// Pieces under way and when they arrive; an empty piece is the end.
    under_way: VecDeque<(Instant, Vec<u8>)>,
    /// Bytes whose acknowledgement is not back yet, and when it is; those not delivered yet have no time.
    unacknowledged: usize,
    acknowledgements: VecDeque<(Instant, usize)>,
    broken: bool,
}

impl Lane {
    fn new(distance: Distance, opened: Instant) -> Arc<Self> {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Arc::new(Self { distance, opened, state, changed })
    }

    /// Reads what the sender sends, as far as the window allows.
    fn take_in(&self, mut from: TcpStream) {
        let mut piece = vec![0; PIECE_BYTES.min(self.distance.window_bytes.max(1))];
        loop {
            if !self.await_window(piece.len()) {
                drop(from.shutdown(Shutdown::Read));
                return;
            }
            // A broken connection ends like a closed one: whoever waits for bytes is told either way.
            let length = from.read(&mut piece).unwrap_or(0);
            let arrives = Instant::now().max(self.opened) + self.distance.one_way;
            let mut state = self.lock();
            state.unacknowledged += length;
            state.under_way.push_back((arrives, piece[..length].to_vec()));
            self.changed.notify_all();
            if length == 0 {
                return;
            }
        }
    }

    /// Writes what arrives, when it arrives.
    fn give_out(&self, mut to: TcpStream) {
        loop {
            let (arrives, piece) = self.next();
            thread::sleep(arrives.saturating_duration_since(Instant::now()));
            if piece.is_empty() {
                drop(to.shutdown(Shutdown::Write));
                return;
            }
            let written = to.write_all(&piece);
            let mut state = self.lock();
            let back = Instant::now() + self.distance.one_way;
            state.acknowledgements.push_back((back, piece.len()));
            state.broken |= written.is_err();
            self.changed.notify_all();
            if state.broken {
                return;
            }
        }
    }

    fn next(&self) -> (Instant, Vec<u8>) {
        let mut state = self.lock();
        loop {
            if let Some(next) = state.under_way.pop_front() {
                return next;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until the window has room for so many bytes; false when the receiver is gone.
    fn await_window(&self, bytes: usize) -> bool {
        let mut state = self.lock();
        loop {
            if state.broken {
                return false;
            }
            let now = Instant::now();
            while let Some((back, length)) = state.acknowledgements.front().copied() {
                if back > now {
                    break;
                }
                state.acknowledgements.pop_front();
                state.unacknowledged -= length;
            }
            if state.unacknowledged + bytes <= self.distance.window_bytes {
                return true;
            }
            let next = state.acknowledgements.front().map(|(back, _)| *back);
            let wait =
                next.map_or(self.distance.one_way, |back| back.saturating_duration_since(now));
            let wait = wait.max(Duration::from_micros(100));
            let waited = self.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::azurite::server::{Answers, answer};

    fn far_server(distance: Distance) -> (Server, DelayLine) {
        let server = Server::start(Answers(|request: &_| answer_of(request))).unwrap();
        let line = DelayLine::start(server.address(), distance).unwrap();
        (server, line)
    }

    fn answer_of(request: &crate::azurite::server::Incoming) -> Vec<u8> {
        answer(200, &[], &request.body)
    }

    fn post(stream: &mut TcpStream, body: &[u8]) -> Vec<u8> {
        let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut writer = stream.try_clone().unwrap();
        let bytes = [head.as_bytes(), body].concat();
        let sender = thread::spawn(move || writer.write_all(&bytes).unwrap());
        let mut head_bytes = answer(200, &[], &vec![0; body.len()]).len();
        let mut came = vec![0; head_bytes];
        stream.read_exact(&mut came).unwrap();
        sender.join().unwrap();
        head_bytes -= body.len();
        came.split_off(head_bytes)
    }

    #[test]
    fn a_round_trip_takes_its_time_and_keeps_the_order() {
        let distance = Distance { one_way: Duration::from_millis(40), window_bytes: 1 << 20 };
        let (_server, line) = far_server(distance);
        let mut stream = TcpStream::connect(line.address()).unwrap();
        let body: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let started = Instant::now();
        assert!(post(&mut stream, &body) == body, "the bytes came back changed");
        let first = started.elapsed();
        assert!(first >= Duration::from_millis(160), "opening and one round trip: {first:?}");
        let started = Instant::now();
        post(&mut stream, b"x");
        let second = started.elapsed();
        assert!(second >= Duration::from_millis(80), "one round trip: {second:?}");
        assert!(second < Duration::from_millis(400), "and not much more: {second:?}");
    }

    #[test]
    fn a_small_window_makes_a_far_line_slow() {
        let one_way = Duration::from_millis(20);
        let (_server, line) = far_server(Distance { one_way, window_bytes: 128 * 1024 });
        let mut stream = TcpStream::connect(line.address()).unwrap();
        let started = Instant::now();
        // Ten windows out and, overlapping, ten back: at least ten round trips.
        post(&mut stream, &vec![7; 10 * 128 * 1024]);
        let lasted = started.elapsed();
        assert!(lasted >= one_way * 2 * 10, "{lasted:?} is faster than the window allows");
    }
}
