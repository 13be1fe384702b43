//! The file of `--changed`: which ranges of which disks may differ from the last point, as somebody else tracked them.
//!
//! Lines `DISK OFFSET LENGTH` in bytes; empty lines and lines that start with `#` are passed over. The file is
//! read as a stream; what is kept is one bit per block, so its size is bounded by the disks', not the file's.

use core::ops::Range;
use std::collections::BTreeMap;
use std::io::{BufRead, Read};

use pipeline::limits::BLOCK_BYTES;
use pipeline_vault::Error;

/// Longest line; a longer one is no line of this format.
const LINE_BYTES_MAX: u64 = 1024;
const WORDS_PER_PAGE: usize = 64;
const BLOCKS_PER_PAGE: u64 = 64 * 64;
const BLOCK: u64 = BLOCK_BYTES as u64;

/// Which blocks of one disk are named: a bitmap that costs nothing where nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockSet {
    pages: BTreeMap<u64, Box<[u64; WORDS_PER_PAGE]>>,
}

impl BlockSet {
    /// Adds every block that `length` bytes from `offset` touch.
    fn add(&mut self, offset: u64, length: u64) {
        let Some(last) = offset.saturating_add(length).checked_sub(1).filter(|_| length > 0) else {
            return;
        };
        let mut block = offset / BLOCK;
        let end = last / BLOCK + 1;
        while block < end {
            let page = block / BLOCKS_PER_PAGE;
            let page_end = end.min((page + 1) * BLOCKS_PER_PAGE);
            let words = self.pages.entry(page).or_insert_with(|| Box::new([0; WORDS_PER_PAGE]));
            for bit in block - page * BLOCKS_PER_PAGE..page_end - page * BLOCKS_PER_PAGE {
                let word = usize::try_from(bit / 64).expect("a page has 64 words");
                words[word] |= 1 << (bit % 64);
            }
            block = page_end;
        }
    }

    /// How many blocks are named.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.pages
            .values()
            .flat_map(|words| words.iter())
            .map(|word| u64::from(word.count_ones()))
            .sum()
    }

    /// Runs of named blocks, ascending, as block numbers.
    pub fn runs(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut numbers = self.numbers().peekable();
        core::iter::from_fn(move || {
            let start = numbers.next()?;
            let mut end = start + 1;
            while numbers.next_if_eq(&end).is_some() {
                end += 1;
            }
            Some(start..end)
        })
    }

    /// Byte ranges (offset, length) of a disk of so many bytes: at most `most` of them. Where there are more, runs are
    /// rounded outwards until there are few enough; what that adds is only read, never believed to have changed.
    #[must_use]
    pub fn ranges(&self, disk_bytes: u64, most: usize) -> Vec<(u64, u64)> {
        let mut grain = 1_u64;
        loop {
            let mut ranges: Vec<(u64, u64)> = Vec::new();
            for run in self.runs() {
                let start = (run.start / grain * grain).saturating_mul(BLOCK);
                let end = run.end.next_multiple_of(grain).saturating_mul(BLOCK).min(disk_bytes);
                let full = ranges.len() > most;
                match ranges.last_mut() {
                    Some((last, length)) if *last + *length >= start => *length = end - *last,
                    _ if full => break,
                    _ => ranges.push((start, end.saturating_sub(start))),
                }
            }
            if ranges.len() <= most.max(1) {
                return ranges;
            }
            grain *= 2;
        }
    }

    fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.pages.iter().flat_map(|(page, words)| {
            words.iter().zip(0_u64..).flat_map(move |(word, place)| {
                let first = page * BLOCKS_PER_PAGE + place * 64;
                (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| first + bit)
            })
        })
    }
}

/// Reads the whole file. `disks` gives each disk's size in bytes; every disk has an answer, empty where no line
/// names it. `object` is what errors call the file.
pub fn read(
    mut from: impl BufRead,
    object: &str,
    disks: &BTreeMap<String, u64>,
) -> Result<BTreeMap<String, BlockSet>, Error> {
    let mut sets: BTreeMap<String, BlockSet> =
        disks.keys().map(|name| (name.clone(), BlockSet::default())).collect();
    let mut line = Vec::new();
    let mut number = 0_u64;
    loop {
        line.clear();
        number += 1;
        let at = || format!("{object}, line {number}");
        let taken = from
            .by_ref()
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .map_err(|error| Error::device(at(), format!("cannot be read: {error}")))?;
        if taken == 0 {
            return Ok(sets);
        }
        if taken as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
            return Err(wrong(at(), format!("is longer than {LINE_BYTES_MAX} bytes")));
        }
        let text = core::str::from_utf8(&line).map_err(|_| wrong(at(), "is no UTF-8 text"))?;
        if let Some((disk, offset, length)) = parse_line(text).map_err(|what| wrong(at(), what))? {
            let (Some(&bytes), Some(set)) = (disks.get(disk), sets.get_mut(disk)) else {
                let known: Vec<&str> = disks.keys().map(String::as_str).collect();
                return Err(Error::misuse(
                    at(),
                    format!("names a disk «{}» that is not protected here", disk.escape_debug()),
                )
                .remedy(format!("the disks of this command are: {}", known.join(", "))));
            };
            if offset.checked_add(length).is_none_or(|end| end > bytes) {
                let what = format!("goes past the end of {disk}, which has {bytes} bytes");
                return Err(wrong(at(), what));
            }
            set.add(offset, length);
        }
    }
}

fn wrong(object: String, what: impl Into<String>) -> Error {
    Error::misuse(object, what).remedy("each line is DISK OFFSET LENGTH in bytes; nothing was done")
}

/// `None` for an empty line or a comment.
fn parse_line(text: &str) -> Result<Option<(&str, u64, u64)>, String> {
    let text = text.trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let mut words = text.split_whitespace();
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(disk), Some(offset), Some(length), None) => {
            Ok(Some((disk, bytes(offset, "an offset")?, bytes(length, "a length")?)))
        }
        _ => Err("has not exactly three words".to_owned()),
    }
}

fn bytes(word: &str, what: &str) -> Result<u64, String> {
    if !word.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "has {what} «{}» that is no whole number of bytes",
            word.escape_debug()
        ));
    }
    word.parse().map_err(|_| format!("has {what} «{word}» beyond any disk"))
}

#[cfg(test)]
mod tests;
