//! Fills one buffer with sealed frames, then closes it into a segment. Never reopens one.

use alloc::vec::Vec;

use aes_gcm::aead::inout::InOutBuf;

use super::frame::{FrameFacts, FrameKeys, Nonce, derive_segment_key};
use super::header::segment_digest;
use super::layout::{
    self, ENTRY_BYTES, FINGERPRINT_BYTES, FORMAT_VERSION, HEADER_BYTES, MAGIC, ORIGIN_BYTES,
    TABLE_HEAD_BYTES, entry, header, origin, put, table_head, u32_of,
};
use super::table::{Origin, SealedFrame};
use super::{FrameKind, SegmentIdentity};
use crate::compress::{Codec, Compressor, Outcome};
use crate::error::Error;
use crate::ids::{Digest, Fingerprint, FrameAddress, SegmentId};
use crate::limits::{
    BLOCK_BYTES, EXTENT_BLOCKS_MAX, EXTENT_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_FRAMES_MAX,
    SEGMENT_TABLE_BYTES_MAX, STORED_UNLESS_SAVED_PARTS,
};
use crate::seal::SecretKey;

/// A segment being written into `B`, a pooled buffer that is handed back by `finish`.
pub struct SegmentWriter<B> {
    buffer: B,
    identity: SegmentIdentity,
    keys: FrameKeys,
    used: usize,
    frames: u32,
    plain_bytes: u64,
    entries: Vec<u8>,
    fingerprints: Vec<u8>,
    origins: Vec<Origin>,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> SegmentWriter<B> {
    /// Begins a segment. The identity's id and salt must be fresh randomness.
    ///
    /// # Panics
    /// Where the buffer is shorter than `SEGMENT_BYTES_MIN`: it could not hold a single frame.
    pub fn new(buffer: B, identity: SegmentIdentity, epoch_key: &SecretKey) -> Self {
        assert!(
            buffer.as_ref().len() >= crate::limits::SEGMENT_BYTES_MIN,
            "a segment's buffer holds at least one incompressible frame and its table"
        );
        Self {
            buffer,
            identity,
            keys: FrameKeys::new(&derive_segment_key(epoch_key, &identity)),
            used: HEADER_BYTES,
            frames: 0,
            plain_bytes: 0,
            entries: Vec::new(),
            fingerprints: Vec::new(),
            origins: Vec::new(),
        }
    }

    /// Compresses and seals one frame straight into its final place.
    ///
    /// `Data`: `runs` are slices of one or more whole blocks each, at most 16 blocks in all, in order
    /// (`extent::runs` makes the fewest); one fingerprint per block. `Page`: one page in one or more slices;
    /// one fingerprint of it. A single run is never copied on its way; more than one is, by the codec.
    pub fn append(
        &mut self,
        kind: FrameKind,
        runs: &[&[u8]],
        fingerprints: &[Fingerprint],
        compressor: &mut Compressor,
    ) -> Result<FrameAddress, Error> {
        let plain = checked_length(kind, runs, fingerprints)?;
        if !self.has_room(plain) {
            return Err(Error::SegmentFull);
        }
        let place = &mut self.buffer.as_mut()[self.used..self.used + plain];
        let worth_it = plain - plain / STORED_UNLESS_SAVED_PARTS;
        let (codec, sealed) = match compressor.compress(runs, &mut place[..worth_it]) {
            Outcome::Compressed { codec, len } => (codec, len),
            Outcome::Incompressible => (Codec::Stored, plain),
        };
        let facts = FrameFacts {
            kind,
            codec,
            ordinal: self.frames,
            plain_bytes: u32_of(plain),
            sealed_bytes: u32_of(sealed),
        };
        let place = &mut place[..sealed];
        let SegmentIdentity { vault, server, segment, .. } = self.identity;
        let associated = facts.associated(FORMAT_VERSION, vault, server, segment);
        let compressed = if codec == Codec::Stored { &[] } else { &*place };
        let nonce = self.keys.frame_nonce(&facts, fingerprints, compressed);
        let buffer = if codec == Codec::Stored { stored(runs, place) } else { place.into() };
        let tag = self.keys.sealer.seal(&nonce.0, &associated, buffer);
        self.push(&facts, nonce, &tag, 0, fingerprints);
        Ok(FrameAddress { segment, ordinal: facts.ordinal })
    }

    /// Carries a frame of another segment of the same server, sealed as it is, under its own address.
    /// Open it first: a carried frame that is damaged stays damaged, but its new segment's digest covers it.
    pub fn append_sealed(&mut self, frame: &SealedFrame<'_>) -> Result<(), Error> {
        if (frame.vault, frame.server) != (self.identity.vault, self.identity.server) {
            return Err(Error::Foreign("the vault or server of a carried frame"));
        }
        if frame.origin.segment == self.identity.segment {
            return Err(Error::Misuse("a segment cannot carry its own frames"));
        }
        if !self.has_room(frame.bytes.len()) {
            return Err(Error::SegmentFull);
        }
        let known = self.origins.iter().rposition(|origin| *origin == frame.origin);
        let index = known.unwrap_or_else(|| {
            self.origins.push(frame.origin);
            self.origins.len() - 1
        });
        self.buffer.as_mut()[self.used..self.used + frame.bytes.len()].copy_from_slice(frame.bytes);
        self.push(&frame.facts, frame.nonce, &frame.tag, u32_of(index + 1), frame.fingerprints);
        Ok(())
    }

    fn push(
        &mut self,
        facts: &FrameFacts,
        nonce: Nonce,
        tag: &[u8; 16],
        from: u32,
        fingerprints: &[Fingerprint],
    ) {
        let mut bytes = [0; ENTRY_BYTES];
        let count = u8::try_from(fingerprints.len()).expect("a frame has at most 16 fingerprints");
        put(&mut bytes, entry::KIND, &[facts.kind as u8]);
        put(&mut bytes, entry::CODEC, &[facts.codec as u8]);
        put(&mut bytes, entry::FINGERPRINTS, &[count]);
        put(&mut bytes, entry::ORIGIN, &from.to_le_bytes());
        put(&mut bytes, entry::ORDINAL, &facts.ordinal.to_le_bytes());
        put(&mut bytes, entry::OFFSET, &u32_of(self.used).to_le_bytes());
        put(&mut bytes, entry::SEALED_BYTES, &facts.sealed_bytes.to_le_bytes());
        put(&mut bytes, entry::PLAIN_BYTES, &facts.plain_bytes.to_le_bytes());
        put(&mut bytes, entry::NONCE_TAIL, &nonce.tail());
        put(&mut bytes, entry::TAG, tag);
        self.entries.extend_from_slice(&bytes);
        for fingerprint in fingerprints {
            self.fingerprints.extend_from_slice(&fingerprint.0);
        }
        self.used += facts.sealed_bytes as usize;
        self.frames += 1;
        self.plain_bytes += u64::from(facts.plain_bytes);
    }

    /// Closes the segment: seals the table behind the frames and fills the header in front.
    pub fn finish(mut self) -> Finished<B> {
        let table_bytes = self.table_bytes();
        let (used, length) = (self.used, self.used + table_bytes);
        let bytes = &mut self.buffer.as_mut()[..length];
        let (front, table) = bytes.split_at_mut(used);
        fill_table(table, &self.entries, &self.fingerprints, &self.origins);
        let head = &mut front[..HEADER_BYTES];
        fill_header(head, &self.identity, self.frames, used, table_bytes);
        seal_table(head, table, &self.keys);
        let digest = segment_digest(head, table);
        Finished {
            length,
            digest,
            segment: self.identity.segment,
            frames: self.frames,
            plain_bytes: self.plain_bytes,
            table_offset: used,
            buffer: self.buffer,
        }
    }

    /// Whether a frame of this many plain bytes (or sealed ones, for a carried frame) fits in any case:
    /// `append` and `append_sealed` do not fail for room after it.
    pub fn has_room(&self, bytes: usize) -> bool {
        let table =
            self.table_bytes() + ORIGIN_BYTES + ENTRY_BYTES + EXTENT_BLOCKS_MAX * FINGERPRINT_BYTES;
        let capacity = self.buffer.as_ref().len().min(SEGMENT_BYTES_MAX);
        (self.frames as usize) < SEGMENT_FRAMES_MAX
            && table <= SEGMENT_TABLE_BYTES_MAX
            && self.used.saturating_add(bytes).saturating_add(table) <= capacity
    }

    /// Whether no frame was appended yet.
    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// Frames appended so far.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// What the segment's length would be if it were finished now.
    pub fn used_bytes(&self) -> usize {
        self.used + self.table_bytes()
    }

    /// Plain bytes of all frames so far.
    pub fn plain_bytes(&self) -> u64 {
        self.plain_bytes
    }

    /// Who the segment is.
    pub fn identity(&self) -> &SegmentIdentity {
        &self.identity
    }

    fn table_bytes(&self) -> usize {
        TABLE_HEAD_BYTES
            + self.origins.len() * ORIGIN_BYTES
            + self.entries.len()
            + self.fingerprints.len()
    }
}

/// Total plain length, after checking the contract of `append`.
fn checked_length(
    kind: FrameKind,
    runs: &[&[u8]],
    fingerprints: &[Fingerprint],
) -> Result<usize, Error> {
    let total: usize = runs.iter().map(|run| run.len()).sum();
    if total == 0 || total > EXTENT_BYTES_MAX || runs.iter().any(|run| run.is_empty()) {
        return Err(Error::Misuse(
            "a frame holds between one byte and 1 MiB, in runs that are not empty",
        ));
    }
    let wanted = match kind {
        FrameKind::Data if runs.iter().any(|run| run.len() % BLOCK_BYTES != 0) => {
            return Err(Error::Misuse("a data frame holds whole blocks"));
        }
        FrameKind::Data => total / BLOCK_BYTES,
        FrameKind::Page => 1,
    };
    if fingerprints.len() != wanted {
        return Err(Error::Misuse("a frame has one fingerprint per block, or one for its page"));
    }
    Ok(total)
}

/// Where a stored frame is sealed from: the source itself if it is one run, so that encrypting is the only
/// move; else its place in the segment, gathered there.
fn stored<'a>(runs: &[&'a [u8]], place: &'a mut [u8]) -> InOutBuf<'a, 'a, u8> {
    if let [run] = runs {
        return InOutBuf::new(run, place)
            .expect("a stored frame's place is as long as its content");
    }
    let mut rest = &mut *place;
    for run in runs {
        let (into, behind) = rest.split_at_mut(run.len());
        into.copy_from_slice(run);
        rest = behind;
    }
    place.into()
}

fn fill_header(
    bytes: &mut [u8],
    identity: &SegmentIdentity,
    frames: u32,
    table_offset: usize,
    table_bytes: usize,
) {
    bytes.fill(0);
    put(bytes, header::MAGIC, &MAGIC);
    put(bytes, header::VERSION, &FORMAT_VERSION.to_le_bytes());
    put(bytes, header::LENGTH, &layout::HEADER_BYTES_U16.to_le_bytes());
    put(bytes, header::FRAMES, &frames.to_le_bytes());
    put(bytes, header::VAULT, &identity.vault.0);
    put(bytes, header::SERVER, &identity.server.0);
    put(bytes, header::SEGMENT, &identity.segment.0);
    put(bytes, header::KEY_EPOCH, &identity.key_epoch.0.to_le_bytes());
    put(bytes, header::TABLE_BYTES, &u32_of(table_bytes).to_le_bytes());
    put(bytes, header::TABLE_OFFSET, &u64::from(u32_of(table_offset)).to_le_bytes());
    put(bytes, header::SALT, &identity.salt);
}

fn fill_table(table: &mut [u8], entries: &[u8], fingerprints: &[u8], origins: &[Origin]) {
    let (head, rest) = table.split_at_mut(TABLE_HEAD_BYTES);
    head.fill(0);
    put(head, table_head::FRAMES, &u32_of(entries.len() / ENTRY_BYTES).to_le_bytes());
    put(head, table_head::ORIGINS, &u32_of(origins.len()).to_le_bytes());
    let count = fingerprints.len() / FINGERPRINT_BYTES;
    put(head, table_head::FINGERPRINTS, &u32_of(count).to_le_bytes());
    let (origin_bytes, rest) = rest.split_at_mut(origins.len() * ORIGIN_BYTES);
    for (bytes, origin) in origin_bytes.chunks_exact_mut(ORIGIN_BYTES).zip(origins) {
        bytes.fill(0);
        put(bytes, origin::SEGMENT, &origin.segment.0);
        put(bytes, origin::KEY_EPOCH, &origin.key_epoch.0.to_le_bytes());
        put(bytes, origin::VERSION, &origin.version.to_le_bytes());
        put(bytes, origin::SALT, &origin.salt);
    }
    let (entry_bytes, fingerprint_bytes) = rest.split_at_mut(entries.len());
    entry_bytes.copy_from_slice(entries);
    fingerprint_bytes.copy_from_slice(fingerprints);
}

/// Seals the table where it lies and completes the header, which is all associated data but for the tag.
pub(super) fn seal_table(head: &mut [u8], table: &mut [u8], keys: &FrameKeys) {
    put(head, header::TABLE_NONCE_TAIL, &[0; 8]);
    put(head, header::TABLE_TAG, &[0; 16]);
    let nonce = keys.table_nonce(head, table);
    put(head, header::TABLE_NONCE_TAIL, &nonce.tail());
    let tag = keys.sealer.seal(&nonce.0, &head[..header::TABLE_TAG.start], table.into());
    put(head, header::TABLE_TAG, &tag);
}

/// A closed segment in its buffer, ready to be stored.
pub struct Finished<B> {
    /// The buffer, to be given back to its pool once the segment is durable.
    pub buffer: B,
    /// Bytes of the segment, from the buffer's start.
    pub length: usize,
    /// BLAKE3 of header and sealed table, which hold the tags of all frames: it stands for every byte.
    pub digest: Digest,
    /// Its name.
    pub segment: SegmentId,
    /// Its frames.
    pub frames: u32,
    /// Plain bytes of all frames.
    pub plain_bytes: u64,
    /// Where the sealed table starts; it reaches to the end.
    pub table_offset: usize,
}

impl<B: AsRef<[u8]>> Finished<B> {
    /// The object to store.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer.as_ref()[..self.length]
    }
}
