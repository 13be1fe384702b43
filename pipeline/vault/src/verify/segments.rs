//! Every segment that a map needs is there with its right length; in a deep run every byte of every segment is
//! read once and proved: header, table, each frame's seal, each block's fingerprint.

use std::collections::HashSet;
use std::sync::Arc;

use core::sync::atomic::{AtomicU64, Ordering};
use pipeline::compress::Decompressor;
use pipeline::ids::SegmentId;
use pipeline::limits::{BLOCK_BYTES, EXTENT_BYTES_MAX, SEGMENT_BYTES_MAX};
use pipeline::segment::{FrameKind, HEADER_BYTES, SegmentHeader, open_frame};

use super::chain::ChainState;
use super::findings::{Findings, Part};
use super::maps::Found;
use super::objects::{Inventory, Listed};
use super::{Depth, Options, parallel};
use crate::error::Error;
use crate::frames::{FrameReader, OpenedTable, damaged};
use crate::names;
use crate::record::SegmentRef;
use crate::store::BlobStore;
use crate::writer::Progress;

const FROM_COPY: &str =
    "bring it back from a copy of the vault; points that do not need it are whole";

/// What looking at segments came to.
#[derive(Default)]
pub(crate) struct Checked {
    /// Segments that maps need.
    pub(crate) live: u64,
    /// Segments that nothing names: their number, bytes, and the first of them.
    pub(crate) orphans: u64,
    pub(crate) orphan_bytes: u64,
    pub(crate) orphan_names: Vec<String>,
    /// Segments that wait for their deletion.
    pub(crate) condemned: u64,
    pub(crate) condemned_bytes: u64,
    /// Live segments that cannot be read now.
    pub(crate) archived: u64,
    pub(crate) archived_bytes: u64,
    /// Bytes of segments that were read whole.
    pub(crate) read_bytes: u64,
}

/// Looks at every segment as deep as asked.
pub(crate) fn check_segments(
    frames: &FrameReader,
    inventory: &Inventory,
    chain: &ChainState,
    found: &Found,
    findings: &Findings,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Checked, Error> {
    let live = live(frames, found);
    check_presence(
        frames,
        inventory,
        &|id| chain.reference(id).copied(),
        &live,
        findings,
        options,
    )?;
    let mut checked = classify(inventory, chain, &live);
    if options.depth == Depth::Deep {
        let wanted: Vec<Listed> =
            inventory.segments().iter().filter(|listed| !listed.archived).copied().collect();
        let deep = Deep { frames, findings, options, progress, read: AtomicU64::new(0) };
        let reference = |id: &SegmentId| chain.reference(id).copied();
        deep.run(&wanted, &|listed| (reference(&listed.segment), live.contains(&listed.segment)))?;
        checked.read_bytes = deep.read.into_inner();
    }
    Ok(checked)
}

/// The objects that hold what maps name.
pub(crate) fn live(frames: &FrameReader, found: &Found) -> HashSet<SegmentId> {
    found.segments.iter().flat_map(|segment| frames.holders(segment)).collect()
}

fn classify(inventory: &Inventory, chain: &ChainState, live: &HashSet<SegmentId>) -> Checked {
    /// Orphans that are named one by one.
    const NAMES_MAX: usize = 100;
    let mut checked = Checked { live: live.len() as u64, ..Checked::default() };
    let condemned: HashSet<&SegmentId> =
        chain.upkeep.condemned.iter().map(|condemned| &condemned.segment).collect();
    for listed in inventory.segments() {
        let bytes = u64::from(listed.bytes);
        if live.contains(&listed.segment) {
            checked.archived += u64::from(listed.archived);
            checked.archived_bytes += if listed.archived { bytes } else { 0 };
        } else if condemned.contains(&listed.segment) {
            checked.condemned += 1;
            checked.condemned_bytes += bytes;
        } else {
            checked.orphans += 1;
            checked.orphan_bytes += bytes;
            if checked.orphan_names.len() < NAMES_MAX {
                checked.orphan_names.push(names::segment(&inventory.server, &listed.segment));
            }
        }
    }
    checked
}

/// Every live segment is listed with the length that its record, or else its own header, says.
pub(crate) fn check_presence(
    frames: &FrameReader,
    inventory: &Inventory,
    reference: &(dyn Fn(&SegmentId) -> Option<SegmentRef> + Sync),
    live: &HashSet<SegmentId>,
    findings: &Findings,
    options: &Options,
) -> Result<(), Error> {
    let mut live: Vec<SegmentId> = live.iter().copied().collect();
    live.sort_unstable();
    let server = frames.server();
    let look = |segment: &SegmentId| {
        let name = || names::segment(&server, segment);
        let Some(listed) = inventory.find(segment) else {
            let error = Error::missing(name()).remedy(FROM_COPY);
            return findings.segment(*segment, Part::Whole, &error);
        };
        let wanted = match reference(segment) {
            Some(sent) => u64::from(sent.bytes),
            // A deep run reads it anyway; an archived one cannot be asked.
            None if listed.archived || options.depth == Depth::Deep => return Ok(()),
            None => match frames.table(segment) {
                Ok(opened) => opened.object_bytes,
                Err(error) => return findings.segment(*segment, Part::Whole, &error),
            },
        };
        if wanted == u64::from(listed.bytes) {
            return Ok(());
        }
        findings.segment(*segment, Part::Whole, &wrong_length(name(), wanted, listed))
    };
    parallel::each(&live, hands(frames, options), &options.stop, || (), |(), segment| look(segment))
}

/// Every live segment's table opens, is as long as it says, and is the one that its record names.
pub(crate) fn open_tables(
    frames: &FrameReader,
    inventory: &Inventory,
    reference: &(dyn Fn(&SegmentId) -> Option<SegmentRef> + Sync),
    live: &HashSet<SegmentId>,
    findings: &Findings,
    options: &Options,
) -> Result<(), Error> {
    let live: Vec<Listed> = live.iter().filter_map(|id| inventory.find(id)).copied().collect();
    let server = frames.server();
    let look = |listed: &Listed| {
        let name = || names::segment(&server, &listed.segment);
        let error = match frames.table(&listed.segment) {
            Ok(opened) if opened.object_bytes != u64::from(listed.bytes) => {
                wrong_length(name(), opened.object_bytes, listed)
            }
            Ok(opened) => match reference(&listed.segment) {
                Some(sent) if sent.digest != opened.table.digest() => other_segment(name()),
                _ => return Ok(()),
            },
            Err(error) => error,
        };
        findings.segment(listed.segment, Part::Whole, &error)
    };
    parallel::each(&live, hands(frames, options), &options.stop, || (), |(), listed| look(listed))
}

/// Reads every live segment whole and proves it.
pub(crate) fn read_all(
    frames: &FrameReader,
    inventory: &Inventory,
    reference: &(dyn Fn(&SegmentId) -> Option<SegmentRef> + Sync),
    live: &HashSet<SegmentId>,
    findings: &Findings,
    options: &Options,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let live: Vec<Listed> = live.iter().filter_map(|id| inventory.find(id)).copied().collect();
    let deep = Deep { frames, findings, options, progress, read: AtomicU64::new(0) };
    deep.run(&live, &|listed| (reference(&listed.segment), true))
}

/// Threads that look at small things: most of the time they wait for the vault.
fn hands(frames: &FrameReader, options: &Options) -> usize {
    options.workers.max(frames.access().store.parallel()).min(16)
}

fn other_segment(name: String) -> Error {
    Error::corrupt(name, "is whole, but not the segment that its record names").remedy(FROM_COPY)
}

fn wrong_length(name: String, wanted: u64, listed: &Listed) -> Error {
    let what = format!("is {} bytes long instead of {wanted}", listed.bytes);
    Error::corrupt(name, what).remedy(FROM_COPY)
}

/// The pass over every byte.
struct Deep<'a> {
    frames: &'a FrameReader,
    findings: &'a Findings,
    options: &'a Options,
    progress: &'a dyn Progress,
    read: AtomicU64,
}

/// One thread's memory.
struct Bench {
    object: Vec<u8>,
    plain: Vec<u8>,
    decompressor: Decompressor,
}

impl Deep<'_> {
    /// Reads and proves these segments; `about` gives what a record says of one and whether a map needs it.
    fn run(
        &self,
        wanted: &[Listed],
        about: &(dyn Fn(&Listed) -> (Option<SegmentRef>, bool) + Sync),
    ) -> Result<(), Error> {
        let bench = || Bench {
            object: Vec::new(),
            plain: vec![0; EXTENT_BYTES_MAX],
            decompressor: Decompressor::new(),
        };
        // One waits for the store while another computes; each holds nine megabytes.
        let workers = self.options.workers.max(self.frames.access().store.parallel().min(8));
        parallel::each(wanted, workers, &self.options.stop, bench, |bench, listed| {
            let (reference, live) = about(listed);
            self.segment(bench, listed, reference, live)?;
            let bytes = u64::from(listed.bytes);
            self.read.fetch_add(bytes, Ordering::Relaxed);
            self.progress.advance(bytes, bytes);
            Ok(())
        })
    }

    fn segment(
        &self,
        bench: &mut Bench,
        listed: &Listed,
        reference: Option<SegmentRef>,
        live: bool,
    ) -> Result<(), Error> {
        let segment = listed.segment;
        let opened = match self.open(bench, listed, reference) {
            Ok(opened) => opened,
            Err(error) => return self.report(segment, Part::Whole, &error, live),
        };
        let Bench { object, plain, decompressor } = bench;
        for entry in opened.table.entries() {
            let start = usize::try_from(entry.offset).unwrap_or(usize::MAX);
            let end = start.saturating_add(entry.sealed_bytes);
            let Some(sealed) = object.get_mut(start..end) else { continue };
            let result = open_frame(&opened.table, entry.address, sealed, plain, decompressor);
            let name = || names::segment(&self.frames.server(), &segment);
            let error = match result {
                Ok(bytes) if self.same(&plain[..bytes], entry.kind, entry.fingerprints) => continue,
                Ok(_) => Error::corrupt(
                    name(),
                    format!("frame {} is not what its table says", entry.address.ordinal),
                )
                .remedy(FROM_COPY),
                Err(error) => damaged(&name(), &error).remedy(FROM_COPY),
            };
            self.report(segment, Part::Frame(entry.address), &error, live)?;
        }
        Ok(())
    }

    /// Reads a whole segment and opens its table.
    fn open(
        &self,
        bench: &mut Bench,
        listed: &Listed,
        reference: Option<SegmentRef>,
    ) -> Result<Arc<OpenedTable>, Error> {
        let name = names::segment(&self.frames.server(), &listed.segment);
        let bytes = usize::try_from(listed.bytes).unwrap_or(usize::MAX);
        if bytes > SEGMENT_BYTES_MAX {
            return Err(Error::corrupt(name, "is larger than any segment").remedy(FROM_COPY));
        }
        if let Some(sent) = reference.filter(|sent| sent.bytes != listed.bytes) {
            return Err(wrong_length(name, u64::from(sent.bytes), listed));
        }
        bench.object.resize(bytes, 0);
        read_whole(&*self.frames.access().store, &name, &mut bench.object)?;
        let header = SegmentHeader::parse(&bench.object).map_err(|error| damaged(&name, &error))?;
        if header.object_bytes() != bytes as u64 {
            return Err(wrong_length(name, header.object_bytes(), listed));
        }
        let table_offset = usize::try_from(header.table_offset()).unwrap_or(usize::MAX);
        let table = bench.object.get(table_offset..).unwrap_or_default();
        let head = bench.object.get(..HEADER_BYTES).unwrap_or_default();
        let opened = self.frames.open_table(&listed.segment, head, table)?;
        match reference {
            Some(sent) if sent.digest != opened.table.digest() => Err(other_segment(name)),
            _ => Ok(Arc::new(opened)),
        }
    }

    fn same(
        &self,
        plain: &[u8],
        kind: FrameKind,
        fingerprints: &[pipeline::ids::Fingerprint],
    ) -> bool {
        let of = |bytes: &[u8]| self.frames.fingerprinter().of(bytes);
        match kind {
            FrameKind::Page => fingerprints == [of(plain)],
            _ => plain.chunks(BLOCK_BYTES).map(of).eq(fingerprints.iter().copied()),
        }
    }

    /// Damage to what a map needs is a finding; to what nothing needs, a notice.
    fn report(
        &self,
        segment: SegmentId,
        part: Part,
        error: &Error,
        live: bool,
    ) -> Result<(), Error> {
        if live {
            return self.findings.segment(segment, part, error);
        }
        // Collected while this ran.
        if !error.is_missing() {
            let name = names::segment(&self.frames.server(), &segment);
            self.findings.notice(name, format!("{}; no point needs it", error.what));
        }
        Ok(())
    }
}

/// One read; a store that gives less says so itself.
fn read_whole(store: &dyn BlobStore, name: &str, into: &mut [u8]) -> Result<(), Error> {
    if into.is_empty() {
        return Err(Error::corrupt(name, "is empty").remedy(FROM_COPY));
    }
    store.read(name, 0, into)
}
