//! Connections of the page: TLS, then HTTP/1.1, each within its limits.

use core::convert::Infallible;
use core::future::Future;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io;
use std::sync::Arc;

use async_io::Timer;
use firmware_web::{ALWAYS, Request, Status, respond};
use futures_rustls::TlsAcceptor;
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, HOST};
use hyper::service::service_fn;
use pipeline_vault::Error;
use smol::Executor;
use smol::future;
use smol::io::AsyncWriteExt as _;
use smol::net::{TcpListener, TcpStream};
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::identity::Identity;
use crate::admin::hosts::{Called, called};
use crate::report::cannot_listen;

/// The API behind the door.
pub mod api;
/// Bodies, both ways.
mod body;
/// What happens, for whoever watches.
mod feed;
/// Clients that do not read.
mod pace;
/// Who is let in.
mod places;
/// What is answered, on its way out.
mod told;

use api::Api;
use body::{Told, whole};
use pace::{Pace, Paced};
use places::{Place, Places};

/// Until TLS is agreed on, and until a request's head is there.
const HELLO: Duration = Duration::from_secs(10);
/// Until a request's body is there.
const BODY: Duration = Duration::from_secs(30);
/// The whole life of a connection of somebody who is not known: browsers make another.
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

/// Whether a name leads to this machine, where a browser asks by one.
pub type Names = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The page's door.
pub struct Door {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    rooms: Rooms,
}

/// Who answers behind the door.
struct Rooms {
    teller: Teller,
    branches: Vec<Arc<dyn Branch>>,
    api: Option<Arc<Api>>,
    names: Names,
    executor: Arc<Executor<'static>>,
}

impl Door {
    /// Listens, for whoever runs no executor.
    ///
    /// Errors: as of [`Door::open`].
    pub fn open_now(
        address: SocketAddr,
        identity: &Identity,
        teller: Teller,
    ) -> Result<Self, Error> {
        smol::block_on(Self::open(address, identity, teller))
    }

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
        let rooms = Rooms {
            teller,
            branches: Vec::new(),
            api: None,
            names: Arc::new(|_| false),
            executor: Arc::new(Executor::new()),
        };
        Ok(Self { listener, acceptor, rooms })
    }

    /// The same with more behind it than the page.
    #[must_use]
    pub fn with(mut self, branches: Vec<Arc<dyn Branch>>) -> Self {
        self.rooms.branches = branches;
        self
    }

    /// The same with the API behind it.
    #[must_use]
    pub fn with_api(mut self, api: Arc<Api>) -> Self {
        self.rooms.api = Some(api);
        self
    }

    /// The same, asked for by names too.
    #[must_use]
    pub fn called(mut self, names: Names) -> Self {
        self.rooms.names = names;
        self
    }

    /// Where it listens: the port that was free for port 0.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers on a thread of its own, until what is given back is called.
    pub fn serve_apart(self) -> (impl FnOnce() + Send + 'static, std::thread::JoinHandle<()>) {
        let (end, ended) = smol::channel::bounded::<()>(1);
        let thread = std::thread::spawn(move || {
            smol::block_on(future::or(self.serve(), async {
                // Nobody ever sends: an answer means that it is closed.
                let _ = ended.recv().await;
            }));
        });
        (move || drop(end), thread)
    }

    /// Answers until it is dropped.
    pub async fn serve(self) {
        let Self { listener, acceptor, rooms } = self;
        let executor = Arc::clone(&rooms.executor);
        let (rooms, places) = (Arc::new(rooms), Places::default());
        let spawner = Arc::clone(&executor);
        let accept = async move {
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) => match places.enter(peer.ip()) {
                        Some(place) => {
                            let (acceptor, rooms) = (acceptor.clone(), Arc::clone(&rooms));
                            let task = async move {
                                if let Err(error) =
                                    client(stream, peer, &acceptor, rooms, place).await
                                {
                                    log::debug!("the page: {peer}: {error}");
                                }
                            };
                            spawner.spawn(task).detach();
                        }
                        None => log::debug!("the page: {peer}: turned away, all places are taken"),
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

/// One connection, until it ends, takes too long, or somebody else needs its place.
async fn client(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: &TlsAcceptor,
    rooms: Arc<Rooms>,
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
    let answered = answer(stream, peer, acceptor, rooms, &pace, &known);
    future::or(future::or(displaced, too_slow), future::or(too_long, answered)).await
}

async fn answer(
    mut stream: TcpStream,
    peer: SocketAddr,
    acceptor: &TlsAcceptor,
    rooms: Arc<Rooms>,
    pace: &Pace,
    known: &Arc<AtomicBool>,
) -> io::Result<()> {
    let mut first = [0];
    within(HELLO, stream.peek(&mut first)).await?;
    if first[0] != TLS_HANDSHAKE {
        within(HELLO, stream.write_all(NO_TLS)).await?;
        return within(HELLO, stream.close()).await;
    }
    let tls = within(HELLO, acceptor.accept(stream)).await?;
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (rooms, known) = (Arc::clone(&rooms), Arc::clone(known));
        async move { Ok::<_, Infallible>(rooms.answer(request, peer, &known).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(HELLO)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(FuturesIo::new(Paced::new(tls, pace)), service);
    connection.await.map_err(io::Error::other)
}

impl Rooms {
    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        peer: SocketAddr,
        known: &Arc<AtomicBool>,
    ) -> hyper::Response<Told> {
        let (method, path) = (request.method().as_str(), request.uri().path());
        let branch =
            self.branches.iter().find_map(|branch| Some((branch, branch.takes(method, path)?)));
        if let Some((branch, bytes_max)) = branch {
            return self.branch(branch, bytes_max, request, peer).await;
        }
        // Load balancers ask for the one by whatever name they have.
        if path != "/health"
            && let Err(reply) = self.is_for_us(&request).await
        {
            return response(reply.status, &reply.headers, Told::new(reply.body));
        }
        if let Some(api) = self.api.as_ref().filter(|_| Api::takes(path)) {
            let is_head = request.method() == hyper::Method::HEAD;
            let telling = api.answer(request, peer, known).await;
            let (status, mut headers, told) = telling.begin(api, &self.executor, is_head);
            for (name, value) in ALWAYS {
                // A page to print has rules of its own.
                if !headers.iter().any(|(known, _)| *known == name) {
                    headers.push((name, value.to_owned()));
                }
            }
            return response(status, &headers, told);
        }
        let answer =
            respond(Request { method, path, unpacks: unpacks(&request) }, &(self.teller)());
        let headers: Vec<_> =
            answer.headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        response(answer.code, &headers, Told::new(Arc::new(answer.body)))
    }

    async fn branch(
        &self,
        branch: &Arc<dyn Branch>,
        bytes_max: usize,
        request: hyper::Request<Incoming>,
        peer: SocketAddr,
    ) -> hyper::Response<Told> {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let host = host.unwrap_or_default().to_owned();
        let (method, path) =
            (request.method().as_str().to_owned(), request.uri().path().to_owned());
        let read = async { Ok(whole(request.into_body(), bytes_max).await) };
        let mut reply = match within(BODY, read).await {
            Ok(Ok(body)) => {
                let (branch, asked) =
                    (Arc::clone(branch), Asked { method, path, host, peer, body });
                smol::unblock(move || branch.answer(&asked)).await
            }
            Ok(Err(_)) => Reply::text(413, "what was sent is too large, or was cut off\n"),
            Err(_) => Reply::text(408, "what was sent took too long\n"),
        };
        for (name, value) in [("cache-control", "no-store"), ("x-content-type-options", "nosniff")]
        {
            reply = reply.with(name, value.to_owned());
        }
        response(reply.status, &reply.headers, Told::new(reply.body))
    }

    /// A name of somebody else that leads here (rebinding) is not answered: a browser would let that page read everything.
    async fn is_for_us(&self, request: &hyper::Request<Incoming>) -> Result<(), Reply> {
        let hosts = request.headers().get_all(HOST);
        let said = hosts.into_iter().map(|host| host.to_str().unwrap_or_default());
        let authority = request.uri().authority().map(|authority| authority.as_str());
        let mut asked: Vec<&str> = said.chain(authority).collect();
        asked.dedup();
        let is_ours = match asked[..] {
            [host] => match called(host) {
                Some(Called::Address) => true,
                Some(Called::Name("localhost")) => true,
                Some(Called::Name(name)) => {
                    let (names, name) = (Arc::clone(&self.names), name.to_owned());
                    smol::unblock(move || names(&name)).await
                }
                None => false,
            },
            _ => false,
        };
        if is_ours {
            return Ok(());
        }
        let words = "this machine is not called so here: open it by its address, and let an administrator add the name\n";
        let mut reply = Reply::text(421, words);
        for (name, value) in ALWAYS {
            reply = reply.with(name, value.to_owned());
        }
        Err(reply)
    }
}

/// Whether a client takes what is packed.
fn unpacks(request: &hyper::Request<Incoming>) -> bool {
    let said = request.headers().get(ACCEPT_ENCODING).and_then(|said| said.to_str().ok());
    let mut kinds = said.unwrap_or_default().split(',');
    kinds.any(|kind| kind.trim().eq_ignore_ascii_case("deflate"))
}

fn response(status: u16, headers: &[(&'static str, String)], told: Told) -> hyper::Response<Told> {
    let mut response = hyper::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    // For HEAD hyper sends the head alone.
    response.body(told).unwrap_or_else(|_| hyper::Response::new(Told::new(Arc::default())))
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
