//! What is installed, and that nothing of it is left.

use super::*;

struct Root(PathBuf);

impl Root {
    fn new(name: &str, folders: &[&str]) -> Self {
        let root =
            std::env::temp_dir().join(format!("lifeboat-install-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        folders.iter().for_each(|folder| fs::create_dir_all(root.join(folder)).unwrap());
        fs::create_dir_all(&root).unwrap();
        Self(root)
    }

    /// A program in the place of the one that makes initial RAM disks: it notes that it was called, and ends so.
    fn updater(&self, code: u8) {
        let path = self.0.join(UPDATE);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = format!("#!/bin/sh\necho \"$@\" >>\"$0.called\"\necho words >&2\nexit {code}\n");
        put(&path, &text).unwrap();
    }

    fn files(&self) -> Vec<String> {
        let find = Command::new("find").arg(&self.0).args(["-name", "lifeboat*"]).output().unwrap();
        String::from_utf8_lossy(&find.stdout).lines().map(str::to_owned).collect()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const BOTH: [&str; 3] =
    ["etc/initramfs-tools/hooks", "etc/initramfs-tools/scripts/init-premount", "usr/lib/systemd"];

#[test]
fn what_is_installed_can_be_run_and_is_taken_away_whole() {
    let root = Root::new("whole", &BOTH);
    root.updater(0);
    install(&root.0, 7).unwrap();
    assert_eq!(root.files().len(), 3 + 1, "{:?}", root.files());
    for (base, file, _) in FILES {
        let path = root.0.join(base).join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("#!/bin/sh\n") && !text.contains('@'), "{text}");
        assert_ne!(fs::metadata(&path).unwrap().permissions().mode() & 0o111, 0);
        assert!(Command::new("sh").arg("-n").arg(&path).status().unwrap().success());
    }
    assert_eq!(remove(&root.0), Ok(true));
    let called = fs::read_to_string(root.0.join(format!("{UPDATE}.called"))).unwrap();
    assert_eq!(called, "-u\n-u\n", "once with it, once without");
    assert_eq!(remove(&root.0), Ok(false));
    fs::remove_dir(root.0.join("usr/lib/systemd/system-shutdown")).unwrap();
    assert!(root.files().iter().all(|path| path.contains("lifeboat-install")), "the root alone");
}

#[test]
fn half_of_it_is_none_of_it() {
    for missing in [0, 2] {
        let mut folders = BOTH.to_vec();
        folders.remove(missing);
        if missing == 0 {
            folders.remove(0);
        }
        let root = Root::new("half", &folders);
        assert!(install(&root.0, 7).unwrap().contains("compared"));
        assert_eq!(root.files().len(), 1, "{:?}", root.files());
    }
}

#[test]
fn where_no_initial_ram_disk_can_be_made_nothing_stays() {
    let root = Root::new("failing", &BOTH);
    root.updater(3);
    assert!(install(&root.0, 7).is_err());
    assert_eq!(root.files().len(), 1, "{:?}", root.files());
}
