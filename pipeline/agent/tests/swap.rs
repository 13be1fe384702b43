//! Swap as the kernel has it, in a file and in a partition, on loop devices. Needs root; says loudly where it cannot be had.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use hal_linux::{LinuxDisk, OpenOptions};
use pipeline::limits::BLOCK_BYTES;
use pipeline_agent::blocks::BlockSet;
use pipeline_agent::capture::{Arena, Source};
use pipeline_agent::devices::Leaf;
use pipeline_agent::swap::{Mark, Swap, mark_of};

const PAGE: usize = 4096;
const MIB: u64 = 1 << 20;
/// In every page that is nobody's, with the page's number behind it.
const TAG: &[u8] = b"a page of swap";

/// What is undone at the end, newest first.
#[derive(Default)]
struct Undo(Vec<Vec<String>>);

impl Undo {
    /// Runs a command now and another at the end; what the first says. `None`, loudly, where it may not.
    fn run(&mut self, command: &[&str], undone: &[&str]) -> Option<String> {
        let output = Command::new(command[0]).args(&command[1..]).output().unwrap();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            eprintln!("SKIPPED, not tested on this machine: {command:?}: {said}");
            return None;
        }
        let said = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        if !undone.is_empty() {
            let with = |word: &&str| word.replace("{}", &said);
            self.0.push(undone.iter().map(with).collect());
        }
        Some(said)
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        for command in self.0.drain(..).rev() {
            let output = Command::new(&command[0]).args(&command[1..]).output().unwrap();
            if !output.status.success() {
                eprintln!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
    }
}

/// A loop device over a new file.
fn device(undo: &mut Undo, name: &str, bytes: u64, prepare: &[&str]) -> Option<(PathBuf, PathBuf)> {
    let folder = env::temp_dir().join(format!("lifeboat-swap-{name}-{}", std::process::id()));
    fs::create_dir_all(folder.join("mounted")).unwrap();
    undo.0.push(vec!["rm".to_owned(), "-r".to_owned(), folder.display().to_string()]);
    let image = folder.join("disk.img");
    fs::File::create(&image).unwrap().set_len(bytes).unwrap();
    let path = image.display().to_string();
    let prepare: Vec<&str> =
        prepare.iter().map(|word| word.strip_suffix("{}").map_or(*word, |_| &path)).collect();
    undo.run(&prepare, &[])?;
    let attach = ["losetup", "--find", "--show", &path];
    let device = undo.run(&attach, &["losetup", "--detach", "{}"])?;
    Some((PathBuf::from(device), folder))
}

fn leaf(device: &Path, bytes: u64) -> Leaf {
    let number = fs::metadata(device).unwrap().rdev();
    Leaf {
        name: device.file_name().unwrap().to_string_lossy().into_owned(),
        path: device.to_path_buf(),
        number: (rustix::fs::major(number), rustix::fs::minor(number)),
        bytes,
        sector_bytes: 512,
        identity: String::new(),
        untracked: None,
    }
}

/// Pages that say what they are, from the second on.
fn tagged(bytes: u64) -> Vec<u8> {
    let mut all = vec![0; usize::try_from(bytes).unwrap()];
    for (number, page) in all.chunks_mut(PAGE).enumerate() {
        page[..TAG.len()].copy_from_slice(TAG);
        page[TAG.len()..TAG.len() + 8].copy_from_slice(&number.to_le_bytes());
    }
    all
}

/// Every page of a disk's blank blocks is one of swap's.
#[track_caller]
fn only_swap_is_blank(sources: &mut [Source<LinuxDisk>; 1], blank: &BlockSet) {
    let mut arena = Arena::new(&mut sources[0].disk, 64 << 20).unwrap();
    arena.read(sources, core::slice::from_ref(blank), &mut || true).unwrap();
    let mut pages = 0_u64;
    for held in arena.held() {
        for page in held.bytes().chunks(PAGE) {
            let begins = page.get(..64);
            assert!(page.starts_with(TAG), "page {pages} near block {}: {begins:?}", held.first);
            assert_ne!(page[TAG.len()..TAG.len() + 8], [0; 8], "the header's page");
            pages += 1;
        }
    }
    assert_eq!(pages * PAGE as u64, blank.count() * BLOCK_BYTES as u64);
}

#[test]
fn of_a_swap_file_nothing_is_left_out_but_its_own_pages() {
    let mut undo = Undo::default();
    let bytes = 96 * MIB;
    let made = device(&mut undo, "file", bytes, &["mkfs.ext4", "-q", "-b", "4096", "{}"]);
    let Some((device, folder)) = made else { return };
    let at = folder.join("mounted").display().to_string();
    let name = device.display().to_string();
    if undo.run(&["mount", &name, &at], &["umount", &at]).is_none() {
        return;
    }
    let (file, other) = (format!("{at}/swap"), format!("{at}/other"));
    // Between pieces of another file, so that it lies in many places.
    let (swap, others) = (fs::File::create(&file).unwrap(), fs::File::create(&other).unwrap());
    let size = 24 * MIB;
    for (number, piece) in tagged(size).chunks(3 << 20).enumerate() {
        swap.write_all_at(piece, number as u64 * (3 << 20)).unwrap();
        swap.sync_all().unwrap();
        others.write_all_at(&vec![7; 777_777], number as u64 * 777_777).unwrap();
        others.sync_all().unwrap();
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let leaves = [leaf(&device, bytes)];
    let mut sources =
        [Source::new(LinuxDisk::open(&device, OpenOptions::default()).unwrap()).unwrap()];
    let blocks = sources[0].blocks();
    let before = Swap::find(&leaves, &mut sources);
    assert!(before.blank(0, blocks).is_empty(), "it is no swap yet");
    if undo.run(&["mkswap", &file], &[]).is_none() {
        return;
    }
    assert!(Swap::find(&leaves, &mut sources).blank(0, blocks).is_empty(), "it is not in use yet");
    if undo.run(&["swapon", "--priority", "0", &file], &[]).is_none() {
        return;
    }
    let found = Swap::find(&leaves, &mut sources);
    undo.run(&["swapoff", &file], &[]).unwrap();
    let blank = found.blank(0, blocks);
    let most = size / BLOCK_BYTES as u64;
    assert!(blank.count() > most - 64 && blank.count() < most, "{} of {most}", blank.count());
    only_swap_is_blank(&mut sources, &blank);
    let after = Swap::find(&leaves, &mut sources);
    assert!(!found.is_within(&after), "a cut that left it out is made again");
    assert!(after.is_within(&found));
}

#[test]
fn a_swap_partition_keeps_its_header_and_a_hibernated_one_is_disarmed() {
    let mut undo = Undo::default();
    let bytes = 32 * MIB;
    let made = device(&mut undo, "partition", bytes, &["true"]);
    let Some((device, _folder)) = made else { return };
    let whole = device.display().to_string();
    // Told to the kernel, which may not know tables of partitions.
    let (one, two) = (format!("{whole}p1"), format!("{whole}p2"));
    for (number, start) in [("1", "2048"), ("2", "18432")] {
        if undo.run(&["addpart", &whole, number, start, "16384"], &[]).is_none() {
            return;
        }
    }
    let (first, second) = (PathBuf::from(&one), PathBuf::from(&two));
    let write = |device: &Path, at: u64, bytes: &[u8]| {
        let open = fs::File::options().write(true).open(device).unwrap();
        open.write_all_at(bytes, at).unwrap();
        open.sync_all().unwrap();
    };
    write(&first, 0, &tagged(8 * MIB));
    undo.run(&["mkswap", &one], &[]).unwrap();
    undo.run(&["mkswap", &two], &[]).unwrap();
    write(&second, 4096 - 20, b"SWAPSPACE2S1SUSPEND\0");
    if undo.run(&["swapon", "--priority", "0", &one], &[]).is_none() {
        return;
    }
    let leaves = [leaf(&device, bytes)];
    let mut sources =
        [Source::new(LinuxDisk::open(&device, OpenOptions::default()).unwrap()).unwrap()];
    let found = Swap::find(&leaves, &mut sources);
    undo.run(&["swapoff", &one], &[]).unwrap();
    let blank = found.blank(0, sources[0].blocks());
    // From the block behind the header's on; the second partition is not in use.
    assert!(blank.iter().eq(17..144), "{:?}", blank.iter().collect::<Vec<_>>());
    only_swap_is_blank(&mut sources, &blank);
    let mut arena = Arena::new(&mut sources[0].disk, 4 << 20).unwrap();
    let mut headers = BlockSet::new(sources[0].blocks());
    headers.insert_range(144, 146);
    arena.read(&mut sources, &[headers], &mut || true).unwrap();
    for held in arena.held_mut() {
        let armed = held.first == 144;
        assert_eq!(matches!(mark_of(held.bytes()), Some(Mark::Hibernated(_))), armed);
        found.disarm(held);
        assert_eq!(matches!(mark_of(held.bytes()), Some(Mark::Swap { .. })), armed);
    }
}
