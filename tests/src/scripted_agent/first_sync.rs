//! A first sync as fast as it goes: an image is read once and sent, and nothing of it is kept.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use pipeline::limits::{BLOCK_BYTES, EXTENT_BYTES_MAX};
use pipeline_wire::message::{Blocks, Content, FromAgent};
use pipeline_wire::runs::{Run, runs_of};

use super::{Away, ScriptedAgent};

impl ScriptedAgent {
    /// Sends an image as large as the disk, and cuts; returns when the vault has the point. Blocks of zeros are not sent: the
    /// vault has nothing of the disk yet.
    ///
    /// # Panics
    /// Where the image cannot be read, or nothing is said for long.
    pub fn first_sync(&mut self, image: &File) -> Result<(), Away> {
        let bytes = self.disk.len() as u64;
        let mut extent = vec![0; EXTENT_BYTES_MAX];
        let mut on_the_way: VecDeque<(u64, u64)> = VecDeque::new();
        let (mut waiting, mut at) = (0, 0);
        while let Some(offset) = next_data(image, at).filter(|offset| *offset < bytes) {
            let length = usize::try_from(bytes - offset)
                .map_or(EXTENT_BYTES_MAX, |left| left.min(EXTENT_BYTES_MAX));
            extent[length..].fill(0);
            image.read_exact_at(&mut extent[..length], offset).expect("the image reads");
            at = offset + EXTENT_BYTES_MAX as u64;
            let (runs, parts) = data_of(&extent, offset / BLOCK_BYTES as u64);
            let payload: u64 = parts.iter().map(|part| part.len() as u64).sum();
            if payload == 0 {
                continue;
            }
            while waiting + payload > self.credit {
                let said = self.hear_next()?;
                self.note(said)?;
                while let Some((_, sent)) =
                    on_the_way.front().copied().filter(|(last, _)| *last <= self.spooled)
                {
                    on_the_way.pop_front();
                    waiting -= sent;
                }
            }
            self.sequence += 1;
            let blocks = Blocks { sequence: self.sequence, disk: 0, content: Content::Data, runs };
            let line = self.line.as_mut().ok_or_else(|| Away::Gone("not connected".to_owned()))?;
            line.send_with(&FromAgent::Blocks(blocks), &parts)?;
            on_the_way.push_back((self.sequence, payload));
            waiting += payload;
        }
        let cut = self.next_cut(None);
        self.say(&FromAgent::Cut(cut))?;
        while self.vaulted < self.epoch {
            let said = self.hear_next()?;
            self.note(said)?;
        }
        Ok(())
    }
}

/// The extent that has the next data, as the file system tells.
fn next_data(image: &File, at: u64) -> Option<u64> {
    let extent = EXTENT_BYTES_MAX as u64;
    let found = rustix::fs::seek(image, rustix::fs::SeekFrom::Data(at)).ok()?;
    Some((found / extent * extent).max(at))
}

/// Blocks of an extent that are not zeros: their runs, and where they lie.
fn data_of(extent: &[u8], first: u64) -> (Vec<Run>, Vec<&[u8]>) {
    let blocks = (first..).zip(extent.chunks_exact(BLOCK_BYTES));
    let (numbers, parts): (Vec<u64>, Vec<&[u8]>) =
        blocks.filter(|(_, block)| !pipeline::zero::is_zero(block)).unzip();
    (runs_of(numbers), parts)
}
