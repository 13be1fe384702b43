//! What is on a server's disks, whether it boots on a platform, and what is changed so that it does.
//!
//! Looking and changing go through two traits: a [`view::View`] is the bytes of a disk, a [`tree::Tree`] is a file
//! system. So nothing here mounts, and all of it is tried on folders and files. It writes only through what it is
//! handed, which is an overlay over a point: the server itself and its points stay as they are. Whatever it reads is
//! taken for hostile.

/// How a server starts: firmware, boot loaders, command lines.
mod boot;
/// File systems that the kernel need not mount: FAT, by its own bytes.
pub mod fat;
/// A registry hive of Windows.
pub mod hive;
/// What is in an initramfs, and another archive behind it.
pub mod initramfs;
/// Whether a server boots on a platform.
pub mod judge;
/// Drivers of kernels: which there are, and what each needs.
mod modules;
/// How a server's first network interface is set up.
mod network;
/// NTFS, read by name and changed in place.
pub mod ntfs;
/// What a platform needs of a server.
pub mod platform;
/// What was found, and what can be done about it.
pub mod readiness;
/// Changes that make a server boot on a platform.
pub mod repair;
/// All file systems of a server as one tree.
pub mod survey;
/// A file system as names and bytes.
pub mod tree;
/// What was changed by a repair, taken back.
pub mod undo;
/// Bytes of a disk.
pub mod view;
/// Partitions, logical volumes and what is on them.
pub mod volumes;

pub use platform::Platform;
pub use readiness::{Finding, Generation, Readiness, Remedy, Severity, System, What};
pub use repair::{Change, Wish};
pub use survey::{Open, Survey};
