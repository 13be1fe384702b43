//! Replication in figures: `cargo bench -p tests --bench replication` prints how old the newest recoverable state of a busy
//! server is, and what memory the agent takes. `LIFEBOAT_FIGURES=rpo` or `memory` prints one of both, and
//! `LIFEBOAT_RPO_SECONDS=120` says how long each row of the first is measured.
//!
//! RPO: the agent's own loop, tracker, freezer and sessions protect a file system on a loop device, which is written to at
//! random places at a steady rate; the appliance is the real `lifeboat serve` on the same machine, with spool and vault
//! on the disk of the temporary folder. Loop devices are nobody's disks to the program `lifeboat-agent`, so the loop runs
//! here, where its appliance's word of what is in the vault is held against the clock.

/// The appliance.
mod appliance;
/// The agent on a machine with a large disk.
mod guest;
/// What writes.
mod load;
/// The agent.
mod server;

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tests::loop_mount::LoopMount;

use tests::serving::BY_ITSELF;

use appliance::Appliance;
use load::Load;
use server::Server;

const DISK_BYTES: u64 = 2 << 30;
/// Points that a row is made of at least.
const POINTS: usize = 3;
/// What is written to, of the file system.
const FILE_BYTES: u64 = 1 << 30;
const MIB: f64 = 1_048_576.0;

/// A folder that is gone afterwards.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} stays behind: {error}", self.0.display());
        }
    }
}

fn main() {
    let wanted = std::env::var("LIFEBOAT_FIGURES").unwrap_or_default();
    let mut failed = false;
    for (name, measure) in [("rpo", rpo as fn(&Path) -> _), ("memory", memory)] {
        if !wanted.is_empty() && wanted != name {
            continue;
        }
        if let Err(why) = in_folder(measure) {
            eprintln!("{name}: {why}");
            failed = true;
        }
    }
    if failed {
        std::process::exit(1);
    }
}

fn in_folder(measure: fn(&Path) -> Result<(), String>) -> Result<(), String> {
    let folder = std::env::temp_dir().join(format!("lifeboat-figures-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let folder = Folder(folder);
    measure(&folder.0)
}

fn memory(folder: &Path) -> Result<(), String> {
    let guest::Memory { resident, dead_man, maps } = guest::measure(folder)?;
    println!("with a disk of 1 TiB, while it is copied for the first time, KiB:");
    println!("the agent {resident}, its dead-man {dead_man}, its maps in the kernel {maps}");
    Ok(())
}

fn rpo(folder: &Path) -> Result<(), String> {
    let seconds = std::env::var("LIFEBOAT_RPO_SECONDS").ok().and_then(|text| text.parse().ok());
    let length = Duration::from_secs(seconds.unwrap_or(120));
    let mounted =
        LoopMount::create(folder, "ext4", DISK_BYTES).ok_or("this machine gives no loop device")?;
    let load = Load::prepare(&mounted.at().join("load"), FILE_BYTES)?;
    let appliance = Appliance::start(folder, BY_ITSELF);
    let mut server = Server::start(&appliance.token(), &mounted)?;
    appliance.policy(&["--interval", "10s"]);
    let began = Instant::now();
    server.run_until(&mut |seen| seen.vaulted > 0)?;
    println!("first copy in the vault after {:.0} s", began.elapsed().as_secs_f64());
    println!(
        "| writes | written | sent | points | clean | frozen, worst | in the vault after, middle and worst | RPO, worst |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (kib, rate) in [(64, 20.0), (4, 2.0), (4, 20.0)] {
        server.forget();
        let writing = load.begin(kib * 1024, rate * 1e6)?;
        let began = Instant::now();
        server.run_until(&mut |seen| began.elapsed() >= length && seen.points() >= POINTS)?;
        let seconds = began.elapsed().as_secs_f64();
        let written = writing.end()?;
        println!(
            "| {kib} KiB, {rate} MB/s wanted | {:.1} MB/s | {}",
            written / 1e6 / seconds,
            server.row()
        );
        // What is still on its way is not the next row's.
        let newest = server.newest_epoch();
        server.run_until(&mut |seen| seen.vaulted >= newest)?;
    }
    println!("memory in use by this process: {:.1} MiB", server.memory_bytes() / MIB);
    server.end();
    Ok(())
}
