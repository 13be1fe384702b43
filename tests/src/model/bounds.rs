//! Which rules hold, and how large the world is that is tried.

/// A rule of the protocol that can be switched off to see what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Rule {
    /// A slot is created only where it is absent.
    CreateIfAbsent,
    /// Segments are durable before a record names them.
    SegmentsFirst,
    /// A writer that finds another writer's record in its slot stops.
    Fence,
    /// A writer that finds upkeep in its slot looks for its own segments among the condemned.
    Respect,
    /// Upkeep that finds its slot taken computes again what it condemns.
    Recompute,
    /// Segments that no finished run named are condemned only when they are old.
    OrphanAge,
    /// Condemned segments are deleted only after the grace.
    SegmentGrace,
    /// Covered slots are deleted only after the grace.
    SlotGrace,
    /// The chain is read again before condemned segments are deleted, and what it reaches stays.
    ReadChainAgain,
    /// Pins are read before anything is deleted.
    ReadPins,
    /// Pins are read after the chain that says what may be deleted.
    PinsAfterChain,
    /// What pinned points reach is not condemned.
    PinnedIsLive,
    /// A record prunes or condemns, never both: pins are read between the two.
    PruneApart,
    /// A reader pins first and looks whether the point is still there afterwards.
    PinFirst,
    /// A slot is covered by a gap in a published record before it is deleted.
    CoverFirst,
    /// The slot at the head of a chain is never covered.
    KeepHead,
    /// The newest point is never pruned.
    KeepNewestPoint,
    /// The newest epoch-open is never covered.
    KeepNewestEpoch,
    /// All checkpoints after the newest point keep their segments, not only the newest one.
    KeepCheckpoints,
    /// A publisher looks whether the slot that it created is inside a part that was pruned.
    Confirm,
    /// ... by the gaps of the newest record, not by whether the next slot links to its own.
    ConfirmByGaps,
    /// A writer that salvages leaves condemned segments alone.
    SalvageSpares,
    /// A writer salvages only segments of the run that it follows.
    SalvageFollows,
    /// A writer salvages only while nothing of the run that it follows can be old enough to be condemned.
    SalvageSoon,
    /// Names of segments are bound to the epoch that they were begun in, so that a copy of a machine from before
    /// the epoch cannot make the same names in another one.
    NamesBound,
    /// A relocation that finds upkeep in its slot, or a record that reaches more than was carried, is given up.
    RelocationYields,
    /// Segments of a run that goes on or was interrupted are not relocated.
    RelocateFinished,
    /// Nobody opens an epoch behind a fork that stands.
    ForkHolds,
    /// The point of a fork that stands is not pruned.
    ForkPointStays,
    /// Whoever publishes a fork looks in the record that it stands behind whether its point was pruned.
    ForkLooksAgain,
    /// A copy that was failed over does not write as the server that it is a copy of.
    CopyIsSilent,
}

/// The rules that hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules(u32);

impl Rules {
    /// All of them.
    #[must_use]
    pub const fn all() -> Self {
        Self(u32::MAX)
    }

    /// All of these but one.
    #[must_use]
    pub const fn without(self, rule: Rule) -> Self {
        Self(self.0 & !(1 << rule as u32))
    }

    /// Whether a rule holds.
    #[must_use]
    pub const fn has(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u32) != 0
    }
}

/// Most slots that a chain can have here, those that the final tidying adds included.
pub const SLOTS_MAX: usize = 16;
/// Runs of writers.
pub const WRITERS: usize = 3;
/// Pruners and collectors.
pub const COLLECTORS: usize = 2;

/// How large the world is that is tried.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Runs of writers, at most 3.
    pub writers: u8,
    /// The last of the writers may be a copy of one before it, made at any instant.
    pub forks: bool,
    /// Programs that prune, condemn, collect, at most 2.
    pub collectors: usize,
    /// How many records each of them may publish; one that publishes nothing only deletes.
    pub publishes: [u8; COLLECTORS],
    /// Points that may be pruned.
    pub prunes: u8,
    /// Whether somebody restores a point.
    pub reader: bool,
    /// Whether somebody fails the server over, and perhaps takes that back.
    pub failover: bool,
    /// Slots of the chain.
    pub slots: u8,
    /// Segments that each writer sends, 1 or 2.
    pub segments: u8,
    /// Frames of a segment, 1 or 2.
    pub frames: u8,
    /// Whether a writer publishes a checkpoint between its two segments.
    pub checkpoints: bool,
    /// Whether a point may reach frames of its base too, or its own segments only.
    pub reuse: bool,
    /// Whether a writer takes up what an interrupted run had sent.
    pub salvage: bool,
    /// Whether collectors relocate frames.
    pub relocate: bool,
    /// Replies that may be lost in one history.
    pub lost_replies: u8,
    /// Of so many states, one is tidied up to the end to see whether anything stays for ever; 0 for none.
    pub tidy_one_of: u64,
    /// Most states that are looked at before the check gives up.
    pub states_max: usize,
}

impl Bounds {
    /// Two writers, a pruner and a second one that only deletes; nothing special.
    #[must_use]
    pub const fn small() -> Self {
        Self {
            writers: 2,
            forks: false,
            collectors: 2,
            publishes: [2, 0],
            prunes: 1,
            reader: false,
            failover: false,
            slots: 6,
            segments: 1,
            frames: 1,
            checkpoints: false,
            reuse: false,
            salvage: false,
            relocate: false,
            lost_replies: 0,
            tidy_one_of: 1,
            states_max: 20_000_000,
        }
    }
}
