//! What makes the machine call the agent when it starts and when it ends, and how that is taken away again, with nothing
//! left behind. Where a machine has none of the places that are known here, it is compared after every start, as before.

use core::fmt::Write as _;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Puts the agent into initial RAM disks that are made from now on.
const HOOK: &str = include_str!("../../install/initramfs-hook.sh");
/// Calls it there.
const BEGIN: &str = include_str!("../../install/initramfs-begin.sh");
/// Calls it when everything is unmounted.
const SAVE: &str = include_str!("../../install/systemd-shutdown.sh");
/// In them: how long a start or an end of the machine may wait.
const SECONDS: &str = "@SECONDS@";
/// Unless told otherwise. It takes some tenths of a second, if nothing is wrong.
pub const SECONDS_DEFAULT: u32 = 10;

const FILES: [(&str, &str, &str); 3] = [
    ("etc/initramfs-tools", "hooks/lifeboat-agent", HOOK),
    ("etc/initramfs-tools", "scripts/init-premount/lifeboat-agent", BEGIN),
    ("usr/lib/systemd", "system-shutdown/lifeboat-agent", SAVE),
];
/// Makes the initial RAM disk of the newest kernel anew.
const UPDATE: &str = "usr/sbin/update-initramfs";

/// Installs it below a root. What a person should know.
///
/// # Errors
/// A file cannot be written; those that could be are taken away again.
pub fn install(root: &Path, seconds: u32) -> Result<String, String> {
    let mut written = 0;
    for (needed, file, text) in FILES {
        let base = root.join(needed);
        if !base.is_dir() {
            continue;
        }
        let path = base.join(file);
        let text = text.replace(SECONDS, &seconds.to_string());
        if let Err(error) = put(&path, &text) {
            let _ = remove(root);
            return Err(format!("{}: {error}", path.display()));
        }
        written += 1;
    }
    if written < FILES.len() {
        remove(root)?;
        return Ok("this system has no systemd with initramfs-tools: after every start of the machine all disks are \
                   compared\n"
            .to_owned());
    }
    if let Err(why) = update(root) {
        remove(root)?;
        return Err(why);
    }
    Ok("once everything was sent, an ordinary restart of the machine needs no comparing\n"
        .to_owned())
}

/// Takes it away. Whether anything was there.
///
/// # Errors
/// Something could not be taken away.
pub fn remove(root: &Path) -> Result<bool, String> {
    let mut was = false;
    let mut troubles = String::new();
    for (needed, file, _) in FILES {
        let path = root.join(needed).join(file);
        match fs::remove_file(&path) {
            Ok(()) => was = true,
            Err(error) if absent(error.kind()) => {}
            Err(error) => {
                let _ = write!(troubles, "{}: {error}; ", path.display());
            }
        }
    }
    if was && let Err(why) = update(root) {
        troubles.push_str(&why);
    }
    if troubles.is_empty() { Ok(was) } else { Err(troubles) }
}

fn absent(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn put(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)?;
    let new: PathBuf = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(fs::Permissions::from_mode(0o755))?;
    file.sync_all()?;
    fs::rename(&new, path)
}

fn update(root: &Path) -> Result<(), String> {
    let program = root.join(UPDATE);
    if !program.exists() {
        return Ok(());
    }
    let output = Command::new(&program).arg("-u").stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(format!("update-initramfs: {}; run it by hand: update-initramfs -u", words.trim()))
}

#[cfg(test)]
mod tests;
