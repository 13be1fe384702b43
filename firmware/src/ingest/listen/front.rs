//! The agents' door: strangers are let in, TLS is spoken, certificates and frames are read, each within its limits. What holds
//! together is written anew, and handed on.
//!
//! It runs as a service of its own, in a jail (`services.rs`). It knows the key that this run of the appliance shows to agents,
//! and what passes through it: what agents send, and what each is told, the key of its fingerprints included.

use core::net::SocketAddr;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use async_io::{Async, Timer};
use futures_rustls::TlsAcceptor;
use futures_rustls::server::TlsStream;
use hal::time::Clock as _;
use hal_linux::SystemClock;
use pipeline_wire::certificate::{Peer, RequestedKey};
use pipeline_wire::frame::{self, FrameError, Head};
use pipeline_wire::message::{FromAgent, FromAppliance, Refused, Said as _};
use pipeline_wire::tls::{self, Gate};
use pipeline_wire::version;
use smol::Executor;
use smol::future;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use smol::lock::Semaphore;
use smol::net::{TcpListener, TcpStream};
use zeroize::Zeroizing;

use super::pieces::{Pieces, Spare};
use super::relay::{self, Caller};
use super::{CONNECTIONS_MAX, HELLO, MESSAGE, first_body, head, on_threads, within};
use crate::ingest::hub::Hub;
use crate::services::calls::Calls;
use crate::services::line::{Handed, Line};

/// Pause after a failed accept.
const ACCEPT_PAUSE: core::time::Duration = core::time::Duration::from_millis(200);
/// So much of a payload is passed on at once: of one agent the door holds no more than that, and one piece of its stream.
const PART_BYTES: usize = 64 * 1024;
/// So much of what an agent is told.
const TOLD_BYTES: usize = 16 * 1024;
/// What TLS begins with.
const TLS_HANDSHAKE: u8 = 0x16;
/// For whoever looks at this port with a browser.
const NO_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\
    content-length: 71\r\n\r\nAgents of Lifeboat talk here. The page is on another port, over https.\n";

type Stream = TlsStream<Pieces<TcpStream>>;

/// When certificates end is judged here; who was revoked is judged where the roll is, behind the door.
#[derive(Debug)]
struct Dates;

impl Gate for Dates {
    fn now(&self) -> Option<u64> {
        Some(SystemClock.now().0 / 1000)
    }

    fn is_revoked(&self, _: &Peer) -> bool {
        false
    }
}

/// The service: what listens and what it shows come from its starter.
pub(crate) fn run(line: Line, handed: Handed) -> Result<(), String> {
    let failed = |error: io::Error| format!("the agents' door: {error}");
    let (credentials, authority) = relay::heard(&Zeroizing::new(handed.bytes)).map_err(failed)?;
    let tls = tls::appliance(&credentials, &authority, Arc::new(Dates));
    let acceptor = TlsAcceptor::from(tls.map_err(|error| failed(io::Error::other(error)))?);
    drop(credentials);
    let listener = handed.files.into_iter().next().ok_or("no socket that listens was handed on")?;
    let listener = Async::new(std::net::TcpListener::from(listener)).map_err(failed)?;
    let calls = Arc::new(Calls::new(line).map_err(failed)?);
    let executor = Arc::new(Executor::new());
    let served = serve(listener.into(), acceptor, &calls, &executor);
    // Where nobody is left behind it, the door ends.
    on_threads(&executor, &|| (), future::or(calls.hear(|_| ()), served));
    Ok(())
}

/// Lets agents in, for good.
async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    calls: &Arc<Calls>,
    executor: &Arc<Executor<'static>>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let spare = Spare::default();
    loop {
        match listener.accept().await {
            Ok((stream, from)) => match places.try_acquire_arc() {
                Some(place) => {
                    let (acceptor, calls) = (acceptor.clone(), Arc::clone(calls));
                    let spare = spare.clone();
                    let task = async move {
                        if let Err(error) = agent(stream, from, acceptor, &spare, &calls).await {
                            log::debug!("agent at {from}: {error}");
                        }
                        drop(place);
                    };
                    executor.spawn(task).detach();
                }
                None => log::warn!("agent at {from}: turned away, {CONNECTIONS_MAX} are here"),
            },
            Err(error) => {
                log::warn!("an agent could not be accepted: {error}");
                Timer::after(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn agent(
    mut stream: TcpStream,
    from: SocketAddr,
    acceptor: TlsAcceptor,
    spare: &Spare,
    calls: &Calls,
) -> io::Result<()> {
    // Acknowledgements are small, and somebody waits for them.
    stream.set_nodelay(true)?;
    let mut first = [0];
    within(HELLO, stream.peek(&mut first)).await?;
    if first[0] != TLS_HANDSHAKE {
        within(HELLO, stream.write_all(NO_TLS)).await?;
        return within(HELLO, stream.close()).await;
    }
    let mut stream = within(HELLO, acceptor.accept(Pieces::new(stream, spare))).await?;
    let connection = stream.get_ref().1;
    if !tls::is_replication(connection.alpn_protocol()) {
        return Err(io::Error::other("it does not speak the replication protocol"));
    }
    let peer = tls::peer(connection.peer_certificates()).map_err(io::Error::other)?;
    let hello = match version::hello(&within(HELLO, first_body(&mut stream)).await?) {
        Ok((hello, _)) => FromAgent::Hello(hello),
        Err(refused) => {
            log::warn!("agent of server {}: refused: {}", peer.server, refused.words);
            return part(&mut stream, refused).await;
        }
    };
    // What came by IPv4 to a socket of both kinds is IPv4.
    let caller = Caller { peer, from: from.ip().to_canonical() };
    let behind = calls.call(&caller.told()?).await?;
    let (hearing, saying) = smol::io::split(stream);
    let up = up(hearing, &behind, frame::emit(&hello, 0).map_err(io::Error::other)?);
    future::or(down(&behind, saying), up).await
}

/// Says the last word.
async fn part(stream: &mut Stream, refused: Refused) -> io::Result<()> {
    let refused = frame::emit(&FromAppliance::Refused(refused), 0).map_err(io::Error::other)?;
    within(MESSAGE, async {
        stream.write_all(&refused).await?;
        stream.flush().await?;
        stream.close().await
    })
    .await
}

/// What the agent says. Behind the door there may be no room for it for long: that is no fault of the agent.
async fn up(
    mut agent: ReadHalf<Stream>,
    mut behind: &Async<UnixStream>,
    hello: Vec<u8>,
) -> io::Result<()> {
    // What is passed on lies in front of the buffer, which never shrinks: what it grew by is zeroed once, not for each part.
    let (mut used, mut bytes, mut left) = (hello.len(), hello, 0);
    loop {
        let is_heard = behind.write_all(bytes.get(..used).unwrap_or_default()).await.is_ok();
        if !is_heard {
            // What was said last is still on its way to the agent: that way ends, and this one with it.
            return future::pending().await;
        }
        used = 0;
        if left == 0 {
            let head = within(Hub::silence_max(), head(&mut agent)).await?;
            let message = within(MESSAGE, checked(&mut agent, head)).await?;
            (used, left) = (message.len(), head.payload);
            room(&mut bytes, 0, used).copy_from_slice(&message);
        }
        let part = left.min(PART_BYTES);
        within(MESSAGE, agent.read_exact(room(&mut bytes, used, part))).await?;
        used += part;
        left -= part;
    }
}

/// So many bytes of a buffer from here on; it grows to have them.
fn room(bytes: &mut Vec<u8>, at: usize, length: usize) -> &mut [u8] {
    if bytes.len() < at + length {
        bytes.resize(at + length, 0);
    }
    bytes.get_mut(at..at + length).unwrap_or_default()
}

/// A message that holds together, written anew; nothing where it asks for what nobody can give.
async fn checked(agent: &mut ReadHalf<Stream>, head: Head) -> io::Result<Vec<u8>> {
    let mut body = vec![0; head.body];
    agent.read_exact(&mut body).await?;
    let said: FromAgent = frame::message(&body).map_err(io::Error::other)?;
    if !said.fits(head.payload) {
        return Err(io::Error::other(FrameError::Payload));
    }
    if let FromAgent::Renew { request } = &said
        && let Err(error) = RequestedKey::of(request)
    {
        log::warn!("an agent: {error}");
        return Ok(Vec::new());
    }
    frame::emit(&said, head.payload).map_err(io::Error::other)
}

/// What the agent is told, until its end.
async fn down(mut behind: &Async<UnixStream>, mut agent: WriteHalf<Stream>) -> io::Result<()> {
    let mut bytes = Zeroizing::new(vec![0; TOLD_BYTES]);
    loop {
        // Whoever is gone behind the door has nothing more to say either.
        let read = behind.read(&mut bytes).await.unwrap_or(0);
        let told = bytes.get(..read).unwrap_or_default();
        within(MESSAGE, async {
            agent.write_all(told).await?;
            agent.flush().await?;
            if told.is_empty() { agent.close().await } else { Ok(()) }
        })
        .await?;
        if read == 0 {
            return Ok(());
        }
    }
}
