//! `spool`: what is on a disk, and making a spool of it.

use std::path::{Path, PathBuf};

use hal::inventory::DiskFacts;
use hal_linux::facts_of;
use pipeline_vault::Error;
use serde::Serialize;

use crate::cli::{SpoolFormat, SpoolShow};
use crate::disk_facts::disk_error;
use crate::report::{Ending, Outcome, Size, print, print_json, printable};
use crate::serve::identity::default_folder;
use crate::spool::SpoolError;
use crate::spool_disk::{self, lasting_name, owner};

/// What `show` answers.
#[derive(Serialize)]
struct Shown {
    disk: String,
    name: String,
    bytes: u64,
    holds: Option<&'static str>,
    /// Whose spool, where it is one: this machine's, another's.
    ours: Option<bool>,
    capacity_bytes: Option<u64>,
}

pub(super) fn show(show: &SpoolShow) -> Ending {
    let facts = facts(&show.disk)?;
    let holds = spool_disk::contents(&show.disk)?;
    let found = match spool_disk::look(&show.disk) {
        Ok(found) => Some(found),
        Err(SpoolError::None) => None,
        Err(error) => {
            let what = error.to_string();
            return Err(Error::corrupt(facts.path, what).into());
        }
    };
    let owner = folder(show.state.as_ref()).and_then(|folder| owner::of_folder(&folder))?;
    let ours = |appliance| owner.as_ref().is_some_and(|owner| owner.appliance == appliance);
    let shown = Shown {
        name: lasting_name(&facts).to_owned(),
        bytes: facts.geometry.bytes,
        holds,
        ours: found.map(|found| ours(found.appliance)),
        capacity_bytes: found.map(|found| found.log_bytes),
        disk: facts.path,
    };
    if show.json {
        print_json(&shown)?;
    } else {
        print(&text(&shown))?;
    }
    Ok(Outcome::Done)
}

fn text(shown: &Shown) -> String {
    let what = match (shown.ours, shown.capacity_bytes) {
        (Some(true), Some(bytes)) => format!("a spool of this machine, for {}", Size(bytes)),
        (Some(false), Some(bytes)) => format!("the spool of another machine, for {}", Size(bytes)),
        _ => shown.holds.unwrap_or("nothing").to_owned(),
    };
    format!(
        "{} ({}, {}) holds {what}\n",
        printable(&shown.disk),
        printable(&shown.name),
        Size(shown.bytes)
    )
}

/// What `format` answers.
#[derive(Serialize)]
struct Formatted {
    disk: String,
    capacity_bytes: u64,
}

pub(super) fn format(format: &SpoolFormat) -> Ending {
    let facts = facts(&format.disk)?;
    let name = lasting_name(&facts).to_owned();
    let Some(typed) = &format.confirm else {
        let holds = spool_disk::contents(&format.disk)?.unwrap_or("nothing");
        return Err(Error::misuse(
            facts.path,
            format!("holds {holds}, and everything on it would be lost; nothing was written"),
        )
        .remedy(format!("if it is the right one, add --confirm {name}"))
        .into());
    };
    let folder = folder(format.state.as_ref())?;
    // Refused before a key is made for nothing.
    if let Some(why) = spool_disk::refusal(&facts, &[]) {
        return Err(Error::refused(facts.path, format!("{why}; nothing was written"))
            .remedy("choose another disk")
            .into());
    }
    let owner = owner::of_folder_or_new(&folder)?;
    let made = spool_disk::format(&facts, typed, &[], &owner)?;
    if format.json {
        print_json(&Formatted { disk: facts.path, capacity_bytes: made.log_bytes })?;
    } else {
        let path = printable(&facts.path);
        print(&format!("{path} is a spool now, for {}\n", Size(made.log_bytes)))?;
    }
    Ok(Outcome::Done)
}

fn facts(path: &Path) -> Result<DiskFacts, Error> {
    facts_of(path).map_err(|error| disk_error(error, path))
}

fn folder(named: Option<&PathBuf>) -> Result<PathBuf, Error> {
    named.cloned().or_else(default_folder).ok_or_else(|| {
        Error::misuse("spool", "has no folder to keep its key in").remedy("name one with --state")
    })
}
