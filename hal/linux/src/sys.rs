//! System calls behind safe functions, one file per family; the only place of the project that may
//! say `unsafe`. What `rustix` already offers safely is called directly and is not repeated here.

/// Calls that a service must not make, made harmlessly.
pub(crate) mod attempt;
/// Maps and programs inside of the kernel.
pub(crate) mod bpf;
/// Where a file lies on its device.
pub(crate) mod extents;
/// A filter of the kernel over a thread's system calls.
pub(crate) mod filter;
/// The ioctls that freeze and thaw a file system.
pub(crate) mod freeze;
/// The ioctls of hardware clocks.
pub(crate) mod hardware_clock;
/// The ioctls of block devices.
pub(crate) mod ioctl;
/// Rules over what a process may open.
pub(crate) mod landlock;
/// The ioctls that make a file a block device.
pub(crate) mod loop_device;
/// I/O class and signals of this process.
pub(crate) mod manners;
/// Page-aligned memory that the kernel may read and write by DMA.
pub(crate) mod memory;
/// Sockets below IP.
pub(crate) mod packet;
/// io_uring with buffers that it owns while the kernel works on them.
pub(crate) mod ring;
/// Memory that others write to as well.
pub(crate) mod shared;
/// The ioctl of hardware watchdogs.
pub(crate) mod watchdog;
