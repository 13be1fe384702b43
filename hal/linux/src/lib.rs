#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

/// Bytes of ours as one file that the kernel reads and writes.
pub mod block_file;
/// Programs of our own inside the kernel.
pub mod bpf;
/// Wall clock and a clock that counts on through sleep.
pub mod clock;
/// What a thread gives up for good.
pub mod confine;
/// Block devices and image files as `hal::disk::Disk`.
pub mod disk;
/// The kernel's random generator.
pub mod entropy;
/// Where a file lies on its device.
pub mod extents;
/// File systems held still, and the socket over which they are handed to another process.
pub mod freeze;
/// What disks the machine has, and what is mounted on top of them.
pub mod inventory;
/// A process that shuts itself in.
pub mod jail;
/// How this process stands among others: locked memory, priority, process groups.
pub mod manners;
/// A file system mounted where nobody sees it.
pub mod mounted;
/// Links, addresses and routes, and links below IP.
pub mod net;
/// What this process uses of the machine: resident memory, processors.
pub mod process;

/// A hardware watchdog.
pub mod watchdog;

/// One safe function per system call; the only place of the project with `unsafe`.
mod sys;

pub use clock::SystemClock;
pub use disk::{Access, Direct, LinuxDisk, OpenOptions};
pub use entropy::SystemEntropy;
pub use inventory::{facts_of, inventory};
pub use net::{LinuxNic, LinuxStack};
pub use sys::memory::AlignedBuffer;
