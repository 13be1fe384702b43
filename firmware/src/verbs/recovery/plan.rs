//! `plan`: several servers, group by group.

use firmware_recovery::documents::{self, Documents};
use firmware_recovery::order::estimate::{Estimate, estimate};
use firmware_recovery::order::orders::{self, Wanted};
use firmware_recovery::order::{Kind, Order};
use firmware_recovery::plan::runs::{self, Begin, PlanWork};
use firmware_recovery::plan::{Plan, Run, RunState, Text, commit};
use firmware_recovery::{report, target};
use pipeline::ids::PlanId;
use pipeline_vault::Error;
use pipeline_vault::document::{Class, Name};
use serde::Serialize;

use super::target::read_toml;
use super::{Opened, write_page};
use crate::cli::{PlanCommit, PlanCreate, PlanName, PlanReport, PlanRun, PlanShow, PlanVerb};
use crate::recovery::acts::{Hooks, new_id};
use crate::recovery::person;
use crate::recovery::vault::Shared;
use crate::report::{Ending, Failure, Outcome, Span, Utc, print, print_json, table};
use crate::session::Session;
use crate::verbs::Context;

pub(in crate::verbs) fn run(verb: &PlanVerb, context: &Context) -> Ending {
    match verb {
        PlanVerb::Create(create) => keep(create, context),
        PlanVerb::Show(asked) => show(asked, context),
        PlanVerb::Run(asked) if asked.dry_run => dry_run(asked, context),
        PlanVerb::Run(asked) => {
            let begin = Begin {
                drill: asked.drill,
                point: asked.point.clone(),
                by: person(&context.machine.settings),
                despite_obstacles: asked.despite_obstacles,
            };
            carry_on(&asked.name, Some(&begin), context)
        }
        PlanVerb::Continue(name) => carry_on(name, None, context),
        PlanVerb::Commit(asked) => commit(asked, context),
        PlanVerb::Report(asked) => tell(asked, context),
    }
}

fn find(documents: &dyn Documents, text: &str) -> Result<(Name, Plan), Error> {
    runs::find(documents, text)?.ok_or_else(|| {
        Error::misuse(format!("plan {text}"), "is not in the vault")
            .remedy("lifeboat plan show lists plans, lifeboat plan create makes one")
    })
}

fn keep(asked: &PlanCreate, context: &Context) -> Ending {
    let text: Text = read_toml(&asked.file)?;
    let vault = Shared::new(Session::open(&asked.opening, &context.machine)?);
    let servers = vault.session().servers();
    let problems = text.problems(&|name| servers.iter().any(|(known, _)| known == name));
    if !problems.is_empty() {
        let about = format!("plan {}", text.name);
        return Err(Error::misuse(about, problems.join("; ")).remedy("nothing was changed").into());
    }
    let name = match runs::find(&vault, &text.name)? {
        Some((name, _)) => name,
        None => Name::Plan(PlanId(new_id(&context.machine)?.0)),
    };
    let Name::Plan(id) = name else {
        return Err(Error::misuse(name.to_string(), "is no plan").into());
    };
    documents::change(&vault, name, &|| Plan::new(id, text.clone()), &mut |plan: &mut Plan| {
        plan.become_text(&text)
    })?;
    if asked.json {
        print_json(&text)?;
    } else {
        print(&words(&text))?;
    }
    Ok(Outcome::Done)
}

fn words(text: &Text) -> String {
    let mut shown = format!("{}\n", text.name);
    for group in &text.groups {
        shown += &format!("  {}\n", group.name);
        for action in &group.before {
            shown += &format!("    before: {}\n", action.words());
        }
        for member in &group.servers {
            shown += &format!("    server {}\n", member.name);
        }
        for action in &group.after {
            shown += &format!("    after: {}\n", action.words());
        }
    }
    shown
}

/// A plan and how its last run went, as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    plan: &'a Text,
    last_run: Option<&'a Run>,
}

fn show(asked: &PlanShow, context: &Context) -> Ending {
    let vault = Shared::new(Session::open(&asked.opening, &context.machine)?);
    let mut plans = Vec::new();
    match &asked.plan {
        Some(name) => plans.push(find(&vault, name)?.1),
        None => {
            for name in vault.list(Class::Plans)? {
                plans.extend(documents::load::<Plan>(&vault, name)?.1);
            }
        }
    }
    if asked.json {
        let shown: Vec<Shown<'_>> = plans
            .iter()
            .map(|plan| Shown { plan: &plan.text, last_run: plan.runs.last() })
            .collect();
        print_json(&shown)?;
    } else if plans.is_empty() {
        print("There is no plan.\n")?;
    } else {
        print(&plans.iter().map(|plan| words(&plan.text)).collect::<String>())?;
    }
    Ok(Outcome::Done)
}

fn carry_on(asked: &PlanName, begin: Option<&Begin>, context: &Context) -> Ending {
    let opened = Opened::open(&asked.opening, context, asked.json)?;
    let (name, _) = find(&opened.vault, &asked.plan)?;
    let hooks = Hooks::new(opened.vault.clone(), context.machine.clone());
    let watch = |order: &Order| opened.teller.tell(order);
    let world = opened.world(&watch);
    let mut work = PlanWork::take(world, &hooks, opened.vault_id.clone(), name, begin)?;
    if begin.is_none() {
        work.answer()?;
    }
    work.carry_on()?;
    let plan = work.plan().clone();
    let run = plan.runs.last().ok_or_else(|| Error::misuse(name.to_string(), "was never run"))?;
    let orders = orders_of(&opened.vault, run)?;
    if asked.json {
        print_json(&report::run_facts(&plan, run, &orders))?;
    } else {
        print(&run_words(&plan, run))?;
    }
    if run.state == RunState::DoneBadly {
        let why = run.trouble.clone().unwrap_or_else(|| "a server did not come up".to_owned());
        return Err(Failure::Failed(
            Error::refused(format!("drill of plan {}", plan.text.name), why)
                .remedy("lifeboat plan report has the console logs"),
        ));
    }
    Ok(Outcome::Done)
}

fn run_words(plan: &Plan, run: &Run) -> String {
    let rows: Vec<Vec<String>> = run
        .entries
        .iter()
        .map(|entry| {
            let took = Span(core::time::Duration::from_millis(entry.took_millis)).to_string();
            let how = entry.failed.as_ref().map_or("done", |_| "failed");
            vec![entry.what.clone(), took, how.to_owned()]
        })
        .collect();
    let mut text = table(&["what", "took", ""], &[false, true, false], &rows);
    if let Some(what) = report::waits_for(plan, run) {
        text += &format!("Waits for {what}\nThen: lifeboat plan continue {}\n", plan.text.name);
    }
    text
}

fn orders_of(documents: &dyn Documents, run: &Run) -> Result<Vec<Order>, Error> {
    let mut orders = Vec::new();
    for known in &run.orders {
        orders.extend(documents::load::<Order>(documents, Name::Order(known.order))?.1);
    }
    Ok(orders)
}

fn commit(asked: &PlanCommit, context: &Context) -> Ending {
    let opened = Opened::open(&asked.name.opening, context, asked.name.json)?;
    let (_, plan) = find(&opened.vault, &asked.name.plan)?;
    let watch = |order: &Order| opened.teller.tell(order);
    let kept = commit::commit(opened.world(&watch), &plan, asked.take_over)?;
    if asked.name.json {
        let facts: Vec<_> = kept.iter().map(report::order_facts).collect();
        print_json(&facts)?;
        return Ok(Outcome::Done);
    }
    let line = |order: &Order| {
        let how = if order.is_committed() { "kept" } else { "was cancelled before" };
        vec![order.server_name.clone(), how.to_owned()]
    };
    print(&table(
        &["server", "failover"],
        &[false, false],
        &kept.iter().map(line).collect::<Vec<_>>(),
    ))?;
    Ok(Outcome::Done)
}

fn tell(asked: &PlanReport, context: &Context) -> Ending {
    let vault = Shared::new(Session::open(&asked.name.opening, &context.machine)?);
    let (name, plan) = find(&vault, &asked.name.plan)?;
    let run = plan.runs.last().ok_or_else(|| {
        Error::misuse(name.to_string(), "was never run").remedy("lifeboat plan run begins one")
    })?;
    let orders = orders_of(&vault, run)?;
    write_page(asked.html.as_deref(), || report::run_page(&plan, run, &orders))?;
    if asked.name.json {
        print_json(&report::run_facts(&plan, run, &orders))?;
    } else {
        print(&run_words(&plan, run))?;
    }
    Ok(Outcome::Done)
}

fn dry_run(asked: &PlanRun, context: &Context) -> Ending {
    let opened = Opened::open(&asked.name.opening, context, asked.name.json)?;
    let (_, plan) = find(&opened.vault, &asked.name.plan)?;
    let mut estimates: Vec<Estimate> = Vec::new();
    for member in plan.text.groups.iter().flat_map(|group| &group.servers) {
        let server = opened.vault.session().server(&member.name)?;
        let wanted = Wanted {
            server,
            server_name: member.name.clone(),
            kind: if asked.drill { Kind::Drill } else { Kind::Failover },
            point: asked.point.clone(),
            by: person(&context.machine.settings),
            at_millis: context.machine.clock.now().0,
            reads_first: true,
            despite_obstacles: asked.despite_obstacles,
            keeps: false,
            shared: None,
        };
        let profile = member.over(orders::profile_for(&opened.vault, &wanted)?);
        let order = wanted.order(new_id(&context.machine)?, opened.vault_id.clone(), profile);
        let target = target::load(&opened.vault, server)?;
        estimates.push(estimate(opened.world(&|_| {}), order, &target, None)?);
    }
    if asked.name.json {
        print_json(&estimates)?;
        return Ok(Outcome::Done);
    }
    let rows: Vec<Vec<String>> = estimates
        .iter()
        .map(|one| {
            vec![
                one.server.clone(),
                Utc(one.point_millis).to_string(),
                one.makes.len().to_string(),
                one.sizes.join(" or "),
                Span(core::time::Duration::from_millis(one.total_millis)).to_string(),
            ]
        })
        .collect();
    let headings = ["server", "point of", "things", "size", "about"];
    print(&table(&headings, &[false, false, true, false, true], &rows))?;
    print("Nothing was made.\n")?;
    Ok(Outcome::Done)
}
