//! A vault 150 ms away: the same point to the same Azurite and back, with and without the delay line between.
//!
//! Azurite is the slowest part; what counts is the ratio of the two, not the rate.

use core::time::Duration;
use std::process::Command;

use tests::azurite::{ACCOUNT, Azurite, KEY};
use tests::delay_line::{DelayLine, Distance};

use crate::ours::Vault;
use crate::run::{Bench, median, run};

/// What is protected of the image: all of it by default, as a few seconds' worth would only show what it costs to begin.
const PART_MIB: u64 = 3072;

/// Prints both rates and their ratio.
pub(crate) fn measure(bench: &Bench) -> Result<(), String> {
    let azurite = Azurite::start()?;
    let upstream = azurite.authority().parse().map_err(|error| format!("{error}"))?;
    let one_way = Duration::from_millis(75);
    let far = DelayLine::start(upstream, Distance { one_way, ..Distance::default() })
        .map_err(|error| error.to_string())?;
    let part = bench.fresh("part").join("disk.img");
    let mib = PART_MIB.min(bench.image_bytes >> 20);
    let mut dd = Command::new("dd");
    dd.args(["bs=1M", &format!("count={mib}"), "status=none"]);
    run(dd.arg(format!("if={}", bench.image.display())).arg(format!("of={}", part.display())))?;
    let (mut there, mut back) = (Pair::default(), Pair::default());
    for round in 0..bench.rounds {
        let seconds = |authority: &str, container: &str| -> Result<(f64, f64), String> {
            let place = format!(
                "azure://{ACCOUNT}/{container}{round}?endpoint=http://{authority}/{ACCOUNT}"
            );
            let key = ("AZURE_STORAGE_KEY".to_owned(), KEY.to_owned());
            let vault = Vault::create(place, &bench.fresh(container), vec![key])?;
            let (made, _) = vault.protect(&part, None, &["--level", "1"])?;
            let target = bench.fresh("restored").join("disk.img");
            let (restored, _) = vault.restore(&target)?;
            run(Command::new("cmp").arg(&part).arg(&target))?;
            Ok((made.wall.as_secs_f64(), restored.wall.as_secs_f64()))
        };
        let near = seconds(&azurite.authority(), "near")?;
        let far = seconds(&far.address().to_string(), "far")?;
        there.note(near.0, far.0);
        back.note(near.1, far.1);
    }
    there.print("first point over 150 ms", mib);
    back.print("restore over 150 ms", mib);
    Ok(())
}

/// Seconds near and far, one entry a round.
#[derive(Default)]
struct Pair {
    near: Vec<f64>,
    far: Vec<f64>,
}

impl Pair {
    fn note(&mut self, near: f64, far: f64) {
        self.near.push(near);
        self.far.push(far);
    }

    fn print(self, what: &str, mib: u64) {
        let (near, far) = (median(self.near), median(self.far));
        println!(
            "| {what} | {mib} MiB in {far:.1} s, {near:.1} s without | {:.0} % of the rate without |",
            100.0 * near / far
        );
    }
}
