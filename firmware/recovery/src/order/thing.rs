//! One thing in Azure: made, waited for, taken away. Each can be done twice, and whatever was begun is remembered.

use core::time::Duration;

use pipeline_azure::arm::id::Kind as What;
use pipeline_azure::arm::{Answer, Call, Progress, Refused, Why};
use pipeline_vault::{Error, Retry};
use serde_json::Value;

use super::calls::{self, Thing};
use super::run::{Stop, Work};
use super::{Doing, Pending};

/// How often what passes by itself is tried again.
const TRIES: u32 = 8;
/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Looks at a thing that is on its way, before it is given up: about half an hour.
const LOOKS_MAX: u32 = 360;
/// Wait between two looks at a thing itself.
const LOOK: Duration = Duration::from_secs(5);

/// Where a thing stands, by what Azure says of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// It is not there.
    Nothing,
    /// It is whole; what Azure says of it.
    Whole(Value),
    /// It is being made or changed.
    OnItsWay,
    /// Its making failed.
    Failed,
    /// It is somebody else's.
    Foreign,
}

impl Work<'_> {
    /// Sends a call; what passes by itself is waited out.
    pub(crate) fn call(&mut self, call: &Call) -> Result<Answer, Stop> {
        let mut tries = 0;
        loop {
            self.may_go_on()?;
            match self.region.call(call) {
                Err(refused) if passes(&refused) && tries < TRIES => {
                    tries += 1;
                    self.wait(pause(&refused, tries))?;
                }
                answer => return answer.map_err(Stop::Refused),
            }
        }
    }

    /// What Azure says of a thing.
    pub(crate) fn find(&mut self, thing: &Thing) -> Result<Found, Stop> {
        let value = match self.call(&calls::get(thing)) {
            Ok(Answer::Done(value)) => value,
            Ok(Answer::Begun(_)) => return Ok(Found::OnItsWay),
            Err(Stop::Refused(refused)) if refused.why == Why::Missing => {
                return Ok(Found::Nothing);
            }
            Err(stop) => return Err(stop),
        };
        if !calls::is_ours(&value, self.order()) {
            return Ok(Found::Foreign);
        }
        let state = value.pointer("/properties/provisioningState").and_then(Value::as_str);
        Ok(match state {
            Some("Failed" | "Canceled") => Found::Failed,
            Some("Succeeded") | None => Found::Whole(value),
            Some(_) => Found::OnItsWay,
        })
    }

    /// Makes a thing where it is not there, and waits until it is whole.
    pub(crate) fn make(&mut self, thing: &Thing, call: &Call) -> Result<Value, Stop> {
        let mut failures = 0;
        self.finish_pending(thing)?;
        for _ in 0..LOOKS_MAX {
            match self.find(thing)? {
                Found::Whole(value) => {
                    self.remember(thing)?;
                    return Ok(value);
                }
                Found::Foreign => return Err(taken(thing)),
                Found::OnItsWay => self.wait(LOOK)?,
                // What failed halfway can only be made anew.
                Found::Failed => self.remove(thing)?,
                Found::Nothing => {
                    self.remember(thing)?;
                    match self.send_once(thing, call) {
                        Ok(()) => {}
                        // Whether it was done is not known: the next look tells.
                        Err(Stop::Refused(refused)) if passes(&refused) && failures < TRIES => {
                            failures += 1;
                            self.wait(pause(&refused, failures))?;
                        }
                        Err(stop) => return Err(stop),
                    }
                }
            }
        }
        Err(Stop::Refused(slow(&thing.to_string())))
    }

    fn send_once(&mut self, thing: &Thing, call: &Call) -> Result<(), Stop> {
        self.may_go_on()?;
        let answer = self.region.call(call).map_err(Stop::Refused)?;
        self.settle(thing, Doing::Making, answer).map(drop)
    }

    /// Takes a thing away where it is there and ours, and waits until it is gone.
    pub(crate) fn remove(&mut self, thing: &Thing) -> Result<(), Stop> {
        self.finish_removal(thing)?;
        for look in 0..LOOKS_MAX {
            match self.find(thing)? {
                Found::Nothing => return Ok(()),
                Found::Foreign => {
                    self.tell(format!("{thing} is not this order's, and is left alone"))?;
                    return Ok(());
                }
                Found::OnItsWay if look > 0 => self.wait(LOOK)?,
                Found::Whole(_) | Found::Failed | Found::OnItsWay => {
                    self.release(thing)?;
                    let answer = match self.call(&calls::remove(thing)) {
                        Err(Stop::Refused(refused)) if refused.why == Why::Missing => return Ok(()),
                        // Something else that is being taken away still holds it.
                        Err(Stop::Refused(refused))
                            if refused.why == Why::Conflict && look < TRIES =>
                        {
                            // An interface is kept for a machine that failed for three minutes.
                            self.wait(refused.retry_after.unwrap_or(LOOK).min(WAIT_MAX))?;
                            continue;
                        }
                        answer => answer?,
                    };
                    match self.settle(thing, Doing::Removing, answer) {
                        // It ended badly, and the same may do another time.
                        Err(Stop::Refused(refused))
                            if passes(&refused) && self.is_over_with(thing) && look < TRIES =>
                        {
                            self.wait(pause(&refused, look + 1))?;
                        }
                        settled => drop(settled?),
                    }
                }
            }
        }
        Err(Stop::Refused(slow(&format!("taking away {thing}"))))
    }

    /// A disk that somebody may write to cannot be taken away: the signature is given back first.
    fn release(&mut self, thing: &Thing) -> Result<(), Stop> {
        let Some(call) = calls::revoke(thing) else { return Ok(()) };
        let Ok(Answer::Done(value)) = self.call(&calls::get(thing)) else { return Ok(()) };
        if calls::is_open(&value) {
            let answer = self.call(&call)?;
            self.settle(thing, Doing::Granting, answer)?;
        }
        Ok(())
    }

    /// Waits until what a call began is done; it is kept meanwhile, so that whoever goes on after a cut waits for the same.
    pub(crate) fn settle(
        &mut self,
        thing: &Thing,
        doing: Doing,
        answer: Answer,
    ) -> Result<Value, Stop> {
        match answer {
            Answer::Done(value) => Ok(value),
            Answer::Begun(operation) => {
                let pending = Pending { thing: thing.clone(), doing, operation };
                self.order_mut().pending = Some(pending.clone());
                self.save()?;
                self.follow(&pending)
            }
        }
    }

    /// Waits for an operation's end. The order forgets it, however it ended; one that does not end within the time that its
    /// kind is given stays remembered, and whoever goes on waits for it again.
    fn follow(&mut self, pending: &Pending) -> Result<Value, Stop> {
        let mut tries = 0;
        let (began, patience) = (self.world.hands.moment_millis(), patience(pending));
        loop {
            self.may_go_on()?;
            match self.region.look(&pending.operation) {
                Ok(Progress::Running(wait)) => {
                    tries = 0;
                    let lasts = self.world.hands.moment_millis().saturating_sub(began);
                    if u128::from(lasts) >= patience.as_millis() {
                        return Err(Stop::Failed(endless(pending, patience)));
                    }
                    self.wait(wait.min(WAIT_MAX))?;
                }
                Ok(Progress::Done(value)) => {
                    self.forget_pending()?;
                    return Ok(value);
                }
                // It is over, though the same may do another time: it must not be waited for again.
                Ok(Progress::Failed(refused)) => {
                    self.forget_pending()?;
                    return Err(Stop::Refused(refused));
                }
                Err(refused) if passes(&refused) && tries < TRIES => {
                    tries += 1;
                    self.wait(pause(&refused, tries))?;
                }
                // Nobody knows how it stands: it stays remembered, and whoever goes on looks again.
                Err(refused) if passes(&refused) => return Err(Stop::Refused(refused)),
                Err(refused) => {
                    self.forget_pending()?;
                    return Err(Stop::Refused(refused));
                }
            }
        }
    }

    fn forget_pending(&mut self) -> Result<(), Stop> {
        self.order_mut().pending = None;
        self.save()
    }

    /// Waits for what was begun before a cut with this thing. Azure forgets operations after a while: then the thing
    /// itself tells.
    pub(crate) fn finish_pending(&mut self, thing: &Thing) -> Result<(), Stop> {
        let Some(pending) = self.order().pending.clone() else { return Ok(()) };
        if pending.thing != *thing {
            return Ok(());
        }
        match self.follow(&pending) {
            Err(Stop::Refused(refused))
                if refused.why == Why::Missing
                    || pending.doing != Doing::Making
                    || (passes(&refused) && self.is_over_with(thing)) =>
            {
                Ok(())
            }
            ended => ended.map(drop),
        }
    }

    /// Whether Azure does nothing with a thing any more, as far as is remembered.
    fn is_over_with(&self, thing: &Thing) -> bool {
        self.order().pending.as_ref().is_none_or(|pending| pending.thing != *thing)
    }

    /// The same where the thing shall go anyway: how its making ended does not matter.
    fn finish_removal(&mut self, thing: &Thing) -> Result<(), Stop> {
        let Some(pending) = self.order().pending.clone() else { return Ok(()) };
        if pending.thing != *thing {
            return Ok(());
        }
        match self.follow(&pending) {
            Err(Stop::Refused(refused)) if !passes(&refused) || self.is_over_with(thing) => Ok(()),
            ended => ended.map(drop),
        }
    }

    /// Writes down what is about to be made before it is, so that it is found again.
    fn remember(&mut self, thing: &Thing) -> Result<(), Stop> {
        if self.order().made.contains(thing) || self.order().is_shared(thing) {
            return Ok(());
        }
        self.order_mut().made.push(thing.clone());
        self.save()
    }
}

/// Whether the same call may do later.
pub(crate) fn passes(refused: &Refused) -> bool {
    matches!(refused.why, Why::Later | Why::Way)
}

/// How long to leave Azure alone: what it asked for, or twice as long each time.
fn pause(refused: &Refused, tries: u32) -> Duration {
    let doubled = Duration::from_secs(1 << tries.min(6));
    refused.retry_after.unwrap_or(doubled).min(WAIT_MAX)
}

/// How long Azure may take for something before a person is told: about ten times what it usually takes.
fn patience(pending: &Pending) -> Duration {
    let minutes = match (pending.doing, &pending.thing) {
        (Doing::Granting, _) => 30,
        (Doing::Making | Doing::Removing, Thing::Group(_)) | (Doing::Removing, _) => 60,
        (Doing::Making, Thing::Resource(id)) => match id.kind() {
            What::Machine => 60,
            // It may be made of a page blob, which Azure copies at a rate that it does not tell.
            What::Disk | What::Snapshot => 6 * 60,
            _ => 30,
        },
    };
    Duration::from_secs(minutes * 60)
}

fn endless(pending: &Pending, patience: Duration) -> Error {
    let act = match pending.doing {
        Doing::Making => "making",
        Doing::Removing => "taking away",
        Doing::Granting => "giving or ending access to",
    };
    let what = format!(
        "Azure has been at it for {} minutes and does not say that it ends",
        patience.as_secs() / 60
    );
    Error::refused(format!("{act} {}", pending.thing), what).retry(Retry::Later).remedy(
        "look at it in the portal and at Azure's service health; what was begun is remembered",
    )
}

fn taken(thing: &Thing) -> Stop {
    Stop::Refused(Refused {
        why: Why::Conflict,
        code: String::new(),
        act: format!("making {thing}"),
        words: "something else has that name: take it away, or give the profile another name or \
                resource group"
            .to_owned(),
        retry_after: None,
    })
}

fn slow(act: &str) -> Refused {
    Refused {
        why: Why::Later,
        code: String::new(),
        act: act.to_owned(),
        words: "takes Azure more than half an hour: look at it in the portal, then go on"
            .to_owned(),
        retry_after: None,
    }
}
