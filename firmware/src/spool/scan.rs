//! Reading the log: record by record, past what is damaged, and to its end after a power cut.
//!
//! A record that is not whole is either the end of the log (it was cut, and nobody was told that it is durable) or damage
//! to what was durable. A header behind it tells which: it says what was durable when it was written.

use hal::disk::Disk;

use super::checkpoint::Checkpoint;
use super::device::Device;
use super::layout::{PAGE_BYTES, RECORD_BYTES_MAX};
use super::record::{Headed, Kind};
use super::superblock::Identified;
use super::{Mark, Read, SpoolError};

/// What is searched at once.
const SEARCH_BYTES: u64 = 1024 * 1024;
const PAGE: usize = 4096;
const _: () = assert!(PAGE as u64 == PAGE_BYTES, "the same page");

/// Reads what is behind a mark that is before `tail`, a payload into `spare` if that is there.
pub(super) fn read<D: Disk>(
    device: &mut Device<D>,
    keys: &Identified,
    at: Mark,
    tail: Mark,
    spare: &mut Vec<u8>,
) -> Result<Read, SpoolError> {
    let mut mark = at;
    while mark.position < tail.position {
        let headed = header(device, keys, mark.position)?.filter(|headed| {
            headed.header.number == mark.number
                && mark.position + headed.span <= tail.position
                && headed.header.number < tail.number + u64::from(headed.header.kind == Kind::Skip)
        });
        let Some(headed) = headed else {
            let next = search(device, keys, mark.position, tail.position, &mut |headed| {
                headed.header.number >= mark.number && headed.header.number <= tail.number
            })?;
            let after = next.map_or(tail, |next| Mark {
                position: next.header.position,
                number: next.header.number,
            });
            if after.number == mark.number {
                // Only a skip was damaged.
                mark = after;
                continue;
            }
            return Ok(lost(mark, after));
        };
        let after = behind(&headed);
        match headed.header.kind {
            Kind::Skip => mark = after,
            Kind::Record => {
                let payload = open(device, keys, &headed, core::mem::take(spare))?;
                return Ok(match payload {
                    Some(payload) => Read::Record { payload, after },
                    None => lost(mark, after),
                });
            }
        }
    }
    Ok(Read::End)
}

/// Where the log ends: behind the checkpoint, behind whatever else is whole, and behind damage to what was durable.
pub(super) fn tail<D: Disk>(
    device: &mut Device<D>,
    keys: &Identified,
    from: &Checkpoint,
    troubles: &mut Vec<String>,
) -> Result<Mark, SpoolError> {
    let mut mark = from.tail;
    // Behind one lap is where it began.
    let lap = from.tail.position.saturating_add(keys.log_bytes());
    loop {
        let whole = next_whole(device, keys, mark, from.opening)?;
        if let Some(headed) = whole.filter(|headed| mark.position + headed.span <= lap) {
            mark = behind(&headed);
            continue;
        }
        let end = (mark.position + keys.unsynced_max() + 2 * RECORD_BYTES_MAX).min(lap);
        let mut first: Option<Mark> = None;
        let proof = search(device, keys, mark.position, end, &mut |headed| {
            let header = headed.header;
            if header.opening != from.opening || header.number < mark.number {
                return false;
            }
            first.get_or_insert(Mark { position: header.position, number: header.number });
            header.durable > mark.position
        })?;
        let Some(next) = first.filter(|_| proof.is_some()) else { return Ok(mark) };
        troubles.push(format!(
            "{} bytes at byte {} are damaged: {} records are lost",
            next.position - mark.position,
            keys.offset(mark.position),
            next.number - mark.number
        ));
        mark = next;
    }
}

/// The record at a mark, where it is whole and of this opening.
fn next_whole<D: Disk>(
    device: &mut Device<D>,
    keys: &Identified,
    mark: Mark,
    opening: [u8; 16],
) -> Result<Option<Headed>, SpoolError> {
    let headed = header(device, keys, mark.position)?
        .filter(|headed| headed.header.number == mark.number && headed.header.opening == opening);
    let Some(headed) = headed else { return Ok(None) };
    if headed.header.kind == Kind::Skip {
        return Ok(Some(headed));
    }
    Ok(open(device, keys, &headed, Vec::new())?.map(|_| headed))
}

/// The payload of a record, where it is what was written.
fn open<D: Disk>(
    device: &mut Device<D>,
    keys: &Identified,
    headed: &Headed,
    into: Vec<u8>,
) -> Result<Option<Vec<u8>>, SpoolError> {
    let bytes = device.read(keys.offset(headed.header.position), headed.span)?;
    let Some(bytes) = bytes else { return Ok(None) };
    let payload = headed.open(bytes.as_ref(), keys, into);
    device.give_back(bytes);
    Ok(payload)
}

fn header<D: Disk>(
    device: &mut Device<D>,
    keys: &Identified,
    position: u64,
) -> Result<Option<Headed>, SpoolError> {
    let Some(page) = device.read(keys.offset(position), PAGE_BYTES)? else { return Ok(None) };
    let headed = Headed::read(page.as_ref(), position, keys);
    device.give_back(page);
    Ok(headed)
}

/// The first header behind a position, and before `end`, that is wanted.
fn search<D: Disk>(
    device: &mut Device<D>,
    keys: &Identified,
    from: u64,
    end: u64,
    wanted: &mut dyn FnMut(&Headed) -> bool,
) -> Result<Option<Headed>, SpoolError> {
    let mut at = from + PAGE_BYTES;
    let mut step = SEARCH_BYTES;
    while at < end {
        let length = step.min(end - at).min(keys.left_in_lap(at));
        let Some(bytes) = device.read(keys.offset(at), length)? else {
            // Somewhere in it is a sector that cannot be read: page by page, the bad one is passed over.
            if length == PAGE_BYTES {
                at += PAGE_BYTES;
            } else {
                step = PAGE_BYTES;
            }
            continue;
        };
        let pages = bytes.as_ref().chunks(PAGE).zip(0..);
        for (page, place) in pages.take_while(|(_, place)| place * PAGE_BYTES < length) {
            let position = at + place * PAGE_BYTES;
            if let Some(headed) = Headed::read(page, position, keys)
                && wanted(&headed)
            {
                return Ok(Some(headed));
            }
        }
        at += length;
        if at.is_multiple_of(SEARCH_BYTES) {
            step = SEARCH_BYTES;
        }
    }
    Ok(None)
}

fn behind(headed: &Headed) -> Mark {
    let header = headed.header;
    Mark {
        position: header.position + headed.span,
        number: header.number + u64::from(header.kind == Kind::Record),
    }
}

fn lost(from: Mark, after: Mark) -> Read {
    Read::Lost {
        records: after.number.saturating_sub(from.number),
        bytes: after.position.saturating_sub(from.position),
        after,
    }
}
