//! From a door to what is behind it: who asks goes over the line, and comes back as a stream for that one alone.
//!
//! Both ends of that stream are made behind the door, so that the door has none of what is read and written there. A call is a
//! number and who asks; its answer is that number with the stream, or alone where no place is left. So nobody is ever taken for
//! another one.

use core::future::Future;
use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_io::Async;
use smol::Executor;
use smol::channel::{Sender, bounded};
use smol::lock::Semaphore;

use super::line::{Line, MESSAGE_BYTES_MAX};

/// A call begins with its number.
const NUMBER_BYTES: usize = 8;
/// Longest word of who asks.
const WHO_BYTES_MAX: usize = 256;
/// Longest call.
pub(crate) const CALL_BYTES_MAX: usize = NUMBER_BYTES + WHO_BYTES_MAX;

/// The door's end of a line.
pub(crate) struct Calls {
    line: Async<Line>,
    number: AtomicU64,
    waiting: Mutex<BTreeMap<u64, Sender<Option<OwnedFd>>>>,
}

/// Who waits for an answer, and does no more however that ends.
struct Waits<'a>(&'a Calls, u64);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting().remove(&self.1);
    }
}

impl Calls {
    /// On a line.
    pub(crate) fn new(line: Line) -> io::Result<Self> {
        Ok(Self { line: Async::new(line)?, number: AtomicU64::new(0), waiting: Mutex::default() })
    }

    /// Hears what is answered, until nobody is there any more. What is no answer is for `told`.
    pub(crate) async fn hear(&self, told: impl Fn(Vec<u8>)) {
        let next = || self.line.read_with(|line| line.receive(MESSAGE_BYTES_MAX));
        while let Ok(Some(handed)) = next().await {
            let Some(number) = number(&handed.bytes) else {
                told(handed.bytes);
                continue;
            };
            if let Some(waits) = self.waiting().remove(&number) {
                // Whoever gave up meanwhile wants none.
                let _ = waits.try_send(handed.files.into_iter().next());
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, Sender<Option<OwnedFd>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream for whom these bytes name.
    pub(crate) async fn call(&self, who: &[u8]) -> io::Result<Async<UnixStream>> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = bounded(1);
        self.waiting().insert(number, answer);
        let _waits = Waits(self, number);
        let call = [&number.to_le_bytes()[..], who].concat();
        self.line.write_with(|line| line.send(&call, &[])).await?;
        let file = answered.recv().await.map_err(io::Error::other)?;
        let file = file.ok_or_else(|| io::Error::other("no place is left behind it"))?;
        Async::new(UnixStream::from(file))
    }
}

/// What is behind a door.
pub(crate) trait Behind: Send + Sync + 'static {
    /// Who asks, by the door's word.
    type Who: Send;
    /// So many streams at once.
    const PLACES: usize;

    /// Who these bytes name; `None` where no door of ours says that.
    fn who(bytes: &[u8]) -> Option<Self::Who>;

    /// No place was left for him.
    fn turned_away(&self, who: &Self::Who);

    /// Serves him to his end.
    fn serve(
        self: Arc<Self>,
        stream: Async<UnixStream>,
        who: Self::Who,
    ) -> impl Future<Output = ()> + Send;
}

/// Answers calls, until the door is gone or says what no door of ours says.
pub(crate) async fn answer<B: Behind>(
    line: &Async<Line>,
    behind: &Arc<B>,
    executor: &Executor<'static>,
) {
    let places = Arc::new(Semaphore::new(B::PLACES));
    while let Ok(Some(handed)) = line.read_with(|line| line.receive(CALL_BYTES_MAX)).await {
        let Some((number, who)) = called(&handed.bytes) else { return };
        let Some(who) = B::who(who) else { return };
        let place = places.try_acquire_arc();
        // Where this process has no more files, that is no reason to end who is there already.
        let pair = UnixStream::pair().and_then(|(ours, theirs)| Ok((Async::new(ours)?, theirs)));
        let (Some(place), Ok((ours, theirs))) = (place, pair) else {
            behind.turned_away(&who);
            if tell(line, number, None).await.is_err() {
                return;
            }
            continue;
        };
        if tell(line, number, Some(theirs)).await.is_err() {
            return;
        }
        let behind = Arc::clone(behind);
        let task = async move {
            behind.serve(ours, who).await;
            drop(place);
        };
        executor.spawn(task).detach();
    }
}

async fn tell(line: &Async<Line>, number: u64, stream: Option<UnixStream>) -> io::Result<()> {
    let files: Vec<_> = stream.iter().map(|stream| stream.as_fd()).collect();
    line.write_with(|line| line.send(&number.to_le_bytes(), &files)).await
}

/// The number of a call, and the bytes of who asks.
fn called(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, who) = bytes.split_at_checked(NUMBER_BYTES)?;
    Some((number(first)?, who))
}

/// The number that a message is, where it is one.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}
