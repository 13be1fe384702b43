//! Finds and opens frames by their logical address: relocation records, frame tables, seals, codecs.
//! Everything it hands out is authentic; what is missing or damaged is named by its object.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use pipeline::compress::Decompressor;
use pipeline::fingerprint::Fingerprinter;
use pipeline::ids::{Digest, FrameAddress, SegmentId, ServerId};
use pipeline::limits::{EXTENT_BYTES_MAX, SEGMENT_BYTES_MAX};
use pipeline::segment::{
    Entry as TableEntry, Expected, FrameKind, HEADER_BYTES, SegmentHeader, SegmentIdentity,
    SegmentTable, open_frame,
};

use crate::access::Access;
use crate::cache::Cache;
use crate::error::Error;
use crate::map::{Inner, Leaf, PageRef, PageSource};
use crate::names;
use crate::parallel;
use crate::record::Upkeep;

/// Map pages lie together: one read fetches so many bytes around the page asked for.
const CHUNK_BYTES: usize = 256 * 1024;
/// Objects of at most so many bytes are read whole where their length is known.
const SMALL_BYTES_MAX: usize = 4 * CHUNK_BYTES;
/// Where a longer object's length is known, so many bytes of its end come with its header: the table, most of the time.
const TAIL_BYTES: usize = 128 * 1024;
/// A sealed frame is hardly longer than its content: what is said to be longer than this is no frame.
const SEALED_BYTES_MAX: usize = 4 * EXTENT_BYTES_MAX;

/// Opens frames of one server.
pub struct FrameReader {
    access: Access,
    server: ServerId,
    fingerprinter: Fingerprinter,
    relocations: RwLock<HashMap<SegmentId, Vec<SegmentId>>>,
    tables: Mutex<Cache<SegmentId, Arc<OpenedTable>>>,
    leaves: Mutex<Cache<FrameAddress, Arc<Leaf>>>,
    inners: Mutex<Cache<FrameAddress, Arc<Inner>>>,
    chunks: Mutex<Cache<ChunkKey, Arc<Vec<u8>>>>,
    lengths: RwLock<Arc<HashMap<SegmentId, usize>>>,
    /// Objects with pages of at most so many bytes are read whole: their other pages will be wanted too, and stay.
    page_object_bytes_max: usize,
}

/// A segment and the number of a chunk of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct ChunkKey(SegmentId, u64);

/// A segment's table and what else its header tells.
pub struct OpenedTable {
    /// The frames.
    pub table: SegmentTable,
    /// The object's length.
    pub object_bytes: u64,
    /// Its sealed table's length.
    pub table_bytes: usize,
}

/// Where a frame's bytes are now.
pub struct Located {
    /// The object that holds it.
    pub segment: SegmentId,
    /// Its table.
    pub opened: Arc<OpenedTable>,
    /// Its logical address.
    pub address: FrameAddress,
    /// First byte in the object.
    pub offset: u64,
    /// Sealed length.
    pub sealed_bytes: usize,
    /// Length of its content.
    pub plain_bytes: usize,
    /// Blocks or page.
    pub kind: FrameKind,
}

impl FrameReader {
    /// A reader of a server's frames with so many bytes for caches.
    pub fn new(
        access: &Access,
        server: ServerId,
        upkeep: &Upkeep,
        cache_bytes: usize,
    ) -> Result<Self, Error> {
        let key = access.keys.fingerprint_key(&server).ok_or_else(|| {
            Error::misuse(format!("server {server}"), "no key for this server is at hand")
        })?;
        let reader = Self {
            access: access.clone(),
            server,
            fingerprinter: Fingerprinter::new(&key),
            relocations: RwLock::default(),
            tables: Mutex::new(Cache::new(cache_bytes / 4)),
            leaves: Mutex::new(Cache::new(cache_bytes / 4)),
            inners: Mutex::new(Cache::new(cache_bytes / 4)),
            chunks: Mutex::new(Cache::new(cache_bytes / 4)),
            lengths: RwLock::default(),
            page_object_bytes_max: (cache_bytes / 8).max(SMALL_BYTES_MAX),
        };
        reader.relocate(upkeep);
        Ok(reader)
    }

    /// Takes newer relocation records into account.
    pub fn relocate(&self, upkeep: &Upkeep) {
        let moved = upkeep.relocations.iter().map(|moved| (moved.from, moved.into.clone()));
        *self.relocations.write().unwrap_or_else(PoisonError::into_inner) = moved.collect();
    }

    /// Takes the lengths of objects from a listing: small ones are then read whole, in one round trip instead of three.
    pub(crate) fn know_lengths(&self, lengths: Arc<HashMap<SegmentId, usize>>) {
        *self.lengths.write().unwrap_or_else(PoisonError::into_inner) = lengths;
    }

    /// Whose frames.
    pub fn server(&self) -> ServerId {
        self.server
    }

    /// What it reads with.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The server's fingerprints.
    pub fn fingerprinter(&self) -> &Fingerprinter {
        &self.fingerprinter
    }

    /// The objects that hold a segment's frames now: itself, or where they were moved.
    pub fn holders(&self, segment: &SegmentId) -> Vec<SegmentId> {
        let moved = self.relocations.read().unwrap_or_else(PoisonError::into_inner);
        moved.get(segment).cloned().unwrap_or_else(|| vec![*segment])
    }

    /// A segment's frame table: two small reads or a whole small object, then from memory.
    pub fn table(&self, segment: &SegmentId) -> Result<Arc<OpenedTable>, Error> {
        let weigh = |opened: &Arc<OpenedTable>| 2 * opened.table_bytes;
        if let Some(opened) = lock(&self.tables).find(segment, weigh) {
            return Ok(opened);
        }
        if let Some(bytes) = self.length(segment).filter(|bytes| *bytes <= SMALL_BYTES_MAX) {
            return self.load_small(segment, bytes);
        }
        let opened = Arc::new(self.load_table(segment)?);
        lock(&self.tables).insert(*segment, Arc::clone(&opened), weigh(&opened));
        Ok(opened)
    }

    fn length(&self, segment: &SegmentId) -> Option<usize> {
        let lengths = self.lengths.read().unwrap_or_else(PoisonError::into_inner);
        lengths.get(segment).copied()
    }

    /// The table of a segment whose pages are wanted.
    fn table_and_pages(&self, segment: &SegmentId) -> Result<(), Error> {
        let weigh = |opened: &Arc<OpenedTable>| 2 * opened.table_bytes;
        let known = lock(&self.tables).find(segment, weigh).is_some();
        match self.length(segment).filter(|bytes| *bytes <= self.page_object_bytes_max) {
            Some(bytes) if !known => self.load_small(segment, bytes).map(drop),
            _ => Ok(()),
        }
    }

    /// Reads a small object whole; its pages will be wanted next.
    fn load_small(&self, segment: &SegmentId, bytes: usize) -> Result<Arc<OpenedTable>, Error> {
        let mut object = vec![0; bytes];
        self.access.store.read(&names::segment(&self.server, segment), 0, &mut object)?;
        let opened = self.open_whole(segment, &object)?;
        if opened.object_bytes != bytes as u64 {
            let name = names::segment(&self.server, segment);
            return Err(Error::corrupt(name, "is not as long as it says"));
        }
        let mut chunks = lock(&self.chunks);
        for (number, chunk) in (0..).zip(object.chunks(CHUNK_BYTES)) {
            chunks.insert(ChunkKey(*segment, number), Arc::new(chunk.to_vec()), chunk.len());
        }
        Ok(opened)
    }

    fn load_table(&self, segment: &SegmentId) -> Result<OpenedTable, Error> {
        let name = names::segment(&self.server, segment);
        let store = &*self.access.store;
        let mut header_bytes = [0; HEADER_BYTES];
        let length = self.length(segment).filter(|bytes| *bytes <= SEGMENT_BYTES_MAX);
        // The end is a guess of where the table is: what the header says decides.
        let mut tail = vec![0; length.map_or(0, |bytes| bytes.min(TAIL_BYTES))];
        let tail_at = (length.unwrap_or(0) - tail.len()) as u64;
        let (header, end) = match tail.is_empty() {
            true => (store.read(&name, 0, &mut header_bytes), Ok(())),
            false => parallel::both(
                store.parallel(),
                || store.read(&name, 0, &mut header_bytes),
                || store.read(&name, tail_at, &mut tail),
            ),
        };
        header?;
        end?;
        let header = SegmentHeader::parse(&header_bytes).map_err(|error| damaged(&name, &error))?;
        if header.object_bytes() > SEGMENT_BYTES_MAX as u64 {
            return Err(Error::corrupt(&name, "says to be larger than any segment"));
        }
        let inside = header.table_offset().checked_sub(tail_at).map(usize::try_from);
        if let Some(Ok(start)) = inside
            && let Some(table) = tail.get(start..start.saturating_add(header.table_bytes()))
        {
            return self.open_table(segment, &header_bytes, table);
        }
        let mut table_bytes = vec![0; header.table_bytes()];
        store.read(&name, header.table_offset(), &mut table_bytes)?;
        self.open_table(segment, &header_bytes, &table_bytes)
    }

    /// Opens a table whose bytes are at hand.
    pub fn open_table(
        &self,
        segment: &SegmentId,
        header_bytes: &[u8],
        table_bytes: &[u8],
    ) -> Result<OpenedTable, Error> {
        let name = names::segment(&self.server, segment);
        let header = SegmentHeader::parse(header_bytes).map_err(|error| damaged(&name, &error))?;
        let key = self.access.keys.segment_key(header.identity()).ok_or_else(|| no_key(&name))?;
        let expected =
            Expected { vault: self.access.vault, server: self.server, segment: *segment };
        let mut table =
            SegmentTable::open_with_segment_key(header_bytes, table_bytes, &expected, &key)
                .map_err(|error| damaged(&name, &error))?;
        let origins: Vec<_> = table.origins().copied().collect();
        for origin in origins {
            let identity = SegmentIdentity {
                vault: self.access.vault,
                server: self.server,
                segment: origin.segment,
                key_epoch: origin.key_epoch,
                salt: origin.salt,
            };
            if let Some(key) = self.access.keys.segment_key(&identity) {
                table.supply_segment_key(origin.segment, &key);
            }
        }
        Ok(OpenedTable {
            table,
            object_bytes: header.object_bytes(),
            table_bytes: header.table_bytes(),
        })
    }

    /// Where the bytes of a logical address are now.
    pub fn locate(&self, address: FrameAddress) -> Result<Located, Error> {
        for segment in self.holders(&address.segment) {
            let opened = self.table(&segment)?;
            if opened.table.find(address).is_some() {
                return self.locate_in(&segment, &opened, address);
            }
        }
        Err(self.without(address))
    }

    /// Where they are in an object whose table is at hand.
    pub(crate) fn locate_in(
        &self,
        segment: &SegmentId,
        opened: &Arc<OpenedTable>,
        address: FrameAddress,
    ) -> Result<Located, Error> {
        let entry = opened.table.find(address).ok_or_else(|| self.without(address))?;
        if entry.plain_bytes > EXTENT_BYTES_MAX || entry.sealed_bytes > SEALED_BYTES_MAX {
            let name = names::segment(&self.server, segment);
            return Err(Error::corrupt(name, "holds a frame larger than an extent"));
        }
        Ok(self.located(segment, opened, &entry))
    }

    fn without(&self, address: FrameAddress) -> Error {
        Error::corrupt(
            names::segment(&self.server, &address.segment),
            format!("holds no frame {} although a map names it", address.ordinal),
        )
    }

    /// The table of a segment whose whole object is at hand; kept as if it had been read alone.
    pub(crate) fn open_whole(
        &self,
        segment: &SegmentId,
        object: &[u8],
    ) -> Result<Arc<OpenedTable>, Error> {
        let name = names::segment(&self.server, segment);
        let short = || Error::corrupt(&name, "is shorter than it says");
        let header_bytes = object.get(..HEADER_BYTES).ok_or_else(short)?;
        let header = SegmentHeader::parse(header_bytes).map_err(|error| damaged(&name, &error))?;
        let at = usize::try_from(header.table_offset()).map_err(|_| short())?;
        let end = at.checked_add(header.table_bytes()).ok_or_else(short)?;
        let table_bytes = object.get(at..end).ok_or_else(short)?;
        let opened = Arc::new(self.open_table(segment, header_bytes, table_bytes)?);
        let weight = 2 * opened.table_bytes;
        lock(&self.tables).insert(*segment, Arc::clone(&opened), weight);
        Ok(opened)
    }

    /// One entry of a segment's table as a frame that can be opened.
    pub(crate) fn located(
        &self,
        segment: &SegmentId,
        opened: &Arc<OpenedTable>,
        entry: &TableEntry<'_>,
    ) -> Located {
        Located {
            segment: *segment,
            opened: Arc::clone(opened),
            address: entry.address,
            offset: entry.offset,
            sealed_bytes: entry.sealed_bytes,
            plain_bytes: entry.plain_bytes,
            kind: entry.kind,
        }
    }

    /// Opens a frame whose sealed bytes are at hand into `out`; gives the length of its content.
    pub fn open(
        &self,
        located: &Located,
        sealed: &mut [u8],
        out: &mut [u8],
        decompressor: &mut Decompressor,
    ) -> Result<usize, Error> {
        open_frame(&located.opened.table, located.address, sealed, out, decompressor)
            .map_err(|error| damaged(&names::segment(&self.server, &located.segment), &error))
    }

    /// Reads and opens one frame; for single frames, not for bulk.
    pub fn read(
        &self,
        located: &Located,
        decompressor: &mut Decompressor,
    ) -> Result<Vec<u8>, Error> {
        let mut sealed = vec![0; located.sealed_bytes];
        let name = names::segment(&self.server, &located.segment);
        self.access.store.read(&name, located.offset, &mut sealed)?;
        let mut plain = vec![0; located.plain_bytes.min(EXTENT_BYTES_MAX)];
        self.open(located, &mut sealed, &mut plain, decompressor)?;
        Ok(plain)
    }

    /// The plain bytes of a map page, checked against its fingerprint.
    fn page(&self, page: &PageRef) -> Result<Vec<u8>, Error> {
        for holder in self.holders(&page.address.segment) {
            self.table_and_pages(&holder)?;
        }
        let located = self.locate(page.address)?;
        let name = names::segment(&self.server, &located.segment);
        if located.kind != FrameKind::Page {
            return Err(Error::corrupt(name, "holds blocks where a map page is expected"));
        }
        let mut sealed = vec![0; located.sealed_bytes];
        self.read_near(&located, &mut sealed)?;
        let mut plain = vec![0; located.plain_bytes.min(EXTENT_BYTES_MAX)];
        self.open(&located, &mut sealed, &mut plain, &mut Decompressor::new())?;
        if self.fingerprinter.of(&plain) == page.fingerprint {
            Ok(plain)
        } else {
            Err(Error::corrupt(name, "holds another map page than its parent names"))
        }
    }

    /// Reads a small range by fetching the chunks that it lies in, which its neighbours will want too.
    fn read_near(&self, located: &Located, into: &mut [u8]) -> Result<(), Error> {
        let mut done = 0;
        while done < into.len() {
            let at = located.offset + done as u64;
            let chunk = self.chunk(located, at / CHUNK_BYTES as u64)?;
            let inside = usize::try_from(at % CHUNK_BYTES as u64).expect("inside one chunk");
            let bytes = chunk.get(inside..).filter(|bytes| !bytes.is_empty()).ok_or_else(|| {
                let name = names::segment(&self.server, &located.segment);
                Error::corrupt(name, "has a frame that lies outside of it")
            })?;
            let count = bytes.len().min(into.len() - done);
            into[done..done + count].copy_from_slice(&bytes[..count]);
            done += count;
        }
        Ok(())
    }

    /// One chunk of an object, from memory where it is known.
    fn chunk(&self, located: &Located, number: u64) -> Result<Arc<Vec<u8>>, Error> {
        let key = ChunkKey(located.segment, number);
        if let Some(bytes) = lock(&self.chunks).find(&key, |bytes| bytes.len()) {
            return Ok(bytes);
        }
        let start = number * CHUNK_BYTES as u64;
        let left = located.opened.object_bytes.saturating_sub(start);
        let length = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let mut bytes = vec![0; length];
        if length > 0 {
            let name = names::segment(&self.server, &located.segment);
            self.access.store.read(&name, start, &mut bytes)?;
        }
        let bytes = Arc::new(bytes);
        lock(&self.chunks).insert(key, Arc::clone(&bytes), length);
        Ok(bytes)
    }

    /// The digest that the segment's own header and table come to.
    pub fn digest(&self, segment: &SegmentId) -> Result<Digest, Error> {
        Ok(self.table(segment)?.table.digest())
    }
}

impl PageSource for FrameReader {
    fn leaf(&self, page: &PageRef) -> Result<Arc<Leaf>, Error> {
        let weigh = |_: &Arc<Leaf>| size_of::<Leaf>();
        if let Some(leaf) = lock(&self.leaves).find(&page.address, weigh) {
            return Ok(leaf);
        }
        let leaf = Leaf::decode(&self.page(page)?).map_err(|bad| self.bad_page(page, bad.0))?;
        let leaf = Arc::new(leaf);
        lock(&self.leaves).insert(page.address, Arc::clone(&leaf), weigh(&leaf));
        Ok(leaf)
    }

    fn inner(&self, page: &PageRef, level: u8) -> Result<Arc<Inner>, Error> {
        let weigh = |_: &Arc<Inner>| size_of::<Inner>();
        if let Some(inner) = lock(&self.inners).find(&page.address, weigh) {
            if inner.level == level {
                return Ok(inner);
            }
            return Err(self.bad_page(page, "it is of another level than its parent says"));
        }
        let inner =
            Inner::decode(&self.page(page)?, level).map_err(|bad| self.bad_page(page, bad.0))?;
        let inner = Arc::new(inner);
        lock(&self.inners).insert(page.address, Arc::clone(&inner), weigh(&inner));
        Ok(inner)
    }
}

impl FrameReader {
    /// Keeps a leaf that was just stored: the next run begins with it.
    pub(crate) fn keep_leaf(&self, page: &PageRef, leaf: Arc<Leaf>) {
        lock(&self.leaves).insert(page.address, leaf, size_of::<Leaf>());
    }

    /// Keeps an inner page that was just stored.
    pub(crate) fn keep_inner(&self, page: &PageRef, inner: Inner) {
        lock(&self.inners).insert(page.address, Arc::new(inner), size_of::<Inner>());
    }

    fn bad_page(&self, page: &PageRef, what: &str) -> Error {
        Error::corrupt(
            names::segment(&self.server, &page.address.segment),
            format!("frame {} is no map page: {what}", page.address.ordinal),
        )
    }
}

/// A segment that does not open, by its name.
pub(crate) fn damaged(name: &str, error: &pipeline::error::Error) -> Error {
    Error::corrupt(name, error.to_string()).remedy(
        "run verify --deep to see which points it concerns; restore another point or --secondary",
    )
}

fn no_key(name: &str) -> Error {
    Error::misuse(name, "the keys at hand do not open it")
        .remedy("use the vault's recovery key, or a ticket for this server and point")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
