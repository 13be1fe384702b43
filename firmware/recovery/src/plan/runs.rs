//! Carries a plan out, group after group, its place kept in the vault before and after everything it does.

use core::time::Duration;
use std::sync::{Mutex, mpsc};
use std::thread;

use pipeline::ids::{OrderId, ServerId};
use pipeline_vault::document::{Class, DOCUMENT_BYTES_MAX, Name, Replaced};
use pipeline_vault::{Error, Retry};

use super::{Action, Entry, Group, Member, Part, Plan, Run, RunOrder, RunState};
use crate::documents::{self, Documents};
use crate::order::holder::{self, HOLD_MILLIS};
use crate::order::orders::{self, Wanted};
use crate::order::run::{Work, World};
use crate::order::{Kind, Order, Shared, State, shortened};

/// The end of a drill.
mod clear;

use clear::{clear_shared, finish};

/// How often a sign of life is given while servers are recovered.
const SIGN: Duration = Duration::from_secs(20);
/// Lines that are kept of one run.
const ENTRIES_MAX: usize = 1000;
/// Servers of a group that are recovered at once.
const TOGETHER_MAX: usize = 4;

/// What the program does for a plan beside its orders.
pub trait Acts: Send + Sync {
    /// Sends a POST and waits for its answer.
    ///
    /// Errors: no answer of the 200s came in time.
    fn webhook(&self, url: &str, body: &str, within: Duration) -> Result<(), Error>;
    /// Runs a program, which finds in its environment what it is run for.
    ///
    /// Errors: it did not end with 0 in time.
    fn command(
        &self,
        run: &[String],
        within: Duration,
        told: &[(&str, String)],
    ) -> Result<(), Error>;
    /// A server's identity by its name.
    fn server(&self, name: &str) -> Result<ServerId, Error>;
    /// An identity that nobody had before.
    fn new_id(&self) -> Result<OrderId, Error>;
}

/// A run at work.
pub struct PlanWork<'a> {
    world: World<'a>,
    acts: &'a dyn Acts,
    vault: String,
    name: Name,
    version: u64,
    plan: Plan,
}

/// Runs of all plans that are not over, by identity.
pub(crate) fn open_runs(documents: &dyn Documents) -> Result<Vec<String>, Error> {
    let mut runs = Vec::new();
    for name in documents.list(Class::Plans)? {
        if let (_, Some(plan)) = documents::load::<Plan>(documents, name)? {
            runs.extend(plan.open_run().map(|run| run.id.to_string()));
        }
    }
    Ok(runs)
}

/// The plan of that name.
pub fn find(documents: &dyn Documents, text: &str) -> Result<Option<(Name, Plan)>, Error> {
    for name in documents.list(Class::Plans)? {
        if let (_, Some(plan)) = documents::load::<Plan>(documents, name)?
            && (plan.text.name == text || plan.id.to_string() == text)
        {
            return Ok(Some((name, plan)));
        }
    }
    Ok(None)
}

/// What begins a run.
#[derive(Clone, Debug)]
pub struct Begin {
    /// Whether it is a drill.
    pub drill: bool,
    /// The point of every server.
    pub point: String,
    /// By whom.
    pub by: String,
    /// Whether obstacles that are found on a server's disks are passed over.
    pub despite_obstacles: bool,
}

impl<'a> PlanWork<'a> {
    /// Goes on with the plan's open run, or begins one.
    ///
    /// Errors: somebody else carries it out; it is open and of another kind.
    pub fn take(
        world: World<'a>,
        acts: &'a dyn Acts,
        vault: String,
        name: Name,
        begin: Option<&Begin>,
    ) -> Result<Self, Error> {
        let (version, found) = documents::load::<Plan>(world.documents, name)?;
        let plan = found.ok_or_else(|| {
            Error::misuse(name.to_string(), "is not in the vault")
                .remedy("lifeboat plan show lists plans")
        })?;
        let mut work = Self { world, acts, vault, name, version, plan };
        work.free_to_take()?;
        match (work.plan.open_run(), begin) {
            (Some(run), Some(begin)) if run.drill != begin.drill => {
                let kind = if run.drill { "drill" } else { "failover" };
                let what = format!("has an open {kind}, begun by {}", run.by);
                return Err(Error::refused(work.shown(), what)
                    .remedy("go on with that one first: lifeboat plan continue"));
            }
            (Some(_), _) => {}
            (None, Some(begin)) => work.begin(begin)?,
            (None, None) => {
                return Err(Error::misuse(work.shown(), "has no open run")
                    .remedy("lifeboat plan run begins one"));
            }
        }
        work.save()?;
        Ok(work)
    }

    fn free_to_take(&self) -> Result<(), Error> {
        let Some(held) = self.plan.open_run().and_then(|run| run.holder.as_ref()) else {
            return Ok(());
        };
        let hands = self.world.hands;
        let runs = |process: &str| hands.runs_here(process);
        if holder::may_take_over(held, &hands.holder(), hands.vault_millis()?, &runs) {
            return Ok(());
        }
        Err(Error::refused(self.shown(), format!("is being carried out by {}", held.who))
            .retry(Retry::Later)
            .remedy("wait for its end"))
    }

    fn begin(&mut self, begin: &Begin) -> Result<(), Error> {
        let run = Run {
            id: self.acts.new_id()?,
            drill: begin.drill,
            by: begin.by.clone(),
            began_millis: self.world.hands.wall_millis(),
            point: begin.point.clone(),
            despite_obstacles: begin.despite_obstacles,
            state: RunState::Open,
            place: super::Place::default(),
            answered: false,
            orders: Vec::new(),
            entries: Vec::new(),
            trouble: None,
            failed: false,
            holder: None,
        };
        self.plan.begin(run);
        Ok(())
    }

    /// The plan as it stands.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    fn shown(&self) -> String {
        format!("plan {}", self.plan.text.name)
    }

    fn run(&self) -> &Run {
        self.plan.runs.last().expect("a run was taken up or begun")
    }

    fn run_mut(&mut self) -> &mut Run {
        self.plan.runs.last_mut().expect("a run was taken up or begun")
    }

    fn save(&mut self) -> Result<(), Error> {
        let mut me = self.world.hands.holder();
        me.until_millis = self.world.hands.vault_millis()?.saturating_add(HOLD_MILLIS);
        let over = self.run().is_over();
        self.run_mut().holder = (!over).then_some(me);
        self.write()
    }

    fn write(&mut self) -> Result<(), Error> {
        let mut bytes = documents::bytes_of(self.name, &self.plan)?;
        // Of a large plan fewer runs are remembered: the one that is on must always be kept.
        while bytes.len() > DOCUMENT_BYTES_MAX && self.plan.runs.len() > 1 {
            self.plan.runs.remove(0);
            bytes = documents::bytes_of(self.name, &self.plan)?;
        }
        match self.world.documents.replace(self.name, self.version, &bytes)? {
            Replaced::Done(version) => {
                self.version = version;
                Ok(())
            }
            Replaced::Moved => Err(Error::refused(self.shown(), "was changed by somebody else")
                .retry(Retry::Now)
                .remedy("look at it with lifeboat plan show, then go on")),
        }
    }

    /// A person says that the manual step is done.
    pub fn answer(&mut self) -> Result<(), Error> {
        if self.run().state == RunState::Waits {
            self.run_mut().answered = true;
            self.run_mut().state = RunState::Open;
            self.save()?;
        }
        Ok(())
    }

    /// Goes on until it is done, waits for a person, or stands; says then why.
    pub fn carry_on(&mut self) -> Result<(), Error> {
        let ended = self.all();
        if !self.run().is_over() {
            self.run_mut().holder = None;
            let kept = self.write();
            return ended.and(kept);
        }
        ended
    }

    fn all(&mut self) -> Result<(), Error> {
        if self.run().state == RunState::Failed {
            self.run_mut().state = RunState::Open;
        }
        if !self.run().failed {
            self.run_mut().trouble = None;
        }
        while self.run().state == RunState::Open {
            let place = self.run().place;
            let Some(group) = self.plan.text.groups.get(place.group).cloned() else {
                break;
            };
            self.one_place(&group)?;
        }
        match self.run().state {
            RunState::Waits => Ok(()),
            _ if self.run().drill => self.clear(),
            _ => {
                self.run_mut().state = RunState::Done;
                self.save()
            }
        }
    }

    fn one_place(&mut self, group: &Group) -> Result<(), Error> {
        let mut place = self.run().place;
        let done = match place.part {
            Part::Servers => self.servers(group),
            Part::Before | Part::After => {
                let actions = if place.part == Part::Before { &group.before } else { &group.after };
                match actions.get(place.action) {
                    None => Ok(true),
                    Some(action) => self.action(action).map(|()| false),
                }
            }
        };
        match done {
            Err(error) => return self.stands(error),
            // A person's word is waited for.
            Ok(_) if self.run().state == RunState::Waits => return self.save(),
            Ok(true) => {
                place.action = 0;
                place.part = match place.part {
                    Part::Before => Part::Servers,
                    Part::Servers => Part::After,
                    Part::After => {
                        place.group += 1;
                        Part::Before
                    }
                };
            }
            Ok(false) => place.action += 1,
        }
        self.run_mut().place = place;
        self.run_mut().answered = false;
        self.save()
    }

    /// Something failed: a failover stands there, a drill is taken back and says so at its end.
    fn stands(&mut self, error: Error) -> Result<(), Error> {
        self.run_mut().trouble = Some(shortened(error.to_string()));
        if self.run().drill && error.retry != Retry::Now {
            self.run_mut().state = RunState::Clearing;
            self.run_mut().failed = true;
            return self.save();
        }
        self.run_mut().state = RunState::Failed;
        self.save()?;
        Err(error)
    }

    fn action(&mut self, action: &Action) -> Result<(), Error> {
        let (wall, began) = (self.world.hands.wall_millis(), self.world.hands.moment_millis());
        let told = self.told_to_hooks();
        let done = match action {
            Action::Wait(seconds) => self.wait(*seconds),
            Action::Manual(_) if self.run().answered => Ok(()),
            Action::Manual(_) => {
                self.run_mut().state = RunState::Waits;
                return Ok(());
            }
            Action::Webhook { url, body, within_s } => {
                let within = Duration::from_secs(u64::from(*within_s));
                let state =
                    serde_json::json!({ "plan": told[0].1, "run": told[1].1, "kind": told[2].1 });
                let body = if body.is_empty() { state.to_string() } else { body.clone() };
                let acts = self.acts;
                self.signing(|| acts.webhook(url, &body, within)).and_then(|done| done)
            }
            Action::Command { run, within_s } => {
                let within = Duration::from_secs(u64::from(*within_s));
                let acts = self.acts;
                self.signing(|| acts.command(run, within, &told)).and_then(|done| done)
            }
        };
        self.enter(action.words(), wall, began, done.as_ref().err());
        done
    }

    fn told_to_hooks(&self) -> [(&'static str, String); 3] {
        let kind = if self.run().drill { "drill" } else { "failover" };
        [
            ("LIFEBOAT_PLAN", self.plan.text.name.clone()),
            ("LIFEBOAT_RUN", self.run().id.to_string()),
            ("LIFEBOAT_KIND", kind.to_owned()),
        ]
    }

    fn enter(&mut self, what: String, began_millis: u64, began: u64, failed: Option<&Error>) {
        let took_millis = self.world.hands.moment_millis().saturating_sub(began);
        let failed = failed.map(|error| shortened(error.to_string()));
        let entries = &mut self.run_mut().entries;
        entries.push(Entry { what, began_millis, took_millis, failed });
        let too_many = entries.len().saturating_sub(ENTRIES_MAX);
        entries.drain(..too_many);
    }

    /// Does something long on a thread of its own, while signs of life are given: nobody shall do the same beside it.
    fn signing<T: Send>(&mut self, act: impl FnOnce() -> T + Send) -> Result<T, Error> {
        thread::scope(|scope| {
            let (done, ended) = mpsc::channel();
            // The other side waits until this thread is over, whatever it sends.
            scope.spawn(move || drop(done.send(act())));
            loop {
                match ended.recv_timeout(SIGN) {
                    Ok(result) => return Ok(result),
                    Err(mpsc::RecvTimeoutError::Timeout) => self.sign(),
                    Err(mpsc::RecvTimeoutError::Disconnected) => {
                        let what = "was not done: the thread that did it is gone";
                        return Err(Error::device(self.shown(), what));
                    }
                }
            }
        })
    }

    /// A sign of life. What keeps it from being given is noticed again where the place is kept.
    fn sign(&mut self) {
        if let Err(error) = self.save() {
            log::warn!("{error}");
        }
    }

    fn wait(&mut self, seconds: u32) -> Result<(), Error> {
        for second in 1..=seconds {
            if self.world.stop.load(core::sync::atomic::Ordering::Relaxed) {
                return Err(Error::refused(self.shown(), "was interrupted").retry(Retry::Now));
            }
            self.world.region.pause(Duration::from_secs(1));
            if u64::from(second) % SIGN.as_secs() == 0 {
                self.sign();
            }
        }
        Ok(())
    }

    /// All servers of a group, a few at once. Each goes on where it was.
    fn servers(&mut self, group: &Group) -> Result<bool, Error> {
        let mut names = Vec::new();
        for member in &group.servers {
            names.push((member.clone(), self.order_of(member)?));
        }
        let (wall, began) = (self.world.hands.wall_millis(), self.world.hands.moment_millis());
        let world = self.world;
        let waiting = Mutex::new(names.into_iter());
        let mut ended = Vec::new();
        thread::scope(|scope| {
            let (done, told) = mpsc::channel();
            for _ in 0..TOGETHER_MAX.min(group.servers.len()) {
                let (done, waiting) = (done.clone(), &waiting);
                scope.spawn(move || {
                    loop {
                        let next = waiting.lock().map(|mut names| names.next());
                        let Ok(Some((member, name))) = next else { return };
                        // Whoever listens waits for all of them.
                        let _ = done.send((member.name, bring_up(world, name)));
                    }
                });
            }
            drop(done);
            loop {
                match told.recv_timeout(SIGN) {
                    Ok(one) => ended.push(one),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                    Err(mpsc::RecvTimeoutError::Timeout) => self.sign(),
                }
            }
        });
        ended.sort_by(|one, other| one.0.cmp(&other.0));
        let mut first = None;
        for (server, result) in ended {
            let what = format!("group {}: {server}", group.name);
            self.enter(what, wall, began, result.as_ref().err());
            if let Err(error) = result {
                first.get_or_insert(error);
            }
        }
        first.map_or(Ok(true), Err)
    }

    /// The order of a server in this run; given where it was not yet.
    fn order_of(&mut self, member: &Member) -> Result<Name, Error> {
        let known = self.run().orders.iter().find(|order| order.server == member.name);
        if let Some(known) = known {
            let name = Name::Order(known.order);
            if self.world.documents.read(name)?.is_some() {
                return Ok(name);
            }
        }
        let id = match known {
            Some(known) => known.order,
            None => {
                // Written down first: an order that nobody remembers would never be found by this run again.
                let order = self.acts.new_id()?;
                self.run_mut().orders.push(RunOrder { server: member.name.clone(), order });
                self.save()?;
                order
            }
        };
        let shared = if self.run().drill && self.share_place()? {
            Some(Shared { run: self.run().id })
        } else {
            None
        };
        let wanted = Wanted {
            server: self.acts.server(&member.name)?,
            server_name: member.name.clone(),
            kind: if self.run().drill { Kind::Drill } else { Kind::Failover },
            point: self.run().point.clone(),
            by: self.run().by.clone(),
            at_millis: self.world.hands.wall_millis(),
            reads_first: true,
            despite_obstacles: self.run().despite_obstacles,
            keeps: self.run().drill,
            shared,
        };
        let profile = member.over(orders::profile_for(self.world.documents, &wanted)?);
        let order = wanted.order(id, self.vault.clone(), profile);
        orders::give(self.world.documents, &order)
    }

    /// Whether all servers of the plan go to one place, where a drill's network can be one.
    fn share_place(&self) -> Result<bool, Error> {
        let mut places = Vec::new();
        for member in self.plan.text.groups.iter().flat_map(|group| &group.servers) {
            let target =
                crate::target::load(self.world.documents, self.acts.server(&member.name)?)?;
            if let Some(profile) = target.profile {
                places.push((
                    profile.subscription,
                    profile.location,
                    profile.drill_group,
                    profile.drill_range,
                ));
            }
        }
        Ok(places.windows(2).all(|pair| pair[0] == pair[1]))
    }

    /// The end of a drill: every order is finished or taken back, then what they shared.
    fn clear(&mut self) -> Result<(), Error> {
        self.run_mut().state = RunState::Clearing;
        self.save()?;
        let mut first = None;
        let mut orders = Vec::new();
        for known in self.run().orders.clone() {
            let name = Name::Order(known.order);
            let Some(found) = documents::load::<Order>(self.world.documents, name)?.1 else {
                continue;
            };
            orders.push(found);
            if let Err(error) = finish(self.world, name) {
                first.get_or_insert(error);
            }
        }
        let bad = orders.iter().any(|order| order.evidence.up != Some(true));
        if first.is_none()
            && let Some(order) = orders.iter().find(|order| order.shared.is_some())
        {
            first = clear_shared(self.world, order).err();
        }
        if let Some(error) = first {
            // Why the drill failed is told at its end; this is told now.
            if !self.run().failed {
                self.run_mut().trouble = Some(shortened(error.to_string()));
            }
            self.save()?;
            return Err(error);
        }
        let bad = bad || self.run().failed;
        self.run_mut().state = if bad { RunState::DoneBadly } else { RunState::Done };
        self.save()
    }
}

/// Brings one server up. A drill that is up and waits for its cleanup is up.
fn bring_up(world: World<'_>, name: Name) -> Result<(), Error> {
    let mut work = Work::take(world, name, false)?;
    if !work.order().is_over() {
        work.carry_on()?;
    }
    match (work.order().kind, work.order().evidence.up, work.order().state) {
        (_, Some(true), _) | (_, _, State::Committed) => Ok(()),
        (Kind::Drill, _, _) => {
            Err(Error::refused(format!("drill of {}", work.order().server_name), "did not come up")
                .remedy("its report has the end of its console log"))
        }
        (_, _, _) => {
            let what = "was taken back in the meantime";
            Err(Error::refused(format!("failover of {}", work.order().server_name), what)
                .remedy("order it anew by itself, or begin the plan anew"))
        }
    }
}
