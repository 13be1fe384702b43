//! Every limit of the format and the pipeline, with its unit and its reason; relations are checked at compile time.

/// A block: the unit of change tracking, 64 KiB.
pub const BLOCK_BYTES: usize = 65_536;
/// Blocks in one extent, and so at most in one frame.
pub const EXTENT_BLOCKS_MAX: usize = 16;
/// Bytes of one extent, and so at most of one frame's plain content: 1 MiB.
pub const EXTENT_BYTES_MAX: usize = BLOCK_BYTES * EXTENT_BLOCKS_MAX;
/// A segment object, whole: small enough that sixteen are in flight in 128 MiB, large enough that calls cost little.
pub const SEGMENT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Frames in one segment.
pub const SEGMENT_FRAMES_MAX: usize = 65_535;
/// A segment's frame table, sealed: what a reader allocates before it knows anything else about a segment.
pub const SEGMENT_TABLE_BYTES_MAX: usize = 1024 * 1024;
/// The smallest buffer that a segment is written into: one incompressible frame and its table.
pub const SEGMENT_BYTES_MIN: usize = EXTENT_BYTES_MAX + 4096;
/// A frame is compressed only where that saves at least one part in this many: less is not worth decompressing.
pub const STORED_UNLESS_SAVED_PARTS: usize = 32;
/// Entries in one page of a map, leaf or inner: a leaf covers 16 MiB of disk.
pub const PAGE_ENTRIES: usize = 256;
/// Largest sealed record (manifest, prune, condemn, key ring, index): a reader refuses larger ones before allocating.
pub const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Largest disk: 2^40 blocks, 64 PiB; a map is then five levels deep.
pub const DISK_BLOCKS_MAX: u64 = 1 << 40;

const _: () =
    assert!(EXTENT_BYTES_MAX == 1024 * 1024, "FORMAT.md says a frame holds at most 1 MiB");
const _: () = assert!(
    PAGE_ENTRIES.is_multiple_of(EXTENT_BLOCKS_MAX),
    "a leaf page covers whole extents, so that one worker finishes it alone"
);
const _: () = assert!(
    SEGMENT_BYTES_MAX >= 4 * EXTENT_BYTES_MAX,
    "a segment must hold several incompressible frames and its table"
);
const _: () = assert!(
    SEGMENT_TABLE_BYTES_MAX < SEGMENT_BYTES_MAX && SEGMENT_BYTES_MIN <= SEGMENT_BYTES_MAX,
    "a segment holds its table"
);
const _: () =
    assert!(SEGMENT_BYTES_MAX <= u32::MAX as usize, "lengths and offsets are 32 bits on disk");
