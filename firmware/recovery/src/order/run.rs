//! Carries an order out: step after step, kept before and after each, so that whoever comes after a cut goes on.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::mpsc;
use std::thread;

use pipeline_azure::arm::{Refused, Why};
use pipeline_vault::document::{Name, Replaced};
use pipeline_vault::{Error, Retry};

use super::hands::{Hands, SourceAct};
use super::holder::{self, HOLD_MILLIS};
use super::{Kind, Order, Standing, State, Step};
use crate::documents::{self, Documents};
use crate::region::Region;
use crate::target;

/// How often it is looked whether a sign of life is due while something long is done.
const LOOK: Duration = Duration::from_secs(10);
/// A sign of life is given after so long.
const SIGN_MILLIS: u64 = HOLD_MILLIS / 4;

/// Azure, the vault's documents, and what the program does.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// Azure.
    pub region: &'a dyn Region,
    /// The vault's documents.
    pub documents: &'a dyn Documents,
    /// What the program does.
    pub hands: &'a dyn Hands,
    /// Set from outside to stop at the next safe place.
    pub stop: &'a AtomicBool,
    /// Is told whenever the order moved on.
    pub watch: &'a (dyn Fn(&Order) + Sync),
}

/// Why an order did not go on.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// Azure said no, or could not be asked.
    Refused(Refused),
    /// Something else failed.
    Failed(Error),
    /// Somebody else carries this order out, or asked this one to stop: nothing may be written any more.
    Left(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// An order at work.
pub struct Work<'a> {
    pub(crate) region: &'a dyn Region,
    pub(crate) world: World<'a>,
    order: Order,
    version: u64,
    keeps_nothing: bool,
    signed_millis: u64,
    step_began: Option<(Step, u64)>,
}

impl<'a> Work<'a> {
    /// Takes an order up.
    ///
    /// Errors: there is none of that name; somebody else carries it out.
    pub fn take(world: World<'a>, name: Name, take_over: bool) -> Result<Self, Error> {
        let (version, found) = documents::load::<Order>(world.documents, name)?;
        let order = found.ok_or_else(|| {
            Error::misuse(name.to_string(), "is not in the vault")
                .remedy("lifeboat cleanup lists the orders that are open")
        })?;
        let me = world.hands.holder();
        if let Some(held) = &order.holder
            && !take_over
            && !order.is_over()
        {
            let now = world.hands.vault_millis()?;
            let runs = |process: &str| world.hands.runs_here(process);
            if !holder::may_take_over(held, &me, now, &runs) {
                return Err(is_held(&order, &held.who));
            }
        }
        let mut work = Self {
            region: world.region,
            world,
            order,
            version,
            keeps_nothing: false,
            signed_millis: 0,
            step_began: None,
        };
        if !work.order.is_over() {
            // Before anything else: of two orders for one server, one has it.
            target::claim(world.documents, &work.order)?;
            work.save().map_err(|stop| work.told(stop))?;
        }
        Ok(work)
    }

    /// An order that is only looked through: nothing is kept, and nothing may be made.
    #[must_use]
    pub(crate) fn rehearsal(world: World<'a>, order: Order) -> Self {
        Self {
            region: world.region,
            world,
            order,
            version: 0,
            keeps_nothing: true,
            signed_millis: 0,
            step_began: Some((Step::Check, world.hands.moment_millis())),
        }
    }

    /// The order as it stands.
    #[must_use]
    pub fn order(&self) -> &Order {
        &self.order
    }

    pub(crate) fn order_mut(&mut self) -> &mut Order {
        &mut self.order
    }

    /// Goes on until the order is up, over, or stands; says then why.
    pub fn carry_on(&mut self) -> Result<(), Error> {
        let ended = self.all_steps();
        let kept = self.let_go();
        ended.and(kept)
    }

    fn all_steps(&mut self) -> Result<(), Error> {
        if self.order.here.is_some() && !self.order.is_over() {
            return self.carry_on_here();
        }
        if self.order.state == State::Cancelling {
            return self.finish_cancel();
        }
        if self.order.state == State::Changing {
            self.clear_for_change().map_err(|stop| self.stood(stop))?;
        }
        while !self.order.is_over() && self.order.state != State::Up {
            let Some(step) = self.order.next_step() else {
                return self.reach_end();
            };
            if step == Step::Cleanup && self.order.keeps {
                return Ok(());
            }
            self.one_step(step)?;
        }
        Ok(())
    }

    pub(crate) fn one_step(&mut self, step: Step) -> Result<(), Error> {
        self.step_began = Some((step, self.world.hands.moment_millis()));
        let wall = self.world.hands.wall_millis();
        self.order.trouble = None;
        if let Some(record) = self.order.step_mut(step) {
            record.standing = Standing::Begun;
            record.began_millis.get_or_insert(wall);
            record.tries += 1;
        }
        let done = self.save().and_then(|()| self.act(step));
        match done {
            Ok(()) => {
                self.mark(step, Standing::Done);
                self.save().map_err(|stop| self.told(stop))
            }
            Err(stop) => Err(self.stood(stop)),
        }
    }

    fn act(&mut self, step: Step) -> Result<(), Stop> {
        if self.order.here.is_some() {
            return self.act_here(step);
        }
        match step {
            Step::Stop => self.foresee().and_then(|()| self.ask_source(SourceAct::Stop)),
            Step::LastPoint => self.ask_source(SourceAct::LastPoint),
            Step::PowerDown => self.ask_source(SourceAct::PowerDown),
            Step::Check => self.check(),
            Step::Group => self.make_group(),
            Step::Disks => self.make_disks(),
            Step::Hydrate => self.fill_disks(),
            Step::Network => self.make_network(),
            Step::Fork => self.world.hands.fork(&self.order).map_err(Stop::Failed),
            Step::Machine => self.make_machine(),
            Step::Signal => self.wait_for_signals(),
            Step::Evidence => self.gather_evidence(),
            Step::Cleanup => self.take_back(),
        }
    }

    /// Asks the server itself; the last point is the one to recover.
    pub(crate) fn ask_source(&mut self, act: SourceAct) -> Result<(), Stop> {
        let (hands, order) = (self.world.hands, self.order.clone());
        let Some(point) = self.signing(move || hands.source(&order, act))?? else {
            return Ok(());
        };
        if act == SourceAct::Return {
            // What became of the source is said, whatever it is.
            return self.tell(point);
        }
        self.order.wanted_point.clone_from(&point);
        self.tell(format!("its last point is {point}"))
    }

    /// Does something long on a thread of its own, while signs of life are given.
    pub(crate) fn signing<T: Send>(&mut self, act: impl FnOnce() -> T + Send) -> Result<T, Stop> {
        self.signing_every(LOOK, act)
    }

    /// A vault that cannot be reached for a while spoils nothing of what is done meanwhile. Who lost the order to somebody
    /// else asks the whole process to stop: two must not write to the same disk.
    pub(crate) fn signing_every<T: Send>(
        &mut self,
        look: Duration,
        act: impl FnOnce() -> T + Send,
    ) -> Result<T, Stop> {
        thread::scope(|scope| {
            let (done, ended) = mpsc::channel();
            // The other side waits until this thread is over, whatever it sends.
            scope.spawn(move || drop(done.send(act())));
            let mut left = None;
            loop {
                match ended.recv_timeout(look) {
                    Ok(result) => return left.map_or(Ok(result), Err),
                    Err(mpsc::RecvTimeoutError::Timeout) if left.is_none() => match self.sign() {
                        Ok(()) => {}
                        Err(stop @ Stop::Left(_)) => {
                            self.world.stop.store(true, Ordering::Relaxed);
                            left = Some(stop);
                        }
                        Err(stop) => log::warn!("{}", self.told(stop)),
                    },
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    Err(mpsc::RecvTimeoutError::Disconnected) => {
                        let what = "was not done: the thread that did it is gone";
                        return Err(Stop::Failed(Error::device("this step", what)));
                    }
                }
            }
        })
    }

    /// All steps are done.
    fn reach_end(&mut self) -> Result<(), Error> {
        let state = if self.order.kind == Kind::Drill { State::Drilled } else { State::Up };
        if state == State::Drilled {
            self.close(state)
        } else {
            self.order.state = state;
            let wall = self.world.hands.wall_millis();
            self.order.note(wall, "the server runs in Azure; commit keeps it");
            self.save().map_err(|stop| self.told(stop))
        }
    }

    /// The order is over: the server's target hears of it first, so that nobody finds an order that is neither.
    pub(crate) fn close(&mut self, state: State) -> Result<(), Error> {
        let mut over = self.order.clone();
        over.state = state;
        target::close(self.world.documents, &over, self.world.hands.wall_millis())?;
        self.order.state = state;
        self.order.trouble = None;
        self.save().map_err(|stop| self.told(stop))
    }

    /// Keeps the order as it is now, with a sign of life.
    ///
    /// Errors: somebody else changed it: this one must touch nothing any more.
    pub(crate) fn save(&mut self) -> Result<(), Stop> {
        self.count_time();
        if self.keeps_nothing {
            return Ok(());
        }
        let mut me = self.world.hands.holder();
        me.until_millis = self.world.hands.vault_millis()?.saturating_add(HOLD_MILLIS);
        self.order.holder = Some(me);
        self.write()?;
        self.signed_millis = self.world.hands.moment_millis();
        (self.world.watch)(&self.order);
        Ok(())
    }

    fn write(&mut self) -> Result<(), Stop> {
        let name = Name::Order(self.order.id);
        let bytes = documents::bytes_of(name, &self.order)?;
        match self.world.documents.replace(name, self.version, &bytes)? {
            Replaced::Done(version) => {
                self.version = version;
                Ok(())
            }
            Replaced::Moved => {
                let (_, found) = documents::load::<Order>(self.world.documents, name)?;
                let who = found.and_then(|order| order.holder).map(|holder| holder.who);
                Err(Stop::Left(is_held(&self.order, who.as_deref().unwrap_or("somebody"))))
            }
        }
    }

    /// Lets others go on at once.
    pub(crate) fn let_go(&mut self) -> Result<(), Error> {
        self.order.holder = None;
        match self.write() {
            // Whoever has it now says so himself.
            Ok(()) | Err(Stop::Left(_)) => Ok(()),
            Err(stop) => Err(self.told(stop)),
        }
    }

    /// Adds up the time of the step that is at turn.
    fn count_time(&mut self) {
        let now = self.world.hands.moment_millis();
        let Some((step, since)) = self.step_began else { return };
        self.step_began = Some((step, now));
        if let Some(record) = self.order.step_mut(step) {
            record.took_millis = record.took_millis.saturating_add(now.saturating_sub(since));
        }
    }

    fn mark(&mut self, step: Step, standing: Standing) {
        self.count_time();
        self.step_began = None;
        if let Some(record) = self.order.step_mut(step) {
            record.standing = standing;
        }
    }

    /// Waits, and gives signs of life meanwhile.
    pub(crate) fn wait(&mut self, time: Duration) -> Result<(), Stop> {
        self.may_go_on()?;
        self.region.pause(time);
        self.sign()
    }

    /// A sign of life where the last one is old.
    pub(crate) fn sign(&mut self) -> Result<(), Stop> {
        let now = self.world.hands.moment_millis();
        if now.saturating_sub(self.signed_millis) >= SIGN_MILLIS { self.save() } else { Ok(()) }
    }

    /// Whether nobody asked to stop.
    pub(crate) fn may_go_on(&self) -> Result<(), Stop> {
        if self.world.stop.load(Ordering::Relaxed) {
            let what = "was interrupted; what was begun is remembered";
            return Err(Stop::Failed(
                Error::refused(self.shown(), what).retry(Retry::Now).remedy(self.ways_on()),
            ));
        }
        Ok(())
    }

    /// Writes a line into the diary.
    pub(crate) fn tell(&mut self, text: impl Into<String>) -> Result<(), Stop> {
        let text = text.into();
        log::info!("{}: {text}", self.shown());
        let wall = self.world.hands.wall_millis();
        self.order.note(wall, text);
        self.save()
    }

    /// Writes down that the order stands, and why; the words for a person.
    pub(crate) fn stood(&mut self, stop: Stop) -> Error {
        let left = matches!(stop, Stop::Left(_));
        let step = self.step_began.map(|(step, _)| step);
        let error = self.told(stop);
        if left || self.keeps_nothing {
            return error;
        }
        if let Some(step) = step {
            self.mark(step, Standing::Failed);
        }
        self.order.stands(&error);
        let wall = self.world.hands.wall_millis();
        self.order.note(wall, error.to_string());
        // What could not be kept is no worse than the failure that it would tell of.
        if let Err(unkept) = self.write() {
            log::debug!("the failure was not kept: {unkept:?}");
        }
        error
    }

    /// A failure in words that name the order and its step.
    pub(crate) fn told(&self, stop: Stop) -> Error {
        let (mut error, remedy) = match stop {
            Stop::Left(error) => return error,
            Stop::Failed(error) => (error, self.ways_on()),
            Stop::Refused(refused) => (from_refused(&refused), self.ways_on()),
        };
        let step = self.step_began.map(|(step, _)| format!(", step {}", step.name()));
        error.what = format!("{}: {}", error.object, error.what);
        error.object = format!("{}{}", self.shown(), step.unwrap_or_default());
        error.remedy = if remedy.is_empty() {
            error.remedy
        } else if error.remedy.is_empty() || error.remedy == remedy {
            remedy
        } else {
            format!("{}; then {remedy}", error.remedy)
        };
        error
    }

    fn shown(&self) -> String {
        format!("{} of {}", self.order.kind, self.order.server_name)
    }

    fn ways_on(&self) -> String {
        // A drill here ends with what failed, and with its program.
        if self.keeps_nothing || self.order.here.is_some() {
            return String::new();
        }
        let (verb, id) = (self.order.kind.verb(), self.order.id);
        if self.order.state == State::Cancelling {
            return format!("lifeboat cleanup --order {id} goes on with taking it back");
        }
        format!(
            "lifeboat {verb} --resume {id} goes on, lifeboat cleanup --order {id} takes it back"
        )
    }
}

fn is_held(order: &Order, who: &str) -> Error {
    let what = format!("is being carried out by {who}");
    Error::refused(format!("{} {} of {}", order.kind, order.id, order.server_name), what)
        .retry(Retry::Later)
        .remedy("wait for its end, or give --take-over where that machine is dead for certain")
}

/// A refusal of Azure's as an error.
pub(crate) fn from_refused(refused: &Refused) -> Error {
    let error = match refused.why {
        Why::Way => Error::device(refused.act.clone(), refused.words.clone()),
        Why::Quota => Error::exhausted(refused.act.clone(), refused.words.clone()),
        _ => Error::refused(refused.act.clone(), refused.words.clone()),
    };
    match refused.why {
        Why::Later | Why::Way => error.retry(Retry::Later),
        _ => error.retry(Retry::Never),
    }
}
