//! A protected disk as the loop sees it: what of it is still to be sent, and why.

use hal::time::Moment;
use pipeline_wire::message::DiskHello;

use crate::blocks::BlockSet;
use crate::compare::{Compare, Reason};
use crate::content::Content;
use crate::devices::Leaf;
use crate::replicate::send::Set;

/// A protected disk.
pub struct Disk {
    /// What the kernel says of it.
    pub leaf: Leaf,
    /// What it is called.
    pub label: String,
    /// What it holds.
    pub content: Box<dyn Content>,
    /// Its blocks.
    pub blocks: u64,
    /// What is nobody's, and is said to be zeros whatever it holds: swap.
    pub blank: BlockSet,
    /// Where headers of hibernated systems are, in bytes: they are disarmed before they are sent.
    pub armed: Vec<u64>,
    /// Whether the tracker's marks go on without a gap from an earlier life of the agent.
    pub continued: bool,
    /// An earlier run of this process had it too: what goes on of it goes on.
    pub carried: bool,
    /// Taken from the tracker and not sent: part of the next cut.
    pub changed: BlockSet,
    /// Wanted by a compare and not sent.
    pub wanted: BlockSet,
    /// Could not be read when it was last tried.
    pub unread: BlockSet,
    /// Where sending goes on.
    pub cursor: u64,
    /// A run through all of it.
    pub compare: Option<Compare>,
    /// A run through what an earlier run may not have brought into the vault: what is wanted of it is part of the next cut.
    pub held: Option<Compare>,
    /// A write may have been missed while that run went on: another follows it.
    pub again: bool,
    /// Where trying again what cannot be read goes on.
    pub retried: u64,
    /// Everything was sent once, but for what is in the sets above.
    pub whole: bool,
    /// Of a disk that is not tracked: a compare of it ended since the last cut.
    pub passed: bool,
    /// The policy leaves it out.
    pub left_out: bool,
    /// Points in a row that failed for it.
    pub failures: u32,
    /// Why nothing more comes from it.
    pub gone: Option<String>,
    /// When it was last looked whether it answers again.
    pub asked_at: Moment,
}

impl Disk {
    /// A disk of which nothing was decided.
    #[must_use]
    pub fn new(leaf: Leaf, label: String, content: Box<dyn Content>) -> Self {
        let blocks = leaf.bytes.div_ceil(pipeline::limits::BLOCK_BYTES as u64);
        let set = || BlockSet::new(blocks);
        let (changed, wanted, unread, blank) = (set(), set(), set(), set());
        Self {
            leaf,
            label,
            content,
            blocks,
            blank,
            armed: Vec::new(),
            continued: false,
            carried: false,
            changed,
            wanted,
            unread,
            cursor: 0,
            compare: None,
            held: None,
            again: false,
            retried: 0,
            whole: false,
            passed: false,
            left_out: false,
            failures: 0,
            gone: None,
            asked_at: Moment(0),
        }
    }

    /// Whether anything is to be done with it.
    #[must_use]
    pub fn is_in(&self) -> bool {
        !self.left_out && self.gone.is_none()
    }

    /// As the agent introduces it.
    pub fn hello(&self) -> DiskHello {
        DiskHello {
            name: self.label.clone(),
            identity: self.leaf.identity.clone(),
            bytes: self.leaf.bytes,
            sector_bytes: self.leaf.sector_bytes,
        }
    }

    /// Begins a run through all of it. What was wanted before is found again.
    pub fn compare(&mut self, reason: Reason) {
        self.compare = Some(Compare::new(reason, self.blocks));
        if reason.is_doubtful() {
            // It runs through that too.
            self.held = None;
        }
        self.wanted.clear();
        self.again = false;
        self.passed = false;
        if reason.is_doubtful() {
            self.whole = false;
        }
    }

    /// Begins a run through what may not be in the vault, but for what is sent anyway.
    pub fn ask_about(&mut self, mut held: BlockSet) {
        held.subtract(&self.changed);
        self.held = (!held.is_empty()).then(|| Compare::of_some(Reason::Held, held));
    }

    /// The run that a set is filled by.
    pub fn run_into(&mut self, set: Set) -> Option<&mut Compare> {
        match set {
            Set::Changed => self.held.as_mut(),
            Set::Wanted => self.compare.as_mut(),
        }
    }

    /// What is to be sent, for this reason.
    pub fn set(&mut self, set: Set) -> &mut BlockSet {
        match set {
            Set::Changed => &mut self.changed,
            Set::Wanted => &mut self.wanted,
        }
    }

    /// Both runs.
    pub fn runs(&mut self) -> impl Iterator<Item = &mut Compare> {
        self.held.iter_mut().chain(&mut self.compare)
    }

    /// A write may have been missed: all of it is run through, behind a run that goes on already, which so comes to its end
    /// however often there is doubt.
    pub fn doubt_again(&mut self) {
        if self.compare.as_ref().is_some_and(|compare| compare.reason.is_doubtful()) {
            self.again = true;
        } else {
            self.compare(Reason::Doubt);
        }
    }

    /// Ends the run through all of it where everything was read, answered and sent; whether that is so now.
    pub fn end_compare(&mut self) -> bool {
        let done = self.compare.as_ref().is_some_and(Compare::is_done) && self.wanted.is_empty();
        if done && core::mem::take(&mut self.again) {
            self.compare(Reason::Doubt);
            return false;
        }
        if done {
            self.compare = None;
            self.whole = true;
            self.passed = true;
        }
        done
    }

    /// Why a point that is made now does not have the disk as it is at one instant; nothing where it has.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        let label = &self.label;
        if self.left_out {
            return Some(format!("{label} is left out, as the policy wants: it is in no point"));
        }
        if let Some(why) = &self.gone {
            return Some(format!("{label} is as it was before, since it does not answer: {why}"));
        }
        if let Some(compare) = self.compare.as_ref().filter(|compare| compare.reason.is_doubtful())
        {
            return Some(format!("{label} {}, which goes on", compare.reason.words()));
        }
        if let Some(why) = &self.leaf.untracked {
            return Some(format!(
                "{label} was read while it may have been written to, since its changes cannot be tracked: {why}"
            ));
        }
        None
    }
}
