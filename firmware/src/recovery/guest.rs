//! What is on a point's disks, judged for Azure; and the disks as they shall be there, with what a repair changed on top.

use std::sync::Arc;

use firmware_recovery::guest::repair::{Lineage, LineageKind};
use firmware_recovery::guest::view::View;
use firmware_recovery::guest::volumes::GuestDisk;
use firmware_recovery::guest::{Finding, Platform, Readiness, Remedy, Severity, What, Wish};
use firmware_recovery::hydrate::overlay::{Overlay, Scratch};
use firmware_recovery::order::{Kind, Order};
use pipeline_azure::arm::disk::{Generation, System};
use pipeline_vault::Error;
use pipeline_vault::reader::PointReader;

use crate::guest_disks::{judge_disks, repair};
use crate::session::Machine;

/// What a repair may change of one disk: initramfs and boot loaders, and journals that are replayed.
const CHANGES_BYTES_MAX: u64 = 1 << 30;

/// A disk of a point with changes on top.
pub(super) type Layered = Overlay<PointReader>;

/// Where servers are to boot: Azure, or what `LIFEBOAT_PLATFORM` says.
pub(super) fn platform(machine: &Machine) -> Platform {
    let named = (machine.settings)("LIFEBOAT_PLATFORM").and_then(|name| name.into_string().ok());
    match named.as_deref() {
        Some("stand-in") => Platform::stand_in(),
        _ => Platform::azure(),
    }
}

/// The disks of a point, each to be changed in memory.
pub(super) fn layered(readers: Vec<PointReader>) -> Vec<Arc<Layered>> {
    let scratch = || Scratch::Memory { bytes_max: CHANGES_BYTES_MAX };
    readers.into_iter().map(|reader| Arc::new(Overlay::new(reader, scratch()))).collect()
}

fn guests(disks: &[Arc<Layered>]) -> Vec<GuestDisk> {
    let guest = |disk: &Arc<Layered>| GuestDisk {
        name: disk.base().disk().name.clone(),
        view: Arc::clone(disk) as Arc<dyn View>,
    };
    disks.iter().map(guest).collect()
}

/// What an order wants to know of a server's disks.
pub(super) struct Judged {
    pub(super) starts_from: usize,
    pub(super) generation: Generation,
    pub(super) system: System,
    pub(super) obstacles: Vec<String>,
    pub(super) repairs: Vec<String>,
}

/// Judges the disks. What keeps them from being judged is an obstacle like any other.
pub(super) fn judge(disks: &[Arc<Layered>], platform: &Platform) -> Judged {
    match judge_disks(&guests(disks), platform) {
        Ok(readiness) => judged(disks, &readiness),
        Err(error) => Judged {
            starts_from: 0,
            generation: Generation::V2,
            system: System::Linux,
            obstacles: vec![format!(
                "what is on its disks cannot be looked at here: {error}; do this as root, or on the appliance"
            )],
            repairs: Vec::new(),
        },
    }
}

fn judged(disks: &[Arc<Layered>], readiness: &Readiness) -> Judged {
    use firmware_recovery::guest::readiness::{Family, Generation as Needs};
    let named = |name: &String| disks.iter().position(|disk| disk.base().disk().name == *name);
    let starts_from = readiness.os_disk.as_ref().and_then(named).unwrap_or(0);
    let generation = match readiness.generation {
        Some(Needs::One) => Generation::V1,
        _ => Generation::V2,
    };
    let windows = readiness.system.as_ref().is_some_and(|system| system.family == Family::Windows);
    let words = |finding: &&Finding| match &finding.repair {
        Remedy::OnSource(command) => format!("{}; on the server: {command}", finding.words),
        _ => finding.words.clone(),
    };
    let blocks = |finding: &&Finding| {
        finding.severity == Severity::Blocks && finding.repair != Remedy::Offline
    };
    let findings = || readiness.findings.iter();
    Judged {
        starts_from,
        generation,
        system: if windows { System::Windows } else { System::Linux },
        obstacles: findings().filter(blocks).map(|finding| words(&finding)).collect(),
        repairs: findings()
            .filter(|finding| finding.repair == Remedy::Offline)
            .map(|finding| words(&finding))
            .collect(),
    }
}

/// Repairs the disks for the order's machine and marks them as a copy. Disks without a system stay as they are.
pub(super) fn prepare(
    disks: &[Arc<Layered>],
    platform: &Platform,
    order: &Order,
) -> Result<(), Error> {
    let guests = guests(disks);
    let readiness = match judge_disks(&guests, platform) {
        Ok(readiness) => readiness,
        // The check has said so, and the person goes on all the same.
        Err(error) if order.despite_obstacles => {
            log::warn!("the disks are brought over as they are: {error}");
            return Ok(());
        }
        Err(error) => return Err(Error::device("the point's disks", error.to_string())),
    };
    if readiness.is_to_repair(What::NoSystem) || readiness.system.is_none() {
        return Ok(());
    }
    let point = order.point.clone().unwrap_or_default();
    let lineage = Lineage {
        order: order.id.to_string(),
        kind: if order.kind == Kind::Drill { LineageKind::Drill } else { LineageKind::Failover },
        point: point.id,
        time: order.ordered_millis / 1000,
    };
    let wish = Wish { lineage: Some(lineage), ..Wish::default() };
    match repair(&guests, platform, &wish) {
        Ok((_, changes)) => {
            log::info!("{} changes are made on the copy", changes.len());
            Ok(())
        }
        Err(error) if order.despite_obstacles => {
            log::warn!("{error}: the disks are brought over with what was changed so far");
            Ok(())
        }
        Err(error) => Err(error),
    }
}
