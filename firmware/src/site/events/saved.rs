//! The log in small documents: the newest events in the first, the ones before them in the second.

use std::collections::VecDeque;
use std::sync::Arc;

use firmware_web::api::views::events::EventView;
use hal::time::Clock;
use pipeline_vault::Error;
use serde::{Deserialize, Serialize};

use super::{EVENTS_MAX, Events};
use crate::admin::keep::Keep;
use crate::site::packed;

const NAMES: [&str; 2] = ["events", "events-before"];
const PLAIN_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Numbers that are passed over at a start: what was noted and not written down before a power cut had some of them.
const PASSED: u64 = 1000;

#[derive(Serialize, Deserialize)]
struct Saved {
    /// The number of the next one.
    next: u64,
    /// The oldest first.
    events: Vec<EventView>,
}

impl Events {
    /// The log that was kept; what cannot be read of it is told, and begins anew.
    #[must_use]
    pub fn open(clock: Arc<dyn Clock>, keep: &dyn Keep) -> Self {
        let events = Self::new(clock);
        let mut state = events.lock();
        for name in NAMES.iter().rev() {
            match read(keep, name) {
                Ok(Some(saved)) => {
                    let known = state.log.back().map_or(0, |event| event.number);
                    state.log.extend(saved.events.into_iter().filter(|event| event.number > known));
                    state.next = state.next.max(saved.next.saturating_add(PASSED));
                }
                Ok(None) => {}
                Err(error) => log::warn!("{error}"),
            }
        }
        while state.log.len() > EVENTS_MAX {
            state.log.pop_front();
        }
        drop(state);
        events
    }

    /// Writes it down where something was noted since.
    pub fn save(&self, keep: &dyn Keep) -> Result<(), Error> {
        let mut state = self.lock();
        if !core::mem::take(&mut state.is_new) {
            return Ok(());
        }
        let (mut left, next) = (state.log.clone(), state.next);
        drop(state);
        for name in NAMES {
            let (events, bytes) = pack(&mut left, next, keep.room(name))?;
            if events == 0 && keep.read(name)?.is_none() {
                break;
            }
            let written = keep.write(name, &bytes);
            if written.is_err() {
                self.lock().is_new = true;
            }
            written?;
        }
        Ok(())
    }
}

fn read(keep: &dyn Keep, name: &str) -> Result<Option<Saved>, Error> {
    let Some(bytes) = keep.read(name)? else { return Ok(None) };
    let plain = packed::unpack(&bytes, PLAIN_BYTES_MAX);
    let saved = plain.and_then(|plain| serde_json::from_slice(&plain).ok());
    saved
        .map(Some)
        .ok_or_else(|| Error::corrupt("the log of events", "cannot be read: it begins anew"))
}

/// As many of the newest as there is room for, taken off; how many, and their bytes.
fn pack(left: &mut VecDeque<EventView>, next: u64, room: usize) -> Result<(usize, Vec<u8>), Error> {
    let mut count = left.len();
    loop {
        let events: Vec<EventView> = left.iter().skip(left.len() - count).cloned().collect();
        let plain = serde_json::to_vec(&Saved { next, events })
            .map_err(|error| Error::misuse("the log of events", error.to_string()))?;
        let bytes = packed::pack(&plain);
        if bytes.len() <= room {
            left.truncate(left.len() - count);
            return Ok((count, bytes));
        }
        // A bit fewer than the share that fits.
        let fits = count.saturating_mul(room) / bytes.len();
        count = fits.saturating_sub(fits / 20).min(count.saturating_sub(1));
    }
}
