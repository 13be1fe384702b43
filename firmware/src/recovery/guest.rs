//! What is on a point's disks, judged for Azure; and the disks as they shall be there, with what a repair changed on top.

use core::net::IpAddr;
use std::sync::Arc;

use firmware_recovery::guest::repair::{Lineage, LineageKind};
use firmware_recovery::guest::view::View;
use firmware_recovery::guest::volumes::GuestDisk;
use firmware_recovery::guest::{
    Change, Finding, Platform, Readiness, Remedy, Severity, What, Wish,
};
use firmware_recovery::hydrate::overlay::Overlay;
use firmware_recovery::order::{Kind, Order};
use pipeline_azure::arm::disk::{Generation, System};
use pipeline_vault::Error;
use pipeline_vault::reader::PointReader;

use crate::guest_disks::{judge_disks, mark, repair, scratch};
use crate::session::Machine;

/// What a repair may change of one disk: initramfs and boot loaders, and journals that are replayed.
const CHANGES_BYTES_MAX: u64 = 1 << 30;

/// A disk of a point with changes on top.
pub(crate) type Layered = Overlay<PointReader>;

/// The disks of a point as they shall be in Azure, and what was changed on them for that.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) disks: Vec<Arc<Layered>>,
    pub(super) changes: Vec<Change>,
}

/// Where servers are to boot: Azure, or what `LIFEBOAT_PLATFORM` says.
pub(super) fn platform(machine: &Machine) -> Platform {
    let named = (machine.settings)("LIFEBOAT_PLATFORM").and_then(|name| name.into_string().ok());
    match named.as_deref() {
        Some("stand-in") => Platform::stand_in(),
        _ => Platform::azure(),
    }
}

/// The disks of a point, each to be changed in memory.
pub(crate) fn layered(readers: Vec<PointReader>) -> Vec<Arc<Layered>> {
    let disks = readers.len();
    let layered = |reader| Arc::new(Overlay::new(reader, scratch(disks, CHANGES_BYTES_MAX)));
    readers.into_iter().map(layered).collect()
}

pub(crate) fn guests(disks: &[Arc<Layered>]) -> Vec<GuestDisk> {
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
    pub(super) addresses: Vec<IpAddr>,
    pub(super) obstacles: Vec<String>,
    pub(super) repairs: Vec<String>,
}

/// Judges the disks. What keeps them from being judged is an obstacle like any other.
pub(super) fn judge(disks: &[Arc<Layered>], platform: &Platform) -> Judged {
    match judge_disks(&guests(disks), platform) {
        Ok(readiness) => {
            let mut judged = judged(disks, &readiness);
            judged.obstacles.extend(has_room(disks).err().map(|error| error.to_string()));
            judged
        }
        Err(error) => Judged {
            starts_from: 0,
            generation: Generation::V2,
            system: System::Linux,
            addresses: Vec::new(),
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
        addresses: readiness.addresses.clone(),
        obstacles: findings().filter(blocks).map(|finding| words(&finding)).collect(),
        repairs: findings()
            .filter(|finding| finding.repair == Remedy::Offline)
            .map(|finding| words(&finding))
            .collect(),
    }
}

/// Opens a point's disks anew, without changes.
pub(super) type Fresh<'a> = dyn Fn() -> Result<Vec<Arc<Layered>>, Error> + 'a;

/// The disks repaired for the order's machine and marked as a copy. Disks without a system stay as they are.
///
/// Where the repair fails and the person goes on all the same, they are those of the point with the mark alone: half a
/// repair may be worse than none.
pub(super) fn prepared(
    open: &Fresh<'_>,
    platform: &Platform,
    order: &Order,
) -> Result<Prepared, Error> {
    let disks = open()?;
    let error = match repaired(&disks, platform, order) {
        Ok(changes) => return Ok(Prepared { disks, changes }),
        Err(error) if order.despite_obstacles => error,
        Err(error) => return Err(error),
    };
    log::warn!("{error}: the disks are brought over as they are in the point");
    drop(disks);
    let disks = open()?;
    let marked = mark(&guests(&disks), &wish(order));
    match marked.and_then(|changes| has_room(&disks).map(|()| changes)) {
        Ok(changes) => Ok(Prepared { disks, changes }),
        Err(error) => {
            log::warn!(
                "{error}: the copy is not marked, and an agent on it takes itself for the server's"
            );
            Ok(Prepared { disks: open()?, changes: Vec::new() })
        }
    }
}

fn repaired(
    disks: &[Arc<Layered>],
    platform: &Platform,
    order: &Order,
) -> Result<Vec<Change>, Error> {
    let guests = guests(disks);
    let readiness = judge_disks(&guests, platform);
    has_room(disks)?;
    let readiness =
        readiness.map_err(|error| Error::device("the point's disks", error.to_string()))?;
    if readiness.is_to_repair(What::NoSystem) || readiness.system.is_none() {
        return Ok(Vec::new());
    }
    let done = repair(&guests, platform, &wish(order));
    // What the kernel could not write it tells as an error of a device, or not at all.
    has_room(disks)?;
    let (_, changes) = done?;
    log::info!("{} changes are made on the copy", changes.len());
    Ok(changes)
}

fn wish(order: &Order) -> Wish {
    let point = order.point.clone().unwrap_or_default();
    let lineage = Lineage {
        order: order.id.to_string(),
        kind: if order.kind == Kind::Drill { LineageKind::Drill } else { LineageKind::Failover },
        point: point.id,
        time: order.ordered_millis / 1000,
    };
    Wish { lineage: Some(lineage), ..Wish::default() }
}

/// Whether all that was to be changed could be kept.
pub(crate) fn has_room(disks: &[Arc<Layered>]) -> Result<(), Error> {
    let Some(full) = disks.iter().find(|disk| disk.was_full()) else { return Ok(()) };
    let what = format!(
        "takes more than {} MiB of changes to be opened and repaired, and this machine has no memory for more",
        full.bytes_max() >> 20
    );
    Err(Error::exhausted(format!("disk {}", full.base().disk().name), what).remedy(
        "do the same on a machine with more memory: vault and recovery key are all that it needs",
    ))
}
