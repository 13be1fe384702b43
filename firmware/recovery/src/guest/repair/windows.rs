//! A Windows: numbers of its SYSTEM hive in their places, and the loader where every firmware looks.

use std::io;

use super::{Bench, settings};
use crate::guest::judge::windows::{SYSTEM, hive, wanted};
use crate::guest::readiness::{Readiness, What};

pub(super) fn repair(bench: &mut Bench<'_>, readiness: &Readiness) -> io::Result<()> {
    settings::fallback_loader(bench, readiness)?;
    let Some(hive) = hive(bench.tree)?.filter(|hive| hive.is_closed()) else { return Ok(()) };
    for number in wanted(&hive) {
        let (old, new) = (number.number.value.to_le_bytes(), number.value.to_le_bytes());
        bench.patch(number.what, SYSTEM, number.number.place, &old, &new)?;
    }
    debug_assert!(!readiness.is_to_repair(What::Fstab), "that is a Linux");
    Ok(())
}
