//! An appliance of made-up servers behind the API: as many as wanted, with a history from a seed, for what a browser shows of
//! hundreds of them. It answers as an appliance does and protects nothing.

/// What is changed in it.
mod changes;
/// Its plans.
mod plans;
/// What is told of it.
mod told;

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use firmware::site::update::check_address;
use firmware_web::api::views::appliance::{
    ApplianceView, CalendarView, MeasurementsView, UpdateView,
};
use firmware_web::api::views::events::{EventFilter, EventPage, EventView};
use firmware_web::api::views::files::{FileBytes, FilePlace, Listing};
use firmware_web::api::views::recovery::{
    LastDrill, OrderAsked, OrderView, PlanRunView, PlanView, Sweep,
};
use firmware_web::api::views::servers::{
    Health, Install, Overview, PointView, PolicyView, Progress, Readiness, SeenServer, Series,
    SeriesAsked, ServerRow, ServerView,
};
use firmware_web::api::views::vault::{JobState, JobView, KitPage, Retention, VaultView};
use firmware_web::api::{Answer, Caller, Refusal, Site};
use hal_sim::random::Random;

const MINUTE_MILLIS: u64 = 60_000;
/// The points that a server keeps.
const POINTS: u64 = 2000;
const GIB: u64 = 1 << 30;
const SECONDS_TARGETS: [u64; 3] = [60, 300, 900];
const KINDS: [&str; 8] = ["web", "db", "mail", "erp", "files", "build", "dc", "mon"];

/// The appliance. Clones are the same.
#[derive(Clone)]
pub struct SyntheticSite {
    state: Arc<Mutex<State>>,
}

struct State {
    random: Random,
    servers: Vec<Server>,
    orders: Vec<OrderView>,
    jobs: Vec<JobView>,
    events: Vec<EventView>,
    plans: BTreeMap<String, PlanView>,
    retention: Vec<Retention>,
    calendar: CalendarView,
    /// An update that was put in.
    next: Option<String>,
}

/// A server, and what it is made of.
struct Server {
    row: ServerRow,
    policy: PolicyView,
    target: Option<String>,
    revoked: bool,
    accepts: bool,
    failed_over: Option<String>,
    pins: BTreeMap<String, String>,
    /// Of everything else that is told of it.
    seed: u64,
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl SyntheticSite {
    /// So many servers of this seed. The sixth is called by a script, as no server should be.
    #[must_use]
    pub fn new(seed: u64, servers: usize) -> Self {
        let mut random = Random::new(seed);
        let servers = (0..servers).map(|number| server(number, &mut random)).collect();
        let state = State {
            random,
            servers,
            orders: Vec::new(),
            jobs: Vec::new(),
            events: Vec::new(),
            plans: BTreeMap::new(),
            retention: vec![Retention {
                server: None,
                keep: Some("72h,hourly=7d,daily=30d".into()),
            }],
            calendar: CalendarView::default(),
            next: None,
        };
        let made = Self { state: Arc::new(Mutex::new(state)) };
        made.note(Health::Good, "started", "appliance", "the appliance has started", None);
        made
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A minute goes by for every server: points are made, RPOs grow, as the seed has it.
    pub fn minute(&self) {
        let mut state = self.state();
        let State { servers, random, .. } = &mut *state;
        for server in servers {
            let row = &mut server.row;
            let Some(age) = row.rpo_seconds else { continue };
            let late = row.health != Health::Good;
            let next = if late || random.below(4) != 0 { age + 60 } else { random.below(30) };
            row.rpo_seconds = Some(next);
            if next < age {
                row.newest_point_millis = Some(now() - next * 1000);
            }
            row.rpo_recent_seconds.remove(0);
            row.rpo_recent_seconds.push(u32::try_from(next).ok());
        }
    }

    /// A server that comes in by itself, as one does whose line was run.
    pub fn comes_in(&self, name: &str) {
        let mut state = self.state();
        let number = state.servers.len();
        let mut made = server(number, &mut Random::new(7));
        made.row.name = name.to_owned();
        made.row.health = Health::Working;
        made.row.cause = "the first copy has begun".into();
        made.row.connected = true;
        made.row.rpo_seconds = None;
        made.row.newest_point_millis = None;
        made.row.rpo_recent_seconds = vec![None; 60];
        made.row.last_drill = None;
        made.row.first_copy =
            Some(Progress { done_bytes: 0, total_bytes: 64 * GIB, left_seconds: None });
        state.servers.push(made);
        drop(state);
        self.note(Health::Good, "enrolled", &format!("server {name}"), "it has been let in", None);
    }

    /// How far a server's first copy is; with all of it, its first point is there.
    pub fn copied(&self, name: &str, done_bytes: u64) {
        let mut state = self.state();
        let Ok(server) = find_mut(&mut state, name) else { return };
        let row = &mut server.row;
        let Some(copy) = &mut row.first_copy else { return };
        copy.done_bytes = done_bytes;
        copy.left_seconds = Some(copy.total_bytes.saturating_sub(done_bytes) / (100 << 20));
        if done_bytes >= copy.total_bytes {
            row.first_copy = None;
            row.health = Health::Good;
            row.cause = String::new();
            row.newest_point_millis = Some(now());
            row.rpo_seconds = Some(0);
        }
    }

    /// The next step of an order that is under way.
    pub fn step(&self, id: &str) {
        let mut state = self.state();
        let Some(order) = state.orders.iter_mut().find(|order| order.order == id) else { return };
        let begun = order.steps.iter_mut().find(|step| step.standing == "begun");
        if let Some(step) = begun {
            step.standing = "done".into();
            step.took_millis = 1500;
        }
        match order.steps.iter_mut().find(|step| step.standing == "waits") {
            Some(step) => step.standing = "begun".into(),
            None => {
                order.running = false;
                order.up = Some(true);
                order.rto_millis = 341_000;
                order.address = Some("10.9.0.4".into());
                order.console = "Debian GNU/Linux 12 ttyS0\n\nlogin: ".into();
                order.state = if order.kind == "drill" { "drilled" } else { "up" }.into();
            }
        }
    }

    /// Work that takes long has come this far.
    pub fn work(&self, id: &str, done_bytes: u64) {
        let mut state = self.state();
        let Some(job) = state.jobs.iter_mut().find(|job| job.id == id) else { return };
        job.progress.done_bytes = done_bytes;
        job.took_millis = now().saturating_sub(job.began_millis);
        if done_bytes >= job.progress.total_bytes {
            job.state = JobState::Done;
            job.words = "nothing is wrong".into();
        }
    }

    fn note(&self, health: Health, kind: &str, object: &str, words: &str, by: Option<&Caller>) {
        let mut state = self.state();
        let number = u64::try_from(state.events.len()).unwrap_or(u64::MAX) + 1;
        state.events.push(EventView {
            number,
            at_millis: now(),
            health,
            kind: kind.into(),
            object: object.into(),
            words: words.into(),
            by: by.map(|by| by.name.clone()),
        });
    }

    fn begin(&self, by: &Caller, kind: &str, words: &str) -> JobView {
        let mut state = self.state();
        let job = JobView {
            id: format!("{:032x}", state.jobs.len() + 1),
            kind: kind.into(),
            object: "the vault".into(),
            by: by.name.clone(),
            state: JobState::Running,
            began_millis: now(),
            progress: Progress { done_bytes: 0, total_bytes: 400 * GIB, left_seconds: None },
            words: words.into(),
            ..JobView::default()
        };
        state.jobs.insert(0, job.clone());
        job
    }
}

fn missing(kind: &str, name: &str) -> Refusal {
    Refusal::new(404, format!("{kind} {name}"), "is not there")
}

fn find<'a>(state: &'a State, name: &str) -> Answer<&'a Server> {
    let found = state.servers.iter().find(|server| server.row.name == name);
    found.ok_or_else(|| missing("server", name))
}

fn find_mut<'a>(state: &'a mut State, name: &str) -> Answer<&'a mut Server> {
    let found = state.servers.iter_mut().find(|server| server.row.name == name);
    found.ok_or_else(|| missing("server", name))
}

/// A server as the seed has it: most fare well.
fn server(number: usize, random: &mut Random) -> Server {
    let seed = random.number();
    let health = match random.below(40) {
        0 => Health::Bad,
        1..3 => Health::Attention,
        3 => Health::Working,
        4 => Health::Off,
        _ => Health::Good,
    };
    let target = SECONDS_TARGETS[number % 3];
    let (cause, rpo) = match health {
        Health::Bad => ("no point for 3 h 12 min: its agent is not connected", Some(11_520)),
        Health::Attention => ("the last point took longer than its interval", Some(target * 3 / 2)),
        Health::Working => ("the first copy goes on", None),
        Health::Off => ("paused by a person", Some(target)),
        Health::Good => ("", Some(random.below(target))),
    };
    let recent = (0..60).map(|minute| match health {
        Health::Working => None,
        Health::Bad => u32::try_from(11_520 - (59 - minute) * 60).ok(),
        _ => u32::try_from(target / 8 + random.below(target * 3 / 4)).ok(),
    });
    let copy = Progress { done_bytes: 180 * GIB, total_bytes: 430 * GIB, left_seconds: Some(7300) };
    let drill = |random: &mut Random| LastDrill {
        order: format!("{:032x}", random.number()),
        at_millis: now() - random.below(60) * 86_400_000,
        up: random.below(8) != 0,
        rto_millis: 240_000 + random.below(600_000),
    };
    let name = match number {
        5 => "<script>alert(1)</script>".to_owned(),
        _ => format!("{}{}", KINDS[number % 8], number / 8 + 1),
    };
    let row = ServerRow {
        server: format!("{:032x}", u128::from(seed) << 32 | number as u128),
        name,
        health,
        cause: cause.into(),
        connected: health != Health::Bad,
        rpo_seconds: rpo,
        rpo_target_seconds: target,
        rpo_recent_seconds: recent.collect(),
        newest_point_millis: rpo.map(|age| now() - age * 1000),
        backlog_bytes: if random.below(3) == 0 { random.below(4 * GIB) } else { 0 },
        last_drill: (random.below(3) != 0).then(|| drill(random)),
        first_copy: (health == Health::Working).then_some(copy),
    };
    let policy = PolicyView {
        interval_seconds: u32::try_from(target).unwrap_or(300),
        freeze_budget_millis: 200,
        freeze_limit_millis: 5000,
        application_every: 12,
        ..PolicyView::default()
    };
    Server {
        row,
        policy,
        target: None,
        revoked: false,
        accepts: false,
        failed_over: None,
        pins: BTreeMap::new(),
        seed,
    }
}

impl Site for SyntheticSite {
    fn overview(&self) -> Answer<Overview> {
        Ok(self.told_overview())
    }

    fn server(&self, name: &str) -> Answer<ServerView> {
        self.told_server(name)
    }

    fn points(&self, name: &str, before: Option<u64>, limit: usize) -> Answer<Vec<PointView>> {
        self.told_points(name, before, limit)
    }

    fn pin(&self, by: &Caller, name: &str, point: &str, why: &str) -> Answer<PointView> {
        self.change_pin(by, name, point, Some(why))
    }

    fn unpin(&self, by: &Caller, name: &str, point: &str) -> Answer<PointView> {
        self.change_pin(by, name, point, None)
    }

    fn series(&self, name: &str, asked: &SeriesAsked) -> Answer<Series> {
        self.told_series(name, asked)
    }

    fn set_policy(&self, by: &Caller, name: &str, policy: &PolicyView) -> Answer<ServerView> {
        self.change_policy(by, name, policy)
    }

    fn readiness(&self, name: &str, with_azure: bool) -> Answer<Readiness> {
        self.told_readiness(name, with_azure)
    }

    fn install(&self, by: &Caller, name: Option<&str>, readmit: bool) -> Answer<Install> {
        let is_revoked = |name| find(&self.state(), name).is_ok_and(|server| server.revoked);
        if !readmit && name.is_some_and(is_revoked) {
            return Err(Refusal::new(422, "the server", "was revoked").at("/name"));
        }
        let object = format!("server {}", name.unwrap_or("of any name"));
        self.note(Health::Good, "token_made", &object, "a line to run was made", Some(by));
        let line = "curl -fsSk https://192.0.2.10/install.sh | sh -s -- --token TOKEN".to_owned();
        Ok(Install { line, ends_millis: now() + 60 * MINUTE_MILLIS })
    }

    fn seen(&self, network: &str) -> Answer<Vec<SeenServer>> {
        if !network.contains('/') {
            let refusal = Refusal::new(422, format!("network {network}"), "has no prefix");
            return Err(refusal.remedy("write it as 192.0.2.0/24").at("/network"));
        }
        let says = "SSH-2.0-OpenSSH_9.2p1 Debian-2".to_owned();
        Ok(vec![SeenServer { address: "192.0.2.21".into(), name: None, says, server: None }])
    }

    fn revoke(&self, by: &Caller, name: &str) -> Answer<ServerView> {
        find_mut(&mut self.state(), name)?.revoked = true;
        self.note(Health::Attention, "revoked", &format!("server {name}"), "was revoked", Some(by));
        self.told_server(name)
    }

    fn accept(&self, _: &Caller, name: &str, after_failover: bool) -> Answer<ServerView> {
        let mut state = self.state();
        let server = find_mut(&mut state, name)?;
        match after_failover {
            true => server.failed_over = None,
            false => server.accepts = true,
        }
        drop(state);
        self.told_server(name)
    }

    fn vault(&self) -> Answer<VaultView> {
        Ok(self.told_vault())
    }

    fn verify(&self, by: &Caller, deep: bool) -> Answer<JobView> {
        Ok(self.begin(
            by,
            "verify",
            if deep { "reads every seal" } else { "looks at every object" },
        ))
    }

    fn prune(&self, by: &Caller, dry_run: bool) -> Answer<JobView> {
        Ok(self.begin(by, "prune", if dry_run { "looks up what would go" } else { "deletes" }))
    }

    fn set_retention(&self, by: &Caller, retention: &Retention) -> Answer<VaultView> {
        self.change_retention(by, retention)
    }

    fn kit(&self) -> Answer<KitPage> {
        Ok(KitPage { text: "RECOVERY KIT\n\nThe vault is at dir:/srv/vault.\n".into() })
    }

    fn list(&self, place: &FilePlace) -> Answer<Listing> {
        self.told_listing(place)
    }

    fn read(&self, place: &FilePlace, offset: u64, limit: usize) -> Answer<FileBytes> {
        self.told_file(place, offset, limit)
    }

    fn appliance(&self) -> Answer<ApplianceView> {
        Ok(self.told_appliance())
    }

    fn measurements(&self) -> Answer<MeasurementsView> {
        Ok(told::measurements())
    }

    fn set_calendar(&self, _: &Caller, calendar: &CalendarView) -> Answer<ApplianceView> {
        if let Some(at) = calendar.rows.iter().position(|row| row.from_hour >= row.to_hour) {
            let refusal = Refusal::new(422, format!("row {}", at + 1), "ends before it begins");
            return Err(refusal.at(format!("/rows/{at}/to_hour")));
        }
        self.state().calendar = calendar.clone();
        Ok(self.told_appliance())
    }

    fn update(&self) -> Answer<UpdateView> {
        let (slot, next) = (Some("a".to_owned()), self.state().next.clone());
        Ok(UpdateView { version: "0.1.0".into(), slot, next, ..UpdateView::default() })
    }

    fn update_from(&self, by: &Caller, address: &str) -> Answer<JobView> {
        check_address(address)?;
        Ok(self.begin(by, "update", "gets it"))
    }

    fn update_with(&self, by: &Caller, bytes: &mut dyn Read) -> Answer<JobView> {
        let mut sent = Vec::new();
        let came = bytes.read_to_end(&mut sent);
        if came.is_err() || !sent.starts_with(b"LIFEBOAT UPDATE") {
            return Err(Refusal::new(422, "an update", "is not signed by whom is trusted"));
        }
        self.state().next = Some("0.2.0".into());
        Ok(self.begin(by, "update", &format!("{} bytes came", sent.len())))
    }

    fn restart(&self, by: &Caller) -> Answer<()> {
        self.note(Health::Good, "restarted", "appliance", "it starts anew", Some(by));
        Ok(())
    }

    fn orders(&self) -> Answer<Vec<OrderView>> {
        Ok(self.state().orders.clone())
    }

    fn order(&self, id: &str) -> Answer<OrderView> {
        let found = self.state().orders.iter().find(|order| order.order == id).cloned();
        found.ok_or_else(|| missing("order", id))
    }

    fn give_order(&self, by: &Caller, asked: &OrderAsked) -> Answer<OrderView> {
        self.change_orders(by, asked)
    }

    fn estimate(&self, asked: &OrderAsked) -> Answer<serde_json::Value> {
        find(&self.state(), &asked.server)?;
        Ok(serde_json::json!({
            "kind": asked.kind, "server": asked.server, "total_millis": 420_000,
            "makes": [{ "what": "machine", "name": asked.server, "detail": "Standard_D2s_v5" }],
            "steps": [{ "step": "fill", "millis": 300_000, "from": "the last drill" }],
            "notes": ["the drill's network has no way out"],
        }))
    }

    fn resume(&self, _: &Caller, id: &str) -> Answer<OrderView> {
        self.change_order(id, |order| order.running = true)
    }

    fn commit(&self, _: &Caller, id: &str) -> Answer<OrderView> {
        self.change_order(id, |order| order.state = "committed".into())
    }

    fn cancel(&self, _: &Caller, id: &str) -> Answer<OrderView> {
        self.change_order(id, |order| {
            order.state = "cancelled".into();
            order.running = false;
        })
    }

    fn report(&self, id: &str) -> Answer<String> {
        let page = |what: &str| format!("<!DOCTYPE html><title>{what}</title>");
        let is_run = |plan: &PlanView| plan.last_run.as_ref().is_some_and(|run| run.run == id);
        if let Some(plan) = self.state().plans.values().find(|plan| is_run(plan)) {
            return Ok(page(&plan.name));
        }
        self.order(id).map(|order| page(&order.order))
    }

    fn sweep(&self, _: &Caller, _: bool) -> Answer<Sweep> {
        Ok(Sweep::default())
    }

    fn plans(&self) -> Answer<Vec<PlanView>> {
        Ok(self.state().plans.values().cloned().collect())
    }

    fn set_plan(&self, _: &Caller, name: &str, text: &str) -> Answer<PlanView> {
        self.change_plan(name, text)
    }

    fn run_plan(&self, by: &Caller, name: &str, drill: bool) -> Answer<PlanRunView> {
        self.begin_plan(by, name, drill)
    }

    fn continue_plan(&self, _: &Caller, name: &str) -> Answer<PlanRunView> {
        self.go_on(name)
    }

    fn commit_plan(&self, by: &Caller, name: &str) -> Answer<JobView> {
        self.keep_plan(by, name)
    }

    fn target(&self, name: &str) -> Answer<String> {
        let target = find(&self.state(), name)?.target.clone();
        target.ok_or_else(|| missing("target profile of server", name))
    }

    fn set_target(&self, _: &Caller, name: &str, text: &str) -> Answer<String> {
        self.change_target(name, text)
    }

    fn jobs(&self) -> Answer<Vec<JobView>> {
        Ok(self.state().jobs.clone())
    }

    fn job(&self, id: &str) -> Answer<JobView> {
        let found = self.state().jobs.iter().find(|job| job.id == id).cloned();
        found.ok_or_else(|| missing("job", id))
    }

    fn events(&self, filter: &EventFilter) -> Answer<EventPage> {
        Ok(self.told_events(filter))
    }

    fn support_bundle(&self) -> Answer<Vec<u8>> {
        Err(Refusal::new(503, "the support bundle", "a made-up appliance has none"))
    }
}
