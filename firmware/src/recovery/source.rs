//! Reads every byte of a point before it is trusted.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use pipeline_vault::access::Access;
use pipeline_vault::chain::Link;
use pipeline_vault::points::ChainView;
use pipeline_vault::reader::PointReader;
use pipeline_vault::{Error, Retry};

/// So much is read at once.
const STRETCH_BYTES: usize = 4 << 20;
/// Threads that read.
const READERS: usize = 4;
/// Bytes of opened frames that one reader keeps.
const CACHE_BYTES: usize = 32 << 20;

/// Readers of all disks of a point.
pub(crate) fn readers(
    access: &Access,
    view: &ChainView,
    link: &Link,
) -> Result<Vec<PointReader>, Error> {
    let disks = link.record.point().map(|point| point.disks.as_slice()).unwrap_or_default();
    let open = |name: &str| PointReader::open(access, view, link, name, CACHE_BYTES);
    disks.iter().map(|disk| open(&disk.name)).collect()
}

/// Reads every byte of a disk that holds anything: what does not open, or is not what was sealed, is an error.
///
/// Errors: it was told to stop.
pub(super) fn read_all(reader: &PointReader, stop: &AtomicBool) -> Result<(), Error> {
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
                    let over = failed.lock().unwrap_or_else(PoisonError::into_inner).is_some();
                    if at >= end || over || stop.load(Ordering::Relaxed) {
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
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    if stop.load(Ordering::Relaxed) {
        return Err(Error::misuse(
            format!("disk {}", reader.disk().name),
            "reading it was stopped",
        )
        .retry(Retry::Now)
        .remedy("nothing was made; run the same again"));
    }
    Ok(())
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
