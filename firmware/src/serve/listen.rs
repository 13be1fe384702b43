//! The page's door, and the rooms behind it: who answers what.

use core::future::Future;
use core::net::SocketAddr;
use core::sync::atomic::AtomicBool;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use async_io::Timer;
use firmware_web::{ALWAYS, Request, Status, respond};
use futures_rustls::TlsAcceptor;
use hyper::body::Incoming;
use hyper::header::{ACCEPT_ENCODING, HOST};
use pipeline_vault::Error;
use smol::Executor;
use smol::future;
use smol::net::TcpListener;

use super::identity::Identity;
use crate::admin::hosts::{Called, called};
use crate::services::{DOOR, Keeper, calls, doors};

/// The API behind the door.
pub mod api;
/// Bodies, both ways.
mod body;
/// What happens, for whoever watches.
mod feed;
/// The door itself: whom it lets in, and what it reads of them.
pub(crate) mod front;
/// Clients that do not read.
mod pace;
/// Who is let in.
mod places;
/// From the door to what is behind it, and back.
mod relay;
/// What is answered, on its way out.
mod told;

use api::Api;
use body::{Told, whole};

/// Until a request's head is there.
const HELLO: Duration = Duration::from_secs(10);
/// Until a request's body is there.
const BODY: Duration = Duration::from_secs(30);

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
    identity: Identity,
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
        // What cannot be shown is told now, and not to the first who comes.
        identity.tls()?;
        let identity = identity.share();
        let listener = doors::listen(address).await?;
        let rooms = Rooms {
            teller,
            branches: Vec::new(),
            api: None,
            names: Arc::new(|_| false),
            executor: Arc::new(Executor::new()),
        };
        Ok(Self { listener, identity, rooms })
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

    /// Answers until it is dropped: the door and what is behind it are one process.
    pub async fn serve(self) {
        let Self { listener, identity, rooms } = self;
        let acceptor = identity.tls().map(TlsAcceptor::from);
        let executor = Arc::clone(&rooms.executor);
        match (acceptor, relay::pair(&executor)) {
            (Ok(acceptor), Ok((relay, behind))) => {
                let relay = Arc::new(relay);
                let served = Arc::clone(&relay);
                let front = front::serve(listener, acceptor, served, Arc::clone(&executor));
                let rooms = Arc::new(rooms);
                let behind = calls::answer(&behind, &rooms, &executor);
                executor.run(future::or(future::or(front, relay.calls.hear(|_| ())), behind)).await;
            }
            (Err(error), _) => log::error!("{error}"),
            (_, Err(error)) => log::error!("the page has no way to what is behind it: {error}"),
        }
    }

    /// Answers behind a door that is a process of its own, until that ends: why, in words.
    pub(crate) async fn serve_behind(self, keeper: &Keeper<'_>) -> String {
        let Self { listener, identity, rooms } = self;
        behind(listener, &identity, &Arc::new(rooms), keeper).await
    }

    /// The same, with a new door whenever one ended.
    pub(crate) async fn serve_kept(self, keeper: &Keeper<'_>) {
        let Self { listener, identity, rooms } = self;
        let rooms = Arc::new(rooms);
        doors::keep(listener, async |listener| behind(listener, &identity, &rooms, keeper).await)
            .await;
    }
}

/// One door, from its start to its end: why it ended.
async fn behind(
    listener: TcpListener,
    identity: &Identity,
    rooms: &Arc<Rooms>,
    keeper: &Keeper<'_>,
) -> String {
    let changed = identity.changes();
    let door = match doors::Door::start(&DOOR, keeper, &identity.told(), listener) {
        Ok(door) => door,
        Err(words) => return words,
    };
    let line = &door.line;
    let tell = async {
        while changed.recv().await.is_ok() {
            let told = identity.told();
            if line.write_with(|line| line.send(&told, &[])).await.is_err() {
                break;
            }
        }
    };
    let executor = Arc::clone(&rooms.executor);
    executor.run(future::or(tell, calls::answer(line, rooms, &executor))).await;
    door.ended().await
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
