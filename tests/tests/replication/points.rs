//! Points of a server, and the host's own copies of its disk that they are judged by.

use core::time::Duration;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use qemu::Running;
use tests::media::{copy_disk, first_difference};

use crate::serving::Serving;

/// A point, translated, beside others; behind a fault there is a comparison of everything before it.
pub(crate) const POINT: Duration = Duration::from_secs(400);

/// What is known of points that were made.
#[derive(Default)]
pub(crate) struct Made {
    /// The host's copy of each clean point, by the server's time.
    pub(crate) copies: BTreeMap<u64, PathBuf>,
    /// Points that say that they are not clean.
    pub(crate) fuzzy: usize,
}

/// Waits for so many more clean points, and copies the disk whenever the server is frozen.
pub(crate) fn watch(running: &Running, disk: &Path, folder: &Path, made: &mut Made, wanted: usize) {
    let goal = made.copies.len() + wanted;
    let began = Instant::now();
    let latest = folder.join("latest.img");
    while made.copies.len() < goal {
        assert!(began.elapsed() < POINT, "no point comes\n{}", running.console().tail());
        let told = |event: &qemu::Event| matches!(event.name.as_str(), "frozen" | "point");
        let event = running
            .console()
            .any_event("frozen or a point", POINT, told)
            .unwrap_or_else(|error| panic!("{error}"));
        if event.name == "frozen" {
            running.pause().unwrap();
            let _ = fs::remove_file(&latest);
            copy_disk(disk, &latest);
            running.console().type_line("go").unwrap();
            running.resume().unwrap();
            continue;
        }
        println!("{event:?} after {:?}", began.elapsed());
        if event.field("instant") == Some("crash-consistent") {
            let at = event.number("at").unwrap();
            let copy = folder.join(format!("{at}.img"));
            fs::rename(&latest, &copy).unwrap();
            made.copies.insert(at, copy);
        } else {
            made.fuzzy += 1;
        }
    }
}

/// Everything that the vault has of the server, against the host's own copies; how many points there were.
pub(crate) fn judge(serving: &Serving, made: &Made, folder: &Path) -> usize {
    let mut judged = 0;
    for (at, point) in serving.points() {
        let Some(copy) = made.copies.get(&at) else { continue };
        let restored = folder.join("restored.img");
        serving.restore(&point, "vda", &restored);
        let bytes = fs::metadata(copy).unwrap().len();
        assert_eq!(first_difference(copy, &restored, 0..bytes), None, "the point of {at}");
        fs::remove_file(restored).unwrap();
        judged += 1;
    }
    judged
}
