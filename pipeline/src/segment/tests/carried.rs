//! Compaction: frames carried from segment to segment keep their address, their seal and their secret.

use super::*;
use crate::ids::KeyEpoch;

fn one_frame(
    name: u8,
    identity: SegmentIdentity,
    key: &SecretKey,
    block: &[u8],
) -> Finished<Vec<u8>> {
    assert_eq!(identity.segment.0[0], name);
    let mut writer = SegmentWriter::new(vec![0; SEGMENT_BYTES_MAX], identity, key);
    let mut compressor = Compressor::new(Codec::preferred(), 1).unwrap();
    writer.append(FrameKind::Data, &[block], &fingerprints(block), &mut compressor).unwrap();
    writer.finish()
}

fn carry(writer: &mut SegmentWriter<Vec<u8>>, table: &SegmentTable, segment: &[u8]) {
    for entry in table.entries() {
        let start = usize::try_from(entry.offset).unwrap();
        let bytes = &segment[start..start + entry.sealed_bytes];
        writer.append_sealed(&table.sealed_frame(entry.address, bytes).unwrap()).unwrap();
    }
}

#[test]
fn a_frame_carried_twice_is_found_under_its_first_address() {
    let blocks = [text(1, 3 * BLOCK_BYTES), noise(2, BLOCK_BYTES)];
    let first = one_frame(1, identity(1), &epoch_key(), &blocks[0]);
    let second = one_frame(2, identity(2), &epoch_key(), &blocks[1]);
    let mut merged = writer(3);
    carry(&mut merged, &open(first.bytes(), 1), first.bytes());
    carry(&mut merged, &open(second.bytes(), 2), second.bytes());
    let own = text(9, BLOCK_BYTES);
    let mut compressor = Compressor::new(Codec::preferred(), 1).unwrap();
    let own_address =
        merged.append(FrameKind::Data, &[&own], &fingerprints(&own), &mut compressor).unwrap();
    let merged = merged.finish();
    let mut again = writer(4);
    carry(&mut again, &open(merged.bytes(), 3), merged.bytes());
    let again = again.finish();
    for (finished, name) in [(&merged, 3), (&again, 4)] {
        let table = open(finished.bytes(), name);
        for (segment, block) in [(1, &blocks[0]), (2, &blocks[1])] {
            let address = FrameAddress { segment: SegmentId([segment; 16]), ordinal: 0 };
            assert_eq!(read(&table, finished.bytes(), address).as_ref(), Ok(block));
            assert_eq!(table.find(address).unwrap().fingerprints, fingerprints(block));
        }
        assert_eq!(read(&table, finished.bytes(), own_address).as_ref(), Ok(&own));
        let elsewhere = FrameAddress { segment: SegmentId([3; 16]), ordinal: 0 };
        assert_eq!(
            read(&table, finished.bytes(), elsewhere),
            Err(Error::UnknownFrame(elsewhere)),
            "a carried frame's place is not an address"
        );
    }
    assert_eq!(open(again.bytes(), 4).origins().count(), 3);
}

#[test]
fn frames_of_another_key_epoch_open_once_that_key_is_handed_in() {
    let old_key = SecretKey::from_bytes([0x24; 32]);
    let old = SegmentIdentity { key_epoch: KeyEpoch(6), ..identity(1) };
    let block = text(1, BLOCK_BYTES);
    let first = one_frame(1, old, &old_key, &block);
    let (header, table) = parts(first.bytes());
    let table = SegmentTable::open(header, table, &expected(1), &old_key).unwrap();
    let mut merged = writer(2);
    carry(&mut merged, &table, first.bytes());
    let merged = merged.finish();
    let mut table = open(merged.bytes(), 2);
    let address = FrameAddress { segment: SegmentId([1; 16]), ordinal: 0 };
    assert_eq!(read(&table, merged.bytes(), address), Err(Error::KeyMissing(KeyEpoch(6))));
    table.supply_epoch_key(KeyEpoch(6), &epoch_key());
    let wrong = read(&table, merged.bytes(), address);
    assert_eq!(wrong, Err(Error::NotAuthentic("frame")), "the key of another epoch");
    table.supply_epoch_key(KeyEpoch(6), &old_key);
    assert_eq!(read(&table, merged.bytes(), address).as_ref(), Ok(&block));
}

/// A recovery ticket holds segment keys only.
#[test]
fn a_segment_key_opens_its_segment_and_nothing_else() {
    let block = text(1, BLOCK_BYTES);
    let first = one_frame(1, identity(1), &epoch_key(), &block);
    let second = one_frame(2, identity(2), &epoch_key(), &block);
    let key = derive_segment_key(&epoch_key(), &identity(1));
    let (header, table) = parts(first.bytes());
    let table = SegmentTable::open_with_segment_key(header, table, &expected(1), &key).unwrap();
    let address = FrameAddress { segment: SegmentId([1; 16]), ordinal: 0 };
    assert_eq!(read(&table, first.bytes(), address).as_ref(), Ok(&block));
    let (header, sealed) = parts(second.bytes());
    let other = SegmentTable::open_with_segment_key(header, sealed, &expected(2), &key);
    assert_eq!(other.err(), Some(Error::NotAuthentic("frame table")));

    let mut merged = writer(3);
    carry(&mut merged, &table, first.bytes());
    let merged = merged.finish();
    let (header, sealed) = parts(merged.bytes());
    let merged_key = derive_segment_key(&epoch_key(), &identity(3));
    let mut table =
        SegmentTable::open_with_segment_key(header, sealed, &expected(3), &merged_key).unwrap();
    assert_eq!(read(&table, merged.bytes(), address), Err(Error::KeyMissing(KeyEpoch(7))));
    table.supply_segment_key(SegmentId([1; 16]), &key);
    assert_eq!(read(&table, merged.bytes(), address).as_ref(), Ok(&block));
}

#[test]
fn frames_of_another_server_or_of_the_segment_itself_are_not_carried() {
    let block = text(1, BLOCK_BYTES);
    let foreign = SegmentIdentity { server: ServerId([0xAA; 16]), ..identity(1) };
    let first = one_frame(1, foreign, &epoch_key(), &block);
    let (header, table) = parts(first.bytes());
    let theirs = Expected { server: ServerId([0xAA; 16]), ..expected(1) };
    let table = SegmentTable::open(header, table, &theirs, &epoch_key()).unwrap();
    let entry = table.entry(0).unwrap();
    let bytes = &first.bytes()[HEADER_BYTES..HEADER_BYTES + entry.sealed_bytes];
    let frame = table.sealed_frame(entry.address, bytes).unwrap();
    assert!(matches!(writer(2).append_sealed(&frame), Err(Error::Foreign(_))));
    assert!(table.sealed_frame(entry.address, &bytes[1..]).is_err());

    let own = one_frame(1, identity(1), &epoch_key(), &block);
    let table = open(own.bytes(), 1);
    let bytes = &own.bytes()[HEADER_BYTES..HEADER_BYTES + entry.sealed_bytes];
    let frame = table.sealed_frame(entry.address, bytes).unwrap();
    assert!(matches!(writer(1).append_sealed(&frame), Err(Error::Misuse(_))));
}

#[test]
fn one_frame_carried_twice_into_one_segment_is_refused_on_reading() {
    let first = one_frame(1, identity(1), &epoch_key(), &text(1, BLOCK_BYTES));
    let table = open(first.bytes(), 1);
    let mut merged = writer(2);
    carry(&mut merged, &table, first.bytes());
    carry(&mut merged, &table, first.bytes());
    let merged = merged.finish();
    let (header, sealed) = parts(merged.bytes());
    let answer = SegmentTable::open(header, sealed, &expected(2), &epoch_key());
    assert!(matches!(answer.err(), Some(Error::Malformed(_))));
}
