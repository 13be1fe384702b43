//! The door: strangers are let in, TLS is spoken and HTTP/1.1 read, each within its limits. It knows nothing but the page's
//! certificates, and hands every request on.
//!
//! It runs as a service of its own, in a jail (`services.rs`).

use core::convert::Infallible;
use core::future::Future;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io;
use std::sync::Arc;

use async_io::{Async, Timer};
use futures_rustls::TlsAcceptor;
use hyper::body::Incoming;
use hyper::service::service_fn;
use smol::Executor;
use smol::future;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::net::{TcpListener, TcpStream};
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::pace::{Pace, Paced};
use super::places::{Place, Places};
use super::relay::Relay;
use super::{HELLO, within};
use crate::serve::identity::Identity;
use crate::services::calls::Calls;
use crate::services::line::{Handed, Line};

/// The whole life of a connection of somebody who is not known: browsers make another.
const LIFE: Duration = Duration::from_secs(60);
/// Largest head of a request.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Pause after a failed accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// So much of what a client was still sending when it had its answer is taken, and for so long: closing before that takes the
/// answer from it (RFC 9112, section 9.6).
const LEFT_BYTES_MAX: u64 = 16 << 20;
const LEFT_TIME: Duration = Duration::from_secs(5);
/// What TLS begins with.
const TLS_HANDSHAKE: u8 = 0x16;
/// For whoever typed `http:`.
const NO_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\
    content-length: 42\r\n\r\nThis is HTTPS: open https://, not http://\n";

/// The service: what listens and the certificates come from its starter, and so do new certificates later.
pub(crate) fn run(line: Line, handed: Handed) -> Result<(), String> {
    let failed = |error: io::Error| format!("the page's door: {error}");
    let identity = Identity::heard(handed.bytes).map_err(|error| error.to_string())?;
    let listener = handed.files.into_iter().next().ok_or("no socket that listens was handed on")?;
    let listener = Async::new(std::net::TcpListener::from(listener)).map_err(failed)?;
    let acceptor = TlsAcceptor::from(identity.tls().map_err(|error| error.to_string())?);
    let executor = Arc::new(Executor::new());
    let relay = Arc::new(Relay::new(Calls::new(line).map_err(failed)?, Arc::clone(&executor)));
    // Where nobody is left who answers, the door ends.
    let heard = relay.calls.hear(|told| match Identity::heard(told) {
        Ok(new) => identity.set_own(new.own()),
        Err(error) => log::warn!("{error}"),
    });
    let served = serve(listener.into(), acceptor, Arc::clone(&relay), Arc::clone(&executor));
    smol::block_on(executor.run(future::or(heard, served)));
    Ok(())
}

/// Lets clients in, for good.
pub(super) fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    relay: Arc<Relay>,
    executor: Arc<Executor<'static>>,
) -> impl Future<Output = ()> {
    let places = Places::default();
    async move {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => match places.enter(peer.ip()) {
                    Some(place) => {
                        let (acceptor, relay) = (acceptor.clone(), Arc::clone(&relay));
                        let task = async move {
                            let served = client(stream, peer, &acceptor, relay, place).await;
                            if let Err(error) = served {
                                log::debug!("the page: {peer}: {error}");
                            }
                        };
                        executor.spawn(task).detach();
                    }
                    None => log::debug!("the page: {peer}: turned away, all places are taken"),
                },
                Err(error) => {
                    log::warn!("the page: a client could not be accepted: {error}");
                    Timer::after(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// One connection, until it ends, takes too long, or somebody else needs its place.
async fn client(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: &TlsAcceptor,
    relay: Arc<Relay>,
    place: Place,
) -> io::Result<()> {
    let pace = Pace::default();
    let known = place.known();
    let displaced = async {
        place.gone().await;
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "somebody else needed the place"))
    };
    let too_slow = async { Err(pace.too_slow().await) };
    let too_long = async {
        Timer::after(LIFE).await;
        if known.load(Ordering::Relaxed) {
            future::pending::<()>().await;
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "lasted long enough"))
    };
    let answered = answer(stream, peer, acceptor, relay, &pace, &known);
    future::or(future::or(displaced, too_slow), future::or(too_long, answered)).await
}

async fn answer(
    mut stream: TcpStream,
    peer: SocketAddr,
    acceptor: &TlsAcceptor,
    relay: Arc<Relay>,
    pace: &Pace,
    known: &Arc<AtomicBool>,
) -> io::Result<()> {
    let mut first = [0];
    within(HELLO, stream.peek(&mut first)).await?;
    if first[0] != TLS_HANDSHAKE {
        within(HELLO, stream.write_all(NO_TLS)).await?;
        return within(HELLO, stream.close()).await;
    }
    let left = stream.clone();
    let tls = within(HELLO, acceptor.accept(stream)).await?;
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (relay, known) = (Arc::clone(&relay), Arc::clone(known));
        async move { Ok::<_, Infallible>(relay.ask(request, peer, &known).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(HELLO)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(FuturesIo::new(Paced::new(tls, pace)), service);
    let ended = connection.await.map_err(io::Error::other);
    let taken = smol::io::copy(left.take(LEFT_BYTES_MAX), smol::io::sink());
    within(LEFT_TIME, taken).await?;
    ended
}
