//! From the agents' door to what is behind it: who calls goes over the line, and comes back as a stream for this one agent.
//!
//! Both ends of that stream are made behind the door, so that the door has none of what is read and written there. Each call
//! has a number, and so has its answer: no agent is ever taken for another one.

use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use async_io::Async;
use pipeline_wire::authority::Credentials;
use pipeline_wire::certificate::Peer;
use pipeline_wire::frame;
use serde::{Deserialize, Serialize};
use smol::Executor;
use smol::channel::{Receiver, Sender, unbounded};
use smol::lock::{Mutex, Semaphore};
use zeroize::Zeroizing;

use super::{CONNECTIONS_MAX, Means, speak};
use crate::services::line::Line;

/// Longest call.
const CALL_BYTES_MAX: usize = 256;
/// Longest answer: the number of its call.
const ANSWER_BYTES_MAX: usize = 8;

/// Who calls, by the word of the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Caller {
    /// Whom the certificate names.
    pub(super) peer: Peer,
    /// Where from.
    pub(super) from: IpAddr,
}

/// What the door shows, as bytes for it: this appliance's certificate and key, and the certificate of the authority.
pub(super) fn told(
    credentials: &Credentials,
    authority: &[u8],
) -> Result<Zeroizing<Vec<u8>>, postcard::Error> {
    let told = (&credentials.certificate, credentials.key.as_slice(), authority);
    postcard::to_allocvec(&told).map(Zeroizing::new)
}

/// The same out of its bytes.
pub(super) fn heard(bytes: &[u8]) -> io::Result<(Credentials, Vec<u8>)> {
    let (certificate, key, authority): (Vec<u8>, Vec<u8>, Vec<u8>) =
        frame::message(bytes).map_err(io::Error::other)?;
    Ok((Credentials { certificate, key: key.into() }, authority))
}

/// The door's end of the line.
pub(super) struct Calls {
    line: Async<Line>,
    number: AtomicU64,
    turn: Mutex<()>,
    answer: Sender<(u64, Option<OwnedFd>)>,
    answers: Receiver<(u64, Option<OwnedFd>)>,
}

impl Calls {
    pub(super) fn new(line: Line) -> io::Result<Self> {
        let (answer, answers) = unbounded();
        let line = Async::new(line)?;
        Ok(Self { line, number: AtomicU64::new(0), turn: Mutex::new(()), answer, answers })
    }

    /// Hears what is answered, until nobody is there any more.
    pub(super) async fn hear(&self) {
        let next = || self.line.read_with(|line| line.receive(ANSWER_BYTES_MAX));
        while let Ok(Some(handed)) = next().await {
            let Ok(number) = handed.bytes.try_into().map(u64::from_le_bytes) else { return };
            if self.answer.send((number, handed.files.into_iter().next())).await.is_err() {
                return;
            }
        }
    }

    /// A stream for this agent.
    pub(super) async fn call(&self, caller: &Caller) -> io::Result<Async<UnixStream>> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let call = postcard::to_allocvec(&(number, caller)).map_err(io::Error::other)?;
        let turn = self.turn.lock().await;
        self.line.write_with(|line| line.send(&call, &[])).await?;
        loop {
            let (answered, file) = self.answers.recv().await.map_err(io::Error::other)?;
            // Another number is that of a call which nobody waits for any more.
            if answered == number {
                drop(turn);
                let file = file.ok_or_else(|| io::Error::other("no place is left behind it"))?;
                return Async::new(UnixStream::from(file));
            }
        }
    }
}

/// Answers calls, until the door is gone or says what no door of ours says.
pub(super) async fn answer(
    line: &Async<Line>,
    means: &Arc<Means>,
    executor: &Arc<Executor<'static>>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(Some(handed)) = line.read_with(|line| line.receive(CALL_BYTES_MAX)).await {
        let Ok((number, caller)) = frame::message::<(u64, Caller)>(&handed.bytes) else { return };
        let place = places.try_acquire_arc();
        // Where this process has no more files, that is no reason to end who is there already.
        let pair = UnixStream::pair().and_then(|(ours, theirs)| Ok((Async::new(ours)?, theirs)));
        let (Some(place), Ok((ours, theirs))) = (place, pair) else {
            log::warn!("agent at {}: turned away, {CONNECTIONS_MAX} are here", caller.from);
            if tell(line, number, None).await.is_err() {
                return;
            }
            continue;
        };
        if tell(line, number, Some(theirs)).await.is_err() {
            return;
        }
        let means = Arc::clone(means);
        let task = async move {
            if let Err(error) = speak(ours, caller, means).await {
                log::debug!("agent at {}: {error}", caller.from);
            }
            drop(place);
        };
        executor.spawn(task).detach();
    }
}

async fn tell(line: &Async<Line>, number: u64, stream: Option<UnixStream>) -> io::Result<()> {
    let files: Vec<_> = stream.iter().map(|stream| stream.as_fd()).collect();
    line.write_with(|line| line.send(&number.to_le_bytes(), &files)).await
}
