//! What a write costs, on a disk that does nothing: the worst case there is. Meant for a machine that counts
//! instructions, where a nanosecond is one.

use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use hal_linux::AlignedBuffer;
use pipeline_agent::devices::leaves;
use pipeline_agent::tracker::{Making, Options, attach};

use crate::replica::open;
use crate::{Answer, say};

/// Measures of each kind, in turns.
const TURNS: u32 = 3;

/// Says how long a write of 4 KiB takes with so many copies of the program, and with none.
pub(crate) fn run(copies: u64, writes: u64) -> Answer {
    let leaf =
        leaves().into_iter().find(|leaf| leaf.name == "nullb0").ok_or("there is no nullb0")?;
    let making = Making {
        copies: u8::try_from(copies).map_err(|error| error.to_string())?,
        ..Making::default()
    };
    let file = open(&leaf, true)?;
    let page = AlignedBuffer::zeroed(4096).map_err(|error| error.to_string())?;
    let bytes = page.as_ref().get(..4096).unwrap_or_default();
    let measured = || {
        let began = Instant::now();
        for write in 0..writes {
            let at = write * 64 % 10_000 * 4096;
            file.write_all_at(bytes, at).map_err(|error| error.to_string())?;
        }
        Ok::<u128, String>(began.elapsed().as_nanos() / u128::from(writes.max(1)))
    };
    for _ in 0..TURNS {
        let without = measured()?;
        let options = Options { making, ..Options::default() };
        let tracker = attach(core::slice::from_ref(&leaf), &options)?.tracker;
        let with = measured()?;
        let seen = tracker.writes(0);
        tracker.remove()?;
        say("cost", &[("without", &without), ("with", &with), ("seen", &seen)]);
    }
    Ok(())
}
