//! Segment headers, frame tables, frames and map pages: damaged, and sealed again with mutated content.

use pipeline::compress::{Codec, Compressor, Decompressor, Outcome};
use pipeline::limits::{
    EXTENT_BYTES_MAX, PAGE_ENTRIES, SEGMENT_BYTES_MAX, SEGMENT_TABLE_BYTES_MAX,
};
use pipeline::seal::{NONCE_BYTES, TAG_BYTES, derive, open_in_place, seal_in_place};
use pipeline::segment::layout::header;
use pipeline::segment::{
    Expected, FrameKind, HEADER_BYTES, SegmentHeader, SegmentTable, open_frame,
};
use pipeline_vault::frames::FrameReader;
use pipeline_vault::map::{Inner, Leaf};
use pipeline_vault::names;
use pipeline_vault::points::read_chain;
use pipeline_vault::verify::{self, Depth, Options};
use pipeline_vault::writer::Silent;

use crate::corpus::Bed;
use tests::campaign::mutate;

#[test]
fn headers_keep_within_the_limits_or_are_refused() {
    let bed = Bed::new();
    let heads: Vec<Vec<u8>> = bed
        .bodies(&bed.names("seg"))
        .into_iter()
        .map(|body| body[..HEADER_BYTES].to_vec())
        .collect();
    mutate("headers", 100_000, &heads, |bytes, _| {
        if let Ok(header) = SegmentHeader::parse(bytes) {
            assert!(header.table_bytes() <= SEGMENT_TABLE_BYTES_MAX);
            assert!(header.object_bytes() <= SEGMENT_BYTES_MAX as u64);
        }
    });
}

/// A segment taken apart: header, frames, the table's plain content.
struct Parts {
    name: String,
    head: Vec<u8>,
    frames: Vec<u8>,
    table: Vec<u8>,
}

fn nonce(head: &[u8]) -> [u8; NONCE_BYTES] {
    let mut nonce = [0xFF; NONCE_BYTES];
    nonce[4..].copy_from_slice(&head[header::TABLE_NONCE_TAIL]);
    nonce
}

fn seal_key(bed: &Bed, head: &[u8]) -> pipeline::seal::SecretKey {
    let parsed = SegmentHeader::parse(head).expect("a header");
    let key = bed.access.keys.segment_key(parsed.identity()).expect("a key");
    derive(&key, &[], &[b"seal"])
}

fn apart(bed: &Bed, name: &str) -> Parts {
    let body = bed.bodies(&[name.to_owned()]).remove(0);
    let parsed = SegmentHeader::parse(&body).expect("a header");
    let offset = usize::try_from(parsed.table_offset()).expect("small");
    let (head, mut table) = (body[..HEADER_BYTES].to_vec(), body[offset..].to_vec());
    let mut tag = [0; TAG_BYTES];
    tag.copy_from_slice(&head[header::TABLE_TAG]);
    let associated = &head[..header::TABLE_TAG.start];
    open_in_place(&seal_key(bed, &head), &nonce(&head), associated, &mut table, &tag)
        .expect("a whole table");
    Parts { name: name.to_owned(), head, frames: body[HEADER_BYTES..offset].to_vec(), table }
}

/// The segment with another table, sealed as its writer would.
fn together(bed: &Bed, parts: &Parts, table: &[u8], frames_field: Option<u32>) -> Vec<u8> {
    let mut head = parts.head.clone();
    let bytes = u32::try_from(table.len()).unwrap_or(u32::MAX);
    head[header::TABLE_BYTES].copy_from_slice(&bytes.to_le_bytes());
    if let Some(frames) = frames_field {
        head[header::FRAMES].copy_from_slice(&frames.to_le_bytes());
    }
    let mut sealed = table.to_vec();
    let associated = &head[..header::TABLE_TAG.start];
    let tag = seal_in_place(&seal_key(bed, &parts.head), &nonce(&head), associated, &mut sealed);
    head[header::TABLE_TAG].copy_from_slice(&tag);
    [head, parts.frames.clone(), sealed].concat()
}

#[test]
fn tables_of_a_hostile_writer_name_only_bytes_of_their_segment() {
    let bed = Bed::new();
    let parts: Vec<Parts> = bed.names("seg").iter().map(|name| apart(&bed, name)).collect();
    let tables: Vec<Vec<u8>> = parts.iter().map(|parts| parts.table.clone()).collect();
    let mut decompressor = Decompressor::new();
    let mut out = vec![0; EXTENT_BYTES_MAX];
    let mut opened = 0;
    mutate("tables", 20_000, &tables, |bytes, random| {
        let one = &parts[usize::try_from(random.below(parts.len() as u64)).expect("small")];
        // What the table's own head says of its frames, as often as what was there.
        let claimed = bytes.first_chunk::<4>().map(|count| u32::from_le_bytes(*count));
        let object = together(&bed, one, bytes, claimed.filter(|_| random.below(2) == 0));
        let Ok(parsed) = SegmentHeader::parse(&object) else { return };
        let identity = *parsed.identity();
        let expected =
            Expected { vault: identity.vault, server: identity.server, segment: identity.segment };
        let key = bed.access.keys.segment_key(&identity).expect("a key");
        let start = HEADER_BYTES + one.frames.len();
        let table = &object[start..];
        let Ok(table) = SegmentTable::open_with_segment_key(&object, table, &expected, &key) else {
            return;
        };
        opened += 1;
        for entry in table.entries() {
            let place = usize::try_from(entry.offset).expect("small");
            assert!(place + entry.sealed_bytes <= start, "a frame outside its segment");
            assert!(entry.plain_bytes <= EXTENT_BYTES_MAX);
            let mut sealed = object[place..place + entry.sealed_bytes].to_vec();
            let _ = open_frame(&table, entry.address, &mut sealed, &mut out, &mut decompressor);
        }
    });
    assert!(opened > 0, "no mutation got past the seal");
}

#[test]
fn segments_of_a_hostile_writer_are_verified_without_panic() {
    let bed = Bed::new();
    let parts: Vec<Parts> = bed.names("seg").iter().map(|name| apart(&bed, name)).collect();
    let tables: Vec<Vec<u8>> = parts.iter().map(|parts| parts.table.clone()).collect();
    mutate("segments", 150, &tables, |bytes, random| {
        let one = &parts[usize::try_from(random.below(parts.len() as u64)).expect("small")];
        bed.store.overwrite(&one.name, &together(&bed, one, bytes, None));
        let options = Options { workers: 1, ..Options::new(Depth::Deep) };
        let report = verify::run(&bed.access, &bed.servers, &options, &Silent).expect("a report");
        // What pruned points alone need is told, and costs nothing.
        let told = !report.ok || report.all_notices().any(|notice| notice.object == one.name);
        assert!(told || *bytes == one.table, "another table passed for {}", one.name);
        bed.mend();
    });
}

#[test]
fn compressed_content_of_a_hostile_writer_fills_its_frame_or_errs() {
    let mut content = vec![0_u8; 65_536];
    for (at, byte) in content.iter_mut().enumerate() {
        *byte = b"a frame of words and numbers "[at % 29] ^ u8::try_from(at >> 11).unwrap_or(0);
    }
    for codec in [Codec::Zstd, Codec::Deflate, Codec::Stored] {
        let mut packed = vec![0; content.len()];
        let mut compressor = Compressor::new(codec, 3).expect("this build has it");
        let length = match compressor.compress(&[&content], &mut packed) {
            Outcome::Compressed { len, .. } => len,
            Outcome::Incompressible => {
                packed.copy_from_slice(&content);
                packed.len()
            }
        };
        packed.truncate(length);
        let mut decompressor = Decompressor::new();
        let mut out = vec![0; content.len()];
        mutate("frames", 10_000, &[packed], |bytes, random| {
            let room = if random.below(2) == 0 {
                content.len()
            } else {
                usize::try_from(random.below(content.len() as u64 + 1)).expect("small")
            };
            let _ = decompressor.decompress(codec, bytes, &mut out[..room]);
        });
    }
}

#[test]
fn map_pages_read_back_as_they_were_written_or_err() {
    let bed = Bed::new();
    let view = read_chain(&bed.access, bed.server).expect("a chain");
    let frames = FrameReader::new(&bed.access, bed.server, &view.upkeep, 1 << 20).expect("keys");
    let mut pages = vec![Inner::empty(1).encode(), Leaf::default().encode()];
    for name in bed.names("seg") {
        let segment = names::segment_of(&bed.server, &name).expect("a segment");
        let opened = frames.table(&segment).expect("a table");
        for entry in opened.table.entries().filter(|entry| entry.kind == FrameKind::Page) {
            // Frames whose first segment is gone are found where they were carried.
            if let Ok(located) = frames.locate(entry.address) {
                let page = frames.read(&located, &mut Decompressor::new());
                pages.push(page.expect("a page"));
            }
        }
    }
    assert!(pages.len() > 3, "pages of several points");
    mutate("pages", 50_000, &pages, |bytes, random| {
        if let Ok(leaf) = Leaf::decode(bytes) {
            assert_eq!(leaf.entries.len(), PAGE_ENTRIES);
            assert_eq!(Leaf::decode(&leaf.encode()).as_ref(), Ok(&leaf));
        }
        let level = bytes.get(1).copied().unwrap_or(0);
        let level = if random.below(2) == 0 { level } else { random.number().to_le_bytes()[0] };
        if let Ok(inner) = Inner::decode(bytes, level) {
            assert_eq!(Inner::decode(&inner.encode(), level).as_ref(), Ok(&inner));
        }
    });
}
