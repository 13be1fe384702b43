//! A Windows: whether what Hyper-V needs is there and starts with the kernel, by its SYSTEM hive and its drivers'
//! files.

use std::io;

use super::{Report, settings};
use crate::guest::hive::{Hive, Key, Number};
use crate::guest::platform::Platform;
use crate::guest::readiness::{Family, Generation, Remedy, Severity, System, What};
use crate::guest::survey::Survey;
use crate::guest::tree::Tree;

/// Where settings are that the kernel reads first.
pub(in crate::guest) const SYSTEM: &str = "Windows/System32/config/SYSTEM";
const DRIVERS: &str = "Windows/System32/drivers";
const HIVE_BYTES_MAX: u64 = 256 << 20;
/// Services that must start with the kernel, their files, and whether nothing starts without them.
const SERVICES: [(&str, &str, bool); 5] = [
    ("vmbus", "vmbus.sys", true),
    ("storvsc", "storvsc.sys", true),
    ("storflt", "vmstorfl.sys", false),
    ("intelide", "intelide.sys", false),
    ("atapi", "atapi.sys", false),
];
/// New disks are brought up.
const SAN_ALL: u32 = 1;

/// A number of the hive that the platform needs to be another.
pub(in crate::guest) struct Wanted {
    pub(in crate::guest) what: What,
    pub(in crate::guest) path: String,
    pub(in crate::guest) number: Number,
    pub(in crate::guest) value: u32,
    severity: Severity,
}

/// The hive; `None` where it cannot be read.
pub(in crate::guest) fn hive(tree: &dyn Tree) -> io::Result<Option<Hive>> {
    let Some(bytes) = tree.read(SYSTEM, HIVE_BYTES_MAX)? else { return Ok(None) };
    Ok(Hive::new(bytes).ok())
}

fn control_sets(hive: &Hive) -> Vec<(String, Key)> {
    let Some(root) = hive.root() else { return Vec::new() };
    let mut sets = hive.keys(root);
    sets.retain(|(name, _)| name.to_ascii_lowercase().starts_with("controlset"));
    sets
}

/// The numbers that must change.
pub(in crate::guest) fn wanted(hive: &Hive) -> Vec<Wanted> {
    let mut found = Vec::new();
    for (set, key) in control_sets(hive) {
        for (service, _, needed) in SERVICES {
            let start =
                hive.key(key, &["Services", service]).and_then(|key| hive.number(key, "Start"));
            if let Some(number) = start.filter(|number| number.value != 0) {
                let severity = if needed { Severity::Blocks } else { Severity::Hinders };
                let path = format!("{set}\\Services\\{service}\\Start");
                found.push(Wanted { what: What::WindowsService, path, number, value: 0, severity });
            }
        }
        let policy = hive.key(key, &["Services", "partmgr", "Parameters"]);
        let policy = policy.and_then(|key| hive.number(key, "SanPolicy"));
        if let Some(number) = policy.filter(|number| number.value != SAN_ALL) {
            let path = format!("{set}\\Services\\partmgr\\Parameters\\SanPolicy");
            let severity = Severity::Hinders;
            found.push(Wanted { what: What::SanPolicy, path, number, value: SAN_ALL, severity });
        }
    }
    found
}

pub(super) fn judge(
    survey: &Survey,
    platform: &Platform,
    generation: Option<Generation>,
    report: &mut Report,
) -> io::Result<System> {
    let tree: &dyn Tree = survey;
    if generation == Some(Generation::Two) {
        settings::firmware(survey, report)?;
    }
    if !platform.drivers.iter().any(|driver| driver.name == "hv_vmbus") {
        let words = format!("{} has no devices that this Windows has drivers for", platform.name);
        report.add(What::WindowsDriver, "", Severity::Blocks, Remedy::None, words);
    }
    for (service, file, needed) in SERVICES {
        if needed && tree.kind(&format!("{DRIVERS}/{file}"))?.is_none() {
            let command =
                "dism /online /enable-feature /all /featurename:Microsoft-Hyper-V".to_owned();
            let words = format!(
                "{file} of {service} is not there: the disk was not found without it. Windows has it since Server 2008 R2"
            );
            report.add(
                What::WindowsDriver,
                file,
                Severity::Blocks,
                Remedy::OnSource(command),
                words,
            );
        }
    }
    let system =
        System { family: Family::Windows, name: "Windows".to_owned(), kernels: Vec::new() };
    let Some(hive) = hive(tree)? else {
        let words = format!("/{SYSTEM} cannot be read as a hive of the registry");
        report.add(What::WindowsRegistry, SYSTEM, Severity::Blocks, Remedy::None, words);
        return Ok(system);
    };
    let closed = hive.is_closed();
    if !closed {
        let words = format!(
            "/{SYSTEM} was not closed: what was changed last is in its log, so nothing is changed in it. A planned failover, \
            which shuts the server down first, leaves it closed"
        );
        let command = "shutdown /s /t 0".to_owned();
        report.add(
            What::WindowsRegistry,
            SYSTEM,
            Severity::Hinders,
            Remedy::OnSource(command),
            words,
        );
    }
    for number in wanted(&hive) {
        let (old, new) = (number.number.value, number.value);
        let (repair, then) = if closed {
            (Remedy::Offline, "it is changed in its place")
        } else {
            let (key, name) = number.path.rsplit_once('\\').unwrap_or_default();
            let command = format!("reg add HKLM\\SYSTEM\\{key} /v {name} /t REG_DWORD /d {new} /f");
            (Remedy::OnSource(command), "the hive was not closed, so it is not")
        };
        let words = format!("{} is {old} and must be {new}: {then}", number.path);
        report.add(number.what, &number.path, number.severity, repair, words);
    }
    if control_sets(&hive).is_empty() {
        report.add(
            What::WindowsRegistry,
            SYSTEM,
            Severity::Blocks,
            Remedy::None,
            "its hive has no control set",
        );
    }
    let words = "a network interface that Windows does not know asks by DHCP; what was set for the old ones stays with them";
    report.add(What::Network, "", Severity::Note, Remedy::None, words);
    Ok(system)
}
