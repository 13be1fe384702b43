//! The appliance behind the API: what `lifeboat serve` and the image tell of themselves, and what is done for whoever asks.
//!
//! One thread looks at the vault and another measures; whoever asks gets what they saw, so that many who look cost no more than
//! one. What takes long is a verb of this program in a process of its own.

use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::thread::JoinHandle;

use firmware_web::api::site::Answer;
use firmware_web::api::views::appliance::{
    ApplianceView, CalendarView, MeasurementsView, UpdateView,
};
use firmware_web::api::views::events::{EventFilter, EventPage};
use firmware_web::api::views::files::{FileBytes, FilePlace, Listing};
use firmware_web::api::views::recovery::{OrderAsked, OrderView, PlanRunView, PlanView, Sweep};
use firmware_web::api::views::servers::{
    Install, Overview, PointView, PolicyView, Readiness, SeenServer, Series, SeriesAsked,
    ServerView,
};
use firmware_web::api::views::vault::{JobView, KitPage, Retention, VaultView};
use firmware_web::api::{Caller, Refusal, Site};
use hal::time::Moment;
use pipeline::ids::ServerId;
use pipeline_vault::Error;

use crate::ingest::measures::Told;
use crate::ingest::roll::kept::KeptRoll;
use crate::recovery::vault::Shared;
use crate::session::Session;

use events::Note;
use facts::{Facts, Vaulted};
use history::History;
use jobs::Jobs;
use refuse::{missing, not_now, refusal};
use sight::Sight;
use watch::Watched;

/// Disks of the machine that fail.
mod ailing;
/// Everything that helps whoever helps.
mod bundle;
/// What happened, numbered and kept.
pub mod events;
/// Where the appliance differs.
pub mod facts;
/// Files of points.
mod files;
/// How a server fares.
mod health;
/// Figures over a month.
mod history;
/// Long work.
mod jobs;
/// Whose turn it is to be judged.
mod judging;
/// What is counted of the vault, and kept.
mod ledger;
/// The machine.
mod machine;
/// What was measured at the machine's start.
mod measured;
/// Bytes in little room.
mod packed;
/// Policies, pins, and who comes in.
mod policies;
/// `lifeboat serve` as the machine of a site.
pub mod program;
/// Drills, failovers, plans.
mod recovery;
/// Errors as the API tells them.
mod refuse;
/// Machines on the network.
mod seen;
/// Servers at a glance and whole.
mod servers;
/// What is in the vault, as it was seen last.
mod sight;
/// How warm disks are.
mod temperature;
/// Updates of the machine.
pub mod update;
/// The vault.
mod vault;
/// Who looks and who measures.
mod watch;

/// A vault that could not be opened is not asked again so soon.
const REFUSED_MILLIS: u64 = 5000;

/// The vault, opened and kept.
struct Opened {
    vaulted: Vaulted,
    vault: Shared,
    id: String,
}

/// What agents were told to be, and when that was asked.
type Measured = (Moment, Arc<BTreeMap<String, Told>>);

/// The appliance, running.
pub struct LiveSite {
    facts: Facts,
    began: Moment,
    opened: Mutex<Option<Arc<Opened>>>,
    /// Held by who opens it; when it was refused last, and why.
    opening: Mutex<Option<(Moment, Refusal)>>,
    /// The roll, for changes where no agents are taken.
    roll: Mutex<Option<Arc<KeptRoll>>>,
    sight: RwLock<Arc<Sight>>,
    told: Mutex<Option<Measured>>,
    overview: Mutex<Option<(Moment, Arc<Overview>)>>,
    watched: Mutex<Watched>,
    readiness: Mutex<BTreeMap<ServerId, Readiness>>,
    ledger: Mutex<ledger::Ledger>,
    history: History,
    jobs: Arc<Jobs>,
    files: files::Files,
    ailing: Mutex<ailing::Ailing>,
    stop: AtomicBool,
    /// Somebody wants the vault to be looked at soon.
    wake: (Mutex<bool>, Condvar),
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl core::fmt::Debug for LiveSite {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "LiveSite({})", self.facts.name)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LiveSite {
    /// Begins to look and to measure.
    ///
    /// Errors: this machine starts no threads.
    pub fn start(facts: Facts) -> Result<Arc<Self>, Error> {
        let (keep, clock) = (Arc::clone(&facts.keep), Arc::clone(&facts.machine.clock));
        let history = History::load(&*keep).unwrap_or_else(|error| {
            log::warn!("{error}");
            History::default()
        });
        let jobs = Jobs::open(Arc::clone(&facts.events), Arc::clone(&clock), Arc::clone(&keep));
        let site = Arc::new(Self {
            began: clock.moment(),
            ledger: Mutex::new(ledger::Ledger::load(&*keep)),
            facts,
            opened: Mutex::default(),
            opening: Mutex::default(),
            roll: Mutex::default(),
            sight: RwLock::default(),
            told: Mutex::default(),
            overview: Mutex::default(),
            watched: Mutex::default(),
            readiness: Mutex::default(),
            history,
            jobs: Arc::new(jobs),
            files: files::Files::default(),
            ailing: Mutex::new(ailing::Ailing::open(Path::new("/"))),
            stop: AtomicBool::new(false),
            wake: (Mutex::new(false), Condvar::new()),
            threads: Mutex::default(),
        });
        for name in ["sight", "measure", "count"] {
            let held = Arc::clone(&site);
            let work = move || match name {
                "sight" => held.look(),
                "measure" => held.measure(),
                _ => held.count(),
            };
            let thread =
                std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|error| {
                    Error::device("this machine", format!("starts no thread: {error}"))
                })?;
            lock(&site.threads).push(thread);
        }
        Ok(site)
    }

    /// Ends in order: jobs are stopped and gone on with later, what was measured and noted is kept.
    pub fn end(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.wake();
        self.jobs.end();
        self.files.close();
        for thread in core::mem::take(&mut *lock(&self.threads)) {
            // One that panicked has ended too.
            drop(thread.join());
        }
        self.keep_all();
    }

    /// What happened.
    #[must_use]
    pub fn events(&self) -> &Arc<events::Events> {
        &self.facts.events
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn now(&self) -> u64 {
        self.facts.machine.clock.now().0
    }

    fn moment(&self) -> Moment {
        self.facts.machine.clock.moment()
    }

    /// Has the vault looked at soon.
    fn wake(&self) {
        *lock(&self.wake.0) = true;
        self.wake.1.notify_all();
        *lock(&self.overview) = None;
    }

    fn sight(&self) -> Arc<Sight> {
        Arc::clone(&self.sight.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The opened vault; opened now where nobody has it yet.
    fn opened(&self) -> Answer<Arc<Opened>> {
        let Some(vaulted) = (self.facts.vault)() else {
            return Err(not_now(
                "the vault",
                "is not named yet",
                "say where it is: first run asks for it",
            ));
        };
        if let Some(known) = &*lock(&self.opened)
            && known.vaulted.is_like(&vaulted)
        {
            return Ok(Arc::clone(known));
        }
        // A store far away may take minutes to say that it is not there: one asks it, and nobody queues up behind.
        let mut refused = match self.opening.try_lock() {
            Ok(refused) => refused,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let remedy = "try it again in a moment";
                return Err(not_now("the vault", "is being opened just now", remedy));
            }
        };
        if let Some((at, refusal)) = &*refused
            && self.moment().since(*at) < REFUSED_MILLIS
        {
            return Err(refusal.clone());
        }
        let fresh = self.open(vaulted);
        *refused = fresh.as_ref().err().map(|refusal| (self.moment(), refusal.clone()));
        fresh
    }

    fn open(&self, vaulted: Vaulted) -> Answer<Arc<Opened>> {
        let mut session = Session::open(&vaulted.opening, &vaulted.machine).map_err(refusal)?;
        let id = session.vault().map_err(refusal)?.id().to_string();
        let fresh = Arc::new(Opened { vaulted, vault: Shared::new(session), id });
        let before = lock(&self.opened).replace(Arc::clone(&fresh));
        if before.is_some_and(|known| known.id != fresh.id) {
            *self.sight.write().unwrap_or_else(PoisonError::into_inner) = Arc::default();
        }
        *lock(&self.roll) = None;
        Ok(fresh)
    }

    /// The roll, to be changed.
    fn kept_roll(&self) -> Answer<Arc<KeptRoll>> {
        if let Some(view) = self.facts.agents.view() {
            return Ok(view.roll());
        }
        let opened = self.opened()?;
        let mut roll = lock(&self.roll);
        if let Some(roll) = &*roll {
            return Ok(Arc::clone(roll));
        }
        let (opening, machine) = (&opened.vaulted.opening, &opened.vaulted.machine);
        let fresh = crate::serve::replication::open(opening, machine).map_err(refusal)?;
        *roll = Some(Arc::clone(&fresh));
        Ok(fresh)
    }

    /// A server by its name.
    fn server_id(&self, name: &str) -> Answer<ServerId> {
        let sight = self.sight();
        if let Some(server) = sight.servers.get(name) {
            return Ok(*server);
        }
        if !sight.seen {
            // Nobody has looked yet.
            let server = self.opened()?.vault.session().server(name);
            return server.map_err(|_| missing(format!("server {name}"), "is not in the vault"));
        }
        Err(missing(format!("server {name}"), "is not in the vault"))
    }

    fn tell(&self, note: Note) {
        self.facts.events.note(note);
    }

    /// A person's act.
    fn tell_of(&self, by: &Caller, kind: &'static str, object: String, words: String) {
        self.tell(Note { kind, object, words, by: Some(by.name.clone()), ..Note::default() });
    }
}

impl Site for LiveSite {
    fn overview(&self) -> Answer<Overview> {
        Ok(Overview::clone(&self.overview_now()))
    }
    fn server(&self, name: &str) -> Answer<ServerView> {
        self.server_view(name)
    }
    fn points(&self, name: &str, before: Option<u64>, limit: usize) -> Answer<Vec<PointView>> {
        self.point_views(name, before, limit)
    }
    fn pin(&self, by: &Caller, name: &str, point: &str, why: &str) -> Answer<PointView> {
        self.hold(by, name, point, Some(why))
    }
    fn unpin(&self, by: &Caller, name: &str, point: &str) -> Answer<PointView> {
        self.hold(by, name, point, None)
    }
    fn series(&self, name: &str, asked: &SeriesAsked) -> Answer<Series> {
        self.server_id(name)?;
        Ok(self.history.series(name, asked, self.now()))
    }
    fn set_policy(&self, by: &Caller, name: &str, policy: &PolicyView) -> Answer<ServerView> {
        self.change_policy(by, name, policy)
    }
    fn readiness(&self, name: &str, with_azure: bool) -> Answer<Readiness> {
        self.judge_readiness(name, with_azure)
    }
    fn install(&self, by: &Caller, name: Option<&str>, readmit: bool) -> Answer<Install> {
        self.let_in(by, name, readmit)
    }
    fn seen(&self, network: &str) -> Answer<Vec<SeenServer>> {
        self.look_around(network)
    }
    fn revoke(&self, by: &Caller, name: &str) -> Answer<ServerView> {
        self.turn_away(by, name)
    }
    fn accept(&self, by: &Caller, name: &str, after_failover: bool) -> Answer<ServerView> {
        self.take_in(by, name, after_failover)
    }
    fn vault(&self) -> Answer<VaultView> {
        self.vault_view()
    }
    fn verify(&self, by: &Caller, deep: bool) -> Answer<JobView> {
        self.begin_verify(by, deep)
    }
    fn prune(&self, by: &Caller, dry_run: bool) -> Answer<JobView> {
        self.begin_prune(by, dry_run)
    }
    fn set_retention(&self, by: &Caller, retention: &Retention) -> Answer<VaultView> {
        self.change_retention(by, retention)
    }
    fn kit(&self) -> Answer<KitPage> {
        self.kit_page()
    }
    fn list(&self, place: &FilePlace) -> Answer<Listing> {
        self.list_files(place)
    }
    fn read(&self, place: &FilePlace, offset: u64, limit: usize) -> Answer<FileBytes> {
        self.read_file(place, offset, limit)
    }
    fn appliance(&self) -> Answer<ApplianceView> {
        Ok(self.appliance_view())
    }
    fn measurements(&self) -> Answer<MeasurementsView> {
        measured::measurements()
    }
    fn set_calendar(&self, by: &Caller, calendar: &CalendarView) -> Answer<ApplianceView> {
        self.change_calendar(by, calendar)
    }
    fn update(&self) -> Answer<UpdateView> {
        self.update_view()
    }
    fn update_from(&self, by: &Caller, address: &str) -> Answer<JobView> {
        self.update_by_address(by, address)
    }
    fn update_with(&self, by: &Caller, bytes: &mut dyn Read) -> Answer<JobView> {
        self.update_by_bytes(by, bytes)
    }
    fn restart(&self, by: &Caller) -> Answer<()> {
        self.restart_now(by)
    }
    fn orders(&self) -> Answer<Vec<OrderView>> {
        self.order_views()
    }
    fn order(&self, id: &str) -> Answer<OrderView> {
        self.order_view(id)
    }
    fn give_order(&self, by: &Caller, asked: &OrderAsked) -> Answer<OrderView> {
        self.begin_order(by, asked)
    }
    fn estimate(&self, asked: &OrderAsked) -> Answer<serde_json::Value> {
        self.estimate_order(asked)
    }
    fn resume(&self, by: &Caller, id: &str) -> Answer<OrderView> {
        self.resume_order(by, id)
    }
    fn commit(&self, by: &Caller, id: &str) -> Answer<OrderView> {
        self.commit_order(by, id)
    }
    fn cancel(&self, by: &Caller, id: &str) -> Answer<OrderView> {
        self.cancel_order(by, id)
    }
    fn report(&self, id: &str) -> Answer<String> {
        self.report_page(id)
    }
    fn sweep(&self, by: &Caller, remove: bool) -> Answer<Sweep> {
        self.sweep_azure(by, remove)
    }
    fn plans(&self) -> Answer<Vec<PlanView>> {
        self.plan_views()
    }
    fn set_plan(&self, by: &Caller, name: &str, text: &str) -> Answer<PlanView> {
        self.change_plan(by, name, text)
    }
    fn run_plan(&self, by: &Caller, name: &str, drill: bool) -> Answer<PlanRunView> {
        self.begin_plan(by, name, Some(drill))
    }
    fn continue_plan(&self, by: &Caller, name: &str) -> Answer<PlanRunView> {
        self.begin_plan(by, name, None)
    }
    fn commit_plan(&self, by: &Caller, name: &str) -> Answer<JobView> {
        self.keep_plan(by, name)
    }
    fn target(&self, name: &str) -> Answer<String> {
        self.target_text(name)
    }
    fn set_target(&self, by: &Caller, name: &str, text: &str) -> Answer<String> {
        self.change_target(by, name, text)
    }
    fn jobs(&self) -> Answer<Vec<JobView>> {
        Ok(self.jobs.list())
    }
    fn job(&self, id: &str) -> Answer<JobView> {
        self.jobs.find(id).ok_or_else(|| missing(format!("job {id}"), "is not known here"))
    }
    fn events(&self, filter: &EventFilter) -> Answer<EventPage> {
        Ok(self.facts.events.find(filter))
    }
    fn support_bundle(&self) -> Answer<Vec<u8>> {
        self.pack_bundle()
    }
}

/// What a verb that failed said.
fn failed(object: impl Into<String>, failed: crate::child::Failed) -> Refusal {
    // Its words hold its remedy.
    Refusal { status: 409, title: object.into(), detail: failed.words, ..Refusal::default() }
}

#[cfg(test)]
mod tests;
