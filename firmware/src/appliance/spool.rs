//! The spool's disk as a service of the role *appliance*: taken up wherever it is plugged in, shown, and missed by nobody.
//!
//! Which disk it is a person says, at the console or in `lifeboat.toml`. Nothing is ever formatted but by a person who types
//! what the disk is called. While replication runs the spool is lent to it, and asked for where its disk goes or changes.

use core::fmt::Display;
use core::time::Duration;
use std::fs;
use std::path::Path;

use hal::inventory::DiskFacts;
use hal_linux::{LinuxDisk, SystemEntropy};
use image_layout::command_line::Role;

use super::board::{Answer, Kind, Question};
use super::capture::of_this_machine;
use super::memory::SpoolKept;
use super::vault_place::ask;
use super::{Appliance, devices, roles};
use crate::report::Size;
use crate::spool::{Owner, Spool, Usage};
use crate::spool_disk::{self, find, lasting_name};

use loan::Label;

/// Who has it.
pub(crate) mod loan;

/// The spool, where there is one.
pub(crate) type Place = loan::Place<Spool<LinuxDisk>>;

/// How often it is looked whether the disk is still there, or there again.
const LOOK: Duration = Duration::from_secs(2);
/// How many looks at an unchanged machine until its disks are looked at all the same.
const LOOKS_UNCHANGED: u64 = 60;
/// The same while a disk is refused: it may have been in use by somebody who was just going.
const LOOKS_REFUSED: u64 = 5;
/// How long is waited for the spool that replication has, where another one is to take its place.
const RETURN_PATIENCE: Duration = Duration::from_secs(20);
/// Where the kernel shows disks.
const SYSFS: &str = "/sys/block";

/// How the spool stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// Nobody gave it a disk.
    None,
    /// Its disk is not here.
    Missing(String),
    /// Its disk cannot be used, and why.
    Refused(String, String),
    /// Its disk has to be formatted, and why.
    Unformatted(String, String),
    /// It works.
    Ready(String, Usage),
}

impl Standing {
    fn word(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Missing(_) => "missing",
            Self::Refused(..) => "refused",
            Self::Unformatted(..) => "unformatted",
            Self::Ready(..) => "ready",
        }
    }

    fn disk(&self) -> &str {
        match self {
            Self::None => "",
            Self::Missing(disk) | Self::Refused(disk, _) => disk,
            Self::Unformatted(disk, _) | Self::Ready(disk, _) => disk,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::None => "no disk is given to it: key d".to_owned(),
            Self::Missing(disk) => {
                format!("{disk} is not here; it is taken up when it is plugged in")
            }
            Self::Refused(disk, why) => format!("{disk} cannot be used: {why}"),
            Self::Unformatted(disk, why) => {
                format!("{disk} is not used: {why}; key d, then type {disk}, formats it")
            }
            Self::Ready(disk, usage) => format!(
                "{disk}, {} of {} used, {} records",
                Size(usage.used),
                Size(usage.bytes),
                usage.records
            ),
        }
    }
}

/// Keeps the spool open and shown.
pub(crate) fn serve(appliance: &Appliance) -> Result<(), String> {
    if roles::chosen(appliance) != Role::Appliance {
        return Ok(());
    }
    let mut told: Option<Standing> = None;
    let (mut seen, mut looks) = (None, 0);
    loop {
        // Looking at every disk costs them a read each: only when something changed, and now and then.
        let now = Some((given(appliance), block_devices(Path::new(SYSFS))));
        looks += 1;
        let pace = match &told {
            Some(Standing::Refused(..)) => LOOKS_REFUSED,
            _ => LOOKS_UNCHANGED,
        };
        let changed = now != seen || looks % pace == 0;
        let standing = match still(appliance, told.as_ref()).filter(|_| !changed) {
            Some(standing) => standing,
            None if changed => look(appliance, told.as_ref()),
            None => told.clone().unwrap_or(Standing::None),
        };
        seen = now;
        if told.as_ref() != Some(&standing) {
            tell(appliance, told.as_ref(), &standing);
            told = Some(standing);
        }
        appliance.spool.note_look();
        if appliance.stop.rest(LOOK) {
            // Let go in order: what is in flight is finished. Whoever has it on loan lets go of it too.
            drop(appliance.spool.let_go(Duration::ZERO));
            return Ok(());
        }
        if appliance.spool.was_touched() {
            seen = None;
        }
    }
}

/// The number that no other block device ever has; empty where the kernel shows none.
fn number_of(device: &Path) -> String {
    fs::read_to_string(device.join("diskseq")).unwrap_or_default()
}

/// What the kernel shows of block devices: each with the number that no other one ever has.
fn block_devices(sysfs: &Path) -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir(sysfs) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((name, number_of(&entry.path())))
    });
    let mut all: Vec<(String, String)> = names.collect();
    all.sort();
    all
}

/// The standing of a spool that is open. Of one that is lent, replication tells how full it is, once it has read it.
fn still(appliance: &Appliance, told: Option<&Standing>) -> Option<Standing> {
    appliance.spool.see(|label, spool| {
        let usage = spool.map(Spool::usage).or_else(|| appliance.agents.usage());
        let before = match told {
            Some(Standing::Ready(_, usage)) => *usage,
            _ => Usage::default(),
        };
        Standing::Ready(label.name.clone(), usage.unwrap_or(before))
    })
}

fn tell(appliance: &Appliance, before: Option<&Standing>, standing: &Standing) {
    let words = standing.words();
    let is_wrong = !matches!(standing, Standing::None | Standing::Ready(..));
    appliance.board.update(|view| {
        view.spool.clone_from(&words);
        view.spool_trouble = is_wrong.then(|| words.clone());
    });
    match (before, standing) {
        // How full it is changes all the time.
        (Some(Standing::Ready(one, _)), Standing::Ready(other, _)) if one == other => return,
        (_, Standing::None | Standing::Ready(..)) => log::info!("spool: {words}"),
        _ => log::warn!("spool: {words}"),
    }
    let (used, bytes) = match standing {
        Standing::Ready(_, usage) => (usage.used, usage.bytes),
        _ => (0, 0),
    };
    let pairs: [(&str, &dyn Display); 5] = [
        ("state", &standing.word()),
        ("disk", &standing.disk()),
        ("words", &words),
        ("used", &used),
        ("bytes", &bytes),
    ];
    appliance.events.say("spool", &pairs);
}

/// The disk that was given: the console's word counts before the file's.
fn given(appliance: &Appliance) -> Option<String> {
    let kept = appliance.memory.kept().spool.and_then(|spool| spool.disk);
    let settings = appliance.settings.get().and_then(|settings| settings.spool.as_ref());
    kept.or_else(|| settings.map(|spool| spool.disk.clone()))
}

/// Whether somebody gave it a disk, wherever that is now.
pub(crate) fn is_given(appliance: &Appliance) -> bool {
    given(appliance).is_some()
}

/// Looks after the spool, and says how it stands.
fn look(appliance: &Appliance, told: Option<&Standing>) -> Standing {
    let gone = |standing: Standing| {
        // Who has it on loan gives it back as soon as it can.
        drop(appliance.spool.let_go(Duration::ZERO));
        standing
    };
    let Some(name) = given(appliance) else { return gone(Standing::None) };
    let disks = hal_linux::inventory();
    let facts = match find(&disks, &name) {
        Ok(Some(facts)) => facts,
        Ok(None) => return gone(Standing::Missing(name)),
        Err(why) => return gone(Standing::Refused(name, why)),
    };
    let label = Label {
        name: name.clone(),
        path: facts.path.clone(),
        kernel_name: facts.kernel_name().to_owned(),
        number: number_of(&Path::new(SYSFS).join(facts.kernel_name())),
    };
    if appliance.spool.see(|open, _| *open == label) == Some(true)
        && let Some(standing) = still(appliance, told)
    {
        return standing;
    }
    open(appliance, facts, label)
}

/// Opens the spool on a disk that was given, in the place of any other.
fn open(appliance: &Appliance, facts: &DiskFacts, label: Label) -> Standing {
    let name = label.name.clone();
    let Some(vacant) = appliance.spool.let_go(RETURN_PATIENCE) else {
        let why = "replication has not let go of the spool that was there before".to_owned();
        return Standing::Refused(name, why);
    };
    if let Some(why) = spool_disk::refusal(facts, &own(appliance)) {
        return Standing::Refused(name, why);
    }
    let owner = appliance.memory.kept().spool.map(|spool| spool.owner);
    let Some(owner) = owner else {
        return Standing::Unformatted(name, what_is_on(facts));
    };
    match spool_disk::open(Path::new(&facts.path), &owner) {
        Ok((spool, found)) => {
            for trouble in &found.troubles {
                log::warn!("spool: {trouble}");
            }
            let usage = spool.usage();
            vacant.fill(label, spool);
            Standing::Ready(name, usage)
        }
        Err(crate::spool::SpoolError::None) => Standing::Unformatted(name, what_is_on(facts)),
        Err(error) if error.wants_format() => Standing::Unformatted(name, error.to_string()),
        Err(error) => Standing::Refused(name, error.to_string()),
    }
}

fn what_is_on(facts: &DiskFacts) -> String {
    match spool_disk::contents(Path::new(&facts.path)) {
        Ok(None) => "it is empty".to_owned(),
        Ok(Some(what)) => format!("it holds {what}"),
        Err(error) => error.to_string(),
    }
}

/// What no spool is made of: disks that Lifeboat stands on, by the kernel's names.
fn own(appliance: &Appliance) -> Vec<(String, &'static str)> {
    let booted = appliance.medium().disk().map(str::to_owned);
    let vault = super::vault_place::disk();
    let name = |disk: Option<String>, what| disk.map(|disk| (disk, what));
    let booted = name(booted, "what this machine was booted from");
    booted.into_iter().chain(name(vault, "where the vault is")).collect()
}

/// Lets a person give the spool a disk: shows what is on each, and formats the one whose name is typed.
pub(crate) fn choose(appliance: &Appliance) -> Result<(), String> {
    if roles::chosen(appliance) != Role::Appliance {
        return Err("only the role appliance has a spool".to_owned());
    }
    // While a job works on disks, none of them becomes something else.
    let Ok(_held) = appliance.at_work.try_lock() else {
        return Err("another job is still running: no disk is formatted meanwhile".to_owned());
    };
    let disks = of_this_machine(hal_linux::inventory(), &[]);
    let own = own(appliance);
    let mut choices: Vec<String> = disks.iter().map(|disk| line(disk, &own)).collect();
    choices.push("no disk".to_owned());
    let words = vec!["What sources sent is kept there until the vault has it.".to_owned()];
    let title = "Which disk is for the spool?".to_owned();
    let asked = appliance.board.ask(Question { title, words, kind: Kind::Choice(choices) });
    let Answer::Chosen(place) = asked else { return Ok(()) };
    let done = match disks.get(place) {
        Some(facts) => give(appliance, facts, &own),
        // The service lets go of it, and has it back first where it is lent.
        None => remember(appliance, None),
    };
    appliance.spool.touch();
    done
}

fn line(disk: &DiskFacts, own: &[(String, &'static str)]) -> String {
    let what = spool_disk::refusal(disk, own).unwrap_or_else(|| what_is_on(disk));
    format!("{}: {what}", devices::disk_line(disk, false))
}

fn give(
    appliance: &Appliance,
    facts: &DiskFacts,
    own: &[(String, &'static str)],
) -> Result<(), String> {
    if let Some(why) = spool_disk::refusal(facts, own) {
        return Err(format!("{} is not formatted: {why}", facts.path));
    }
    let name = lasting_name(facts);
    let shown = devices::disk_line(facts, false);
    let what = format!("On {shown}: {}.", what_is_on(facts));
    let words = [what.as_str(), "Everything on it is lost.", &format!("Type {name} to format it.")];
    let kind = Kind::Text(String::new());
    let typed = ask(&appliance.board, "Format this disk for the spool?", &words, kind);
    let Some(typed) = typed else { return Ok(()) };
    // Nobody has it until it is done: the service must not open it in between.
    let Some(_vacant) = appliance.spool.let_go(RETURN_PATIENCE) else {
        let path = &facts.path;
        return Err(format!(
            "{path} is not formatted: replication has not let go of the spool; try again in a moment"
        ));
    };
    let owner = match appliance.memory.kept().spool {
        Some(kept) => kept.owner,
        None => Owner::new(&SystemEntropy).map_err(|error| error.to_string())?,
    };
    spool_disk::format(facts, &typed, own, &owner).map_err(|error| error.to_string())?;
    log::info!("{shown} is a spool now");
    let kept = SpoolKept { owner, disk: Some(name.to_owned()) };
    appliance.memory.change(|memory| memory.spool = Some(kept))
}

/// Which disk the console gave, if any; the key stays, for a spool that comes back.
fn remember(appliance: &Appliance, disk: Option<String>) -> Result<(), String> {
    appliance.memory.change(|memory| {
        if let Some(spool) = &mut memory.spool {
            spool.disk = disk;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_standing_says_what_a_person_can_do() {
        let disk = || "S1".to_owned();
        let told = |standing: Standing| standing.words();
        assert!(told(Standing::None).contains("key d"));
        assert!(told(Standing::Missing(disk())).contains("S1 is not here"));
        let unformatted = told(Standing::Unformatted(disk(), "it holds LVM".to_owned()));
        assert!(
            unformatted.contains("holds LVM") && unformatted.contains("type S1"),
            "{unformatted}"
        );
        let usage = Usage { bytes: 1 << 30, used: 1 << 20, records: 7 };
        assert_eq!(
            told(Standing::Ready(disk(), usage)),
            "S1, 1.00 MiB of 1.00 GiB used, 7 records"
        );
    }
}
