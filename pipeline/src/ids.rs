//! Names of things that never change. All are random or computed; none carries a server's name.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $bytes]);

        impl fmt::Display for $name {
            /// Lower-case hexadecimal, no dashes.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let mut bytes = [0_u8; $bytes];
                parse_hex(text, &mut bytes)?;
                Ok(Self(bytes))
            }
        }
    };
}

identifier!(
    /// One vault; random, made at `vault create`.
    VaultId, 16
);
identifier!(
    /// One protected server; random, given at enrolment.
    ServerId, 16
);
identifier!(
    /// One disk of a server; random, given when first protected.
    DiskId, 16
);
identifier!(
    /// One recovery point; random.
    PointId, 16
);
identifier!(
    /// One segment object; random, never reused.
    SegmentId, 16
);
identifier!(
    /// One run of a writer, pruner or collector; random.
    WriterId, 16
);
identifier!(
    /// One recovery order; random.
    OrderId, 16
);
identifier!(
    /// One recovery plan; random.
    PlanId, 16
);
identifier!(
    /// BLAKE3-256 of bytes that anybody may see.
    Digest, 32
);
identifier!(
    /// The first 128 bits of BLAKE3 keyed per server over one padded block or one map page.
    Fingerprint, 16
);

/// Text that is not the hexadecimal form of the identifier asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAnId(pub String);

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "«{}» is not an identifier: hexadecimal digits are expected", self.0)
    }
}

impl core::error::Error for NotAnId {}

fn parse_hex(text: &str, into: &mut [u8]) -> Result<(), NotAnId> {
    let bad = || NotAnId(String::from(text));
    let digits = text.as_bytes();
    if digits.len() != into.len() * 2 {
        return Err(bad());
    }
    for (byte, pair) in into.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = core::str::from_utf8(pair).map_err(|_| bad())?;
        if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(bad());
        }
        *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
    }
    Ok(())
}

/// Where a frame is, for ever: its segment and its ordinal in it. What maps and manifests name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FrameAddress {
    /// The segment that the frame was sealed in.
    pub segment: SegmentId,
    /// Its place in the segment's frame table, from 0.
    pub ordinal: u32,
}

/// The number of a server's key: a random key per server and epoch, so that keys can be rotated and shredded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyEpoch(pub u32);

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn identifiers_survive_their_text() {
        let id = SegmentId([0xA5; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn text_with_signs_or_wrong_length_is_refused() {
        assert!("+1".repeat(16).parse::<SegmentId>().is_err());
        assert!("00".parse::<SegmentId>().is_err());
        assert!("é0".repeat(8).parse::<SegmentId>().is_err());
    }
}
