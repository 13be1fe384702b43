//! What is answered, on its way out: bytes at once, files in pieces, what happens as it happens.

use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use async_io::Timer;
use firmware_web::api::reply::{FilePart, problem};
use firmware_web::api::verbs::Running;
use firmware_web::api::{Body, Reply, Who};
use hyper::body::Bytes;
use smol::Executor;
use smol::future;

use super::api::{Api, too_many};
use super::body::{Pieces, Told};
use super::feed::{Mailbox, PACE, PART, Waiting};

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 1024 * 1024;
/// A word at least so often to whoever watches, so that both sides know that the other is there; and so often it is looked whether they
/// still may.
const BEAT: Duration = Duration::from_secs(15);

/// An answer, and to whom.
pub(super) struct Telling {
    pub(super) reply: Reply,
    pub(super) who: Option<Who>,
}

impl Telling {
    /// An answer to anybody.
    pub(super) fn plain(reply: Reply) -> Self {
        Self { reply, who: None }
    }

    /// Status, headers and body. What takes long is begun on the executor, and ends with its connection.
    pub(super) fn begin(
        self,
        api: &Arc<Api>,
        executor: &Arc<Executor<'static>>,
        is_head: bool,
    ) -> (u16, Vec<(&'static str, String)>, Told) {
        let Self { reply, who } = self;
        let Reply { status, headers, body } = reply;
        let nothing = || Told::new(Arc::default());
        let told = match body {
            Body::Bytes(bytes) => Some(Told::new(Arc::new(bytes))),
            Body::File(part) => {
                let bytes = part.end.saturating_sub(part.begin);
                let (pieces, told) = Told::pieces(Some(bytes));
                // For the head alone nothing is read.
                let begun = is_head || long(api, executor, |api| file(api, part, pieces));
                begun.then_some(told)
            }
            Body::Lines(running) => {
                let (pieces, told) = Told::pieces(None);
                long(api, executor, |_| lines(running, pieces)).then_some(told)
            }
            Body::Events { .. } if is_head => Some(nothing()),
            Body::Events { after } => watch(api, executor, who, after),
            // Only this crate could say something that it does not know.
            _ => None,
        };
        match told {
            Some(told) => (status, headers, told),
            None => {
                let Reply { status, headers, body } = problem(&too_many());
                let bytes = if let Body::Bytes(bytes) = body { bytes } else { Vec::new() };
                (status, headers, Told::new(Arc::new(bytes)))
            }
        }
    }
}

/// Begins what takes as long as its client does, where there is room for it.
fn long<F: Future<Output = ()> + Send + 'static>(
    api: &Arc<Api>,
    executor: &Arc<Executor<'static>>,
    work: impl FnOnce(Arc<Api>) -> F,
) -> bool {
    let Some(place) = api.long.try_acquire_arc() else { return false };
    let work = work(Arc::clone(api));
    let task = async move {
        work.await;
        drop(place);
    };
    executor.spawn(task).detach();
    true
}

async fn file(api: Arc<Api>, part: FilePart, pieces: Pieces) {
    let FilePart { place, first, begin, end } = part;
    let mut at = begin.saturating_add(u64::try_from(first.len()).unwrap_or(u64::MAX));
    if !first.is_empty() && pieces.send(Ok(Bytes::from(first))).await.is_err() {
        return;
    }
    while at < end {
        let (api, place) = (Arc::clone(&api), place.clone());
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        let read = smol::unblock(move || api.site.read(&place, at, left.min(PIECE_BYTES))).await;
        let piece = match read {
            Ok(read) if !read.bytes.is_empty() && read.bytes.len() <= left => Ok(read.bytes),
            Ok(_) => Err(io::Error::other("the file ended early")),
            Err(refusal) => Err(io::Error::other(refusal.detail)),
        };
        let failed = piece.is_err();
        at = at.saturating_add(piece.as_ref().map_or(0, |bytes| bytes.len() as u64));
        if pieces.send(piece.map(Bytes::from)).await.is_err() || failed {
            return;
        }
    }
}

async fn lines(mut running: Box<dyn Running>, pieces: Pieces) {
    loop {
        let (told, still) = smol::unblock(move || {
            let told = running.next();
            (told, running)
        })
        .await;
        running = still;
        let Some(told) = told else { return };
        let Ok(mut line) = serde_json::to_vec(&told) else { return };
        line.push(b'\n');
        if pieces.send(Ok(Bytes::from(line))).await.is_err() {
            // Nobody listens any more: the verb is asked to end, which may take a moment.
            return smol::unblock(move || drop(running)).await;
        }
    }
}

fn watch(
    api: &Arc<Api>,
    executor: &Arc<Executor<'static>>,
    who: Option<Who>,
    after: Option<u64>,
) -> Option<Told> {
    let (mailbox, begins) = api.feed.join(after)?;
    if begins {
        executor.spawn(look(Arc::clone(api))).detach();
    }
    let (pieces, told) = Told::pieces(None);
    executor.spawn(tell(Arc::clone(api), who, after, mailbox, pieces)).detach();
    Some(told)
}

/// Looks for all who watch, until nobody does.
async fn look(api: Arc<Api>) {
    loop {
        let began = Instant::now();
        let looking = Arc::clone(&api);
        if !smol::unblock(move || looking.feed.look()).await {
            return;
        }
        // Where a look takes long, it is not all that the machine does.
        Timer::after(PACE.max(began.elapsed() * PART)).await;
    }
}

/// Tells one viewer what happens.
async fn tell(
    api: Arc<Api>,
    who: Option<Who>,
    after: Option<u64>,
    mailbox: Arc<Mailbox>,
    pieces: Pieces,
) {
    if let Some(after) = after {
        let (api, mailbox) = (Arc::clone(&api), Arc::clone(&mailbox));
        smol::unblock(move || api.feed.catch_up(&mailbox, after)).await;
    }
    let mut beat = Instant::now();
    // At once, so that the client knows that it is heard.
    let mut text = ": begun\n\n".to_owned();
    loop {
        if !text.is_empty() && pieces.send(Ok(Bytes::from(text))).await.is_err() {
            return;
        }
        text = match mailbox.take() {
            Waiting::Text(text) => text,
            // The connection ends; its client comes back with the number of its last event.
            Waiting::Lost => return,
            Waiting::Nothing => String::new(),
        };
        if beat.elapsed() >= BEAT {
            beat = Instant::now();
            text.push_str(": beat\n\n");
            let (api, who) = (Arc::clone(&api), who.clone());
            let still = move || who.is_some_and(|who| api.accounts.still(&who));
            if !smol::unblock(still).await {
                return;
            }
        }
        if text.is_empty() {
            let left = BEAT.saturating_sub(beat.elapsed());
            future::or(mailbox.woken(), async {
                Timer::after(left).await;
            })
            .await;
        }
    }
}
