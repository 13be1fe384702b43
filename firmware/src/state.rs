//! What the appliance remembers across restarts: small, versioned, sealed, and safe against a power cut at any instant.
//!
//! The state partition holds a slot for the key, four slots for the state, and a slot for last words. A write goes to the
//! slot that holds the oldest state, is flushed, and counts only then; the newest slot that is whole wins. So a write that
//! was cut leaves the state before it. A slot that held something which cannot be read is left as it is, as evidence and for
//! a person to rescue, until two good writes have followed.
//!
//! The key is sealed to the machine's security chip, opened by a passphrase, or lies in the open beside the state, where there is
//! neither: `keys` says how. Then the seal protects against damage and confusion, and not against whoever holds the medium. What
//! matters for recovery is in the vault: a state that is lost costs nothing but naming the vault again.
//!
//! This module refuses to know paths and devices: it works on any `Disk`.

use core::fmt;

use hal::disk::{Disk, DiskError, Operation, Request};
use hal::time::Entropy;
use pipeline::seal::{SecretKey, digest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use keys::{Keyring, Record, Way, records};
use layout::{SLOT_BYTES, SLOTS, WORDS_OFFSET, slot_offset};
use slot::{Header, Kind, Read};

/// How the key is kept.
pub mod keys;
/// What is at which byte.
pub mod layout;
/// One slot: header, payload, checksum, seal.
pub mod slot;

/// Why the state cannot be kept, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// The disk failed, or was pulled out.
    Device(DiskError),
    /// The partition is smaller than its layout.
    Small(u64),
    /// What is to be kept is more than a slot holds.
    Full(usize),
    /// No randomness for a key.
    Entropy,
    /// It is not the partition that was opened before.
    Other,
    /// It was opened before, and written to by another machine since.
    Ahead,
    /// The key cannot be kept as a person chose; nothing was written.
    Choice(String),
    /// The key cannot be had here now; nothing was written.
    Locked(String),
    /// A newer version wrote it; nothing was written.
    Newer,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => write!(
                f,
                "the state partition: {error}; what is set now is forgotten at the next start: plug the medium in again, or replace it"
            ),
            Self::Small(bytes) => write!(
                f,
                "the state partition has {bytes} bytes, fewer than its layout needs; write the image to the medium again"
            ),
            Self::Full(bytes) => write!(
                f,
                "the state partition is full: {bytes} bytes do not fit a slot of {SLOT_BYTES}; the state before stays in force"
            ),
            Self::Entropy => f.write_str("no key for the state can be made on this machine now"),
            Self::Other => {
                f.write_str("it is another medium: plug in the one that was pulled out")
            }
            Self::Locked(words) => write!(f, "the state is kept aside, unopened: {words}"),
            Self::Choice(words) => {
                write!(f, "a new key cannot be kept as you chose: {words}; what was before stays in force")
            }
            Self::Newer => f.write_str(
                "the state is kept aside, unopened: a newer version of Lifeboat wrote it; start that one",
            ),
            Self::Ahead => f.write_str(
                "another machine was started from it meanwhile: what is set here now is forgotten at the next start",
            ),
        }
    }
}

impl core::error::Error for StateError {}

impl From<DiskError> for StateError {
    fn from(error: DiskError) -> Self {
        Self::Device(error)
    }
}

/// What was found when the state was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    /// The newest state that is whole; `None` where there is none, or none can be read.
    pub state: Option<T>,
    /// What a person should know: slots that are damaged, a key that is lost. Empty where all is well.
    pub troubles: Vec<String>,
}

/// A slot as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Empty,
    /// A whole state with this sequence number.
    Good(u64),
    /// Bytes that are no whole state of ours.
    Damaged,
}

/// The opened state partition.
pub struct Store<D: Disk> {
    disk: D,
    key: SecretKey,
    /// How the key is kept.
    record: Record,
    held: [Held; SLOTS],
    sequence: u64,
    /// Good writes since it was opened: damaged slots are kept aside for two of them.
    writes: u32,
}

/// What a partition that was pulled out is known by.
#[derive(Clone)]
pub struct Known {
    key: SecretKey,
    record: Record,
    sequence: u64,
}

impl<D: Disk> Store<D> {
    /// Opens the partition; makes a key where there is none, and replaces one that is to be kept otherwise from now on.
    pub fn open<T: Serialize + DeserializeOwned>(
        mut disk: D,
        keyring: &mut dyn Keyring,
        entropy: &dyn Entropy,
    ) -> Result<(Self, Found<T>), StateError> {
        large_enough(&mut disk)?;
        let copies = records(&mut disk)?;
        let Some((_, newest)) = copies.last().cloned() else {
            if is_used(&mut disk)? {
                let why = "both copies of its key are damaged";
                return Err(StateError::Locked(why.to_owned()));
            }
            return Self::begin(disk, keyring, entropy);
        };
        let older = copies.first().map(|(_, first)| first).filter(|first| **first != newest);
        let mut keys = match (newest.open(keyring), older) {
            (Ok(key), _) => vec![key],
            (Err(StateError::Locked(why)), Some(older)) => {
                return Self::open_by_older(disk, older, keyring, why);
            }
            (Err(error), _) => return Err(error),
        };
        // Where the older one does not open any more, all of the state may be under the newer.
        keys.extend(older.and_then(|older| older.open(keyring).ok()));
        let (mut store, mut found) = Self::survey::<T>(disk, (newest, &keys), false, Vec::new())?;
        let unread = found.state.is_none() && store.held.contains(&Held::Damaged);
        let state = found.state.as_ref();
        let kept = match older {
            Some(_) if unread => {
                let why = "its key was being replaced, and the older one does not open";
                return Err(StateError::Locked(why.to_owned()));
            }
            Some(_) => store.finish(state, entropy),
            // First, as a new key is written over the second copy: it may be the only one.
            None if !unread => store.repair(&copies, &mut found.troubles, entropy),
            None => Ok(()),
        };
        let kept = kept.and_then(|()| match older.is_none() && store.record.is_outgrown(keyring) {
            true => store.replace_key(found.state.as_ref(), keyring, entropy),
            false => Ok(()),
        });
        // The state is open: another start may have more luck with the key.
        found.troubles.extend(kept.err().map(|error| format!("its key is not replaced: {error}")));
        Ok((store, found))
    }

    /// A replacement was cut, and the newer key does not open. Both stay: it may open again, and the work is finished then.
    fn open_by_older<T: DeserializeOwned>(
        disk: D,
        older: &Record,
        keyring: &mut dyn Keyring,
        why: String,
    ) -> Result<(Self, Found<T>), StateError> {
        let Ok(key) = older.open(keyring) else { return Err(StateError::Locked(why)) };
        let trouble = format!(
            "its key was being replaced, and the newer one does not open: {why}; what the older one opens was taken"
        );
        let (store, found) = Self::survey(disk, (older.clone(), &[key]), false, vec![trouble])?;
        if found.state.is_some() { Ok((store, found)) } else { Err(StateError::Locked(why)) }
    }

    /// Writes the key anew where a copy of it is damaged.
    fn repair(
        &mut self,
        whole: &[(u64, Record)],
        troubles: &mut Vec<String>,
        entropy: &dyn Entropy,
    ) -> Result<(), StateError> {
        let is_whole = |copy: u64| whole.iter().any(|(one, _)| *one == copy);
        for copy in (0..layout::KEY_COPIES).filter(|copy| !is_whole(*copy)) {
            let number = copy + 1;
            troubles
                .push(format!("copy {number} of the state's key was damaged: it is written anew"));
            self.record.write(&mut self.disk, copy, entropy)?;
        }
        Ok(())
    }

    /// Begins with a new key; what is in the slots is another's from now on, and goes once it was kept aside for two writes.
    pub fn begin<T: DeserializeOwned>(
        mut disk: D,
        keyring: &mut dyn Keyring,
        entropy: &dyn Entropy,
    ) -> Result<(Self, Found<T>), StateError> {
        large_enough(&mut disk)?;
        let key = new_key(entropy)?;
        let record = Record::of(&key, keyring)?;
        for copy in 0..layout::KEY_COPIES {
            record.write(&mut disk, copy, entropy)?;
        }
        Self::survey(disk, (record, &[key]), true, Vec::new())
    }

    /// Opens again the partition that was open before: it is known by its key, and nobody may have written to it since.
    /// Nothing is written to any other.
    pub fn reopen<T: DeserializeOwned>(mut disk: D, known: &Known) -> Result<Self, StateError> {
        if disk.geometry()?.bytes < layout::PARTITION_BYTES_MIN {
            return Err(StateError::Other);
        }
        let copies = records(&mut disk)?;
        if !copies.iter().any(|(_, record)| *record == known.record) {
            return Err(StateError::Other);
        }
        let keys = (known.record.clone(), &[known.key.clone()][..]);
        let (store, _) = Self::survey::<T>(disk, keys, false, Vec::new())?;
        // The last write may have arrived although it failed.
        let ahead = store.sequence > known.sequence.saturating_add(1);
        if ahead { Err(StateError::Ahead) } else { Ok(store) }
    }

    /// Reads all slots; the first key is the one that counts.
    fn survey<T: DeserializeOwned>(
        mut disk: D,
        (record, keys): (Record, &[SecretKey]),
        fresh: bool,
        mut troubles: Vec<String>,
    ) -> Result<(Self, Found<T>), StateError> {
        let mut held = [Held::Empty; SLOTS];
        let mut newest: Option<(u64, T)> = None;
        let mut newer = 0;
        for (place, held) in held.iter_mut().enumerate() {
            let bytes = read(&mut disk, slot_offset(place), SLOT_BYTES)?;
            *held = match read_by(&bytes, keys) {
                Read::Empty => Held::Empty,
                Read::Whole(header, payload) => match postcard::from_bytes(&payload) {
                    Ok(state) => {
                        if newest.as_ref().is_none_or(|(sequence, _)| *sequence < header.sequence) {
                            newest = Some((header.sequence, state));
                        }
                        Held::Good(header.sequence)
                    }
                    Err(_) => {
                        newer += 1;
                        troubles
                            .push(format!("slot {} holds a state of another version", place + 1));
                        Held::Damaged
                    }
                },
                Read::Torn => Held::Damaged,
                Read::Sealed | Read::Other if fresh => Held::Damaged,
                Read::Sealed | Read::Other => {
                    troubles.push(format!("slot {} is sealed with another key", place + 1));
                    Held::Damaged
                }
            };
        }
        if newest.is_none() && newer > 0 {
            return Err(StateError::Newer);
        }
        let damaged = held.iter().filter(|held| **held == Held::Damaged).count();
        if newest.is_none() && damaged > 0 {
            troubles.push(format!(
                "{damaged} slots hold something, and none can be read: they are kept aside; name the vault again to go on"
            ));
        }
        let sequence = newest.as_ref().map_or(0, |(sequence, _)| *sequence);
        let state = newest.map(|(_, state)| state);
        let key = keys.first().cloned().ok_or(StateError::Entropy)?;
        Ok((Self { disk, key, record, held, sequence, writes: 0 }, Found { state, troubles }))
    }

    /// Replaces the key by a new one, kept as it is to be kept now.
    pub fn replace_key<T: Serialize>(
        &mut self,
        state: Option<&T>,
        keyring: &mut dyn Keyring,
        entropy: &dyn Entropy,
    ) -> Result<(), StateError> {
        let key = new_key(entropy)?;
        let record = Record::of(&key, keyring)?;
        record.write(&mut self.disk, layout::KEY_COPIES - 1, entropy)?;
        (self.key, self.record) = (key, record);
        self.finish(state, entropy)
    }

    /// The state under the key that counts, everywhere; then the first copy of the key.
    fn finish<T: Serialize>(
        &mut self,
        state: Option<&T>,
        entropy: &dyn Entropy,
    ) -> Result<(), StateError> {
        if let Some(state) = state {
            for _ in 0..SLOTS {
                self.write(state, entropy)?;
            }
        }
        for copy in 0..layout::KEY_COPIES - 1 {
            self.record.write(&mut self.disk, copy, entropy)?;
        }
        Ok(())
    }

    /// Writes a state; once it returns, a power cut no longer loses it.
    pub fn write<T: Serialize>(
        &mut self,
        state: &T,
        entropy: &dyn Entropy,
    ) -> Result<(), StateError> {
        let payload = postcard::to_allocvec(state).map_err(|_| StateError::Full(usize::MAX))?;
        let place = self.next_place();
        let header = Header { kind: Kind::State, sequence: self.sequence + 1 };
        let bytes = slot::write(header, &payload, Some(&self.key), SLOT_BYTES, entropy)?;
        // Whatever comes of it, what was there before is not to be trusted.
        self.held[place] = Held::Damaged;
        write(&mut self.disk, slot_offset(place), &bytes)?;
        self.sequence += 1;
        self.held[place] = Held::Good(self.sequence);
        self.writes = self.writes.saturating_add(1);
        Ok(())
    }

    /// What it will be known by when it comes back.
    #[must_use]
    pub fn known(&self) -> Known {
        let (key, record) = (self.key.clone(), self.record.clone());
        Known { key, record, sequence: self.sequence }
    }

    /// The ways to its key; none where it lies in the open.
    #[must_use]
    pub fn ways(&self) -> &[Way] {
        self.record.ways()
    }

    /// Where the next state goes: an empty slot, else the oldest; a damaged one only after two good writes, and never the
    /// newest.
    fn next_place(&self) -> usize {
        let rank = |held: Held| match held {
            Held::Empty => (0, 0),
            Held::Damaged if self.writes >= 2 => (1, 0),
            Held::Good(sequence) if sequence == self.sequence => (4, 0),
            Held::Good(sequence) => (2, sequence),
            Held::Damaged => (3, 0),
        };
        let places = self.held.iter().enumerate();
        places.min_by_key(|(_, held)| rank(**held)).map_or(0, |(place, _)| place)
    }

    /// What was said last before the machine ended.
    pub fn last_words(&mut self) -> Result<Option<String>, StateError> {
        let bytes = read(&mut self.disk, WORDS_OFFSET, layout::WORDS_BYTES)?;
        Ok(match slot::read(&bytes, Kind::Words, None) {
            Read::Whole(_, payload) => Some(String::from_utf8_lossy(&payload).into_owned()),
            _ => None,
        })
    }

    /// Keeps words for the next start.
    pub fn keep_words(&mut self, words: &str, entropy: &dyn Entropy) -> Result<(), StateError> {
        let end = words.floor_char_boundary(layout::WORDS_TEXT_MAX.min(words.len()));
        let words = words.get(..end).unwrap_or_default();
        let header = Header { kind: Kind::Words, sequence: 0 };
        let bytes = slot::write(header, words.as_bytes(), None, layout::WORDS_BYTES, entropy)?;
        write(&mut self.disk, WORDS_OFFSET, &bytes)
    }
}

/// What a partition is known by that did not open: whoever writes to it changes that.
pub fn mark<D: Disk>(disk: &mut D) -> Result<[u8; 32], StateError> {
    large_enough(disk)?;
    let before = u32::try_from(layout::SLOTS_OFFSET).unwrap_or(u32::MAX);
    let mut parts = vec![Zeroizing::new(read(disk, 0, before)?)];
    for place in 0..SLOTS {
        parts.push(Zeroizing::new(read(disk, slot_offset(place), layout::KEY_BYTES)?));
    }
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_slice()).collect();
    Ok(digest(&parts).0)
}

/// Whether anything lies in a slot of the state.
fn is_used<D: Disk>(disk: &mut D) -> Result<bool, StateError> {
    for place in 0..SLOTS {
        let head = read(disk, slot_offset(place), layout::KEY_BYTES)?;
        if head.iter().any(|byte| *byte != 0) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn large_enough<D: Disk>(disk: &mut D) -> Result<(), StateError> {
    match disk.geometry()?.bytes {
        bytes if bytes < layout::PARTITION_BYTES_MIN => Err(StateError::Small(bytes)),
        _ => Ok(()),
    }
}

fn new_key(entropy: &dyn Entropy) -> Result<SecretKey, StateError> {
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes).map_err(|_| StateError::Entropy)?;
    Ok(SecretKey::from_bytes(bytes))
}

/// A slot of the state under whichever of these keys opens it.
fn read_by(bytes: &[u8], keys: &[SecretKey]) -> Read {
    let tried = keys.iter().map(|key| slot::read(bytes, Kind::State, Some(key)));
    tried.reduce(|one, other| if one == Read::Sealed { other } else { one }).unwrap_or(Read::Torn)
}

fn request<B>(operation: Operation, offset: u64, length: u32, buffer: Option<B>) -> Request<B> {
    Request { token: 0, operation, offset, length, buffer }
}

fn read<D: Disk>(disk: &mut D, offset: u64, length: u32) -> Result<Vec<u8>, StateError> {
    let bytes = usize::try_from(length).unwrap_or(usize::MAX);
    let buffer = disk.buffer(bytes)?;
    let done = disk.run(request(Operation::Read, offset, length, Some(buffer)))?;
    if let Err(error) = done.result {
        // A sector that cannot be read is as good as damaged; a disk that is gone is not.
        return match error.kind {
            hal::disk::ErrorKind::Medium => Ok(vec![0xFF; bytes]),
            _ => Err(error.into()),
        };
    }
    let read = done.buffer.as_ref().and_then(|buffer| buffer.as_ref().get(..bytes));
    Ok(read.unwrap_or_default().to_vec())
}

/// Writes and flushes.
fn write<D: Disk>(disk: &mut D, offset: u64, bytes: &[u8]) -> Result<(), StateError> {
    let length = u32::try_from(bytes.len()).map_err(|_| StateError::Full(bytes.len()))?;
    let mut buffer = disk.buffer(bytes.len())?;
    if let Some(room) = buffer.as_mut().get_mut(..bytes.len()) {
        room.copy_from_slice(bytes);
    }
    disk.run(request(Operation::Write, offset, length, Some(buffer)))?.result?;
    disk.run(request(Operation::Flush, 0, 0, None))?.result?;
    Ok(())
}

#[cfg(test)]
mod tests;
