//! Faces of real file systems, made and changed by others' programs, and of what has none.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

const MIB: u64 = 1 << 20;

struct Image(PathBuf);

impl Image {
    fn new(name: &str, bytes: u64) -> Self {
        let path =
            std::env::temp_dir().join(format!("lifeboat-face-{name}-{}", std::process::id()));
        File::create(&path).unwrap().set_len(bytes).unwrap();
        Self(path)
    }

    fn run(&self, program: &str, words: &[&str]) {
        let output = Command::new(program).args(words).arg(&self.0).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn face(&self, parts: &[Range<u64>]) -> Result<Face, String> {
        let file = File::open(&self.0).unwrap();
        let bytes = file.metadata().unwrap().len();
        of_parts(bytes, parts, &mut |at, into| file.read_exact_at(into, at))
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        File::options().write(true).open(&self.0).unwrap().write_all_at(bytes, at).unwrap();
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn ext4(name: &str, mib: u64) -> Image {
    let image = Image::new(name, mib * MIB);
    image.run("mke2fs", &["-q", "-F", "-t", "ext4"]);
    image
}

#[test]
fn a_file_system_that_is_left_alone_keeps_its_face() {
    let image = ext4("alone", 64);
    let face = image.face(&[]).unwrap();
    assert!(face.again.is_empty());
    image.run("e2fsck", &["-n", "-f"]);
    assert_eq!(image.face(&[]), Ok(face));
}

#[test]
fn whoever_repairs_tunes_or_writes_to_a_file_system_changes_its_face() {
    for words in [["tune2fs", "-C5"], ["tune2fs", "-Lx"], ["e2fsck", "-fy"]] {
        let image = ext4("changed", 64);
        let face = image.face(&[]).unwrap();
        image.run(words[0], &words[1..]);
        assert_ne!(image.face(&[]).unwrap().digest, face.digest, "{words:?}");
    }
    let image = ext4("written", 64);
    let face = image.face(&[]).unwrap();
    let output = Command::new("debugfs").args(["-w", "-R", "mkdir x"]).arg(image.path()).output();
    assert!(output.unwrap().status.success());
    assert_ne!(image.face(&[]).unwrap().digest, face.digest);
}

#[test]
fn a_file_system_that_was_not_unmounted_in_order_has_no_face() {
    let image = ext4("dirty", 64);
    // As while it is mounted: its journal is to be played back.
    let mut flags = [0];
    let at = (EXT_AT + EXT_INCOMPATIBLE_AT) as u64;
    File::open(image.path()).unwrap().read_exact_at(&mut flags, at).unwrap();
    image.put(at, &[flags[0] | EXT_RECOVER]);
    assert!(image.face(&[]).unwrap_err().contains("not unmounted in order"));
    let image = ext4("unclean", 64);
    image.put((EXT_AT + EXT_STATE_AT) as u64, &[0]);
    assert!(image.face(&[]).is_err());
}

#[test]
fn what_says_nothing_of_its_past_is_sent_again_where_it_is_small() {
    let image = Image::new("small", 3 * 1024 * MIB);
    let system = ext4("system", 64);
    image.put(64 * MIB, &fs::read(system.path()).unwrap());
    let unknown = MIB..60 * MIB;
    let parts = [unknown.clone(), 64 * MIB..128 * MIB];
    // All that lies behind the last partition is too much.
    assert!(image.face(&parts).unwrap_err().contains("another system"));
    let parts = [unknown.clone(), 64 * MIB..128 * MIB, 3000 * MIB..3071 * MIB];
    assert!(image.face(&parts).is_err());
    let image = Image::new("fits", 130 * MIB);
    image.put(64 * MIB, &fs::read(system.path()).unwrap());
    let parts = [unknown.clone(), 64 * MIB..128 * MIB];
    let face = image.face(&parts).unwrap();
    assert_eq!(face.again, [0..MIB, unknown, 60 * MIB..64 * MIB, 128 * MIB..130 * MIB]);
    // Another partition table is another face, whatever lies in the partitions.
    let moved = [MIB..59 * MIB, 64 * MIB..128 * MIB];
    assert_ne!(image.face(&moved).unwrap().digest, face.digest);
    // What another system makes a file system of, too.
    image.put(MIB, &fs::read(ext4("new", 32).path()).unwrap());
    assert_ne!(image.face(&parts).unwrap().digest, face.digest);
}

#[test]
fn swap_is_nobodys_and_goes_again_however_large_it_is() {
    let image = Image::new("swap", 2048 * MIB);
    image.run("mkswap", &["-q"]);
    let face = image.face(&[]).unwrap();
    assert_eq!(face.again, [Range { start: 0, end: 2048 * MIB }]);
    image.run("mke2fs", &["-q", "-F"]);
    assert_ne!(image.face(&[]).map(|face| face.digest), Ok(face.digest));
}

#[test]
fn what_loaders_write_to_is_sent_again() {
    let image = ext4("boot", 64);
    image.put((EXT_AT + EXT_LAST_MOUNTED_AT) as u64, b"/boot");
    assert_eq!(image.face(&[]).unwrap().again, [Range { start: 0, end: 64 * MIB }]);
}
