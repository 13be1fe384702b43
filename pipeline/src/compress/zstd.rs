//! zstd through its C library: one-shot where the frame is one run, streaming over the runs where it is not.

use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, DCtx, InBuffer, OutBuffer, ResetDirective};

use crate::error::Error;

/// Levels: negative ones trade size for speed where the link outruns the cores; above 19 zstd wants more memory
/// than a worker should hold.
const LEVEL_MIN: i32 = -7;
const LEVEL_MAX: i32 = 19;
/// zstd's own table at level 1 has 16 Ki entries, 64 KiB: more than the first cache of most processors. Half of it is
/// some 5 % faster over a server's disk, for 2 % more bytes; whoever wants fewer bytes has the higher levels.
const HASH_LOG_OF_LEVEL_1: u32 = 13;

pub(super) struct Zstd {
    context: CCtx<'static>,
}

impl Zstd {
    pub(super) fn new() -> Result<Self, Error> {
        let mut context = CCtx::try_create().ok_or(Error::Memory("a zstd compressor"))?;
        // The frame table holds the length and the seal holds the integrity: zstd's own would be said twice.
        for parameter in [
            CParameter::ContentSizeFlag(false),
            CParameter::ChecksumFlag(false),
            CParameter::DictIdFlag(false),
        ] {
            context.set_parameter(parameter).map_err(|_| Error::Memory("zstd's parameters"))?;
        }
        Ok(Self { context })
    }

    pub(super) fn set_level(&mut self, level: i32) -> i32 {
        let level = level.clamp(LEVEL_MIN, LEVEL_MAX);
        // zstd counts 0 as its default level, 3.
        let level = if level == 0 { 1 } else { level };
        // Between frames every level within zstd's bounds is accepted; a frame that failed midway is still open.
        let _ = self.context.reset(ResetDirective::SessionOnly);
        let set = self.context.set_parameter(CParameter::CompressionLevel(level));
        debug_assert!(set.is_ok(), "a level within zstd's bounds is accepted between frames");
        let hash_log = if level == 1 { HASH_LOG_OF_LEVEL_1 } else { 0 };
        let set = self.context.set_parameter(CParameter::HashLog(hash_log));
        debug_assert!(set.is_ok(), "0 is zstd's own choice, and 13 within its bounds");
        level
    }

    /// The bytes written, or `None` where they do not fit.
    pub(super) fn compress(&mut self, runs: &[&[u8]], out: &mut [u8]) -> Option<usize> {
        match runs {
            [run] => self.context.compress2(out, run).ok(),
            _ => self.stream(runs, out),
        }
    }

    fn stream(&mut self, runs: &[&[u8]], out: &mut [u8]) -> Option<usize> {
        let total: usize = runs.iter().map(|run| run.len()).sum();
        self.context.reset(ResetDirective::SessionOnly).ok()?;
        self.context.set_pledged_src_size(Some(u64::try_from(total).ok()?)).ok()?;
        let mut output = OutBuffer::around(out);
        let (last, first) = runs.split_last()?;
        for run in first {
            let mut input = InBuffer::around(run);
            while input.pos() < run.len() {
                let before = (input.pos(), output.pos());
                let end = ZSTD_EndDirective::ZSTD_e_continue;
                self.context.compress_stream2(&mut output, &mut input, end).ok()?;
                if (input.pos(), output.pos()) == before {
                    return None;
                }
            }
        }
        let mut input = InBuffer::around(last);
        loop {
            let before = (input.pos(), output.pos());
            let end = ZSTD_EndDirective::ZSTD_e_end;
            if self.context.compress_stream2(&mut output, &mut input, end).ok()? == 0 {
                return Some(output.pos());
            }
            if (input.pos(), output.pos()) == before {
                return None;
            }
        }
    }
}

pub(super) struct Unzstd {
    context: DCtx<'static>,
}

impl Unzstd {
    pub(super) fn new() -> Result<Self, Error> {
        let context = DCtx::try_create().ok_or(Error::Memory("the zstd decompressor"))?;
        Ok(Self { context })
    }

    /// One-shot only: streaming would take a window's worth of memory at the word of the input.
    pub(super) fn decompress(&mut self, input: &[u8], out: &mut [u8]) -> Result<(), Error> {
        match self.context.decompress(out, input) {
            Ok(written) if written == out.len() => Ok(()),
            Ok(_) => Err(Error::Malformed("a zstd frame shorter than the table says")),
            Err(_) => {
                Err(Error::Malformed("a zstd frame that does not decompress to the table's length"))
            }
        }
    }
}
