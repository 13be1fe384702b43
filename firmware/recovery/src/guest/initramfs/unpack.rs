//! Streams out of compressed ones that take no byte too many: the next archive begins where one ends.

use std::io::{self, BufRead, Error, ErrorKind, Read};

use lzma_rust2::XzReader;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};
use zstd_safe::{DCtx, InBuffer, OutBuffer};

/// Largest dictionary of xz and largest window of Zstandard: what the kernel's own packers make is far below.
const XZ_KIB_MAX: u32 = 128 * 1024;
const WINDOW_LOG_MAX: u32 = 27;
/// The kernel's kind of LZ4 has blocks that unpack to so much, the last to less.
const LZ4_BLOCK_BYTES: usize = 8 << 20;
const LZ4_MAGIC: [u8; 4] = [0x02, 0x21, 0x4C, 0x18];

/// What an archive is compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Xz,
    Zstandard,
    Lz4,
}

/// By the first bytes.
pub(super) fn packing(head: &[u8]) -> Option<Packing> {
    let known: [(&[u8], Packing); 4] = [
        (&[0x1F, 0x8B, 8], Packing::Gzip),
        (b"\xFD7zXZ\0", Packing::Xz),
        (&[0x28, 0xB5, 0x2F, 0xFD], Packing::Zstandard),
        (&LZ4_MAGIC, Packing::Lz4),
    ];
    known.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, packing)| *packing)
}

impl Packing {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstandard => "zstd",
            Self::Lz4 => "lz4",
        }
    }

    pub(super) fn open<'a>(self, source: &'a mut dyn BufRead) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Gzip => Box::new(Gzip::new(source)?),
            Self::Xz => Box::new(XzReader::new_mem_limit(source, false, XZ_KIB_MAX)),
            Self::Zstandard => Box::new(Zstandard::new(source)?),
            Self::Lz4 => Box::new(Lz4::new(source)?),
        })
    }
}

fn broken(name: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("an archive of it is damaged ({name})"))
}

struct Gzip<'a> {
    source: &'a mut dyn BufRead,
    state: Box<InflateState>,
    ended: bool,
}

impl<'a> Gzip<'a> {
    fn new(source: &'a mut dyn BufRead) -> io::Result<Self> {
        let mut head = [0; 10];
        source.read_exact(&mut head)?;
        let flags = head[3];
        if flags & 4 != 0 {
            let mut length = [0; 2];
            source.read_exact(&mut length)?;
            let length = u64::from(u16::from_le_bytes(length));
            io::copy(&mut (&mut *source).take(length), &mut io::sink())?;
        }
        // A name and a remark, each ended by a zero.
        for flag in [8, 16] {
            let mut byte = [1];
            while flags & flag != 0 && byte != [0] {
                source.read_exact(&mut byte)?;
            }
        }
        if flags & 2 != 0 {
            source.read_exact(&mut [0; 2])?;
        }
        Ok(Self { source, state: InflateState::new_boxed(DataFormat::Raw), ended: false })
    }
}

impl Read for Gzip<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !into.is_empty() {
            let input = self.source.fill_buf()?;
            let done = inflate(&mut self.state, input, into, MZFlush::None);
            let is_short = input.is_empty() && done.bytes_written == 0;
            self.source.consume(done.bytes_consumed);
            match done.status {
                Ok(MZStatus::StreamEnd) => {
                    // Checksum and length: whoever reads names does not need them.
                    self.source.read_exact(&mut [0; 8])?;
                    self.ended = true;
                }
                Ok(_) | Err(MZError::Buf) if !is_short => (),
                _ => return Err(broken("gzip")),
            }
            if done.bytes_written > 0 {
                return Ok(done.bytes_written);
            }
        }
        Ok(0)
    }
}

struct Zstandard<'a> {
    source: &'a mut dyn BufRead,
    context: DCtx<'static>,
    ended: bool,
}

impl<'a> Zstandard<'a> {
    fn new(source: &'a mut dyn BufRead) -> io::Result<Self> {
        let mut context = DCtx::create();
        let limited = context.set_parameter(zstd_safe::DParameter::WindowLogMax(WINDOW_LOG_MAX));
        limited.map_err(|_| broken("zstd"))?;
        Ok(Self { source, context, ended: false })
    }
}

impl Read for Zstandard<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !into.is_empty() {
            let input = self.source.fill_buf()?;
            let is_at_end = input.is_empty();
            let (mut taken, mut given) = (InBuffer::around(input), OutBuffer::around(&mut *into));
            let done = self.context.decompress_stream(&mut given, &mut taken);
            let (consumed, written) = (taken.pos(), given.pos());
            self.source.consume(consumed);
            // Zero says that the frame is whole and all of it was given.
            self.ended = done.map_err(|_| broken("zstd"))? == 0;
            if written > 0 {
                return Ok(written);
            }
            if is_at_end && !self.ended {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(0)
    }
}

struct Lz4<'a> {
    source: &'a mut dyn BufRead,
    block: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<'a> Lz4<'a> {
    fn new(source: &'a mut dyn BufRead) -> io::Result<Self> {
        source.read_exact(&mut [0; 4])?;
        Ok(Self { source, block: Vec::new(), at: 0, ended: false })
    }

    /// The next block. Nothing says how many there are: zeros, another magic number or the end come behind the last.
    fn refill(&mut self) -> io::Result<()> {
        let head = self.source.fill_buf()?;
        let Some(four) = head.get(..4) else {
            // At the buffer's end: what is taken here is a block's size, or zeros that mean nothing.
            let mut four = [0; 4];
            let length = read_up_to(self.source, &mut four)?;
            if length < 4 || four == [0; 4] {
                self.ended = true;
                return Ok(());
            }
            return self.unpack(u32::from_le_bytes(four));
        };
        let size = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        if size == 0 || head.starts_with(b"0707") || packing(head).is_some() {
            self.ended = true;
            return Ok(());
        }
        self.source.consume(4);
        self.unpack(size)
    }

    fn unpack(&mut self, size: u32) -> io::Result<()> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > LZ4_BLOCK_BYTES + LZ4_BLOCK_BYTES / 128 {
            return Err(broken("lz4"));
        }
        let mut packed = vec![0; size];
        self.source.read_exact(&mut packed)?;
        self.block.resize(LZ4_BLOCK_BYTES, 0);
        let length = lz4_flex::block::decompress_into(&packed, &mut self.block);
        self.block.truncate(length.map_err(|_| broken("lz4"))?);
        self.at = 0;
        Ok(())
    }
}

fn read_up_to(source: &mut dyn BufRead, into: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < into.len() {
        match source.read(&mut into[length..])? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

impl Read for Lz4<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() && !self.ended {
            self.block.clear();
            self.at = 0;
            self.refill()?;
        }
        let length = into.len().min(self.block.len() - self.at);
        into[..length].copy_from_slice(&self.block[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}
