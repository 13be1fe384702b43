//! The head of an update's file: what it is, for which machines, and who says so. `image/UPDATE.md` has every byte.
//!
//! Numbers are little-endian. Reading is total: any bytes end in a head or in a reason. Whether the signature is right is
//! for others to say, before anything that is read here is believed.

use core::fmt;

use crate::disk::SLOT_BYTES;
use crate::version::Version;

/// Length of the head; a slot follows it.
pub const HEAD_BYTES: usize = 512;
/// How much of it is signed: all but the signature.
pub const SIGNED_BYTES: usize = HEAD_BYTES - SIGNATURE_BYTES;
/// Length of the signature, Ed25519.
pub const SIGNATURE_BYTES: usize = 64;
/// What updates on a medium are called.
pub const FILE_ENDING: &str = ".update";

const MAGIC: [u8; 8] = *b"LIFEBUPD";
const FORMAT: u16 = 1;
/// The end of what this format says; zeros from there to the signature.
const END: usize = 128;

/// Which machines a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is one kind of machine as yet")]
pub enum Kind {
    /// UEFI on x86-64.
    Uefi64,
}

impl Kind {
    fn number(self) -> u16 {
        match self {
            Self::Uefi64 => 1,
        }
    }
}

/// What an update says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// For which machines.
    pub kind: Kind,
    /// What it brings.
    pub version: Version,
    /// The oldest version that is let in once this one has proven itself.
    pub least: Version,
    /// When its sources were made, in seconds since 1970.
    pub built: u64,
    /// SHA-256 of the slot.
    pub sha256: [u8; 32],
    /// Whose signature it bears.
    pub key: [u8; 32],
}

/// A head and its signature, neither of them believed yet.
#[derive(Clone, Copy)]
pub struct Unverified<'a>(&'a [u8; HEAD_BYTES]);

/// Why bytes are no update for this machine, in words for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wrong {
    /// It does not begin as one.
    NoUpdate,
    /// It is written in a way that this version does not know.
    Format(u16),
    /// For other machines.
    Kind(u16),
    /// Its slot has another length.
    Length(u64),
    /// It says what cannot be.
    Senseless,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUpdate => f.write_str("is no update of Lifeboat"),
            Self::Format(number) => {
                write!(
                    f,
                    "is written in format {number}, which this version cannot read: write a new medium instead"
                )
            }
            Self::Kind(number) => {
                write!(
                    f,
                    "is for another kind of machine (kind {number}), and this one is x86-64 with UEFI (kind 1)"
                )
            }
            Self::Length(bytes) => {
                write!(
                    f,
                    "holds a system of {bytes} bytes, and a slot has exactly {SLOT_BYTES}: write a new medium instead"
                )
            }
            Self::Senseless => f.write_str("says of itself what cannot be"),
        }
    }
}

impl core::error::Error for Wrong {}

impl<'a> Unverified<'a> {
    /// Whether these bytes begin as an update does.
    pub fn new(bytes: &'a [u8; HEAD_BYTES]) -> Result<Self, Wrong> {
        if bytes.starts_with(&MAGIC) { Ok(Self(bytes)) } else { Err(Wrong::NoUpdate) }
    }

    /// What is signed.
    #[must_use]
    pub fn signed(&self) -> &'a [u8] {
        self.0.get(..SIGNED_BYTES).unwrap_or_default()
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &'a [u8] {
        self.0.get(SIGNED_BYTES..).unwrap_or_default()
    }

    /// What it says, once the signature was found right: nothing of it is to be believed before.
    pub fn verified(&self) -> Result<Head, Wrong> {
        let format = u16::from_le_bytes(self.field(8));
        if format != FORMAT {
            return Err(Wrong::Format(format));
        }
        let kind = u16::from_le_bytes(self.field(10));
        if kind != Kind::Uefi64.number() {
            return Err(Wrong::Kind(kind));
        }
        let length = u64::from_le_bytes(self.field(48));
        if length != SLOT_BYTES {
            return Err(Wrong::Length(length));
        }
        let head = Head {
            kind: Kind::Uefi64,
            version: self.version(16),
            least: self.version(28),
            built: u64::from_le_bytes(self.field(40)),
            sha256: self.field(56),
            key: self.field(88),
        };
        let rest = self.0.get(END..SIGNED_BYTES).unwrap_or_default();
        let blank = rest
            .iter()
            .chain(&self.field::<4>(12))
            .chain(&self.field::<8>(120))
            .all(|byte| *byte == 0);
        if !blank || head.least > head.version { Err(Wrong::Senseless) } else { Ok(head) }
    }

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut field = [0; N];
        field.iter_mut().zip(self.0.iter().skip(at)).for_each(|(to, from)| *to = *from);
        field
    }

    fn version(&self, at: usize) -> Version {
        Version([at, at + 4, at + 8].map(|at| u32::from_le_bytes(self.field(at))))
    }
}

impl Head {
    /// What is to be signed.
    #[must_use]
    pub fn signed(&self) -> [u8; SIGNED_BYTES] {
        let mut bytes = [0; SIGNED_BYTES];
        let mut put = |at: usize, value: &[u8]| {
            bytes.iter_mut().skip(at).zip(value).for_each(|(to, from)| *to = *from);
        };
        put(0, &MAGIC);
        put(8, &FORMAT.to_le_bytes());
        put(10, &self.kind.number().to_le_bytes());
        for (at, version) in [(16, self.version), (28, self.least)] {
            for (place, number) in version.0.iter().enumerate() {
                put(at + 4 * place, &number.to_le_bytes());
            }
        }
        put(40, &self.built.to_le_bytes());
        put(48, &SLOT_BYTES.to_le_bytes());
        put(56, &self.sha256);
        put(88, &self.key);
        bytes
    }
}

#[cfg(test)]
mod tests;
