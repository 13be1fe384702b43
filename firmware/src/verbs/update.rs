//! `update`: a signed file into the slot of a medium that does not run.

use core::sync::atomic::Ordering;

use hal_linux::{Access, Direct, LinuxDisk, OpenOptions};
use image_layout::disk::SLOT_BYTES;
use image_layout::esp::Slot;
use image_layout::keys::Keys;
use image_layout::update::Head;
use image_layout::version::Version;
use pipeline_vault::Error;
use serde::Serialize;

use super::Context;
use crate::cli::Update;
use crate::disk_facts::disk_error;
use crate::report::{Ending, Outcome, print, print_json};
use crate::update::install::{install, judge};
use crate::update::slots::Slots;
use crate::update::source;
use crate::update::trust::Rules;

const WRITE: OpenOptions = OpenOptions { access: Access::Write, direct: Direct::Auto };

#[derive(Serialize)]
struct Done {
    version: String,
    slot: Option<&'static str>,
    least: Option<String>,
}

pub(super) fn run(update: &Update, context: &Context) -> Ending {
    let rules = Rules {
        keys: keys(update)?,
        running: update
            .newer_than
            .or_else(|| Version::parse(env!("CARGO_PKG_VERSION")))
            .unwrap_or_default(),
        least: update.least,
    };
    let mut source = source::open(&update.from)?;
    let (Some(medium), Some(running), false) = (&update.medium, update.running, update.check)
    else {
        return checked(update, &judge(&mut *source, &rules)?);
    };
    let disk = LinuxDisk::open(medium, WRITE).map_err(|error| disk_error(error, medium))?;
    let mut slots = Slots::open(disk)?;
    let (counters, painter) = context.progress("update", update.json);
    counters.total.store(2 * SLOT_BYTES, Ordering::Relaxed);
    let installed = install(&mut *source, &mut slots, running.slot(), &rules, &mut |bytes| {
        counters.done.store(bytes, Ordering::Relaxed);
        match context.stop.load(Ordering::Relaxed) {
            true => Err(Error::refused(
                &*update.from,
                "was stopped: the other slot is empty, the running one as it was",
            )
            .remedy("run the same again")),
            false => Ok(()),
        }
    });
    drop(painter);
    let installed = installed?;
    let slot = match installed.slot {
        Slot::A => "a",
        Slot::B => "b",
    };
    if update.json {
        print_json(&Done {
            version: installed.version.to_string(),
            slot: Some(slot),
            least: None,
        })?;
    } else {
        print(&format!(
            "{} is in slot {slot}, and is tried at the next start\n",
            installed.version
        ))?;
    }
    Ok(Outcome::Done)
}

fn checked(update: &Update, head: &Head) -> Ending {
    let (version, least) = (head.version.to_string(), head.least.to_string());
    if update.json {
        print_json(&Done { version, slot: None, least: Some(least) })?;
    } else {
        print(&format!(
            "Lifeboat {version}, signed; nothing older than {least} is let in after it\n"
        ))?;
    }
    Ok(Outcome::Done)
}

fn keys(update: &Update) -> Result<Keys, Error> {
    let text = std::fs::read_to_string(&update.keys).map_err(|error| {
        Error::device(update.keys.display().to_string(), format!("cannot be read: {error}"))
            .remedy("outside of an appliance, name a file of release keys by --keys")
    })?;
    Ok(Keys::parse(&text))
}
