//! What is wrong so far, by object, however many threads find it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pipeline::ids::{FrameAddress, SegmentId, ServerId};

use crate::error::{Blame, Error};
use crate::names;

/// Objects that could not be read for want of a working store before the whole run is given up.
const FAILURES_MAX: u32 = 16;

/// All findings about one server.
pub(crate) struct Findings {
    server: ServerId,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    segments: BTreeMap<SegmentId, Finding>,
    others: BTreeMap<String, Finding>,
    notices: Vec<(String, String)>,
    failures: u32,
}

/// What is wrong with one object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Finding {
    /// The first thing found.
    pub(crate) what: String,
    /// What to do.
    pub(crate) remedy: String,
    /// Things found after it.
    pub(crate) more: u64,
    /// Nothing in it can be relied upon.
    pub(crate) whole: bool,
    /// It is not there, and that is all that is wrong.
    pub(crate) missing: bool,
    /// The frames concerned, where it is not all of them.
    pub(crate) frames: BTreeSet<FrameAddress>,
}

/// How much of a segment a finding concerns.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// One frame.
    Frame(FrameAddress),
}

impl Findings {
    pub(crate) fn new(server: ServerId) -> Self {
        Self { server, state: Mutex::default() }
    }

    /// Something is wrong with a segment. Gives the error back where the store itself fails again and again.
    pub(crate) fn segment(
        &self,
        segment: SegmentId,
        part: Part,
        error: &Error,
    ) -> Result<(), Error> {
        self.survive(error)?;
        let mut state = self.lock();
        let finding = state.segments.entry(segment).or_default();
        finding.add(error);
        match part {
            Part::Whole => {
                finding.whole = true;
                finding.missing = error.is_missing() && finding.more == 0;
            }
            Part::Frame(address) => {
                finding.frames.insert(address);
                finding.missing = false;
            }
        }
        Ok(())
    }

    /// Something is wrong with another object.
    pub(crate) fn object(&self, error: &Error) -> Result<(), Error> {
        self.survive(error)?;
        self.lock().others.entry(error.object.clone()).or_default().add(error);
        Ok(())
    }

    /// Something worth knowing that costs nothing.
    pub(crate) fn notice(&self, object: impl Into<String>, what: impl Into<String>) {
        self.lock().notices.push((object.into(), what.into()));
    }

    /// Whether a segment is known to be missing or wrong altogether.
    pub(crate) fn is_bad(&self, segment: &SegmentId) -> bool {
        self.lock().segments.get(segment).is_some_and(|finding| finding.whole)
    }

    /// Everything found about segments so far.
    pub(crate) fn segments(&self) -> BTreeMap<SegmentId, Finding> {
        self.lock().segments.clone()
    }

    /// The first finding as an error about its object.
    pub(crate) fn first(&self) -> Option<Error> {
        let state = self.lock();
        let other = state.others.iter().next();
        let segment = state.segments.iter().next();
        let (object, finding) = match (segment, other) {
            (Some((id, finding)), _) => (names::segment(&self.server, id), finding),
            (None, Some((name, finding))) => (name.clone(), finding),
            (None, None) => return None,
        };
        Some(Error::corrupt(object, finding.what.clone()).remedy(finding.remedy.clone()))
    }

    /// Everything: segments, other objects, notices.
    #[expect(clippy::type_complexity, reason = "taken apart where it is called, once")]
    pub(crate) fn into_parts(
        self,
    ) -> (BTreeMap<SegmentId, Finding>, BTreeMap<String, Finding>, Vec<(String, String)>) {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        (state.segments, state.others, state.notices)
    }

    /// One object that cannot be read is a finding; a store that is down is not.
    fn survive(&self, error: &Error) -> Result<(), Error> {
        if !matches!(error.blame, Blame::Device | Blame::Refused | Blame::Exhausted) {
            return Ok(());
        }
        let mut state = self.lock();
        state.failures += 1;
        if state.failures > FAILURES_MAX { Err(error.clone()) } else { Ok(()) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one insert: a panic elsewhere leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Finding {
    fn add(&mut self, error: &Error) {
        if self.what.is_empty() {
            self.what.clone_from(&error.what);
            self.remedy.clone_from(&error.remedy);
        } else if self.what != error.what {
            self.more += 1;
        }
    }
}
