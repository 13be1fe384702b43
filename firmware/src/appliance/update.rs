//! Updates of this machine: where they are found, and how they are put in.
//!
//! What parses an update's bytes is a process of its own, as every job is. The first process only knows names of devices, and
//! renames the file of the slot that it runs from.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use firmware_web::api::views::appliance::UpdateView;
use hal_linux::{Access, Direct, LinuxDisk, OpenOptions};
use image_layout::esp::{Slot, SlotFile};
use image_layout::initrd;
use image_layout::update::FILE_ENDING;
use image_layout::version::Version;
use pipeline_azure::address::Origin;

use super::board::{Answer, Kind, Question};
use super::orders::{Ending, Order};
use super::{Appliance, boot, capture, medium, mounts, network, trial};
use crate::child;
use crate::chip::{self, ChipError, Device};
use crate::site::facts::Updates;
use crate::update::slots::Slots;

/// Where media are looked at for updates.
const AT: &str = "/run/update";
/// Names of updates that are offered.
const OFFERS_MAX: usize = 8;
const WRITE: OpenOptions = OpenOptions { access: Access::Write, direct: Direct::Auto };

/// The file of the slot that runs, as the firmware was told; `None` where the system was started in another way.
pub(crate) fn running() -> Option<SlotFile> {
    let path = medium::loader_text("LoaderBootCountPath")
        .or_else(|| medium::loader_text("StubImageIdentifier"))?;
    SlotFile::parse(path.rsplit(['\\', '/']).next()?)
}

/// How many tries the system that runs has left; `None` where it has proven itself, or is not known by the firmware's word yet.
pub(crate) fn tries_left() -> Option<u8> {
    running()?.tries.map(|tries| tries.left)
}

/// The oldest version that is let in here: what the image says, what the medium remembers, and what the machine's chip does.
fn least(appliance: &Appliance) -> Version {
    let text = fs::read_to_string(initrd::LEAST).unwrap_or_default();
    let image = Version::parse(text.trim()).unwrap_or_default();
    let known = image.max(Version(appliance.memory.kept().least));
    match Device::open().and_then(|mut chip| chip::least(&mut chip)) {
        Ok(least) => known.max(least.unwrap_or_default()),
        Err(ChipError::Absent) => known,
        Err(error) => {
            log::warn!("{error}");
            known
        }
    }
}

/// Tells which slot runs; where it is on trial, waits until it has proven itself and has it kept, or gives it up.
pub(crate) fn serve(appliance: &Appliance) -> Result<(), String> {
    let Some(file) = running() else {
        log::info!("this system was not started from a slot of a medium: it cannot be updated");
        appliance.proof.ends();
        return Ok(());
    };
    let tries = file.tries.map_or_else(|| "proven".to_owned(), |tries| tries.left.to_string());
    appliance.events.say(
        "slot",
        &[("slot", &letter(file.slot)), ("tries", &tries), ("version", &boot::bare_version())],
    );
    if file.tries.is_some() {
        trial::prove(appliance, file.slot)?;
        if appliance.stop.asked() {
            return Ok(());
        }
    }
    appliance.proof.ends();
    raise_least(appliance)
}

/// What runs and has proven itself says which versions are let in from now on.
fn raise_least(appliance: &Appliance) -> Result<(), String> {
    let least = least(appliance);
    let kept = Device::open().and_then(|mut chip| match chip::least(&mut chip) {
        Ok(Some(known)) if known == least => Ok(()),
        _ => chip::remember(&mut chip, least),
    });
    let word = match &kept {
        Ok(()) => "kept",
        Err(ChipError::Absent) => "none",
        Err(_) => "failed",
    };
    appliance.events.say("least", &[("version", &least), ("chip", &word)]);
    if let Err(error) = kept
        && error != ChipError::Absent
    {
        log::warn!("{error}; the medium alone remembers that nothing older than {least} is let in");
    }
    appliance.memory.change(|kept| kept.least = least.0)
}

/// The slots of the medium that was booted.
pub(super) fn open(appliance: &Appliance) -> Result<Slots<LinuxDisk>, String> {
    let medium = appliance.medium();
    let esp = medium.esp.as_ref().ok_or("the medium has no slots: a CD, or it was pulled out")?;
    let disk = LinuxDisk::open(&esp.device, WRITE).map_err(|error| error.to_string())?;
    Slots::open(disk).map_err(|error| error.to_string())
}

pub(super) fn letter(slot: Slot) -> &'static str {
    match slot {
        Slot::A => "a",
        Slot::B => "b",
    }
}

/// What the page knows of updates, and how it has one put in.
pub(crate) struct Updater(pub(crate) Arc<Appliance>);

impl Updates for Updater {
    fn view(&self) -> UpdateView {
        let file = running();
        UpdateView {
            version: boot::bare_version(),
            slot: file.map(|file| letter(file.slot).to_owned()),
            on_trial: file.is_some_and(|file| file.tries.is_some()),
            next: None,
            obstacle: verb(&self.0, "x").err(),
        }
    }

    fn verb(&self, from: &str) -> Result<(Vec<OsString>, Vec<(String, String)>), String> {
        verb(&self.0, from).map(|verb| (verb.words, verb.environment))
    }

    fn restart(&self, why: String) {
        self.0.orders.give(Order::End(Ending::Restart, why));
    }
}

/// What puts an update into the slot that does not run: from a file, or an address.
fn verb(appliance: &Appliance, from: &str) -> Result<child::Verb, String> {
    let file = running()
        .ok_or("this system was not started from a slot of a medium, and cannot be updated")?;
    let medium = appliance.medium();
    let esp =
        medium.esp.as_ref().ok_or("the medium cannot be written: it is a CD, or was pulled out")?;
    let mut verb = child::Verb::default();
    if let Ok((origin, _)) = Origin::parse(from) {
        verb.environment = network::proxies_to(appliance, &origin.authority)?;
    }
    let words = ["update", from, "--running", letter(file.slot), "--newer-than"];
    verb.words.extend(words.map(OsString::from));
    verb.words.extend(
        [boot::bare_version(), "--least".to_owned(), least(appliance).to_string()]
            .map(OsString::from),
    );
    verb.words.extend([OsString::from("--medium"), esp.device.clone().into_os_string()]);
    Ok(verb)
}

/// Puts an update in. What came of it is told in words, and the machine starts into it when it is told to.
pub(crate) fn put_in(appliance: &Appliance, from: &str) -> Result<String, String> {
    let verb = verb(appliance, from)?;
    let done = capture::work(appliance, "update", "update", &verb).inspect_err(|words| {
        appliance.events.say("update", &[("state", &"failed"), ("words", words)]);
    })?;
    let version = done.value["version"].as_str().unwrap_or("a new version").to_owned();
    appliance.events.say("update", &[("state", &"done"), ("version", &version)]);
    Ok(version)
}

/// A person at the console wants an update.
pub(crate) fn choose(appliance: &Appliance) -> Result<(), String> {
    let offers = offers(appliance);
    let mut choices: Vec<String> = offers.iter().map(|offer| offer.shown()).collect();
    choices.push("from an address that I type".to_owned());
    let last = choices.len() - 1;
    let title = format!("Which update of Lifeboat {}?", boot::version());
    let words = vec![format!(
        "Updates are files that end in {FILE_ENDING}, in the first folder of a stick. What runs stays beside the new version, and the machine goes back to it where that one does not prove itself."
    )];
    let done = match appliance.board.ask(Question { title, words, kind: Kind::Choice(choices) }) {
        Answer::Chosen(place) if place == last => {
            let title = "Address of the update?".to_owned();
            let kind = Kind::Text("https://".to_owned());
            let Answer::Typed(address) =
                appliance.board.ask(Question { title, words: Vec::new(), kind })
            else {
                return Ok(());
            };
            put_in(appliance, address.trim())
        }
        Answer::Chosen(place) => match offers.get(place) {
            Some(offer) => offer.mounted(|path| put_in(appliance, &path.display().to_string())),
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    let version = match done {
        Ok(version) => version,
        Err(words) => {
            appliance.board.update(|view| view.last_error = Some(format!("update: {words}")));
            return Err(words);
        }
    };
    let title = format!("{version} is on the medium. Restart into it now?");
    let kind =
        Kind::Choice(["restart now", "later: at the next start"].map(str::to_owned).to_vec());
    if appliance.board.ask(Question { title, words: Vec::new(), kind }) == Answer::Chosen(0) {
        appliance.orders.give(Order::End(Ending::Restart, format!("into {version}")));
    }
    Ok(())
}

/// An update on a stick.
struct Offer {
    device: PathBuf,
    file: String,
}

impl Offer {
    fn shown(&self) -> String {
        format!("{} on {}", self.file, self.device.display())
    }

    /// Does something with its file, which is there only so long.
    fn mounted<T>(&self, work: impl FnOnce(&Path) -> Result<T, String>) -> Result<T, String> {
        mounts::disk(&self.device, Path::new(AT), "vfat", false)?;
        let done = work(&Path::new(AT).join(&self.file));
        mounts::release(Path::new(AT))?;
        done
    }
}

/// Updates on sticks that are plugged in. Fixed disks are not looked at: they are servers'.
fn offers(appliance: &Appliance) -> Vec<Offer> {
    if let Some(loader) = appliance.loader.get() {
        for module in ["vfat", "nls_cp437", "nls_ascii", "nls_iso8859-1"] {
            // Which of them this kernel wants shows when it is mounted.
            let _ = loader.need(module);
        }
    }
    let medium = appliance.medium();
    let mut found = Vec::new();
    for device in sticks(Path::new("/sys/class/block"), medium.disk()) {
        if mounts::disk(&device, Path::new(AT), "vfat", false).is_err() {
            continue;
        }
        let entries = fs::read_dir(AT).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| name.ends_with(FILE_ENDING) && !name.starts_with('.'));
        names.sort();
        found.extend(names.into_iter().map(|file| Offer { device: device.clone(), file }));
        if let Err(words) = mounts::release(Path::new(AT)) {
            log::warn!("{words}");
        }
    }
    found.truncate(OFFERS_MAX);
    found
}

/// Sticks and their partitions, but for the one that was booted.
fn sticks(class: &Path, own: Option<&str>) -> Vec<PathBuf> {
    let entries = fs::read_dir(class).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let real = fs::canonicalize(entry.path()).ok()?;
            let usb =
                real.components().any(|part| part.as_os_str().to_string_lossy().starts_with("usb"));
            let ours = own.is_some_and(|own| real.components().any(|part| part.as_os_str() == own));
            (usb && !ours).then(|| Path::new("/dev").join(name))
        })
        .collect();
    found.sort();
    found
}
