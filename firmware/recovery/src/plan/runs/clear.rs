//! The end of a plan's drill: each server's order, then what they shared.

use pipeline_azure::arm::id::Kind as What;
use pipeline_vault::Error;
use pipeline_vault::document::Name;

use crate::order::run::{Stop, Work, World, from_refused};
use crate::order::{Order, State, Thing};

/// Ends one server's drill.
pub(super) fn finish(world: World<'_>, name: Name) -> Result<(), Error> {
    let mut work = Work::take(world, name, false)?;
    if work.order().is_over() {
        return Ok(());
    }
    if work.order().evidence.up.is_some() && work.order().state == State::Open {
        work.end_drill()
    } else {
        work.cancel()
    }
}

/// What the orders of a run shared goes when none of them is left.
pub(super) fn clear_shared(world: World<'_>, order: &Order) -> Result<(), Error> {
    let mut things = Vec::new();
    if let Some((network, rules)) = order.drill_network()? {
        things.push(Thing::Resource(network));
        things.push(Thing::Resource(rules));
    }
    debug_assert!(things.iter().all(|thing| match thing {
        Thing::Resource(id) => matches!(id.kind(), What::Network | What::SecurityGroup),
        Thing::Group(_) => false,
    }));
    if order.makes_group() {
        things.push(Thing::Group(order.group()?));
    }
    let mut work = Work::rehearsal(world, order.clone());
    for thing in things {
        work.remove(&thing).map_err(|stop| match stop {
            Stop::Refused(refused) => from_refused(&refused),
            Stop::Failed(error) | Stop::Left(error) => error,
        })?;
    }
    Ok(())
}
