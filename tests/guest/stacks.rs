//! What stands between a file system and the disks that are tracked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use core::time::Duration;

use crate::replica::disk_of;

/// Where the first disk's part of a linear map begins, and the second's, in sectors: the host laid it out so.
const LINEAR_STARTS: [u64; 2] = [2048, 4096];
/// Where md's data begins: the host put the file system there.
const MD_DATA_KIB: u64 = 1024;

/// Serial numbers of the disks below, and the node that the file system is on.
pub(crate) fn build(stack: &str) -> Result<(Vec<&'static str>, PathBuf), String> {
    match stack {
        "plain" | "multipath" => Ok((vec!["data0"], disk_of("data0")?.path)),
        "partition" => {
            let disk = disk_of("data0")?;
            let digit = disk.name.ends_with(|letter: char| letter.is_ascii_digit());
            let between = if digit { "p" } else { "" };
            Ok((vec!["data0"], PathBuf::from(format!("/dev/{}{between}2", disk.name))))
        }
        "linear" => linear(),
        "raid1" => raid1(),
        other => Err(format!("no such stack: {other}")),
    }
}

fn linear() -> Result<(Vec<&'static str>, PathBuf), String> {
    let disks = [disk_of("data0")?, disk_of("data1")?];
    let half = disks[0].bytes / 512 / 2;
    let line = |disk: usize| {
        let start = half * u64::try_from(disk).unwrap_or(0);
        format!("{start} {half} linear {} {}\n", disks[disk].path.display(), LINEAR_STARTS[disk])
    };
    fs::write("/tmp/table", format!("{}{}", line(0), line(1)))
        .map_err(|error| error.to_string())?;
    run("dmsetup", &["create", "both", "/tmp/table", "--noudevsync", "--noudevrules"])?;
    wait_for(Path::new("/dev/dm-0"))?;
    Ok((vec!["data0", "data1"], PathBuf::from("/dev/dm-0")))
}

fn raid1() -> Result<(Vec<&'static str>, PathBuf), String> {
    let (one, two) = (disk_of("data0")?, disk_of("data1")?);
    let (one, two) = (one.path.display().to_string(), two.path.display().to_string());
    let offset = format!("--data-offset={MD_DATA_KIB}");
    run(
        "mdadm",
        &[
            "--create",
            "/dev/md0",
            "--metadata=1.2",
            "--level=1",
            "--raid-devices=2",
            &offset,
            "--bitmap=internal",
            "--run",
            "--force",
            &one,
            &two,
        ],
    )?;
    wait_for(Path::new("/dev/md0"))?;
    Ok((vec!["data0", "data1"], PathBuf::from("/dev/md0")))
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(format!("/sbin/{program}"))
        .args(arguments)
        .env("DM_DISABLE_UDEV", "1")
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{program}: {} {words}", output.status))
}

fn wait_for(node: &Path) -> Result<(), String> {
    for _ in 0..200 {
        if node.exists() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(format!("{} does not come", node.display()))
}
