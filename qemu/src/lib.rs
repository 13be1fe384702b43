#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// What executes a guest.
pub mod accel;
/// What a machine starts with.
pub mod boot;
/// What time a machine believes it is.
pub mod clock;
/// A guest's serial line as events.
pub mod console;
/// Disks of every bus.
pub mod disk;
/// What can go wrong.
pub mod error;
/// What programs inside of machines have in common.
pub mod guest;
/// A machine as a value.
pub mod machine;
/// Networks between machines.
pub mod network;
/// Network cards of every model.
pub mod nic;
/// A stand-in for a region of Azure.
pub mod region;
/// A machine that runs.
pub mod running;
/// A TPM by swtpm.
pub mod tpm;

/// A folder for one machine.
mod folder;
/// A child process that never outlives us.
mod process;
/// QEMU's machine protocol.
mod qmp;
/// Which device hangs where.
mod wiring;

pub use accel::Accel;
pub use boot::{Boot, Kernel, SecureBoot, Uefi};
pub use clock::Clock;
pub use console::{Console, Echo, Event, Line};
pub use disk::{Broken, Bus, Disk, Format, Pace, Sectors};
pub use error::Error;
pub use machine::{Machine, PATIENT, Watchdog, available};
pub use network::{Cable, Network, Port, Tap};
pub use nic::{Gateway, Mac, Model, Nic, Subnet};
pub use running::{Ended, Running};
pub use tpm::Tpm;
