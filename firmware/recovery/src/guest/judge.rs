//! Whether a server boots on a platform: what is found on its disks, told one by one.
//!
//! It only reads. What it cannot find out it says, and never takes for good.

use std::io;

use super::boot;
use super::network;
use super::platform::Platform;
use super::readiness::{Family, Finding, Generation, Readiness, Remedy, Severity, System, What};
use super::survey::Survey;
use super::volumes::content::Content;
use super::volumes::table::Role;
use super::volumes::{Scheme, Table};

/// Kernels, their initramfs files and command lines.
mod kernels;
/// Settings of a Linux.
pub(super) mod settings;
/// A Windows.
pub(super) mod windows;

pub(super) use kernels::in_initramfs;

const TIB: u64 = 1 << 40;

/// The findings as they come.
#[derive(Default)]
struct Report {
    findings: Vec<Finding>,
}

impl Report {
    fn add(
        &mut self,
        what: What,
        object: &str,
        severity: Severity,
        repair: Remedy,
        words: impl Into<String>,
    ) {
        let finding =
            Finding { what, object: object.to_owned(), severity, repair, words: words.into() };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}

/// Looks at a server's disks. Errors: a disk or file system that cannot be read, rather than one that is wrong.
pub fn judge(survey: &Survey, platform: &Platform) -> io::Result<Readiness> {
    let mut report = Report::default();
    for words in &survey.volumes.unmapped {
        report.add(What::Volume, "", Severity::Note, Remedy::None, words.clone());
    }
    for (name, words) in &survey.unopened {
        let words = format!("{name} cannot be looked into: {words}");
        report.add(What::Volume, name, Severity::Hinders, Remedy::None, words);
    }
    let os_disk = os_disk(survey);
    let generation = generation(survey, os_disk, platform, &mut report)?;
    let system = match (survey.root, survey.windows) {
        (Some(_), _) => {
            let kernels = kernels::judge(survey, platform, &mut report)?;
            settings::judge(survey, platform, generation, &mut report)?;
            let name = settings::system_name(survey)?;
            Some(System { family: Family::Linux, name, kernels })
        }
        (None, Some(_)) => Some(windows::judge(survey, platform, generation, &mut report)?),
        (None, None) => {
            nothing(survey, platform, &mut report)?;
            None
        }
    };
    let mut findings = report.findings;
    findings.sort_by_key(|finding| core::cmp::Reverse(finding.severity));
    let os_disk = os_disk.and_then(|disk| survey.disks.get(disk)).map(|(name, _)| name.clone());
    let addresses = if survey.root.is_some() { network::addresses(survey)? } else { Vec::new() };
    let platform = platform.name.clone();
    Ok(Readiness { platform, generation, os_disk, system, addresses, findings })
}

/// The disk that the firmware starts from: with the ESP, else with code for a BIOS, else with the root.
fn os_disk(survey: &Survey) -> Option<usize> {
    let tables = &survey.volumes.tables;
    let root = survey.root.or(survey.windows).map(|place| &survey.volumes.volumes[place]);
    let of_root = root.and_then(|volume| volume.partition.as_ref().map(|partition| partition.disk));
    let has = |test: &dyn Fn(&Table) -> bool| {
        // The root's own disk first: others may be left over from another installation.
        let preferred = of_root.filter(|disk| tables.get(*disk).is_some_and(test));
        preferred.or_else(|| tables.iter().position(test))
    };
    has(&|table| table.has(Role::Esp)).or_else(|| has(&|table| table.boot_code)).or(of_root)
}

fn generation(
    survey: &Survey,
    os_disk: Option<usize>,
    platform: &Platform,
    report: &mut Report,
) -> io::Result<Option<Generation>> {
    let Some(disk) = os_disk else {
        let words = "no disk of it can be started from: none has an EFI system partition or a boot loader for BIOS";
        report.add(What::Generation, "", Severity::Blocks, Remedy::None, words);
        return Ok(None);
    };
    let (name, bytes) = survey.disks[disk].clone();
    let table = &survey.volumes.tables[disk];
    let uefi = table.has(Role::Esp) && boot::has_efi_loader(survey)?;
    let bios = table.boot_code && (table.scheme != Scheme::Gpt || table.has(Role::BiosBoot));
    let chosen = match (uefi, bios) {
        (true, _) => Generation::Two,
        (false, true) => Generation::One,
        (false, false) => {
            let words = format!(
                "{name} has neither a boot loader for UEFI on an EFI system partition nor one for BIOS"
            );
            report.add(What::Generation, &name, Severity::Blocks, Remedy::None, words);
            return Ok(None);
        }
    };
    let both = if uefi && bios { "; it has a boot loader for BIOS too" } else { "" };
    let firmware = if uefi { "UEFI" } else { "BIOS" };
    let words = format!("{name} starts by {firmware}: generation {chosen}{both}");
    report.add(What::Generation, &name, Severity::Note, Remedy::None, words);
    if !platform.generations.contains(&chosen) {
        let words = format!("{} has no virtual machines of generation {chosen}", platform.name);
        report.add(What::Generation, &name, Severity::Blocks, Remedy::None, words);
    }
    let most = if uefi { 4 * TIB } else { 2 * TIB };
    if bytes > most {
        let words = format!(
            "{name} has {bytes} bytes, and an OS disk of generation {chosen} at most {most}: move the data to another disk"
        );
        report.add(What::DiskSize, &name, Severity::Blocks, Remedy::None, words);
    }
    if table.sector_bytes == 4096 {
        let words = format!(
            "{name} is cut in sectors of 4096 bytes, and OS disks of {} have 512",
            platform.name
        );
        report.add(What::DiskSize, &name, Severity::Blocks, Remedy::None, words);
    }
    Ok(Some(chosen))
}

/// Nothing to boot was found: why.
fn nothing(survey: &Survey, platform: &Platform, report: &mut Report) -> io::Result<()> {
    let volumes = &survey.volumes.volumes;
    let locked = volumes.iter().find_map(|volume| match &volume.content {
        Content::Encrypted(by) => Some((volume.name.clone(), *by)),
        _ => None,
    });
    let Some((name, by)) = locked else {
        let kinds: Vec<String> =
            volumes.iter().map(|volume| format!("{} ({})", volume.name, volume.content)).collect();
        let words = format!("no Linux and no Windows was found on: {}", kinds.join(", "));
        report.add(What::NoSystem, "", Severity::Blocks, Remedy::None, words);
        return Ok(());
    };
    // The boot loader and the kernels may lie in the clear beside it.
    kernels::judge(survey, platform, report)?;
    let drivers = platform.to_boot().join(" ");
    let (command, why) = if by == "BitLocker" {
        ("manage-bde -protectors -disable C: -RebootCount 0".to_owned(), "")
    } else {
        let command = format!("dracut --force --regenerate-all --add-drivers \"{drivers}\"");
        (command, "; its key is typed at every start, on the serial console")
    };
    let words = format!(
        "{name} is encrypted by {by}: what is on it can be neither judged nor repaired here{why}. On the server: {command}"
    );
    report.add(What::EncryptedRoot, &name, Severity::Blocks, Remedy::OnSource(command), words);
    Ok(())
}

impl Table {
    /// Whether it has a partition for this.
    fn has(&self, role: Role) -> bool {
        self.entries.iter().any(|entry| entry.role == role)
    }
}

impl Platform {
    /// The drivers that must be there before the root file system is.
    #[must_use]
    pub fn to_boot(&self) -> Vec<&str> {
        self.drivers
            .iter()
            .filter(|driver| driver.to_boot)
            .map(|driver| driver.name.as_str())
            .collect()
    }
}
