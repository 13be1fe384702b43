//! Every parser of bytes from outside, as one function each that takes any bytes and returns: [`TARGETS`].
//!
//! Two things call them. `tests/tests/fuzz.rs` hands each its corpus and seeded mutations of it, on any Rust. `.ci/fuzz` hands them
//! to libFuzzer, which follows coverage, and brings what was new in it back into `tests/corpora`, one folder for each target.
//!
//! Files of a corpus are small. Disks are sectors with their numbers ([`sparse`]), as most of a disk is zeros.

use std::fs;
use std::path::{Path, PathBuf};

/// What is on disks and media.
mod disks;
/// What people write: configuration, plans, profiles.
mod files;
/// What a machine's own firmware says.
mod machine;
/// What other machines of a network say.
mod network;
/// Disks that are mostly zeros.
pub mod sparse;
/// What is in a vault, a spool and a state partition.
mod vault;
/// What browsers, agents, NBD clients and Azure send.
mod wire;

/// One parser, or several that the same bytes reach.
pub struct Target {
    /// Its name, and its folder's in `tests/corpora`.
    pub name: &'static str,
    /// Mutations that CI tries.
    pub rounds: u64,
    /// Takes any bytes. It may not panic, and what it checks of an answer is in it.
    pub run: fn(&[u8]),
}

const fn of(name: &'static str, rounds: u64, run: fn(&[u8])) -> Target {
    Target { name, rounds, run }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    of("dhcp4", 20_000, network::dhcp4),
    of("dhcp6", 20_000, network::dhcp6),
    of("router", 50_000, network::router),
    of("sntp", 100_000, network::sntp),
    of("dns", 20_000, network::dns),
    of("agent", 50_000, wire::agent),
    of("enrolment", 50_000, wire::enrolment),
    of("certificate", 20_000, wire::certificate),
    of("api", 10_000, wire::api),
    of("nbd", 50_000, wire::nbd),
    of("azure", 20_000, wire::azure),
    of("courier", 50_000, wire::courier),
    of("record", 20_000, vault::record),
    of("map", 50_000, vault::map),
    of("keys", 20_000, vault::keys),
    of("segment", 20_000, vault::segment),
    of("document", 20_000, vault::document),
    of("spool", 20_000, vault::spool),
    of("roll", 20_000, vault::roll),
    of("configuration", 10_000, files::configuration),
    of("profile", 10_000, files::profile),
    of("boot-words", 50_000, files::boot_words),
    of("fstab", 50_000, files::fstab),
    of("update", 50_000, disks::update),
    of("vhd", 50_000, disks::vhd),
    of("partitions", 10_000, disks::partitions),
    of("fat", 2000, disks::fat),
    of("ntfs", 5000, disks::ntfs),
    of("hive", 20_000, disks::hive),
    of("initramfs", 10_000, disks::initramfs),
    of("program", 20_000, disks::program),
    of("package", 2000, disks::package),
    of("measurements", 50_000, machine::measurements),
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Where the corpora are.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora")
}

impl Target {
    /// What is in its folder, in order.
    #[must_use]
    pub fn corpus(&self) -> Vec<Vec<u8>> {
        let Ok(entries) = fs::read_dir(folder().join(self.name)) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().map(|path| fs::read(path).expect("the corpus is readable")).collect()
    }
}

/// The bytes as pieces, each behind its length in two bytes; the last may be cut.
fn pieces(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (piece, left) = rest.split_at(length);
        bytes = left;
        Some(piece)
    })
}

/// The first byte chooses, the rest is for what it chose.
fn choice(bytes: &[u8], among: u8) -> (u8, &[u8]) {
    bytes.split_first().map_or((0, bytes), |(first, rest)| (first % among, rest))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
