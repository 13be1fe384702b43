//! Zstandard: one frame in, one frame out. The same bytes at the same level make the same frame.

use zstd_safe::{CCtx, CParameter, DCtx};

use crate::error::{Blame, Error};

/// One frame of all the bytes, with a checksum and the size in its head.
pub fn squeeze(bytes: &[u8], level: i32) -> Result<Vec<u8>, Error> {
    let failed = |code: usize| {
        Error::new(
            Blame::Machine,
            "compression",
            zstd_safe::get_error_name(code),
            "close other programs, and build again",
        )
    };
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
    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_is_the_same_each_time() {
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for level in [1, 3, 19] {
            let frame = squeeze(&bytes, level).unwrap();
            assert!(frame.len() < bytes.len() / 2);
            assert_eq!(frame, squeeze(&bytes, level).unwrap());
            assert_eq!(expand(&frame, bytes.len()).unwrap(), bytes);
            assert!(expand(&frame, bytes.len() - 1).is_err(), "more than is wanted");
        }
        assert!(expand(b"", 10).is_err() && expand(b"no frame at all", 10).is_err());
    }
}
