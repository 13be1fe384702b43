//! Makes frames smaller: zstd, or deflate in the build without C; and says when storing is better.
//!
//! Output goes straight to where the caller wants it; nothing here allocates once a compressor exists.

mod deflate;
mod probe;
#[cfg(feature = "zstd")]
mod zstd;

#[cfg(test)]
mod tests;

use alloc::boxed::Box;

use miniz_oxide::inflate::core::DecompressorOxide;

use crate::error::Error;

/// How a frame's bytes are written. The numbers are on disk and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Codec {
    /// As they are.
    Stored = 0,
    /// One zstd frame (RFC 8878).
    Zstd = 1,
    /// One raw deflate stream (RFC 1951).
    Deflate = 2,
}

impl Codec {
    /// The codec of a number on disk.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Stored),
            1 => Some(Self::Zstd),
            2 => Some(Self::Deflate),
            _ => None,
        }
    }

    /// The codec of this build unless policy says otherwise.
    #[must_use]
    pub const fn preferred() -> Self {
        if cfg!(feature = "zstd") { Self::Zstd } else { Self::Deflate }
    }

    /// Whether this build can write and read it.
    #[must_use]
    pub const fn is_present(self) -> bool {
        match self {
            Self::Stored | Self::Deflate => true,
            Self::Zstd => cfg!(feature = "zstd"),
        }
    }
}

/// What compressing gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The first `len` bytes of the output are the frame's content in this codec.
    Compressed {
        /// Which codec wrote them.
        codec: Codec,
        /// How many bytes it wrote.
        len: usize,
    },
    /// Storing is better: the probe said so before any time was spent, or the result did not fit the output.
    Incompressible,
}

/// One worker's compressor: its tables are allocated once and used for every frame.
pub struct Compressor {
    engine: Engine,
    level: i32,
    probe: Box<probe::Probe>,
}

enum Engine {
    Stored,
    #[cfg(feature = "zstd")]
    Zstd(zstd::Zstd),
    Deflate(Box<deflate::Deflate>),
}

impl Compressor {
    /// A compressor for `codec`; levels outside what it knows are taken to the nearest.
    pub fn new(codec: Codec, level: i32) -> Result<Self, Error> {
        let engine = match codec {
            Codec::Stored => Engine::Stored,
            #[cfg(feature = "zstd")]
            Codec::Zstd => Engine::Zstd(zstd::Zstd::new()?),
            #[cfg(not(feature = "zstd"))]
            Codec::Zstd => return Err(Error::CodecMissing(codec)),
            Codec::Deflate => Engine::Deflate(Box::default()),
        };
        let mut made = Self { engine, level: 0, probe: Box::default() };
        made.apply_level(level);
        Ok(made)
    }

    /// The level from the next frame on; taken to the nearest that the codec knows.
    pub fn set_level(&mut self, level: i32) {
        if level != self.level {
            self.apply_level(level);
        }
    }

    fn apply_level(&mut self, level: i32) {
        self.level = match &mut self.engine {
            Engine::Stored => 0,
            #[cfg(feature = "zstd")]
            Engine::Zstd(engine) => engine.set_level(level),
            Engine::Deflate(engine) => engine.set_level(level),
        };
    }

    /// The level in use.
    #[must_use]
    pub fn level(&self) -> i32 {
        self.level
    }

    /// The codec that frames get unless they are stored.
    #[must_use]
    pub fn codec(&self) -> Codec {
        match self.engine {
            Engine::Stored => Codec::Stored,
            #[cfg(feature = "zstd")]
            Engine::Zstd(_) => Codec::Zstd,
            Engine::Deflate(_) => Codec::Deflate,
        }
    }

    /// Compresses the concatenation of `runs` into `out`. `out` is as long as the caller would like the result
    /// to be at most; what it holds beyond the outcome's `len` is undefined.
    pub fn compress(&mut self, runs: &[&[u8]], out: &mut [u8]) -> Outcome {
        if matches!(self.engine, Engine::Stored) || self.probe.is_noise(runs) {
            return Outcome::Incompressible;
        }
        #[cfg(test)]
        for run in runs {
            crate::touched::record("compress", run.as_ptr_range(), out.as_ptr_range());
        }
        let codec = self.codec();
        let written = match &mut self.engine {
            Engine::Stored => None,
            #[cfg(feature = "zstd")]
            Engine::Zstd(engine) => engine.compress(runs, out),
            Engine::Deflate(engine) => engine.compress(runs, out),
        };
        written.map_or(Outcome::Incompressible, |len| Outcome::Compressed { codec, len })
    }
}

/// One worker's decompressor, for every codec of this build.
pub struct Decompressor {
    #[cfg(feature = "zstd")]
    zstd: Option<zstd::Unzstd>,
    inflate: Option<Box<DecompressorOxide>>,
}

impl Default for Decompressor {
    fn default() -> Self {
        Self::new()
    }
}

impl Decompressor {
    /// A decompressor; each codec's tables are allocated when first needed.
    #[must_use]
    pub fn new() -> Self {
        Self {
            #[cfg(feature = "zstd")]
            zstd: None,
            inflate: None,
        }
    }

    /// Fills all of `out` from `input`, which holds exactly that and nothing more. Whatever `input` is,
    /// nothing is written elsewhere and no memory is taken beyond the codec's fixed tables.
    pub fn decompress(&mut self, codec: Codec, input: &[u8], out: &mut [u8]) -> Result<(), Error> {
        match codec {
            Codec::Stored => {
                if input.len() != out.len() {
                    return Err(Error::Malformed(
                        "a stored frame of another length than its content",
                    ));
                }
                out.copy_from_slice(input);
                Ok(())
            }
            #[cfg(feature = "zstd")]
            Codec::Zstd => {
                if self.zstd.is_none() {
                    self.zstd = Some(zstd::Unzstd::new()?);
                }
                self.zstd.as_mut().map_or(Err(Error::Memory("the zstd decompressor")), |engine| {
                    engine.decompress(input, out)
                })
            }
            #[cfg(not(feature = "zstd"))]
            Codec::Zstd => Err(Error::CodecMissing(codec)),
            Codec::Deflate => deflate::inflate(self.inflate.get_or_insert_default(), input, out),
        }
    }
}
