//! From the door to what is behind it, and back: each request on a connection of its own, as HTTP/1.1 written anew from what the
//! door has read.
//!
//! Who asks is told by the call, where no client can write. That somebody is known is told with the answer.

use core::convert::Infallible;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use async_io::Async;
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use smol::Executor;
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::body::Told;
use super::front::HEAD_BYTES_MAX;
use super::places::ALL_MAX;
use super::{HELLO, Reply, Rooms, response};
use crate::services::calls::{Behind, Calls};
use crate::services::line::Line;

/// Header of an answer: whoever asked is known. It goes no further than the door.
const KNOWN: HeaderName = HeaderName::from_static("x-lifeboat-known");
/// What concerns one connection alone is each side's own.
const OF_ONE_CONNECTION: [HeaderName; 6] =
    [CONNECTION, EXPECT, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
/// What was read as a head within its limit is written with spaces and line ends of its own.
const WRITTEN_BYTES_MAX: usize = 2 * HEAD_BYTES_MAX;

/// The door's end.
pub(super) struct Relay {
    /// To what is behind it.
    pub(super) calls: Calls,
    executor: Arc<Executor<'static>>,
}

/// Both ends, in one process.
pub(super) fn pair(executor: &Arc<Executor<'static>>) -> io::Result<(Relay, Async<Line>)> {
    let (one, other) = Line::pair()?;
    let relay = Relay::new(Calls::new(one)?, Arc::clone(executor));
    Ok((relay, Async::new(Line::of(other)?)?))
}

impl Relay {
    /// On a line.
    pub(super) fn new(calls: Calls, executor: Arc<Executor<'static>>) -> Self {
        Self { calls, executor }
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
        let stream = FuturesIo::new(self.calls.call(peer.to_string().as_bytes()).await?);
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

impl Behind for Rooms {
    type Who = SocketAddr;
    // The door has no more clients than half of this.
    const PLACES: usize = 2 * ALL_MAX;

    fn who(bytes: &[u8]) -> Option<SocketAddr> {
        core::str::from_utf8(bytes).ok()?.parse().ok()
    }

    fn turned_away(&self, peer: &SocketAddr) {
        log::debug!("the page: {peer}: no place is left");
    }

    async fn serve(self: Arc<Self>, stream: Async<UnixStream>, peer: SocketAddr) {
        if let Err(error) = serve(stream, peer, self).await {
            log::debug!("the page: {peer}: {error}");
        }
    }
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
    use std::os::fd::AsFd as _;

    use firmware_web::Status;
    use hyper::header::HeaderValue;

    use super::super::{Door, Teller};
    use super::*;
    use crate::serve::identity::Identity;
    use crate::services::calls::{CALL_BYTES_MAX, answer, number};

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
            smol::block_on(executor.run(answer(&behind, &rooms, &executor)));
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
