//! Lifeboat, restic and borg in turn over the same image: first point, next point, restore, size.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ours::{Vault, figure};
use crate::run::{Bench, bytes_below, median, run};

/// Times in seconds and sizes in bytes, one entry per round.
#[derive(Default)]
struct Times {
    first: Vec<f64>,
    next: Vec<f64>,
    restore: Vec<f64>,
    stored: Vec<u64>,
}

/// Borg's two settings: its default, and what its manual advises for disk images.
const BORG_CHUNKERS: [&str; 2] = ["buzhash,19,23,21,4095", "fixed,4194304"];

/// Runs everything and prints the table.
pub(crate) fn compare(bench: &Bench) -> Result<(), String> {
    install(&["restic", "borg"], &["restic", "borgbackup"])?;
    let mut ours = Times::default();
    let mut changed = Vec::new();
    let mut restic = Times::default();
    let mut borg: Vec<Times> = BORG_CHUNKERS.iter().map(|_| Times::default()).collect();
    let mut peak = 0;
    let mut extra = String::new();
    for round in 0..bench.rounds {
        let disk = bench.fresh("disk").join("disk.img");
        run(Command::new("cp").arg("--sparse=always").arg(&bench.image).arg(&disk))?;
        let vault = Vault::directory(&bench.fresh("ours"))?;
        let (cost, said) = vault.protect(&disk, None, &[])?;
        ours.first.push(cost.wall.as_secs_f64());
        ours.stored.push(bytes_below(&bench.folder.join("ours/vault")));
        peak = peak.max(cost.peak_kib);
        extra = format!("syncs {} ms", figure(&said, "sync_millis").unwrap_or(0));
        first_of_peers(bench, &disk, &mut restic, &mut borg)?;
        // Ours is short beside theirs and machines breathe: once before and once after them.
        let again = Vault::directory(&bench.fresh("again"))?;
        let (cost, _) = again.protect(&disk, None, &[])?;
        ours.first.push(cost.wall.as_secs_f64());
        bench.fresh("again");
        let ranges = crate::image::change(&disk, bench.image_bytes);
        let list = bench.folder.join("changed");
        let lines: String =
            ranges.iter().map(|(at, length)| format!("disk {at} {length}\n")).collect();
        std::fs::write(&list, lines).map_err(|error| error.to_string())?;
        let whole = Vault::directory_copy(bench, &vault)?;
        let (cost, _) = vault.protect(&disk, Some(&list), &[])?;
        changed.push(cost.wall.as_secs_f64());
        let (cost, _) = whole.protect(&disk, None, &[])?;
        ours.next.push(cost.wall.as_secs_f64());
        peak = peak.max(cost.peak_kib);
        next_of_peers(bench, &disk, &mut restic, &mut borg)?;
        peak = peak.max(restores(bench, &disk, &vault, &mut ours, &mut restic, &mut borg)?);
        println!("round {} of {} done", round + 1, bench.rounds);
    }
    print(bench, &ours, &changed, &restic, &borg, peak, &extra);
    Ok(())
}

fn first_of_peers(
    bench: &Bench,
    disk: &Path,
    restic: &mut Times,
    borg: &mut [Times],
) -> Result<(), String> {
    bench.fresh("restic");
    run(restic_command(bench).arg("init"))?;
    restic.first.push(run(restic_command(bench).arg("backup").arg(disk))?.wall.as_secs_f64());
    restic.stored.push(bytes_below(&bench.folder.join("restic/repository")));
    for (at, chunker) in BORG_CHUNKERS.iter().enumerate() {
        let folder = bench.fresh(&format!("borg{at}"));
        run(borg_command(&folder).args(["init", "-e", "repokey-blake2"]))?;
        let cost = run(borg_create(&folder, chunker, "first").arg(disk))?;
        borg[at].first.push(cost.wall.as_secs_f64());
        borg[at].stored.push(bytes_below(&folder.join("repository")));
    }
    Ok(())
}

fn next_of_peers(
    bench: &Bench,
    disk: &Path,
    restic: &mut Times,
    borg: &mut [Times],
) -> Result<(), String> {
    restic.next.push(run(restic_command(bench).arg("backup").arg(disk))?.wall.as_secs_f64());
    for (at, chunker) in BORG_CHUNKERS.iter().enumerate() {
        let folder = bench.folder.join(format!("borg{at}"));
        let cost = run(borg_create(&folder, chunker, "next").arg(disk))?;
        borg[at].next.push(cost.wall.as_secs_f64());
    }
    Ok(())
}

/// Restores of all; every result is compared with the disk. Gives our peak memory.
fn restores(
    bench: &Bench,
    disk: &Path,
    vault: &Vault,
    ours: &mut Times,
    restic: &mut Times,
    borg: &mut [Times],
) -> Result<u64, String> {
    let target = bench.fresh("restored").join("disk.img");
    let (cost, _) = vault.restore(&target)?;
    ours.restore.push(cost.wall.as_secs_f64());
    same(disk, &target)?;
    crate::image::change(&target, bench.image_bytes);
    run(Command::new("cp").arg("--sparse=always").arg(&bench.image).arg(&target))?;
    let (again, said) = vault.restore(&target)?;
    same(disk, &target)?;
    let written = figure(&said, "written_bytes").unwrap_or(u64::MAX);
    println!(
        "restore onto 99 % the same: {:.2} s, wrote {:.2} % of the disk",
        again.wall.as_secs_f64(),
        100.0 * written as f64 / bench.image_bytes as f64
    );
    let target = bench.fresh("restored");
    let mut command = restic_command(bench);
    let cost = run(command.args(["restore", "latest", "--target"]).arg(&target))?;
    restic.restore.push(cost.wall.as_secs_f64());
    same(disk, &target.join(disk.strip_prefix("/").map_err(|error| error.to_string())?))?;
    for (at, times) in borg.iter_mut().enumerate() {
        let folder = bench.folder.join(format!("borg{at}"));
        let target = bench.fresh("restored");
        let mut command = borg_command(&folder);
        let cost = run(command.args(["extract", "--sparse", "::next"]).current_dir(&target))?;
        times.restore.push(cost.wall.as_secs_f64());
        same(disk, &target.join(disk.strip_prefix("/").map_err(|error| error.to_string())?))?;
    }
    bench.fresh("restored");
    Ok(cost.peak_kib)
}

fn same(left: &Path, right: &Path) -> Result<(), String> {
    run(Command::new("cmp").arg(left).arg(right)).map(|_| ())
}

fn restic_command(bench: &Bench) -> Command {
    let folder = bench.folder.join("restic");
    let mut command = Command::new("restic");
    command.env("RESTIC_PASSWORD", "bench").env("RESTIC_REPOSITORY", folder.join("repository"));
    command.env("RESTIC_CACHE_DIR", folder.join("cache")).arg("--quiet");
    command
}

fn borg_command(folder: &Path) -> Command {
    let mut command = Command::new("borg");
    command.env("BORG_PASSPHRASE", "bench").env("BORG_REPO", folder.join("repository"));
    command.env("BORG_BASE_DIR", folder.join("base"));
    command
}

fn borg_create(folder: &Path, chunker: &str, name: &str) -> Command {
    let mut command = borg_command(folder);
    command.args(["create", "--compression", "zstd,1", "--sparse"]);
    command.arg(format!("--chunker-params={chunker}")).arg(format!("::{name}"));
    command
}

/// Installs what is missing, and says so.
pub(crate) fn install(programs: &[&str], packages: &[&str]) -> Result<(), String> {
    let missing = |program: &&str| run(Command::new(program).arg("--help")).is_err();
    if programs.iter().any(missing) {
        println!("installing {} with apt-get", packages.join(" "));
        run(Command::new("apt-get").args(["update", "-q"]))?;
        run(Command::new("apt-get").args(["install", "-y", "-q"]).args(packages))?;
    }
    Ok(())
}

impl Vault {
    /// A copy of a directory vault, so that two kinds of next point start from the same one.
    fn directory_copy(bench: &Bench, vault: &Self) -> Result<Self, String> {
        let source: PathBuf = vault.key.parent().ok_or("the key lies in no folder")?.to_owned();
        let folder = bench.folder.join("copy");
        let _ = std::fs::remove_dir_all(&folder);
        run(Command::new("cp").arg("-a").arg(&source).arg(&folder))?;
        Ok(vault.moved(&folder))
    }
}

fn print(
    bench: &Bench,
    ours: &Times,
    changed: &[f64],
    restic: &Times,
    borg: &[Times],
    peak_kib: u64,
    extra: &str,
) {
    let best = |pick: fn(&Times) -> &Vec<f64>| {
        borg.iter().map(|times| median(pick(times).clone())).fold(f64::INFINITY, f64::min)
    };
    let of = |times: &[f64]| median(times.to_vec());
    let stored = |times: &Times| times.stored.iter().copied().max().unwrap_or(0);
    let smallest = borg.iter().map(stored).min().unwrap_or(0);
    let mib = bench.image_bytes as f64 / 1_048_576.0;
    let row = |what: &str, ours: f64, restic: f64, borg: f64| {
        println!(
            "| {what} | {ours:.2} s | {:.0} MiB/s | {:.1} x restic ({restic:.1} s) | {:.1} x borg ({borg:.1} s) |",
            mib / ours,
            restic / ours,
            borg / ours
        );
    };
    println!("| | Lifeboat | | | |");
    println!("| --- | --- | --- | --- | --- |");
    row("first point", of(&ours.first), of(&restic.first), best(|times| &times.first));
    row(
        "next point, 1 % changed, with --changed",
        of(changed),
        of(&restic.next),
        best(|times| &times.next),
    );
    row(
        "next point, 1 % changed, read whole",
        of(&ours.next),
        of(&restic.next),
        best(|times| &times.next),
    );
    row(
        "restore to a new file",
        of(&ours.restore),
        of(&restic.restore),
        best(|times| &times.restore),
    );
    println!(
        "| stored | {} MB | | {:.3} of restic's {} MB | {:.3} of borg's {} MB |",
        stored(ours) / 1_000_000,
        stored(ours) as f64 / stored(restic) as f64,
        stored(restic) / 1_000_000,
        stored(ours) as f64 / smallest as f64,
        smallest / 1_000_000
    );
    println!("| peak memory | {} MiB | {extra} | | |", peak_kib / 1024);
}
