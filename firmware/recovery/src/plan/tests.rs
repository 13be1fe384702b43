//! Plans against a region in memory: groups in their order, hooks, steps for people, failures, kills; and a drill takes itself back.

use core::sync::atomic::{AtomicU8, Ordering};
use core::time::Duration;
use std::sync::Mutex;

use pipeline::ids::{OrderId, PlanId, ServerId};
use pipeline_vault::Error;
use pipeline_vault::document::Name;

use super::runs::{Acts, Begin, PlanWork};
use super::*;
use crate::documents;
use crate::order::run::Work;
use crate::order::{Order, State};
use crate::target;
use crate::test_world::{Process, Site, profile};

/// What is other for a server of a plan, and who is brought up together.
mod members;

const NAME: Name = Name::Plan(PlanId([3; 16]));
const SERVERS: [&str; 3] = ["db1", "app1", "web1"];

/// Hooks that are written down, and fail so often.
#[derive(Default)]
struct Hooks {
    done: Mutex<Vec<String>>,
    failures: Mutex<u32>,
    ids: AtomicU8,
}

impl Hooks {
    fn note(&self, what: String) -> Result<(), Error> {
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return Err(Error::refused(what, "fails"));
        }
        self.done.lock().unwrap().push(what);
        Ok(())
    }
}

impl Acts for Hooks {
    fn webhook(&self, url: &str, _: &str, _: Duration) -> Result<(), Error> {
        self.note(url.to_owned())
    }

    fn command(&self, run: &[String], _: Duration, told: &[(&str, String)]) -> Result<(), Error> {
        self.note(format!("{} {}", run.join(" "), told[2].1))
    }

    fn server(&self, name: &str) -> Result<ServerId, Error> {
        let place = SERVERS.iter().position(|known| *known == name).expect("a server");
        Ok(ServerId([u8::try_from(place).unwrap() + 20; 16]))
    }

    fn new_id(&self) -> Result<OrderId, Error> {
        Ok(OrderId([self.ids.fetch_add(1, Ordering::SeqCst) + 50; 16]))
    }
}

fn text() -> Text {
    let member = |name: &str| Member {
        name: name.to_owned(),
        sizes: (name == "db1").then(|| vec!["Standard_D4s_v5".to_owned()]),
        network: None,
        subnet: None,
        address: None,
    };
    let hook = Action::Webhook { url: "https://hook".to_owned(), body: String::new(), within_s: 5 };
    let command = Action::Command { run: vec!["dns".to_owned(), "web1".to_owned()], within_s: 5 };
    Text {
        name: "shop".to_owned(),
        groups: vec![
            Group {
                name: "data".to_owned(),
                before: vec![Action::Manual("call".to_owned()), hook],
                servers: vec![member("db1")],
                after: vec![Action::Wait(30)],
            },
            Group {
                name: "front".to_owned(),
                before: Vec::new(),
                servers: vec![member("app1"), member("web1")],
                after: vec![command],
            },
        ],
    }
}

fn site() -> Site {
    let site = Site::new();
    let process = site.process(9);
    let hooks = Hooks::default();
    for name in SERVERS {
        let server = hooks.server(name).unwrap();
        target::set_profile(&process.documents, server, name, &profile()).unwrap();
    }
    let plan = Plan::new(PlanId([3; 16]), text());
    documents::change(&process.documents, NAME, &|| plan.clone(), &mut |_: &mut Plan| Ok(()))
        .unwrap();
    site
}

/// Changes what the plan's text says.
fn change(process: &Process<'_>, change: &dyn Fn(&mut Text)) {
    documents::change(&process.documents, NAME, &|| unreachable!(), &mut |plan: &mut Plan| {
        change(&mut plan.text);
        Ok(())
    })
    .unwrap();
}

fn begin(drill: bool) -> Begin {
    Begin { drill, point: "latest".to_owned(), by: "ann@one".to_owned(), despite_obstacles: false }
}

/// Goes on as a person does who says yes to every manual step.
fn go(process: &Process<'_>, hooks: &Hooks, drill: bool) -> Result<Plan, Error> {
    let (begin, vault) = (begin(drill), "vault-1".to_owned());
    let known: Plan = documents::load(&process.documents, NAME)?.1.expect("a plan");
    let over = known.runs.last().is_some_and(Run::is_over);
    if over {
        return Ok(known);
    }
    let mut work = PlanWork::take(process.world(), hooks, vault, NAME, Some(&begin))?;
    loop {
        work.answer()?;
        work.carry_on()?;
        if work.plan().open_run().is_none() {
            return Ok(work.plan().clone());
        }
    }
}

fn orders(process: &Process<'_>, plan: &Plan) -> Vec<Order> {
    let run = plan.runs.last().unwrap();
    run.orders.iter().map(|known| process.read(Name::Order(known.order))).collect()
}

#[test]
fn groups_follow_each_other_and_hooks_and_people_stand_between_them() {
    let site = site();
    let (process, hooks) = (site.process(1), Hooks::default());
    let vault = "vault-1".to_owned();
    let mut work =
        PlanWork::take(process.world(), &hooks, vault.clone(), NAME, Some(&begin(false))).unwrap();
    work.carry_on().expect("it waits");
    assert_eq!(work.plan().open_run().unwrap().state, RunState::Waits);
    assert!(site.region.things().is_empty() && hooks.done.lock().unwrap().is_empty());
    // Going on without the person's word changes nothing.
    work.carry_on().expect("it waits");
    assert_eq!(work.plan().open_run().unwrap().state, RunState::Waits);
    let other = PlanWork::take(process.world(), &hooks, vault, NAME, Some(&begin(true)));
    assert!(other.err().expect("of another kind").to_string().contains("open failover"));
    work.answer().unwrap();
    work.carry_on().expect("to its end");
    let plan = work.plan().clone();
    assert_eq!(plan.runs[0].state, RunState::Done);
    assert_eq!(*hooks.done.lock().unwrap(), ["https://hook", "dns web1 failover"]);
    let orders = orders(&process, &plan);
    assert!(orders.iter().all(|order| order.state == State::Up));
    assert_eq!(orders[0].evidence.size.as_deref(), Some("Standard_D4s_v5"));
    let done: Vec<&str> = plan.runs[0].entries.iter().map(|entry| entry.what.as_str()).collect();
    let place = |what: &str| done.iter().position(|known| known.contains(what)).unwrap();
    assert!(
        place("hook") < place("db1")
            && place("db1") < place("waits 30")
            && place("waits 30") < place("app1")
    );
    assert!(place("web1") < place("dns") && site.region.running().len() == 3);
}

#[test]
fn a_drill_of_a_plan_shares_one_closed_network_and_takes_everything_back() {
    let site = site();
    let (process, hooks) = (site.process(1), Hooks::default());
    let plan = go(&process, &hooks, true).expect("a drill");
    assert_eq!(plan.runs[0].state, RunState::Done);
    assert!(orders(&process, &plan).iter().all(|order| order.state == State::Drilled));
    assert!(site.region.things().is_empty(), "{:?}", site.region.things());
    let log = site.region.log();
    let made = |piece: &str| {
        log.iter().filter(|call| call.starts_with("PUT") && call.contains(piece)).count()
    };
    assert_eq!((made("/virtualnetworks/"), made("/virtualmachines/")), (1, 3));
    let rules = orders(&process, &plan).into_iter().map(|order| {
        let (_, rules) = order.drill_network().unwrap().expect("a drill's");
        order.create_rules(&rules).unwrap().body.unwrap().to_string()
    });
    let open = |rules: String| rules.matches("Allow").count();
    assert!(rules.map(open).all(|allowed| allowed == 2), "they reach each other");
}

#[test]
fn a_hook_that_fails_stops_a_failover_there_and_ends_a_drill_badly() {
    let site = site();
    let (process, hooks) = (site.process(1), Hooks::default());
    *hooks.failures.lock().unwrap() = 1;
    let error = go(&process, &hooks, false).expect_err("the hook failed").to_string();
    assert!(error.contains("https://hook"), "{error}");
    assert!(site.region.things().is_empty(), "nothing behind it began");
    let plan = go(&process, &hooks, false).expect("mended");
    assert_eq!(plan.runs.last().unwrap().state, RunState::Done);
    let site = self::site();
    let (process, hooks) = (site.process(1), Hooks::default());
    *hooks.failures.lock().unwrap() = 1;
    let plan = go(&process, &hooks, true).expect("it is over");
    assert_eq!(plan.runs.last().unwrap().state, RunState::DoneBadly);
    assert!(site.region.things().is_empty());
}

#[test]
fn a_drill_that_failed_ends_badly_however_often_its_clearing_was_cut_off() {
    let hooks = Hooks::default();
    let mut last = text();
    // All servers are up when it fails.
    last.groups[0].before.clear();
    let site = site();
    let process = site.process(1);
    change(&process, &|text| *text = last.clone());
    *hooks.failures.lock().unwrap() = 1;
    let denied = pipeline_azure::arm::Why::Denied;
    site.region.trouble(crate::test_world::region::Trouble {
        at: "DELETE".to_owned(),
        why: denied,
        late: false,
        done: false,
        times: 2,
    });
    go(&process, &hooks, true).expect_err("it could not be taken back");
    let plan = loop {
        if let Ok(plan) = go(&process, &hooks, true) {
            break plan;
        }
    };
    let run = plan.runs.last().unwrap();
    assert_eq!(run.state, RunState::DoneBadly);
    assert!(run.trouble.as_deref().is_some_and(|why| why.contains("dns")), "{run:?}");
    assert!(site.region.things().is_empty());
}

#[test]
fn a_plan_that_waits_gives_signs_of_life() {
    let versions = |seconds: u32| {
        let site = site();
        let process = site.process(1);
        let mut text = text();
        text.groups[0].before = vec![Action::Wait(seconds)];
        text.groups[0].servers.truncate(0);
        text.groups.truncate(1);
        change(&process, &|known| *known = text.clone());
        go(&process, &Hooks::default(), false).unwrap();
        documents::load::<Plan>(&process.documents, NAME).unwrap().0
    };
    // One in 90 seconds is what keeps others off.
    assert!(versions(900) >= versions(1) + 10);
}

#[test]
fn what_still_comes_of_a_run_can_be_mended_and_what_was_done_cannot() {
    let site = site();
    let (process, hooks) = (site.process(1), Hooks::default());
    *hooks.failures.lock().unwrap() = 1;
    go(&process, &hooks, false).expect_err("the webhook failed");
    let mend = |change: &dyn Fn(&mut Text)| {
        let mut mended = text();
        change(&mut mended);
        let fresh = || unreachable!();
        documents::change(&process.documents, NAME, &fresh, &mut |plan: &mut Plan| {
            plan.become_text(&mended)
        })
    };
    // It stands at the second step before the first group.
    let done: [&dyn Fn(&mut Text); 4] = [
        &|text| text.groups[0].name = "other".to_owned(),
        &|text| text.groups[0].before[0] = Action::Wait(1),
        &|text| text.groups[0].before.clear(),
        &|text| text.groups.clear(),
    ];
    for change in done {
        let told = mend(change).expect_err("it was done").to_string();
        assert!(told.contains("done already"), "{told}");
    }
    mend(&|text| {
        text.groups[0].before[1] = Action::Wait(1);
        text.groups[1].servers.remove(0);
    })
    .expect("it still comes");
    let plan = go(&process, &hooks, false).expect("mended");
    assert_eq!(plan.runs.last().unwrap().state, RunState::Done);
    assert_eq!(orders(&process, &plan).len(), 2, "without the server that is no more");
    assert!(!hooks.done.lock().unwrap().iter().any(|done| done.contains("https")));
}

#[test]
fn killed_at_calls_all_over_its_way_a_plan_goes_on_to_the_same_end() {
    for drill in [false, true] {
        let site = site();
        let process = site.process(1);
        go(&process, &Hooks::default(), drill).unwrap();
        let calls = site.region.calls();
        for at in (1..calls).step_by(7) {
            let site = self::site();
            let hooks = Hooks::default();
            site.region.cut(Some(at), at % 2 == 0);
            let first = site.process(1);
            let killed = go(&first, &hooks, drill);
            drop(first);
            site.region.cut(None, false);
            let next = site.process(2);
            let plan =
                go(&next, &hooks, drill).unwrap_or_else(|error| panic!("cut at {at}: {error}"));
            let state = plan.runs.last().unwrap().state;
            if drill {
                assert!(matches!(state, RunState::Done | RunState::DoneBadly), "cut at {at}");
                assert!(site.region.things().is_empty(), "cut at {at} ({killed:?})");
            } else {
                assert_eq!(
                    (state, site.region.running().len()),
                    (RunState::Done, 3),
                    "cut at {at}"
                );
                assert_eq!(site.region.things().len(), 12, "cut at {at}: nothing twice");
            }
        }
    }
}

#[test]
fn a_plan_whose_runs_fill_its_document_forgets_the_oldest_and_goes_on() {
    let site = site();
    let (process, hooks) = (site.process(1), Hooks::default());
    change(&process, &|text| {
        text.groups[0].servers.clear();
        text.groups.truncate(1);
    });
    go(&process, &hooks, false).expect("a run");
    documents::change(&process.documents, NAME, &|| unreachable!(), &mut |plan: &mut Plan| {
        let bytes = documents::bytes_of(NAME, plan).unwrap().len();
        let room = pipeline_vault::document::DOCUMENT_BYTES_MAX - bytes - 100;
        plan.runs[0].trouble = Some("x".repeat(room));
        Ok(())
    })
    .unwrap();
    let vault = "vault-1".to_owned();
    let mut work = PlanWork::take(process.world(), &hooks, vault, NAME, Some(&begin(false)))
        .expect("there is room");
    work.carry_on().expect("it waits");
    work.answer().unwrap();
    work.carry_on().expect("to its end");
    let plan: Plan = documents::load(&process.documents, NAME).unwrap().1.unwrap();
    assert_eq!(plan.runs.last().unwrap().state, RunState::Done);
}

#[test]
fn what_a_plan_says_of_its_hooks_shows_no_secret() {
    let hook =
        |url: &str| Action::Webhook { url: url.to_owned(), body: String::new(), within_s: 5 };
    for url in [
        "https://me:S3@h.example:8443/S3?k=S3#S3",
        "http://h.example?S3",
        "https://S3@h.example#S3",
    ] {
        let words = hook(url).words();
        assert!(words.contains("h.example") && !words.contains("S3"), "{words}");
    }
    let run = ["/bin/tell", "--token", "S3"].map(str::to_owned).to_vec();
    assert_eq!(Action::Command { run, within_s: 5 }.words(), "runs /bin/tell");
}

#[test]
fn what_is_wrong_with_a_plan_is_told_all_at_once() {
    let known = |name: &str| SERVERS.contains(&name);
    assert_eq!(text().problems(&known), [""; 0]);
    let mut bad = text();
    bad.groups[1].servers[0].name = "db1".to_owned();
    bad.groups[1].servers[1].name = "nobody".to_owned();
    bad.groups[0].before[0] = Action::Manual(" ".to_owned());
    bad.groups[1].after[0] = Action::Command { run: Vec::new(), within_s: 5 };
    let problems = bad.problems(&known);
    for piece in ["twice", "not in the vault", "says nothing", "names no program"] {
        assert!(problems.iter().any(|problem| problem.contains(piece)), "{piece}: {problems:?}");
    }
}

/// What the commit of a plan's last run says where it is refused.
fn uncommitted(process: &Process<'_>, plan: &Plan) -> String {
    commit::commit(process.world(), plan, false).expect_err("nothing to keep").to_string()
}

#[test]
fn a_plan_that_was_never_run_or_drilled_last_has_nothing_to_commit() {
    let (site, hooks) = (site(), Hooks::default());
    let process = site.process(1);
    let fresh: Plan = documents::load(&process.documents, NAME).unwrap().1.unwrap();
    assert!(uncommitted(&process, &fresh).contains("never run"));
    let drilled = go(&process, &hooks, true).expect("a drill");
    assert!(uncommitted(&process, &drilled).contains("nothing of a drill"));
}

#[test]
fn what_a_plan_failed_over_is_committed_at_once() {
    let (site, hooks) = (site(), Hooks::default());
    let process = site.process(1);
    let plan = go(&process, &hooks, false).expect("a failover");
    let run = &plan.runs[0];
    let stood = Run { state: RunState::Failed, ..run.clone() };
    let stood = Plan { runs: vec![stood], ..plan.clone() };
    assert!(uncommitted(&process, &stood).contains("plan continue"));
    // One server was taken back by itself: it stays so.
    let gone = Name::Order(run.orders[0].order);
    Work::take(process.world(), gone, false).unwrap().cancel().expect("nothing holds it");
    let kept = commit::commit(process.world(), &plan, false).expect("all others are up");
    let states: Vec<State> = kept.iter().map(|order| order.state).collect();
    assert_eq!(states, [State::Cancelled, State::Committed, State::Committed]);
    let again = commit::commit(process.world(), &plan, false).expect("twice is the same");
    assert_eq!(again.iter().map(|order| order.state).collect::<Vec<_>>(), states);
}

#[test]
fn a_server_that_is_not_up_keeps_its_plan_from_being_committed() {
    let (site, hooks) = (site(), Hooks::default());
    let process = site.process(1);
    let plan = go(&process, &hooks, false).expect("a failover");
    let one = Name::Order(plan.runs[0].orders[1].order);
    let order: Order = documents::load(&process.documents, one).unwrap().1.unwrap();
    documents::change(&process.documents, one, &|| order.clone(), &mut |order: &mut Order| {
        order.state = State::Changing;
        Ok(())
    })
    .unwrap();
    let told = uncommitted(&process, &plan);
    assert!(told.contains("app1") && told.contains("nothing was committed"), "{told}");
    for known in &plan.runs[0].orders {
        let order: Order =
            documents::load(&process.documents, Name::Order(known.order)).unwrap().1.unwrap();
        assert!(!order.is_committed(), "{}", known.server);
    }
}
