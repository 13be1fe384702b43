//! A Windows: found, and said what must be looked at on the server itself.

use std::io;

use super::Report;
use crate::guest::platform::Platform;
use crate::guest::readiness::{Family, Remedy, Severity, System, What};
use crate::guest::survey::Survey;

pub(super) fn judge(_: &Survey, platform: &Platform, report: &mut Report) -> io::Result<System> {
    let words = format!("whether this Windows has {}'s drivers is not looked into", platform.name);
    let command = "pnputil /enum-drivers".to_owned();
    report.add(What::WindowsDriver, "", Severity::Hinders, Remedy::OnSource(command), words);
    Ok(System { family: Family::Windows, name: "Windows".to_owned(), kernels: Vec::new() })
}
