//! Keeps what the failovers of a plan's run made: all of them, once all are up.

use pipeline_vault::Error;
use pipeline_vault::document::Name;

use super::{Plan, Run, RunState};
use crate::documents;
use crate::order::run::{Work, World};
use crate::order::{Order, State};

/// Commits every failover of a plan's last run that is not committed yet, and gives them all. One that was cancelled stays so.
/// Doing it twice is the same.
///
/// Errors: there is no run, or it is a drill, or stands; one of its servers is not up, and then none is committed.
pub fn commit(world: World<'_>, plan: &Plan, take_over: bool) -> Result<Vec<Order>, Error> {
    let about = || format!("plan {}", plan.text.name);
    let run = plan.runs.last().ok_or_else(|| {
        Error::misuse(about(), "was never run").remedy("lifeboat plan run begins one")
    })?;
    if run.drill {
        return Err(Error::misuse(about(), "was drilled last, and nothing of a drill is kept")
            .remedy("lifeboat plan run without --drill fails it over"));
    }
    if run.state != RunState::Done {
        return Err(Error::refused(
            about(),
            "has a run that is not through; nothing was committed",
        )
        .remedy(format!("lifeboat plan continue {}", plan.text.name)));
    }
    let orders = orders_of(world, run)?;
    let waits = |order: &&Order| !order.is_over() && order.state != State::Up;
    let waiting: Vec<&str> =
        orders.iter().filter(waits).map(|order| order.server_name.as_str()).collect();
    if !waiting.is_empty() {
        let what = format!("is not up with {}; nothing was committed", waiting.join(", "));
        return Err(Error::refused(about(), what).remedy(
            "lifeboat failover --server NAME goes on with one, failover --cancel takes it back",
        ));
    }
    let mut kept = Vec::new();
    for order in orders {
        if order.state == State::Up {
            let mut work = Work::take(world, Name::Order(order.id), take_over)?;
            work.commit()?;
            kept.push(work.order().clone());
        } else {
            kept.push(order);
        }
    }
    Ok(kept)
}

/// The orders of a run that the vault still has.
fn orders_of(world: World<'_>, run: &Run) -> Result<Vec<Order>, Error> {
    let mut orders = Vec::new();
    for known in &run.orders {
        orders.extend(documents::load::<Order>(world.documents, Name::Order(known.order))?.1);
    }
    Ok(orders)
}
