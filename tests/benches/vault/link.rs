//! A vault 150 ms away: the same point to the same Azurite and back, with and without the delay line between.
//!
//! Azurite is the slowest part; what counts is the ratio of the two, not the rate. The line itself takes processor time, which on
//! two processors the program and Azurite lack: a line without delay tells that apart.

use core::time::Duration;
use std::path::Path;
use std::process::Command;

use tests::azurite::{ACCOUNT, Azurite, KEY};
use tests::delay_line::{DelayLine, Distance};

use crate::ours::Vault;
use crate::run::{Bench, median, run};

/// How much of the image is protected: all of it, and its beginning alone. What the whole takes more than the beginning is
/// the rate once it runs; the rest is what it costs to begin, which a large disk does not notice.
const PARTS_MIB: [u64; 2] = [512, 3072];

/// Prints both rates and their ratio.
pub(crate) fn measure(bench: &Bench) -> Result<(), String> {
    let azurite = Azurite::start()?;
    let upstream = azurite.authority().parse().map_err(|error| format!("{error}"))?;
    let one_way = Duration::from_millis(75);
    let far = DelayLine::start(upstream, Distance { one_way, ..Distance::default() })
        .map_err(|error| error.to_string())?;
    let line =
        DelayLine::start(upstream, Distance { one_way: Duration::ZERO, ..Distance::default() })
            .map_err(|error| error.to_string())?;
    let places = [azurite.authority(), line.address().to_string(), far.address().to_string()];
    let parts = PARTS_MIB.map(|mib| mib.min(bench.image_bytes >> 20));
    let mut there = <[Times; 2]>::default();
    let mut back = <[Times; 2]>::default();
    for (at, mib) in parts.into_iter().enumerate() {
        let part = bench.fresh("part").join("disk.img");
        let mut dd = Command::new("dd");
        dd.args(["bs=1M", &format!("count={mib}"), "status=none"]);
        let (from, to) = (bench.image.display(), part.display());
        run(dd.arg(format!("if={from}")).arg(format!("of={to}")))?;
        for round in 0..bench.rounds {
            for (way, place) in places.iter().enumerate() {
                let container = format!("way{way}-{mib}-{round}");
                let (made, restored) = seconds(bench, &part, place, &container)?;
                there[at].0[way].push(made);
                back[at].0[way].push(restored);
            }
        }
    }
    print("first point over 150 ms", parts, &there);
    print("restore over 150 ms", parts, &back);
    Ok(())
}

/// Seconds for a first point and for its restore.
fn seconds(
    bench: &Bench,
    part: &Path,
    authority: &str,
    container: &str,
) -> Result<(f64, f64), String> {
    let place = format!("azure://{ACCOUNT}/{container}?endpoint=http://{authority}/{ACCOUNT}");
    let key = ("AZURE_STORAGE_KEY".to_owned(), KEY.to_owned());
    let vault = Vault::create(place, &bench.fresh("link"), vec![key])?;
    let (made, _) = vault.protect(part, None, &["--level", "1"])?;
    let target = bench.fresh("restored").join("disk.img");
    let (restored, _) = vault.restore(&target)?;
    run(Command::new("cmp").arg(part).arg(&target))?;
    Ok((made.wall.as_secs_f64(), restored.wall.as_secs_f64()))
}

/// Seconds near, behind a line without delay, and far, one entry a round.
#[derive(Default)]
struct Times([Vec<f64>; 3]);

impl Times {
    fn medians(&self) -> [f64; 3] {
        self.0.each_ref().map(|times| median(times.clone()))
    }
}

/// One row for the whole, beginning included, and one for what the whole takes more than its first part.
fn print(what: &str, parts: [u64; 2], times: &[Times; 2]) {
    let [less, all] = [times[0].medians(), times[1].medians()];
    let row = |how: &str, mib: u64, [near, line, far]: [f64; 3]| {
        let (ratio, of_line) = (100.0 * near / far, 100.0 * line / far);
        println!(
            "| {what}{how} | {mib} MiB in {far:.1} s, {near:.1} s without, {line:.1} s over the same line without delay | {ratio:.0} % of the rate without, {of_line:.0} % of the line's |"
        );
    };
    row("", parts[1], all);
    let more = [0, 1, 2].map(|way| all[way] - less[way]);
    row(", once it runs", parts[1] - parts[0], more);
}
