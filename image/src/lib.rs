#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// Debian's mirrors, asked through apt as any user.
pub mod apt;
/// Programs of UEFI, signed for Secure Boot.
pub mod authenticode;
/// The part of the image that does not depend on our program.
pub mod base;
/// The bill of materials.
pub mod bill;
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
/// DER, written.
mod der;
/// The image of a whole disk.
pub mod disk;
/// Keys as firmware takes them in.
pub mod enrolment;
/// What went wrong, whose fault it is, and what to do.
pub mod error;
/// FAT32, written once and whole.
pub mod fat;
/// Files, read and written whole.
pub mod files;
/// What is said where no slot can be started.
pub mod help;
/// The numbers that tell one disk from another.
pub mod identity;
/// The first file system.
pub mod initrd;
/// The hybrid ISO.
pub mod iso;
/// The kernel's package.
pub mod kernel;
/// What the security chip will hold of a slot, signed.
pub mod measured;
/// What a kernel module says of itself.
pub mod modinfo;
/// The OVA that VMware imports.
pub mod ova;
/// The packages of the recipe, from the cache or the mirrors.
pub mod packages;
/// Programs of UEFI.
pub mod pe;
/// Signatures as firmware reads them.
mod pkcs7;
/// What of our program goes into the image.
pub mod program;
/// What the builder says while it works.
pub mod progress;
/// qcow2.
pub mod qcow2;
/// What goes into the image, as data, and what that was exactly.
pub mod recipe;
/// Who signs.
pub mod signing;
/// A slot: stub, command line, kernel and first file system in one program.
pub mod slot;
/// The partition table.
pub mod table;
/// Dates.
pub mod time;
/// The file of an update.
pub mod update;
/// The fixed VHD that Azure takes.
pub mod vhd;
/// The stream-optimised VMDK.
pub mod vmdk;
