//! Takes back what an order made: each thing by the name that was written down before it was made, then whatever else
//! carries the order's tag.

use pipeline_azure::arm::group;
use pipeline_azure::arm::id::Kind as What;
use pipeline_azure::arm::{Answer, Why};
use pipeline_vault::Error;

use super::calls::{ORDER_TAG, Thing};
use super::hands::SourceAct;
use super::run::{Stop, Work};
use super::thing::Found;
use super::{Kind, Standing, State, Step};

/// How often what carries the tag is looked for again.
const LOOKS_MAX: u32 = 4;

impl Work<'_> {
    /// Takes the order back. Goes on where it was, as often as it takes.
    pub fn cancel(&mut self) -> Result<(), Error> {
        if self.order().is_committed() {
            let what = "is committed: what it made is the server";
            return Err(Error::misuse(format!("{} {}", self.order().kind, self.order().id), what)
                .remedy("nothing was taken away; what nobody needs of it is to be deleted in the portal"));
        }
        if self.order().is_over() {
            return Ok(());
        }
        if self.order().state != State::Cancelling {
            self.order_mut().state = State::Cancelling;
            self.order_mut().trouble = None;
            self.tell("it is taken back").map_err(|stop| self.told(stop))?;
        }
        self.carry_on()
    }

    pub(crate) fn finish_cancel(&mut self) -> Result<(), Error> {
        let done = self.take_back().and_then(|()| self.give_back());
        match done {
            Ok(()) => self.close(State::Cancelled),
            Err(stop) => Err(self.stood(stop)),
        }
    }

    /// What was changed outside of Azure.
    fn give_back(&mut self) -> Result<(), Stop> {
        let began = |work: &Self, step: Step| {
            work.order().step(step).is_some_and(|record| record.standing != Standing::Waits)
        };
        // With another point the step waits again, while the fork of the one before stands.
        let forks = self.order().kind != Kind::Drill && self.order().round > 0;
        if began(self, Step::Fork) || forks {
            self.world.hands.unfork(self.order())?;
        }
        if self.order().kind == Kind::Planned && began(self, Step::Stop) {
            self.ask_source(SourceAct::Return)?;
        }
        Ok(())
    }

    /// Takes everything away that was made.
    pub(crate) fn take_back(&mut self) -> Result<(), Stop> {
        let mut made = self.order().made.clone();
        made.sort_by_key(Thing::rank);
        let whole_group = self.order().makes_group() && self.order().shared.is_none();
        for thing in &made {
            // The group takes along what is in it, but a machine on its way holds on to the rest.
            let kind = match thing {
                Thing::Resource(id) => Some(id.kind()),
                Thing::Group(_) => None,
            };
            let goes_along =
                whole_group && kind.is_some_and(|kind| !matches!(kind, What::Machine | What::Disk));
            if !goes_along {
                self.remove(thing)?;
            }
        }
        self.take_copies_away()?;
        for _ in 0..LOOKS_MAX {
            let mut left = false;
            for thing in self.tagged()? {
                // A list may still have what is gone: only the thing itself tells.
                if !matches!(self.find(&thing)?, Found::Nothing | Found::Foreign) {
                    left = true;
                    self.remove(&thing)?;
                }
            }
            if !left {
                self.order_mut().made.clear();
                self.order_mut().pending = None;
                return self.save();
            }
        }
        Err(Stop::Failed(
            Error::refused(
                "what carries the order's tag",
                "is still there after it was taken away",
            )
            .remedy("look for locks and for who makes it again"),
        ))
    }

    /// What still carries the order's tag in its group.
    fn tagged(&mut self) -> Result<Vec<Thing>, Stop> {
        let (group, order) = (self.order().group()?, self.order().id.to_string());
        match self.call(&group::resources(&group, ORDER_TAG, &order)) {
            Ok(Answer::Done(value)) => Ok(group::found(&value)
                .into_iter()
                .filter_map(|found| found.resource.map(Thing::Resource))
                .collect()),
            Ok(Answer::Begun(_)) => Ok(Vec::new()),
            Err(Stop::Refused(refused)) if refused.why == Why::Missing => Ok(Vec::new()),
            Err(stop) => Err(stop),
        }
    }

    /// Ends a drill whose things were kept: they are taken away.
    pub fn end_drill(&mut self) -> Result<(), Error> {
        self.order_mut().keeps = false;
        self.carry_on()
    }

    /// Another point for a failover that is not committed. What was made of the last one goes; network and address stay.
    pub fn change_point(&mut self, point: &str) -> Result<(), Error> {
        let order = self.order();
        if order.kind == Kind::Drill || order.is_over() || order.state == State::Cancelling {
            let what = "cannot be changed to another point";
            return Err(Error::misuse(format!("{} {}", order.kind, order.id), what)
                .remedy("only a failover that is neither committed nor cancelled can"));
        }
        if let Err(stop) = self.can_be_changed_to(point) {
            let error = self.told(stop);
            self.let_go()?;
            return Err(error);
        }
        self.order_mut().state = State::Changing;
        point.clone_into(&mut self.order_mut().wanted_point);
        self.tell(format!("it is changed to point {point}")).map_err(|stop| self.told(stop))?;
        self.carry_on()
    }

    /// The machine that runs is the server: nothing of it goes before it is known that the other point is whole and starts.
    fn can_be_changed_to(&mut self, point: &str) -> Result<(), Stop> {
        let (hands, mut asked) = (self.world.hands, self.order().clone());
        point.clone_into(&mut asked.wanted_point);
        let despite = asked.despite_obstacles;
        let survey = self.signing(move || hands.survey(&asked))??;
        if despite || survey.obstacles.is_empty() {
            return Ok(());
        }
        Err(Stop::Failed(
            Error::refused(format!("point {point}"), survey.obstacles.join("; "))
                .remedy("take another point; what runs was left as it is"),
        ))
    }

    pub(crate) fn clear_for_change(&mut self) -> Result<(), Stop> {
        let mut made = self.order().made.clone();
        made.sort_by_key(Thing::rank);
        for thing in made {
            let Thing::Resource(id) = &thing else { continue };
            if matches!(id.kind(), What::Machine | What::Disk) {
                self.remove(&thing)?;
                self.order_mut().made.retain(|known| *known != thing);
                self.save()?;
            }
        }
        self.take_copies_away()?;
        let order = self.order_mut();
        order.round += 1;
        order.point = None;
        order.disks.clear();
        order.changes.clear();
        order.size = 0;
        order.pending = None;
        order.evidence = super::Evidence::default();
        for record in order.steps.iter_mut().filter(|record| record.step >= Step::Check) {
            record.standing = Standing::Waits;
            record.took_millis = 0;
            record.began_millis = None;
        }
        order.state = State::Open;
        self.save()
    }

    /// Keeps a failover: it is the server from now on.
    pub fn commit(&mut self) -> Result<(), Error> {
        let ended = self.keep();
        let kept = self.let_go();
        ended.and(kept)
    }

    fn keep(&mut self) -> Result<(), Error> {
        let order = self.order();
        match order.state {
            State::Committed => Ok(()),
            State::Up => {
                for place in 0..self.order().disks.len() {
                    self.forget_copy(place).map_err(|stop| self.told(stop))?;
                }
                self.tell("it is committed").map_err(|stop| self.told(stop))?;
                self.close(State::Committed)
            }
            _ => {
                let what = match order.next_step() {
                    Some(step) => {
                        format!("stands before step {}: its server is not up", step.name())
                    }
                    None => "is no failover whose server is up".to_owned(),
                };
                Err(Error::misuse(format!("{} {}", order.kind, order.id), what).remedy(format!(
                    "lifeboat {} --resume {}",
                    order.kind.verb(),
                    order.id
                )))
            }
        }
    }
}
