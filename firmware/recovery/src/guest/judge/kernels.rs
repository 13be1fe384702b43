//! Kernels of a Linux: whether each has the platform's drivers before its root file system is there, and what its
//! command line says of root, console and resuming.

use std::collections::BTreeSet;
use std::io;

use super::Report;
use crate::guest::boot::{self, command_line};
use crate::guest::initramfs::Contents;
use crate::guest::modules::{FOLDERS, Modules, module_name};
use crate::guest::platform::Platform;
use crate::guest::readiness::{Remedy, Severity, What};
use crate::guest::survey::{ESP, Survey, fstab};
use crate::guest::tree::Tree;

/// The kernels that have modules, and what is found about each and its initramfs.
pub(super) fn judge(
    survey: &Survey,
    platform: &Platform,
    report: &mut Report,
) -> io::Result<Vec<String>> {
    let tree: &dyn Tree = survey;
    let mut kernels: BTreeSet<String> = BTreeSet::new();
    for folder in FOLDERS {
        for version in tree.list(folder)? {
            if tree.has(&format!("{folder}/{version}/modules.dep"))? {
                kernels.insert(version);
            }
        }
    }
    let mut seen = BTreeSet::new();
    for path in boot::initramfs_files(survey)? {
        seen.extend(initramfs(survey, &path, &kernels, platform, report)?);
    }
    for version in kernels.difference(&seen) {
        let Some(modules) = Modules::read(tree, version)? else { continue };
        let wanted = platform.to_boot();
        let apart: Vec<&str> =
            wanted.into_iter().filter(|name| !modules.is_built_in(name)).collect();
        if !apart.is_empty() {
            let words = format!(
                "no initramfs of kernel {version} was found, and it has {} as modules",
                apart.join(", ")
            );
            report.add(What::Initramfs, version, Severity::Note, Remedy::None, words);
        }
    }
    unified(survey, report)?;
    command_lines(survey, platform, report)?;
    let mut kernels: Vec<String> = kernels.into_iter().collect();
    kernels.sort_by_key(|version| order(version));
    Ok(kernels)
}

/// Versions as people count: 6.10 is behind 6.9.
fn order(version: &str) -> Vec<u64> {
    let numbers = version.split(|letter: char| !letter.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// The kernels that an initramfs is of.
fn initramfs(
    survey: &Survey,
    path: &str,
    kernels: &BTreeSet<String>,
    platform: &Platform,
    report: &mut Report,
) -> io::Result<Vec<String>> {
    let tree: &dyn Tree = survey;
    let by_name =
        || kernels.iter().filter(|version| path.contains(version.as_str())).cloned().collect();
    let contents = match Contents::read(tree.open(path)?) {
        Ok(contents) => contents,
        Err(error) => {
            let words = format!(
                "/{path} cannot be read: {error}. Whether it has {}'s drivers is not known",
                platform.name
            );
            let command = make_command(survey, platform)?;
            report.add(What::Initramfs, path, Severity::Hinders, Remedy::OnSource(command), words);
            return Ok(by_name());
        }
    };
    let mut versions: Vec<String> =
        contents.module_folders().into_iter().map(|(version, _)| version).collect();
    if versions.is_empty() {
        versions = by_name();
    }
    for version in &versions {
        drivers(survey, path, version, &contents, platform, report)?;
    }
    Ok(versions)
}

fn drivers(
    survey: &Survey,
    path: &str,
    version: &str,
    contents: &Contents,
    platform: &Platform,
    report: &mut Report,
) -> io::Result<()> {
    let Some(modules) = Modules::read(survey, version)? else {
        let words = format!(
            "/{path} is of kernel {version}, of which the root file system has no modules: it is not looked into"
        );
        report.add(What::Initramfs, path, Severity::Note, Remedy::None, words);
        return Ok(());
    };
    let inside = in_initramfs(contents, version);
    let mut missing = Vec::new();
    for driver in &platform.drivers {
        let name = driver.name.as_str();
        let there = modules.is_built_in(name) || inside.contains(name);
        if there {
            continue;
        }
        match (modules.path(name).is_some(), driver.to_boot) {
            (true, true) => missing.push(name),
            // The root file system has it, and it is early enough.
            (true, false) => (),
            (false, to_boot) => {
                let severity = if to_boot { Severity::Blocks } else { Severity::Hinders };
                let words = format!(
                    "kernel {version} has no {name}, which {} needs: install a kernel of the distribution that has it",
                    platform.name
                );
                let command = kernel_command(survey)?;
                report.add(
                    What::MissingDriver,
                    version,
                    severity,
                    Remedy::OnSource(command),
                    words,
                );
            }
        }
    }
    if !missing.is_empty() {
        let words = format!(
            "/{path} (kernel {version}) lacks {}, without which {} shows it no disks; they are put in from its own root file system",
            missing.join(", "),
            platform.name
        );
        report.add(What::InitramfsDriver, path, Severity::Blocks, Remedy::Offline, words);
    }
    Ok(())
}

/// Names of the modules of a kernel that are in an initramfs, or that it says are built in.
pub(in crate::guest) fn in_initramfs(contents: &Contents, version: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (folder_version, base) in contents.module_folders() {
        if folder_version != version {
            continue;
        }
        let folder = format!("{base}{version}/");
        let files = contents
            .entries
            .keys()
            .filter(|path| path.starts_with(&folder) && path.contains(".ko"));
        names.extend(files.map(|path| module_name(path)));
        let built_in = contents.text(&format!("{folder}modules.builtin")).unwrap_or_default();
        names.extend(built_in.lines().map(module_name));
    }
    names
}

fn has_dracut(survey: &Survey) -> io::Result<bool> {
    let tree: &dyn Tree = survey;
    Ok(tree.has("usr/bin/dracut")? || tree.has("usr/sbin/dracut")? || tree.has("sbin/dracut")?)
}

/// What makes an initramfs with the platform's drivers on the server itself.
fn make_command(survey: &Survey, platform: &Platform) -> io::Result<String> {
    let names = platform.to_boot();
    if has_dracut(survey)? {
        return Ok(format!(
            "dracut --force --regenerate-all --add-drivers \"{}\"",
            names.join(" ")
        ));
    }
    let lines = names.join("\\n");
    Ok(format!("printf '{lines}\\n' >> /etc/initramfs-tools/modules && update-initramfs -u -k all"))
}

fn kernel_command(survey: &Survey) -> io::Result<String> {
    let tree: &dyn Tree = survey;
    let debian = tree.has("etc/debian_version")?;
    let command = if debian {
        "apt-get install linux-image-amd64 || apt-get install linux-image-generic"
    } else {
        "dnf install kernel kernel-modules"
    };
    Ok(command.to_owned())
}

/// Kernels that carry their initramfs in themselves.
fn unified(survey: &Survey, report: &mut Report) -> io::Result<()> {
    let tree: &dyn Tree = survey;
    for path in tree.files(&format!("{ESP}/EFI/Linux"))? {
        if path.to_ascii_lowercase().ends_with(".efi") {
            let words = format!(
                "/{path} is a kernel in one piece with its initramfs: it is neither looked into nor repaired"
            );
            report.add(What::Initramfs, &path, Severity::Hinders, Remedy::None, words);
        }
    }
    Ok(())
}

fn command_lines(survey: &Survey, platform: &Platform, report: &mut Report) -> io::Result<()> {
    let tree: &dyn Tree = survey;
    for file in boot::loader_files(survey)? {
        let text = tree.text(&file.path)?.unwrap_or_default();
        let path = &file.path;
        for line in file.form.command_lines(&text) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let Some(root) = words.iter().find_map(|word| word.strip_prefix("root=")) else {
                continue;
            };
            if fstab::is_by_device(root) {
                let known = survey
                    .resolve(root)
                    .is_some_and(|place| survey.volumes.volumes[place].uuid().is_some());
                let (repair, then) = if known {
                    (Remedy::Offline, "it becomes the file system's UUID")
                } else {
                    (
                        Remedy::OnSource(root_command()),
                        "which volume that is cannot be told from here",
                    )
                };
                let words = format!(
                    "/{path} names the root as {root}, which is another name on another machine: {then}"
                );
                report.add(What::RootDevice, path, Severity::Blocks, repair, words);
            }
            if words.iter().any(|word| word.starts_with("resume=")) {
                let words = format!(
                    "/{path} resumes from a saved state: a copy must not, and is told not to"
                );
                report.add(What::Resume, path, Severity::Hinders, Remedy::Offline, words);
            }
            if !command_line::has_console(&words, &platform.console) {
                let words = format!(
                    "/{path} sends nothing to {}, where {} keeps what a machine says: it is added",
                    platform.console, platform.name
                );
                report.add(What::Console, path, Severity::Hinders, Remedy::Offline, words);
            }
        }
    }
    Ok(())
}

fn root_command() -> String {
    "grub2-mkconfig -o /boot/grub2/grub.cfg || update-grub".to_owned()
}
