//! The ring in memory, for an appliance without a disk for its spool: nothing in it survives, and nobody is told that it does.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::records::{Reading, Records};
use super::{Mark, Read, SpoolError, Usage};

/// A bounded ring of records in memory.
#[derive(Clone)]
pub struct MemoryRing {
    kept: Arc<Mutex<Kept>>,
    bytes_max: u64,
}

struct Kept {
    records: VecDeque<Arc<[u8]>>,
    head: Mark,
    tail: Mark,
}

impl MemoryRing {
    /// A ring of so many bytes.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        let (head, tail) = (Mark::default(), Mark::default());
        let kept = Kept { records: VecDeque::new(), head, tail };
        Self { kept: Arc::new(Mutex::new(kept)), bytes_max }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records for MemoryRing {
    fn append(&mut self, parts: &[&[u8]]) -> Result<Mark, SpoolError> {
        let record: Arc<[u8]> = parts.concat().into();
        let bytes = u64::try_from(record.len()).map_err(|_| SpoolError::Large(record.len()))?;
        let mut kept = self.kept();
        let free = self.bytes_max.saturating_sub(kept.tail.position - kept.head.position);
        if bytes > free {
            return Err(SpoolError::Full(bytes, free));
        }
        kept.records.push_back(record);
        kept.tail = Mark { position: kept.tail.position + bytes, number: kept.tail.number + 1 };
        Ok(kept.tail)
    }

    fn sync(&mut self) -> Result<Mark, SpoolError> {
        Ok(self.kept().tail)
    }

    fn head(&self) -> Mark {
        self.kept().head
    }

    fn release(&mut self, up_to: Mark) -> Result<(), SpoolError> {
        let mut kept = self.kept();
        if up_to > kept.tail {
            return Err(SpoolError::Mark);
        }
        while kept.head < up_to {
            let Some(record) = kept.records.pop_front() else { break };
            kept.head.position += record.len() as u64;
            kept.head.number += 1;
        }
        Ok(())
    }

    fn usage(&self) -> Usage {
        let kept = self.kept();
        Usage {
            bytes: self.bytes_max,
            used: kept.tail.position - kept.head.position,
            records: kept.tail.number - kept.head.number,
        }
    }

    fn lasts(&self) -> bool {
        false
    }

    fn reader(&self) -> Result<Box<dyn Reading>, SpoolError> {
        Ok(Box::new(self.clone()))
    }
}

impl Reading for MemoryRing {
    fn read(&mut self, at: Mark, durable: Mark) -> Result<Read, SpoolError> {
        if at >= durable {
            return Ok(Read::End);
        }
        let kept = self.kept();
        let place = at.number.checked_sub(kept.head.number).ok_or(SpoolError::Mark)?;
        let place = usize::try_from(place).map_err(|_| SpoolError::Mark)?;
        let Some(record) = kept.records.get(place) else { return Ok(Read::End) };
        let position = at.position + record.len() as u64;
        let after = Mark { position, number: at.number + 1 };
        Ok(Read::Record { payload: record.to_vec(), after })
    }

    fn give_back(&mut self, _: Vec<u8>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_back_in_order_refuses_what_is_too_much_and_takes_more_after_a_release() {
        let mut ring = MemoryRing::new(10);
        let first = ring.append(&[b"four", b""]).unwrap();
        let second = ring.append(&[b"si", b"x66x"]).unwrap();
        assert_eq!(ring.append(&[b"1"]), Err(SpoolError::Full(1, 0)));
        let mut reader = ring.reader().unwrap();
        let durable = ring.sync().unwrap();
        let read = reader.read(first, durable).unwrap();
        assert_eq!(read, Read::Record { payload: b"six66x".to_vec(), after: second });
        assert_eq!(reader.read(second, durable), Ok(Read::End));
        ring.release(first).unwrap();
        assert_eq!(reader.read(Mark::default(), durable), Err(SpoolError::Mark));
        ring.append(&[b"four"]).unwrap();
        assert_eq!(ring.usage(), Usage { bytes: 10, used: 10, records: 2 });
    }
}
