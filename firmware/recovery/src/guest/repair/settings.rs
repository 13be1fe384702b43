//! Settings of a Linux: file systems and root by UUID, network, console, LVM, the loader where every firmware looks,
//! and what the copy is.

use std::io;

use super::{Bench, LineageKind, REPLICA, Wish};
use crate::guest::boot::{self, command_line::Edit};
use crate::guest::judge::settings::{
    LVM_DEVICES, NET_RULES, blocked_module, blocking_lines, hidden_mark, lvm_filters,
};
use crate::guest::network::{self, Network, root_may};
use crate::guest::platform::Platform;
use crate::guest::readiness::{Readiness, What};
use crate::guest::survey::{Survey, fstab};

/// Longest boot loader that is copied.
const LOADER_BYTES_MAX: u64 = 64 << 20;

pub(super) fn repair(
    bench: &mut Bench<'_>,
    readiness: &Readiness,
    platform: &Platform,
    wish: &Wish,
) -> io::Result<()> {
    let survey = bench.survey;
    if readiness.is_to_repair(What::Fstab) {
        bench.edit(What::Fstab, "etc/fstab", &|text| {
            Some(fstab::with_devices(text, &|line| {
                if line.is_by_device() { by_uuid(survey, &line.what) } else { None }
            }))
        })?;
    }
    command_lines(bench, readiness, platform, wish)?;
    if readiness.is_to_repair(What::NetworkRules) {
        for path in NET_RULES {
            bench.put_aside(What::NetworkRules, path)?;
        }
    }
    blocked(bench, readiness, platform)?;
    lvm(bench, readiness)?;
    if readiness.is_to_repair(What::Network) && wish.network != Network::Keep {
        interfaces(bench, &wish.network)?;
    }
    fallback_loader(bench, readiness)?;
    lineage(bench, wish)
}

pub(super) fn fallback_loader(bench: &mut Bench<'_>, readiness: &Readiness) -> io::Result<()> {
    if !readiness.is_to_repair(What::FallbackLoader) {
        return Ok(());
    }
    for (from, to) in boot::fallback_sources(bench.survey)? {
        if let Some(bytes) = bench.tree.read(&from, LOADER_BYTES_MAX)? {
            bench.write(What::FallbackLoader, &to, &bytes, None)?;
        }
    }
    Ok(())
}

/// What a device is called whatever the machine.
fn by_uuid(survey: &Survey, device: &str) -> Option<String> {
    let uuid = survey.volumes.volumes[survey.resolve(device)?].uuid()?;
    Some(format!("UUID={uuid}"))
}

fn command_lines(
    bench: &mut Bench<'_>,
    readiness: &Readiness,
    platform: &Platform,
    wish: &Wish,
) -> io::Result<()> {
    let sets_network = readiness.is_to_repair(What::Network) && wish.network != Network::Keep;
    let no_resume = readiness.is_to_repair(What::Resume);
    let mut add = Vec::new();
    if sets_network {
        // Interfaces are counted then: the first is eth0 whatever its card and slot.
        add.push("net.ifnames=0".to_owned());
    }
    if no_resume {
        add.push("noresume".to_owned());
    }
    for file in boot::loader_files(bench.survey)? {
        let text = bench.tree.text(&file.path)?.unwrap_or_default();
        let lines = file.form.command_lines(&text);
        let words = lines.iter().flat_map(|line| line.split_whitespace());
        let devices = words
            .filter_map(|word| word.strip_prefix("root="))
            .filter(|root| fstab::is_by_device(root));
        let roots =
            devices.filter_map(|device| Some((device.to_owned(), by_uuid(bench.survey, device)?)));
        let edit = Edit {
            roots: roots.collect(),
            console: Some(platform.console.clone())
                .filter(|_| readiness.is_to_repair(What::Console)),
            no_resume,
            add: add.clone(),
        };
        let form = file.form;
        // In a block of fixed size there may be no room for all of it; what starting needs comes before a console.
        let least = Edit { roots: edit.roots.clone(), no_resume, ..Edit::default() };
        let fits = [&edit, &least]
            .into_iter()
            .find_map(|edit| form.changed(&text, &|line| edit.apply(line, form)));
        let Some(changed) = fits else {
            let words = format!(
                "/{} has no room for a longer command line: shorten kernelopts on the server, by grub2-editenv",
                file.path
            );
            return Err(io::Error::new(io::ErrorKind::StorageFull, words));
        };
        bench.edit(What::RootDevice, &file.path, &|_| Some(changed.clone()))?;
    }
    Ok(())
}

fn blocked(bench: &mut Bench<'_>, readiness: &Readiness, platform: &Platform) -> io::Result<()> {
    if !readiness.is_to_repair(What::BlockedDriver) {
        return Ok(());
    }
    let names: Vec<&str> = platform.drivers.iter().map(|driver| driver.name.as_str()).collect();
    for (path, _) in blocking_lines(bench.survey, &names)? {
        bench.edit(What::BlockedDriver, &path, &|text| {
            let is_blocking = |_: usize, line: &str| {
                blocked_module(line).is_some_and(|name| names.contains(&name.as_str()))
            };
            Some(commented(text, &is_blocking))
        })?;
    }
    Ok(())
}

fn lvm(bench: &mut Bench<'_>, readiness: &Readiness) -> io::Result<()> {
    if !readiness.is_to_repair(What::LvmFilter) {
        return Ok(());
    }
    bench.edit(What::LvmFilter, "etc/lvm/lvm.conf", &|text| {
        let filters = lvm_filters(text);
        Some(commented(text, &|number, _| filters.contains(&number)))
    })?;
    bench.put_aside(What::LvmFilter, LVM_DEVICES)
}

/// The same text with these lines as remarks.
fn commented(text: &str, which: &dyn Fn(usize, &str) -> bool) -> String {
    let line = |(number, line): (usize, &str)| {
        if which(number, line) { format!("# {line}") } else { line.to_owned() }
    };
    text.split_inclusive('\n').enumerate().map(line).collect()
}

fn interfaces(bench: &mut Bench<'_>, wanted: &Network) -> io::Result<()> {
    for program in network::find(bench.tree)? {
        let Some((aside, path, text, mode)) = program.files(wanted) else { continue };
        for file in aside {
            bench.put_aside(What::Network, &file)?;
        }
        bench.write(What::Network, &path, text.as_bytes(), Some(root_may(mode)))?;
    }
    Ok(())
}

/// Says on the copy what it is, where its agent looks.
pub(super) fn lineage(bench: &mut Bench<'_>, wish: &Wish) -> io::Result<()> {
    let Some(lineage) = &wish.lineage else { return Ok(()) };
    if let Some(words) = hidden_mark(bench.survey) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, words));
    }
    let kind = match lineage.kind {
        LineageKind::Drill => "drill",
        LineageKind::Failover => "failover",
    };
    let quoted = |text: &str| {
        text.chars()
            .filter(|letter| letter.is_ascii_graphic() && !"\"\\".contains(*letter))
            .collect::<String>()
    };
    let text = format!(
        "# This machine is a copy that Lifeboat made; the agent on it stays silent.\norder = \"{}\"\nkind = \"{kind}\"\npoint = \"{}\"\ntime = {}\n",
        quoted(&lineage.order),
        quoted(&lineage.point),
        lineage.time
    );
    bench.write(What::Lineage, REPLICA, text.as_bytes(), Some(root_may(0o644)))
}
