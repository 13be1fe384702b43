//! From the door to what is behind it, and back: each request on a connection of its own, as HTTP/1.1 written anew from what the
//! door has read.
//!
//! The door calls over the line with a number and who asks, where no client can write; both ends of the connection are made
//! behind it, so that the door has none of what is read and written there, and one comes back with that number. That somebody
//! is known is told with the answer.

use core::convert::Infallible;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_io::Async;
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use smol::Executor;
use smol::channel::{Sender, bounded};
use smol::lock::Semaphore;
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::body::Told;
use super::front::HEAD_BYTES_MAX;
use super::places::ALL_MAX;
use super::{HELLO, Reply, Rooms, response};
use crate::services::line::{Line, MESSAGE_BYTES_MAX};

/// Header of an answer: whoever asked is known. It goes no further than the door.
const KNOWN: HeaderName = HeaderName::from_static("x-lifeboat-known");
/// What concerns one connection alone is each side's own.
const OF_ONE_CONNECTION: [HeaderName; 6] =
    [CONNECTION, EXPECT, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
/// A call begins with its number, and the number alone is its answer.
const NUMBER_BYTES: usize = 8;
/// Longest address with its port.
const PEER_BYTES_MAX: usize = 64;
const CALL_BYTES_MAX: usize = NUMBER_BYTES + PEER_BYTES_MAX;
/// What was read as a head within its limit is written with spaces and line ends of its own.
const WRITTEN_BYTES_MAX: usize = 2 * HEAD_BYTES_MAX;

/// The door's end.
pub(super) struct Relay {
    line: Async<Line>,
    executor: Arc<Executor<'static>>,
    number: AtomicU64,
    waiting: Mutex<BTreeMap<u64, Sender<Option<OwnedFd>>>>,
}

/// Who waits for an answer, and does no more however that ends: clients are displaced.
struct Waits<'a>(&'a Relay, u64);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting().remove(&self.1);
    }
}

/// Both ends, in one process.
pub(super) fn pair(executor: &Arc<Executor<'static>>) -> io::Result<(Relay, Async<Line>)> {
    let (one, other) = Line::pair()?;
    let relay = Relay::new(Async::new(one)?, Arc::clone(executor));
    Ok((relay, Async::new(Line::of(other)?)?))
}

impl Relay {
    /// On a line.
    pub(super) fn new(line: Async<Line>, executor: Arc<Executor<'static>>) -> Self {
        Self { line, executor, number: AtomicU64::new(0), waiting: Mutex::default() }
    }

    /// Hears what is answered, until nobody is there any more. What is no answer is for `told`.
    pub(super) async fn hear(&self, told: impl Fn(Vec<u8>)) {
        let next = || self.line.read_with(|line| line.receive(MESSAGE_BYTES_MAX));
        while let Ok(Some(handed)) = next().await {
            let Some(number) = number(&handed.bytes) else {
                told(handed.bytes);
                continue;
            };
            if let Some(waits) = self.waiting().remove(&number) {
                // Whoever gave up meanwhile wants none.
                let _ = waits.try_send(handed.files.into_iter().next());
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, Sender<Option<OwnedFd>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to what is behind the door.
    async fn stream(&self, peer: SocketAddr) -> io::Result<Async<UnixStream>> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = bounded(1);
        self.waiting().insert(number, answer);
        let _waits = Waits(self, number);
        let call = [&number.to_le_bytes()[..], peer.to_string().as_bytes()].concat();
        self.line.write_with(|line| line.send(&call, &[])).await?;
        let file = answered.recv().await.map_err(io::Error::other)?;
        let file = file.ok_or_else(|| io::Error::other("no place is left behind it"))?;
        Async::new(UnixStream::from(file))
    }

    /// What is answered behind the door.
    pub(super) async fn ask(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        known: &AtomicBool,
    ) -> Response<Told> {
        if request.method() == Method::CONNECT {
            return plain(&Reply::text(405, "this machine is no proxy\n"));
        }
        match self.passed_on(request, peer).await {
            Ok(answer) => {
                let (mut head, body) = answer.into_parts();
                if head.headers.remove(KNOWN).is_some() {
                    known.store(true, Ordering::Relaxed);
                }
                strip(&mut head.headers);
                Response::from_parts(head, Told::Relayed(body))
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                log::debug!("the page: a request was not read to its end: {error}");
                plain(&Reply::text(400, "the request's body is not as its head says\n"))
            }
            Err(error) => {
                log::debug!("the page: a request was not passed on: {error}");
                plain(&Reply::text(503, "the machine is busy: try again in a moment\n"))
            }
        }
    }

    async fn passed_on(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
    ) -> io::Result<Response<Incoming>> {
        let stream = FuturesIo::new(self.stream(peer).await?);
        strip(request.headers_mut());
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(WRITTEN_BYTES_MAX)
            .handshake(stream)
            .await
            .map_err(io::Error::other)?;
        // It ends with the answer, or as soon as nobody wants that any more.
        let carry = async move { drop(connection.await) };
        self.executor.spawn(carry).detach();
        // What fails where a body is on its way fails by the body: what is behind answers whatever it reads.
        let kind = match request.body().is_end_stream() {
            true => io::ErrorKind::Other,
            false => io::ErrorKind::InvalidData,
        };
        sender.send_request(request).await.map_err(|error| io::Error::new(kind, error))
    }
}

fn strip(headers: &mut HeaderMap) {
    // Where both say how long a body is, the one that is not handed on is the one that counts.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    for name in OF_ONE_CONNECTION {
        headers.remove(name);
    }
}

fn plain(reply: &Reply) -> Response<Told> {
    response(reply.status, &reply.headers, Told::new(Arc::clone(&reply.body)))
}

/// The number that a message is, where it is one.
fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}

/// Answers what comes over a line, until its other end is gone or says what no door of ours says.
pub(super) async fn answer(line: &Async<Line>, rooms: Arc<Rooms>) {
    // The door has no more clients than half of this.
    let places = Arc::new(Semaphore::new(2 * ALL_MAX));
    while let Ok(Some(handed)) = line.read_with(|line| line.receive(CALL_BYTES_MAX)).await {
        let Some((number, peer)) = called(&handed.bytes) else { return };
        let place = places.try_acquire_arc();
        let pair = UnixStream::pair().and_then(|(ours, theirs)| Ok((Async::new(ours)?, theirs)));
        let (Some(place), Ok((ours, theirs))) = (place, pair) else {
            log::debug!("the page: {peer}: no place is left");
            if tell(line, number, None).await.is_err() {
                return;
            }
            continue;
        };
        if tell(line, number, Some(theirs)).await.is_err() {
            return;
        }
        let spawner = Arc::clone(&rooms.executor);
        let rooms = Arc::clone(&rooms);
        let task = async move {
            if let Err(error) = serve(ours, peer, rooms).await {
                log::debug!("the page: {peer}: {error}");
            }
            drop(place);
        };
        spawner.spawn(task).detach();
    }
}

async fn tell(line: &Async<Line>, number: u64, stream: Option<UnixStream>) -> io::Result<()> {
    let files: Vec<_> = stream.iter().map(|stream| stream.as_fd()).collect();
    line.write_with(|line| line.send(&number.to_le_bytes(), &files)).await
}

/// The number of a call, and who asks.
fn called(bytes: &[u8]) -> Option<(u64, SocketAddr)> {
    let (first, peer) = bytes.split_at_checked(NUMBER_BYTES)?;
    Some((number(first)?, core::str::from_utf8(peer).ok()?.parse().ok()?))
}

async fn serve(stream: Async<UnixStream>, peer: SocketAddr, rooms: Arc<Rooms>) -> io::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let rooms = Arc::clone(&rooms);
        async move {
            let known = Arc::new(AtomicBool::new(false));
            let mut answer = rooms.answer(request, peer, &known).await;
            answer.headers_mut().remove(KNOWN);
            if known.load(Ordering::Relaxed) {
                answer.headers_mut().insert(KNOWN, hyper::header::HeaderValue::from_static("1"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(HELLO)
        .max_buf_size(WRITTEN_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(FuturesIo::new(stream), service);
    connection.await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use firmware_web::Status;
    use hyper::header::HeaderValue;

    use super::super::{Door, Teller};
    use super::*;
    use crate::serve::identity::Identity;

    /// The door's end of a line, taken over: it waits for each answer.
    struct Taken {
        line: Line,
        number: u64,
    }

    impl Taken {
        /// Calls, and hands a file over with it, as no door of ours does.
        fn call(&mut self) -> Option<UnixStream> {
            self.number += 1;
            let (_ours, theirs) = UnixStream::pair().unwrap();
            let call = [&self.number.to_le_bytes()[..], b"192.0.2.7:99"].concat();
            self.line.send(&call, &[theirs.as_fd()]).unwrap();
            let handed = self.line.receive(CALL_BYTES_MAX).unwrap().unwrap();
            assert_eq!(number(&handed.bytes), Some(self.number), "another call was answered");
            handed.files.into_iter().next().map(UnixStream::from)
        }

        fn is_healthy(&mut self) -> bool {
            let mut tried = 0..1000;
            let mut stream = loop {
                if let Some(stream) = self.call() {
                    break stream;
                }
                assert!(tried.next().is_some(), "places are not given back");
                std::thread::sleep(core::time::Duration::from_millis(10));
            };
            stream.write_all(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer.ends_with("ok\n")
        }
    }

    #[test]
    fn a_door_that_was_taken_over_holds_up_nobody_behind_it() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
        let teller: Teller = Arc::new(|| Status { ready: true, ..Status::default() });
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let door = Door::open_now(local, &Identity::generate("bed").unwrap(), teller).unwrap();
        let rooms = Arc::new(door.rooms);
        let (line, behind) = Line::pair().unwrap();
        let mut taken = Taken { line, number: 1 << 40 };
        // One thread for all that is behind: whoever blocks it blocks everybody.
        let thread = std::thread::spawn(move || {
            let behind = Async::new(Line::of(behind).unwrap()).unwrap();
            let executor = Arc::clone(&rooms.executor);
            smol::block_on(executor.run(answer(&behind, rooms)));
        });
        let mut held: Vec<UnixStream> = Vec::new();
        while let Some(stream) = taken.call() {
            stream.set_nonblocking(false).unwrap();
            held.push(stream);
            assert!(held.len() <= 2 * ALL_MAX, "no end of places");
        }
        // One request that is begun, and one whose answer nobody takes.
        held[0].write_all(b"GET /health HTTP/1.1\r\n").unwrap();
        held[1].write_all(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").unwrap();
        held.truncate(ALL_MAX);
        assert!(taken.is_healthy());
        // What no door says ends it.
        taken.line.send(b"nonsense of a door", &[]).unwrap();
        thread.join().unwrap();
    }

    #[test]
    fn of_two_lengths_of_a_body_the_one_that_does_not_count_is_not_handed_on() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("7"));
        strip(&mut headers);
        assert_eq!(headers.len(), 1, "by itself it counts");
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        strip(&mut headers);
        assert!(headers.is_empty(), "{headers:?}");
    }
}
