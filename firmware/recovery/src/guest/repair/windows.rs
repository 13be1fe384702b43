//! A Windows: not repaired here yet, and the judge says so.

use std::io;

use super::Bench;
use crate::guest::readiness::Readiness;

pub(super) fn repair(_: &mut Bench<'_>, _: &Readiness) -> io::Result<()> {
    Ok(())
}
