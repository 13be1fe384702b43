//! The history in a small document: as much of it as there is room for, the last day before the rest.

use std::collections::{BTreeMap, VecDeque};

use pipeline_vault::Error;
use serde::{Deserialize, Serialize};

use super::{FIGURES, History, NONE, Ring, Rings, STEPS};
use crate::admin::keep::Keep;
use crate::site::packed;

const NAME: &str = "history";
const VERSION: u16 = 1;
/// What one may grow to when it is unpacked.
const PLAIN_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How many steps of each length are kept, and of how many figures, from much to little. Each has the last day of RPO.
const THINNED: [([usize; 3], usize); 6] = [
    ([360, 576, 744], 5),
    ([60, 288, 744], 5),
    ([60, 288, 168], 5),
    ([0, 288, 48], 4),
    ([0, 0, 48], 4),
    ([0, 0, 24], 1),
];

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u16,
    servers: Vec<(String, Vec<SavedRing>)>,
}

#[derive(Serialize, Deserialize)]
struct SavedRing {
    figure: u8,
    step: u8,
    newest: u64,
    values: Vec<u16>,
}

impl History {
    /// Writes it down.
    pub(crate) fn save(&self, keep: &dyn Keep) -> Result<(), Error> {
        let servers = self.lock().clone();
        for thinned in THINNED {
            let saved = Saved { version: VERSION, servers: thin(&servers, thinned) };
            let plain = postcard::to_allocvec(&saved)
                .map_err(|error| Error::misuse("history", error.to_string()))?;
            if plain.len() > PLAIN_BYTES_MAX {
                continue;
            }
            let bytes = packed::pack(&plain);
            if bytes.len() <= keep.room(NAME) {
                return keep.write(NAME, &bytes);
            }
        }
        Err(Error::exhausted("history of figures", "has no room, however thin it is made"))
    }

    /// What was written down; nothing where there is none or it cannot be read.
    pub(crate) fn load(keep: &dyn Keep) -> Result<Self, Error> {
        let Some(bytes) = keep.read(NAME)? else { return Ok(Self::default()) };
        let unreadable = || Error::corrupt("history of figures", "cannot be read; it begins anew");
        let plain = packed::unpack(&bytes, PLAIN_BYTES_MAX).ok_or_else(unreadable)?;
        let saved: Saved = postcard::from_bytes(&plain).map_err(|_| unreadable())?;
        if saved.version != VERSION {
            return Err(unreadable());
        }
        let servers = saved.servers.into_iter().map(|(name, rings)| (name, thick(rings)));
        let history = Self::default();
        *history.lock() = servers.take(super::SERVERS_MAX).collect();
        Ok(history)
    }
}

fn thin(
    servers: &BTreeMap<String, Rings>,
    (rooms, figures): ([usize; 3], usize),
) -> Vec<(String, Vec<SavedRing>)> {
    let of_server = |rings: &Rings| {
        let mut saved = Vec::new();
        for (figure, steps) in (0_u8..).zip(rings.0.iter().take(figures)) {
            for ((step, ring), room) in (0_u8..).zip(steps).zip(rooms) {
                let skipped = ring.values.len().saturating_sub(room);
                let values: Vec<u16> = ring.values.iter().skip(skipped).copied().collect();
                if values.iter().any(|value| *value != NONE) {
                    saved.push(SavedRing { figure, step, newest: ring.newest, values });
                }
            }
        }
        saved
    };
    servers.iter().map(|(name, rings)| (name.clone(), of_server(rings))).collect()
}

fn thick(saved: Vec<SavedRing>) -> Rings {
    let mut rings = Rings::default();
    for ring in saved {
        let (figure, step) = (usize::from(ring.figure), usize::from(ring.step));
        if figure < FIGURES.len() && step < STEPS.len() && ring.values.len() <= STEPS[step].1 {
            let values = VecDeque::from(ring.values);
            rings.0[figure][step] = Ring { values, newest: ring.newest };
        }
    }
    rings
}
