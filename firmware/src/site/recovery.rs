//! Drills, failovers and plans: given here, kept in the vault, carried on by a process of their own, whatever becomes of who asked.

use core::time::Duration;

use firmware_recovery::documents;
use firmware_recovery::order::orders::{self, Wanted};
use firmware_recovery::order::{Kind, Order, State};
use firmware_recovery::plan::runs;
use firmware_recovery::plan::{Plan, Run, RunState, Text};
use firmware_recovery::profile::Profile;
use firmware_recovery::{report, target};
use firmware_web::api::Caller;
use firmware_web::api::site::Answer;
use firmware_web::api::views::recovery::{
    Found, OrderAsked, OrderView, PlanEntry, PlanRunView, PlanView, StepView, Sweep,
};
use firmware_web::api::views::servers::Readiness;
use firmware_web::api::views::vault::{JobState, JobView};
use pipeline::ids::{OrderId, PlanId, ServerId};
use pipeline_vault::Error;
use pipeline_vault::document::Name;
use serde::Serialize;
use serde_json::Value;

use super::jobs::Wanted as Work;
use super::refuse::{in_the_way, missing, refusal, wrong};
use super::{LiveSite, Opened, Refusal, failed, lock};
use crate::child::{self, Verb};
use crate::recovery::acts::new_id;
use crate::verbs::host_name;

/// Orders of one answer, the newest.
const ORDERS_MAX: usize = 500;
/// Longest text of a plan or a profile.
const TEXT_BYTES_MAX: usize = 256 * 1024;
/// How long a run of a plan is waited for until it is in the vault.
const RUN_PATIENCE: u32 = 100;
const LOOK: Duration = Duration::from_millis(100);

impl LiveSite {
    pub(super) fn verb(&self, opened: &Opened, words: &[&str]) -> Verb {
        opened.vaulted.verb(words, self.facts.program.as_ref())
    }

    /// The same for somebody: what it begins in the vault says by whom.
    pub(super) fn verb_of(&self, opened: &Opened, by: &Caller, words: &[&str]) -> Verb {
        let mut verb = self.verb(opened, words);
        verb.environment
            .retain(|(name, _)| !["SUDO_USER", "USER", "LOGNAME"].contains(&name.as_str()));
        verb.environment.push(("USER".to_owned(), by.name.clone()));
        verb
    }

    /// Runs a verb while somebody waits for its answer.
    fn ask(&self, object: &str, verb: &Verb) -> Answer<Value> {
        let answer = child::run(verb, &|| self.is_over(), &mut |_| {});
        answer.map(|answer| answer.value).map_err(|why| failed(object, why))
    }

    pub(super) fn order_views(&self) -> Answer<Vec<OrderView>> {
        let sight = self.sight();
        Ok(sight.orders.iter().take(ORDERS_MAX).map(|order| self.view_of(order)).collect())
    }

    pub(super) fn order_view(&self, id: &str) -> Answer<OrderView> {
        Ok(self.view_of(&self.load_order(id)?))
    }

    /// An order as it is now, with its pictures and logs.
    fn load_order(&self, id: &str) -> Answer<Order> {
        let unknown = || missing(format!("order {id}"), "is not in the vault");
        let order: OrderId = id.parse().map_err(|_| unknown())?;
        let opened = self.opened()?;
        let (_, found) = documents::load(&opened.vault, Name::Order(order)).map_err(refusal)?;
        found.ok_or_else(unknown)
    }

    fn view_of(&self, order: &Order) -> OrderView {
        let id = order.id.to_string();
        let held = order.holder.as_ref().is_some_and(|holder| holder.until_millis > self.now());
        OrderView {
            running: self.jobs.is_at(&id) || (held && !order.is_over()),
            order: id,
            server: order.server_name.clone(),
            kind: word(&order.kind),
            state: match order.state {
                State::Drilled if order.evidence.up != Some(true) => "drilled_badly".to_owned(),
                state => word(&state),
            },
            by: order.ordered_by.clone(),
            ordered_millis: order.ordered_millis,
            point: order.point.as_ref().map(|point| point.id.clone()),
            point_millis: order.point.as_ref().map(|point| point.time_millis),
            steps: order
                .steps
                .iter()
                .map(|record| StepView {
                    step: record.step.name().to_owned(),
                    standing: word(&record.standing),
                    took_millis: record.took_millis,
                })
                .collect(),
            up: order.evidence.up,
            rto_millis: order.rto_millis(),
            console: order.evidence.console.clone(),
            screenshot: order.evidence.screenshot.as_ref().map(|image| picture(image)),
            address: order.evidence.address.clone(),
            trouble: order.trouble.clone(),
            notes: order.notes.iter().map(|note| note.text.clone()).collect(),
        }
    }

    pub(super) fn begin_order(&self, by: &Caller, asked: &OrderAsked) -> Answer<OrderView> {
        let (kind, verb) = kind_of(&asked.kind)?;
        let server = self.server_id(&asked.server)?;
        let object = format!("server {}", asked.server);
        if kind != Kind::Drill && asked.confirm != asked.server {
            let words = "is not the server's name: type it to confirm";
            return Err(wrong("/confirm", object, words));
        }
        let opened = self.opened()?;
        let wanted = Wanted {
            server,
            server_name: asked.server.clone(),
            kind,
            point: point_of(asked)?,
            by: format!("{}@{}", by.name, host_name()),
            at_millis: self.now(),
            reads_first: true,
            despite_obstacles: false,
            keeps: asked.keep && kind == Kind::Drill,
            shared: None,
        };
        let profile = orders::profile_for(&opened.vault, &wanted).map_err(refusal)?;
        let id = new_id(&self.facts.machine).map_err(refusal)?;
        let order = wanted.order(id, opened.id.clone(), profile);
        orders::give(&opened.vault, &order).map_err(refusal)?;
        let id = id.to_string();
        self.tell_of(by, "order_given", object, format!("A {kind} was ordered: {id}."));
        self.carry_on(by, verb, &order, &[verb, "--resume", &id])?;
        self.order_view(&id)
    }

    /// Has an order carried on by a process of its own.
    fn carry_on(
        &self,
        by: &Caller,
        kind: &'static str,
        order: &Order,
        words: &[&str],
    ) -> Answer<()> {
        let opened = self.opened()?;
        self.jobs.begin(Work {
            kind,
            object: format!("server {}", order.server_name),
            by: by.name.clone(),
            verb: self.verb_of(&opened, by, words),
            order: Some(order.id.to_string()),
        })?;
        self.wake();
        Ok(())
    }

    fn open_order(&self, id: &str) -> Answer<Order> {
        let order = self.load_order(id)?;
        if order.is_over() {
            let words = format!("is over: {}", word(&order.state));
            return Err(in_the_way(format!("order {id}"), words, "give another one"));
        }
        Ok(order)
    }

    pub(super) fn resume_order(&self, by: &Caller, id: &str) -> Answer<OrderView> {
        let order = self.open_order(id)?;
        let verb = order.kind.verb();
        self.carry_on(by, verb, &order, &[verb, "--resume", id])?;
        let object = format!("server {}", order.server_name);
        self.tell_of(by, "order_resumed", object, format!("Order {id} is gone on with."));
        self.order_view(id)
    }

    pub(super) fn commit_order(&self, by: &Caller, id: &str) -> Answer<OrderView> {
        let order = self.open_order(id)?;
        let object = format!("server {}", order.server_name);
        if order.kind == Kind::Drill || order.state != State::Up {
            let words = format!("is no failover whose server runs: {}", word(&order.state));
            return Err(in_the_way(format!("order {id}"), words, "wait until its server is up"));
        }
        self.carry_on(by, "commit", &order, &["commit", "--server", &order.server_name])?;
        self.tell_of(by, "order_committed", object, format!("The failover {id} is to be kept."));
        self.order_view(id)
    }

    pub(super) fn cancel_order(&self, by: &Caller, id: &str) -> Answer<OrderView> {
        let order = self.open_order(id)?;
        let object = format!("server {}", order.server_name);
        // Whoever is at it here ends in order first.
        self.jobs.stop_at(id);
        self.carry_on(by, "cancel", &order, &["cleanup", "--order", id])?;
        self.tell_of(by, "order_cancelled", object, format!("Order {id} is taken back."));
        self.order_view(id)
    }

    pub(super) fn estimate_order(&self, asked: &OrderAsked) -> Answer<Value> {
        let (kind, verb) = kind_of(&asked.kind)?;
        let server = self.server_id(&asked.server)?;
        let opened = self.opened()?;
        let point = point_of(asked)?;
        let kept = target::load(&opened.vault, server).map_err(refusal)?;
        if kept.profile.is_none() {
            let (object, words) = (format!("server {}", asked.server), "has no target profile");
            return Err(in_the_way(object, words, "say where it is recovered to first"));
        }
        let mut words = vec![verb, "--dry-run", "--server", &asked.server];
        if kind == Kind::Planned {
            words.push("--planned");
        } else {
            words.extend(["--point", &point]);
        }
        self.ask(&format!("server {}", asked.server), &self.verb(&opened, &words))
    }

    pub(super) fn judge_readiness(&self, name: &str, with_azure: bool) -> Answer<Readiness> {
        let (server, ready, _) = self.judged(name, with_azure)?;
        self.note_readiness(server, &ready);
        Ok(ready)
    }

    /// The same, first by what the vault says, then, where nothing of that is in the way, with Azure; whether that could be
    /// reached. What nobody reaches just now says nothing of the server.
    pub(super) fn judge_daily(&self, name: &str, with_azure: bool) -> Answer<(Readiness, bool)> {
        let (server, ready, _) = self.judged(name, false)?;
        self.note_readiness(server, &ready);
        if !with_azure || !ready.ready {
            return Ok((ready, true));
        }
        let (server, asked, unreached) = self.judged(name, true)?;
        if unreached {
            return Ok((ready, false));
        }
        self.note_readiness(server, &asked);
        Ok((asked, true))
    }

    fn note_readiness(&self, server: ServerId, ready: &Readiness) {
        // Without a profile nobody meant it to be recovered: that is no trouble of its protection.
        if ready.has_profile {
            lock(&self.readiness).insert(server, ready.clone());
        }
    }

    fn judged(&self, name: &str, with_azure: bool) -> Answer<(ServerId, Readiness, bool)> {
        let server = self.server_id(name)?;
        let opened = self.opened()?;
        let mut words = vec!["ready", "--server", name];
        if with_azure {
            words.push("--azure");
        }
        let answer = child::run(&self.verb(&opened, &words), &|| self.is_over(), &mut |_| {});
        let value = match answer {
            Ok(answer) => answer.value,
            // Who is not ready is no failure of judging.
            Err(child::Failed { value: Some(value), .. }) => value,
            Err(why) => return Err(failed(format!("server {name}"), why)),
        };
        let judged = &value["servers"][0];
        let texts = |name: &str| -> Vec<String> {
            let list = judged[name].as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let ready = Readiness {
            ready: judged["ready"].as_bool().unwrap_or(false),
            problems: texts("problems"),
            warnings: texts("warnings"),
            repairs: texts("repairs"),
            judged_millis: Some(self.now()),
            asked_azure: judged["asked_azure"].as_bool().unwrap_or(false),
            about_millis: judged["about_millis"].as_u64(),
            has_profile: judged["has_profile"].as_bool().unwrap_or(false),
        };
        Ok((server, ready, judged["azure_unreached"].as_bool().unwrap_or(false)))
    }

    pub(super) fn report_page(&self, id: &str) -> Answer<String> {
        let unknown = || missing(format!("report {id}"), "is of no order and of no run of a plan");
        let wanted: OrderId = id.parse().map_err(|_| unknown())?;
        let opened = self.opened()?;
        let (_, found) =
            documents::load::<Order>(&opened.vault, Name::Order(wanted)).map_err(refusal)?;
        if let Some(order) = found {
            return Ok(report::order_page(&order));
        }
        for plan in &self.sight().plans {
            if let Some(run) = plan.runs.iter().find(|run| run.id == wanted) {
                let orders = self.orders_of(&opened, run)?;
                return Ok(report::run_page(plan, run, &orders));
            }
        }
        Err(unknown())
    }

    fn orders_of(&self, opened: &Opened, run: &Run) -> Answer<Vec<Order>> {
        let mut orders = Vec::new();
        for known in &run.orders {
            let (_, order) =
                documents::load(&opened.vault, Name::Order(known.order)).map_err(refusal)?;
            orders.extend(order);
        }
        Ok(orders)
    }

    pub(super) fn sweep_azure(&self, by: &Caller, remove: bool) -> Answer<Sweep> {
        let opened = self.opened()?;
        let words: &[&str] = if remove { &["cleanup", "--orphans"] } else { &["cleanup"] };
        let value = self.ask("Azure", &self.verb_of(&opened, by, words))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let found = list(&value["found"])
            .iter()
            .map(|found| Found {
                id: text(&found["id"]),
                order: text(&found["order"]),
                belongs: text(&found["belongs"]),
            })
            .collect();
        let removed: Vec<String> = list(&value["removed"]).iter().map(text).collect();
        if remove {
            let words =
                format!("{} things that belonged to no order were taken away.", removed.len());
            self.tell_of(by, "azure_swept", "Azure".to_owned(), words);
        }
        Ok(Sweep { found, removed })
    }

    pub(super) fn plan_views(&self) -> Answer<Vec<PlanView>> {
        let sight = self.sight();
        Ok(sight.plans.iter().map(|plan| self.plan_view(plan)).collect())
    }

    fn plan_view(&self, plan: &Plan) -> PlanView {
        let names = |group: &firmware_recovery::plan::Group| {
            group.servers.iter().map(|member| member.name.clone()).collect()
        };
        PlanView {
            name: plan.text.name.clone(),
            text: toml::to_string_pretty(&plan.text).unwrap_or_default(),
            groups: plan.text.groups.iter().map(names).collect(),
            last_run: plan.runs.last().map(|run| self.run_view(plan, run)),
        }
    }

    fn run_view(&self, plan: &Plan, run: &Run) -> PlanRunView {
        let sight = self.sight();
        let of = |order: OrderId| sight.orders.iter().find(|known| known.id == order);
        let orders = run.orders.iter().filter_map(|known| of(known.order));
        let entry = |entry: &firmware_recovery::plan::Entry| PlanEntry {
            what: entry.what.clone(),
            began_millis: entry.began_millis,
            took_millis: entry.took_millis,
            failed: entry.failed.clone(),
        };
        PlanRunView {
            plan: plan.text.name.clone(),
            run: run.id.to_string(),
            drill: run.drill,
            state: word(&run.state),
            by: run.by.clone(),
            began_millis: run.began_millis,
            waits_for: report::waits_for(plan, run),
            trouble: run.trouble.clone(),
            entries: run.entries.iter().map(entry).collect(),
            orders: orders.map(|order| self.view_of(order)).collect(),
        }
    }

    fn find_plan(&self, name: &str) -> Answer<Plan> {
        let opened = self.opened()?;
        let found = runs::find(&opened.vault, name).map_err(refusal)?;
        let missed = || missing(format!("plan {name}"), "is not in the vault");
        found.map(|(_, plan)| plan).ok_or_else(missed)
    }

    pub(super) fn change_plan(&self, by: &Caller, name: &str, text: &str) -> Answer<PlanView> {
        let object = format!("plan {name}");
        let text: Text = read_toml(&object, text)?;
        if text.name != name {
            return Err(wrong("", object, format!("is called {} in its text", text.name)));
        }
        let problems = text.problems(&|server| self.sight().servers.contains_key(server));
        if !problems.is_empty() {
            return Err(wrong("", object, problems.join("; ")));
        }
        let opened = self.opened()?;
        let place = match runs::find(&opened.vault, name).map_err(refusal)? {
            Some((place, _)) => place,
            None => Name::Plan(PlanId(new_id(&self.facts.machine).map_err(refusal)?.0)),
        };
        let Name::Plan(id) = place else {
            return Err(missing(object, "is no plan"));
        };
        let fresh = || Plan::new(id, text.clone());
        documents::change(&opened.vault, place, &fresh, &mut |plan: &mut Plan| {
            plan.become_text(&text)
        })
        .map_err(refusal)?;
        self.tell_of(by, "plan_set", object, "The plan was changed.".to_owned());
        self.wake();
        Ok(self.plan_view(&self.find_plan(name)?))
    }

    /// Begins a run, or goes on with one where `drill` is not said.
    pub(super) fn begin_plan(
        &self,
        by: &Caller,
        name: &str,
        drill: Option<bool>,
    ) -> Answer<PlanRunView> {
        let plan = self.find_plan(name)?;
        let opened = self.opened()?;
        let (id, object) = (plan.id.to_string(), format!("plan {name}"));
        let last = plan.runs.last().map(|run| run.id);
        let waits =
            plan.open_run().is_some_and(|run| run.state != RunState::Open || run.holder.is_none());
        let (kind, words): (_, Vec<&str>) = match drill {
            Some(_) if plan.open_run().is_some() => {
                return Err(in_the_way(object, "has an open run", "go on with that one first"));
            }
            Some(true) => ("plan drill", vec!["plan", "run", &id, "--drill"]),
            Some(false) => ("plan failover", vec!["plan", "run", &id]),
            None if waits => ("plan continue", vec!["plan", "continue", &id]),
            None => return Err(in_the_way(object, "has no run that waits", "begin one")),
        };
        let work = Work {
            kind,
            object: object.clone(),
            by: by.name.clone(),
            verb: self.verb_of(&opened, by, &words),
            order: None,
        };
        let job = self.jobs.begin(work)?;
        self.tell_of(by, "plan_run", object.clone(), format!("{kind}: begun."));
        for _ in 0..RUN_PATIENCE {
            let plan = self.find_plan(name)?;
            if let Some(run) =
                plan.runs.last().filter(|run| drill.is_none() || Some(run.id) != last)
            {
                self.wake();
                return Ok(self.run_view(&plan, run));
            }
            let view = self.jobs.find(&job.id);
            if let Some(view) = view.filter(|view| view.state != JobState::Running) {
                return Err(in_the_way(object, view.words, "mend that, then begin it again"));
            }
            std::thread::sleep(LOOK);
        }
        Err(in_the_way(object, "has begun, and is not in the vault yet", "look again in a moment"))
    }

    /// Whether there is anything to commit is said here; the rest by a process of its own.
    pub(super) fn keep_plan(&self, by: &Caller, name: &str) -> Answer<JobView> {
        let plan = self.find_plan(name)?;
        let object = format!("plan {name}");
        let run = plan.runs.last().filter(|run| !run.drill && plan.open_run().is_none());
        if run.is_none() {
            let words = "was not failed over by its last run, or that run is not through";
            return Err(in_the_way(object, words, "let a failover by it come to its end first"));
        }
        let opened = self.opened()?;
        let job = self.jobs.begin(Work {
            kind: "plan commit",
            object: object.clone(),
            by: by.name.clone(),
            verb: self.verb_of(&opened, by, &["plan", "commit", &plan.id.to_string()]),
            order: None,
        })?;
        let words = "What it failed over is to be kept.".to_owned();
        self.tell_of(by, "plan_committed", object, words);
        self.wake();
        Ok(job)
    }

    pub(super) fn target_text(&self, name: &str) -> Answer<String> {
        let server = self.server_id(name)?;
        let opened = self.opened()?;
        let kept = target::load(&opened.vault, server).map_err(refusal)?;
        let profile = kept.profile.ok_or_else(|| {
            missing(
                format!("server {name}"),
                "has no target profile: nobody said where it is recovered to",
            )
        })?;
        toml::to_string_pretty(&profile)
            .map_err(|error| refusal(Error::misuse("target profile", error.to_string())))
    }

    pub(super) fn change_target(&self, by: &Caller, name: &str, text: &str) -> Answer<String> {
        let server = self.server_id(name)?;
        let object = format!("target profile of {name}");
        let profile: Profile = read_toml(&object, text)?;
        let problems = profile.problems();
        if !problems.is_empty() {
            return Err(wrong("", object, problems.join("; ")));
        }
        let opened = self.opened()?;
        target::set_profile(&opened.vault, server, name, &profile).map_err(refusal)?;
        let words = "Where it is recovered to was changed.".to_owned();
        self.tell_of(by, "target_set", format!("server {name}"), words);
        self.wake();
        self.target_text(name)
    }
}

/// A value's word in JSON.
fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn kind_of(text: &str) -> Result<(Kind, &'static str), Refusal> {
    match text {
        "drill" => Ok((Kind::Drill, "drill")),
        "failover" => Ok((Kind::Failover, "failover")),
        "planned" => Ok((Kind::Planned, "failover")),
        other => {
            let words = format!("{other:?} is none of drill, failover and planned");
            Err(wrong("/kind", "an order", words))
        }
    }
}

/// The point that is meant. A planned failover makes its own.
fn point_of(asked: &OrderAsked) -> Result<String, Refusal> {
    let point = asked.point.clone().unwrap_or_else(|| "latest".to_owned());
    let is_id = point.len() <= 32 && point.bytes().all(|byte| byte.is_ascii_hexdigit());
    if point == "latest" || point == "latest-app" || (is_id && !point.is_empty()) {
        return Ok(point);
    }
    let words = format!("{point:?} is none of latest, latest-app and a point's identity");
    Err(wrong("/point", format!("server {}", asked.server), words))
}

fn read_toml<T: serde::de::DeserializeOwned>(object: &str, text: &str) -> Result<T, Refusal> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(wrong("", object, format!("is longer than {TEXT_BYTES_MAX} bytes")));
    }
    toml::from_str(text).map_err(|error| wrong("", object, error.to_string().trim().to_owned()))
}

/// An image in base64 as a data URI: what it is stands in its first bytes.
fn picture(base64: &str) -> String {
    let kind = match base64.get(..2) {
        Some("/9") => "jpeg",
        Some("Qk") => "bmp",
        _ => "png",
    };
    format!("data:image/{kind};base64,{base64}")
}
