//! What ingest keeps in the spool: one entry a record, the blocks first and what they are behind them.
//!
//! | bytes | what |
//! | --- | --- |
//! | | payload: blocks of 64 KiB, padded with zeros; nothing for other entries |
//! | n | the entry, postcard |
//! | 4 | n |
//! | 4 | `LBJ1` |
//!
//! The payload stands first so that it goes from where it was received into the sealed record by one copy. It refuses to
//! know where records are kept.

use pipeline::ids::{PointId, ServerId};
use pipeline::limits::BLOCK_BYTES;
use pipeline_wire::message::{Blocks, Content, Cut, DiskHello};
use pipeline_wire::runs::checked_blocks;
use serde::{Deserialize, Serialize};

const MAGIC: [u8; 4] = *b"LBJ1";
const TRAILER_BYTES: usize = 8;
/// Standings in one record.
const STANDINGS_BYTES_MAX: usize = 512 * 1024;

/// One life of an agent's tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Life {
    /// Whose.
    pub server: ServerId,
    /// Which run of its agent.
    pub run: [u8; 16],
}

/// A disk of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentDisk {
    /// As the agent named it.
    pub hello: DiskHello,
    /// Whether the vault had content of it when the run began.
    pub known: bool,
}

impl SentDisk {
    /// How many blocks it has.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.hello.bytes.div_ceil(BLOCK_BYTES as u64)
    }
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Entry {
    /// A run of an agent begins; its numbers start at 1.
    Begin(Life, Vec<SentDisk>),
    /// Blocks; the payload has them where they are data.
    Blocks(Life, Blocks),
    /// Cuts that hold together: one, or those of a group.
    Cuts(Vec<KeptCut>),
    /// Where servers stand at this place of the log: whatever was before it may be released.
    Standings(Vec<Standing>),
}

/// A cut as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptCut {
    /// Of which run.
    pub life: Life,
    /// What the agent said.
    pub cut: Cut,
    /// Whether it is a point.
    pub verdict: Verdict,
    /// When it came, by the appliance's clock, milliseconds since 1970: an agent's clock may be wrong.
    pub came_millis: u64,
}

/// Whether a cut is a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Verdict {
    /// It is.
    Point,
    /// It is not: what it closed goes on into the next one.
    Void,
}

/// Where a server stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The newest run of its agent.
    pub life: Life,
    /// The disks of that run.
    pub disks: Vec<SentDisk>,
    /// Everything of that run up to here was taken.
    pub sequence: u64,
    /// The newest epoch that was taken.
    pub epoch: u64,
    /// The newest epoch that the vault has, and its point; epoch 0 is the newest point that there was when the server's first
    /// run began.
    pub vaulted: Option<(u64, PointId)>,
    /// What was lost of this server, until a cut of this token, or another run, says that it was sent again.
    pub lost: Option<u64>,
}

impl Standing {
    /// Where a server stands whose run begins.
    #[must_use]
    pub fn begin(life: Life, disks: Vec<SentDisk>) -> Self {
        Self { life, disks, sequence: 0, epoch: 0, vaulted: None, lost: None }
    }
}

/// The bytes of an entry that go behind its payload.
#[must_use]
pub fn emit(entry: &Entry) -> Vec<u8> {
    let mut bytes = postcard::to_allocvec(entry).unwrap_or_default();
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_le_bytes());
    bytes.extend(MAGIC);
    bytes
}

/// A record's payload and entry. `None` for anything that is no entry.
#[must_use]
pub fn parse(record: &[u8]) -> Option<(&[u8], Entry)> {
    let (rest, trailer) = record.split_last_chunk::<TRAILER_BYTES>()?;
    let (length, magic) = trailer.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok().filter(|_| *magic == MAGIC)?;
    let (payload, bytes) = rest.split_at_checked(rest.len().checked_sub(length)?)?;
    let (entry, left) = postcard::take_from_bytes::<Entry>(bytes).ok()?;
    let blocks = match &entry {
        Entry::Blocks(_, blocks) => {
            let named = checked_blocks(&blocks.runs, u64::MAX)?;
            if blocks.content == Content::Data { named } else { 0 }
        }
        _ => 0,
    };
    let bytes = usize::try_from(blocks).ok()?.checked_mul(BLOCK_BYTES)?;
    (left.is_empty() && payload.len() == bytes).then_some((payload, entry))
}

/// Standings in as many entries as they need.
#[must_use]
pub fn standings(all: impl Iterator<Item = Standing>) -> Vec<Entry> {
    let (mut entries, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for standing in all {
        let more = standing.disks.iter().map(|disk| &disk.hello);
        let more = more.map(|disk| 64 + disk.name.len() + disk.identity.len());
        bytes += 128 + more.sum::<usize>();
        part.push(standing);
        if bytes > STANDINGS_BYTES_MAX {
            entries.push(Entry::Standings(core::mem::take(&mut part)));
            bytes = 0;
        }
    }
    if !part.is_empty() {
        entries.push(Entry::Standings(part));
    }
    entries
}

#[cfg(test)]
mod tests {
    use hal_sim::random::Random;
    use pipeline_wire::runs::Run;

    use super::*;

    fn life() -> Life {
        Life { server: ServerId([3; 16]), run: [4; 16] }
    }

    fn blocks() -> Vec<u8> {
        let runs = vec![Run { first: 9, blocks: 1 }, Run { first: 70, blocks: 1 }];
        let blocks = Blocks { sequence: 5, disk: 1, content: Content::Data, runs };
        let mut record = vec![7; 2 * BLOCK_BYTES];
        record.extend(emit(&Entry::Blocks(life(), blocks)));
        record
    }

    #[test]
    fn an_entry_survives_its_bytes_and_a_payload_of_another_length_is_none() {
        let record = blocks();
        let (payload, entry) = parse(&record).unwrap();
        assert_eq!(payload, vec![7; 2 * BLOCK_BYTES]);
        assert!(matches!(entry, Entry::Blocks(whose, _) if whose == life()));
        assert_eq!(parse(&record[1..]), None);
        assert_eq!(parse(&[&[0], &record[..]].concat()), None);
    }

    #[test]
    fn whatever_the_bytes_nothing_panics() {
        let whole = blocks();
        let tail = &whole[2 * BLOCK_BYTES..];
        for seed in 0..20_000 {
            let mut random = Random::new(seed);
            let mut bytes = tail.to_vec();
            for _ in 0..=random.below(3) {
                let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
                bytes[at] = u8::try_from(random.below(256)).unwrap();
            }
            let _ = parse(&bytes);
        }
        assert_eq!(parse(&[]), None);
    }

    #[test]
    fn the_bytes_of_an_entry_are_as_they_always_were() {
        let standing =
            Standing { vaulted: Some((2, PointId([1; 16]))), ..Standing::begin(life(), vec![]) };
        let bytes = emit(&Entry::Standings(vec![standing]));
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let ids = format!("{}{}", "03".repeat(16), "04".repeat(16));
        let point = "01".repeat(16);
        assert_eq!(text, format!("0301{ids}0000000102{point}00380000004c424a31"));
    }
}
