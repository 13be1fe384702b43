//! From a file to a slot that is tried at the next start, in an order that a power cut may end anywhere:
//!
//! 1. the head is read, and its signature checked before anything of it is believed;
//! 2. the other slot's file gets a name that no boot manager looks at;
//! 3. the new system is written over it, read back from the medium, and compared with what was signed;
//! 4. the file gets a name that the boot manager tries so many times, and it is durable.
//!
//! Before 4 the running system is all that is there; after it the new one is tried first.

use hal::disk::Disk;
use image_layout::disk::SLOT_BYTES;
use image_layout::esp::{Slot, SlotFile};
use image_layout::update::{HEAD_BYTES, Head};
use image_layout::version::Version;
use pipeline_vault::Error;
use ring::digest::{Context, SHA256};

use super::slots::{Found, Slots};
use super::source::Source;
use super::trust::{self, Rules};

/// What was put onto the medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// What it is.
    pub version: Version,
    /// Where.
    pub slot: Slot,
}

/// Reads the head of an update and judges it.
///
/// Errors: it is cut off, not signed by whom is trusted, for another machine, or not newer.
pub fn judge(source: &mut dyn Source, rules: &Rules) -> Result<Head, Error> {
    let mut head = [0; HEAD_BYTES];
    let named = source.name();
    let came = source.fill(&mut head)?;
    if came < head.len() {
        return Err(Error::refused(
            named,
            format!("ends after {came} bytes: it is no update, or was cut off"),
        )
        .remedy("get it again"));
    }
    let head = trust::believe(&head, &named, &rules.keys)?;
    trust::allow(&head, &named, rules)?;
    Ok(head)
}

/// Puts an update into the slot that does not run. `told` hears how many bytes of two times [`SLOT_BYTES`] are dealt with.
///
/// Errors: as of [`judge`]; what runs is itself on trial; the bytes are not what was signed; the medium fails. The running
/// system is as it was, whatever the reason.
pub fn install<D: Disk>(
    source: &mut dyn Source,
    slots: &mut Slots<D>,
    running: Slot,
    rules: &Rules,
    told: &mut dyn FnMut(u64) -> Result<(), Error>,
) -> Result<Installed, Error> {
    let head = judge(source, rules)?;
    let runs = slots.find(running)?;
    if runs.file.is_none_or(|file| file.tries.is_some()) {
        return Err(Error::refused(source.name(), "is not taken: the system that runs has not proven itself yet, and the other slot holds the one that has")
            .remedy("wait until it has, or until the machine has gone back"));
    }
    let found = slots.find(running.other())?;
    slots.name(&found, None)?;
    let pieces = slots.pieces(&found)?;
    pour(source, slots, &pieces, &head, told)?;
    compare(slots, &pieces, &head, &source.name(), told)?;
    arm(slots, running.other())?;
    Ok(Installed { version: head.version, slot: running.other() })
}

/// Writes the system over the slot. Its sum is known only at the end, and the slot has no name that counts until then.
fn pour<D: Disk>(
    source: &mut dyn Source,
    slots: &mut Slots<D>,
    pieces: &[(u64, usize)],
    head: &Head,
    told: &mut dyn FnMut(u64) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut sum = Context::new(&SHA256);
    let mut done = 0;
    for (at, length) in pieces {
        let mut bytes = vec![0; *length];
        let came = source.fill(&mut bytes)?;
        if came < *length {
            let what =
                format!("ends after {} of {SLOT_BYTES} bytes: it was cut off", done + came as u64);
            return Err(Error::refused(source.name(), what)
                .remedy("get it again; the system that runs is as it was"));
        }
        sum.update(&bytes);
        slots.write(*at, &bytes)?;
        done += *length as u64;
        told(done)?;
    }
    if source.fill(&mut [0])? != 0 {
        return Err(Error::refused(
            source.name(),
            format!("goes on after {SLOT_BYTES} bytes: it is larger than any system"),
        )
        .remedy("get it again; the system that runs is as it was"));
    }
    if sum.finish().as_ref() != head.sha256 {
        return Err(Error::refused(
            source.name(),
            "is damaged: its system is not the one that was signed",
        )
        .remedy("get it again; the system that runs is as it was"));
    }
    slots.flush()
}

/// Reads back what was written: a medium may say that it has what it has not.
fn compare<D: Disk>(
    slots: &mut Slots<D>,
    pieces: &[(u64, usize)],
    head: &Head,
    named: &str,
    told: &mut dyn FnMut(u64) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut sum = Context::new(&SHA256);
    let mut done = SLOT_BYTES;
    for (at, length) in pieces {
        sum.update(&slots.read(*at, *length)?);
        done += *length as u64;
        told(done)?;
    }
    if sum.finish().as_ref() == head.sha256 {
        return Ok(());
    }
    Err(Error::device(named, "was written, and the medium gives back something else")
        .remedy("replace the medium; the system that runs is as it was"))
}

fn arm<D: Disk>(slots: &mut Slots<D>, slot: Slot) -> Result<(), Error> {
    let found = slots.find(slot)?;
    slots.name(&found, Some(SlotFile::fresh(slot)))
}

/// The system in this slot has proven itself: the boot manager takes it from now on without counting.
pub fn commit<D: Disk>(slots: &mut Slots<D>, slot: Slot) -> Result<(), Error> {
    let found = slots.find(slot)?;
    match found.file {
        Some(SlotFile { tries: None, .. }) => Ok(()),
        Some(_) => slots.name(&found, Some(SlotFile::proven(slot))),
        None => Err(Error::refused("the medium", "hides the system that runs")
            .remedy("write the medium anew")),
    }
}

/// Both slots as they stand, for whoever tells of them.
pub fn standing<D: Disk>(slots: &mut Slots<D>) -> Result<Vec<Found>, Error> {
    slots.list()
}
