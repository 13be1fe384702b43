//! What the loop that replicates and the threads that talk hand each other.
//!
//! The loop puts content into the outbox and takes events; the threads take parcels and bring what the appliance said.
//! Everything is bounded. It refuses to touch a socket.

use core::time::Duration;
use std::collections::VecDeque;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use hal::time::Moment;
use pipeline_wire::message::{
    Binding, Content, Cut, DiskHello, FromAgent, FromAppliance, Refused, Welcome,
};
use pipeline_wire::runs::Run;

use crate::outbox::{NotTaken, Outbox, Parcel, WINDOW_BYTES_MAX};
use crate::pace::Pace;

/// Messages of the appliance that the loop has not taken; one that sends more than this asks for too much.
const EVENTS_MAX: usize = 4096;

/// Places for messages that need no keeping, made beforehand.
const LOOSE_KEPT: usize = 64;
/// Such messages at most: far more than questions on their way, so that what goes is news of how the agent fared.
const LOOSE_MAX: usize = 1024;

/// What the loop is told.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A session began.
    Welcomed(Box<Welcome>),
    /// It ended, or none could begin; another is tried by itself.
    Away(String),
    /// The appliance refuses this server.
    Refused(Refused),
    /// What it said, where that is not about the session itself.
    Said(FromAppliance),
}

/// Who says Hello, as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// This life of the tracking.
    pub run: [u8; 16],
    /// What machine it is.
    pub binding: Binding,
    /// The disks.
    pub disks: Vec<DiskHello>,
}

#[derive(Debug)]
struct Inner {
    outbox: Outbox,
    /// Messages that need no keeping, of the first connection.
    loose: VecDeque<Arc<Parcel>>,
    events: VecDeque<Event>,
    introduction: Option<Introduction>,
    /// Counts introductions: a session of an older one ends.
    introduced: u64,
    welcomed: bool,
    stopping: bool,
    pace: Pace,
    wakers: Vec<UnixStream>,
    /// Counts everything that happens here.
    happened: u64,
}

/// The place where they meet.
#[derive(Debug)]
pub struct Exchange {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Default for Exchange {
    fn default() -> Self {
        let inner = Inner {
            outbox: Outbox::new(WINDOW_BYTES_MAX),
            loose: VecDeque::with_capacity(LOOSE_KEPT),
            events: VecDeque::new(),
            introduction: None,
            introduced: 0,
            welcomed: false,
            stopping: false,
            pace: Pace::default(),
            wakers: Vec::new(),
            happened: 0,
        };
        Self { inner: Mutex::new(inner), changed: Condvar::new() }
    }
}

/// The loop's side.
impl Exchange {
    /// Begins a run: whatever was said in an earlier one and not spooled is forgotten, and the session with it.
    pub fn begin(&self, introduction: Introduction) {
        let mut inner = self.lock();
        inner.outbox = Outbox::new(WINDOW_BYTES_MAX);
        inner.loose.clear();
        inner.events.clear();
        inner.introduction = Some(introduction);
        inner.introduced += 1;
        inner.welcomed = false;
        self.tell(inner);
    }

    /// Says content of blocks.
    ///
    /// Errors: there is no room now, and the payload comes back.
    pub fn blocks(
        &self,
        disk: u16,
        content: Content,
        runs: Vec<Run>,
        payload: Vec<u8>,
    ) -> Result<u64, NotTaken> {
        let mut inner = self.lock();
        let sequence = inner.outbox.blocks(disk, content, runs, payload)?;
        self.tell(inner);
        Ok(sequence)
    }

    /// Says a cut; its sequence, or why it is no message.
    pub fn cut(&self, cut: Cut) -> Result<u64, String> {
        let mut inner = self.lock();
        let sequence = inner.outbox.cut(cut).map_err(|error| error.to_string())?;
        self.tell(inner);
        Ok(sequence)
    }

    /// Says what needs no keeping; nothing where no session is.
    pub fn say(&self, message: &FromAgent, payload: Vec<u8>) {
        let Ok(parcel) = Parcel::new(message, payload) else {
            log::error!("a message of our own is too large; it was not sent");
            return;
        };
        self.say_made(&Arc::new(parcel));
    }

    /// Says what was made before; asks for no memory.
    pub fn say_made(&self, parcel: &Arc<Parcel>) {
        let mut inner = self.lock();
        if inner.welcomed {
            // Where nothing goes out any more, the oldest words are worth the least.
            if inner.loose.len() >= LOOSE_MAX {
                inner.loose.pop_front();
            }
            inner.loose.push_back(Arc::clone(parcel));
            self.tell(inner);
        }
    }

    /// The next event, waiting for one at most so long.
    pub fn event(&self, limit: Duration) -> Option<Event> {
        self.wait(limit, |inner| !inner.events.is_empty()).events.pop_front()
    }

    /// Whether there is room for so many bytes of payload, waiting at most so long, or until there is an event.
    pub fn room(&self, payload: usize, limit: Duration) -> bool {
        let ready = |inner: &Inner| inner.outbox.has_room(payload) || !inner.events.is_empty();
        self.wait(limit, ready).outbox.has_room(payload)
    }

    /// Whether there is room for so many bytes of payload, waiting at most so long whatever else happens.
    pub fn room_for(&self, payload: usize, limit: Duration) -> bool {
        self.wait(limit, |inner| inner.outbox.has_room(payload)).outbox.has_room(payload)
    }

    /// Whether all of a group are frozen, waiting for that at most so long. Other events stay where they are.
    pub fn all_frozen(&self, token: u64, limit: Duration) -> bool {
        let wanted = Event::Said(FromAppliance::AllFrozen { token });
        let ready = |inner: &Inner| !inner.welcomed || inner.events.contains(&wanted);
        let mut inner = self.wait(limit, ready);
        let place = inner.events.iter().position(|event| *event == wanted);
        place.and_then(|place| inner.events.remove(place)).is_some()
    }

    /// Counts everything that happens here: for `rest`.
    pub fn happened(&self) -> u64 {
        self.lock().happened
    }

    /// Waits until something happened since that count, at most so long.
    pub fn rest(&self, happened: u64, limit: Duration) {
        drop(self.wait(limit, |inner| inner.happened != happened));
    }

    /// Whether everything that was said is spooled.
    pub fn is_spooled(&self, sequence: u64) -> bool {
        self.lock().outbox.spooled() >= sequence
    }

    /// Whether content of blocks of a disk, from `first` up to, not including, `end`, was said and is not spooled: about
    /// them no question is asked, since it might overtake what was said.
    pub fn is_on_the_way(&self, disk: u16, first: u64, end: u64) -> bool {
        self.lock().outbox.is_on_the_way(disk, first, end)
    }

    /// Bytes that are kept because they are not spooled.
    pub fn kept_bytes(&self) -> usize {
        self.lock().outbox.bytes()
    }

    /// Whether a session stands.
    pub fn is_welcomed(&self) -> bool {
        self.lock().welcomed
    }

    /// So many bytes a second may be sent; 0 for no limit.
    pub fn pace(&self, bytes_per_second: u64) {
        self.lock().pace.change(bytes_per_second);
    }

    /// Ends all sessions, after what is still to be said without keeping.
    pub fn stop(&self) {
        let mut inner = self.lock();
        inner.stopping = true;
        self.tell(inner);
    }
}

/// What a talking thread does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Send this.
    Send(Arc<Parcel>),
    /// There is nothing to send now; ask again after this long, or when woken.
    Nothing(Duration),
    /// This session is over.
    End,
}

/// The talking threads' side.
impl Exchange {
    /// Whom to introduce, once there is somebody; nothing where everything ends.
    pub(crate) fn introduction(&self) -> Option<(u64, Introduction)> {
        let inner = self.wait(Duration::MAX, |inner| inner.introduction.is_some());
        if inner.stopping {
            return None;
        }
        inner.introduction.clone().map(|introduction| (inner.introduced, introduction))
    }

    /// The appliance agreed to a session of this introduction. False where it means another run than we do.
    pub(crate) fn welcome(&self, introduced: u64, welcome: Box<Welcome>) -> Result<(), String> {
        let mut inner = self.lock();
        if inner.introduced != introduced {
            return Err("another run began meanwhile".to_owned());
        }
        inner.outbox.welcome(welcome.spooled, welcome.credit_bytes).map_err(|never| {
            format!(
                "the appliance says that message {} is spooled, and the newest was {}",
                never.acknowledged, never.newest
            )
        })?;
        inner.welcomed = true;
        inner.loose.clear();
        inner.pace.change(welcome.policy.send_bytes_per_second);
        inner.events.push_back(Event::Welcomed(welcome));
        self.tell(inner);
        Ok(())
    }

    /// What a connection sends next.
    pub(crate) fn next(&self, introduced: u64, connection: u16, now: Moment) -> Next {
        let mut inner = self.lock();
        if inner.introduced != introduced || !inner.welcomed {
            return Next::End;
        }
        if connection == 0
            && let Some(parcel) = inner.loose.pop_front()
        {
            return Next::Send(parcel);
        }
        if inner.stopping {
            return Next::End;
        }
        let wait = inner.pace.wait_millis(now);
        if wait > 0 {
            return Next::Nothing(Duration::from_millis(wait));
        }
        match inner.outbox.next(connection) {
            Some(parcel) => {
                inner.pace.take(now, u64::try_from(parcel.payload.len()).unwrap_or(u64::MAX));
                Next::Send(parcel)
            }
            None => Next::Nothing(Duration::from_secs(3600)),
        }
    }

    /// What the appliance said on any connection.
    ///
    /// Errors: it makes no sense; the session ends.
    pub(crate) fn hear(&self, said: FromAppliance) -> Result<(), String> {
        let mut inner = self.lock();
        match said {
            FromAppliance::Credit { bytes } => inner.outbox.credit(bytes),
            FromAppliance::Spooled { sequence } => {
                // Acknowledgements of several connections overtake each other.
                let sequence = sequence.max(inner.outbox.spooled());
                inner.outbox.acknowledge(sequence).map_err(|_| {
                    format!("the appliance acknowledges message {sequence}, which was never sent")
                })?;
            }
            FromAppliance::Welcome(_) => return Err("welcomed twice".to_owned()),
            FromAppliance::Refused(refused) => inner.events.push_back(Event::Refused(refused)),
            other => inner.events.push_back(Event::Said(other)),
        }
        if inner.events.len() > EVENTS_MAX {
            return Err("the appliance says more than can be done".to_owned());
        }
        self.tell(inner);
        Ok(())
    }

    /// A connection is lost; with the first one the session.
    pub(crate) fn lost(&self, introduced: u64, connection: u16) {
        let mut inner = self.lock();
        if inner.introduced == introduced {
            inner.outbox.lost(connection);
            if connection == 0 {
                inner.welcomed = false;
                inner.loose.clear();
            }
        }
        self.tell(inner);
    }

    /// Tells the loop something; the same thing only once while nobody listens.
    pub(super) fn inform(&self, event: Event) {
        let mut inner = self.lock();
        if inner.events.back() != Some(&event) && inner.events.len() < EVENTS_MAX {
            inner.events.push_back(event);
        }
        self.tell(inner);
    }

    /// Rings whenever there may be something to send.
    pub(super) fn wake_by(&self, waker: UnixStream) {
        self.lock().wakers.push(waker);
    }

    /// Waits before another try: false where everything ends.
    pub(super) fn pause(&self, introduced: u64, limit: Duration) -> bool {
        !self.wait(limit, |inner| inner.introduced != introduced).stopping
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, limit: Duration, ready: impl Fn(&Inner) -> bool) -> MutexGuard<'_, Inner> {
        let waiting = |inner: &mut Inner| !inner.stopping && !ready(inner);
        let inner = self.lock();
        if limit == Duration::MAX {
            return self.changed.wait_while(inner, waiting).unwrap_or_else(PoisonError::into_inner);
        }
        self.changed
            .wait_timeout_while(inner, limit, waiting)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn tell(&self, mut inner: MutexGuard<'_, Inner>) {
        inner.happened += 1;
        // A waker whose other end is gone belonged to a connection that is over; a full one rings already.
        inner.wakers.retain(|waker| match (&mut &*waker).write(&[1]) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        });
        drop(inner);
        self.changed.notify_all();
    }
}
