//! Deflate by miniz_oxide: the codec of the build without C, and by policy.

use miniz_oxide::deflate::core::{CompressorOxide, TDEFLFlush, TDEFLStatus, compress};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use miniz_oxide::{DataFormat, deflate::CompressionLevel};

use crate::error::Error;

pub(super) struct Deflate {
    engine: CompressorOxide,
}

impl Default for Deflate {
    fn default() -> Self {
        let level = CompressionLevel::BestSpeed;
        Self { engine: CompressorOxide::with_format_and_level(DataFormat::Raw, level) }
    }
}

impl Deflate {
    pub(super) fn set_level(&mut self, level: i32) -> i32 {
        let level = u8::try_from(level.clamp(1, 9)).unwrap_or(1);
        self.engine.set_format_and_level(DataFormat::Raw, level);
        i32::from(level)
    }

    /// The bytes written, or `None` where they do not fit.
    pub(super) fn compress(&mut self, runs: &[&[u8]], out: &mut [u8]) -> Option<usize> {
        self.engine.reset();
        let (last, first) = runs.split_last()?;
        let mut written = 0;
        for run in first {
            let (status, taken, gave) =
                compress(&mut self.engine, run, &mut out[written..], TDEFLFlush::None);
            written += gave;
            // Input is left over only where the output is full.
            if status != TDEFLStatus::Okay || taken < run.len() {
                return None;
            }
        }
        let (status, _, gave) =
            compress(&mut self.engine, last, &mut out[written..], TDEFLFlush::Finish);
        (status == TDEFLStatus::Done).then_some(written + gave)
    }
}

pub(super) fn inflate(
    engine: &mut DecompressorOxide,
    input: &[u8],
    out: &mut [u8],
) -> Result<(), Error> {
    engine.init();
    let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, taken, gave) = decompress(engine, input, out, 0, flags);
    if status == TINFLStatus::Done && taken == input.len() && gave == out.len() {
        Ok(())
    } else {
        Err(Error::Malformed("a deflate stream that does not decompress to the table's length"))
    }
}
