//! The power button: pressed, the machine goes down in order.

use core::time::Duration;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Appliance;
use super::orders::{Ending, Order};

/// Bytes of the kernel's `input_event` on 64 bits: two of time, then kind, code and value.
const EVENT_BYTES: usize = 24;
/// A key.
const KIND_KEY: u16 = 1;
/// The power key.
const CODE_POWER: u16 = 116;
/// Where the kernel shows keyboards, buttons and the like.
const CLASS: &str = "/sys/class/input";
/// How often it is looked for buttons that came later, and for the machine going down.
const LOOK: Duration = Duration::from_secs(2);

/// Whether one of the events says that the button was pressed. Takes any bytes.
fn is_pressed(bytes: &[u8]) -> bool {
    bytes.chunks_exact(EVENT_BYTES).any(|event| {
        let number = |at: usize| u16::from_ne_bytes([event[at], event[at + 1]]);
        number(16) == KIND_KEY && number(18) == CODE_POWER && number(20) == 1
    })
}

/// The nodes of all power buttons.
fn buttons(class: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(class) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| {
            let name = fs::read_to_string(entry.path().join("device/name")).unwrap_or_default();
            name.contains("Power Button")
        })
        .filter_map(|entry| Some(Path::new("/dev/input").join(entry.file_name().to_str()?)))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found
}

/// The buttons that are listened to, by their nodes. What is pressed is kept by the kernel from when a node is opened, and
/// by nobody before: so they are opened early, once, and stay open.
#[derive(Debug, Default)]
pub(crate) struct Buttons {
    opened: BTreeMap<PathBuf, File>,
}

impl Buttons {
    /// Opens what is there and was not; forgets what is gone.
    fn look(&mut self, class: &Path) {
        let there = buttons(class);
        self.opened.retain(|path, _| there.contains(path));
        for path in there {
            if let Entry::Vacant(place) = self.opened.entry(path)
                && let Ok(button) = File::open(place.key())
            {
                place.insert(button);
            }
        }
    }

    /// Waits a while for a press of any of them, since it was opened.
    fn pressed(&mut self, patience: Duration) -> Result<bool, String> {
        let mut opened: Vec<&mut File> = self.opened.values_mut().collect();
        let mut waited: Vec<PollFd<'_>> =
            opened.iter().map(|button| PollFd::new(&**button, PollFlags::IN)).collect();
        let patience = Timespec::try_from(patience).map_err(|_| "no such time".to_owned())?;
        poll(&mut waited, Some(&patience)).map_err(|errno| format!("the power button: {errno}"))?;
        let ready: Vec<bool> = waited
            .iter()
            .map(|one| one.revents().intersects(PollFlags::IN | PollFlags::HUP))
            .collect();
        drop(waited);
        for (button, _) in opened.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            let mut bytes = [0; EVENT_BYTES * 16];
            // A button that was unplugged in between is none.
            let length = button.read(&mut bytes).unwrap_or(0);
            if is_pressed(bytes.get(..length).unwrap_or_default()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Opens the buttons while the machine still starts, so that a press is not lost on one that nobody listens to yet.
pub(crate) fn open(appliance: &Appliance) -> Result<String, String> {
    if let Some(loader) = appliance.loader.get() {
        for module in ["button", "evdev"] {
            // Without them there is none, as on a machine that has none.
            let _ = loader.need(module);
        }
    }
    let mut held = appliance.buttons.lock().unwrap_or_else(PoisonError::into_inner);
    held.look(Path::new(CLASS));
    Ok(format!("{} found", held.opened.len()))
}

/// Waits for a press for as long as the machine runs.
pub(crate) fn serve(appliance: &Appliance) -> Result<(), String> {
    let mut held = appliance.buttons.lock().unwrap_or_else(PoisonError::into_inner);
    while !appliance.stop.asked() {
        // Each time anew: some come later.
        held.look(Path::new(CLASS));
        if held.opened.is_empty() {
            appliance.stop.rest(LOOK);
        } else if held.pressed(LOOK)? {
            let why = "the power button was pressed".to_owned();
            appliance.orders.give(Order::End(Ending::PowerOff, why));
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: u16, code: u16, value: u32) -> Vec<u8> {
        let mut bytes = vec![7; 16];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(code.to_ne_bytes());
        bytes.extend(value.to_ne_bytes());
        bytes
    }

    #[test]
    fn only_the_power_key_going_down_counts() {
        assert!(is_pressed(&event(1, 116, 1)));
        assert!(!is_pressed(&event(1, 116, 0)), "let go");
        assert!(!is_pressed(&event(1, 30, 1)) && !is_pressed(&event(0, 116, 1)));
        let mut both = event(0, 0, 0);
        both.extend(event(1, 116, 1));
        assert!(is_pressed(&both));
        assert!(!is_pressed(&both[..47]), "cut short");
        assert!(!is_pressed(&[]));
    }
}
