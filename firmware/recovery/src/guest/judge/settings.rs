//! Settings of a Linux that hold it to the machine it ran on: file systems, network, LVM, programs of others.

use std::collections::BTreeSet;
use std::io;

use super::Report;
use crate::guest::boot;
use crate::guest::network;
use crate::guest::platform::Platform;
use crate::guest::readiness::{Generation, Remedy, Severity, What};
use crate::guest::repair::REPLICA;
use crate::guest::survey::{ESP, Survey};
use crate::guest::tree::{Tree, join};
use crate::guest::volumes::content::Content;

/// Rules by which an interface has the name that its card had.
pub(in crate::guest) const NET_RULES: [&str; 4] = [
    "etc/udev/rules.d/70-persistent-net.rules",
    "etc/udev/rules.d/75-persistent-net-generator.rules",
    "lib/udev/rules.d/75-persistent-net-generator.rules",
    "usr/lib/udev/rules.d/75-persistent-net-generator.rules",
];
/// Where LVM of Red Hat keeps which disks it may look at.
pub(in crate::guest) const LVM_DEVICES: &str = "etc/lvm/devices/system.devices";
const LVM_SETTINGS: &str = "etc/lvm/lvm.conf";
/// Programs of platforms and makers of hardware: path, name.
const FOREIGN: [(&str, &str); 8] = [
    ("usr/local/ASR", "the Mobility service of Azure Site Recovery"),
    ("usr/sbin/waagent", "the agent of Azure"),
    ("usr/bin/vmtoolsd", "the tools of VMware"),
    ("usr/sbin/xe-daemon", "the tools of Xen"),
    ("opt/dell/srvadmin", "OpenManage of Dell"),
    ("opt/hp", "programs of HP"),
    ("opt/hpe", "programs of HPE"),
    ("usr/bin/amazon-ssm-agent", "the agent of Amazon"),
];

/// What the system calls itself.
pub(super) fn system_name(survey: &Survey) -> io::Result<String> {
    let tree: &dyn Tree = survey;
    for path in ["etc/os-release", "usr/lib/os-release"] {
        let text = tree.text(path)?.unwrap_or_default();
        let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        if let Some(name) = name {
            return Ok(name
                .trim_matches(['"', '\''])
                .chars()
                .filter(|letter| !letter.is_control())
                .collect());
        }
    }
    Ok("a Linux that does not say its name".to_owned())
}

/// Everything about settings.
pub(super) fn judge(
    survey: &Survey,
    platform: &Platform,
    generation: Option<Generation>,
    report: &mut Report,
) -> io::Result<()> {
    file_systems(survey, report);
    if let Some(words) = hidden_mark(survey) {
        report.add(What::Lineage, REPLICA, Severity::Blocks, Remedy::None, words);
    }
    rules(survey, report)?;
    blocked(survey, platform, report)?;
    addresses(survey, report)?;
    lvm(survey, report)?;
    if generation == Some(Generation::Two) {
        firmware(survey, report)?;
    }
    for (path, name) in FOREIGN {
        if (survey as &dyn Tree).kind(path)?.is_some() {
            let words = format!("it has {name} (/{path}), which is left as it is");
            report.add(What::ForeignAgent, path, Severity::Note, Remedy::None, words);
        }
    }
    Ok(())
}

/// Why the mark that silences a copy's agent cannot be put where the agent looks.
pub(in crate::guest) fn hidden_mark(survey: &Survey) -> Option<String> {
    let line = survey.hidden(REPLICA)?;
    Some(format!(
        "{} is mounted on {} and cannot be opened here, so the copy cannot be marked in it: its agent would speak in the server's name. \
         Protect the disk that it is on too, or have its file system in /etc/fstab by UUID",
        line.what, line.at
    ))
}

fn file_systems(survey: &Survey, report: &mut Report) {
    let volumes = &survey.volumes.volumes;
    for line in survey.fstab.iter().filter(|line| line.is_by_device()) {
        let place = survey.resolve(&line.what);
        let known = place.is_some_and(|place| volumes[place].uuid().is_some());
        // Without this one starting ends in an emergency shell, unless it may be missing.
        let optional = line.options.split(',').any(|option| matches!(option, "nofail" | "noauto"));
        let severity = match (line.at.as_str(), optional) {
            ("none" | "swap", _) | (_, true) => Severity::Hinders,
            _ => Severity::Blocks,
        };
        let (repair, then) = if known {
            (Remedy::Offline, "it becomes the file system's UUID".to_owned())
        } else {
            let command = format!("blkid -o value -s UUID {}", line.what);
            (Remedy::OnSource(command), "which volume that is cannot be told from here".to_owned())
        };
        let words = format!(
            "/etc/fstab mounts {} on {}, another name on another machine: {then}",
            line.what, line.at
        );
        report.add(What::Fstab, &line.what, severity, repair, words);
    }
    let missing = survey.fstab.iter().filter(|line| {
        let is_needed = line.at.starts_with('/') && !line.is_optional();
        is_needed && line.is_by_tag() && survey.resolve(&line.what).is_none()
    });
    for line in missing {
        // What is encrypted or cannot be mapped here may have it, so nothing is changed.
        let words = format!(
            "/etc/fstab mounts {} on {}, which nothing that can be opened of this point is: without that disk the copy \
            stops in an emergency shell. Protect it too, or let the server start without it (nofail)",
            line.what, line.at
        );
        report.add(What::Fstab, &line.what, Severity::Hinders, Remedy::None, words);
    }
    for volume in volumes {
        if matches!(volume.content, Content::Swap { .. }) {
            let words = format!(
                "{} is swap space: in Azure it costs the disk's throughput; the temporary disk is made for it",
                volume.name
            );
            report.add(What::Swap, &volume.name, Severity::Note, Remedy::None, words);
        }
    }
}

fn rules(survey: &Survey, report: &mut Report) -> io::Result<()> {
    for path in NET_RULES {
        if (survey as &dyn Tree).has(path)? {
            let words = format!(
                "/{path} ties names of network interfaces to cards that stay behind: it is put aside"
            );
            report.add(What::NetworkRules, path, Severity::Hinders, Remedy::Offline, words);
        }
    }
    Ok(())
}

/// Lines by which a module is never loaded: their file and the module.
pub(in crate::guest) fn blocking_lines(
    survey: &Survey,
    names: &[&str],
) -> io::Result<Vec<(String, String)>> {
    let tree: &dyn Tree = survey;
    let mut found = Vec::new();
    for folder in ["etc/modprobe.d", "usr/lib/modprobe.d"] {
        for path in tree.files(folder)? {
            let text = tree.text(&path)?.unwrap_or_default();
            for line in text.lines() {
                if let Some(name) =
                    blocked_module(line).filter(|name| names.contains(&name.as_str()))
                {
                    found.push((path.clone(), name));
                }
            }
        }
    }
    Ok(found)
}

/// The module that a line of modprobe's settings keeps away.
pub(in crate::guest) fn blocked_module(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let is_blocking = match words.next()? {
        "blacklist" => true,
        "install" => line.contains("/bin/true") || line.contains("/bin/false"),
        _ => false,
    };
    let name = words.next()?.replace('-', "_");
    is_blocking.then_some(name)
}

fn blocked(survey: &Survey, platform: &Platform, report: &mut Report) -> io::Result<()> {
    let names: Vec<&str> = platform.drivers.iter().map(|driver| driver.name.as_str()).collect();
    for (path, name) in blocking_lines(survey, &names)? {
        let words = format!(
            "/{path} forbids {name}, which {} needs: the line is taken back",
            platform.name
        );
        report.add(What::BlockedDriver, &path, Severity::Blocks, Remedy::Offline, words);
    }
    Ok(())
}

fn addresses(survey: &Survey, report: &mut Report) -> io::Result<()> {
    let found = network::find(survey)?;
    if found.is_empty() {
        let words = "nothing was found that sets up its network: if something does, it must take what the first interface is given";
        report.add(What::Network, "", Severity::Note, Remedy::None, words);
    }
    for program in found {
        let name = program.name();
        if program.fixed.is_empty() {
            let words =
                format!("{name} sets up its network: the first interface is made to ask by DHCP");
            report.add(What::Network, name, Severity::Note, Remedy::Offline, words);
            continue;
        }
        let files =
            program.fixed.iter().map(|file| format!("/{file}")).collect::<Vec<_>>().join(", ");
        let words = format!(
            "{name} has fixed addresses or cards in {files}: the first interface is set up as ordered, by DHCP if nothing is"
        );
        report.add(What::Network, name, Severity::Hinders, Remedy::Offline, words);
    }
    Ok(())
}

fn lvm(survey: &Survey, report: &mut Report) -> io::Result<()> {
    let tree: &dyn Tree = survey;
    let has_volumes =
        survey.volumes.volumes.iter().any(|volume| volume.content == Content::Physical);
    if !has_volumes {
        return Ok(());
    }
    let text = tree.text(LVM_SETTINGS)?.unwrap_or_default();
    if !lvm_filters(&text).is_empty() {
        let words = format!(
            "/{LVM_SETTINGS} has a filter, which may not let through the disks of another machine: it is taken back"
        );
        report.add(What::LvmFilter, LVM_SETTINGS, Severity::Blocks, Remedy::Offline, words);
    }
    if tree.has(LVM_DEVICES)? {
        let words = format!(
            "/{LVM_DEVICES} lists the disks that LVM may look at, by names of this machine: it is put aside"
        );
        report.add(What::LvmFilter, LVM_DEVICES, Severity::Hinders, Remedy::Offline, words);
    }
    Ok(())
}

/// The lines of filters that keep something away, by number. A list may go over many lines: it goes as a whole, as half
/// of one makes all of LVM's settings unreadable.
pub(in crate::guest) fn lvm_filters(text: &str) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut lines = text.lines().map(str::trim).enumerate();
    while let Some((first, line)) = lines.next() {
        let value = ["global_filter", "filter"]
            .iter()
            .find_map(|name| line.strip_prefix(name)?.trim_start().strip_prefix('='));
        let Some(mut value) = value else { continue };
        let (mut last, mut rejects) = (first, false);
        loop {
            rejects |= value.contains("\"r") || value.contains("'r");
            let is_list = value.contains('[') || last > first;
            if !is_list || ends_list(value) {
                break;
            }
            let Some((number, line)) = lines.next() else { break };
            (last, value) = (number, line);
        }
        if rejects {
            found.extend(first..=last);
        }
    }
    found
}

/// Whether a list is closed in a line: brackets in its words are of patterns, and remarks say nothing.
fn ends_list(line: &str) -> bool {
    let mut quote = None;
    for letter in line.chars() {
        match (quote, letter) {
            (None, '#') => return false,
            (None, ']') => return true,
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            _ => (),
        }
    }
    false
}

/// What a UEFI firmware that does not know the server finds.
pub(super) fn firmware(survey: &Survey, report: &mut Report) -> io::Result<()> {
    let tree: &dyn Tree = survey;
    if !tree.has(&join(ESP, boot::FALLBACK))? {
        let sources = boot::fallback_sources(survey)?;
        let (repair, then) = match sources.first() {
            Some((from, _)) => (Remedy::Offline, format!("/{from} is copied there")),
            None => (
                Remedy::OnSource("grub-install --removable --no-nvram".to_owned()),
                "and no loader that could be was found".to_owned(),
            ),
        };
        let words = format!(
            "nothing is at {}, where a firmware looks that does not know the server: {then}",
            boot::FALLBACK
        );
        report.add(What::FallbackLoader, boot::FALLBACK, Severity::Blocks, repair, words);
    }
    let mut shim = false;
    for vendor in tree.list(&join(ESP, "EFI"))? {
        shim |= tree.has(&format!("{ESP}/EFI/{vendor}/shimx64.efi"))?;
    }
    let can = if shim {
        "it has a signed loader, so both may do"
    } else {
        "it has no signed loader: use security type Standard"
    };
    let words = format!(
        "whether Secure Boot was on is kept by the server's firmware and not on its disks; {can}"
    );
    report.add(What::SecureBoot, "", Severity::Note, Remedy::None, words);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_found_with_all_their_lines() {
        let text = "devices {\n\tfilter = [ \"r|/dev/cdrom|\", # ]\n\n\t\t\"a|/dev/[hs]d.*|\",\n\t\t\"r|.*|\" ]\n\
            \tglobal_filter=[ \"a|.*|\" ]\n# filter = [ \"r|.*|\" ]\nglobal_filter = \"r|.*|\"\nscan = 1\n}\n";
        assert_eq!(lvm_filters(text), BTreeSet::from([1, 2, 3, 4, 7]));
        assert!(lvm_filters("filter = [\n\"a|.*|\"\n]\n").is_empty());
        // One that is never closed ends with the text.
        assert_eq!(lvm_filters("filter = [ \"r|.*|\",\nx\n"), BTreeSet::from([0, 1]));
    }
}
