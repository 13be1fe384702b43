//! Orders and plans.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ADMINISTRATOR, Kind, Meant, OPERATOR, Route, VIEWER, get, parameter, post, put};
use crate::api::call::Call;
use crate::api::reply::{Reply, json};
use crate::api::site::{Answer, Refusal};
use crate::api::views::recovery::{OrderAsked, OrderView, PlanRunView, PlanView, Sweep};
use crate::api::views::vault::JobView;

/// A page to print.
const HTML: &str = "text/html; charset=utf-8";

/// A word typed, so that nothing is destroyed by a slip.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmed {
    /// The name of the server, once more; not needed to go on with an order, or to take back a drill.
    #[serde(default)]
    pub confirm: String,
}

/// Whether what was found goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SweepAsked {
    /// What belongs to no order is taken away; otherwise it is only told.
    pub remove: bool,
}

/// A run of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunAsked {
    /// A drill of all of it.
    pub drill: bool,
    /// For a failover, the plan's name once more.
    #[serde(default)]
    pub confirm: String,
}

pub(super) const ROUTES: &[Route] = &[
    get("orders", "/orders", VIEWER, "Drills and failovers, the newest first")
        .gives::<Vec<OrderView>>()
        .does(|call| json(call.site().orders())),
    post("order", "/orders", OPERATOR, "Orders a drill, a failover or a planned failover")
        .destroys()
        .takes::<OrderAsked>()
        .gives::<OrderView>()
        .weighs(order_weighs)
        .about(about_asked)
        .does(|call| {
            let asked = named(call)?;
            json(call.site().give_order(call.by()?, &asked))
        }),
    post(
        "estimate",
        "/orders/estimate",
        OPERATOR,
        "What an order would make and take; nothing is made",
    )
    .takes::<OrderAsked>()
    .gives::<serde_json::Value>()
    .about(about_asked)
    .does(|call| json(call.site().estimate(&call.json()?))),
    get("orderState", "/orders/{id}", VIEWER, "One order")
        .gives::<OrderView>()
        .does(|call| json(call.site().order(call.name()))),
    post("resume", "/orders/{id}/resume", OPERATOR, "Goes on with an order that stopped")
        .takes::<Confirmed>()
        .gives::<OrderView>()
        .weighs(|call| of_failover(call, "is gone on with"))
        .does(|call| {
            call.json::<Confirmed>()?;
            json(call.site().resume(call.by()?, call.name()))
        }),
    post("commit", "/orders/{id}/commit", OPERATOR, "Keeps a failover")
        .destroys()
        .takes::<Confirmed>()
        .gives::<OrderView>()
        .weighs(|call| of_failover(call, "is kept"))
        .does(|call| {
            confirmed(call)?;
            json(call.site().commit(call.by()?, call.name()))
        }),
    post("cancel", "/orders/{id}/cancel", OPERATOR, "Takes an order back")
        .destroys()
        .takes::<Confirmed>()
        .gives::<OrderView>()
        .weighs(|call| of_failover(call, "is taken back, with what was written since"))
        .does(|call| {
            confirmed(call)?;
            json(call.site().cancel(call.by()?, call.name()))
        }),
    get("orderReport", "/orders/{id}/report", VIEWER, "Its report, a page to print")
        .gives_content(HTML)
        .does(report),
    post("sweep", "/sweep", OPERATOR, "What stands in Azure and belongs to no order")
        .destroys()
        .takes::<SweepAsked>()
        .gives::<Sweep>()
        .weighs(|call| {
            Ok(match call.json::<SweepAsked>()?.remove {
                false => Meant::Nothing,
                true => Meant::Everything("what belongs to no order is deleted in Azure".into()),
            })
        })
        .does(|call| json(call.site().sweep(call.by()?, call.json::<SweepAsked>()?.remove))),
    get("plans", "/plans", VIEWER, "Recovery plans")
        .gives::<Vec<PlanView>>()
        .does(|call| json(call.site().plans())),
    // A plan may name commands, which the appliance runs.
    put("setPlan", "/plans/{name}", ADMINISTRATOR, "Makes or replaces a plan, as TOML")
        .takes_text()
        .gives::<PlanView>()
        .does(|call| json(call.site().set_plan(call.by()?, call.name(), call.body_text()?))),
    post("runPlan", "/plans/{name}/run", OPERATOR, "Begins a run of it")
        .destroys()
        .takes::<RunAsked>()
        .gives::<PlanRunView>()
        .weighs(plan_weighs)
        .does(|call| {
            let asked: RunAsked = call.json()?;
            if !asked.drill && asked.confirm != call.name() {
                return Err(mistyped("plan", call.name()));
            }
            json(call.site().run_plan(call.by()?, call.name(), asked.drill))
        }),
    post("continuePlan", "/plans/{name}/continue", OPERATOR, "Answers a manual step of its run")
        .gives::<PlanRunView>()
        .weighs(continue_weighs)
        .does(|call| json(call.site().continue_plan(call.by()?, call.name()))),
    post("commitPlan", "/plans/{name}/commit", OPERATOR, "Keeps what its last run failed over")
        .destroys()
        .takes::<Confirmed>()
        .gives::<JobView>()
        .weighs(|call| {
            let words = format!("what plan {} failed over is kept", call.name());
            Ok(Meant::Servers(of_plan(call)?.groups.concat(), words))
        })
        .does(|call| {
            if call.json::<Confirmed>()?.confirm != call.name() {
                return Err(mistyped("plan", call.name()));
            }
            json(call.site().commit_plan(call.by()?, call.name()))
        }),
    get("planReport", "/plans/{run}/report", VIEWER, "The report of a run, a page to print")
        .gives_content(HTML)
        .query(&[parameter("plan", Kind::Text, "Of which plan, for people")])
        .does(report),
];

fn report(call: &Call<'_>) -> Answer<Reply> {
    // It has its style within, and is nothing but a page to print: no script, nothing loaded, nothing sent.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; base-uri 'none'; \
        form-action 'none'; frame-ancestors 'none'";
    let page = call.site().report(call.name())?;
    Ok(Reply::bytes(200, HTML, page.into_bytes())
        .with("content-security-policy", policy.to_owned()))
}

/// An order whose server was named twice where it fails over.
fn named(call: &Call<'_>) -> Answer<OrderAsked> {
    let asked: OrderAsked = call.json()?;
    if asked.kind != "drill" && asked.confirm != asked.server {
        return Err(mistyped("server", &asked.server));
    }
    Ok(asked)
}

fn mistyped(kind: &str, name: &str) -> Refusal {
    let words = format!("was not typed to confirm: type {name}");
    Refusal::new(422, format!("{kind} {name}"), words).at("/confirm")
}

fn about_asked(call: &Call<'_>) -> Option<String> {
    Some(format!("server {}", call.json::<OrderAsked>().ok()?.server))
}

fn order_weighs(call: &Call<'_>) -> Answer<Meant> {
    // What was mistyped is said before anybody is asked to agree.
    let asked = named(call)?;
    Ok(match asked.kind.as_str() {
        "drill" => Meant::Nothing,
        kind => {
            let words = format!("server {} fails over ({kind})", asked.server);
            Meant::Servers(vec![asked.server], words)
        }
    })
}

/// An order that stands, where it is no drill.
fn of_failover(call: &Call<'_>, what: &str) -> Answer<Meant> {
    let order = call.site().order(call.name())?;
    if order.kind == "drill" {
        return Ok(Meant::Nothing);
    }
    let words = format!("failover {} of server {} {what}", order.order, order.server);
    Ok(Meant::Servers(vec![order.server], words))
}

fn confirmed(call: &Call<'_>) -> Answer<()> {
    let asked: Confirmed = call.json()?;
    let order = call.site().order(call.name())?;
    match order.kind == "drill" || asked.confirm == order.server {
        true => Ok(()),
        false => Err(mistyped("server", &order.server)),
    }
}

fn plan_weighs(call: &Call<'_>) -> Answer<Meant> {
    let asked: RunAsked = call.json()?;
    match asked.drill {
        true => Ok(Meant::Nothing),
        false => Ok(Meant::Servers(
            of_plan(call)?.groups.concat(),
            format!("plan {} fails its servers over", call.name()),
        )),
    }
}

fn continue_weighs(call: &Call<'_>) -> Answer<Meant> {
    let plan = of_plan(call)?;
    Ok(match plan.last_run {
        Some(run) if run.drill => Meant::Nothing,
        _ => {
            let words = format!("the failover of plan {} goes on", call.name());
            Meant::Servers(plan.groups.concat(), words)
        }
    })
}

fn of_plan(call: &Call<'_>) -> Answer<PlanView> {
    let plan = call.site().plans()?.into_iter().find(|plan| plan.name == call.name());
    plan.ok_or_else(|| Refusal::new(404, format!("plan {}", call.name()), "is not there"))
}
