//! Connections of agents: Hello, then messages both ways, each within its limits.
//!
//! Strangers meet the door (`front`), a process of its own without keys and files. What is here hears of each agent by the
//! word of that door, and takes it for no more than that: who may come in is asked here, and every message is read again.

use core::future::Future;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use async_io::{Async, Timer};
use pipeline::ids::ServerId;
use pipeline_vault::Error;
use pipeline_wire::authority::Credentials;
use pipeline_wire::certificate::Peer;
use pipeline_wire::frame::{self, HEAD_BYTES, Head};
use pipeline_wire::message::{
    Demotion, FromAgent, FromAppliance, Hello, Refused, Said as _, VERSION_FORK, Welcome, Why,
};
use pipeline_wire::version;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use smol::Executor;
use smol::channel::{Receiver, Sender, bounded};
use smol::future;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use smol::net::TcpListener;
use zeroize::Zeroizing;

use super::compare::Compare;
use super::forks::Forks;
use super::hub::{Hub, Joined, demoted, makes_no_sense};
use super::journal::Life;
use crate::services::{AGENTS, Keeper, calls, doors};
use relay::Caller;

/// The door itself: whom it lets in, and what it reads of them.
pub(crate) mod front;
/// Its streams, read in large pieces.
mod pieces;
/// From the door to what is behind it.
mod relay;

/// Connections at once, those that have not said who they are included.
const CONNECTIONS_MAX: usize = 1024;
/// Until TLS is agreed on and Hello is there.
const HELLO: Duration = Duration::from_secs(15);
/// For a message that has begun, and for one that is said.
const MESSAGE: Duration = Duration::from_secs(60);
/// Threads that deal with what agents say, on each side of the line.
const THREADS: usize = 2;
/// Pause while so much of an agent waits to be spooled that nothing more is read of it.
const CROWDED_PAUSE: Duration = Duration::from_millis(5);
/// How long questions of a new session wait for what earlier runs sent to be in the vault; after that, everything is wanted
/// that it may lack.
const SETTLE_MILLIS: u64 = 30_000;
/// Something is said at least this often, so that silence means something.
const SAID_AT_LEAST: Duration = Duration::from_secs(10);
/// Why nothing can be said for now.
const CANNOT_READ: &str = "the appliance cannot read its vault now";
/// Answers to questions that wait to be said.
const ANSWERS_MAX: usize = 64;

/// Who may come in, and what he is told.
pub trait Doorman: Send + Sync {
    /// Whether an agent may go on, and what is to be done with its server.
    ///
    /// Errors: what it is told.
    fn admit(&self, peer: &Peer, hello: &Hello) -> Result<Admitted, Refused>;

    /// A new certificate for a key that this request signed; none where the present one is good for long.
    fn renew(&self, peer: &Peer, request: &[u8]) -> Result<Option<Vec<u8>>, String>;
}

/// What is known of a server that may go on.
pub struct Admitted {
    /// Makes its fingerprints.
    pub fingerprint_key: pipeline::seal::SecretKey,
    /// What is to be done.
    pub policy: pipeline_wire::policy::Policy,
    /// The group that it is cut with.
    pub group: Option<String>,
}

/// What every connection is handed.
pub struct Means {
    /// Sessions.
    pub hub: Arc<Hub>,
    /// Who may come in.
    pub doorman: Arc<dyn Doorman>,
    /// What the vault has.
    pub compare: Arc<Compare>,
    /// Which servers were failed over.
    pub forks: Arc<Forks>,
}

/// The door for agents, and what is behind it.
pub struct Door {
    listener: TcpListener,
    shown: Zeroizing<Vec<u8>>,
    means: Arc<Means>,
}

impl Door {
    /// Listens. `credentials` are what it shows to agents, `authority` is the certificate of who must have issued theirs.
    ///
    /// Errors: the address is taken, foreign, or not allowed.
    pub async fn open(
        address: SocketAddr,
        credentials: &Credentials,
        authority: &[u8],
        means: Arc<Means>,
    ) -> Result<Self, Error> {
        let shown = relay::told(credentials, authority)
            .map_err(|error| Error::device("replication", error.to_string()))?;
        // Each agent is an open file here, and what a process may have at first is fewer than there are places.
        let limit = getrlimit(Resource::Nofile);
        if let Err(errno) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        {
            log::info!("no more open files can be had: {errno}");
        }
        Ok(Self { listener: doors::listen(address).await?, shown, means })
    }

    /// Where it listens: the port that was free for port 0.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts agents until it is dropped, with a new door whenever one ended; what they say is dealt with on this executor.
    pub(crate) async fn serve(self, keeper: &Keeper<'_>, executor: &Arc<Executor<'static>>) {
        let Self { listener, shown, means } = self;
        doors::keep(listener, async |listener| {
            behind(listener, &shown, &means, keeper, executor).await
        })
        .await;
    }
}

/// One door, from its start to its end: why it ended.
async fn behind(
    listener: TcpListener,
    shown: &[u8],
    means: &Arc<Means>,
    keeper: &Keeper<'_>,
    executor: &Arc<Executor<'static>>,
) -> String {
    let door = match doors::Door::start(&AGENTS, keeper, shown, listener) {
        Ok(door) => door,
        Err(words) => return words,
    };
    calls::answer(&door.line, means, executor).await;
    door.ended().await
}

/// Runs what is put onto an executor on threads of its own, until this is done. Each begins with `first`.
pub(super) fn on_threads(
    executor: &Arc<Executor<'static>>,
    first: &(dyn Fn() + Sync),
    until: impl Future<Output = ()>,
) {
    let (end, ended) = bounded::<()>(1);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let (executor, ended) = (Arc::clone(executor), ended.clone());
            scope.spawn(move || {
                first();
                smol::block_on(executor.run(async {
                    // Closed: the end.
                    let _ = ended.recv().await;
                }));
            });
        }
        smol::block_on(until);
        drop(end);
        ended.close();
    });
}

type Stream = Async<UnixStream>;

/// One agent behind the door.
async fn speak(mut stream: Stream, caller: Caller, means: Arc<Means>) -> io::Result<()> {
    let peer = caller.peer;
    // The door has read it before; one that holds together no more is no agent's fault.
    let hello = version::hello(&within(HELLO, first_body(&mut stream)).await?);
    let (hello, version) = hello.map_err(|refused| io::Error::other(refused.words))?;
    let server = peer.server;
    let host = hello.host.clone();
    let asked = Arc::clone(&means);
    let joined = smol::unblock(move || welcome(&asked, &peer, &hello, version)).await;
    let (joined, welcome) = match joined {
        Ok(joined) => joined,
        Err(refused) => {
            log::warn!("agent of server {server}: refused: {}", refused.words);
            return part(&mut stream, refused).await;
        }
    };
    means.hub.came_from(server, caller.from);
    let line = joined.line;
    let _seat = Seat { hub: Arc::clone(&means.hub), server, line };
    log::info!("agent of server {server} ({}): connection {line}", crate::report::printable(&host));
    let said = say(&mut stream, &FromAppliance::Welcome(Box::new(welcome))).await;
    match said {
        Ok(()) => converse(stream, &means, &peer, joined).await,
        Err(error) => Err(error),
    }
}

/// A connection's place in its session: given up however the connection ends.
struct Seat {
    hub: Arc<Hub>,
    server: ServerId,
    line: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.leave(self.server, self.line);
    }
}

/// Whether an agent may go on, and with what. Asks registry and vault, and so may take long.
fn welcome(
    means: &Means,
    peer: &Peer,
    hello: &Hello,
    version: u16,
) -> Result<(Joined, Welcome), Refused> {
    if hello.server != peer.server {
        let words = "the agent's certificate is another server's";
        return Err(refuse(Why::Nonsense, words, "enrol this server anew"));
    }
    let admitted = means.doorman.admit(peer, hello)?;
    let demotion = demotion(means, peer.server, version)?;
    let (known, base) = if means.hub.goes_on(hello) || hello.connection != 0 {
        (Vec::new(), None)
    } else {
        means.compare.known(&means.hub, peer.server, &hello.disks).map_err(|error| {
            log::warn!("agent of server {}: {error}", peer.server);
            refuse(Why::Later, CANNOT_READ, "it is tried again")
        })?
    };
    let joined = means.hub.join(hello, &known, base)?;
    demotion.into_iter().for_each(|demotion| means.hub.demote(peer.server, &demotion));
    means.hub.instruct(peer.server, &admitted.policy, admitted.group.as_ref());
    let welcome = Welcome {
        version,
        appliance: env!("CARGO_PKG_VERSION").to_owned(),
        fingerprint_key: admitted.fingerprint_key,
        policy: admitted.policy,
        spooled: joined.spooled,
        vaulted_epoch: joined.vaulted_epoch,
        spooled_epoch: joined.spooled_epoch,
        known_disks: joined.known_disks.clone(),
        credit_bytes: joined.credit,
    };
    Ok((joined, welcome))
}

/// What an agent is told whose server was failed over; a server whose failover ended goes on as before.
///
/// Errors: the vault cannot be asked, or the agent does not know the word.
fn demotion(means: &Means, server: ServerId, version: u16) -> Result<Option<Demotion>, Refused> {
    let fork = means.forks.look(server).map_err(|error| {
        log::warn!("agent of server {server}: {error}");
        refuse(Why::Later, CANNOT_READ, "it is tried again")
    })?;
    let Some(fork) = fork else {
        means.hub.promote(server);
        return Ok(None);
    };
    let demotion = means.forks.demotion(server, &fork);
    if version < VERSION_FORK { Err(demoted(&demotion)) } else { Ok(Some(demotion)) }
}

/// Hears and says until either ends.
async fn converse(
    stream: Stream,
    means: &Arc<Means>,
    peer: &Peer,
    joined: Joined,
) -> io::Result<()> {
    let (hearing, saying) = smol::io::split(stream);
    let (answer, answers) = bounded(ANSWERS_MAX);
    let life = joined.life;
    let hear = hear_all(hearing, Arc::clone(means), *peer, life, answer);
    let say = say_all(saying, Arc::clone(means), joined, answers);
    future::or(say, hear).await
}

async fn hear_all(
    mut stream: ReadHalf<Stream>,
    means: Arc<Means>,
    peer: Peer,
    life: Life,
    answer: Sender<FromAppliance>,
) -> io::Result<()> {
    let settled_by = means.hub.now().after(SETTLE_MILLIS);
    loop {
        while means.hub.is_crowded(life) {
            Timer::after(CROWDED_PAUSE).await;
        }
        let head = within(Hub::silence_max(), head(&mut stream)).await?;
        let (said, payload) = within(MESSAGE, body(&mut stream, head, &means.hub)).await?;
        let result = match said {
            FromAgent::Blocks(blocks) => means.hub.blocks(life, blocks, payload),
            FromAgent::Cut(cut) => means.hub.cut(life, cut),
            FromAgent::Fingerprints { question, disk, first } => {
                // An answer that comes a little later costs less than a disk that is sent again.
                while !means.hub.is_settled(life) && means.hub.now() < settled_by {
                    Timer::after(CROWDED_PAUSE).await;
                }
                let means = Arc::clone(&means);
                let bits = smol::unblock(move || {
                    let (fingerprints, _) = payload.as_chunks::<16>();
                    means.compare.wanted(&means.hub, life, disk, first, fingerprints)
                });
                let wanted = FromAppliance::Wanted { question, bits: bits.await };
                answer.send(wanted).await.map_err(io::Error::other)?;
                Ok(())
            }
            FromAgent::Renew { request } => {
                let means = Arc::clone(&means);
                let renewed = smol::unblock(move || means.doorman.renew(&peer, &request)).await;
                match renewed {
                    Ok(None) => {}
                    Ok(Some(certificate)) => {
                        let renewed = FromAppliance::Renewed { certificate };
                        answer.send(renewed).await.map_err(io::Error::other)?;
                    }
                    Err(words) => log::warn!("agent of server {}: {words}", life.server),
                }
                Ok(())
            }
            FromAgent::Goodbye { words } => {
                let words = crate::report::printable(&words);
                log::info!("agent of server {}: goodbye: {words}", life.server);
                return Ok(());
            }
            other => {
                note(&means.hub, &peer, life, other);
                Ok(())
            }
        };
        if let Err(nonsense) = result {
            log::warn!("agent of server {}: {nonsense}", life.server);
            // Said by the other half, which ends the connection with it.
            let refused = FromAppliance::Refused(makes_no_sense(&nonsense));
            answer.send(refused).await.map_err(io::Error::other)?;
            future::pending::<()>().await;
        }
    }
}

/// What asks for no answer and makes sense at any time.
fn note(hub: &Hub, peer: &Peer, life: Life, said: FromAgent) {
    match said {
        FromAgent::Frozen { token } => hub.frozen(life, token),
        FromAgent::Status(status) => hub.status(life, status),
        FromAgent::Cards { cards } => hub.cards(life, &cards),
        FromAgent::Drained(drained) => {
            let order = drained.order.clone();
            hub.drained(life, peer.key_fingerprint, &order, Ok(drained));
        }
        FromAgent::NotDrained { order, words } => {
            let answer = Err(crate::report::printable(&words));
            hub.drained(life, peer.key_fingerprint, &order, answer);
        }
        // A later version's word, or a second hello: nothing that this one could act upon.
        _ => {}
    }
}

async fn say_all(
    mut stream: WriteHalf<Stream>,
    means: Arc<Means>,
    joined: Joined,
    answers: Receiver<FromAppliance>,
) -> io::Result<()> {
    let server = joined.life.server;
    loop {
        let woken = async { joined.wake.recv().await.map(|()| None).map_err(io::Error::other) };
        let asked = async { answers.recv().await.map(Some).map_err(io::Error::other) };
        let still_here = async {
            Timer::after(SAID_AT_LEAST).await;
            Ok(Some(FromAppliance::Credit { bytes: 0 }))
        };
        let answer = future::or(future::or(woken, asked), still_here).await?;
        let mut messages: Vec<FromAppliance> = answer.into_iter().collect();
        while let Ok(more) = answers.try_recv() {
            messages.push(more);
        }
        let (owed, ended) = means.hub.owed(server, joined.line);
        messages.extend(owed);
        messages.extend(ended.map(FromAppliance::Refused));
        let mut ends = false;
        let mut bytes = Vec::new();
        for message in &messages {
            ends |= matches!(message, FromAppliance::Refused(_));
            bytes.extend(frame::emit(message, 0).map_err(io::Error::other)?);
        }
        within(MESSAGE, async {
            stream.write_all(&bytes).await?;
            stream.flush().await
        })
        .await?;
        if ends {
            return within(MESSAGE, stream.close()).await;
        }
    }
}

/// Says the last word.
async fn part(stream: &mut Stream, refused: Refused) -> io::Result<()> {
    say(stream, &FromAppliance::Refused(refused)).await?;
    within(MESSAGE, stream.close()).await
}

async fn say(stream: &mut Stream, message: &FromAppliance) -> io::Result<()> {
    let bytes = frame::emit(message, 0).map_err(io::Error::other)?;
    within(MESSAGE, async {
        stream.write_all(&bytes).await?;
        stream.flush().await
    })
    .await
}

/// The first message, of whatever version it is: none has a payload.
async fn first_body(stream: &mut (impl smol::io::AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let head = head(stream).await?;
    if head.payload > 0 {
        return Err(io::Error::other(frame::FrameError::Payload));
    }
    let mut body = vec![0; head.body];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

async fn head(stream: &mut (impl smol::io::AsyncRead + Unpin)) -> io::Result<Head> {
    let mut bytes = [0; HEAD_BYTES];
    stream.read_exact(&mut bytes).await?;
    frame::head(bytes).map_err(io::Error::other)
}

/// The payload is read to where it stays until the spool has it.
async fn body(
    stream: &mut (impl smol::io::AsyncRead + Unpin),
    head: Head,
    hub: &Hub,
) -> io::Result<(FromAgent, Vec<u8>)> {
    let mut body = vec![0; head.body];
    stream.read_exact(&mut body).await?;
    let said: FromAgent = frame::message(&body).map_err(io::Error::other)?;
    if !said.fits(head.payload) {
        return Err(io::Error::other(frame::FrameError::Payload));
    }
    let mut payload = hub.room(head.payload);
    stream.read_exact(&mut payload).await?;
    Ok((said, payload))
}

fn refuse(why: Why, words: &str, remedy: &str) -> Refused {
    Refused { why, words: words.to_owned(), remedy: remedy.to_owned() }
}

async fn within<T>(patience: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = async {
        Timer::after(patience).await;
        Err(io::Error::new(io::ErrorKind::TimedOut, "took too long"))
    };
    future::or(work, late).await
}
