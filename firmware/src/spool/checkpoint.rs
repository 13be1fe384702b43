//! The newest state of the ring: one of four places in turn, the newest whole one counts.
//!
//! | at | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | `LBSPCHK1` |
//! | 8 | 8 | sequence number, which also says the place |
//! | 16 | 16 | the opening that wrote it |
//! | 32 | 8 | position up to which everything was released |
//! | 40 | 8 | records before that |
//! | 48 | 8 | position up to which everything was durable |
//! | 56 | 8 | records before that |
//! | 64 | 32 | BLAKE3 of the spool's 16 bytes and the first 64, keyed |

use hal::disk::Disk;

use super::device::Device;
use super::layout::{CHECKPOINTS, PAGE_BYTES, checkpoint_offset};
use super::superblock::{Identified, part};
use super::{Mark, SpoolError};

const MAGIC: [u8; 8] = *b"LBSPCHK1";
/// Bytes that mean something.
pub const BYTES: usize = 96;
const SUMMED: usize = 64;

/// What the ring was like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Grows with every checkpoint.
    pub sequence: u64,
    /// The opening that wrote it.
    pub opening: [u8; 16],
    /// Everything before was released.
    pub head: Mark,
    /// Everything before was durable.
    pub tail: Mark,
}

impl Checkpoint {
    /// Its bytes.
    #[must_use]
    pub fn write(&self, keys: &Identified) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.opening);
        bytes[32..40].copy_from_slice(&self.head.position.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.head.number.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.tail.position.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.tail.number.to_le_bytes());
        let sum = keys.sum(&bytes[..SUMMED]);
        bytes[SUMMED..].copy_from_slice(&sum);
        bytes
    }

    /// Takes any bytes; `None` where they are no whole checkpoint of this spool.
    #[must_use]
    pub fn read(bytes: &[u8], keys: &Identified) -> Option<Self> {
        let bytes = bytes.first_chunk::<BYTES>()?;
        if !bytes.starts_with(&MAGIC) || keys.sum(&bytes[..SUMMED]) != bytes[SUMMED..] {
            return None;
        }
        let number = |at: usize| u64::from_le_bytes(part(bytes, at));
        let head = Mark { position: number(32), number: number(40) };
        let tail = Mark { position: number(48), number: number(56) };
        let sound = head <= tail
            && head.number <= tail.number
            && tail.position - head.position <= keys.log_bytes()
            && [head, tail].iter().all(|mark| mark.position.is_multiple_of(PAGE_BYTES));
        sound.then_some(Self { sequence: number(8), opening: part(bytes, 16), head, tail })
    }
}

/// The newest whole one of a spool.
pub(super) fn newest<D: Disk>(
    device: &mut Device<D>,
    keys: &Identified,
) -> Result<Checkpoint, SpoolError> {
    let mut newest: Option<Checkpoint> = None;
    for place in 0..CHECKPOINTS {
        let page = device.read(checkpoint_offset(place), PAGE_BYTES)?;
        let read = page.and_then(|page| Checkpoint::read(page.as_ref(), keys));
        // One that was put into another's place by a disk gone astray is none.
        let read = read.filter(|read| read.sequence % CHECKPOINTS == place);
        newest = newest.into_iter().chain(read).max_by_key(|one| one.sequence);
    }
    newest.ok_or(SpoolError::Damaged("all checkpoints"))
}
