//! The simulated disk passes the suite in every geometry that disks have.

use hal::disk::Geometry;
use hal_sim::disk::Sectors;
use hal_sim::{Faults, SimDisk, conformance};

/// 8 MiB and one sector of 4096: no multiple of a block.
const ODD_BYTES: u64 = 8 * 1024 * 1024 + 4096;

#[test]
fn small_sectors_conform() {
    conformance::run(|| SimDisk::with_sectors(ODD_BYTES + 512, Sectors::Small));
}

#[test]
fn emulated_sectors_conform() {
    conformance::run(|| SimDisk::with_sectors(ODD_BYTES + 3 * 512, Sectors::Emulated));
}

#[test]
fn large_sectors_conform() {
    conformance::run(|| SimDisk::with_sectors(ODD_BYTES, Sectors::Large));
}

#[test]
fn files_of_any_length_conform() {
    conformance::run(|| SimDisk::with_sectors(ODD_BYTES + 777, Sectors::Unaligned));
}

#[test]
fn a_disk_that_answers_out_of_order_conforms() {
    conformance::run(|| {
        let disk = SimDisk::new(ODD_BYTES);
        disk.set_faults(Faults { seed: 5, reorder_per_million: 700_000, ..Faults::default() });
        disk
    });
}

#[test]
fn a_disk_without_queue_or_discard_conforms() {
    conformance::run(|| {
        let geometry = Geometry {
            bytes: 1024 * 1024,
            logical_sector_bytes: 512,
            physical_sector_bytes: 512,
            request_align_bytes: 512,
            discard_bytes: 0,
            read_only: false,
        };
        SimDisk::with_geometry(geometry).with_depth(1)
    });
}
