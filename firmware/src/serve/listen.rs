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
use hyper::header::HOST;
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

/// Bodies, both ways.
mod body;

use body::{Whole, whole};

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

/// Something else that is answered behind the page's door: enrolment, the agent's delivery.
pub trait Branch: Send + Sync {
    /// How large a body it takes with this method and path; `None` where it is not the one to ask.
    fn takes(&self, method: &str, path: &str) -> Option<usize>;

    /// The answer. It may take its time: it has a thread of its own.
    fn answer(&self, asked: &Asked) -> Reply;
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET` or the like.
    pub method: String,
    /// `/agent` or the like.
    pub path: String,
    /// What the client calls this machine: anything.
    pub host: String,
    /// Who asks.
    pub peer: SocketAddr,
    /// The body, no larger than the branch takes.
    pub body: Vec<u8>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP's status.
    pub status: u16,
    /// Headers beside those that every answer has.
    pub headers: Vec<(&'static str, String)>,
    /// The body, shared by all that are being told it.
    pub body: Arc<Vec<u8>>,
}

impl Reply {
    /// An answer of a kind of content.
    #[must_use]
    pub fn new(status: u16, kind: &str, body: impl Into<Arc<Vec<u8>>>) -> Self {
        Self { status, headers: vec![("content-type", kind.to_owned())], body: body.into() }
    }

    /// An answer in words.
    #[must_use]
    pub fn text(status: u16, words: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", words.as_bytes().to_vec())
    }

    /// The same with a header more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// The page's door.
pub struct Door {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    rooms: Arc<Rooms>,
}

/// Who answers behind the door.
struct Rooms {
    teller: Teller,
    branches: Vec<Arc<dyn Branch>>,
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
        let rooms = Arc::new(Rooms { teller, branches: Vec::new() });
        Ok(Self { listener, acceptor, rooms })
    }

    /// The same with more behind it than the page.
    #[must_use]
    pub fn with(self, branches: Vec<Arc<dyn Branch>>) -> Self {
        let teller = Arc::clone(&self.rooms.teller);
        Self { rooms: Arc::new(Rooms { teller, branches }), ..self }
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
                            let (acceptor, rooms) =
                                (self.acceptor.clone(), Arc::clone(&self.rooms));
                            let task = async move {
                                if let Err(error) = client(stream, peer, &acceptor, rooms).await {
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

async fn client(
    mut stream: TcpStream,
    peer: SocketAddr,
    acceptor: &TlsAcceptor,
    rooms: Arc<Rooms>,
) -> io::Result<()> {
    let mut first = [0];
    within(HELLO, stream.peek(&mut first)).await?;
    if first[0] != TLS_HANDSHAKE {
        within(HELLO, stream.write_all(NO_TLS)).await?;
        return within(HELLO, stream.close()).await;
    }
    let tls = within(HELLO, acceptor.accept(stream)).await?;
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let rooms = Arc::clone(&rooms);
        async move { Ok::<_, Infallible>(rooms.answer(request, peer).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(HELLO)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(FuturesIo::new(tls), service);
    within(LIFE, async { connection.await.map_err(io::Error::other) }).await
}

impl Rooms {
    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        peer: SocketAddr,
    ) -> hyper::Response<Whole> {
        let (method, path) = (request.method().as_str(), request.uri().path());
        let branch =
            self.branches.iter().find_map(|branch| Some((branch, branch.takes(method, path)?)));
        let Some((branch, bytes_max)) = branch else {
            let answer = respond(Request { method, path }, &(self.teller)());
            let headers = answer.headers.iter().map(|(name, value)| (*name, *value));
            return response(answer.code, headers, Arc::new(answer.body.into_bytes()));
        };
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let (host, method, path) =
            (host.unwrap_or_default().to_owned(), method.to_owned(), path.to_owned());
        let reply = match whole(request.into_body(), bytes_max).await {
            Some(body) => {
                let (branch, asked) =
                    (Arc::clone(branch), Asked { method, path, host, peer, body });
                smol::unblock(move || branch.answer(&asked)).await
            }
            None => Reply::text(413, "what was sent is too large, or was cut off\n"),
        };
        let headers = reply.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let always = [("cache-control", "no-store"), ("x-content-type-options", "nosniff")];
        response(reply.status, headers.chain(always), reply.body)
    }
}

fn response<'a>(
    status: u16,
    headers: impl Iterator<Item = (&'static str, &'a str)>,
    body: Arc<Vec<u8>>,
) -> hyper::Response<Whole> {
    let mut response = hyper::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    // For HEAD hyper sends the head alone.
    response
        .body(Whole::new(body))
        .unwrap_or_else(|_| hyper::Response::new(Whole::new(Arc::default())))
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
