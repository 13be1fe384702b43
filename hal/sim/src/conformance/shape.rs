//! Size, sectors and buffers.

use hal::disk::Disk;

use super::Bench;

pub(super) fn geometry_makes_sense<D: Disk>(mut bench: Bench<D>) {
    let geometry = bench.geometry;
    let logical = geometry.logical_sector_bytes;
    assert!([512, 4096].contains(&logical), "{geometry:?}");
    assert!(geometry.physical_sector_bytes.is_power_of_two(), "{geometry:?}");
    assert!(geometry.physical_sector_bytes >= logical, "{geometry:?}");
    let align = geometry.request_align_bytes;
    assert!(align == 1 || [512, 4096].contains(&align), "{geometry:?}");
    assert!(align == 1 || geometry.bytes.is_multiple_of(u64::from(logical)), "{geometry:?}");
    assert!(!geometry.read_only, "the factory's disk is writable");
    assert!(bench.disk.depth() >= 1);
    assert_eq!(bench.disk.geometry().expect("asking again works"), geometry);
}

pub(super) fn buffers_are_aligned_and_zeroed<D: Disk>(mut bench: Bench<D>) {
    for length in [1, 511, 512, 4096, 65_536, 1 << 20, (1 << 20) + 1] {
        let mut buffer = bench.disk.buffer(length).expect("a buffer can be had");
        assert!(buffer.as_ref().len() >= length, "at least {length} bytes");
        let align = bench.geometry.request_align_bytes.max(512) as usize;
        assert_eq!(buffer.as_ref().as_ptr().addr() % align, 0, "aligned to {align}");
        assert!(buffer.as_ref().iter().all(|byte| *byte == 0), "zeroed");
        assert_eq!(buffer.as_ref().as_ptr(), buffer.as_mut().as_ptr());
    }
}
