//! What the kernel unpacks into its first file system, compressed. The same bytes, compressed alike, make the same bytes.

use std::io::Write as _;

use lzma_rust2::{CheckType, FilterType, XzOptions, XzWriter};
use zstd_safe::{CCtx, CParameter, DCtx};

use crate::error::{Blame, Error};

/// How far back xz looks in programs: as far as they reach, because the agent is much the same code as the appliance. The kernel
/// takes as much memory for it while it unpacks, and a machine may have 192 MiB.
const PROGRAMS_WINDOW: u32 = 24 << 20;
/// The same in modules, which are alike at short distances only: twice as much would save 1 %.
const MODULES_WINDOW: u32 = 8 << 20;

/// How it is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Zstandard at this level: unpacked soonest.
    Zstandard(i32),
    /// xz at this preset: a sixth smaller, for a slot.
    Xz(u32),
}

/// What is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Modules and firmware. Calls in a module are not filled in, so nothing can be made of them.
    Modules,
    /// Programs: places that are called are written as such, and so the same each time.
    Programs,
}

impl Codec {
    /// All the bytes, compressed.
    pub fn squeeze(self, bytes: &[u8], content: Content) -> Result<Vec<u8>, Error> {
        match self {
            Self::Zstandard(level) => zstandard(bytes, level),
            Self::Xz(preset) => {
                xz(bytes, preset, content).map_err(|error| failed(&error.to_string()))
            }
        }
    }
}

fn failed(problem: &str) -> Error {
    Error::new(Blame::Machine, "compression", problem, "close other programs, and build again")
}

/// One stream, with the one checksum that the kernel knows.
fn xz(bytes: &[u8], preset: u32, content: Content) -> std::io::Result<Vec<u8>> {
    let mut options = XzOptions::with_preset(preset);
    options.set_check_sum_type(CheckType::Crc32);
    options.lzma_options.dict_size = match content {
        Content::Modules => MODULES_WINDOW,
        Content::Programs => PROGRAMS_WINDOW,
    };
    if content == Content::Programs {
        options.prepend_pre_filter(FilterType::BcjX86, 0);
    }
    let mut writer = XzWriter::new(Vec::new(), options)?;
    writer.write_all(bytes)?;
    writer.finish()
}

/// One frame, with a checksum and the size in its head.
fn zstandard(bytes: &[u8], level: i32) -> Result<Vec<u8>, Error> {
    let failed = |code: usize| failed(zstd_safe::get_error_name(code));
    let mut context = CCtx::create();
    for parameter in [
        CParameter::CompressionLevel(level),
        CParameter::ChecksumFlag(true),
        CParameter::ContentSizeFlag(true),
    ] {
        context.set_parameter(parameter).map_err(failed)?;
    }
    let mut frame = vec![0; zstd_safe::compress_bound(bytes.len())];
    let length = context.compress2(frame.as_mut_slice(), bytes).map_err(failed)?;
    frame.truncate(length);
    Ok(frame)
}

/// The bytes of a frame that makes at most `limit` of them.
pub fn expand(frame: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let size = zstd_safe::get_frame_content_size(frame).ok().flatten();
    let size = size.and_then(|size| usize::try_from(size).ok());
    let size = size.filter(|size| *size <= limit).ok_or("no frame of a bearable size")?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|error| error.to_string())?;
    bytes.resize(size, 0);
    let length = DCtx::create()
        .decompress(bytes.as_mut_slice(), frame)
        .map_err(|code| zstd_safe::get_error_name(code).to_owned())?;
    if length == size { Ok(bytes) } else { Err("broken off".to_owned()) }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_is_the_same_each_time() {
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for content in [Content::Modules, Content::Programs] {
            for codec in [Codec::Zstandard(3), Codec::Zstandard(19), Codec::Xz(1), Codec::Xz(6)] {
                let packed = codec.squeeze(&bytes, content).unwrap();
                assert!(packed.len() < bytes.len() / 2, "{codec:?}");
                assert_eq!(packed, codec.squeeze(&bytes, content).unwrap(), "{codec:?}");
                let mut plain = Vec::new();
                match codec {
                    Codec::Zstandard(_) => {
                        plain = expand(&packed, bytes.len()).unwrap();
                        assert!(expand(&packed, bytes.len() - 1).is_err(), "more than is wanted");
                    }
                    Codec::Xz(_) => {
                        // The kernel's reader takes streams of whole words, one after the other.
                        assert!(packed.len().is_multiple_of(4));
                        crate::deb::xz(&packed).read_to_end(&mut plain).unwrap();
                    }
                }
                assert!(plain == bytes, "{codec:?}");
            }
        }
        assert!(expand(b"", 10).is_err() && expand(b"no frame at all", 10).is_err());
    }
}
