//! How the machine starts: its phases in order, each with what it needs and what becomes of the boot when it fails.

use core::time::Duration;
use std::fs;
use std::path::Path;
use std::time::Instant;

use hal::time::Entropy;
use hal_linux::SystemEntropy;
use image_layout::configuration::Configuration;
use image_layout::keys::Keys;

use super::modules::Loader;
use super::phases::{OnFailure, Phase};
use super::uevents::Uevents;
use super::{
    Appliance, clock, crash, devices, figures, journal, keyring, medium, memory, mounts,
    power_button, secure_boot, signals, sysctls,
};

/// Long enough to read the reason, and to not wear out a server that fails at once each time.
const REBOOT_PAUSE: Duration = Duration::from_secs(60);
/// The firmware said that it booted from a disk: it comes, but a USB stick takes its time.
const MEDIUM_PATIENCE: Duration = Duration::from_secs(15);

/// The plan.
pub(crate) const PLAN: [Phase<Appliance>; 18] = [
    Phase {
        name: "mounts",
        needs: &[],
        on_failure: OnFailure::Reboot { pause: REBOOT_PAUSE },
        run: |appliance| appliance.mounted.clone(),
    },
    Phase {
        name: "root",
        needs: &["mounts"],
        on_failure: OnFailure::GoOn,
        run: |_| mounts::seal(),
    },
    Phase {
        name: "log",
        needs: &["mounts"],
        on_failure: OnFailure::GoOn,
        run: |appliance| journal::start(&appliance.board),
    },
    Phase {
        name: "signals",
        needs: &["mounts"],
        on_failure: OnFailure::GoOn,
        run: |appliance| signals::watch(appliance.orders.clone()),
    },
    Phase { name: "console", needs: &["mounts"], on_failure: OnFailure::GoOn, run: console },
    Phase {
        name: "memory",
        needs: &["mounts"],
        on_failure: OnFailure::GoOn,
        run: |_| figures::check_memory(),
    },
    Phase { name: "modules", needs: &["mounts"], on_failure: OnFailure::GoOn, run: modules },
    Phase {
        name: "power button",
        needs: &["modules"],
        on_failure: OnFailure::GoOn,
        run: power_button::open,
    },
    Phase {
        name: "entropy",
        needs: &[],
        on_failure: OnFailure::Stay,
        run: |_| {
            // Waits until the kernel's generator is seeded; no key could be made before.
            let mut bytes = [0; 32];
            SystemEntropy.fill(&mut bytes).map_err(|error| error.to_string())?;
            Ok("the random generator is seeded".to_owned())
        },
    },
    Phase {
        name: "firmware",
        needs: &["modules"],
        on_failure: OnFailure::GoOn,
        run: |appliance| {
            if let (Some(loader), true) =
                (appliance.loader.get(), Path::new("/sys/firmware/efi").is_dir())
            {
                // What it does not have it does not need: the mounts below tell.
                let _ = loader.need("efivarfs");
                let _ = loader.need("efi_pstore");
            }
            mounts::late()
        },
    },
    Phase {
        name: "trust",
        // Not what words could keep from being there: a stranger's would, to be overlooked.
        needs: &["mounts"],
        on_failure: OnFailure::Stay,
        run: secure_boot::look,
    },
    Phase {
        name: "medium",
        needs: &["modules"],
        on_failure: OnFailure::Retry { times: 1, pause: Duration::from_secs(1) },
        run: find_medium,
    },
    Phase {
        name: "crash",
        needs: &["firmware"],
        on_failure: OnFailure::GoOn,
        run: |_| crash::collect(),
    },
    Phase { name: "clock", needs: &["mounts"], on_failure: OnFailure::GoOn, run: clock::check },
    Phase { name: "state", needs: &["medium"], on_failure: OnFailure::GoOn, run: memory::open },
    // Whatever became of the state: what runs from here on has the chip open nothing.
    Phase { name: "chip lock", needs: &[], on_failure: OnFailure::GoOn, run: keyring::lock },
    Phase { name: "settings", needs: &["medium"], on_failure: OnFailure::GoOn, run: read_settings },
    Phase {
        name: "switches",
        needs: &["mounts"],
        on_failure: OnFailure::GoOn,
        run: |_| {
            sysctls::forbid_cores()?;
            let set = sysctls::set(Path::new("/proc/sys"))?;
            mounts::cover_trigger()?;
            Ok(set)
        },
    },
];

fn console(appliance: &Appliance) -> Result<String, String> {
    for problem in &appliance.line.problems {
        log::warn!("{problem}");
    }
    let named = &appliance.line.consoles;
    let usual = ["tty0".to_owned(), "ttyS0".to_owned()];
    let devices = if named.is_empty() { &usual[..] } else { named.as_slice() };
    let mut shown = Vec::new();
    let mut failed = Vec::new();
    for device in devices {
        match appliance.console.show_on(device) {
            Ok(()) => shown.push(device.as_str()),
            Err(error) => failed.push(error),
        }
    }
    match shown.as_slice() {
        [] => Err(failed.join("; ")),
        _ => Ok(format!("on {}", shown.join(" and "))),
    }
}

fn modules(appliance: &Appliance) -> Result<String, String> {
    // Before devices are looked for, so that none is missed in between.
    let uevents = Uevents::open()?;
    let loader = Loader::of_image()?;
    // Set once, here; before anything is loaded, as whoever ends a trial needs it although that hangs.
    let _ = appliance.loader.set(loader.clone());
    let words = devices::cold_plug(&loader, &uevents, &appliance.sightings);
    crate::guest_disks::drivers_by(Box::new(move |name| loader.need(name)));
    let _ = appliance.uevents.set(uevents);
    devices::show(appliance);
    Ok(words)
}

fn find_medium(appliance: &Appliance) -> Result<String, String> {
    let booted = medium::booted();
    let until = Instant::now() + MEDIUM_PATIENCE;
    let found = loop {
        let found = medium::find(Path::new("/"), &booted)?;
        if found.is(&booted) || Instant::now() > until {
            break found;
        }
        // It may hang behind a bus whose driver came just now, and want drivers of its own.
        match (appliance.loader.get(), appliance.uevents.get()) {
            (Some(loader), Some(uevents)) => {
                let pause = Duration::from_millis(100);
                devices::attend(loader, uevents, &appliance.sightings, pause);
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    };
    let words = match (&found.esp, &found.cd, &found.state) {
        (Some(esp), _, _) => format!("booted from {}", esp.disk),
        (None, Some(cd), _) => format!("booted from the CD in {}", cd.display()),
        (None, None, Some(state)) => format!("only a state partition, on {}", state.disk),
        (None, None, None) => "booted from no disk that is here".to_owned(),
    };
    appliance.set_medium(found);
    devices::show(appliance);
    Ok(words)
}

fn read_settings(appliance: &Appliance) -> Result<String, String> {
    let loader = appliance.loader.get().ok_or("no module can be loaded")?;
    let Some(bytes) = medium::configuration(&appliance.medium(), loader)? else {
        return Ok("no lifeboat.toml".to_owned());
    };
    let read = Configuration::parse(&bytes).map_err(|error| error.to_string())?;
    appliance.board.update(|view| view.name = read.name.clone().unwrap_or_default());
    let _ = appliance.settings.set(read);
    Ok("lifeboat.toml is read".to_owned())
}

/// The same, and whether nobody guards the keys by which it was signed.
pub(crate) fn version() -> String {
    let keys = fs::read_to_string(image_layout::initrd::KEYS).unwrap_or_default();
    format!("{}{}", bare_version(), Keys::parse(&keys).mark())
}

/// The version of the image, or of the program where it runs without one.
pub(crate) fn bare_version() -> String {
    let text = fs::read_to_string(image_layout::initrd::VERSION).unwrap_or_default();
    let line = text.lines().next().unwrap_or_default().trim().to_owned();
    if line.is_empty() { env!("CARGO_PKG_VERSION").to_owned() } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appliance::phases::flaws;

    /// Seen to fail with a phase in between, and where it needs one.
    #[test]
    fn the_chip_is_locked_right_after_the_state_whatever_failed() {
        let at = |name| PLAN.iter().position(|phase| phase.name == name).unwrap();
        let lock = at("chip lock");
        assert_eq!((lock, PLAN[lock].needs.len()), (at("state") + 1, 0));
    }

    #[test]
    fn the_plan_holds_together() {
        assert_eq!(flaws(&PLAN), [""; 0]);
        for phase in &PLAN {
            if let OnFailure::Reboot { pause } = phase.on_failure {
                assert!(pause >= Duration::from_secs(30), "{} would loop", phase.name);
            }
        }
    }
}
