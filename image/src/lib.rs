#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// Debian's mirrors, asked through apt as any user.
pub mod apt;
/// The part of the image that does not depend on our program.
pub mod base;
/// From the command line to the files.
pub mod build;
/// The command line of the builder.
pub mod cli;
/// Which modules are needed, and in which order they can be loaded.
pub mod closure;
/// Zstandard.
pub mod compress;
/// The archive that the kernel unpacks into its first file system.
pub mod cpio;
/// A Debian package's files.
pub mod deb;
/// What went wrong, whose fault it is, and what to do.
pub mod error;
/// Files, read and written whole.
pub mod files;
/// The first file system.
pub mod initrd;
/// The kernel's package.
pub mod kernel;
/// What a kernel module says of itself.
pub mod modinfo;
/// The packages of the recipe, from the cache or the mirrors.
pub mod packages;
/// What of our program goes into the image.
pub mod program;
/// What the builder says while it works.
pub mod progress;
/// What goes into the image, as data, and what that was exactly.
pub mod recipe;
