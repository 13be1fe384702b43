//! The freezer of real file systems.

use core::time::Duration;
use std::io;
use std::path::Path;
use std::time::Instant;

use hal_linux::freeze::{Refusal, StillHandle};
use hal_linux::manners::{self, Standing};

use super::dead_man::DeadMan;
use super::group::{End, Group, Slot};
use super::order::levels;
use super::record::Record;
use super::{Freezer, SYSTEMS_MAX, Thawed};
use crate::devices::FileSystem;

/// How long writing out before a freeze may take. Nothing is frozen while it does; a disk that does not answer ends it here.
const SYNC_PATIENCE: Duration = Duration::from_secs(120);
/// How long thawing is waited for beyond the limit. It goes on behind that.
const THAW_PATIENCE: Duration = Duration::from_secs(10);

/// Freezes what is mounted, with a dead-man beside it.
#[derive(Debug)]
pub struct LinuxFreezer {
    systems: Vec<FileSystem>,
    /// The block device whose file system goes on.
    spared: Option<(u32, u32)>,
    dead_man: DeadMan,
    record: Option<Record>,
    frozen: Option<Frozen>,
    /// Where the thread that freezes stood before: while others wait for it, it does not stand behind them.
    standing: Option<Standing>,
}

#[derive(Debug)]
struct Frozen {
    group: Group,
    /// Of each thread's file system, by what name people know it.
    names: Vec<String>,
    remarks: Vec<String>,
}

impl LinuxFreezer {
    /// A freezer of nothing yet. `program`, a path from the root, is started again as the dead-man: this very program,
    /// `/proc/self/exe`, but in tests.
    #[must_use]
    pub fn new(program: &Path) -> Self {
        Self {
            systems: Vec::new(),
            spared: None,
            dead_man: DeadMan::new(program),
            record: None,
            frozen: None,
            standing: None,
        }
    }

    /// Writes down here what it is about to freeze, and thaws now what an agent left frozen that was killed together with its
    /// dead-man: what it thawed, in words. The file lies in memory, as in `/run`.
    pub fn record_at(&mut self, path: &Path) -> Vec<String> {
        let record = Record::new(path);
        let told = record.thaw_left();
        self.record = Some(record);
        told
    }

    /// What is frozen from the next freeze on. Told before every freeze, as mounts come and go.
    pub fn set_file_systems(&mut self, systems: Vec<FileSystem>) {
        self.systems = systems;
    }

    /// Starts the dead-man before it is needed: before this process is made to stand behind others, which it would inherit.
    ///
    /// Errors: it does not start; nothing can be frozen.
    pub fn start_dead_man(&mut self) -> Result<(), String> {
        self.dead_man.ensure().map_err(|error| {
            format!(
                "the process that thaws at the limit does not start ({error}), so nothing is frozen; it is tried again for \
                 the next point"
            )
        })
    }

    /// The dead-man's process, where it runs.
    #[must_use]
    pub fn dead_man_process(&self) -> Option<u32> {
        self.dead_man.process()
    }

    /// Opens everything that is to be frozen. What is not there any more is left out, with a remark.
    fn open(
        &self,
        remarks: &mut Vec<String>,
    ) -> Result<(Vec<StillHandle>, Vec<FileSystem>), String> {
        let mut handles = Vec::new();
        let mut systems: Vec<FileSystem> = Vec::new();
        let is_spared = |system: &FileSystem| self.spared == Some(system.number);
        let wanted =
            { self.systems.iter() }.filter(|system| !system.read_only && !is_spared(system));
        for system in wanted {
            // One file system that is mounted twice is frozen once.
            if system.number.0 != 0 && systems.iter().any(|known| known.number == system.number) {
                continue;
            }
            if systems.len() == SYSTEMS_MAX {
                return Err(format!(
                    "this server has more than {SYSTEMS_MAX} file systems on protected disks, which cannot be frozen \
                     together; leave disks out of its policy"
                ));
            }
            match open_one(system) {
                Ok(handle) => {
                    handles.push(handle);
                    systems.push(system.clone());
                }
                Err(why) => remarks.push(format!("{} was not frozen: {why}", system.at.display())),
            }
        }
        Ok((handles, systems))
    }

    /// Thaws all, and has the dead-man stand down: how it stands with each, and how many the dead-man had to thaw.
    fn end(&mut self, group: Group) -> (Vec<Slot>, io::Result<u64>) {
        let (slots, over) = group.thaw(THAW_PATIENCE);
        if over {
            if let Some(record) = &self.record {
                record.clear();
            }
            return (slots, self.dead_man.stand_down());
        }
        self.dead_man.stay_with(group);
        (slots, Ok(0))
    }
}

fn open_one(system: &FileSystem) -> Result<StillHandle, String> {
    let handle = StillHandle::open(&system.at).map_err(|error| error.to_string())?;
    let found = handle.device().map_err(|error| error.to_string())?;
    // The number of a file system without one device is another in each of its parts.
    if system.number.0 != 0 && found != system.number {
        return Err("something else is mounted there now".to_owned());
    }
    Ok(handle)
}

impl Freezer for LinuxFreezer {
    fn freeze(&mut self, limit: Duration) -> Result<(), String> {
        if self.frozen.is_some() {
            return Err("file systems are frozen already: thaw them first".to_owned());
        }
        self.standing = manners::stand_up().ok();
        let result = self.freeze_all(limit);
        if result.is_err() {
            self.stand_back();
        }
        result
    }

    fn freeze_beside(&mut self, number: (u32, u32), limit: Duration) -> Result<(), String> {
        self.spared = Some(number);
        let result = self.freeze(limit);
        self.spared = None;
        result
    }

    fn is_frozen(&mut self) -> bool {
        self.frozen.as_ref().is_some_and(|frozen| frozen.group.is_frozen())
    }

    fn thaw(&mut self) -> Thawed {
        let thawed = self.thaw_all();
        self.stand_back();
        thawed
    }
}

impl LinuxFreezer {
    fn stand_back(&mut self) {
        if let Some(Err(error)) = self.standing.take().map(Standing::stand_back) {
            log::warn!("the agent does not stand behind others any more: {error}");
        }
    }

    fn freeze_all(&mut self, limit: Duration) -> Result<(), String> {
        self.start_dead_man()?;
        let mut remarks = Vec::new();
        let (handles, systems) = self.open(&mut remarks)?;
        let names: Vec<String> =
            systems.iter().map(|system| system.at.display().to_string()).collect();
        let name = |place: usize| names.get(place).map_or("a file system", String::as_str);
        let again: io::Result<Vec<StillHandle>> = handles.iter().map(StillHandle::again).collect();
        let threads =
            again.and_then(|again| Group::start(again.into_iter().zip(levels(&systems)).collect()));
        let group =
            threads.map_err(|error| format!("nothing is frozen, for want of threads: {error}"))?;
        if let Err(place) = group.wait_synced(SYNC_PATIENCE) {
            return Err(format!(
                "{} was not written out in {} s, so nothing is frozen: look at its disk",
                name(place),
                SYNC_PATIENCE.as_secs()
            ));
        }
        if let Some(Err(error)) = self.record.as_ref().map(|record| record.note(&systems)) {
            return Err(format!(
                "what is to be frozen cannot be written down ({error}), so nothing is frozen: look at /run"
            ));
        }
        self.dead_man.guard(&group.shared);
        let began = Instant::now();
        let deadline = began.checked_add(limit).unwrap_or(began);
        let borrowed: Vec<&StillHandle> = handles.iter().collect();
        if let Err(error) = self.dead_man.arm(&borrowed, limit) {
            // Whether it had to thaw does not matter: this was no freeze.
            drop(self.end(group));
            return Err(format!(
                "the process that thaws at the limit does not answer ({error}), so nothing is frozen; it is started again"
            ));
        }
        // The threads and the dead-man have handles of their own.
        drop(handles);
        let result = group.freeze(deadline);
        group.frozen_before().for_each(|place| self.dead_man.leave(place));
        let words = match result {
            Ok(()) if group.is_frozen() => {
                self.frozen = Some(Frozen { group, names, remarks });
                return Ok(());
            }
            Ok(()) => "file systems were thawed before all were frozen: the limit passed, or the process that thaws at the \
                       limit ended"
                .to_owned(),
            Err((place, None)) => format!(
                "{} was not frozen before the limit of {} ms: its disk is slow or does not answer; all are thawed",
                name(place),
                limit.as_millis()
            ),
            Err((place, Some(errno))) => format!(
                "{} cannot be frozen: {}; all are thawed",
                name(place),
                io::Error::from_raw_os_error(errno)
            ),
        };
        drop(self.end(group));
        Err(words)
    }

    fn thaw_all(&mut self) -> Thawed {
        let Some(Frozen { group, names, mut remarks }) = self.frozen.take() else {
            return Thawed { too_late: true, ..Thawed::default() };
        };
        let in_time = group.is_frozen();
        let (slots, told) = self.end(group);
        let mut too_late = !in_time;
        for (slot, name) in slots.iter().zip(&names) {
            too_late |= judge(slot, name, &mut remarks);
        }
        match told {
            Ok(0) => {}
            Ok(thaws) => {
                too_late = true;
                remarks.push(format!(
                    "the process that thaws at the limit had to thaw {thaws} file systems"
                ));
            }
            Err(error) => remarks.push(format!(
                "the process that thaws at the limit does not answer ({error}): it is started again"
            )),
        }
        Thawed { micros: still_micros(&slots), too_late, remarks }
    }
}

/// Whether a file system was not still to the end, and what is to be said of it.
fn judge(slot: &Slot, name: &str, remarks: &mut Vec<String>) -> bool {
    let (late, words) = match (slot.frozen, slot.thawed) {
        (Some(Err(Refusal::Unsupported)), _) => (
            false,
            "cannot be frozen, as its kind has nothing for it: it was written out before, and may have changed since",
        ),
        (Some(Err(Refusal::FrozenBefore)), _) => {
            (false, "was frozen by somebody else already, and was left so")
        }
        (Some(Err(_)) | None, _) => (true, "was not frozen"),
        (Some(Ok(())), Some((End::Told, _))) => return false,
        (Some(Ok(())), Some((End::Limit, _))) => (true, "was thawed at the limit"),
        (Some(Ok(())), Some((End::Before, _))) => (true, "had been thawed by somebody else"),
        (Some(Ok(())), Some((End::Failed(errno), _))) => {
            let error = io::Error::from_raw_os_error(errno);
            remarks
                .push(format!("{name} cannot be thawed: {error}; try fsfreeze --unfreeze {name}"));
            return true;
        }
        (Some(Ok(())), None) => {
            (true, "is not thawed yet: its disk does not answer; thawing goes on")
        }
    };
    remarks.push(format!("{name} {words}"));
    late
}

/// From the first that began to wait to the last that went on.
fn still_micros(slots: &[Slot]) -> u64 {
    let ended = |slot: &Slot| slot.thawed.map(|(_, at)| at);
    let began =
        slots.iter().filter(|slot| ended(slot).is_some()).filter_map(|slot| slot.began).min();
    let ended = slots.iter().filter_map(ended).max();
    let length = began.zip(ended).map(|(began, ended)| ended.saturating_duration_since(began));
    length.map_or(0, |length| u64::try_from(length.as_micros()).unwrap_or(u64::MAX))
}
