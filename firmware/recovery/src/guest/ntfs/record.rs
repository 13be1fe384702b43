//! A record of NTFS: a file's attributes, and the runs of clusters that hold what is too long for it.

const MARK: u32 = 0xFFFF_FFFF;
const FOLDER: u16 = 2;
const IN_USE: u16 = 1;
/// Sectors are guarded in steps of this, whatever their size.
const STRIDE: usize = 512;
/// Runs of a file that are looked at.
const RUNS_MAX: usize = 100_000;
const ATTRIBUTES_MAX: usize = 256;

/// Clusters in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Where they begin, in bytes; none for a hole.
    pub(super) start: Option<u64>,
    /// How long they are.
    pub(super) bytes: u64,
}

/// A record.
pub(super) struct Record {
    bytes: Vec<u8>,
}

/// An attribute of a record.
pub(super) struct Attribute<'a> {
    pub(super) kind: u32,
    pub(super) name: String,
    bytes: &'a [u8],
}

impl Record {
    /// `None` where it is none, or was written by half.
    pub(super) fn parse(mut bytes: Vec<u8>) -> Option<Self> {
        if !bytes.starts_with(b"FILE") {
            return None;
        }
        mend(&mut bytes)?;
        (half(&bytes, 22)? & IN_USE != 0).then_some(Self { bytes })
    }

    pub(super) fn is_folder(&self) -> bool {
        half(&self.bytes, 22).is_some_and(|flags| flags & FOLDER != 0)
    }

    pub(super) fn attributes(&self) -> impl Iterator<Item = Attribute<'_>> {
        let mut at = half(&self.bytes, 20).map(usize::from);
        let next = move || {
            let here = at?;
            let bytes = self.bytes.get(here..)?;
            let kind = word(bytes, 0).filter(|kind| *kind != MARK)?;
            let length = usize::try_from(word(bytes, 4)?).ok().filter(|length| *length >= 24)?;
            let bytes = bytes.get(..length)?;
            at = here.checked_add(length);
            let letters = usize::from(*bytes.get(9)?);
            let name = usize::from(half(bytes, 10)?);
            let name = bytes.get(name..name + letters * 2)?;
            let name = name.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]));
            let name = char::decode_utf16(name)
                .map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER));
            Some(Attribute { kind, name: name.collect(), bytes })
        };
        core::iter::from_fn(next).take(ATTRIBUTES_MAX)
    }
}

impl<'a> Attribute<'a> {
    /// Its bytes, where they are in the record.
    pub(super) fn resident(&self) -> Option<&'a [u8]> {
        if *self.bytes.get(8)? != 0 {
            return None;
        }
        let length = usize::try_from(word(self.bytes, 16)?).ok()?;
        let at = usize::from(half(self.bytes, 20)?);
        self.bytes.get(at..at.checked_add(length)?)
    }

    /// Whether its bytes are not as they read: compressed or encrypted.
    pub(super) fn is_changed(&self) -> bool {
        const COMPRESSED: u16 = 0x00FF;
        const ENCRYPTED: u16 = 0x4000;
        half(self.bytes, 12).is_none_or(|flags| flags & (COMPRESSED | ENCRYPTED) != 0)
    }

    /// Its size, and how much of it was ever written.
    pub(super) fn sizes(&self) -> Option<(u64, u64)> {
        Some((long(self.bytes, 48)?, long(self.bytes, 56)?))
    }

    /// Where its bytes are.
    pub(super) fn runs(&self, cluster: u64) -> Option<Vec<Run>> {
        // The first of several parts begins with cluster 0.
        if *self.bytes.get(8)? == 0 || long(self.bytes, 16)? != 0 {
            return None;
        }
        let mut list = self.bytes.get(usize::from(half(self.bytes, 32)?)..)?;
        let mut runs = Vec::new();
        let mut place: i64 = 0;
        let mut total: u64 = 0;
        while let Some((head, rest)) = list.split_first().filter(|(head, _)| **head != 0) {
            let (count, distance) = (usize::from(head & 15), usize::from(head >> 4));
            if count > 8 || distance > 8 || runs.len() >= RUNS_MAX {
                return None;
            }
            let bytes = u64::try_from(number(rest.get(..count)?)).ok()?.checked_mul(cluster)?;
            let moved = number(rest.get(count..count + distance)?);
            place = place.checked_add(moved)?;
            let start = u64::try_from(place).ok()?.checked_mul(cluster)?;
            start.checked_add(bytes)?;
            total = total.checked_add(bytes)?;
            runs.push(Run { start: (distance > 0).then_some(start), bytes });
            list = rest.get(count + distance..)?;
        }
        Some(runs)
    }
}

/// A number with a sign in as many bytes as it needs.
fn number(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = if negative { [0xFF; 8] } else { [0; 8] };
    wide[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(wide)
}

/// Puts back the last two bytes of every sector, which stand elsewhere while a number guards the sector.
pub(super) fn mend(bytes: &mut [u8]) -> Option<()> {
    let at = usize::from(half(bytes, 4)?);
    let count = usize::from(half(bytes, 6)?);
    let guard = half(bytes, at)?;
    if count == 0 || (count - 1) * STRIDE > bytes.len() {
        return None;
    }
    for sector in 1..count {
        let end = sector * STRIDE - 2;
        if half(bytes, end)? != guard {
            return None;
        }
        let kept = half(bytes, at + sector * 2)?;
        bytes[end..end + 2].copy_from_slice(&kept.to_le_bytes());
    }
    Some(())
}

pub(super) fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

pub(super) fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}
