//! Bytes of a disk that are read and written anywhere, from any thread; parts of it, and several in a row.

use core::ops::Range;
use std::fs::File;
use std::io::{self, Error, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::hydrate::content::ReadAt;
use crate::hydrate::overlay::Overlay;

/// A disk, or a part of one.
pub trait View: Send + Sync {
    /// Size in bytes.
    fn bytes(&self) -> u64;

    /// Fills all of `into` from `offset`.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Writes all of `from` at `offset`.
    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()>;

    /// Where a part of it lies: hands over each piece's disk, by its number among the server's, its first byte there, and how
    /// long it is. False where that is not known, or it is in more than one place.
    fn lies(&self, offset: u64, bytes: u64, each: &mut dyn FnMut(usize, u64, u64)) -> bool {
        let _ = (offset, bytes, each);
        false
    }

    /// What was written before is kept afterwards.
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

impl<B: ReadAt> View for Overlay<B> {
    fn bytes(&self) -> u64 {
        Self::bytes(self)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        Self::read_at(self, offset, into).map_err(Error::other)
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        Self::write_at(self, offset, from).map_err(Error::other)
    }
}

impl View for File {
    fn bytes(&self) -> u64 {
        self.metadata().map_or(0, |metadata| metadata.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(into, offset)
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.write_all_at(from, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A piece of another view.
#[derive(Clone)]
pub struct Piece {
    /// Whose.
    pub view: Arc<dyn View>,
    /// Its first byte there.
    pub start: u64,
    /// How long it is.
    pub bytes: u64,
}

/// Pieces in a row: a partition is one, a logical volume may be many.
#[derive(Clone)]
pub struct Joined {
    pieces: Vec<Piece>,
    bytes: u64,
}

/// What is done with a piece: its view, the place there, and which bytes of the whole range those are.
type Each<'a> = dyn FnMut(&dyn View, u64, Range<usize>) -> io::Result<()> + 'a;

impl Joined {
    /// The pieces as one. `None` where one reaches past the end of its view, or nothing is long enough to count them
    /// all.
    #[must_use]
    pub fn new(pieces: Vec<Piece>) -> Option<Self> {
        let mut bytes: u64 = 0;
        for piece in &pieces {
            piece.start.checked_add(piece.bytes).filter(|end| *end <= piece.view.bytes())?;
            bytes = bytes.checked_add(piece.bytes)?;
        }
        Some(Self { pieces, bytes })
    }

    /// A part of one view.
    #[must_use]
    pub fn part(view: &Arc<dyn View>, start: u64, bytes: u64) -> Option<Self> {
        Self::new(vec![Piece { view: Arc::clone(view), start, bytes }])
    }

    /// Calls `each` with every piece of a range: view, place there, and the range's bytes that it has.
    fn each(&self, offset: u64, length: usize, each: &mut Each<'_>) -> io::Result<()> {
        let length_bytes = u64::try_from(length).map_err(|_| ErrorKind::InvalidInput)?;
        let inside = offset.checked_add(length_bytes).is_some_and(|end| end <= self.bytes);
        if !inside {
            let words = format!("{length} bytes from byte {offset} on are not in {}", self.bytes);
            return Err(Error::new(ErrorKind::UnexpectedEof, words));
        }
        let (mut begin, mut done) = (0, 0);
        for piece in &self.pieces {
            if done == length {
                break;
            }
            let at = offset + done as u64;
            if at < begin + piece.bytes {
                let within = at - begin;
                let room = usize::try_from(piece.bytes - within).unwrap_or(usize::MAX);
                let end = length.min(done.saturating_add(room));
                each(piece.view.as_ref(), piece.start + within, done..end)?;
                done = end;
            }
            begin += piece.bytes;
        }
        Ok(())
    }
}

impl View for Joined {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let length = into.len();
        self.each(offset, length, &mut |view, at, range| view.read_at(at, &mut into[range]))
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.each(offset, from.len(), &mut |view, at, range| view.write_at(at, &from[range]))
    }

    fn lies(&self, offset: u64, bytes: u64, each: &mut dyn FnMut(usize, u64, u64)) -> bool {
        let Some(end) = offset.checked_add(bytes).filter(|end| *end <= self.bytes) else {
            return false;
        };
        let mut begin = 0;
        for piece in &self.pieces {
            let (from, to) = (offset.max(begin), end.min(begin + piece.bytes));
            if from < to && !piece.view.lies(piece.start + (from - begin), to - from, each) {
                return false;
            }
            begin += piece.bytes;
        }
        true
    }

    fn flush(&self) -> io::Result<()> {
        self.pieces.iter().try_for_each(|piece| piece.view.flush())
    }
}

/// A view with a place where one reads and writes, as libraries want it.
pub struct Cursor {
    view: Arc<dyn View>,
    at: u64,
}

impl Cursor {
    /// At its beginning.
    #[must_use]
    pub fn new(view: Arc<dyn View>) -> Self {
        Self { view, at: 0 }
    }

    /// Where it is.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.at
    }

    fn room(&self, length: usize) -> usize {
        let rest = self.view.bytes().saturating_sub(self.at);
        length.min(usize::try_from(rest).unwrap_or(usize::MAX))
    }
}

impl Read for Cursor {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.room(into.len());
        if length == 0 {
            return Ok(0);
        }
        self.view.read_at(self.at, &mut into[..length])?;
        self.at += length as u64;
        Ok(length)
    }
}

impl Write for Cursor {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let length = self.room(from.len());
        if length == 0 {
            return Ok(0);
        }
        self.view.write_at(self.at, &from[..length])?;
        self.at += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.view.flush()
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(past) => self.view.bytes().checked_add_signed(past),
            SeekFrom::Current(past) => self.at.checked_add_signed(past),
        };
        self.at = place.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Reads `bytes` from `offset` on, or as many as there are.
pub(crate) fn read_some(view: &dyn View, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let rest = view.bytes().saturating_sub(offset);
    let mut read = vec![0; bytes.min(usize::try_from(rest).unwrap_or(usize::MAX))];
    if !read.is_empty() {
        view.read_at(offset, &mut read)?;
    }
    Ok(read)
}

#[cfg(test)]
pub(crate) mod memory {
    //! Bytes in memory, for tests.

    use std::sync::Mutex;

    use super::{View, io};

    pub(crate) struct Memory(pub(crate) Mutex<Vec<u8>>);

    impl Memory {
        pub(crate) fn new(bytes: Vec<u8>) -> Self {
            Self(Mutex::new(bytes))
        }
    }

    impl View for Memory {
        fn bytes(&self) -> u64 {
            self.0.lock().unwrap().len() as u64
        }

        fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
            let bytes = self.0.lock().unwrap();
            let at = usize::try_from(offset).unwrap();
            let range = bytes.get(at..).and_then(|rest| rest.get(..into.len()));
            into.copy_from_slice(range.ok_or(super::ErrorKind::UnexpectedEof)?);
            Ok(())
        }

        fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
            let at = usize::try_from(offset).unwrap();
            self.0.lock().unwrap()[at..at + from.len()].copy_from_slice(from);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::memory::Memory;
    use super::*;

    /// One that knows where it lies.
    struct Numbered(usize);

    impl View for Numbered {
        fn bytes(&self) -> u64 {
            100
        }

        fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
            Ok(())
        }

        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            Ok(())
        }

        fn lies(&self, offset: u64, bytes: u64, each: &mut dyn FnMut(usize, u64, u64)) -> bool {
            each(self.0, offset, bytes);
            true
        }
    }

    #[test]
    fn pieces_in_a_row_lie_where_each_of_them_does() {
        let piece = |view: Arc<dyn View>, start, bytes| Piece { view, start, bytes };
        let pieces = vec![
            piece(Arc::new(Numbered(1)), 90, 10),
            piece(Arc::new(Numbered(0)), 5, 20),
            piece(Arc::new(Memory::new(vec![0; 9])), 0, 9),
        ];
        let joined = Joined::new(pieces).unwrap();
        let lies = |offset, bytes| {
            let mut all = Vec::new();
            let known =
                joined.lies(offset, bytes, &mut |disk, at, bytes| all.push((disk, at, bytes)));
            known.then_some(all)
        };
        assert_eq!(lies(8, 4), Some(vec![(1, 98, 2), (0, 5, 2)]));
        assert_eq!(lies(12, 18), Some(vec![(0, 7, 18)]));
        assert_eq!(lies(29, 2), None, "nobody knows where the last piece lies");
        assert_eq!(lies(30, 90), None, "past its end");
    }

    #[test]
    fn pieces_in_a_row_read_and_write_as_one() {
        let one: Arc<dyn View> = Arc::new(Memory::new((0..100).collect()));
        let two: Arc<dyn View> = Arc::new(Memory::new((100..200).collect()));
        let piece =
            |view: &Arc<dyn View>, start, bytes| Piece { view: Arc::clone(view), start, bytes };
        let pieces =
            vec![piece(&two, 90, 10), piece(&one, 0, 0), piece(&one, 5, 10), piece(&two, 0, 3)];
        let joined = Joined::new(pieces).unwrap();
        let all: Vec<u8> = (190..200).chain(5..15).chain(100..103).collect();
        for start in 0..=23 {
            for end in start..=23 {
                let mut read = vec![0; end - start];
                joined.read_at(start as u64, &mut read).unwrap();
                assert_eq!(read, all[start..end]);
            }
        }
        assert!(joined.read_at(20, &mut [0; 4]).is_err());
        joined.write_at(8, &[1, 2, 3, 4]).unwrap();
        let mut read = [0; 4];
        two.read_at(98, &mut read[..2]).unwrap();
        one.read_at(5, &mut read[2..]).unwrap();
        assert_eq!(read, [1, 2, 3, 4]);
        assert!(Joined::new(vec![piece(&one, 95, 6)]).is_none());
        assert!(Joined::new(vec![piece(&one, u64::MAX, 6)]).is_none());
    }
}
