//! A machine as a value, and its start.

use std::path::{Path, PathBuf};

use core::time::Duration;

use serde_json::Value;

use crate::accel::Accel;
use crate::boot::{Boot, Kernel, Uefi};
use crate::clock::Clock;
use crate::console::Echo;
use crate::disk::{Disk, Format};
use crate::error::Error;
use crate::folder::Folder;
use crate::nic::Nic;
use crate::process::{Process, find};
use crate::running::Running;
use crate::tpm::Tpm;
use crate::wiring::{Parts, Wiring};

/// The program of a machine.
pub(crate) const PROGRAM: &str = "qemu-system-x86_64";
/// No machine of a test lives longer, unless it says so.
const LIFETIME: Duration = Duration::from_secs(300);

/// A translated machine on a busy host gets its first ticks too late for a kernel that then takes its timer for broken and
/// panics: it is not to look.
pub const PATIENT: &str = "no_timer_check";

/// What resets a machine whose guest hangs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watchdog {
    /// Nothing but what the chip set has, which only counts.
    #[default]
    Absent,
    /// Intel 6300ESB on PCI.
    I6300esb,
    /// The chip set's own, `iTCO_wdt`.
    ChipSet,
}

/// A machine that is not started: a value to be put together.
#[derive(Debug)]
pub struct Machine {
    boot: Boot,
    memory_mib: u32,
    processors: u32,
    disks: Vec<Disk>,
    nics: Vec<Nic>,
    tpm: Option<Tpm>,
    watchdog: Watchdog,
    clock: Clock,
    screen: bool,
    reboots: bool,
    spare_ports: u32,
    lifetime: Duration,
    accel: Option<Accel>,
    echo: Echo,
    board_words: Vec<String>,
}

impl Machine {
    /// A machine that starts this way: 512 MiB, two processors, a screen, and nothing plugged in.
    pub fn new(boot: Boot) -> Self {
        Self {
            boot,
            memory_mib: 512,
            processors: 2,
            disks: Vec::new(),
            nics: Vec::new(),
            tpm: None,
            watchdog: Watchdog::Absent,
            clock: Clock::Right,
            screen: true,
            reboots: false,
            spare_ports: 2,
            lifetime: LIFETIME,
            accel: None,
            echo: Echo::from_environment(),
            board_words: Vec::new(),
        }
    }

    /// A machine that starts a kernel with its first file system.
    pub fn kernel(kernel: &Path, initrd: &Path, command_line: &str) -> Self {
        Self::new(Boot::Kernel(Kernel {
            kernel: kernel.to_owned(),
            initrd: Some(initrd.to_owned()),
            command_line: format!("{PATIENT} {command_line}"),
        }))
    }

    /// A machine with UEFI that forgets its variables and wants no signatures.
    pub fn uefi() -> Self {
        Self::new(Boot::Uefi(Uefi::default()))
    }

    /// A machine with BIOS.
    pub fn bios() -> Self {
        Self::new(Boot::Bios)
    }

    /// With so much memory.
    #[must_use]
    pub fn memory_mib(self, memory_mib: u32) -> Self {
        Self { memory_mib, ..self }
    }

    /// With so many processors.
    #[must_use]
    pub fn processors(self, processors: u32) -> Self {
        Self { processors, ..self }
    }

    /// With one more disk. Disks are `disk0`, `disk1` and so on.
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disks.push(disk);
        self
    }

    /// With one more network card. Cards are `nic0`, `nic1` and so on.
    #[must_use]
    pub fn nic(mut self, nic: Nic) -> Self {
        self.nics.push(nic);
        self
    }

    /// With a TPM.
    #[must_use]
    pub fn tpm(self, tpm: Tpm) -> Self {
        Self { tpm: Some(tpm), ..self }
    }

    /// With a watchdog.
    #[must_use]
    pub fn watchdog(self, watchdog: Watchdog) -> Self {
        Self { watchdog, ..self }
    }

    /// With another clock.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Without a screen, as many servers are.
    #[must_use]
    pub fn headless(self) -> Self {
        Self { screen: false, ..self }
    }

    /// Starts again when its guest reboots; without this the machine ends there.
    #[must_use]
    pub fn reboots(self) -> Self {
        Self { reboots: true, ..self }
    }

    /// With so many ports for devices that are plugged in while it runs.
    #[must_use]
    pub fn spare_ports(self, spare_ports: u32) -> Self {
        Self { spare_ports, ..self }
    }

    /// Ended at the latest after this long, whatever its owner waits for.
    #[must_use]
    pub fn lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// On this, instead of what works best here.
    #[must_use]
    pub fn accel(self, accel: Accel) -> Self {
        Self { accel: Some(accel), ..self }
    }

    /// What it prints on its serial line is shown here too.
    #[must_use]
    pub fn echo(self, echo: Echo) -> Self {
        Self { echo, ..self }
    }

    /// With words of the board's maker in its tables (SMBIOS type 11), where guests look for what was set for them.
    #[must_use]
    pub fn board_words(mut self, words: impl Into<String>) -> Self {
        self.board_words.push(words.into());
        self
    }

    /// Starts it.
    pub fn start(self) -> Result<Running, Error> {
        let folder = Folder::new()?;
        let accel = self.accel.unwrap_or_else(Accel::best);
        let mut wiring = Wiring::default();
        let mut arguments = self.board(accel);
        if let Some(tpm) = &self.tpm {
            let (process, socket) = tpm.start(&folder)?;
            arguments.extend(tpm_arguments(&socket));
            arguments.extend(self.firmware(&folder)?);
            arguments.extend(self.devices(&folder, &mut wiring)?);
            return Running::start(folder, &arguments, wiring, self.rest(accel, Some(process)));
        }
        arguments.extend(self.firmware(&folder)?);
        arguments.extend(self.devices(&folder, &mut wiring)?);
        Running::start(folder, &arguments, wiring, self.rest(accel, None))
    }

    fn rest(self, accel: Accel, tpm: Option<Process>) -> Rest {
        Rest { nics: self.nics, lifetime: self.lifetime, echo: self.echo, accel, tpm }
    }

    /// The board, its processors, memory and clock.
    fn board(&self, accel: Accel) -> Vec<String> {
        let guarded = matches!(&self.boot, Boot::Uefi(uefi) if uefi.guarded());
        let mut line = Line::default();
        line.two("-machine", if guarded { "q35,smm=on" } else { "q35" });
        for argument in accel.arguments() {
            line.one(*argument);
        }
        line.two("-smp", self.processors.to_string());
        line.two("-m", self.memory_mib.to_string());
        line.one("-nodefaults").two("-display", "none");
        line.two("-rtc", format!("base={}", self.clock.base()));
        if guarded {
            line.two("-global", "driver=cfi.pflash01,property=secure,value=on");
            line.two("-global", "ICH9-LPC.disable_s3=1");
        }
        if !self.reboots {
            line.one("-no-reboot");
        }
        if self.screen {
            line.two("-device", "VGA");
        }
        match self.watchdog {
            Watchdog::Absent => (),
            Watchdog::I6300esb => drop(line.two("-device", "i6300esb")),
            Watchdog::ChipSet => drop(line.two("-global", "ICH9-LPC.noreboot=false")),
        }
        for words in &self.board_words {
            line.two("-smbios", format!("type=11,value={}", words.replace(',', ",,")));
        }
        line.two("-action", "watchdog=reset");
        line.0
    }

    fn firmware(&self, folder: &Folder) -> Result<Vec<String>, Error> {
        let mut line = Line::default();
        match &self.boot {
            Boot::Kernel(kernel) => {
                line.two("-kernel", kernel.kernel.display().to_string());
                if let Some(initrd) = &kernel.initrd {
                    line.two("-initrd", initrd.display().to_string());
                }
                line.two("-append", kernel.command_line.clone());
            }
            // QEMU's own firmware where it is told of none.
            Boot::Bios => (),
            Boot::Uefi(uefi) => {
                let (code, variables) = uefi.files(folder)?;
                line.two("-drive", flash(0, &code, true)?);
                line.two("-drive", flash(1, &variables, false)?);
            }
        }
        Ok(line.0)
    }

    fn devices(&self, folder: &Folder, wiring: &mut Wiring) -> Result<Vec<String>, Error> {
        let mut line = Line::default();
        for port in wiring.spare_ports(self.spare_ports) {
            line.two("-device", port.to_string());
        }
        for disk in &self.disks {
            let overlay = overlay(disk, folder, &wiring.next_disk())?;
            let parts = wiring.disk(disk, overlay.as_deref())?;
            line.parts(&parts);
        }
        for nic in &self.nics {
            line.parts(&wiring.nic(nic)?);
        }
        Ok(line.0)
    }
}

/// What of a machine's description is needed after its start.
#[derive(Debug)]
pub(crate) struct Rest {
    /// Kept, for the ports that their cables are in.
    pub(crate) nics: Vec<Nic>,
    pub(crate) lifetime: Duration,
    pub(crate) echo: Echo,
    pub(crate) accel: Accel,
    pub(crate) tpm: Option<Process>,
}

/// A file for what is written to a snapshot.
pub(crate) fn overlay(disk: &Disk, folder: &Folder, id: &str) -> Result<Option<PathBuf>, Error> {
    if !disk.snapshot {
        return Ok(None);
    }
    let path = folder.file(&format!("{id}.qcow2"));
    let base = std::path::absolute(&disk.path)
        .map_err(|error| Error::file("finding", &disk.path, error))?;
    let format = match disk.format {
        Format::Raw => "raw",
        Format::Qcow2 => "qcow2",
    };
    let arguments = [
        "create".to_owned(),
        "-q".to_owned(),
        "-f".to_owned(),
        "qcow2".to_owned(),
        "-F".to_owned(),
        format.to_owned(),
        "-b".to_owned(),
        base.display().to_string(),
        path.display().to_string(),
    ];
    let process = Process::start("qemu-img", &arguments, folder.file("qemu-img.log"))?;
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    match process.wait(deadline) {
        Some(status) if status.success() => Ok(Some(path)),
        _ => Err(process.failure(&format!("an overlay on {}", disk.path.display()))),
    }
}

/// A flash chip with the firmware or its variables.
fn flash(unit: u32, file: &Path, fixed: bool) -> Result<String, Error> {
    let path = file.display().to_string();
    if path.contains(',') {
        return Err(Error::Misuse(format!("a comma in the firmware's path {path}")));
    }
    let fixed = if fixed { ",readonly=on" } else { "" };
    Ok(format!("if=pflash,format=raw,unit={unit}{fixed},file={path}"))
}

fn tpm_arguments(socket: &Path) -> Vec<String> {
    let mut line = Line::default();
    line.two("-chardev", format!("socket,id=tpm-socket,path={}", socket.display()));
    line.two("-tpmdev", "emulator,id=tpm0,chardev=tpm-socket");
    line.two("-device", "tpm-crb,tpmdev=tpm0");
    line.0
}

/// QEMU's command line as it grows.
#[derive(Debug, Default)]
struct Line(Vec<String>);

impl Line {
    fn one(&mut self, word: impl Into<String>) -> &mut Self {
        self.0.push(word.into());
        self
    }

    fn two(&mut self, option: &str, value: impl Into<String>) -> &mut Self {
        self.one(option).one(value)
    }

    fn parts(&mut self, parts: &Parts) {
        let mut all = |option: &str, values: &[Value]| {
            for value in values {
                self.two(option, value.to_string());
            }
        };
        all("-object", &parts.objects);
        all("-blockdev", &parts.nodes);
        all("-netdev", &parts.backends);
        all("-device", &parts.devices);
    }
}

/// Whether this machine can run machines at all: `Error::Missing` says what to install.
pub fn available() -> Result<(), Error> {
    match find(PROGRAM) {
        Some(_) => Ok(()),
        None => Err(Error::Missing(format!(
            "{PROGRAM} is not installed: apt-get install qemu-system-x86 qemu-utils ovmf swtpm"
        ))),
    }
}
