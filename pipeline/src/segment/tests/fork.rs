//! A machine copied while it runs goes on twice with the same salt and the same ordinals.

use std::collections::BTreeMap;

use super::*;

/// Nonce tails of a segment's frames, from the opened table.
fn nonces(finished: &Finished<Vec<u8>>) -> Vec<[u8; 12]> {
    let table = open(finished.bytes(), 1);
    table.entries().map(|entry| table.opening(entry.address).unwrap().nonce.0).collect()
}

fn written(extents: &[&[u8]], codec: Codec) -> Finished<Vec<u8>> {
    let mut writer = writer(1);
    let mut compressor = Compressor::new(codec, 1).unwrap();
    for extent in extents {
        let marks = fingerprints(extent);
        writer.append(FrameKind::Data, &[extent], &marks, &mut compressor).unwrap();
    }
    writer.finish()
}

#[test]
fn different_blocks_after_a_fork_get_different_nonces() {
    let before = text(1, 4 * BLOCK_BYTES);
    for content in [text, noise] {
        let (left, right) = (content(2, BLOCK_BYTES), content(3, BLOCK_BYTES));
        let left = written(&[&before, &left], Codec::preferred());
        let right = written(&[&before, &right], Codec::preferred());
        let (left_nonces, right_nonces) = (nonces(&left), nonces(&right));
        assert_eq!(left_nonces[0], right_nonces[0], "what both sealed before is the same");
        assert_eq!(left_nonces[1][..4], right_nonces[1][..4], "the counter alone would repeat");
        assert_ne!(left_nonces[1], right_nonces[1]);
        let tails =
            [&left, &right].map(|one| one.bytes()[layout::header::TABLE_NONCE_TAIL].to_vec());
        assert_ne!(tails[0], tails[1], "the tables differ, so their nonces do");
    }
}

#[test]
fn the_same_blocks_after_a_fork_give_the_same_bytes() {
    let extents = [text(1, 4 * BLOCK_BYTES), noise(2, BLOCK_BYTES)];
    let extents: Vec<&[u8]> = extents.iter().map(Vec::as_slice).collect();
    let (left, right) =
        (written(&extents, Codec::preferred()), written(&extents, Codec::preferred()));
    assert_eq!(left.bytes(), right.bytes());
    assert_eq!(left.digest, right.digest);
}

/// Two copies may also differ in how they compress the same blocks: other level, other codec, other runs.
#[test]
fn the_same_block_compressed_otherwise_gets_another_nonce() {
    let block = text(1, 2 * BLOCK_BYTES);
    let marks = fingerprints(&block);
    let (head, tail) = block.split_at(BLOCK_BYTES);
    let mut sealed = BTreeMap::new();
    for codec in [Codec::Stored, Codec::Deflate, Codec::preferred()] {
        for level in [1, 2, 3, 5, 9] {
            for runs in [&[&block[..]][..], &[head, tail]] {
                let mut writer = writer(1);
                let mut compressor = Compressor::new(codec, level).unwrap();
                let address =
                    writer.append(FrameKind::Data, runs, &marks, &mut compressor).unwrap();
                let finished = writer.finish();
                let entry = open(finished.bytes(), 1);
                let entry = entry.find(address).unwrap();
                let start = usize::try_from(entry.offset).unwrap();
                let bytes = finished.bytes()[start..start + entry.sealed_bytes].to_vec();
                let nonce = nonces(&finished)[0];
                let earlier = sealed.insert(nonce, bytes.clone());
                assert!(earlier.is_none_or(|earlier| earlier == bytes), "{codec:?} {level}");
            }
        }
    }
    assert!(sealed.len() >= 4, "{} ways to seal the same block", sealed.len());
}

#[test]
fn another_salt_is_another_key() {
    let block = noise(1, BLOCK_BYTES);
    let seal_with = |salt| {
        let identity = SegmentIdentity { salt, ..identity(1) };
        let buffer = vec![0; SEGMENT_BYTES_MAX];
        let mut writer = SegmentWriter::new(buffer, identity, &epoch_key());
        let mut compressor = Compressor::new(Codec::Stored, 0).unwrap();
        let marks = fingerprints(&block);
        writer.append(FrameKind::Data, &[&block], &marks, &mut compressor).unwrap();
        let finished = writer.finish();
        finished.bytes()[HEADER_BYTES..finished.table_offset].to_vec()
    };
    assert_eq!(seal_with([1; 32]), seal_with([1; 32]));
    assert_ne!(seal_with([1; 32]), seal_with([2; 32]));
}
