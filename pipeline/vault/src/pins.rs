//! Pins: a reader's sealed, expiring word that it reads a point, so that nobody deletes the point under it.
//!
//! A reader writes its pin first, then reads the chain again and goes on only if the point is still in it. Whoever
//! deletes looks at the pins after the chain and again just before deleting. So either the reader sees that its point
//! is gone, or the deleter sees the pin. A pin that does not open is honoured too, until it is a week old: its reader
//! may hold keys that the deleter does not.
//!
//! A *hold* is a pin that nobody renews and that does not end with a program: as long as it lasts, pruning leaves its point in
//! the chain. It is somebody's word that the point may be needed, whatever the policy says.

use core::time::Duration;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use pipeline::ids::{PointId, ServerId};
use serde::{Deserialize, Serialize};

use crate::access::Access;
use crate::chain::{Chain, Link, Published, read_slot};
use crate::error::{Blame, Error, Retry};
use crate::names;
use crate::points::ChainView;
use crate::record::{Action, Body, Upkeep};
use crate::sealed::{self, ObjectKind};
use crate::store::{Created, list_all};

/// How long a pin holds unless it is renewed; it is renewed after a third of this. Milliseconds.
pub const LIFE: u64 = 6 * 3_600_000;
/// Clocks of a store's machines, and requests on their way, may be off by so much. Milliseconds.
pub const SLACK: u64 = 2 * 3_600_000;
/// A pin that nobody here can open is honoured for so long after it was made. Milliseconds.
pub const UNKNOWN_LIFE: u64 = 7 * 24 * 3_600_000;
/// How long the end of a pin is waited for in a store that is far away.
const END_WAIT: Duration = Duration::from_millis(50);
/// How often a hold is announced again because somebody published in between.
const TRIES: u32 = 100;
/// A pin is a few hundred bytes; larger objects are not read.
const PIN_BYTES_MAX: u64 = 64 * 1024;

/// What a pin says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinRecord {
    /// Whose point.
    pub server: ServerId,
    /// The point's slot.
    pub slot: u64,
    /// The point's identity.
    pub point: PointId,
    /// The store's clock when it was first made, milliseconds since 1970; renewing keeps it.
    pub made: u64,
    /// The store's clock when it ends, milliseconds since 1970.
    pub expires: u64,
    /// Who reads, or why it is held, for people.
    pub reader: String,
    /// It is a hold: pruning leaves the point where it is. Stands behind the record, where a program from before it looks no
    /// further: to that one it is a long pin.
    #[serde(skip)]
    pub hold: bool,
}

/// What stands behind a pin that is a hold.
const HOLD: u8 = 1;

impl PinRecord {
    fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        let mut plain = postcard::to_allocvec(self)?;
        if self.hold {
            plain.push(HOLD);
        }
        Ok(plain)
    }

    /// What stands behind all that this version knows is a later version's.
    fn decode(plain: &[u8]) -> Result<Self, postcard::Error> {
        let (mut pin, behind): (Self, _) = postcard::take_from_bytes(plain)?;
        pin.hold = behind.first() == Some(&HOLD);
        Ok(pin)
    }
}

/// A pin as it was found in the vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The object's name.
    pub name: String,
    /// What it says; `None` where it does not open.
    pub pin: Option<PinRecord>,
    /// When its object was made, by the store's clock, milliseconds since 1970.
    pub modified: u64,
}

impl Found {
    /// Whether it still counts at `now`, the store's clock; in doubt it does.
    #[must_use]
    pub fn is_live(&self, now: u64) -> bool {
        let ends = match &self.pin {
            Some(pin) => pin.expires.saturating_add(SLACK),
            None => self.modified.saturating_add(UNKNOWN_LIFE),
        };
        ends >= now
    }

    /// When its reader began at the earliest: what was condemned since then, the reader may still count on.
    #[must_use]
    pub fn since(&self) -> u64 {
        let made = self.pin.as_ref().map_or(0, |pin| pin.made).min(self.modified);
        made.saturating_sub(SLACK)
    }
}

/// All pins on a server.
pub fn list(access: &Access, server: &ServerId) -> Result<Vec<Found>, Error> {
    let mut pins = Vec::new();
    for facts in list_all(&*access.store, &names::pin_prefix(server))? {
        let pin = match read(access, server, &facts.name) {
            Ok(pin) => Some(pin),
            // Its reader has just finished.
            Err(error) if error.is_missing() => continue,
            Err(error) if error.blame == Blame::Device => return Err(error),
            Err(error) => {
                log::warn!("{error}: honoured until it is a week old");
                None
            }
        };
        pins.push(Found { name: facts.name, pin, modified: facts.modified });
    }
    Ok(pins)
}

fn read(access: &Access, server: &ServerId, name: &str) -> Result<PinRecord, Error> {
    let bytes = access.store.read_all(name, PIN_BYTES_MAX)?;
    let plain = sealed::open(ObjectKind::Pin, access.vault, name, &bytes, &|epoch| {
        access.keys.object_key(server, ObjectKind::Pin, name, epoch)
    })?;
    let pin = PinRecord::decode(&plain)
        .map_err(|error| Error::corrupt(name, format!("opens but does not decode ({error})")))?;
    if pin.server == *server {
        Ok(pin)
    } else {
        Err(Error::corrupt(name, "is a pin on another server"))
    }
}

fn create(access: &Access, name: &str, record: &PinRecord) -> Result<(), Error> {
    let server = record.server;
    let (epoch, key) = access.keys.newest_record_key(&server).ok_or_else(|| {
        Error::misuse(format!("server {server}"), "the keys at hand only read: no pin is made")
    })?;
    let plain = record
        .encode()
        .map_err(|error| Error::misuse(name, format!("cannot be encoded ({error})")))?;
    let entropy = &*access.entropy;
    let bytes = sealed::seal(ObjectKind::Pin, access.vault, epoch, &key, name, &plain, entropy)?;
    match access.store.create(name, &bytes)? {
        Created::New | Created::Same => Ok(()),
        Created::Taken => Err(Error::corrupt(name, "exists although its name is random")
            .retry(Retry::Now)
            .remedy("somebody else writes into this vault: find out who")),
    }
}

fn name_of(access: &Access) -> Result<String, Error> {
    Ok(access.random_id()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Holds the point in `slot` for so many milliseconds: as long as that pruning leaves it in the chain. Held twice, the longer one
/// counts. `why` is for people, and must hold no secret.
///
/// Errors: it is no point, or was pruned; the keys only read, or the store fails. Then nothing is held.
pub fn hold(
    access: &Access,
    server: ServerId,
    slot: u64,
    why: &str,
    millis: u64,
) -> Result<PinRecord, Error> {
    let link = read_slot(access, &server, slot)?;
    let Some(manifest) = link.record.point() else {
        return Err(Error::misuse(names::chain_slot(&server, slot), "is no recovery point"));
    };
    let made = access.store.now()?;
    let (point, expires) = (manifest.id, made.saturating_add(millis));
    let reader = why.to_owned();
    let record = PinRecord { server, slot, point, made, expires, reader, hold: true };
    let name = names::pin(&server, &format!("{}-{:04}", name_of(access)?, 0));
    create(access, &name, &record)?;
    // Only now: a hold that is written after this would hold nothing.
    match announce(access, &record) {
        Ok(()) => Ok(record),
        Err(error) => {
            delete(access, &[name]);
            Err(error)
        }
    }
}

/// Publishes a record that changes nothing, behind which a hold counts. A run of pruning that looked at the holds before finds its
/// slot taken, and looks at everything again; where it was faster, the point is gone and the hold is refused.
fn announce(access: &Access, hold: &PinRecord) -> Result<(), Error> {
    let mut chain = Chain::open(access, hold.server)?;
    for _ in 0..TRIES {
        let mut upkeep = chain.upkeep()?;
        if upkeep.gap_of(hold.slot).is_some() {
            let pruned = Error::misuse(format!("point {}", hold.point), "was pruned a moment ago");
            return Err(pruned.retry(Retry::Never));
        }
        upkeep.action = Action::None;
        if let Published::Slot(_) = chain.publish(Body::Upkeep(upkeep))? {
            return Ok(());
        }
    }
    let busy = Error::refused(format!("server {}", hold.server), "its chain moves on without end");
    Err(busy.retry(Retry::Later).remedy("try it again when fewer programs write to it"))
}

/// The same in place of what holds the point already: that ends only once this one holds.
///
/// Errors: as of [`hold`], and then the point is held as before; or the new one holds and an older one cannot be taken away.
pub fn hold_instead(
    access: &Access,
    server: ServerId,
    slot: u64,
    why: &str,
    millis: u64,
) -> Result<PinRecord, Error> {
    let before = list(access, &server)?;
    let record = hold(access, server, slot, why, millis)?;
    end(access, before, record.point)?;
    Ok(record)
}

/// The holds on a server that count now, the store's clock.
pub fn holds(access: &Access, server: &ServerId) -> Result<Vec<PinRecord>, Error> {
    let now = access.store.now()?;
    let live = list(access, server)?.into_iter().filter(|found| found.is_live(now));
    Ok(live.filter_map(|found| found.pin).filter(|pin| pin.hold).collect())
}

/// Ends every hold on a point; how many there were.
pub fn release(access: &Access, server: &ServerId, point: PointId) -> Result<usize, Error> {
    end(access, list(access, server)?, point)
}

fn end(access: &Access, pins: Vec<Found>, point: PointId) -> Result<usize, Error> {
    let ours = |found: &Found| found.pin.as_ref().is_some_and(|pin| pin.hold && pin.point == point);
    let names: Vec<String> = pins.into_iter().filter(ours).map(|found| found.name).collect();
    for answer in access.store.delete(&names) {
        answer?;
    }
    Ok(names.len())
}

fn delete(access: &Access, names: &[String]) {
    if names.is_empty() {
        return;
    }
    for answer in access.store.delete(names) {
        if let Err(error) = answer {
            log::debug!("{error}: the pin ends by itself");
        }
    }
}

/// A point that is safe to read for as long as this is kept.
pub struct Pinned {
    /// The point, read after it was pinned.
    pub point: Link,
    /// The state of upkeep after the point was pinned: readers of frames must use this one or a newer one.
    pub upkeep: Upkeep,
    /// The pin; dropping it ends it.
    pub pin: Option<Pin>,
    /// Why there is no pin: the store or the keys let this reader only read. The point is then safe for the
    /// collector's grace from now on, a day unless it was set otherwise.
    pub unpinned: Option<Error>,
}

/// Pins the point in `slot` and makes sure that it is still there; `reader` says who reads, for people.
///
/// Errors: the point was pruned in the meantime, or is no point, or the store fails.
pub fn pin_and_check(
    access: &Access,
    server: ServerId,
    slot: u64,
    reader: &str,
) -> Result<Pinned, Error> {
    let before = read_slot(access, &server, slot)?;
    let now = access.store.now()?;
    pin_then(access, server, before, reader, now, || Chain::open(access, server)?.upkeep())
}

/// The same for a point of a chain that was read; `now` is what the store's clock said since this reader began. An earlier
/// one makes the collector more careful.
///
/// Errors: as `pin_and_check`.
pub fn pin_of_view(
    access: &Access,
    view: &ChainView,
    before: Link,
    reader: &str,
    now: u64,
) -> Result<Pinned, Error> {
    pin_then(access, view.server, before, reader, now, || view.upkeep_now(access))
}

fn pin_then(
    access: &Access,
    server: ServerId,
    before: Link,
    reader: &str,
    now: u64,
    upkeep_now: impl FnOnce() -> Result<Upkeep, Error>,
) -> Result<Pinned, Error> {
    let (pin, unpinned) = pin_only(access, server, &before, reader, now)?;
    // Only now: a pin that is written after this look would protect nothing.
    let upkeep = upkeep_now()?;
    still_there(&before, &upkeep)?;
    Ok(Pinned { point: before, upkeep, pin, unpinned })
}

/// The pin alone, or why there is none: what it is worth shows the chain, looked at after this.
pub(crate) fn pin_only(
    access: &Access,
    server: ServerId,
    before: &Link,
    reader: &str,
    now: u64,
) -> Result<(Option<Pin>, Option<Error>), Error> {
    let slot = before.record.slot;
    let Some(manifest) = before.record.point() else {
        return Err(Error::misuse(names::chain_slot(&server, slot), "is no recovery point"));
    };
    match Pin::new(access, server, slot, manifest.id, reader, now) {
        Ok(pin) => Ok((Some(pin), None)),
        Err(error) if matches!(error.blame, Blame::Refused | Blame::Misuse) => {
            Ok((None, Some(error)))
        }
        Err(error) => Err(error),
    }
}

/// Fails where pruning took the point away.
pub(crate) fn still_there(point: &Link, upkeep: &Upkeep) -> Result<(), Error> {
    if upkeep.gap_of(point.record.slot).is_none() {
        return Ok(());
    }
    let named = point.record.point().map(|manifest| manifest.id.to_string()).unwrap_or_default();
    Err(Error::misuse(format!("point {named}"), "was pruned a moment ago")
        .retry(Retry::Never)
        .remedy("choose another: `lifeboat points` lists them"))
}

/// A pin of this program: renewed by a thread of its own until it is dropped, then deleted if that is allowed.
pub struct Pin {
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

struct Inner {
    access: Access,
    id: String,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    record: PinRecord,
    /// Number of the newest object.
    number: u32,
    /// Objects that may exist.
    names: Vec<String>,
    ended: bool,
}

impl Pin {
    fn new(
        access: &Access,
        server: ServerId,
        slot: u64,
        point: PointId,
        reader: &str,
        made: u64,
    ) -> Result<Self, Error> {
        let id = name_of(access)?;
        let record = PinRecord {
            server,
            slot,
            point,
            made,
            expires: made.saturating_add(LIFE),
            reader: reader.to_owned(),
            hold: false,
        };
        let state = State { record, number: 0, names: Vec::new(), ended: false };
        let inner =
            Inner { access: access.clone(), id, state: Mutex::new(state), changed: Condvar::new() };
        inner.write(&mut inner.lock())?;
        let inner = Arc::new(inner);
        let worker = Arc::clone(&inner);
        let thread = std::thread::Builder::new()
            .name("pin".to_owned())
            .spawn(move || worker.renew_until_ended())
            .map_err(|error| Error::device("this machine", format!("starts no thread: {error}")))?;
        Ok(Self { inner, thread: Some(thread) })
    }

    /// Makes it hold for its whole life from now on.
    pub fn renew(&self) -> Result<(), Error> {
        self.inner.renew()
    }

    /// Ends it, and waits no longer than a moment for a store that is far away to say so: what was asked for is on its way by
    /// then, and a pin that stays ends by itself.
    pub fn end_soon(self) {
        let far = !self.inner.access.store.is_near();
        let (told, heard) = std::sync::mpsc::channel();
        let ending = std::thread::Builder::new().name("pin's end".to_owned()).spawn(move || {
            drop(self);
            // Nobody may be there any more.
            let _ = told.send(());
        });
        match ending {
            Ok(_) if far => drop(heard.recv_timeout(END_WAIT)),
            Ok(thread) => drop(thread.join()),
            Err(error) => log::debug!("the pin ends by itself: {error}"),
        }
    }

    /// What it says now.
    #[must_use]
    pub fn record(&self) -> PinRecord {
        self.inner.lock().record.clone()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.inner.lock().ended = true;
        self.inner.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the renewing thread is no reason to fail now: the pin is ended anyway.
            drop(thread.join());
        }
        let names = core::mem::take(&mut self.inner.lock().names);
        delete(&self.inner.access, &names);
    }
}

impl Inner {
    fn renew_until_ended(&self) {
        let pause = Duration::from_millis(LIFE / 3);
        let mut state = self.lock();
        while !state.ended {
            let (guard, wait) =
                self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner);
            drop(guard);
            if wait.timed_out()
                && let Err(error) = self.renew()
            {
                log::warn!("{error}: the pin is renewed later");
            }
            state = self.lock();
        }
    }

    /// Objects are never overwritten: a longer life is a new object, then the old ones go.
    fn renew(&self) -> Result<(), Error> {
        let now = self.access.store.now()?;
        let old = {
            let mut state = self.lock();
            state.record.expires = now.saturating_add(LIFE);
            state.number += 1;
            let old = state.names.clone();
            self.write(&mut state)?;
            state.names.retain(|name| !old.contains(name));
            old
        };
        delete(&self.access, &old);
        Ok(())
    }

    fn write(&self, state: &mut State) -> Result<(), Error> {
        let name = names::pin(&state.record.server, &format!("{}-{:04}", self.id, state.number));
        state.names.push(name.clone());
        create(&self.access, &name, &state.record)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
