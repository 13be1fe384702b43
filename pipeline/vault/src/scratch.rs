//! What tests of this crate share: an empty folder, and damage by seed.

use core::sync::atomic::{AtomicU32, Ordering};
use std::fs;
use std::path::{Path, PathBuf};

static MADE: AtomicU32 = AtomicU32::new(0);

/// An empty folder for one test, removed afterwards.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// In memory where the system has a place for it: syncs then cost nothing.
    pub(crate) fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::below(memory) } else { Self::new() }
    }

    fn below(folder: &Path) -> Self {
        let count = MADE.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("lifeboat-{}-{count}", std::process::id()));
        fs::create_dir(&path).expect("temporary folders can be made where tests run");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Hands `check` copies of `original` with bytes flipped, overwritten, cut, repeated and inserted, by a fixed seed.
pub(crate) fn mutations(original: &[u8], count: u32, mut check: impl FnMut(&[u8])) {
    let mut random = 0x1234_5678_9ABC_DEF0_u64;
    let mut below = |limit: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % (limit.max(1) as u64)).expect("below a usize")
    };
    for _ in 0..count {
        let mut bytes = original.to_vec();
        for _ in 0..=below(4) {
            let at = below(bytes.len());
            let byte = u8::try_from(below(256)).expect("below 256");
            match below(6) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << below(8),
                1 if !bytes.is_empty() => bytes[at] = byte,
                2 => bytes.truncate(at),
                3 => bytes.insert(at, byte),
                4 if !bytes.is_empty() => {
                    bytes.remove(at);
                }
                _ => {
                    let end = at + below(bytes.len() - at.min(bytes.len()) + 1);
                    let part = bytes.get(at..end).unwrap_or_default().to_vec();
                    bytes.extend(part);
                }
            }
        }
        check(&bytes);
    }
}
