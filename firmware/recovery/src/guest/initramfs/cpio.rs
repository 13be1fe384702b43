//! Archives in the format `newc`, read entry by entry and written whole.

use std::io::{self, BufRead, Error, ErrorKind, Read};

use super::{Budget, Entry};

const HEADER_BYTES: usize = 110;
const TRAILER: &str = "TRAILER!!!";
/// Longest name, which is a link's target too, and longest file that is kept.
const NAME_BYTES_MAX: u64 = 4096;
const KEPT_BYTES_MAX: u64 = 1 << 20;

/// An archive being read.
pub(super) struct Walk<'a> {
    source: &'a mut dyn BufRead,
    budget: &'a mut Budget,
}

impl<'a> Walk<'a> {
    /// May read and keep as much as is left.
    pub(super) fn new(source: &'a mut dyn BufRead, budget: &'a mut Budget) -> Self {
        Self { source, budget }
    }

    /// The next entry; `None` behind the trailer.
    pub(super) fn next(
        &mut self,
        is_kept: &dyn Fn(&str) -> bool,
    ) -> io::Result<Option<(String, Entry)>> {
        const FOLDER: u64 = 0o040_000;
        const FILE: u64 = 0o100_000;
        const LINK: u64 = 0o120_000;
        let mut header = [0; HEADER_BYTES];
        self.fill(&mut header)?;
        if !matches!(&header[..6], b"070701" | b"070702") {
            return Err(broken("an entry does not begin as one"));
        }
        let field = |number: usize| {
            let digits = core::str::from_utf8(&header[6 + number * 8..14 + number * 8]).ok();
            digits
                .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                .ok_or_else(|| broken("no number"))
        };
        let (kind, bytes, name_bytes) = (field(1)? & 0o170_000, field(6)?, field(11)?);
        if name_bytes == 0 || name_bytes > NAME_BYTES_MAX {
            return Err(broken("a name of no bearable length"));
        }
        let name = self.take(name_bytes, HEADER_BYTES as u64)?;
        let name = String::from_utf8_lossy(name.strip_suffix(b"\0").unwrap_or(&name)).into_owned();
        if name == TRAILER {
            return Ok(None);
        }
        let path = name.trim_start_matches("./").trim_start_matches('/').to_owned();
        let kept_max = match kind {
            LINK => NAME_BYTES_MAX,
            FILE if is_kept(&path) => KEPT_BYTES_MAX,
            _ => 0,
        };
        let content = if kept_max > 0 && bytes <= kept_max {
            Some(self.take(bytes, 0)?)
        } else {
            self.skip(bytes.next_multiple_of(4))?;
            None
        };
        let entry = match (kind, content) {
            (FOLDER, _) => Entry::Folder,
            (FILE, content) => Entry::File(content),
            (LINK, Some(target)) => Entry::Link(String::from_utf8_lossy(&target).into_owned()),
            _ => Entry::Other,
        };
        Ok(Some((path, entry)))
    }

    fn fill(&mut self, into: &mut [u8]) -> io::Result<()> {
        self.budget.unpack(into.len() as u64)?;
        self.source.read_exact(into)
    }

    /// So many bytes, and those that fill up to four counted from `before`.
    fn take(&mut self, bytes: u64, before: u64) -> io::Result<Vec<u8>> {
        self.budget.keep(bytes)?;
        let padding = (before + bytes).next_multiple_of(4) - before - bytes;
        let mut taken = vec![0; usize::try_from(bytes).unwrap_or(0)];
        self.fill(&mut taken)?;
        self.skip(padding)?;
        Ok(taken)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.budget.unpack(bytes)?;
        let skipped = io::copy(&mut (&mut *self.source).take(bytes), &mut io::sink())?;
        if skipped == bytes { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }
}

pub(super) fn broken(words: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("an archive of it is damaged: {words}"))
}

/// An archive being written. The same files make the same bytes.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    folders: Vec<String>,
}

impl Archive {
    /// A file, and the folders that it is in. `None` where it is larger than the format can say.
    pub fn file(&mut self, path: &str, content: &[u8]) -> Option<()> {
        for (at, _) in path.match_indices('/') {
            let folder = &path[..at];
            if !self.folders.iter().any(|known| known == folder) {
                self.folders.push(folder.to_owned());
                self.entry(folder, 0o040_755, &[])?;
            }
        }
        self.entry(path, 0o100_644, content)
    }

    /// The whole archive, a multiple of four bytes.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        // The trailer's name is as short as names are.
        let _ = self.entry(TRAILER, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> Option<()> {
        let length = u32::try_from(content.len()).ok()?;
        let name = u32::try_from(path.len() + 1).ok()?;
        self.entries += 1;
        let fields = [self.entries, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, name, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend(path.as_bytes());
        self.bytes.push(0);
        self.fill_up();
        self.bytes.extend(content);
        self.fill_up();
        Some(())
    }

    fn fill_up(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
