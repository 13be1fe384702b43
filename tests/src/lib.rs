//! Shared helpers of the end-to-end tests.

/// The appliance in a virtual machine.
pub mod appliance;
/// Azurite, installed once and started per test.
pub mod azurite;
/// A real browser.
pub mod browser;
/// Seeded mutations of a corpus.
pub mod campaign;
/// Runs the program with a deadline and looks at how it ended.
pub mod cli;
/// curl as a client of the API.
pub mod curl;
/// A real Debian on a disk.
pub mod debian;
/// A TCP proxy that is only far away.
pub mod delay_line;
/// A proxy that makes requests fail by rules.
pub mod fault_proxy;
/// Forms of the page, and what is typed into them.
pub mod forms;
/// Every parser of bytes from outside, as one function each, and what they are tried with.
pub mod fuzzing;
/// Kernels with a first process, for machines that start without a disk.
pub mod guest;
/// The program that takes agents, to be killed and hurt.
pub mod ingesting;
/// Debian's kernels, old and new, with a first process of ours.
pub mod kernels;
/// The other end of a machine's wires.
pub mod lan;
/// File systems on loop devices, in a mount namespace of the test's own.
pub mod loop_mount;
/// An appliance that is managed, and clients that log in.
pub mod managing;
/// Disks that tests plug into machines.
pub mod media;
/// The vault's protocol as an abstract machine small enough to try every interleaving of it.
pub mod model;
/// Programs of npm.
pub mod node;
/// The real `lifeboat serve`, set up, and tokens for it.
pub mod paired;
/// Points held against an agent's model.
pub mod points;
/// The program `lifeboat` as a person or a script runs it.
pub mod program;
/// Servers of a vault, and the region that they are recovered to.
pub mod recovering;
/// A stand-in for a region of Azure, with its storage.
pub mod region;
/// A proxy that counts round trips.
pub mod round_line;
/// An agent that does what a test says.
pub mod scripted_agent;
/// Servers for recovery to be tried on.
pub mod servers;
/// The real `lifeboat serve` on this host.
pub mod serving;
/// A network with a server of addresses and a server of time.
pub mod site;
/// A small real vault in a folder, to be hurt.
pub mod small_vault;
/// Microsoft's specifications of the control plane.
pub mod specifications;
/// An appliance of made-up servers.
pub mod synthetic_site;
/// Whoever shows a certificate and has nothing else to say.
pub mod tls_host;
