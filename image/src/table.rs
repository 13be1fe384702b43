//! The partition table: a GPT and the old one that protects it, for a disk of the image's layout.

use core::str::FromStr as _;
use std::collections::BTreeMap;
use std::io::Cursor;

use gpt::GptConfig;
use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition::Partition;
use gpt::partition_types::{OperatingSystem, Type};
use image_layout::disk::{
    ESP_BYTES, ESP_NAME, ESP_OFFSET, ESP_TYPE, SECTOR_BYTES, STATE_BYTES, STATE_NAME, STATE_OFFSET,
    STATE_TYPE,
};
use uuid::Uuid;

use crate::error::{Blame, Error};
use crate::identity::Identity;

/// Writes the table into the image of a whole disk.
pub fn write(image: &mut [u8], identity: &Identity) -> Result<(), Error> {
    let failed = |what: String| {
        Error::new(
            Blame::Limit,
            "the partition table",
            what,
            "this is a mistake of the builder: report it",
        )
    };
    let sectors = image.len() as u64 / SECTOR_BYTES;
    let size = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
    let mut device = Cursor::new(image);
    ProtectiveMBR::with_lb_size(size)
        .overwrite_lba0(&mut device)
        .map_err(|error| failed(error.to_string()))?;
    let mut table = GptConfig::new()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512)
        .create_from_device(device, Some(identity.uuid("disk")))
        .map_err(|error| failed(error.to_string()))?;
    let partition = |name: &str, kind: &str, offset: u64, bytes: u64| {
        let kind = Uuid::from_str(kind).map_err(|error| failed(error.to_string()))?;
        Ok(Partition {
            part_type_guid: Type { guid: kind, os: OperatingSystem::None },
            part_guid: identity.uuid(name),
            first_lba: offset / SECTOR_BYTES,
            last_lba: (offset + bytes) / SECTOR_BYTES - 1,
            flags: 0,
            name: name.to_owned(),
        })
    };
    let partitions = BTreeMap::from([
        (1, partition(ESP_NAME, ESP_TYPE, ESP_OFFSET, ESP_BYTES)?),
        (2, partition(STATE_NAME, STATE_TYPE, STATE_OFFSET, STATE_BYTES)?),
    ]);
    table.update_partitions(partitions).map_err(|error| failed(error.to_string()))?;
    table.write().map_err(|error| failed(error.to_string()))?;
    Ok(())
}
