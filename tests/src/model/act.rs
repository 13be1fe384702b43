//! One step of one actor, in words for the histories that the check prints.

use super::record::{Arena, RecordId, segment_name};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A writer lists the chain.
    Opens,
    /// A writer lists the chain, on a copy of the first writer's machine from before that began.
    OpensAlike,
    /// The agent of a copy that was failed over lists its original's chain.
    OpensAsCopy,
    /// A writer turns out to be a copy of another one, memory and all.
    Forks,
    /// A writer takes up what lies about.
    Salvages,
    /// A segment becomes durable.
    Sends(u8),
    /// A segment becomes durable, and its sender does not learn it.
    SendsUnknowingly(u8),
    /// A slot is created.
    Creates(RecordId),
    /// A slot is created, and its creator does not learn it.
    CreatesUnknowingly(RecordId),
    /// A slot that was to be created holds this record.
    Finds(RecordId),
    /// A publisher looks again and believes that its record counts.
    Believes,
    /// A publisher looks again and stops.
    Doubts,
    /// A collector has read everything and computed a record.
    Plans(RecordId),
    /// A collector reads the newest record to see what may be deleted.
    ReadsChain,
    /// A collector reads the pins.
    ReadsPins,
    /// A segment is deleted.
    Deletes(u8),
    /// A slot is deleted.
    DeletesSlot(u8),
    /// Something is deleted, and the collector does not learn it.
    DeletesUnknowingly,
    /// A reader lists the chain and takes the point of this slot.
    Chooses(u8),
    /// A reader writes its pin.
    Pins,
    /// A reader looks again and finds its point.
    FindsPoint,
    /// A reader looks again and does not find its point.
    MissesPoint,
    /// A reader is done and takes its pin away.
    Restores,
    /// A grace passes.
    Passes,
}

impl Act {
    /// The step as a clause.
    #[must_use]
    pub fn words(self, arena: &Arena) -> String {
        match self {
            Self::Opens => "lists the chain".to_owned(),
            Self::OpensAlike => {
                "lists the chain, on a copy of writer 1's machine from before it began".to_owned()
            }
            Self::OpensAsCopy => "lists the chain, for the copy that was failed over".to_owned(),
            Self::Forks => "turns out to be a copy of an earlier writer, memory and all".to_owned(),
            Self::Salvages => "takes up segments that lie about".to_owned(),
            Self::Sends(segment) => format!("sends segment {}", segment_name(segment)),
            Self::SendsUnknowingly(segment) => {
                format!("sends segment {}; the reply is lost", segment_name(segment))
            }
            Self::Creates(id) => format!("creates {}", arena.get(id)),
            Self::CreatesUnknowingly(id) => format!("creates {}; the reply is lost", arena.get(id)),
            Self::Finds(id) => format!("finds {} in its slot", arena.get(id)),
            Self::Believes => "looks again and believes that its record counts".to_owned(),
            Self::Doubts => "looks again and stops".to_owned(),
            Self::Plans(id) => format!("reads chain, segments and pins, plans {}", arena.get(id)),
            Self::ReadsChain => "reads the chain to delete what it allows".to_owned(),
            Self::ReadsPins => "reads the pins".to_owned(),
            Self::Deletes(segment) => format!("deletes segment {}", segment_name(segment)),
            Self::DeletesSlot(slot) => format!("deletes slot {slot}"),
            Self::DeletesUnknowingly => "deletes the next one; the reply is lost".to_owned(),
            Self::Chooses(slot) => format!("lists the chain and chooses slot {slot}"),
            Self::Pins => "writes its pin".to_owned(),
            Self::FindsPoint => "looks again: the point is there".to_owned(),
            Self::MissesPoint => "looks again: the point is gone".to_owned(),
            Self::Restores => "is done and takes its pin away".to_owned(),
            Self::Passes => "passes: a grace".to_owned(),
        }
    }
}
