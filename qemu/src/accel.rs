//! What executes a guest: the processor itself where that truly works, else QEMU's translator.
//!
//! `/dev/kvm` proves nothing: there are hosts where it opens and every guest hangs. So a guest of one sector is tried.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use core::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::folder::Folder;
use crate::machine::PROGRAM;
use crate::process::Process;

/// A guest that works has printed after half a second even when translated.
const PROBE_WAIT: Duration = Duration::from_secs(8);
/// What the guest prints.
const WORDS: &str = "a guest runs";
/// Overrides what is found: `kvm` or `tcg`.
const VARIABLE: &str = "LIFEBOAT_VM_ACCEL";

/// What executes a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// The processor.
    Kvm,
    /// QEMU's translator: some twenty times slower.
    Tcg,
    /// The translator on one thread, with a clock that counts instructions: a nanosecond is one. Never found by itself.
    Counted,
}

impl Accel {
    /// The best that works here. Tried once for each start of this machine, and remembered for all processes.
    pub fn best() -> Self {
        static BEST: OnceLock<Accel> = OnceLock::new();
        *BEST.get_or_init(|| match std::env::var(VARIABLE).as_deref() {
            Ok("kvm") => Self::Kvm,
            Ok("tcg") => Self::Tcg,
            _ => remembered(),
        })
    }

    /// QEMU's arguments.
    pub(crate) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Kvm => &["-accel", "kvm", "-cpu", "host"],
            // A kernel that is told so copies byte by byte, which a processor does at once and the translator one by one: a
            // start takes a tenth to a fifth less without.
            Self::Tcg => &["-accel", "tcg,thread=multi", "-cpu", "max,-erms"],
            Self::Counted => {
                &["-accel", "tcg,thread=single", "-cpu", "max", "-icount", "shift=0,sleep=off"]
            }
        }
    }

    /// A wait that is right for the processor, made as much longer as this is slower.
    #[must_use]
    pub fn patience(self, wait: Duration) -> Duration {
        match self {
            Self::Kvm => wait,
            Self::Tcg | Self::Counted => wait * 10,
        }
    }
}

/// What an earlier process found since this machine was started, else what is found now.
fn remembered() -> Accel {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let user = rustix::process::geteuid().as_raw();
    let path = std::env::temp_dir().join(format!("lifeboat-vm-accel-{user}-{}", boot.trim()));
    // Without the file everybody tries for themselves: slower, and as right.
    let Ok(lock) = File::options().create(true).append(true).open(&path) else { return tried() };
    if flock(&lock, FlockOperation::LockExclusive).is_err() {
        return tried();
    }
    match fs::read_to_string(&path).as_deref() {
        Ok("kvm") => Accel::Kvm,
        Ok("tcg") => Accel::Tcg,
        _ => {
            let found = tried();
            let word = if found == Accel::Kvm { "kvm" } else { "tcg" };
            // As above.
            let _ = fs::write(&path, word);
            found
        }
    }
}

/// Runs the guest of one sector.
fn tried() -> Accel {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let able = processor.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
    let device = File::options().read(true).write(true).open("/dev/kvm");
    if able && device.is_ok() && guest_runs(Accel::Kvm) { Accel::Kvm } else { Accel::Tcg }
}

/// Whether a guest gets as far as printing, in bounded time.
fn guest_runs(accel: Accel) -> bool {
    let Ok(folder) = Folder::new() else { return false };
    let (disk, said) = (folder.file("sector"), folder.file("said"));
    // The firmware finds no disk behind a file of one sector.
    let made = fs::write(&disk, sector()).and_then(|()| {
        let file = File::options().write(true).open(&disk)?;
        file.set_len(1 << 20)
    });
    if made.is_err() {
        return false;
    }
    let path = |prefix: &str, path: &Path| format!("{prefix}{}", path.display());
    let mut arguments: Vec<String> =
        accel.arguments().iter().map(|word| (*word).to_owned()).collect();
    arguments.extend([
        "-machine".to_owned(),
        "pc".to_owned(),
        "-m".to_owned(),
        "32".to_owned(),
        "-nodefaults".to_owned(),
        "-display".to_owned(),
        "none".to_owned(),
        "-serial".to_owned(),
        path("file:", &said),
        "-drive".to_owned(),
        path("format=raw,file=", &disk),
    ]);
    let Ok(process) = Process::start(PROGRAM, &arguments, folder.file("log")) else { return false };
    await_words(&process, &said)
}

fn await_words(process: &Process, said: &PathBuf) -> bool {
    let deadline = Instant::now() + PROBE_WAIT;
    loop {
        if fs::read_to_string(said).is_ok_and(|text| text.contains(WORDS)) {
            return true;
        }
        let soon = Instant::now() + Duration::from_millis(20);
        if process.wait(soon).is_some() || Instant::now() > deadline {
            return false;
        }
    }
}

/// A boot sector that prints on the first serial port and halts.
fn sector() -> [u8; 512] {
    let mut sector = [0_u8; 512];
    // mov dx, 0x3f8
    let mut code = vec![0xba, 0xf8, 0x03];
    for letter in WORDS.bytes() {
        // mov al, LETTER; out dx, al
        code.extend([0xb0, letter, 0xee]);
    }
    // hlt; jmp to the hlt
    code.extend([0xf4, 0xeb, 0xfd]);
    for (to, from) in sector.iter_mut().zip(code) {
        *to = from;
    }
    // What makes a sector bootable.
    sector[510] = 0x55;
    sector[511] = 0xaa;
    sector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_of_one_sector_runs_where_guests_run() {
        if crate::available().is_err() {
            eprintln!("SKIPPED, not tested on this machine: QEMU is not installed");
            return;
        }
        assert!(guest_runs(Accel::Tcg), "the translator works everywhere");
        let began = Instant::now();
        let best = Accel::best();
        assert!(began.elapsed() < PROBE_WAIT * 3, "bounded, whatever /dev/kvm is");
        assert_eq!(Accel::best(), best);
        assert_eq!(remembered(), remembered());
    }
}
