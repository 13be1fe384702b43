//! What is read of a point before it is trusted: how its server starts, and, where that is wished, every byte.

use core::sync::atomic::{AtomicU64, Ordering};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use firmware_recovery::guest::view::View;
use firmware_recovery::guest::volumes::table::Role;
use firmware_recovery::guest::volumes::{Content, GuestDisk, Volumes};
use pipeline_azure::arm::disk::{Generation, System};
use pipeline_vault::Error;
use pipeline_vault::access::Access;
use pipeline_vault::chain::Link;
use pipeline_vault::points::ChainView;
use pipeline_vault::reader::PointReader;

/// So much is read at once.
const STRETCH_BYTES: usize = 4 << 20;
/// Threads that read.
const READERS: usize = 4;
/// Bytes of opened frames that one reader keeps.
const CACHE_BYTES: usize = 32 << 20;

/// A point's disk as something that is looked at and never written to.
struct Look(PointReader);

impl View for Look {
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, into).map_err(|error| io::Error::other(error.to_string()))
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "a point stays as it is"))
    }
}

/// How a server starts, by its partition tables and file systems.
pub(super) struct Starts {
    pub(super) disk: usize,
    pub(super) generation: Generation,
    pub(super) system: System,
}

/// Readers of all disks of a point.
pub(super) fn readers(
    access: &Access,
    view: &ChainView,
    link: &Link,
) -> Result<Vec<PointReader>, Error> {
    let disks = link.record.point().map(|point| point.disks.as_slice()).unwrap_or_default();
    let open = |name: &str| PointReader::open(access, view, link, name, CACHE_BYTES);
    disks.iter().map(|disk| open(&disk.name)).collect()
}

/// Looks at how the server starts.
pub(super) fn starts(readers: Vec<PointReader>) -> Result<Starts, Error> {
    let names: Vec<String> = readers.iter().map(|reader| reader.disk().name.clone()).collect();
    let guests = names.iter().zip(readers);
    let guests: Vec<GuestDisk> = guests
        .map(|(name, reader)| GuestDisk { name: name.clone(), view: Arc::new(Look(reader)) })
        .collect();
    let unreadable = |error: io::Error| {
        Error::corrupt("the point's disks", format!("cannot be looked at: {error}"))
    };
    let found = Volumes::find(&guests).map_err(unreadable)?;
    let has = |role: Role| {
        found.tables.iter().position(|table| table.entries.iter().any(|entry| entry.role == role))
    };
    let windows = found.volumes.iter().any(
        |volume| matches!(&volume.content, Content::FileSystem { kind, .. } if *kind == "ntfs"),
    );
    let system = if windows { System::Windows } else { System::Linux };
    let bios =
        has(Role::BiosBoot).or_else(|| found.tables.iter().position(|table| table.boot_code));
    let (disk, generation) = match (has(Role::Esp), bios) {
        (Some(disk), _) => (disk, Generation::V2),
        (None, Some(disk)) => (disk, Generation::V1),
        (None, None) => (0, Generation::V1),
    };
    Ok(Starts { disk, generation, system })
}

/// Reads every byte of a disk that holds anything: what does not open, or is not what was sealed, is an error.
pub(super) fn read_all(reader: &PointReader) -> Result<(), Error> {
    let next = AtomicU64::new(0);
    let failed: Mutex<Option<Error>> = Mutex::new(None);
    let stretch = STRETCH_BYTES as u64;
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                let mut buffer = vec![0_u8; STRETCH_BYTES];
                loop {
                    let at = next.fetch_add(stretch, Ordering::Relaxed);
                    let end = reader.bytes().min(at.saturating_add(stretch));
                    let stop = failed.lock().unwrap_or_else(PoisonError::into_inner).is_some();
                    if at >= end || stop {
                        return;
                    }
                    if let Err(error) = read_stretch(reader, at, end, &mut buffer) {
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.get_or_insert(error);
                        return;
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn read_stretch(reader: &PointReader, from: u64, to: u64, buffer: &mut [u8]) -> Result<(), Error> {
    match reader.data_after(from)? {
        Some((start, _)) if start < to => {
            let length = usize::try_from(to - from).expect("a stretch fits its buffer");
            reader.read_at(from, &mut buffer[..length])
        }
        _ => Ok(()),
    }
}
