//! What was appended comes back, bit for bit, at every shape a frame can have.

use super::*;

#[test]
fn frames_of_every_shape_come_back() {
    let mut writer = writer(1);
    let mut compressor = Compressor::new(Codec::preferred(), 1).unwrap();
    let fingerprinter = Fingerprinter::new(&SecretKey::from_bytes([9; 32]));
    let mut wanted = Vec::new();
    let extents = [
        text(1, 16 * BLOCK_BYTES),
        noise(2, 16 * BLOCK_BYTES),
        [text(3, 3 * BLOCK_BYTES), noise(3, 2 * BLOCK_BYTES)].concat(),
        vec![0xFF; BLOCK_BYTES],
        noise(4, BLOCK_BYTES),
    ];
    for extent in &extents {
        for keep in [u16::MAX, 0b1010_1010_0111_0001] {
            let runs = extent::runs(extent, keep);
            let plain = runs.concat();
            let address = writer
                .append(FrameKind::Data, &runs, &fingerprints(&plain), &mut compressor)
                .unwrap();
            wanted.push((address, plain));
        }
    }
    for length in [1, 100, 8192, 70_001] {
        let page = text(9, length);
        let address = writer
            .append(FrameKind::Page, &[&page], &[fingerprinter.of(&page)], &mut compressor)
            .unwrap();
        wanted.push((address, page));
    }
    let finished = writer.finish();
    let table = open(finished.bytes(), 1);
    assert_eq!(table.digest(), finished.digest);
    assert_eq!(table.len(), wanted.len());
    assert_eq!(
        finished.plain_bytes,
        wanted.iter().map(|(_, plain)| plain.len() as u64).sum::<u64>()
    );
    for ((address, plain), entry) in wanted.iter().zip(table.entries()) {
        assert_eq!(entry.address, *address);
        assert_eq!(entry.plain_bytes, plain.len());
        assert_eq!(read(&table, finished.bytes(), *address).as_ref(), Ok(plain));
    }
}

#[test]
fn noise_is_stored_and_text_is_not() {
    let mut writer = writer(1);
    let mut compressor = Compressor::new(Codec::preferred(), 1).unwrap();
    for content in [text(1, 4 * BLOCK_BYTES), noise(1, 4 * BLOCK_BYTES)] {
        writer
            .append(FrameKind::Data, &[&content], &fingerprints(&content), &mut compressor)
            .unwrap();
    }
    let finished = writer.finish();
    let table = open(finished.bytes(), 1);
    let codecs: Vec<Codec> = table.entries().map(|entry| entry.codec).collect();
    assert_eq!(codecs, [Codec::preferred(), Codec::Stored]);
}

#[test]
fn an_empty_segment_is_whole() {
    let finished = writer(1).finish();
    assert!(open(finished.bytes(), 1).is_empty());
    assert_eq!(finished.length, HEADER_BYTES + layout::TABLE_HEAD_BYTES);
}

#[test]
fn fingerprints_survive_in_the_table() {
    let mut writer = writer(1);
    let mut compressor = Compressor::new(Codec::preferred(), 1).unwrap();
    let content = text(5, 3 * BLOCK_BYTES);
    let marks = fingerprints(&content);
    let address = writer.append(FrameKind::Data, &[&content], &marks, &mut compressor).unwrap();
    let finished = writer.finish();
    assert_eq!(open(finished.bytes(), 1).find(address).unwrap().fingerprints, marks);
}

/// Fills segments with frames of one shape until `has_room` says no; then the segment is within its limits.
fn fill(mut segment: SegmentWriter<Vec<u8>>, content: &[u8], kind: FrameKind) -> Finished<Vec<u8>> {
    let mut compressor = Compressor::new(Codec::preferred(), 1).unwrap();
    let mut marks = fingerprints(content);
    if kind == FrameKind::Page {
        marks.truncate(1);
    }
    while segment.has_room(content.len()) {
        segment.append(kind, &[content], &marks, &mut compressor).unwrap();
    }
    assert_eq!(segment.append(kind, &[content], &marks, &mut compressor), Err(Error::SegmentFull));
    let promised = segment.used_bytes();
    let finished = segment.finish();
    assert_eq!(finished.length, promised);
    finished
}

#[test]
fn has_room_keeps_its_word_for_data_pages_and_tiny_frames() {
    let noise_extent = noise(1, 16 * BLOCK_BYTES);
    let full = fill(writer(1), &noise_extent, FrameKind::Data);
    assert_eq!(full.frames, 7);
    let constant = vec![0x11; 16 * BLOCK_BYTES];
    let many = fill(writer(2), &constant, FrameKind::Data);
    assert!(many.length <= SEGMENT_BYTES_MAX);
    assert!(many.length - many.table_offset <= crate::limits::SEGMENT_TABLE_BYTES_MAX);
    let pages = fill(writer(3), &[7], FrameKind::Page);
    for (name, finished) in [(1, full), (2, many), (3, pages)] {
        assert_eq!(open(finished.bytes(), name).len(), finished.frames as usize);
    }
}

#[test]
fn the_smallest_buffer_takes_one_incompressible_extent() {
    let buffer = vec![0; crate::limits::SEGMENT_BYTES_MIN];
    let segment = SegmentWriter::new(buffer, identity(1), &epoch_key());
    assert_eq!(fill(segment, &noise(1, 16 * BLOCK_BYTES), FrameKind::Data).frames, 1);
}

#[test]
fn broken_contracts_are_refused_and_leave_the_segment_as_it_was() {
    let mut writer = writer(1);
    let mut compressor = Compressor::new(Codec::preferred(), 1).unwrap();
    let content = text(1, 17 * BLOCK_BYTES);
    let marks = fingerprints(&content);
    let block = &content[..BLOCK_BYTES];
    let mut refused = |kind, runs: &[&[u8]], marks: &[Fingerprint]| {
        let got = writer.append(kind, runs, marks, &mut compressor);
        assert!(matches!(got, Err(Error::Misuse(_))), "{got:?}");
    };
    refused(FrameKind::Data, &[], &[]);
    refused(FrameKind::Data, &[block], &[]);
    refused(FrameKind::Data, &[block, &[]], &marks[..1]);
    refused(FrameKind::Data, &[&block[1..]], &marks[..1]);
    refused(FrameKind::Data, &[&content], &marks);
    refused(FrameKind::Page, &[block], &marks[..2]);
    refused(FrameKind::Page, &[&content], &marks[..1]);
    assert!(writer.is_empty());
}
