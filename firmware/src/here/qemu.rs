//! QEMU's own words: where it and its firmware are, and the command line of a machine that reaches nothing.

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use pipeline_azure::arm::disk::Generation;
use pipeline_vault::Error;

/// The program.
const PROGRAM: &str = "qemu-system-x86_64";
/// Firmware by UEFI and its variables, as distributions have them: Debian and Ubuntu, Fedora, Arch, openSUSE.
const FIRMWARE: &[(&str, &str)] = &[
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"),
];

/// What a machine is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tools {
    /// QEMU.
    pub(crate) program: PathBuf,
    /// Code and variables of UEFI; none for a machine that starts by BIOS, which QEMU brings.
    pub(crate) firmware: Option<(PathBuf, PathBuf)>,
}

impl Tools {
    /// Those of this machine.
    ///
    /// Errors: what is missing, and which package brings it.
    pub(crate) fn find(path: Option<&OsStr>, generation: Generation) -> Result<Self, Error> {
        let folders = path.map(std::env::split_paths).into_iter().flatten();
        let mut programs = folders.map(|folder| folder.join(PROGRAM));
        let program = programs.find(|program| program.is_file()).ok_or_else(|| {
            Error::misuse(PROGRAM, "is not on this machine, in no folder of PATH").remedy(
                "install it (Debian, Ubuntu: qemu-system-x86 and ovmf; Fedora: qemu-system-x86-core and edk2-ovmf), or drill in Azure",
            )
        })?;
        let firmware = match generation {
            Generation::V1 => None,
            Generation::V2 => Some(firmware(FIRMWARE)?),
        };
        Ok(Self { program, firmware })
    }
}

fn firmware(known: &[(&str, &str)]) -> Result<(PathBuf, PathBuf), Error> {
    let is_there = |(code, variables): &&(&str, &str)| {
        Path::new(code).is_file() && Path::new(variables).is_file()
    };
    let found = known.iter().find(is_there).ok_or_else(|| {
        Error::misuse("firmware", "for a server that starts by UEFI is not on this machine")
            .remedy("install it (Debian, Ubuntu: ovmf; Fedora: edk2-ovmf)")
    })?;
    Ok((PathBuf::from(found.0), PathBuf::from(found.1)))
}

/// Open files that the machine is handed, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Handed {
    /// Its machine protocol.
    pub(crate) qmp: RawFd,
    /// What its screen is written into.
    pub(crate) screen: RawFd,
    /// The firmware's variables.
    pub(crate) variables: Option<RawFd>,
    /// One socket for each disk.
    pub(crate) disks: Vec<RawFd>,
}

/// What the machine is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) memory_mib: u32,
    pub(crate) cpus: u32,
    pub(crate) accelerated: bool,
    /// The disk that it starts from.
    pub(crate) starts_from: usize,
}

/// The command line.
pub(crate) fn line(tools: &Tools, shape: &Shape, handed: &Handed) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    let mut two = |name: &str, value: String| words.extend([name.into(), value.into()]);
    let pflash = tools.firmware.as_ref().zip(handed.variables);
    let flash = if pflash.is_some() { ",pflash0=code,pflash1=variables" } else { "" };
    two("-name", "lifeboat-drill".to_owned());
    two("-machine", format!("q35{flash}"));
    two("-accel", if shape.accelerated { "kvm" } else { "tcg,thread=multi" }.to_owned());
    two("-cpu", "max".to_owned());
    two("-smp", shape.cpus.to_string());
    two("-m", shape.memory_mib.to_string());
    // Nothing but what is named here: no monitor, no network that was not asked for.
    two("-display", "none".to_owned());
    two("-vga", "std".to_owned());
    two("-chardev", "stdio,id=console,signal=off".to_owned());
    two("-serial", "chardev:console".to_owned());
    two("-chardev", format!("socket,id=qmp,fd={}", handed.qmp));
    two("-mon", "chardev=qmp,mode=control".to_owned());
    two("-add-fd", format!("fd={},set=1", handed.screen));
    if let Some(((code, _), variables)) = pflash {
        let code = code.display();
        two("-blockdev", format!("driver=file,node-name=code,filename={code},read-only=on"));
        two("-add-fd", format!("fd={variables},set=2"));
        two(
            "-blockdev",
            "driver=file,node-name=variables,filename=/dev/fdset/2,locking=off".to_owned(),
        );
    }
    for (place, socket) in handed.disks.iter().enumerate() {
        two(
            "-blockdev",
            format!(
                "driver=nbd,node-name=disk{place},server.type=fd,server.str={socket},discard=unmap"
            ),
        );
        let first = if place == shape.starts_from { ",bootindex=1" } else { "" };
        two("-device", format!("virtio-blk-pci,drive=disk{place},serial=lun{place}{first}"));
    }
    // A card and an address, so that nothing waits for them, and nothing behind it: neither this machine nor any other.
    two("-netdev", "user,id=nothing,restrict=on".to_owned());
    two("-device", "virtio-net-pci,netdev=nothing".to_owned());
    two("-device", "virtio-rng-pci".to_owned());
    words.extend(["-nodefaults".into(), "-no-user-config".into()]);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_package_that_brings_it() {
        let told = Tools::find(Some(OsStr::new("/nowhere")), Generation::V1).unwrap_err();
        assert!(told.to_string().contains("qemu-system-x86 and ovmf"), "{told}");
        assert!(Tools::find(None, Generation::V1).is_err());
        let told = firmware(&[("/nowhere/a", "/nowhere/b")]).unwrap_err().to_string();
        assert!(told.contains("edk2-ovmf"), "{told}");
    }

    #[test]
    fn a_machine_has_its_disks_a_console_and_a_card_that_leads_nowhere() {
        let tools = Tools { program: PathBuf::from("/q"), firmware: None };
        let shape = Shape { memory_mib: 512, cpus: 2, accelerated: false, starts_from: 1 };
        let handed = Handed { qmp: 5, screen: 6, variables: None, disks: vec![7, 8] };
        let words = line(&tools, &shape, &handed).join(OsStr::new(" "));
        let words = words.to_str().unwrap();
        for part in [
            "-netdev user,id=nothing,restrict=on",
            "node-name=disk0,server.type=fd,server.str=7",
            "virtio-blk-pci,drive=disk1,serial=lun1,bootindex=1",
            "-nodefaults -no-user-config",
        ] {
            assert!(words.contains(part), "{part}: {words}");
        }
        assert_eq!(words.matches("-netdev").count(), 1, "one card: {words}");
        assert!(!words.contains("pflash") && !words.contains("hostfwd"), "{words}");
    }
}
