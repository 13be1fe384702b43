//! The partitions of the image: names, types, places and sizes.
//!
//! The same numbers make the image and find its parts again on the disk that was booted from.

const MIB: u64 = 1024 * 1024;

/// Sector size that the partition table is written for.
pub const SECTOR_BYTES: u64 = 512;
/// Where the first partition begins, and a multiple of which every partition begins at.
pub const ALIGN_BYTES: u64 = MIB;

/// `PARTNAME` of the EFI system partition.
pub const ESP_NAME: &str = "lifeboat-esp";
/// `PARTNAME` of the state partition.
pub const STATE_NAME: &str = "lifeboat-state";
/// Partition type of an EFI system partition, as UEFI fixes it.
pub const ESP_TYPE: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
/// Partition type of the state partition: our own, so that no installer takes it for a file system.
pub const STATE_TYPE: &str = "6c696665-626f-4174-8000-737461746501";

/// Where the ESP begins; on a CD drive, which has no partitions, too.
pub const ESP_OFFSET: u64 = ALIGN_BYTES;
/// Size of the ESP: two slots of at most [`SLOT_BYTES`], the boot manager, and room for tables.
pub const ESP_BYTES: u64 = 72 * MIB;
/// Where the state partition begins.
pub const STATE_OFFSET: u64 = ESP_OFFSET + ESP_BYTES;
/// Size of the state partition.
pub const STATE_BYTES: u64 = 4 * MIB;
/// The room at the end, whose last sectors hold the spare partition table.
pub const END_BYTES: u64 = MIB;
/// Size of the whole image.
pub const IMAGE_BYTES: u64 = STATE_OFFSET + STATE_BYTES + END_BYTES;
/// Largest image that is ever made.
pub const IMAGE_BYTES_MAX: u64 = 96 * MIB;
/// Size of a slot: kernel, initial file system and stub together, zeros behind them, and the signature at the end. Every
/// slot is exactly this long, so that an update writes over one and moves nothing else on the file system.
pub const SLOT_BYTES: u64 = 28 * MIB;

/// Where the descriptors of ISO 9660 begin in the hybrid ISO: sector 16 of 2048 bytes, as the standard fixes it.
pub const ISO_OFFSET: u64 = 32 * 1024;
/// Name of the CD's volume.
pub const ISO_LABEL: &str = "LIFEBOAT";

const _: () = {
    assert!(IMAGE_BYTES <= IMAGE_BYTES_MAX, "the image fits its limit");
    assert!(ESP_OFFSET.is_multiple_of(ALIGN_BYTES) && STATE_OFFSET.is_multiple_of(ALIGN_BYTES));
    // Tables, folders and the boot manager of a FAT32 this large take less than 4 MiB.
    assert!(2 * SLOT_BYTES + 4 * MIB <= ESP_BYTES, "both slots fit the ESP");
    // Header and 128 entries of 128 bytes end at sector 34, before ISO 9660 begins.
    assert!(34 * SECTOR_BYTES <= ISO_OFFSET && ISO_OFFSET < ESP_OFFSET);
};
