//! A drill on the machine that orders it: a virtual machine starts at once from the point's disks as they are exported, with
//! what it writes beside them, while the same point may be brought into files or devices behind it.
//!
//! Nothing of it outlives the program that carries it out. Whoever finds such an order whose program is gone has nothing to go
//! on with, and nothing to take away: it is over.

use core::time::Duration;

use pipeline_vault::{Error, Retry};
use serde::{Deserialize, Serialize};

use super::estimate::Piece;
use super::run::{Stop, Work};
use super::signal::SCREENSHOT_BYTES_MAX;
use super::{Order, State, Step, StepRecord};
use crate::profile::Signal;

/// Wait between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// What is particular to a drill that is not in Azure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Here {
    /// The machine that it is on.
    pub host: String,
    /// What the virtual machine is like, in words.
    pub machine: String,
    /// Where each disk is brought to meanwhile, in words; empty where none is.
    pub copies: Vec<String>,
}

/// What is known of a virtual machine of this computer at the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What is on its serial console, from its end back as far as that is kept.
    pub console: Vec<u8>,
    /// Why it runs no more, where that is so.
    pub ended: Option<String>,
    /// What it asked of its disks and could not have, the first of it.
    pub trouble: Option<String>,
}

/// This computer as the place of a drill.
pub trait Ground: Send + Sync {
    /// What would be made.
    ///
    /// Errors: what is missing here, or in the way.
    fn makes(&self, order: &Order) -> Result<Vec<Piece>, Error>;

    /// Starts the machine from the order's disks, and bringing them elsewhere where that is wished.
    fn start(&self, order: &Order) -> Result<(), Error>;

    /// How the machine is.
    fn look(&self) -> Seen;

    /// Its screen, where there is one.
    fn picture(&self) -> Option<Vec<u8>>;

    /// Switches the machine off; what it wrote is gone. What is brought elsewhere goes on.
    fn switch_off(&self);

    /// How far bringing disks elsewhere is: bytes that were written of each, once all are whole.
    ///
    /// Errors: one could not be.
    fn copied(&self) -> Result<Option<Vec<u64>>, Error>;

    /// Ends all that is left, at once.
    fn end(&self);
}

impl Step {
    /// The steps of a drill here. The machine starts from what is not yet anywhere, so hydration comes last.
    #[must_use]
    pub fn of_here(copies: bool) -> Vec<Self> {
        let runs = [Self::Check, Self::Machine, Self::Signal, Self::Evidence];
        let hydrates: &[Self] = if copies { &[Self::Hydrate] } else { &[] };
        [&runs, hydrates, &[Self::Cleanup]].concat()
    }
}

impl Order {
    /// The same drill on the machine that orders it.
    #[must_use]
    pub fn on(mut self, here: Here) -> Self {
        let steps = Step::of_here(!here.copies.is_empty());
        self.steps = steps.into_iter().map(StepRecord::waiting).collect();
        // The point is read while the machine starts; reading all of it first would be what this does without.
        self.reads_first = false;
        self.profile.signals.retain(|signal| !signal.is_by_network());
        self.here = Some(here);
        self
    }
}

impl<'a> Work<'a> {
    /// One step of a drill here.
    pub(crate) fn act_here(&mut self, step: Step) -> Result<(), Stop> {
        match step {
            Step::Check => self.check_here(),
            Step::Machine => self.start_here(),
            Step::Signal => self.wait_here(),
            Step::Evidence => self.gather_here(),
            Step::Hydrate => self.wait_for_copies(),
            Step::Cleanup => self.clear_here(),
            // It has no others.
            _ => Ok(()),
        }
    }

    fn ground(&self) -> Result<&'a dyn Ground, Stop> {
        self.world.hands.ground().ok_or_else(|| {
            let what = "was carried out by a program that has ended, and cannot be gone on with";
            Stop::Failed(Error::misuse("a drill here", what).retry(Retry::Never))
        })
    }

    /// Looks at the point and at this machine; nothing is made.
    pub(crate) fn check_here(&mut self) -> Result<(), Stop> {
        let (hands, order) = (self.world.hands, self.order().clone());
        let survey = self.signing(move || hands.survey(&order))??;
        let mut problems = self.take_up(&survey);
        if self.order().profile.signals.is_empty() {
            problems.push(
                "nothing on its console would say that it is up: give --console TEXT, or a target profile with a console signal"
                    .to_owned(),
            );
        }
        if let Some(problem) = self.ground()?.makes(self.order()).err() {
            problems.push(problem.to_string());
        }
        if problems.is_empty() {
            return self.save();
        }
        Err(Stop::Failed(
            Error::refused(format!("server {}", self.order().server_name), problems.join("; "))
                .remedy("nothing was made"),
        ))
    }

    fn start_here(&mut self) -> Result<(), Stop> {
        let (hands, order) = (self.world.hands, self.order().clone());
        let prepared = self.signing(move || hands.prepare(&order))??;
        self.order_mut().changes = prepared.changes;
        self.save()?;
        self.ground()?.start(self.order())?;
        let machine = self.order().here.as_ref().map(|here| here.machine.clone());
        self.order_mut().evidence.size = machine;
        self.tell("the machine starts from the point as it is exported")
    }

    /// Waits until all signals came; goes on without them, and says so at its end.
    fn wait_here(&mut self) -> Result<(), Stop> {
        let began = self.world.hands.moment_millis();
        let limit = u64::from(self.order().profile.signal_within_s).saturating_mul(1000);
        loop {
            let seen = self.ground()?.look();
            let console = String::from_utf8_lossy(&seen.console).into_owned();
            let came = |signal: &&Signal| match signal {
                Signal::Console(text) => console.contains(text.as_str()),
                Signal::Tcp(_) | Signal::Http { .. } => false,
            };
            let signals = self.order().profile.signals.clone();
            let (came, missing): (Vec<&Signal>, Vec<&Signal>) = signals.iter().partition(came);
            self.order_mut().evidence.signals =
                came.into_iter().map(super::signal::words).collect();
            if missing.is_empty() {
                self.order_mut().evidence.up = Some(true);
                return self.tell("its signals came: it is up");
            }
            let mut missing: Vec<String> = missing.into_iter().map(super::signal::words).collect();
            let late = self.world.hands.moment_millis().saturating_sub(began) >= limit;
            if let Some(why) = &seen.ended {
                missing.push(format!("it runs no more ({why})"));
            }
            missing.extend(seen.trouble.map(|trouble| format!("its disks: {trouble}")));
            if late || seen.ended.is_some() {
                return self.gave_no_signal(&missing);
            }
            self.wait(LOOK)?;
        }
    }

    /// Console log and screenshot; then the machine is not needed any more.
    pub(crate) fn gather_here(&mut self) -> Result<(), Stop> {
        if self.order().evidence.up == Some(false) {
            // It was gathered when the signals were given up.
            return Ok(());
        }
        let (seen, picture) = (self.ground()?.look(), self.ground()?.picture());
        let console = super::signal::end_of(&String::from_utf8_lossy(&seen.console));
        let evidence = &mut self.order_mut().evidence;
        evidence.console = console;
        let small = |bytes: &Vec<u8>| bytes.len() as u64 <= SCREENSHOT_BYTES_MAX;
        evidence.screenshot =
            picture.filter(small).and_then(|bytes| super::signal::as_text(&bytes));
        self.save()?;
        self.ground()?.switch_off();
        self.tell("the machine is switched off, and what it wrote is gone")
    }

    fn wait_for_copies(&mut self) -> Result<(), Stop> {
        loop {
            if let Some(bytes) = self.ground()?.copied()? {
                for (disk, bytes) in self.order_mut().disks.iter_mut().zip(bytes) {
                    (disk.filled, disk.filled_bytes) = (true, bytes);
                }
                let copies = self.order().here.as_ref().map(|here| here.copies.join(", "));
                return self.tell(format!("the point is whole in {}", copies.unwrap_or_default()));
            }
            self.wait(LOOK)?;
        }
    }

    fn clear_here(&mut self) -> Result<(), Stop> {
        self.ground()?.end();
        self.save()
    }

    /// Carries a drill here out to its end: what fails ends it, as nobody could go on with it.
    pub(crate) fn carry_on_here(&mut self) -> Result<(), Error> {
        if self.order().state == State::Cancelling || self.world.hands.ground().is_none() {
            return self.close_here("it was cut off with its program, and nothing of it is left");
        }
        while let Some(step) = self.order().next_step() {
            if let Err(error) = self.one_step(step) {
                if let Ok(ground) = self.ground() {
                    ground.end();
                }
                // Somebody else has it: it is his to close.
                let closed = self.close_here("it failed, and nothing of it is left");
                closed.unwrap_or_else(|unclosed| log::warn!("{unclosed}"));
                return Err(error);
            }
        }
        self.close(State::Drilled)
    }

    /// Nothing of it is anywhere: it is over.
    pub(crate) fn close_here(&mut self, why: &str) -> Result<(), Error> {
        let trouble = self.order().trouble.clone();
        self.tell(why).map_err(|stop| self.told(stop))?;
        self.close(State::Cancelled)?;
        self.order_mut().trouble = trouble;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::orders;
    use crate::order::{Kind, State};
    use crate::target;
    use crate::test_world::{SERVER, Site, wanted};
    use pipeline::ids::OrderId;
    use pipeline_vault::document::Name;

    fn drill(site: &Site) -> Order {
        let wanted = wanted(Kind::Drill);
        let profile = orders::profile_for(&site.process(0).documents, &wanted).unwrap();
        let order = wanted.order(OrderId([7; 16]), "vault".to_owned(), profile);
        order.on(Here { copies: vec!["/srv".to_owned()], ..Here::default() })
    }

    #[test]
    fn a_machine_that_starts_before_its_point_is_here_is_measured_without_that() {
        let mut order = drill(&Site::new());
        let steps: Vec<Step> = order.steps.iter().map(|record| record.step).collect();
        assert_eq!(steps, Step::of_here(true));
        for (millis, step) in
            [(1, Step::Check), (10, Step::Machine), (100, Step::Signal), (1000, Step::Hydrate)]
        {
            order.step_mut(step).unwrap().took_millis = millis;
        }
        assert_eq!((order.rto_millis(), order.fill_millis()), (111, 1000));
    }

    #[test]
    fn one_whose_program_is_gone_is_over_and_asks_nothing_of_azure() {
        let site = Site::new();
        let process = site.process(1);
        let order = drill(&site);
        orders::give(&process.documents, &order).unwrap();
        let mut work = Work::take(process.world(), Name::Order(order.id), false).unwrap();
        work.cancel().unwrap();
        assert_eq!(work.order().state, State::Cancelled);
        assert!(
            work.order().notes.iter().any(|note| note.text.contains("cut off with its program"))
        );
        let kept = target::load(&process.documents, SERVER).unwrap();
        assert!(kept.drill.is_none() && kept.drills.is_empty() && site.region.log().is_empty());
    }
}
