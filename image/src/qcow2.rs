//! qcow2, version 3: the disk without its empty clusters.

use crate::error::{Blame, Error};

const CLUSTER: usize = 64 * 1024;
/// Entries of eight bytes in a cluster.
const ENTRIES: usize = CLUSTER / 8;
/// Counts of two bytes in a cluster.
const COUNTS: usize = CLUSTER / 2;
const HEADER_BYTES: u32 = 104;
/// Set where a cluster is named once, so that it can be written in place.
const COPIED: u64 = 1 << 63;

/// The disk as qcow2.
pub fn make(disk: &[u8]) -> Result<Vec<u8>, Error> {
    let used: Vec<usize> = disk
        .chunks(CLUSTER)
        .enumerate()
        .filter(|(_, cluster)| cluster.iter().any(|&byte| byte != 0))
        .map(|(place, _)| place)
        .collect();
    let tables = disk.len().div_ceil(CLUSTER).div_ceil(ENTRIES);
    let fixed = 1 + 1 + 1 + tables + used.len();
    let mut counts = 1;
    while (fixed + counts).div_ceil(COUNTS) > counts {
        counts += 1;
    }
    if tables > ENTRIES || counts > ENTRIES {
        return Err(Error::new(
            Blame::Limit,
            "qcow2",
            "the disk is too large for one table of each kind",
            "take another format",
        ));
    }
    // Header, table of counts, counts, first table, second tables, data.
    let first = 2 + counts;
    let data = first + 1 + tables;
    let clusters = data + used.len();
    let mut bytes = vec![0; clusters * CLUSTER];
    let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
    let offset = |cluster: usize| (cluster * CLUSTER) as u64;

    put(0, b"QFI\xfb");
    put(4, &3_u32.to_be_bytes());
    put(20, &16_u32.to_be_bytes());
    put(24, &(disk.len() as u64).to_be_bytes());
    put(36, &u32::try_from(tables).unwrap_or(u32::MAX).to_be_bytes());
    put(40, &offset(first).to_be_bytes());
    put(48, &offset(1).to_be_bytes());
    put(56, &1_u32.to_be_bytes());
    // Counts are two to the power of four bits wide.
    put(96, &4_u32.to_be_bytes());
    put(100, &HEADER_BYTES.to_be_bytes());
    for block in 0..counts {
        put(CLUSTER + 8 * block, &offset(2 + block).to_be_bytes());
    }
    for cluster in 0..clusters {
        put(2 * CLUSTER + 2 * cluster, &1_u16.to_be_bytes());
    }
    for table in 0..tables {
        put(first * CLUSTER + 8 * table, &(offset(first + 1 + table) | COPIED).to_be_bytes());
    }
    for (cluster, &place) in (data..).zip(&used) {
        put((first + 1) * CLUSTER + 8 * place, &(offset(cluster) | COPIED).to_be_bytes());
        let start = place * CLUSTER;
        put(cluster * CLUSTER, &disk[start..disk.len().min(start + CLUSTER)]);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_clusters_are_left_out_and_others_are_found() {
        let mut disk = vec![0; 5 * CLUSTER];
        disk[3 * CLUSTER + 9] = 7;
        let image = make(&disk).unwrap();
        assert_eq!(image.len(), 6 * CLUSTER);
        assert_eq!(image[5 * CLUSTER + 9], 7);
        let entry = 4 * CLUSTER + 8 * 3;
        assert_eq!(image[entry..entry + 8], ((5 * CLUSTER) as u64 | COPIED).to_be_bytes());
    }
}
