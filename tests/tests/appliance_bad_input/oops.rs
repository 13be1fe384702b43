//! A kernel module that crashes while it is loaded: a copy of a good one, whose first instruction is made an invalid one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use image::cpio::Cpio;
use image_layout::initrd::MODULES;
use tests::azurite::run;

/// An instruction that no processor knows.
const INVALID: [u8; 2] = [0x0F, 0x0B];
/// Where an indirect jump may land, and the room for a tracer's call: kept, or the crash would be another one.
const LANDING: [u8; 4] = [0xF3, 0x0F, 0x1E, 0xFA];
const TRACER_BYTES: usize = 5;
/// What a signed module ends with.
const SIGNED: &[u8] = b"~Module signature appended~\n";

/// A first file system in which this module crashes: a later archive replaces a file of an earlier one.
pub(crate) fn with_crash(initrd: &Path, module: &str, folder: &Path) -> PathBuf {
    let inside = format!("{MODULES}/{module}.ko");
    let mut bytes = unpacked(initrd, inside.trim_start_matches('/'));
    let at = init_place(&bytes).expect("the module has a function that is called at its start");
    let landing = if bytes[at..].starts_with(&LANDING) { LANDING.len() } else { 0 };
    let first = at + landing + TRACER_BYTES;
    bytes[first..first + 2].copy_from_slice(&INVALID);
    // A wrong signature is refused; none at all is taken, where the command line does not forbid it.
    assert!(bytes.ends_with(SIGNED), "{inside} is signed by Debian");
    bytes.truncate(bytes.len() - SIGNED.len());
    let mut archive = Cpio::new();
    archive.file(&inside, &bytes).expect("one file fits an archive");
    let plain = folder.join("hurt.cpio");
    fs::write(&plain, archive.end().expect("one file fits an archive")).expect("a scratch file");
    let packed = folder.join("hurt.zst");
    let mut command = Command::new("zstd");
    run(command.args(["-q", "-f"]).arg(&plain).arg("-o").arg(&packed)).expect("zstd is there");
    let mut whole = fs::read(initrd).expect("the first file system is there");
    whole.extend(fs::read(&packed).expect("it was just made"));
    let hurt = folder.join("initrd.zst");
    fs::write(&hurt, whole).expect("a scratch file");
    hurt
}

/// A file of the first archive.
fn unpacked(initrd: &Path, path: &str) -> Vec<u8> {
    let plain = Command::new("zstd").args(["-dcq"]).arg(initrd).stdout(Stdio::piped()).spawn();
    let plain = plain.expect("zstd is there").stdout.expect("its output is ours");
    let mut command = Command::new("cpio");
    command.args(["-i", "--quiet", "--to-stdout", path]).stdin(plain);
    let bytes = command.output().expect("cpio is there").stdout;
    assert!(bytes.starts_with(b"\x7fELF"), "{path} is not in {}", initrd.display());
    bytes
}

/// Where in an ELF file of 64 bits, little-endian, the function `init_module` is.
fn init_place(file: &[u8]) -> Option<usize> {
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let mut word = [0; 8];
        word.get_mut(..bytes)?.copy_from_slice(file.get(at..at + bytes)?);
        usize::try_from(u64::from_le_bytes(word)).ok()
    };
    let (sections, count) = (number(0x28, 8)?, number(0x3C, 2)?);
    let section = |index: usize| sections + index * 64;
    // Kind, offset, size and linked section of each.
    let symbols = (0..count).map(section).find(|at| number(at + 4, 4) == Some(2))?;
    let names = number(section(number(symbols + 0x28, 4)?) + 0x18, 8)?;
    let (from, bytes) = (number(symbols + 0x18, 8)?, number(symbols + 0x20, 8)?);
    let all = (from..from + bytes).step_by(24);
    let found = all.into_iter().find(|at| {
        let name = number(*at, 4).map(|name| names + name);
        name.and_then(|name| file.get(name..))
            .is_some_and(|name| name.starts_with(b"init_module\0"))
    })?;
    let (home, value) = (number(found + 6, 2)?, number(found + 8, 8)?);
    Some(number(section(home) + 0x18, 8)? + value)
}
