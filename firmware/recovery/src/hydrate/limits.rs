//! What Azure's disks can be, asked before anything is made. Source: the tables of managed disks and of generations of machines.

use pipeline_vault::Error;
use pipeline_vault::record::DiskState;
use serde::{Deserialize, Serialize};

use super::vhd::{DISK_BYTES_MAX, padded};

/// How a virtual machine starts, which follows from how the server did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "Azure has two")]
pub enum Generation {
    /// BIOS, as servers with an MBR or a BIOS boot partition do.
    One,
    /// UEFI.
    Two,
}

/// What a disk is to its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a machine starts from a disk, or it does not")]
pub enum Role {
    /// It starts from it.
    System(Generation),
    /// It does not.
    Data,
}

/// Largest disk that a machine starts from: 2 TiB behind a BIOS, which addresses no more; 4095 GiB behind UEFI.
const fn system_bytes_max(generation: Generation) -> u64 {
    match generation {
        Generation::One => 2 << 40,
        Generation::Two => 4095 << 30,
    }
}

/// The size that the disk will have in Azure, if it can be one.
///
/// Errors: too large for what it is; sectors of 4096 bytes, which no disk has that Azure makes of an upload.
pub fn check(disk: &DiskState, role: Role) -> Result<u64, Error> {
    let about = format!("disk {}", disk.name);
    if disk.sector_bytes != 512 {
        let what = format!(
            "has sectors of {} bytes, and a disk that is uploaded to Azure has sectors of 512: nothing would find its partitions",
            disk.sector_bytes
        );
        return Err(Error::refused(about, what).remedy(
            "copy its files to a disk made there: lifeboat serve-nbd shows them, and restore brings it to a disk of its own kind",
        ));
    }
    if disk.bytes > DISK_BYTES_MAX {
        let what = format!("has {} bytes, and Azure's largest disk {DISK_BYTES_MAX}", disk.bytes);
        return Err(Error::exhausted(about, what)
            .remedy("bring it back to a machine of its own with lifeboat restore"));
    }
    let size = padded(disk.bytes);
    if let Role::System(generation) = role {
        let most = system_bytes_max(generation);
        if size > most {
            let (kind, more) = match generation {
                Generation::One => ("BIOS", "or convert the server to UEFI first, "),
                Generation::Two => ("UEFI", ""),
            };
            let what = format!(
                "has {} bytes, and Azure starts machines with {kind} from disks of {most} at most",
                disk.bytes
            );
            return Err(Error::exhausted(about, what).remedy(format!(
                "shrink its last partition and the disk on the server, {more}or bring it back with lifeboat restore"
            )));
        }
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use pipeline::ids::DiskId;
    use pipeline_vault::map::Root;

    use super::*;

    fn disk(bytes: u64, sector_bytes: u32) -> DiskState {
        DiskState {
            id: DiskId([1; 16]),
            name: "sda".to_owned(),
            identity: String::new(),
            bytes,
            sector_bytes,
            root: Root::empty(bytes),
            unread_blocks: 0,
            done_blocks: 0,
        }
    }

    #[test]
    fn what_azure_cannot_make_is_refused_with_what_can_be_done() {
        let data = Role::Data;
        assert_eq!(check(&disk(1, 512), data), Ok(20 << 20), "a small disk is padded");
        assert_eq!(check(&disk(DISK_BYTES_MAX, 512), data), Ok(DISK_BYTES_MAX));
        let refused = |disk: DiskState, role| check(&disk, role).unwrap_err().to_string();
        assert!(refused(disk(DISK_BYTES_MAX + 512, 512), data).contains("lifeboat restore"));
        assert!(refused(disk(1 << 30, 4096), data).contains("serve-nbd"));
        let two = Role::System(Generation::Two);
        let one = Role::System(Generation::One);
        assert!(check(&disk(2 << 40, 512), one).is_ok());
        assert!(refused(disk((2 << 40) + 512, 512), one).contains("UEFI first"));
        assert!(check(&disk((2 << 40) + 512, 512), two).is_ok());
        assert!(refused(disk(4 << 40, 512), two).contains("shrink"));
    }
}
