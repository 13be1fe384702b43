//! A page blob in memory, which is as strict as Azure's; and the disk on it.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::BTreeMap;

use hal_sim::conformance;
use hal_sim::random::Random;

use super::*;
use crate::hydrate::pages::{Renewing, Trouble};

/// A page blob in memory.
#[derive(Default)]
pub(crate) struct MemoryPages {
    pub(crate) bytes: u64,
    held: Mutex<BTreeMap<u64, [u8; 512]>>,
    /// Puts of zeros at an edge, or of a block's length of them.
    pub(crate) needless: AtomicU64,
    pub(crate) puts: AtomicU64,
    /// Puts from this one on fail; 0 for none.
    pub(crate) fail_from: AtomicU64,
    pub(crate) expired: AtomicBool,
    /// Every so many puts the address expires; 0 for never.
    pub(crate) expires_every: AtomicU64,
}

impl MemoryPages {
    pub(crate) fn new(bytes: u64) -> Self {
        Self { bytes, ..Self::default() }
    }

    pub(crate) fn content(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.bytes).unwrap()];
        self.fill(0, &mut bytes);
        bytes
    }

    fn fill(&self, offset: u64, into: &mut [u8]) {
        let held = self.held.lock().unwrap();
        for (page, part) in (offset / 512..).zip(into.chunks_mut(512)) {
            let found = held.get(&page).copied().unwrap_or([0; 512]);
            part.copy_from_slice(&found[..part.len()]);
        }
    }

    fn check(&self, offset: u64, bytes: u64) -> Result<(), Trouble> {
        if self.expired.load(Ordering::SeqCst) {
            return Err(Trouble::Expired(Error::refused("page blob", "its signature has expired")));
        }
        assert!(offset.is_multiple_of(512) && bytes.is_multiple_of(512) && bytes > 0);
        assert!(offset + bytes <= self.bytes);
        Ok(())
    }
}

impl Pages for MemoryPages {
    fn bytes(&self) -> Result<u64, Trouble> {
        self.check(0, 512).map(|()| self.bytes)
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), Trouble> {
        assert!(bytes.len() <= PUT_BYTES_MAX);
        self.check(offset, bytes.len() as u64)?;
        let number = self.puts.fetch_add(1, Ordering::SeqCst) + 1;
        let every = self.expires_every.load(Ordering::SeqCst);
        if every > 0 && number.is_multiple_of(every) {
            self.expired.store(true, Ordering::SeqCst);
            return self.check(offset, bytes.len() as u64);
        }
        let fail_from = self.fail_from.load(Ordering::SeqCst);
        if fail_from > 0 && number >= fail_from {
            return Err(Trouble::Failed(Error::device("page blob", "the network is gone")));
        }
        let zeros = |part: &[u8]| part.iter().all(|byte| *byte == 0);
        let mut pages = bytes.chunks(512);
        let edge = pages.next().is_some_and(zeros) || pages.next_back().is_some_and(zeros);
        let needless = edge || bytes.windows(65_536).step_by(512).any(zeros);
        self.needless.fetch_add(u64::from(needless), Ordering::SeqCst);
        let mut held = self.held.lock().unwrap();
        for (page, part) in (offset / 512..).zip(bytes.chunks(512)) {
            held.insert(page, part.try_into().unwrap());
        }
        Ok(())
    }

    fn clear(&self, offset: u64, bytes: u64) -> Result<(), Trouble> {
        self.check(offset, bytes)?;
        let mut held = self.held.lock().unwrap();
        held.retain(|page, _| !(offset / 512..(offset + bytes) / 512).contains(page));
        Ok(())
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), Trouble> {
        self.check(offset, 512)?;
        self.fill(offset, into);
        Ok(())
    }

    fn ranges(&self, from: u64, to: u64) -> Result<Vec<(u64, u64)>, Trouble> {
        self.check(from, 512)?;
        let held = self.held.lock().unwrap();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for page in held.range(from / 512..to.div_ceil(512)).map(|(page, _)| *page * 512) {
            match ranges.last_mut() {
                Some(last) if last.1 == page => last.1 = page + 512,
                _ => ranges.push((page, page + 512)),
            }
        }
        Ok(ranges)
    }
}

pub(crate) fn run<D: Disk<Buffer = HeapBuffer>>(
    disk: &mut D,
    operation: Operation,
    offset: u64,
    bytes: &[u8],
) -> Result<(), DiskError> {
    let mut buffer = disk.buffer(bytes.len()).unwrap();
    buffer.as_mut()[..bytes.len()].copy_from_slice(bytes);
    let length = u32::try_from(bytes.len()).unwrap();
    let buffer = (operation == Operation::Write).then_some(buffer);
    disk.run(Request { token: 0, operation, offset, length, buffer })?.result
}

#[test]
fn a_page_blob_is_a_disk_whatever_it_holds() {
    const ODD_BYTES: u64 = 4 * 1024 * 1024 + 512 * 3;
    for holds in [Holds::Nothing, Holds::Anything] {
        for in_flight in [1, 8] {
            conformance::run(|| {
                let pages = Arc::new(MemoryPages::new(ODD_BYTES + 512));
                PageDisk::new(pages, ODD_BYTES, holds, in_flight).unwrap()
            });
        }
    }
}

#[test]
fn what_an_earlier_run_wrote_is_not_sent_again_and_what_goes_on_top_is() {
    let pages = Arc::new(MemoryPages::new(8 << 20));
    let mut content = vec![0; 4 << 20];
    let mut random = Random::new(7);
    random.fill(&mut content[4096..2 << 20]);
    random.fill(&mut content[3 << 20..(3 << 20) + 70_000 / 512 * 512]);
    let write_all = |disk: &mut PageDisk, bytes: usize| {
        for (at, part) in (0..).step_by(1 << 20).zip(content[..bytes].chunks(1 << 20)) {
            run(disk, Operation::Write, at, part).unwrap();
        }
        run(disk, Operation::Flush, 0, &[]).unwrap();
    };
    let mut first = PageDisk::new(pages.clone(), 8 << 20, Holds::Nothing, 4).unwrap();
    write_all(&mut first, 1 << 20);
    let once = first.sent();
    assert_eq!((once.put_bytes, once.clears, once.kept_bytes), ((1 << 20) - 4096, 0, 0));
    drop(first);
    let mut second = PageDisk::new(pages.clone(), 8 << 20, Holds::PartOfIt, 4).unwrap();
    write_all(&mut second, 4 << 20);
    let sent = second.sent();
    assert_eq!(sent.kept_bytes, once.put_bytes);
    assert_eq!(sent.put_bytes, (1 << 20) + 70_000 / 512 * 512);
    assert_eq!(pages.content()[..4 << 20], content);
    assert_eq!(pages.needless.load(Ordering::SeqCst), 0, "no zeros were sent");
    let mut on_top = second.exact();
    run(&mut on_top, Operation::Write, 65_536, &[0; 131_072]).unwrap();
    run(&mut on_top, Operation::Write, 0, &[5; 512]).unwrap();
    run(&mut on_top, Operation::Flush, 0, &[]).unwrap();
    content[65_536..65_536 + 131_072].fill(0);
    content[..512].fill(5);
    assert_eq!(pages.content()[..4 << 20], content);
}

#[test]
fn a_write_that_fails_behind_is_told_and_nothing_is_sent_after_it() {
    let pages = Arc::new(MemoryPages::new(64 << 20));
    pages.fail_from.store(3, Ordering::SeqCst);
    let mut disk = PageDisk::new(pages.clone(), 64 << 20, Holds::Nothing, 2).unwrap();
    let mut told = Ok(());
    for at in 0..64 {
        told = told.and_then(|()| run(&mut disk, Operation::Write, at << 20, &[1; 1 << 20]));
    }
    let told = told.and_then(|()| run(&mut disk, Operation::Flush, 0, &[])).unwrap_err();
    assert!(told.to_string().contains("the network is gone"), "{told}");
    assert!(pages.puts.load(Ordering::SeqCst) <= 4, "two in flight, and none behind them");
    pages.fail_from.store(0, Ordering::SeqCst);
    assert!(run(&mut disk, Operation::Flush, 0, &[]).is_err(), "it stays so");
    assert_eq!(disk.failure().unwrap().what, "the network is gone");
}

#[test]
fn an_address_that_expires_midway_is_renewed_once_for_all() {
    let pages = Arc::new(MemoryPages::new(64 << 20));
    pages.expires_every.store(10, Ordering::SeqCst);
    let renewed = Arc::new(AtomicU64::new(0));
    let renew = {
        let (pages, renewed) = (pages.clone(), renewed.clone());
        move |number| {
            renewed.store(number, Ordering::SeqCst);
            pages.expired.store(false, Ordering::SeqCst);
            Ok(pages.clone() as Arc<dyn Pages>)
        }
    };
    let renewing = Arc::new(Renewing::new(pages.clone(), Box::new(renew)));
    let mut disk = PageDisk::new(renewing, 64 << 20, Holds::Nothing, 8).unwrap();
    for at in 0..64_u8 {
        let offset = u64::from(at) << 20;
        run(&mut disk, Operation::Write, offset, &vec![at + 1; 1 << 20]).unwrap();
    }
    run(&mut disk, Operation::Flush, 0, &[]).unwrap();
    let content = pages.content();
    assert!((0..64_u8).all(|at| content[usize::from(at) << 20] == at + 1));
    assert!((6..=20).contains(&renewed.load(Ordering::SeqCst)), "{renewed:?}");
}

#[test]
fn an_address_that_no_renewal_mends_is_an_error() {
    let pages = Arc::new(MemoryPages::new(1 << 20));
    pages.expired.store(true, Ordering::SeqCst);
    let same = pages.clone();
    let renewing = Renewing::new(pages, Box::new(move |_| Ok(same.clone() as Arc<dyn Pages>)));
    assert!(matches!(renewing.put(0, &[1; 512]), Err(Trouble::Failed(_))));
}
