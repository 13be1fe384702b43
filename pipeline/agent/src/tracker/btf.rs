//! The kernel's own types, as it tells them in `/sys/kernel/btf/vmlinux`: where the fields are that programs read.
//!
//! Offsets differ between kernels and even between updates of one, so nothing is ever known by a version. The file is
//! bytes from outside: whatever they are, reading ends in an answer.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Where the kernel tells them.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
/// Ten times the largest seen.
const BYTES_MAX: u64 = 64 << 20;
const MAGIC: u16 = 0xEB9F;
/// Every type begins with so many bytes: name, information, size or type.
const HEAD_BYTES: usize = 12;
/// Types within types, and pointers through names: no kernel has a third of it.
const DEPTH_MAX: u32 = 32;

const POINTER: u32 = 2;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const TYPEDEF: u32 = 8;
const FUNCTION_TYPE: u32 = 13;

/// The types.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    /// Where each type begins; number 0 is «void» and begins nowhere.
    starts: Vec<usize>,
    strings: usize,
    strings_end: usize,
}

/// Where a field is, and of what type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Bytes from the beginning of the structure.
    pub offset: u32,
    /// Its type's number.
    pub kind: u32,
}

/// What a typed tracepoint is attached by, and what it hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracepoint {
    /// Number of the type that stands for it.
    pub number: u32,
    /// Types of its arguments.
    pub arguments: Vec<u32>,
}

impl Btf {
    /// Those of the running kernel.
    ///
    /// # Errors
    /// It tells none, or nothing that can be read.
    pub fn of_kernel(path: &Path) -> Result<Self, String> {
        let on = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(on)?;
        file.take(BYTES_MAX).read_to_end(&mut bytes).map_err(on)?;
        Self::parse(bytes).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Reads them.
    ///
    /// # Errors
    /// They are not what a kernel writes.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        let broken = || "no types of a kernel".to_owned();
        let magic = bytes.get(..2).and_then(|two| two.try_into().ok()).map(u16::from_ne_bytes);
        if magic != Some(MAGIC) {
            return Err(broken());
        }
        let number = |at: usize| {
            let four = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
            usize::try_from(u32::from_ne_bytes(four)).ok()
        };
        let section = |at: usize, length: usize| {
            let start = number(4)?.checked_add(number(at)?)?;
            let end = start.checked_add(number(length)?)?;
            (end <= bytes.len()).then_some((start, end))
        };
        let (types, types_end) = section(8, 12).ok_or_else(broken)?;
        let (strings, strings_end) = section(16, 20).ok_or_else(broken)?;
        let mut starts = vec![0];
        let mut at = types;
        while at < types_end {
            starts.push(at);
            let information = number(at + 4).ok_or_else(broken)?;
            at = at.checked_add(HEAD_BYTES + tail_bytes(information)?).ok_or_else(broken)?;
        }
        if at != types_end {
            return Err(broken());
        }
        Ok(Self { bytes, starts, strings, strings_end })
    }

    /// A tracepoint; nothing where this kernel has none of this name.
    #[must_use]
    pub fn tracepoint(&self, name: &str) -> Option<Tracepoint> {
        let number = self.find(&format!("btf_trace_{name}"), TYPEDEF)?;
        let function = self.pointee(number)?;
        if self.kind(function)? != FUNCTION_TYPE {
            return None;
        }
        let count = self.count(function)?;
        // The first is the kernel's own.
        let arguments = (1..count).map(|place| self.word(function, HEAD_BYTES + place * 8 + 4));
        Some(Tracepoint { number, arguments: arguments.collect::<Option<_>>()? })
    }

    /// A field of a structure by number, also of the nameless ones within it.
    #[must_use]
    pub fn field(&self, structure: u32, name: &str) -> Option<Field> {
        self.field_within(structure, name, DEPTH_MAX)
    }

    /// The structure that a type points to, through other names of it.
    #[must_use]
    pub fn pointee(&self, pointer: u32) -> Option<u32> {
        let pointer = self.plain(pointer)?;
        if self.kind(pointer)? != POINTER {
            return None;
        }
        self.plain(self.word(pointer, 8)?)
    }

    fn field_within(&self, structure: u32, name: &str, depth: u32) -> Option<Field> {
        let depth = depth.checked_sub(1)?;
        let structure = self.plain(structure)?;
        if !matches!(self.kind(structure)?, STRUCT | UNION) {
            return None;
        }
        // Where some fields are narrower than a byte, the upper bits say how wide.
        let with_widths = self.word(structure, 4)? >> 31 == 1;
        for place in 0..self.count(structure)? {
            let at = HEAD_BYTES + place * 12;
            let (called, kind) = (self.word(structure, at)?, self.word(structure, at + 4)?);
            let told = self.word(structure, at + 8)?;
            let (bits, width) =
                if with_widths { (told & 0xFF_FFFF, told >> 24) } else { (told, 0) };
            if called == 0 {
                if let Some(inner) = self.field_within(kind, name, depth) {
                    return Some(Field { offset: (bits / 8).checked_add(inner.offset)?, ..inner });
                }
            } else if self.is_called(called, name) {
                return (width == 0 && bits.is_multiple_of(8))
                    .then_some(Field { offset: bits / 8, kind });
            }
        }
        None
    }

    fn find(&self, name: &str, kind: u32) -> Option<u32> {
        let all = 1..u32::try_from(self.starts.len()).ok()?;
        let mut named = all.filter(|number| {
            self.kind(*number) == Some(kind)
                && self.word(*number, 0).is_some_and(|called| self.is_called(called, name))
        });
        named.next()
    }

    /// The type behind other names, `const` and the like.
    fn plain(&self, mut number: u32) -> Option<u32> {
        for _ in 0..DEPTH_MAX {
            match self.kind(number)? {
                TYPEDEF..=11 | 18 => number = self.word(number, 8)?,
                _ => return Some(number),
            }
        }
        None
    }

    fn kind(&self, number: u32) -> Option<u32> {
        self.word(number, 4).map(|information| information >> 24 & 0x1F)
    }

    fn count(&self, number: u32) -> Option<usize> {
        usize::try_from(self.word(number, 4)? & 0xFFFF).ok()
    }

    fn word(&self, number: u32, at: usize) -> Option<u32> {
        let start = *self.starts.get(usize::try_from(number).ok()?).filter(|start| **start != 0)?;
        let at = start.checked_add(at)?;
        self.bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
    }

    fn is_called(&self, at: u32, name: &str) -> bool {
        let place = || {
            let start = self.strings.checked_add(usize::try_from(at).ok()?)?;
            let end = start.checked_add(name.len())?;
            (end < self.strings_end).then_some((start, end))
        };
        place().is_some_and(|(start, end)| {
            self.bytes.get(start..end) == Some(name.as_bytes()) && self.bytes.get(end) == Some(&0)
        })
    }
}

/// How much follows the head of a type.
fn tail_bytes(information: usize) -> Result<usize, String> {
    let count = information & 0xFFFF;
    match information >> 24 & 0x1F {
        // Integers, variables, tags of declarations.
        1 | 14 | 17 => Ok(4),
        // Arrays.
        3 => Ok(12),
        // Structures, unions, sections, wide enumerations.
        4 | 5 | 15 | 19 => Ok(count * 12),
        // Enumerations and types of functions.
        6 | 13 => Ok(count * 8),
        2 | 7..=12 | 16 | 18 => Ok(0),
        other => Err(format!(
            "a kind of type ({other}) that this agent does not know: take a newer agent"
        )),
    }
}

#[cfg(test)]
mod tests;
