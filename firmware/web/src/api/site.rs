//! What answers behind the API: the appliance as a trait, so that the API is tested without one.

use std::io::Read;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::views::appliance::{ApplianceView, CalendarView, MeasurementsView, UpdateView};
use super::views::events::{EventFilter, EventPage};
use super::views::files::{FileBytes, FilePlace, Listing};
use super::views::recovery::{OrderAsked, OrderView, PlanRunView, PlanView, Sweep};
use super::views::servers::{
    Install, Overview, PointView, PolicyView, Readiness, SeenServer, Series, SeriesAsked,
    ServerView,
};
use super::views::vault::{JobView, KitPage, Retention, VaultView};

/// What somebody may do. Each may also do what those before it may.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "who shows it must have a word for each")]
pub enum Role {
    /// Sees everything but secrets.
    Viewer,
    /// Protects, drills, fails over.
    Operator,
    /// Sets up, deletes, lets others in.
    Administrator,
}

/// Who asks, for the audit log and for what an order says about who gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// A user's or a token's name.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

/// Why something was not done, for a person: told beside the field where there is one. `application/problem+json` of RFC 9457.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refusal {
    /// HTTP's status: 400 what was sent, 403 who sent it, 404 not there, 409 in the way of something, 422 refused, 503 not now.
    pub status: u16,
    /// On which object: `server web1`.
    pub title: String,
    /// What failed.
    pub detail: String,
    /// What to do now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The field of what was sent that is meant, as a JSON pointer: `/policy/interval_seconds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// After how many seconds it may be tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_seconds: Option<u64>,
}

/// What a call answers.
pub type Answer<T> = Result<T, Refusal>;

/// The appliance behind the API. Every call may block and is made on a thread of its own; none panics on whatever it is given.
///
/// What takes long is begun and answered by a [`JobView`], whose progress comes with the events of the stream and by
/// [`Site::job`]. Names are those of DESIGN section 1.
pub trait Site: Send + Sync {
    /// Every server at a glance, vault, spool, work in progress.
    fn overview(&self) -> Answer<Overview>;
    /// One server whole.
    fn server(&self, name: &str) -> Answer<ServerView>;
    /// Its points, the newest first, at most `limit`, none newer than `before_millis`.
    fn points(
        &self,
        name: &str,
        before_millis: Option<u64>,
        limit: usize,
    ) -> Answer<Vec<PointView>>;
    /// A point stays, whatever the retention says, until somebody lets it go. `why` is told beside it; pinned again, it is pinned
    /// for the newer reason.
    fn pin(&self, by: &Caller, name: &str, point: &str, why: &str) -> Answer<PointView>;
    /// The retention counts for the point again.
    fn unpin(&self, by: &Caller, name: &str, point: &str) -> Answer<PointView>;
    /// One measured figure over time.
    fn series(&self, name: &str, asked: &SeriesAsked) -> Answer<Series>;
    /// Its policy is replaced, live.
    fn set_policy(&self, by: &Caller, name: &str, policy: &PolicyView) -> Answer<ServerView>;
    /// It is judged now; `with_azure` asks the subscription too.
    fn readiness(&self, name: &str, with_azure: bool) -> Answer<Readiness>;
    /// A one-time token and the line that is run on a server. `name`: what it is to be called, or as the server says; one that
    /// was revoked comes in again only where `readmit` says so.
    fn install(&self, by: &Caller, name: Option<&str>, readmit: bool) -> Answer<Install>;
    /// Machines on the network that speak SSH, for an administrator to pick from. Takes seconds.
    fn seen(&self, network: &str) -> Answer<Vec<SeenServer>>;
    /// No agent comes in as this server any more; its points stay.
    fn revoke(&self, by: &Caller, name: &str) -> Answer<ServerView>;
    /// The next machine that shows up as this server is it. `after_failover`: the failover that stands is over.
    fn accept(&self, by: &Caller, name: &str, after_failover: bool) -> Answer<ServerView>;

    /// The vault.
    fn vault(&self) -> Answer<VaultView>;
    /// Every object is checked, `deep` with every seal.
    fn verify(&self, by: &Caller, deep: bool) -> Answer<JobView>;
    /// What the retention says goes.
    fn prune(&self, by: &Caller, dry_run: bool) -> Answer<JobView>;
    /// How long points are kept: of the server, or of all that say nothing themselves.
    fn set_retention(&self, by: &Caller, retention: &Retention) -> Answer<VaultView>;
    /// The recovery kit to print: says where everything is, and holds no key.
    fn kit(&self) -> Answer<KitPage>;

    /// What lies in a folder of a point; without a disk the disks, without a volume its volumes.
    fn list(&self, place: &FilePlace) -> Answer<Listing>;
    /// A file's bytes from `offset`, at most `limit`.
    fn read(&self, place: &FilePlace, offset: u64, limit: usize) -> Answer<FileBytes>;

    /// The machine.
    fn appliance(&self) -> Answer<ApplianceView>;
    /// What was measured before it began.
    fn measurements(&self) -> Answer<MeasurementsView> {
        Err(Refusal::new(409, "the measured boot", "this machine has no security chip"))
    }
    /// How much may be sent at which hours of the week.
    fn set_calendar(&self, by: &Caller, calendar: &CalendarView) -> Answer<ApplianceView>;

    /// What runs, and whether an update may be put in.
    fn update(&self) -> Answer<UpdateView>;
    /// An update is got from an address and put in.
    fn update_from(&self, by: &Caller, address: &str) -> Answer<JobView>;
    /// An update is put in while its bytes come; the job may still be at it when they all have.
    fn update_with(&self, by: &Caller, bytes: &mut dyn Read) -> Answer<JobView>;
    /// The machine starts anew, into an update where one was put in.
    fn restart(&self, by: &Caller) -> Answer<()>;

    /// Orders, the newest first.
    fn orders(&self) -> Answer<Vec<OrderView>>;
    /// One order.
    fn order(&self, id: &str) -> Answer<OrderView>;
    /// Drill, failover, planned failover: given and carried on until its end, whatever becomes of who asked.
    fn give_order(&self, by: &Caller, asked: &OrderAsked) -> Answer<OrderView>;
    /// What it would make and take; nothing is made.
    fn estimate(&self, asked: &OrderAsked) -> Answer<serde_json::Value>;
    /// Goes on with an order that stopped.
    fn resume(&self, by: &Caller, id: &str) -> Answer<OrderView>;
    /// Keeps a failover.
    fn commit(&self, by: &Caller, id: &str) -> Answer<OrderView>;
    /// Takes an order back.
    fn cancel(&self, by: &Caller, id: &str) -> Answer<OrderView>;
    /// The page to print of an order or of a plan's run: HTML without script.
    fn report(&self, id: &str) -> Answer<String>;
    /// What stands in Azure and belongs to no order; `remove` takes it away.
    fn sweep(&self, by: &Caller, remove: bool) -> Answer<Sweep>;
    /// Recovery plans.
    fn plans(&self) -> Answer<Vec<PlanView>>;
    /// Makes or replaces a plan; `text` is TOML as of `lifeboat plan create`.
    fn set_plan(&self, by: &Caller, name: &str, text: &str) -> Answer<PlanView>;
    /// Begins a run.
    fn run_plan(&self, by: &Caller, name: &str, drill: bool) -> Answer<PlanRunView>;
    /// Answers a manual step.
    fn continue_plan(&self, by: &Caller, name: &str) -> Answer<PlanRunView>;
    /// Keeps what the plan's last run failed over, all of it or nothing: as of a job, begun.
    fn commit_plan(&self, by: &Caller, name: &str) -> Answer<JobView>;
    /// Where a server is recovered to, as TOML of `lifeboat target`.
    fn target(&self, name: &str) -> Answer<String>;
    /// The same, changed.
    fn set_target(&self, by: &Caller, name: &str, text: &str) -> Answer<String>;

    /// Long work, the newest first.
    fn jobs(&self) -> Answer<Vec<JobView>>;
    /// One piece of it.
    fn job(&self, id: &str) -> Answer<JobView>;
    /// What happened, the newest first.
    fn events(&self, filter: &EventFilter) -> Answer<EventPage>;
    /// Everything that helps whoever helps, without a secret: a tar, packed by gzip.
    fn support_bundle(&self) -> Answer<Vec<u8>>;
}
