//! Managed disks and snapshots: made, uploaded into, read, and what must not be done with them.

use serde_json::{Value, json};

use super::Region;
use super::catalogue::DISK_KINDS;
use super::deed::{Deed, Generation};
use super::http::{Request, Response};
use super::operations::{Beginning, Effect, Follow, date};
use super::place::{Id, Kind};
use super::refusal::Refusal;
use super::resource::{Disk, DiskState, Facts, Provisioning, Resource, properties, set, word};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Behind an uploaded disk's bytes comes the footer of a fixed VHD.
pub(crate) const FOOTER_BYTES: u64 = 512;
/// The smallest and the largest upload, footer included: 20 MiB and 32767 GiB.
const UPLOAD_BYTES: core::ops::RangeInclusive<u64> = 20_972_032..=35_183_298_347_520;
/// The longest that an address may be good for: sixty days.
const GRANT_SECONDS_MAX: u64 = 5_184_000;

/// How a disk is made.
struct Creation {
    deed: Option<Deed>,
    bytes: u64,
    state: DiskState,
    /// What the disk it is made of starts by.
    inherits: Option<Generation>,
}

impl Region {
    /// Makes a disk or a snapshot, or changes one.
    pub(crate) fn put_disk(
        &mut self,
        request: &Request,
        id: &Id,
        mut body: Value,
        now_ms: u64,
    ) -> Result<Response, Refusal> {
        let provider = id.kind.provider();
        let snapshot = id.kind == Kind::Snapshot;
        check_kind(&mut body, snapshot)?;
        let key = id.key();
        let follow = if snapshot { Follow::Location } else { Follow::Both };
        if let Some(there) = self.resources.get_mut(&key) {
            let same = there.body.pointer("/properties/creationData")
                == body.pointer("/properties/creationData");
            let failed = there.state == Provisioning::Failed;
            if failed || !same {
                let words = "Changing property 'disk.creationData' is not allowed.";
                return Err(Refusal::new(409, "PropertyChangeNotAllowed", words));
            }
            there.body = body;
            there.state = Provisioning::Updating;
            let state = there.disk().map_or(DiskState::Unattached, |disk| disk.state);
            let effect = Effect::Disk(state);
            let beginning = Beginning { key, effect, deed: None, follow, provider };
            return Ok(self.begin(request, beginning, 202, now_ms));
        }
        // A storage may still hold what an earlier region left in it.
        let blob = format!("md-{now_ms:x}{:04x}", self.number());
        let creation = self.creation(&body, &blob, snapshot)?;
        let generation = match word(&body, "/properties/hyperVGeneration") {
            Some("V2") => Generation::V2,
            Some("V1") => Generation::V1,
            Some(other) => {
                let words =
                    format!("The value '{other}' of parameter hyperVGeneration is invalid.");
                return Err(Refusal::invalid(words));
            }
            None => creation.inherits.unwrap_or(Generation::V1),
        };
        if !snapshot {
            self.disk_within_limit(&body)?;
        }
        let disk = Disk {
            blob,
            bytes: creation.bytes,
            state: DiskState::Unattached,
            generation,
            owner: None,
        };
        let location = word(&body, "/location").unwrap_or_default().to_ascii_lowercase();
        let resource = Resource {
            id: id.clone(),
            location,
            body,
            state: Provisioning::Creating,
            facts: Facts::Disk(disk),
            version: 1,
            created_ms: now_ms,
        };
        self.resources.insert(key.clone(), resource);
        let effect = Effect::Disk(creation.state);
        let beginning = Beginning { key, effect, deed: creation.deed, follow, provider };
        Ok(self.begin(request, beginning, 202, now_ms))
    }

    fn creation(&self, body: &Value, blob: &str, snapshot: bool) -> Result<Creation, Refusal> {
        let option = word(body, "/properties/creationData/createOption").unwrap_or_default();
        let blob = blob.to_owned();
        let made = |deed: Deed, bytes: u64, state: DiskState, inherits: Option<Generation>| {
            Ok(Creation { deed: Some(deed), bytes, state, inherits })
        };
        match option {
            "Upload" | "UploadPreparedSecure" if !snapshot => {
                let bytes = upload_bytes(body)?;
                if option == "UploadPreparedSecure"
                    && word(body, "/properties/securityProfile/securityType").is_none()
                {
                    let words =
                        "UploadPreparedSecure needs properties.securityProfile.securityType.";
                    return Err(Refusal::invalid(words));
                }
                made(Deed::MakeDisk { blob, bytes }, bytes, DiskState::ReadyToUpload, None)
            }
            "Empty" if !snapshot => {
                let gigabytes = body.pointer("/properties/diskSizeGB").and_then(Value::as_u64);
                let Some(gigabytes) = gigabytes.filter(|size| (1..=32_767).contains(size)) else {
                    return Err(Refusal::invalid("The value of parameter diskSizeGB is invalid."));
                };
                let bytes = gigabytes * GIB;
                made(Deed::MakeDisk { blob, bytes }, bytes, DiskState::Unattached, None)
            }
            "Import" => {
                let Some(from) = word(body, "/properties/creationData/sourceUri") else {
                    return Err(Refusal::invalid(
                        "Required parameter 'creationData.sourceUri' is missing.",
                    ));
                };
                let from = from.to_owned();
                made(Deed::ImportDisk { from, blob }, 0, DiskState::Unattached, None)
            }
            "Copy" => {
                let source =
                    word(body, "/properties/creationData/sourceResourceId").unwrap_or_default();
                let missing = || {
                    let words = format!("Resource '{source}' that is to be copied was not found.");
                    Refusal::new(404, "NotFound", words)
                };
                let found = Id::parse(source).and_then(|id| self.resources.get(&id.key()));
                let disk = found.and_then(Resource::disk).ok_or_else(missing)?;
                if matches!(disk.state, DiskState::ReadyToUpload | DiskState::ActiveUpload) {
                    let words = format!("Disk {source} is being uploaded and cannot be copied.");
                    return Err(Refusal::not_allowed(words));
                }
                let deed = Deed::CopyDisk { from: disk.blob.clone(), blob };
                made(deed, disk.bytes, DiskState::Unattached, Some(disk.generation))
            }
            other => Err(Refusal::invalid(format!(
                "The value '{other}' of parameter 'creationData.createOption' is invalid here."
            ))),
        }
    }

    fn disk_within_limit(&self, body: &Value) -> Result<(), Refusal> {
        let kind = word(body, "/sku/name").unwrap_or_default();
        for (begin, name) in [
            ("Premium_", "PremiumDiskCount"),
            ("StandardSSD_", "StandardSSDDiskCount"),
            ("Standard_", "StandardDiskCount"),
        ] {
            if kind.starts_with(begin) {
                self.within_limit(name, 1)?;
            }
        }
        Ok(())
    }

    /// Gives an address at which a disk is read or written.
    pub(crate) fn grant(
        &mut self,
        request: &Request,
        id: &Id,
        now_ms: u64,
    ) -> Result<Response, Refusal> {
        let asked = request.object()?;
        let write = match word(&asked, "/access") {
            Some("Write") => true,
            Some("Read") => false,
            _ => return Err(Refusal::invalid("The value of parameter access is invalid.")),
        };
        let seconds = asked.get("durationInSeconds").and_then(Value::as_u64).unwrap_or(0);
        if !(1..=GRANT_SECONDS_MAX).contains(&seconds) {
            let words = format!(
                "The value of parameter durationInSeconds is invalid: 1 to {GRANT_SECONDS_MAX}."
            );
            return Err(Refusal::invalid(words));
        }
        let resource = self.found(id)?;
        let Some(disk) = resource.disk() else { return Err(Refusal::invalid("no disk")) };
        if !resource.state.is_final() || resource.state == Provisioning::Failed {
            return Err(super::busy(id));
        }
        let uploads = matches!(disk.state, DiskState::ReadyToUpload | DiskState::ActiveUpload);
        let state = match (write, disk.state) {
            (true, _) if uploads => DiskState::ActiveUpload,
            (false, DiskState::Unattached | DiskState::Reserved | DiskState::ActiveSas) => {
                DiskState::ActiveSas
            }
            (_, now) => {
                let wanted = if write { "Write" } else { "Read" };
                let words = format!(
                    "{wanted} access cannot be granted to disk {} while its state is {}.",
                    id.name,
                    now.word()
                );
                return Err(Refusal::not_allowed(words));
            }
        };
        let until_ms = now_ms.saturating_add(seconds.saturating_mul(1000));
        let deed = Some(Deed::Grant { blob: disk.blob.clone(), write, until_ms });
        let follow = if id.kind == Kind::Snapshot { Follow::Location } else { Follow::Both };
        let (effect, provider) = (Effect::Granted(state), id.kind.provider());
        let beginning = Beginning { key: id.key(), effect, deed, follow, provider };
        Ok(self.begin(request, beginning, 202, now_ms))
    }

    /// Ends what was granted.
    pub(crate) fn revoke(
        &mut self,
        request: &Request,
        id: &Id,
        now_ms: u64,
    ) -> Result<Response, Refusal> {
        let resource = self.found(id)?;
        let Some(disk) = resource.disk() else { return Err(Refusal::invalid("no disk")) };
        if disk.state == DiskState::ReadyToUpload {
            let words = format!(
                "Disk {} has no shared access signature, and was not uploaded into.",
                id.name
            );
            return Err(Refusal::not_allowed(words));
        }
        let granted = matches!(disk.state, DiskState::ActiveUpload | DiskState::ActiveSas);
        let deed = granted.then(|| Deed::Revoke { blob: disk.blob.clone() });
        if !granted {
            // Nothing is granted: nothing to do, and that is no error.
            return Ok(Response::empty(200));
        }
        let (effect, provider) = (Effect::Revoked, id.kind.provider());
        let beginning = Beginning { key: id.key(), effect, deed, follow: Follow::Both, provider };
        Ok(self.begin(request, beginning, 202, now_ms))
    }

    /// The blobs that somebody has an address of.
    pub(crate) fn granted(&self) -> Vec<String> {
        let disks = self.resources.values().filter_map(Resource::disk);
        let open = [DiskState::ActiveUpload, DiskState::ActiveSas];
        disks.filter(|disk| open.contains(&disk.state)).map(|disk| disk.blob.clone()).collect()
    }

    pub(crate) fn describe_disk(&self, resource: &Resource, shown: &mut Value) {
        let Some(disk) = resource.disk() else { return };
        if let Some(owner) = &disk.owner
            && let Some(owner) = self.resources.get(owner)
        {
            set(shown, "managedBy", json!(owner.id.whole));
        }
        let tier = word(shown, "/sku/name").and_then(|name| name.split('_').next());
        let tier = tier.unwrap_or_default().to_owned();
        set(super::resource::member(shown, "sku"), "tier", json!(tier));
        let shown = properties(shown);
        set(shown, "diskState", json!(disk.state.word()));
        set(shown, "hyperVGeneration", json!(disk.generation.word()));
        set(shown, "diskSizeBytes", json!(disk.bytes));
        set(shown, "diskSizeGB", json!(disk.bytes.div_ceil(GIB)));
        set(shown, "timeCreated", json!(date(resource.created_ms)));
        set(shown, "uniqueId", json!(disk.blob));
        set(shown, "encryption", json!({ "type": "EncryptionAtRestWithPlatformKey" }));
        if shown.get("networkAccessPolicy").is_none() {
            set(shown, "networkAccessPolicy", json!("AllowAll"));
        }
    }
}

fn check_kind(body: &mut Value, snapshot: bool) -> Result<(), Refusal> {
    let default = if snapshot { "Standard_LRS" } else { "Premium_LRS" };
    let kind = word(body, "/sku/name").unwrap_or(default).to_owned();
    let known = if snapshot {
        ["Standard_LRS", "Standard_ZRS", "Premium_LRS"].contains(&kind.as_str())
    } else {
        DISK_KINDS.contains(&kind.as_str())
    };
    if !known {
        let words = format!("The value '{kind}' of parameter sku.name is invalid.");
        return Err(Refusal::invalid(words));
    }
    set(super::resource::member(body, "sku"), "name", json!(kind));
    Ok(())
}

fn upload_bytes(body: &Value) -> Result<u64, Refusal> {
    let size = body.pointer("/properties/creationData/uploadSizeBytes").and_then(Value::as_u64);
    let Some(size) = size.filter(|size| UPLOAD_BYTES.contains(size)) else {
        let words = format!(
            "The value of parameter 'creationData.uploadSizeBytes' is invalid: {} to {} bytes.",
            UPLOAD_BYTES.start(),
            UPLOAD_BYTES.end()
        );
        return Err(Refusal::invalid(words));
    };
    let bytes = size.saturating_sub(FOOTER_BYTES);
    if !bytes.is_multiple_of(MIB) {
        let words = format!(
            "The value '{size}' of parameter 'creationData.uploadSizeBytes' is invalid: a whole number of mebibytes and \
             {FOOTER_BYTES} bytes for the footer."
        );
        return Err(Refusal::invalid(words));
    }
    Ok(bytes)
}
