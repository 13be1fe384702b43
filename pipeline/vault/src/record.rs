//! What a server's chain is made of: one record per slot, sealed, linked to its predecessor by hash.
//! FORMAT.md "Chain records" is the authority; postcard encodes the fields in the order they stand here.

use pipeline::ids::{Digest, DiskId, PointId, SegmentId, ServerId, WriterId};
use serde::{Deserialize, Serialize};

use crate::fork::{Fork, ForkEnded};
use crate::map::Root;

/// What a source told of the instant.
pub mod told;

pub use told::Told;

/// One slot of a chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Whose chain.
    pub server: ServerId,
    /// Its place, from 0. The object's name says the same; both are checked.
    pub slot: u64,
    /// BLAKE3 of the predecessor's object bytes; zeros in slot 0.
    pub previous: Digest,
    /// Which run wrote it.
    pub writer: WriterId,
    /// The newest epoch-open's number as the author knew it: what fences a zombie.
    pub writer_epoch: u64,
    /// The author's wall clock, milliseconds since 1970.
    pub local_time: u64,
    /// The store's clock, milliseconds since 1970.
    pub store_time: u64,
    /// Where the newest records of each kind before this one are, so that opening a chain costs a few reads.
    pub trail: Trail,
    /// What it says.
    pub body: Body,
}

/// Slots of the newest records before this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trail {
    /// The newest recovery point.
    pub point: Option<u64>,
    /// The newest checkpoint after that point.
    pub checkpoint: Option<u64>,
    /// The newest upkeep record.
    pub upkeep: Option<u64>,
    /// The newest epoch-open, fork or end of a fork.
    pub epoch: Option<u64>,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Body {
    /// A writer takes the chain over; every writer before it is fenced from this slot on.
    EpochOpen(EpochOpen),
    /// A recovery point exists from this slot on.
    Point(Manifest),
    /// A point in progress: what resuming reads, what keeps the collector away.
    Checkpoint(Manifest),
    /// Pruning, condemning, moving, collecting: the state of upkeep as a whole after this step.
    Upkeep(Upkeep),
    /// The server was failed over: until this is ended nobody publishes points, and every writer before it is fenced.
    Fork(Fork),
    /// The failover before it stands no more: writers may take the chain over again.
    ForkEnded(ForkEnded),
}

/// A writer takes a chain over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochOpen {
    /// One more than the epoch before.
    pub epoch: u64,
    /// Host name and process of the writer, for the message that a fenced writer prints.
    pub host: String,
}

/// How clean the instant of a recovery point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Consistency {
    /// As after a power cut: all disks at one instant, or a disk that nobody wrote to.
    Crash,
    /// Hooks and file-system freeze ran.
    Application,
    /// Writes went on while it was read and nothing froze them: the disks are not at one instant.
    Fuzzy,
}

/// All protected disks of a server at one instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The point's identity. A checkpoint carries the identity that its point will have.
    pub id: PointId,
    /// How clean the instant is.
    pub consistency: Consistency,
    /// The instant: when reading started, the author's wall clock, milliseconds since 1970.
    pub started: u64,
    /// The disks, in the order that they were named.
    pub disks: Vec<DiskState>,
    /// Segments that no earlier record of this chain names.
    pub segments: Vec<SegmentRef>,
    /// Newest known heads of other chains, so that a rollback of one is noticed in another.
    pub heads: Vec<KnownHead>,
    /// The key ring's version that the author knew.
    pub ring_version: u64,
    /// What making it cost.
    pub work: Work,
    /// What the source told of the instant. Stands behind the record (`Record::encode`).
    #[serde(skip)]
    pub told: Told,
}

/// One disk in a point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiskState {
    /// The disk's identity in this vault.
    pub id: DiskId,
    /// Its label.
    pub name: String,
    /// What the hardware says of it (WWN, serial, GPT GUID or file identity), kept beside the label.
    pub identity: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its logical sector in bytes.
    pub sector_bytes: u32,
    /// Its map.
    pub root: Root,
    /// Blocks that the source could not read.
    pub unread_blocks: u64,
    /// In a checkpoint: every block before this one is as the disk was, later ones are the base's.
    pub done_blocks: u64,
}

/// A segment as the record that introduced it vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRef {
    /// Its identity.
    pub segment: SegmentId,
    /// Its length in bytes.
    pub bytes: u32,
    /// BLAKE3 over its header and sealed table, which authenticate every other byte.
    pub digest: Digest,
}

/// The newest slot of a chain that somebody saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownHead {
    /// Whose chain.
    pub server: ServerId,
    /// Its newest slot.
    pub slot: u64,
    /// BLAKE3 of that slot's object bytes.
    pub digest: Digest,
}

/// What making a point cost, in bytes and blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Bytes read from the disks.
    pub read_bytes: u64,
    /// Blocks that were new to the server and so were compressed and sealed.
    pub new_blocks: u64,
    /// Blocks that differed from the point before but that the server had already.
    pub known_blocks: u64,
    /// Bytes of segments sent.
    pub stored_bytes: u64,
    /// Wall time, milliseconds.
    pub took_millis: u64,
}

/// The state of upkeep after one step of it. Cumulative: the newest one is all that a reader needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Upkeep {
    /// What this step did.
    pub action: Action,
    /// Slots whose records are no longer part of the chain, as ascending, disjoint, non-adjacent runs.
    /// A missing slot inside one is pruned; a missing slot outside is stolen.
    pub gaps: Vec<Gap>,
    /// Covered slots whose objects are still to be deleted, as ascending, disjoint runs.
    pub leaving: Vec<Leaving>,
    /// Segments that nothing may name any more, until they are deleted.
    pub condemned: Vec<Condemned>,
    /// Where the frames of moved segments are now.
    pub relocations: Vec<Relocation>,
}

/// What a step of upkeep did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Action {
    /// Nothing yet.
    #[default]
    None,
    /// Took these points out of the chain.
    Prune {
        /// Each by slot, identity and hash of its object.
        removed: Vec<RemovedPoint>,
    },
    /// Condemned segments that no kept record names (`Upkeep::condemned` lists them).
    Condemn,
    /// Moved live frames into new segments.
    Relocate {
        /// The new segments.
        segments: Vec<SegmentRef>,
    },
    /// Deleted condemned segments whose grace was over.
    Collect {
        /// Which.
        deleted: Vec<SegmentId>,
    },
    /// Took segments off the condemned list because something reaches them after all.
    Rescue {
        /// Which.
        segments: Vec<SegmentId>,
    },
}

/// A point that pruning removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedPoint {
    /// Its slot.
    pub slot: u64,
    /// Its identity.
    pub id: PointId,
    /// BLAKE3 of its object's bytes.
    pub digest: Digest,
}

/// A run of slots that are no longer part of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The first missing slot.
    pub first: u64,
    /// The last missing slot.
    pub last: u64,
    /// BLAKE3 of the last missing slot's object: what the slot after it links to.
    pub last_digest: Digest,
}

/// A run of covered slots whose objects are still to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// The first slot.
    pub first: u64,
    /// The last slot.
    pub last: u64,
    /// The store's clock when the newest of them was covered, milliseconds since 1970: their grace runs from here.
    pub since: u64,
}

/// A segment that nothing may name any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condemned {
    /// Which.
    pub segment: SegmentId,
    /// The store's clock when it was condemned, milliseconds since 1970: its grace runs from here.
    pub since: u64,
}

/// Where the live frames of a moved segment are: carried verbatim, found by their logical address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relocation {
    /// The segment that maps still name.
    pub from: SegmentId,
    /// The segments that carry its live frames, in ascending order of the frames' ordinals.
    pub into: Vec<SegmentId>,
}

impl Record {
    /// The bytes of a record; behind them, where a source told something of the instant, what it told.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        let plain = postcard::to_allocvec(self)?;
        match self.manifest().filter(|manifest| !manifest.told.is_empty()) {
            Some(manifest) => postcard::to_extend(&manifest.told, plain),
            None => Ok(plain),
        }
    }

    /// Reads a record. What stands behind all that this version knows is a later version's.
    pub fn decode(plain: &[u8]) -> Result<Self, postcard::Error> {
        let (mut record, behind): (Self, _) = postcard::take_from_bytes(plain)?;
        if let Body::Point(manifest) | Body::Checkpoint(manifest) = &mut record.body
            && !behind.is_empty()
        {
            let told: Told = postcard::from_bytes(behind)?;
            if !told.is_bounded() {
                return Err(postcard::Error::DeserializeBadEncoding);
            }
            manifest.told = told;
        }
        Ok(record)
    }

    /// The trail that the record after this one carries.
    pub fn trail_after(&self) -> Trail {
        let mut trail = self.trail;
        match &self.body {
            // All three take the chain from whoever had it.
            Body::EpochOpen(_) | Body::Fork(_) | Body::ForkEnded(_) => {
                trail.epoch = Some(self.slot)
            }
            Body::Point(_) => {
                trail.point = Some(self.slot);
                trail.checkpoint = None;
            }
            Body::Checkpoint(_) => trail.checkpoint = Some(self.slot),
            Body::Upkeep(_) => trail.upkeep = Some(self.slot),
        }
        trail
    }

    /// The manifest of a point.
    pub fn point(&self) -> Option<&Manifest> {
        match &self.body {
            Body::Point(manifest) => Some(manifest),
            _ => None,
        }
    }

    /// The manifest of a point or a checkpoint.
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.body {
            Body::Point(manifest) | Body::Checkpoint(manifest) => Some(manifest),
            _ => None,
        }
    }

    /// The segments that it introduces and vouches for.
    pub fn segments(&self) -> &[SegmentRef] {
        match &self.body {
            Body::Point(manifest) | Body::Checkpoint(manifest) => &manifest.segments,
            Body::Upkeep(Upkeep { action: Action::Relocate { segments }, .. }) => segments,
            _ => &[],
        }
    }

    /// The earlier of the author's and the store's clock: what pruning trusts.
    pub fn earlier_time(&self) -> u64 {
        self.local_time.min(self.store_time)
    }
}

impl Upkeep {
    /// The gap that covers a slot.
    pub fn gap_of(&self, slot: u64) -> Option<&Gap> {
        let after = self.gaps.partition_point(|gap| gap.last < slot);
        self.gaps.get(after).filter(|gap| gap.first <= slot)
    }

    /// Whether a segment is condemned.
    pub fn condemns(&self, segment: &SegmentId) -> bool {
        self.condemned.iter().any(|condemned| condemned.segment == *segment)
    }

    /// Puts one covered slot on the list of those whose objects are to be deleted.
    pub fn leave(&mut self, slot: u64, since: u64) {
        let place = self.leaving.partition_point(|run| run.last < slot);
        if self.leaving.get(place).is_some_and(|run| run.first <= slot) {
            return;
        }
        let before = place.checked_sub(1).and_then(|at| self.leaving.get_mut(at));
        match before {
            // Runs of another time stay apart, or a run that grows would never be old enough.
            Some(run) if run.last + 1 == slot && run.since == since => run.last = slot,
            _ => self.leaving.insert(place, Leaving { first: slot, last: slot, since }),
        }
    }

    /// Adds one slot to the gaps, joining runs that touch.
    pub fn cover(&mut self, slot: u64, digest: Digest) {
        if self.gap_of(slot).is_some() {
            return;
        }
        let place = self.gaps.partition_point(|gap| gap.last < slot);
        self.gaps.insert(place, Gap { first: slot, last: slot, last_digest: digest });
        if let Some(next) = self.gaps.get(place + 1).copied()
            && next.first == slot + 1
        {
            self.gaps[place].last = next.last;
            self.gaps[place].last_digest = next.last_digest;
            self.gaps.remove(place + 1);
        }
        if place > 0 && self.gaps[place - 1].last + 1 == self.gaps[place].first {
            let joined = self.gaps.remove(place);
            self.gaps[place - 1].last = joined.last;
            self.gaps[place - 1].last_digest = joined.last_digest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(told: Told) -> Record {
        Record {
            server: ServerId([1; 16]),
            slot: 7,
            previous: Digest([2; 32]),
            writer: WriterId([3; 16]),
            writer_epoch: 4,
            local_time: 5,
            store_time: 6,
            trail: Trail::default(),
            body: Body::Point(Manifest {
                id: PointId([8; 16]),
                consistency: Consistency::Application,
                started: 9,
                disks: vec![],
                segments: vec![],
                heads: vec![],
                ring_version: 10,
                work: Work::default(),
                told,
            }),
        }
    }

    #[test]
    fn a_record_from_before_told_is_read_and_one_without_it_has_the_same_bytes() {
        // As the program wrote it that did not know of `told`: pinned, a change here breaks every vault.
        let old = [
            &[1; 16][..],
            &[7],
            &[2; 32],
            &[3; 16],
            &[4, 5, 6, 0, 0, 0, 0, 1],
            &[8; 16],
            &[1, 9, 0, 0, 0, 10, 0, 0, 0, 0, 0],
        ]
        .concat();
        let plain = record(Told::default());
        assert_eq!(plain.encode().expect("a record"), old);
        assert_eq!(Record::decode(&old).expect("a record"), plain);
    }

    #[test]
    fn what_the_source_told_comes_back_and_an_older_program_reads_the_rest() {
        let mut told = Told::new(Some(1500), Some(77));
        told.remark("web1: the hook of the database failed");
        let record = record(told);
        let bytes = record.encode().expect("a record");
        assert_eq!(Record::decode(&bytes).expect("a record"), record);
        // As that program reads: it stops where its fields end.
        let old: Record = postcard::from_bytes(&bytes).expect("a record");
        assert_eq!(old.point().expect("a point").work, Work::default());
        (1..4).for_each(|less| assert!(Record::decode(&bytes[..bytes.len() - less]).is_err()));
        // And what a later version puts behind is passed over.
        assert_eq!(Record::decode(&[&bytes[..], &[1, 2]].concat()).expect("a record"), record);
    }

    #[test]
    fn gaps_that_touch_become_one_and_remember_the_last_digest() {
        let mut upkeep = Upkeep::default();
        for slot in [5_u8, 3, 9, 4, 8] {
            upkeep.cover(u64::from(slot), Digest([slot; 32]));
        }
        let runs: Vec<_> =
            upkeep.gaps.iter().map(|gap| (gap.first, gap.last, gap.last_digest.0[0])).collect();
        assert_eq!(runs, [(3, 5, 5), (8, 9, 9)]);
        assert!(upkeep.gap_of(7).is_none());
        assert!(upkeep.gap_of(4).is_some());
    }

    #[test]
    fn leaving_slots_of_one_time_are_runs_and_keep_their_time() {
        let mut upkeep = Upkeep::default();
        for (slot, since) in [(3, 1), (4, 1), (5, 2), (4, 9), (1, 2), (2, 2)] {
            upkeep.leave(slot, since);
        }
        let runs: Vec<_> =
            upkeep.leaving.iter().map(|run| (run.first, run.last, run.since)).collect();
        assert_eq!(runs, [(1, 2, 2), (3, 4, 1), (5, 5, 2)]);
    }
}
