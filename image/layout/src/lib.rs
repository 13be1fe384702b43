#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

/// The keys that PID 1 reads of the kernel's command line.
pub mod command_line;
/// `lifeboat.toml`, the optional file in the ESP's root.
pub mod configuration;
/// The partitions of the image: names, types, places and sizes.
pub mod disk;
/// Names on the EFI system partition: slots, boot counting, the boot manager.
pub mod esp;
/// Paths inside the initial file system.
pub mod initrd;
/// Whose updates are taken.
pub mod keys;
/// The index of kernel modules.
pub mod modules;
/// The file of an update.
pub mod update;
/// Versions.
pub mod version;
