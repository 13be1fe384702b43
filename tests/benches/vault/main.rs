//! The benchmark of the vault: Lifeboat against restic and borg, against its own limit, and over a long link.
//!
//! `cargo bench -p tests --bench vault` prints ratios of one run on this machine. It installs restic and borg
//! with apt where they are missing. Everything lies in `LIFEBOAT_BENCH_DIR` (default /dev/shm), the image on the disk
//! under the target folder and warm in the page cache. `LIFEBOAT_BENCH_MIB` (default 3072) sets the image's size,
//! `LIFEBOAT_BENCH_ROUNDS` (default 3) the rounds, `LIFEBOAT_BENCH_PARTS` picks from: peers limit memory link ingest
//! hydrate.

mod hydrate;
mod image;
mod ingest;
mod limit;
mod link;
mod memory;
mod ours;
mod peers;
mod run;

use run::Bench;

fn main() {
    // `cargo bench` hands its own arguments over; a filter makes no sense here.
    let parts = std::env::var("LIFEBOAT_BENCH_PARTS");
    let parts = parts.unwrap_or_else(|_| "peers limit memory link ingest hydrate".to_owned());
    let bench = Bench::new();
    println!("{}", bench.machine());
    for part in parts.split_whitespace() {
        let result = match part {
            "peers" => peers::compare(&bench),
            "limit" => limit::measure(&bench),
            "memory" => memory::measure(&bench),
            "link" => link::measure(&bench),
            "ingest" => ingest::measure(&bench),
            "hydrate" => hydrate::measure(&bench),
            other => Err(format!("there is no part «{other}»")),
        };
        if let Err(error) = result {
            eprintln!("{part}: {error}");
            std::process::exit(1);
        }
    }
}
