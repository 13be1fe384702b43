//! A mounted file system of the test's own is made read-only and written to again, with what else it was mounted with.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.join("mnt")).status();
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A small ext4 of our own; nothing, loudly, where we may not mount.
fn mounted(label: &str) -> Option<Mounted> {
    let folder = std::env::temp_dir().join(format!("standstill-{label}-{}", std::process::id()));
    fs::create_dir_all(folder.join("mnt")).unwrap();
    let image = folder.join("image");
    fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
    let ran = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let made = ran(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image));
    let mut mount = Command::new("mount");
    mount.args(["-o", "loop,nosuid,noatime"]).arg(&image).arg(folder.join("mnt"));
    let mounted = Mounted(folder);
    if made && ran(&mut mount) {
        return Some(mounted);
    }
    eprintln!("SKIPPED, not tested on this machine: nothing may be mounted");
    None
}

/// File systems of tests, by where they are mounted.
fn ours() -> Vec<FileSystem> {
    let here = std::env::temp_dir().join("standstill-");
    let prefix = here.to_string_lossy().into_owned();
    let mounts = hal_linux::inventory::mounts::read(Path::new("/")).mounts.into_iter();
    let suffix = format!("-{}/mnt", std::process::id());
    let of_test =
        mounts.filter(|mount| mount.at.starts_with(&prefix) && mount.at.ends_with(&suffix));
    of_test
        .map(|mount| FileSystem {
            at: PathBuf::from(mount.at),
            kind: mount.kind,
            number: (0, 0),
            leaves: Vec::new(),
            read_only: mount.read_only,
        })
        .collect()
}

fn machine(folder: &Path) -> ThisMachine {
    let hooks = HookFolder::new(&folder.join("hooks.d"));
    // Never by force: that would be this whole machine.
    ThisMachine { hooks, record: folder.join("record"), find: ours, emergency: None }
}

#[test]
fn what_takes_writes_is_read_only_until_it_goes_on_also_by_another_life_of_the_agent() {
    let Some(mounted) = mounted("whole") else { return };
    let (folder, file) = (&mounted.0, mounted.0.join("mnt/file"));
    fs::create_dir(folder.join("hooks.d")).unwrap();
    let hook = folder.join("hooks.d/10-app");
    fs::write(&hook, format!("#!/bin/sh\necho $1 >> {}/said\n", folder.display())).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(&file, "before").unwrap();
    let mut drained = machine(folder);
    assert_eq!(drained.stop(), [""; 0]);
    assert!(!drained.is_read_only());
    // A file that is open for writing keeps the kernel from it.
    let open = fs::OpenOptions::new().append(true).open(&file).unwrap();
    let refused = drained.read_only().unwrap_err();
    assert!(refused.contains("cannot be made read-only"), "{refused}");
    drop(open);
    drained.read_only().unwrap();
    assert!(drained.is_read_only());
    let refused = fs::write(&file, "after").unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(fs::read_to_string(&file).unwrap(), "before");
    // Said twice, as after a start of the agent.
    machine(folder).read_only().unwrap();
    assert_eq!(machine(folder).go_on(), [""; 0]);
    fs::write(&file, "after").unwrap();
    let flags = statvfs(&file).unwrap().f_flag;
    let kept = StatVfsMountFlags::NOSUID | StatVfsMountFlags::NOATIME;
    assert!(flags.contains(kept) && !flags.contains(StatVfsMountFlags::RDONLY), "{flags:?}");
    assert_eq!(fs::read_to_string(folder.join("said")).unwrap(), "stop\nstart\n");
    assert!(!folder.join("record").exists());
}
