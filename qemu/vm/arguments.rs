//! What a person asks for.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use qemu::{Boot, Bus, Disk, Error, Gateway, Kernel, Machine, Nic, SecureBoot, Tpm, Uefi};

/// Boots the appliance in a virtual machine on this terminal: as it is built now, where nothing else is named. Ctrl-] ends
/// it, as a power cut does.
#[derive(Debug, Parser)]
#[command(name = "vm")]
pub(crate) struct CommandLine {
    /// Start this kernel, without firmware: the quickest way
    #[arg(long, value_name = "FILE", requires = "initrd", conflicts_with = "image")]
    kernel: Option<PathBuf>,
    /// The kernel's first file system
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,
    /// What the kernel is told besides, as lifeboat.role=recover; the console is on the serial line in any case
    #[arg(long, value_name = "WORDS", default_value = "", conflicts_with = "image")]
    append: String,
    /// Start from this disk image by UEFI; what is written to it is forgotten, unless --keep is given
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// The bus that the image is on
    #[arg(long, value_name = "BUS", default_value = "usb", requires = "image")]
    image_bus: BusName,
    /// The image is a CD: its ISO
    #[arg(long, requires = "image")]
    cd: bool,
    /// Keep what is written to the image
    #[arg(long, requires = "image")]
    keep: bool,
    /// UEFI wants signatures, and has Microsoft's keys
    #[arg(long, requires = "image")]
    secure_boot: bool,
    /// A disk to protect or to recover to: a raw image, or FILE,BUS; may be given more than once
    #[arg(long, value_name = "FILE[,BUS]", value_parser = disk)]
    disk: Vec<Disk>,
    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    memory: u32,
    /// Processors
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    processors: u32,
    /// A TPM; with a folder it keeps its secrets from one start to the next
    #[arg(long, value_name = "FOLDER", num_args = 0..=1)]
    tpm: Option<Option<PathBuf>>,
    /// A port of this machine's loopback that leads to a port of the guest: 8443:443
    #[arg(long, value_name = "HERE:THERE", value_parser = forward)]
    forward: Vec<(u16, u16)>,
    /// No network card
    #[arg(long)]
    no_network: bool,
    /// Start again when the guest reboots, instead of ending
    #[arg(long)]
    reboots: bool,
}

/// A bus as a person types it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BusName {
    Virtio,
    Scsi,
    Nvme,
    Sata,
    Usb,
    Uas,
    Megaraid,
    Vmware,
}

impl BusName {
    fn bus(self) -> Bus {
        match self {
            Self::Virtio => Bus::VirtioBlk,
            Self::Scsi => Bus::VirtioScsi,
            Self::Nvme => Bus::Nvme,
            Self::Sata => Bus::Ahci,
            Self::Usb => Bus::UsbStorage,
            Self::Uas => Bus::UsbAttachedScsi,
            Self::Megaraid => Bus::MegaRaid,
            Self::Vmware => Bus::VmwareScsi,
        }
    }
}

fn disk(text: &str) -> Result<Disk, String> {
    let (file, bus) = match text.rsplit_once(',') {
        Some((file, bus)) => (file, BusName::from_str(bus, true)?),
        None => (text, BusName::Virtio),
    };
    Ok(Disk::new(file).on(bus.bus()))
}

fn forward(text: &str) -> Result<(u16, u16), String> {
    let (here, there) = text.split_once(':').ok_or("two ports with a colon between: 8443:443")?;
    let port = |text: &str| text.parse::<u16>().map_err(|error| format!("{text}: {error}"));
    Ok((port(here)?, port(there)?))
}

impl CommandLine {
    /// The machine asked for; `build` makes the appliance where nothing to start is named.
    pub(crate) fn machine(
        &self,
        build: impl FnOnce(&str) -> Result<Kernel, Error>,
    ) -> Result<Machine, Error> {
        let mut machine = match (&self.kernel, &self.image) {
            (Some(kernel), _) => Machine::new(Boot::Kernel(Kernel {
                kernel: kernel.clone(),
                initrd: self.initrd.clone(),
                command_line: format!("console=ttyS0 {}", self.append),
            })),
            (None, Some(image)) => {
                let disk = if self.cd { Disk::cd(image) } else { Disk::new(image) }.boot_order(0);
                let disk = disk.on(self.image_bus.bus());
                let disk = if self.keep || self.cd { disk } else { disk.snapshot() };
                let secure_boot = match self.secure_boot {
                    true => SecureBoot::Microsoft,
                    false => SecureBoot::Absent,
                };
                Machine::new(Boot::Uefi(Uefi { secure_boot, variables: None })).disk(disk)
            }
            (None, None) => Machine::new(Boot::Kernel(build(&self.append)?)),
        };
        machine = machine.memory_mib(self.memory).processors(self.processors);
        for disk in &self.disk {
            machine = machine.disk(disk.clone());
        }
        if let Some(state) = &self.tpm {
            machine = machine.tpm(Tpm { state: state.clone() });
        }
        if !self.no_network {
            let gateway =
                Gateway { forwards: self.forward.clone(), closed: false, ..Gateway::default() };
            machine = machine.nic(Nic::new().gateway(gateway));
        }
        Ok(if self.reboots { machine.reboots() } else { machine })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from([&["vm"], words].concat())
    }

    #[test]
    fn what_a_person_types_is_taken_or_refused_with_a_reason() {
        for good in [
            &["--kernel", "k", "--initrd", "i", "--append", "lifeboat.role=recover"][..],
            &["--image", "d.img", "--image-bus", "nvme", "--tpm", "--keep"],
            &["--image", "d.iso", "--cd", "--image-bus", "sata", "--secure-boot"],
            &["--image", "d", "--disk", "a.img,scsi", "--disk", "b.img", "--forward", "8443:443"],
        ] {
            let line = parse(good).unwrap();
            line.machine(|_| panic!("there is nothing to build")).unwrap();
        }
        for bad in [
            &["--kernel", "k"][..],
            &["--kernel", "k", "--initrd", "i", "--image", "d"],
            &["--image", "d", "--disk", "a,floppy"],
            &["--image", "d", "--forward", "8443"],
            &["--image", "d", "--forward", "0:99999"],
            &["--cd"],
            &["--image", "d", "--append", "x"],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        let role = ["--append", "lifeboat.role=recover"];
        let refuse = |words: &str| Err(Error::Missing(words.to_owned()));
        let built = parse(&role).unwrap().machine(refuse).unwrap_err().to_string();
        assert_eq!(built, "lifeboat.role=recover");
        assert_eq!(disk("a,b.img,usb").unwrap(), Disk::new("a,b.img").on(Bus::UsbStorage));
    }
}
