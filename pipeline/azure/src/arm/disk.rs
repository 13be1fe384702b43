//! Managed disks and their snapshots: made, filled by a signature, looked at.
//!
//! A disk that is made to be uploaded into goes `ReadyToUpload`, `ActiveUpload` while somebody holds its signature,
//! and `Unattached` once that is taken back; before that it can be neither attached nor snapshotted.

use pipeline_vault::Error;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Call;
use super::action::Action;
use super::id::{Kind, ResourceId, check_location, check_zone};
use super::tags::Tags;
use crate::request::Method;
use crate::secret::Secret;

/// The footer behind an uploaded disk.
const FOOTER_BYTES: u64 = 512;
/// Smallest and largest disk that can be uploaded, without its footer: 20 MiB and 32 TiB.
const UPLOAD_BYTES: core::ops::RangeInclusive<u64> = 20 << 20..=32 << 40;
/// Disks have whole mebibytes.
const ROUND: u64 = 1 << 20;
/// The longest that Azure lets a signature hold: 60 days.
const SIGNATURE_SECONDS_MAX: u32 = 5_184_000;

/// What firmware a machine has: decided by its OS disk, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Generation {
    /// BIOS.
    V1,
    /// UEFI.
    V2,
}

impl Generation {
    /// Its name at Azure.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "V1",
            Self::V2 => "V2",
        }
    }
}

/// What kind of system an OS disk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum System {
    /// Linux.
    Linux,
    /// Windows.
    Windows,
}

impl System {
    /// Its name at Azure.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux => "Linux",
            Self::Windows => "Windows",
        }
    }
}

/// Where a disk's bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// They are uploaded: so many, without the footer.
    Upload {
        /// The disk's length.
        bytes: u64,
    },
    /// A page blob that is a fixed VHD, in an account of the same region.
    Import {
        /// The blob's URL, without a signature.
        uri: String,
        /// The id of its account.
        account: String,
    },
    /// Another disk or snapshot.
    Copy {
        /// Which.
        of: ResourceId,
    },
}

/// A disk to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDisk {
    /// Azure's region.
    pub location: String,
    /// The zone, where it has to be in one.
    pub zone: Option<String>,
    /// Kind of disk: `Standard_LRS`, `StandardSSD_LRS`, `Premium_LRS`, `PremiumV2_LRS`.
    pub sku: String,
    /// Where its bytes come from.
    pub source: Source,
    /// What an OS disk holds and how it starts; `None` for a disk of data.
    pub system: Option<(System, Generation)>,
    /// Whether the OS disk is for a machine with Trusted Launch; needs generation 2.
    pub trusted_launch: bool,
    /// Its tags.
    pub tags: Tags,
}

impl NewDisk {
    fn creation_data(&self) -> Result<Value, Error> {
        Ok(match &self.source {
            Source::Upload { bytes } => {
                if !UPLOAD_BYTES.contains(bytes) || bytes % ROUND != 0 {
                    return Err(Error::misuse(
                        format!("a disk of {bytes} bytes"),
                        "cannot be uploaded to Azure, which takes whole mebibytes from 20 MiB to 32 TiB",
                    ));
                }
                json!({"createOption": "Upload", "uploadSizeBytes": bytes + FOOTER_BYTES})
            }
            Source::Import { uri, account } => {
                json!({"createOption": "Import", "sourceUri": uri, "storageAccountId": account})
            }
            Source::Copy { of } => json!({"createOption": "Copy", "sourceResourceId": of.path()}),
        })
    }
}

/// Makes a disk. Errors: what Azure would refuse of it anyway.
pub fn create(disk: &ResourceId, new: &NewDisk) -> Result<Call, Error> {
    disk.expect(Kind::Disk)?;
    check_location(&new.location)?;
    let mut properties = json!({"creationData": new.creation_data()?});
    if let Some((system, generation)) = new.system {
        properties["osType"] = json!(system.name());
        properties["hyperVGeneration"] = json!(generation.name());
    }
    if new.trusted_launch {
        if !matches!(new.system, Some((_, Generation::V2))) {
            return Err(Error::misuse(disk.shown(), "is no OS disk of generation 2")
                .remedy("Trusted Launch needs UEFI: choose the security type «Standard»"));
        }
        properties["securityProfile"] = json!({"securityType": "TrustedLaunch"});
    }
    let mut body = json!({
        "location": new.location,
        "sku": {"name": new.sku},
        "tags": new.tags.to_json(),
        "properties": properties,
    });
    if let Some(zone) = &new.zone {
        check_zone(zone)?;
        body["zones"] = json!([zone]);
    }
    let actions: &[Action] = match &new.source {
        Source::Copy { of } if of.kind() == Kind::Snapshot => {
            &[Action::DiskWrite, Action::SnapshotRead]
        }
        Source::Copy { .. } => &[Action::DiskWrite, Action::DiskRead],
        _ => &[Action::DiskWrite],
    };
    Ok(put(disk, actions, body))
}

/// Makes an incremental snapshot of a disk.
pub fn create_snapshot(
    snapshot: &ResourceId,
    location: &str,
    of: &ResourceId,
    tags: &Tags,
) -> Result<Call, Error> {
    snapshot.expect(Kind::Snapshot)?;
    of.expect(Kind::Disk)?;
    check_location(location)?;
    let body = json!({
        "location": location,
        "tags": tags.to_json(),
        "properties": {
            "incremental": true,
            "creationData": {"createOption": "Copy", "sourceResourceId": of.path()},
        },
    });
    Ok(put(snapshot, &[Action::SnapshotWrite, Action::DiskRead], body))
}

fn put(resource: &ResourceId, actions: &'static [Action], body: Value) -> Call {
    let act = format!("creating {}", resource.shown());
    let version = resource.kind().api_version();
    Call::new(Method::Put, resource.path(), version, actions, act).with_body(body)
}

/// What a signature allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Uploading.
    Write,
}

/// Asks for the signature of a disk or, for reading, of a snapshot; it holds for so many seconds, 60 days at most.
pub fn begin_access(resource: &ResourceId, access: Access, seconds: u32) -> Result<Call, Error> {
    let name = match access {
        Access::Read => "Read",
        Access::Write => "Write",
    };
    let actions: &[Action] = match resource.kind() {
        Kind::Disk => &[Action::DiskBeginAccess],
        Kind::Snapshot if access == Access::Read => &[Action::SnapshotBeginAccess],
        _ => {
            return Err(Error::misuse(resource.shown(), "gives no signature of that kind"));
        }
    };
    let seconds = seconds.clamp(1, SIGNATURE_SECONDS_MAX);
    let path = format!("{}/beginGetAccess", resource.path());
    let act = format!("asking for access to {}", resource.shown());
    let call = Call::new(Method::Post, path, resource.kind().api_version(), actions, act);
    Ok(call.with_body(json!({"access": name, "durationInSeconds": seconds})))
}

/// Takes back the signature: what was uploaded is a disk from then on.
pub fn end_access(resource: &ResourceId) -> Result<Call, Error> {
    let actions: &[Action] = match resource.kind() {
        Kind::Disk => &[Action::DiskEndAccess],
        Kind::Snapshot => &[Action::SnapshotEndAccess],
        _ => return Err(Error::misuse(resource.shown(), "has no signature to take back")),
    };
    let path = format!("{}/endGetAccess", resource.path());
    let act = format!("ending access to {}", resource.shown());
    Ok(Call::new(Method::Post, path, resource.kind().api_version(), actions, act))
}

/// The signature that a finished `begin_access` brought: a whole URL, not to be taken apart.
pub fn signature(answer: &Value) -> Option<Secret> {
    // Behind a status, the result may be one level down.
    let inner = answer.pointer("/properties/output").unwrap_or(answer);
    let text = inner.get("accessSAS").or_else(|| inner.get("accessSas"))?.as_str()?;
    (!text.is_empty()).then(|| Secret::new(text))
}

/// What a disk is doing, as far as recovery cares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskState {
    /// It waits for a signature to be asked for.
    ReadyToUpload,
    /// Somebody may upload into it.
    ActiveUpload,
    /// It is a disk and belongs to nobody.
    Unattached,
    /// A machine has it.
    Attached,
    /// A machine has it and is off.
    Reserved,
    /// Somebody may read it by a signature.
    ActiveSas,
    /// Something that recovery does not know.
    Other(String),
}

impl DiskState {
    /// What a disk's description says of it.
    pub fn of(disk: &Value) -> Self {
        let state = disk.pointer("/properties/diskState").and_then(Value::as_str);
        match state.unwrap_or_default() {
            "ReadyToUpload" => Self::ReadyToUpload,
            "ActiveUpload" => Self::ActiveUpload,
            "Unattached" => Self::Unattached,
            "Attached" => Self::Attached,
            "Reserved" => Self::Reserved,
            "ActiveSAS" | "ActiveSASFrozen" => Self::ActiveSas,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// How far a copy or snapshot is, in percent; `None` where nothing is said of it.
pub fn percent(resource: &Value) -> Option<f64> {
    resource.pointer("/properties/completionPercent")?.as_f64()
}

/// A disk's length in bytes.
pub fn bytes(disk: &Value) -> Option<u64> {
    disk.pointer("/properties/diskSizeBytes")?.as_u64()
}

#[cfg(test)]
mod tests;
