//! Hives made by hivexsh, read here, changed in their place, and read back by hivexsh.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::*;

/// A hive like SYSTEM of Windows, with two control sets; `None`, loudly, where hivexsh is missing.
pub(crate) fn system_hive(path: &Path) -> Option<()> {
    let empty = ["/usr/share/hivex/minimal", "/usr/share/libhivex/minimal"];
    let source = empty.iter().map(PathBuf::from).find(|path| path.exists());
    match source {
        Some(source) => drop(fs::copy(source, path).unwrap()),
        None => fs::write(path, minimal()).unwrap(),
    }
    let mut script = String::new();
    for set in ["ControlSet001", "ControlSet002"] {
        script.push_str(&format!("cd \\\nadd {set}\ncd {set}\nadd Services\ncd Services\n"));
        for (service, start) in [("vmbus", 3), ("storvsc", 3), ("atapi", 0), ("intelide", 4)] {
            let values = format!(
                "setval 2\nStart\ndword:{start}\nImagePath\nstring:system32\\\\drivers\\\\{service}.sys\n"
            );
            script.push_str(&format!("add {service}\ncd {service}\n{values}cd ..\n"));
        }
        script.push_str("add partmgr\ncd partmgr\nadd Parameters\ncd Parameters\nsetval 1\nSanPolicy\ndword:3\n");
    }
    script.push_str("cd \\\nadd Select\ncd Select\nsetval 1\nCurrent\ndword:1\ncommit\n");
    hivexsh(path, true, &script).map(drop)
}

/// What hivexsh says.
pub(crate) fn hivexsh(path: &Path, write: bool, script: &str) -> Option<String> {
    let mut command = Command::new("hivexsh");
    if write {
        command.arg("-w");
    }
    let mut child = match command.arg(path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("SKIPPED, not tested on this machine: hivexsh: {error}");
            return None;
        }
    };
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// The least hive that there can be: a base block, and a bin with an empty uppermost key.
fn minimal() -> Vec<u8> {
    let mut bytes = vec![0; 2 * 4096];
    let mut put = |at: usize, from: &[u8]| bytes[at..at + from.len()].copy_from_slice(from);
    put(0, b"regf");
    for (at, value) in
        [(4, 1_u32), (8, 1), (20, 1), (24, 3), (32, 1), (36, 32), (40, 4096), (44, 1)]
    {
        put(at, &value.to_le_bytes());
    }
    put(4096, b"hbin");
    put(4096 + 8, &4096_u32.to_le_bytes());
    // The key, with a name of four letters: 4 + 76 + 4 bytes, as cells are multiples of eight.
    put(4128, &(-88_i32).to_le_bytes());
    put(4132, b"nk");
    put(4134, &0x2C_u16.to_le_bytes());
    for at in [16, 28, 32, 40, 48] {
        put(4132 + at, &u32::MAX.to_le_bytes());
    }
    put(4132 + 44, &120_u32.to_le_bytes());
    put(4132 + 72, &4_u16.to_le_bytes());
    put(4132 + 76, b"ROOT");
    // Whose it is: a security descriptor that says nothing.
    put(4096 + 120, &(-48_i32).to_le_bytes());
    put(4096 + 124, b"sk");
    put(4096 + 124 + 4, &120_u32.to_le_bytes());
    put(4096 + 124 + 8, &120_u32.to_le_bytes());
    put(4096 + 124 + 12, &1_u32.to_le_bytes());
    put(4096 + 124 + 16, &20_u32.to_le_bytes());
    put(4096 + 124 + 20, &[1, 0, 0, 0x80]);
    put(4096 + 168, &(4096_i32 - 168).to_le_bytes());
    let sum = (0..127).fold(0, |sum, place| {
        sum ^ u32::from_le_bytes(bytes[place * 4..place * 4 + 4].try_into().unwrap())
    });
    bytes[508..512].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("lifeboat-hive-{name}-{}", std::process::id()))
}

#[test]
fn numbers_are_found_changed_in_their_place_and_read_back_by_hivexsh() {
    let path = path("numbers");
    let Some(()) = system_hive(&path) else { return };
    let mut bytes = fs::read(&path).unwrap();
    let hive = Hive::new(bytes.clone()).unwrap();
    assert!(hive.is_closed());
    let root = hive.root().unwrap();
    let sets: Vec<String> = hive.keys(root).into_iter().map(|(name, _)| name).collect();
    assert_eq!(sets, ["ControlSet001", "ControlSet002", "Select"]);
    for set in ["controlset001", "CONTROLSET002"] {
        let key = hive.key(root, &[set, "services", "VMBus"]).unwrap();
        let start = hive.number(key, "start").unwrap();
        assert_eq!(start.value, 3);
        assert_eq!(hive.number(key, "ImagePath"), None, "no number");
        assert_eq!(hive.number(key, "Other"), None);
        let place = usize::try_from(start.place).unwrap();
        bytes[place..place + 4].fill(0);
    }
    fs::write(&path, bytes).unwrap();
    let told = hivexsh(
        &path,
        false,
        "cd ControlSet002\\Services\\vmbus\nlsval Start\ncd \\ControlSet001\\Services\\storvsc\nlsval Start\n",
    );
    assert_eq!(told.as_deref(), Some("0\n3\n"));
    fs::remove_file(path).unwrap();
}

#[test]
fn a_hive_that_was_not_closed_says_so() {
    let mut bytes = minimal();
    assert!(Hive::new(bytes.clone()).unwrap().is_closed());
    bytes[4] = 2;
    // The checksum follows.
    bytes[508] ^= 3;
    assert!(!Hive::new(bytes).unwrap().is_closed());
}

#[test]
fn hostile_bytes_end() {
    use hal_sim::random::Random;
    let path = path("hostile");
    let Some(()) = system_hive(&path) else { return };
    let good = fs::read(&path).unwrap();
    fs::remove_file(path).unwrap();
    assert!(Hive::new(good[..511].to_vec()).is_err() && Hive::new(Vec::new()).is_err());
    let seed = 20_261_130;
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    for _ in 0..3000 {
        let mut bad = good.clone();
        for _ in 0..3 {
            let at = 4096 + usize::try_from(random.below(good.len() as u64 - 4096)).unwrap();
            bad[at] = u8::try_from(random.below(256)).unwrap();
        }
        let hive = Hive::new(bad).unwrap();
        let Some(root) = hive.root() else { continue };
        for (_, set) in hive.keys(root) {
            if let Some(key) = hive.key(set, &["Services", "vmbus"])
                && let Some(number) = hive.number(key, "Start")
            {
                assert!(number.place + 4 <= good.len() as u64);
            }
        }
    }
}

#[test]
fn lists_that_name_the_same_list_over_and_over_and_names_without_end_cost_no_more_than_a_hive() {
    const LISTS: usize = 60_000;
    let mut bytes = minimal();
    bytes.resize(4096 + 8 * LISTS + (1 << 20), 0);
    let mut put = |at: usize, from: &[u8]| bytes[at..at + from.len()].copy_from_slice(from);
    let place = |at: usize| u32::try_from(at - 4096).unwrap().to_le_bytes();
    let cell = |length: usize| (-i32::try_from(length).unwrap()).to_le_bytes();
    let (lists, list, key) = (8192, 8192 + 4 * LISTS + 16, 8192 + 8 * LISTS + 64);
    // The root has a list of lists, all of them one and the same, of which every entry is one and the same key.
    put(4132 + 20, &1_u32.to_le_bytes());
    put(4132 + 28, &place(lists));
    for (at, kind, entry) in [(lists, b"ri", list), (list, b"li", key)] {
        put(at, &cell(4 * LISTS + 8));
        put(at + 4, kind);
        put(at + 6, &u16::try_from(LISTS).unwrap().to_le_bytes());
        for number in 0..LISTS {
            put(at + 8 + 4 * number, &place(entry));
        }
    }
    put(key, &cell(65_000));
    put(key + 4, b"nk");
    put(key + 4 + 2, &0x20_u16.to_le_bytes());
    put(key + 4 + 72, &4_u16.to_le_bytes());
    put(key + 4 + 76, b"Name");
    let hive = Hive::new(bytes.clone()).unwrap();
    assert_eq!(hive.keys(hive.root().unwrap()).len(), KEYS_MAX);
    bytes[key + 4 + 72..key + 4 + 74].copy_from_slice(&60_000_u16.to_le_bytes());
    let hive = Hive::new(bytes).unwrap();
    assert!(hive.keys(hive.root().unwrap()).is_empty(), "no key has a name of 60000 letters");
}
