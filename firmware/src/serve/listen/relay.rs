//! From the door to what is behind it, and back: each request on a connection of its own, which the door makes and hands over
//! the line, as HTTP/1.1 written anew from what the door has read.
//!
//! Who asks is told with the connection, where no client can write. That somebody is known is told with the answer.

use core::convert::Infallible;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use async_io::Async;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, EXPECT, HeaderMap, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use smol::Executor;
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::body::Told;
use super::front::HEAD_BYTES_MAX;
use super::places::ALL_MAX;
use super::{HELLO, Reply, Rooms, response};
use crate::services::line::{Handed, Line};

/// Header of an answer: whoever asked is known. It goes no further than the door.
const KNOWN: HeaderName = HeaderName::from_static("x-lifeboat-known");
/// What concerns one connection alone is each side's own.
const OF_ONE_CONNECTION: [HeaderName; 6] =
    [CONNECTION, EXPECT, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
/// Longest address with its port.
const PEER_BYTES_MAX: usize = 64;
/// What was read as a head within its limit is written with spaces and line ends of its own.
const WRITTEN_BYTES_MAX: usize = 2 * HEAD_BYTES_MAX;

/// The door's end.
pub(super) struct Relay {
    line: Arc<Async<Line>>,
    executor: Arc<Executor<'static>>,
}

/// Both ends, in one process.
pub(super) fn pair(executor: &Arc<Executor<'static>>) -> io::Result<(Relay, Async<Line>)> {
    let (one, other) = Line::pair()?;
    let relay = Relay::new(Arc::new(Async::new(one)?), Arc::clone(executor));
    Ok((relay, Async::new(Line::of(other)?)?))
}

impl Relay {
    /// On a line.
    pub(super) fn new(line: Arc<Async<Line>>, executor: Arc<Executor<'static>>) -> Self {
        Self { line, executor }
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
        let (ours, theirs) = UnixStream::pair()?;
        let peer = peer.to_string();
        self.line.write_with(|line| line.send(peer.as_bytes(), &[theirs.as_fd()])).await?;
        drop(theirs);
        strip(request.headers_mut());
        let stream = FuturesIo::new(Async::new(ours)?);
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(WRITTEN_BYTES_MAX)
            .handshake(stream)
            .await
            .map_err(io::Error::other)?;
        // It ends with the answer, or as soon as nobody wants that any more.
        let carry = async move { drop(connection.await) };
        self.executor.spawn(carry).detach();
        sender.send_request(request).await.map_err(io::Error::other)
    }
}

fn strip(headers: &mut HeaderMap) {
    for name in OF_ONE_CONNECTION {
        headers.remove(name);
    }
}

fn plain(reply: &Reply) -> Response<Told> {
    response(reply.status, &reply.headers, Told::new(Arc::clone(&reply.body)))
}

/// Answers what comes over a line, until its other end is gone.
pub(super) async fn answer(line: &Async<Line>, rooms: Arc<Rooms>) {
    let open = Arc::new(AtomicUsize::new(0));
    while let Ok(Some(handed)) = line.read_with(|line| line.receive(PEER_BYTES_MAX)).await {
        // The door has no more clients than this; one that asks for more is no door of ours any more.
        if open.load(Ordering::Relaxed) >= 2 * ALL_MAX {
            continue;
        }
        let Some((peer, file)) = connection(handed) else { continue };
        let (rooms, open, spawner) =
            (Arc::clone(&rooms), Arc::clone(&open), Arc::clone(&rooms.executor));
        open.fetch_add(1, Ordering::Relaxed);
        let task = async move {
            if let Err(error) = serve(file, peer, rooms).await {
                log::debug!("the page: {peer}: {error}");
            }
            open.fetch_sub(1, Ordering::Relaxed);
        };
        spawner.spawn(task).detach();
    }
}

/// Who asks, and the connection.
fn connection(handed: Handed) -> Option<(SocketAddr, OwnedFd)> {
    let peer = core::str::from_utf8(&handed.bytes).ok()?.parse().ok()?;
    Some((peer, handed.files.into_iter().next()?))
}

async fn serve(file: OwnedFd, peer: SocketAddr, rooms: Arc<Rooms>) -> io::Result<()> {
    let stream = Async::new(UnixStream::from(file))?;
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
