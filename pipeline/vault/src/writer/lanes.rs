//! A lane is one open segment and what fills it. Each worker has one, so that nobody waits for a lock to compress.

use pipeline::compress::Compressor;
use pipeline::fingerprint::Fingerprinter;
use pipeline::ids::{Fingerprint, FrameAddress, SegmentId, ServerId};
use pipeline::segment::{FrameKind, SegmentIdentity, SegmentWriter};

use super::upload::Uploader;
use crate::access::Access;
use crate::error::Error;
use crate::map::{PageRef, PageSink};

/// One open segment.
pub(crate) struct Lane<'run> {
    access: &'run Access,
    server: ServerId,
    uploader: &'run Uploader,
    open: Option<SegmentWriter<Vec<u8>>>,
    pub(crate) compressor: Compressor,
    fingerprinter: &'run Fingerprinter,
}

impl<'run> Lane<'run> {
    pub(crate) fn new(
        access: &'run Access,
        server: ServerId,
        uploader: &'run Uploader,
        compressor: Compressor,
        fingerprinter: &'run Fingerprinter,
    ) -> Self {
        Self { access, server, uploader, open: None, compressor, fingerprinter }
    }

    /// Compresses and seals one frame in its final place; a full segment is sent first.
    pub(crate) fn append(
        &mut self,
        kind: FrameKind,
        blocks: &[&[u8]],
        fingerprints: &[Fingerprint],
    ) -> Result<FrameAddress, Error> {
        let plain_bytes = blocks.iter().map(|block| block.len()).sum();
        if self.open.as_ref().is_some_and(|open| !open.has_room(plain_bytes)) {
            self.flush()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let fresh = self.begin()?;
                self.open.insert(fresh)
            }
        };
        open.append(kind, blocks, fingerprints, &mut self.compressor)
            .map_err(|error| Error::misuse("segment", error.to_string()))
    }

    /// Sends the open segment, if there is anything in it.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        match self.open.take() {
            Some(open) if open.is_empty() => self.uploader.give_back(open.finish().buffer),
            Some(open) => self.uploader.send(open.finish())?,
            None => {}
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<SegmentWriter<Vec<u8>>, Error> {
        let (key_epoch, key) =
            self.access.keys.newest_record_key(&self.server).ok_or_else(|| {
                Error::misuse(
                    self.server.to_string(),
                    "the keys at hand cannot write for this server",
                )
            })?;
        self.compressor.set_level(self.uploader.level());
        let mut salt = [0; 32];
        self.access.fill(&mut salt)?;
        let identity = SegmentIdentity {
            vault: self.access.vault,
            server: self.server,
            segment: SegmentId(self.access.random_id()?),
            key_epoch,
            salt,
        };
        Ok(SegmentWriter::new(self.uploader.buffer()?, identity, &key))
    }
}

impl PageSink for Lane<'_> {
    fn store(&mut self, plain: &[u8]) -> Result<PageRef, Error> {
        let fingerprint = self.fingerprinter.of(plain);
        let address = self.append(FrameKind::Page, &[plain], &[fingerprint])?;
        Ok(PageRef { address, fingerprint })
    }
}
