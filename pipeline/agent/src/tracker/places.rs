//! Where the fields are that the programs read, in the kernel that runs.
//!
//! Whatever differs between kernels is decided here, by their types alone: a request knew its disk itself until 5.16
//! and by its queue since, a bio its disk until 5.11 and by its device since, and tracepoints lost their first
//! argument on the way, also in updates of old kernels.

use super::btf::{Btf, Field, Tracepoint};

/// Offsets, and the tracepoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) request_queue: i16,
    pub(super) request_flags: i16,
    pub(super) request_sector: i16,
    pub(super) request_bytes: i16,
    pub(super) request_bio: i16,
    /// On kernels whose requests know their disk.
    pub(super) request_disk: Option<i16>,
    /// On the others.
    pub(super) queue_disk: i16,
    pub(super) disk_major: i16,
    pub(super) disk_minor: i16,
    pub(super) bio_next: i16,
    pub(super) bio_sector: i16,
    pub(super) bio_bytes: i16,
    pub(super) bio_device: i16,
    /// On kernels whose bios know a device and no disk.
    pub(super) device_disk: Option<i16>,
    /// Which argument of `issued` is the request.
    pub(super) issued_argument: i16,
    /// Which argument of `remapped` is the bio; the next is where it came from.
    pub(super) remapped_argument: i16,
    /// Numbers of the tracepoints.
    pub(super) completed: u32,
    pub(super) issued: u32,
    pub(super) remapped: u32,
}

impl Fields {
    /// Finds them.
    pub(super) fn find(btf: &Btf) -> Result<Self, String> {
        let point = |name: &str| btf.tracepoint(name).ok_or_else(|| absent(name));
        let completed = point("block_rq_complete")?;
        let issued = point("block_rq_issue")?;
        let remapped = point("block_bio_remap")?;
        let request = argument(btf, &completed, 0).ok_or_else(|| absent("block_rq_complete"))?;
        if completed.arguments.len() != 3 {
            return Err(absent("block_rq_complete"));
        }
        let bio_field = field(btf, request, "bio")?;
        let bio = btf.pointee(bio_field.kind).ok_or_else(|| absent("struct bio"))?;
        let which = |point: &Tracepoint, wanted: u32| {
            (0..4_i16).zip(0..).find(|(_, at)| argument(btf, point, *at) == Some(wanted))
        };
        let (issued_argument, _) =
            which(&issued, request).ok_or_else(|| absent("block_rq_issue"))?;
        let (remapped_argument, _) =
            which(&remapped, bio).ok_or_else(|| absent("block_bio_remap"))?;

        let queue_field = field(btf, request, "q")?;
        let queue = btf.pointee(queue_field.kind).ok_or_else(|| absent("struct request_queue"))?;
        let request_disk = btf.field(request, "rq_disk");
        let disk_field = match request_disk {
            Some(found) => found,
            None => field(btf, queue, "disk")?,
        };
        let disk = btf.pointee(disk_field.kind).ok_or_else(|| absent("struct gendisk"))?;
        let iterator = field(btf, bio, "bi_iter")?;
        let within = |name: &str| {
            let inner = field(btf, iterator.kind, name)?;
            offset(inner.offset.saturating_add(iterator.offset))
        };
        let (bio_device, device_disk) = match btf.field(bio, "bi_bdev") {
            Some(found) => {
                let device = btf.pointee(found.kind).ok_or_else(|| absent("block_device"))?;
                (found, Some(at(btf, device, "bd_disk")?))
            }
            None => (field(btf, bio, "bi_disk")?, None),
        };
        Ok(Self {
            request_queue: offset(queue_field.offset)?,
            request_flags: at(btf, request, "cmd_flags")?,
            request_sector: at(btf, request, "__sector")?,
            request_bytes: at(btf, request, "__data_len")?,
            request_bio: offset(bio_field.offset)?,
            request_disk: request_disk.map(|found| offset(found.offset)).transpose()?,
            queue_disk: offset(disk_field.offset)?,
            disk_major: at(btf, disk, "major")?,
            disk_minor: at(btf, disk, "first_minor")?,
            bio_next: at(btf, bio, "bi_next")?,
            bio_sector: within("bi_sector")?,
            bio_bytes: within("bi_size")?,
            bio_device: offset(bio_device.offset)?,
            device_disk,
            issued_argument,
            remapped_argument,
            completed: completed.number,
            issued: issued.number,
            remapped: remapped.number,
        })
    }
}

fn argument(btf: &Btf, point: &Tracepoint, at: usize) -> Option<u32> {
    btf.pointee(*point.arguments.get(at)?)
}

fn at(btf: &Btf, structure: u32, name: &str) -> Result<i16, String> {
    offset(field(btf, structure, name)?.offset)
}

fn field(btf: &Btf, structure: u32, name: &str) -> Result<Field, String> {
    btf.field(structure, name).ok_or_else(|| absent(name))
}

fn offset(bytes: u32) -> Result<i16, String> {
    i16::try_from(bytes).map_err(|_| absent("a field so far in a structure"))
}

fn absent(what: &str) -> String {
    format!("this kernel has no {what} as this agent knows it: take a newer agent")
}
