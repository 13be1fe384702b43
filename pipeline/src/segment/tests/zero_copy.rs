//! DESIGN invariant 10, at addresses: what is compressed or sealed is read where the disk put it and written
//! where the upload will read it.

use super::*;
use crate::touched;

#[test]
fn compressing_and_sealing_happen_inside_the_final_buffer() {
    let mut writer = writer(1);
    let mut compressor = Compressor::new(Codec::preferred(), 1).unwrap();
    let extent = text(1, 8 * BLOCK_BYTES);
    touched::drain();
    writer.append(FrameKind::Data, &[&extent], &fingerprints(&extent), &mut compressor).unwrap();
    let [compress, seal] = &touched::drain()[..] else { panic!("two passes over the bytes") };
    let finished = writer.finish();
    let table = open(finished.bytes(), 1);
    let entry = table.entry(0).unwrap();
    let start = finished.bytes().as_ptr().addr() + usize::try_from(entry.offset).unwrap();
    let place = start..start + entry.sealed_bytes;
    assert_eq!((compress.stage, seal.stage), ("compress", "seal"));
    let source = extent.as_ptr_range();
    assert_eq!(compress.from, source.start.addr()..source.end.addr());
    assert_eq!(compress.into.start, place.start);
    assert_eq!((&seal.from, &seal.into), (&place, &place));
}

#[test]
fn stored_frames_are_sealed_straight_from_the_disk_buffer() {
    let mut writer = writer(1);
    let mut compressor = Compressor::new(Codec::preferred(), 1).unwrap();
    let extent = noise(1, 8 * BLOCK_BYTES);
    touched::drain();
    writer.append(FrameKind::Data, &[&extent], &fingerprints(&extent), &mut compressor).unwrap();
    let [seal] = &touched::drain()[..] else { panic!("one pass over the bytes") };
    let finished = writer.finish();
    let start = finished.bytes().as_ptr().addr() + HEADER_BYTES;
    let source = extent.as_ptr_range();
    assert_eq!(seal.from, source.start.addr()..source.end.addr());
    assert_eq!(seal.into, start..start + extent.len());
}
