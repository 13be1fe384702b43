//! Holds what the programs counted against what the kernel itself counts in sysfs. Both count sectors of the same
//! requests at the same place, each in its own way: where they agree, every write was seen.
//!
//! It cannot see a write that neither counts: commands past the block layer are counted apart, and writes of other
//! machines to a shared disk by nobody here.

use std::fs;
use std::thread;

use core::time::Duration;

use super::held::DiskRecord;
use super::maps::{Counters, Maps};

/// Looks at a disk that is still written to, before it is said that the counts differ.
const LOOKS: u32 = 40;
/// Between two.
const PAUSE: Duration = Duration::from_millis(2);
/// Audits of a disk that is written to all the time, until one finds it quiet, before its marks are given up.
const PARTING_AUDITS: u32 = 5;
/// Places of the counters of written and of discarded sectors in `stat`.
const WRITTEN_AT: usize = 6;
const DISCARDED_AT: usize = 13;

/// What was found of one disk.
#[derive(Debug, Default)]
pub(super) struct Finding {
    /// Everything of it must be compared.
    pub(super) incomplete: bool,
    pub(super) words: Option<String>,
}

/// Audits one disk; gives what the next audit is to hold against.
pub(super) fn of_disk(
    name: &str,
    maps: &Maps,
    at: usize,
    record: DiskRecord,
    grown: bool,
) -> (Finding, DiskRecord) {
    let mut seen = None;
    for _ in 0..LOOKS {
        if let Some((counters, surplus)) = quiet_look(name, maps, at) {
            let agrees = record.surplus.is_none_or(|expected| expected == surplus);
            seen = Some((counters, surplus, agrees));
            if agrees {
                break;
            }
        }
        thread::sleep(PAUSE);
    }
    let counters = maps.counters(at);
    let next = DiskRecord {
        surplus: seen.map(|(_, surplus, _)| surplus),
        troubles: troubles(&counters),
        ..record
    };
    let [beyond, lost, passthrough] = [0, 1, 2].map(|of| next.troubles[of] != record.troubles[of]);
    let mut words = Vec::new();
    match seen {
        None => words.push(format!("{name}: its counters were never still; was it frozen?")),
        Some((_, surplus, false)) => words.push(format!(
            "{name}: the kernel counts {} sectors that the programs did not see",
            record.surplus.unwrap_or(surplus).wrapping_sub(surplus).cast_signed()
        )),
        Some(_) if record.surplus.is_none() => words.push(format!(
            "{name}: there was no quiet moment to begin counting at; from now on there is"
        )),
        Some(_) => {}
    }
    if lost {
        words.push(format!("{name}: a write could not be marked"));
    }
    if passthrough {
        words.push(format!("{name}: a command went past the block layer and may have written"));
    }
    if beyond && !grown {
        words.push(format!("{name}: a write beyond its end"));
    }
    let incomplete = !words.is_empty();
    if beyond && grown {
        words.push(format!("{name}: it has grown, and is written to beyond its marks"));
    }
    let words = (!words.is_empty()).then(|| words.join("; "));
    (Finding { incomplete, words }, next)
}

/// What may have been missed of a disk since the last audit that was obeyed, in words, before its marks are given up. What
/// it has grown by is not missed: whoever comes next marks all of it.
pub(super) fn at_parting(name: &str, maps: &Maps, at: usize, record: DiskRecord) -> Option<String> {
    let mut words = None;
    for _ in 0..PARTING_AUDITS {
        let (finding, _) = of_disk(name, maps, at, record, true);
        if !finding.incomplete {
            return None;
        }
        words = finding.words;
    }
    words
}

/// What the first audit is to hold against.
pub(super) fn baseline(name: &str, maps: &Maps, at: usize) -> Option<u64> {
    let mut last = None;
    for _ in 0..5 * LOOKS {
        let Some((_, surplus)) = quiet_look(name, maps, at) else { continue };
        // Twice the same: once, a request may have stood between its two countings.
        if last == Some(surplus) {
            return last;
        }
        last = Some(surplus);
    }
    None
}

/// Whether a disk was never written to since it appeared, as kernel and programs both say.
pub(super) fn is_untouched(name: &str, maps: &Maps, at: usize) -> bool {
    (0..LOOKS).find_map(|_| quiet_look(name, maps, at)).is_some_and(|(counters, surplus)| {
        (surplus, counters.sectors, counters.writes, troubles(&counters)) == (0, 0, 0, [0; 3])
    })
}

pub(super) fn troubles(counters: &Counters) -> [u64; 3] {
    [counters.beyond, counters.lost, counters.passthrough]
}

/// Counters, and what programs counted more than the kernel, at a moment when neither changed.
fn quiet_look(name: &str, maps: &Maps, at: usize) -> Option<(Counters, u64)> {
    let before = kernel_sectors(name)?;
    let counters = maps.counters(at);
    let after = kernel_sectors(name)?;
    let still = before == after && maps.counters(at) == counters;
    still.then(|| (counters, counters.sectors.wrapping_sub(after)))
}

/// Sectors written to a disk and discarded on it, as the kernel counts them; of NVMe's multipath on all paths.
fn kernel_sectors(name: &str) -> Option<u64> {
    let paths = crate::devices::paths_of(name);
    let stat = |name: &str| sectors(&fs::read_to_string(format!("/sys/block/{name}/stat")).ok()?);
    if paths.is_empty() {
        return stat(&name.replace('/', "!"));
    }
    paths.iter().map(|path| stat(path)).try_fold(0_u64, |sum, one| Some(sum.wrapping_add(one?)))
}

fn sectors(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.split_whitespace().collect();
    let written: u64 = fields.get(WRITTEN_AT)?.parse().ok()?;
    // Kernels before 4.18 count no discards.
    let discarded = fields.get(DISCARDED_AT).map_or(Ok(0), |field| field.parse::<u64>());
    Some(written.wrapping_add(discarded.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_discarded_sectors_are_read_of_every_kernels_line() {
        let newest = "  1 2 3 4 5 6 700 8 9 10 11 12 13 40 15 16 17\n";
        assert_eq!(sectors(newest), Some(740));
        assert_eq!(sectors("1 2 3 4 5 6 700 8 9 10 11"), Some(700));
        for bad in ["", "1 2 3", "a b c d e f g h", "1 2 3 4 5 6 7 8 9 10 11 12 13 x"] {
            assert_eq!(sectors(bad), None, "{bad}");
        }
    }
}
