//! Bytes from outside: flipped, cut, extended, swapped. The answer is an error, never a panic, never other bytes.

use super::*;

/// A small segment with a frame of every kind and codec, and one carried frame.
fn sample() -> (Vec<u8>, Vec<(FrameAddress, Vec<u8>)>) {
    let mut first = writer(2);
    let mut compressor = Compressor::new(Codec::preferred(), 1).unwrap();
    let carried = text(8, BLOCK_BYTES);
    let address = first
        .append(FrameKind::Data, &[&carried], &fingerprints(&carried), &mut compressor)
        .unwrap();
    let first = first.finish();
    let mut writer = writer(1);
    let mut wanted = Vec::new();
    for (kind, content) in [
        (FrameKind::Data, text(1, 2 * BLOCK_BYTES)),
        (FrameKind::Data, noise(2, BLOCK_BYTES)),
        (FrameKind::Page, text(3, 5000)),
    ] {
        let marks = fingerprints(&content);
        wanted.push((writer.append(kind, &[&content], &marks, &mut compressor).unwrap(), content));
    }
    let table = open(first.bytes(), 2);
    let entry = table.find(address).unwrap();
    let bytes = &first.bytes()[HEADER_BYTES..HEADER_BYTES + entry.sealed_bytes];
    writer.append_sealed(&table.sealed_frame(address, bytes).unwrap()).unwrap();
    wanted.push((address, carried));
    (writer.finish().bytes().to_vec(), wanted)
}

/// Reads all that a reader would, trusting nothing; gives how many frames came back right.
fn read_all(
    object: &[u8],
    wanted: &[(FrameAddress, Vec<u8>)],
    decompressor: &mut Decompressor,
) -> Result<usize, Error> {
    let header = SegmentHeader::parse(object)?;
    let start = usize::try_from(header.table_offset()).unwrap();
    let sealed = object.get(start..start + header.table_bytes()).unwrap_or_default();
    let table = SegmentTable::open(object, sealed, &expected(1), &epoch_key())?;
    let mut right = 0;
    for (address, content) in wanted {
        let entry = table.find(*address).ok_or(Error::UnknownFrame(*address))?;
        let start = usize::try_from(entry.offset).unwrap();
        let sealed = object.get(start..start + entry.sealed_bytes).unwrap_or_default();
        let mut out = vec![0; entry.plain_bytes];
        if open_frame(&table, *address, &mut sealed.to_vec(), &mut out, decompressor).is_ok() {
            assert!(out == *content, "damage that decrypts to something else");
            right += 1;
        }
    }
    Ok(right)
}

#[test]
fn no_mutation_passes_and_none_panics() {
    let (object, wanted) = sample();
    let mut decompressor = Decompressor::new();
    assert_eq!(read_all(&object, &wanted, &mut decompressor), Ok(wanted.len()));
    let header = SegmentHeader::parse(&object).unwrap();
    let table = usize::try_from(header.table_offset()).unwrap();
    for seed in 0..30_000_u64 {
        let dice = noise(seed, 24);
        let roll = |at: usize, below: usize| {
            usize::try_from(u32::from_le_bytes([
                dice[at],
                dice[at + 1],
                dice[at + 2],
                dice[at + 3],
            ]))
            .unwrap()
                % below
        };
        // Most damage goes where parsers read: header and table.
        let (start, end) = match roll(0, 8) {
            0..3 => (0, HEADER_BYTES),
            3..6 => (table, object.len()),
            _ => (0, object.len()),
        };
        let at = start + roll(4, end - start);
        let mut bad = object.clone();
        match roll(8, 5) {
            0 => bad[at] ^= 1 << roll(12, 8),
            1 => bad[at] = bad[at].wrapping_add(dice[16] | 1),
            2 => bad.truncate(at),
            3 => {
                bad.insert(at, dice[16]);
                // Inserting the byte that is there anyway, behind the last, changes nothing.
                if bad[..object.len()] == object {
                    continue;
                }
            }
            _ => {
                let length = (1 + roll(12, 16)).min(bad.len() - at);
                let garbage = noise(seed ^ 0xABCD, length);
                if bad[at..at + length] == garbage {
                    continue;
                }
                bad[at..at + length].copy_from_slice(&garbage);
            }
        }
        if let Ok(right) = read_all(&bad, &wanted, &mut decompressor) {
            assert!(right < wanted.len(), "seed {seed}: the damage at {at} was not noticed");
        }
    }
}

#[test]
fn every_single_byte_is_under_a_seal() {
    let (object, wanted) = sample();
    let mut decompressor = Decompressor::new();
    let table = usize::try_from(SegmentHeader::parse(&object).unwrap().table_offset()).unwrap();
    let all = (0..HEADER_BYTES).chain((HEADER_BYTES..table).step_by(61)).chain(table..object.len());
    let mut bad = object.clone();
    for at in all {
        bad[at] ^= 0x80;
        let answer = read_all(&bad, &wanted, &mut decompressor);
        let noticed = match answer {
            Err(_) => at < HEADER_BYTES || at >= table,
            Ok(right) => right + 1 == wanted.len() && (HEADER_BYTES..table).contains(&at),
        };
        assert!(noticed, "byte {at}: {answer:?}");
        bad[at] ^= 0x80;
    }
}

/// The seals fall first, so the parsers behind them see damage only when the table is sealed again.
#[test]
fn a_damaged_table_under_a_good_seal_is_an_error_or_a_table() {
    let (object, _) = sample();
    let header = SegmentHeader::parse(&object).unwrap();
    let start = usize::try_from(header.table_offset()).unwrap();
    let keys = frame::FrameKeys::new(&derive_segment_key(&epoch_key(), header.identity()));
    let whole = parse::open_plain(&header, &object, &object[start..], &keys.sealer).unwrap();
    let (mut opened, mut refused) = (0, 0);
    for seed in 0..40_000_u64 {
        let dice = noise(seed, 16);
        let mut head = object[..HEADER_BYTES].to_vec();
        let mut plain = whole.clone();
        let at = usize::from(u16::from_le_bytes([dice[0], dice[1]])) % plain.len();
        match dice[2] % 4 {
            0 => plain[at] ^= 1 << (dice[3] % 8),
            1 => plain[at] = dice[3],
            2 => plain.truncate(at),
            _ => plain.extend_from_slice(&dice[4..4 + usize::from(dice[3] % 12)]),
        }
        let length = u32::try_from(plain.len()).unwrap();
        head[layout::header::TABLE_BYTES].copy_from_slice(&length.to_le_bytes());
        if dice[4].is_multiple_of(4) {
            head[layout::header::FRAMES.start] = dice[5] % 8;
        }
        writer::seal_table(&mut head, &mut plain, &keys);
        match SegmentTable::open(&head, &plain, &expected(1), &epoch_key()) {
            Err(_) => refused += 1,
            Ok(table) => {
                opened += 1;
                for entry in table.entries() {
                    let mut sealed = vec![0; entry.sealed_bytes];
                    let mut out = vec![0; entry.plain_bytes];
                    let mut decompressor = Decompressor::new();
                    let answer =
                        open_frame(&table, entry.address, &mut sealed, &mut out, &mut decompressor);
                    assert!(answer.is_err());
                    assert!(entry.offset + entry.sealed_bytes as u64 <= header.table_offset());
                }
            }
        }
    }
    assert!(opened > 1000 && refused > 1000, "{opened} opened, {refused} refused");
}

#[test]
fn whole_segments_in_the_wrong_place_are_named_for_what_they_are() {
    let (object, _) = sample();
    let (header, table) = parts(&object);
    let open_as = |expected: &Expected, key: &SecretKey| {
        SegmentTable::open(header, table, expected, key).err()
    };
    let right = expected(1);
    let other_vault = Expected { vault: VaultId([9; 16]), ..right };
    assert_eq!(open_as(&other_vault, &epoch_key()), Some(Error::Foreign("its vault")));
    let other_server = Expected { server: ServerId([9; 16]), ..right };
    assert_eq!(open_as(&other_server, &epoch_key()), Some(Error::Foreign("its server")));
    assert_eq!(open_as(&expected(2), &epoch_key()), Some(Error::Foreign("its segment id")));
    let wrong = SecretKey::from_bytes([0; 32]);
    assert_eq!(open_as(&right, &wrong), Some(Error::NotAuthentic("frame table")));
}

#[test]
fn other_objects_and_newer_versions_are_told_apart() {
    let (object, _) = sample();
    let parse_with = |field: core::ops::Range<usize>, value: &[u8]| {
        let mut bytes = object[..HEADER_BYTES].to_vec();
        bytes[field].copy_from_slice(value);
        SegmentHeader::parse(&bytes)
    };
    let malformed = |answer| matches!(answer, Err(Error::Malformed(_)));
    assert_eq!(parse_with(layout::header::VERSION, &[2, 0]), Err(Error::NewerFormat(2)));
    assert!(malformed(parse_with(layout::header::VERSION, &[0, 0])));
    assert!(malformed(parse_with(layout::header::MAGIC, b"LIFEBOAT")));
    assert!(malformed(parse_with(layout::header::TABLE_OFFSET, &[0xFF; 8])));
    assert!(malformed(parse_with(layout::header::TABLE_BYTES, &[0xFF; 4])));
    assert!(malformed(parse_with(layout::header::FRAMES, &[0xFF; 4])));
    assert!(malformed(SegmentHeader::parse(&object[..HEADER_BYTES - 1])));
    assert!(malformed(SegmentHeader::parse(&[])));
}

#[test]
fn frames_of_one_segment_are_not_interchangeable() {
    let mut writer = writer(1);
    let mut compressor = Compressor::new(Codec::Stored, 0).unwrap();
    let blocks = [noise(1, BLOCK_BYTES), noise(2, BLOCK_BYTES)];
    let [one, two] = blocks.each_ref().map(|block| {
        writer.append(FrameKind::Data, &[block], &fingerprints(block), &mut compressor).unwrap()
    });
    let mut object = writer.finish().bytes().to_vec();
    let frames = &mut object[HEADER_BYTES..HEADER_BYTES + 2 * BLOCK_BYTES];
    let (first, second) = frames.split_at_mut(BLOCK_BYTES);
    first.swap_with_slice(second);
    let table = open(&object, 1);
    for address in [one, two] {
        assert_eq!(read(&table, &object, address), Err(Error::NotAuthentic("frame")));
    }
}

#[test]
fn wrong_lengths_handed_to_open_frame_are_errors() {
    let (object, wanted) = sample();
    let table = open(&object, 1);
    let mut decompressor = Decompressor::new();
    for (address, content) in &wanted {
        let entry = table.find(*address).unwrap();
        let start = usize::try_from(entry.offset).unwrap();
        let mut sealed = object[start..start + entry.sealed_bytes].to_vec();
        let mut small = vec![0; content.len() - 1];
        let answer = open_frame(&table, *address, &mut sealed, &mut small, &mut decompressor);
        assert!(matches!(answer, Err(Error::Misuse(_))));
        let mut out = vec![0; content.len() + 10];
        let short = &mut sealed.clone()[1..];
        let answer = open_frame(&table, *address, short, &mut out, &mut decompressor);
        assert!(matches!(answer, Err(Error::Malformed(_))));
        let answer = open_frame(&table, *address, &mut sealed, &mut out, &mut decompressor);
        assert_eq!(answer, Ok(content.len()));
        assert!(out[..content.len()] == *content, "more room than needed is left alone");
    }
}
