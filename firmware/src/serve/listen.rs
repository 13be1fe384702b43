//! Connections of the page: TLS, then HTTP/1.1, each within its limits.

use core::convert::Infallible;
use core::future::Future;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use async_io::Timer;
use firmware_web::{Request, Status, respond};
use futures_rustls::TlsAcceptor;
use hyper::body::Incoming;
use hyper::service::service_fn;
use pipeline_vault::Error;
use smol::Executor;
use smol::future;
use smol::io::AsyncWriteExt as _;
use smol::lock::Semaphore;
use smol::net::{TcpListener, TcpStream};
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::identity::Identity;
use crate::report::cannot_listen;

/// Clients at once; one more is turned away.
const CLIENTS_MAX: usize = 32;
/// Until TLS is agreed on, and until a request's head is there.
const HELLO: Duration = Duration::from_secs(10);
/// The whole life of a connection: browsers make another.
const LIFE: Duration = Duration::from_secs(60);
/// Largest head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Pause after a failed accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// What TLS begins with.
const TLS_HANDSHAKE: u8 = 0x16;
/// For whoever typed `http:`.
const NO_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\
    content-length: 42\r\n\r\nThis is HTTPS: open https://, not http://\n";

/// Tells how the machine fares, whenever it is asked.
pub type Teller = Arc<dyn Fn() -> Status + Send + Sync>;

/// The page's door.
pub struct Door {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    teller: Teller,
}

impl Door {
    /// Listens.
    ///
    /// Errors: the address is taken, foreign, or not allowed.
    pub async fn open(
        address: SocketAddr,
        identity: &Identity,
        teller: Teller,
    ) -> Result<Self, Error> {
        let acceptor = TlsAcceptor::from(identity.tls()?);
        let bound = TcpListener::bind(address).await;
        let listener = bound.map_err(|error| cannot_listen(&address, &error))?;
        Ok(Self { listener, acceptor, teller })
    }

    /// Where it listens: the port that was free for port 0.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until it is dropped.
    pub async fn serve(self) {
        let executor = Arc::new(Executor::new());
        let places = Arc::new(Semaphore::new(CLIENTS_MAX));
        let spawner = Arc::clone(&executor);
        let accept = async move {
            loop {
                match self.listener.accept().await {
                    Ok((stream, peer)) => match places.try_acquire_arc() {
                        Some(place) => {
                            let (acceptor, teller) =
                                (self.acceptor.clone(), Arc::clone(&self.teller));
                            let task = async move {
                                if let Err(error) = client(stream, &acceptor, teller).await {
                                    log::debug!("the page: {peer}: {error}");
                                }
                                drop(place);
                            };
                            spawner.spawn(task).detach();
                        }
                        None => {
                            log::debug!("the page: {peer}: turned away, {CLIENTS_MAX} are here")
                        }
                    },
                    Err(error) => {
                        log::warn!("the page: a client could not be accepted: {error}");
                        Timer::after(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        executor.run(accept).await
    }
}

async fn client(mut stream: TcpStream, acceptor: &TlsAcceptor, teller: Teller) -> io::Result<()> {
    let mut first = [0];
    within(HELLO, stream.peek(&mut first)).await?;
    if first[0] != TLS_HANDSHAKE {
        within(HELLO, stream.write_all(NO_TLS)).await?;
        return within(HELLO, stream.close()).await;
    }
    let tls = within(HELLO, acceptor.accept(stream)).await?;
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let answer = answer(&request, &teller());
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(HELLO)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(FuturesIo::new(tls), service);
    within(LIFE, async { connection.await.map_err(io::Error::other) }).await
}

fn answer(request: &hyper::Request<Incoming>, status: &Status) -> hyper::Response<String> {
    let asked = Request { method: request.method().as_str(), path: request.uri().path() };
    let answer = respond(asked, status);
    let mut response = hyper::Response::builder().status(answer.code);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    // For HEAD hyper sends the head alone.
    response.body(answer.body).unwrap_or_else(|_| hyper::Response::new(String::new()))
}

async fn within<T>(patience: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = async {
        Timer::after(patience).await;
        Err(io::Error::new(io::ErrorKind::TimedOut, "took too long"))
    };
    future::or(work, late).await
}

#[cfg(test)]
mod tests;
