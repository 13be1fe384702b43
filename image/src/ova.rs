//! The OVA that VMware imports: a description of the machine, checksums, and the disk, in one archive.

use crate::error::{Blame, Error};
use crate::files;
use crate::identity::Identity;
use crate::vmdk;

/// The description of the machine; what stands in braces is filled in.
const DESCRIPTION: &str = include_str!("ova/machine.ovf");
const DISK: &str = "lifeboat.vmdk";

/// The disk as an appliance of VMware.
pub fn make(disk: &[u8], identity: &Identity, built: u64, version: &str) -> Result<Vec<u8>, Error> {
    let vmdk = vmdk::make(DISK, disk, identity.serial("vmdk"))?;
    let description = DESCRIPTION
        .replace("{disk}", DISK)
        .replace("{disk-bytes}", &vmdk.len().to_string())
        .replace("{capacity-bytes}", &disk.len().to_string())
        .replace("{version}", version);
    let sums = format!(
        "SHA256(lifeboat.ovf)= {}\nSHA256({DISK})= {}\n",
        files::sha256(description.as_bytes()),
        files::sha256(&vmdk)
    );
    // The description comes first, so that an importer can read it before the disk has arrived.
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in
        [("lifeboat.ovf", description.as_bytes()), ("lifeboat.mf", sums.as_bytes()), (DISK, &vmdk)]
    {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(built);
        archive.append_data(&mut header, name, bytes).map_err(|error| failed(&error))?;
    }
    archive.into_inner().map_err(|error| failed(&error))
}

fn failed(error: &std::io::Error) -> Error {
    Error::new(Blame::Machine, "the OVA", error.to_string(), "build again")
}
