//! Finds in Azure what orders of this vault made, and tells what of it nobody needs: by the tags that everything carries.

use std::collections::BTreeMap;

use pipeline_azure::arm::group::{self, Found};
use pipeline_azure::arm::id::GroupId;
use pipeline_azure::arm::tags::Tags;
use pipeline_azure::arm::{Answer, Call, Why};
use pipeline_vault::Error;
use pipeline_vault::document::Class;
use serde::Serialize;
use serde_json::Value;

use super::calls::{ORDER_TAG, Thing, VAULT_TAG};
use super::run::{Stop, Work, World, from_refused};
use super::{Order, State, orders};
use crate::plan;
use crate::target;

/// Why something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Belongs {
    /// To an order that is open, or to a failover that was kept.
    Needed,
    /// To an order that is over: nobody needs it.
    Orphan,
    /// To an order that this vault does not know.
    Unknown,
}

/// Something in Azure with this vault's tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tagged {
    /// What, as Azure names it.
    pub id: String,
    /// The order or plan's run of its tag.
    pub order: String,
    /// Whose it is.
    pub belongs: Belongs,
    /// The same as something that can be taken away.
    #[serde(skip)]
    pub thing: Option<Thing>,
}

/// What a look at Azure found, and where it looked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Subscriptions that were asked. None where no order and no target profile names one.
    pub asked: Vec<String>,
    /// What is there.
    pub found: Vec<Tagged>,
}

/// Everything that carries the vault's tag, where its orders and profiles say that there may be something.
pub fn look(world: World<'_>, vault: &str) -> Result<Swept, Error> {
    let (known, troubles) = orders::all(world.documents)?;
    for trouble in troubles {
        log::warn!("{trouble}");
    }
    let runs = plan::runs::open_runs(world.documents)?;
    let mut groups: BTreeMap<String, GroupId> = BTreeMap::new();
    let mut subscriptions: Vec<String> = Vec::new();
    for profile in profiles(world, &known)? {
        for name in [Some(&profile.group), profile.drill_group.as_ref()].into_iter().flatten() {
            let group = GroupId::new(&profile.subscription, name)?;
            groups.insert(group.to_string().to_lowercase(), group);
        }
        if !subscriptions.contains(&profile.subscription) {
            subscriptions.push(profile.subscription.clone());
        }
    }
    let mut tagged = Vec::new();
    let mut take = |id: String, tags: &Tags, thing: Option<Thing>| {
        let order = tags.value(ORDER_TAG).unwrap_or_default().to_owned();
        let belongs = whose(&known, &runs, &order);
        tagged.push(Tagged { id, order, belongs, thing });
    };
    for subscription in &subscriptions {
        let answer = ask(world, &group::tagged(subscription, VAULT_TAG, vault)?)?;
        for (id, tags) in group::groups(&answer) {
            groups.remove(&id.to_string().to_lowercase());
            take(id.to_string(), &tags, Some(Thing::Group(id)));
        }
    }
    for group in groups.values() {
        let answer = ask(world, &group::resources(group, VAULT_TAG, vault))?;
        for Found { id, resource, tags } in group::found(&answer) {
            take(id, &tags, resource.map(Thing::Resource));
        }
    }
    Ok(Swept { asked: subscriptions, found: tagged })
}

fn profiles(world: World<'_>, known: &[Order]) -> Result<Vec<crate::profile::Profile>, Error> {
    // What was on somebody's own machine left nothing in Azure.
    let known = known.iter().filter(|order| order.here.is_none());
    let mut profiles: Vec<_> = known.map(|order| order.profile.clone()).collect();
    for name in world.documents.list(Class::Profiles)? {
        if let pipeline_vault::document::Name::Profile(server) = name {
            profiles.extend(target::load(world.documents, server)?.profile);
        }
    }
    Ok(profiles)
}

fn whose(known: &[Order], runs: &[String], tag: &str) -> Belongs {
    if runs.iter().any(|run| run == tag) {
        return Belongs::Needed;
    }
    let shares =
        |order: &&Order| order.shared.as_ref().is_some_and(|shared| shared.run.to_string() == tag);
    let mut sharing = known.iter().filter(shares).peekable();
    match known.iter().find(|order| order.id.to_string() == tag) {
        // A network goes when none of those who share it is left, whatever became of their plan.
        None if sharing.peek().is_some() => {
            if sharing.all(Order::is_over) {
                Belongs::Orphan
            } else {
                Belongs::Needed
            }
        }
        None => Belongs::Unknown,
        Some(order) if matches!(order.state, State::Cancelled | State::Drilled) => Belongs::Orphan,
        Some(_) => Belongs::Needed,
    }
}

/// Takes away what nobody needs; what is handed back is gone.
pub fn clear(world: World<'_>, found: &[Tagged], order: &Order) -> Result<Vec<String>, Error> {
    let mut things: Vec<(&Tagged, &Thing)> = found
        .iter()
        .filter(|tagged| tagged.belongs == Belongs::Orphan)
        .filter_map(|tagged| Some((tagged, tagged.thing.as_ref()?)))
        .collect();
    things.sort_by_key(|(_, thing)| thing.rank());
    let mut gone = Vec::new();
    for (tagged, thing) in things {
        // Each is taken away in the name of the order that made it: its tag is looked at once more before.
        let mut order = order.clone();
        order.id = tagged.order.parse().map_err(|error| {
            Error::corrupt(tagged.id.clone(), format!("carries a tag that is no order: {error}"))
        })?;
        let mut work = Work::rehearsal(world, order);
        work.remove(thing).map_err(|stop| match stop {
            Stop::Refused(refused) => from_refused(&refused),
            Stop::Failed(error) | Stop::Left(error) => error,
        })?;
        gone.push(tagged.id.clone());
    }
    Ok(gone)
}

fn ask(world: World<'_>, call: &Call) -> Result<Value, Error> {
    let mut tries = 0;
    loop {
        match world.region.call(call) {
            Ok(Answer::Done(value)) => return Ok(value),
            Ok(Answer::Begun(_)) => return Ok(Value::Null),
            Err(refused) if refused.why == Why::Missing => return Ok(Value::Null),
            Err(refused) if super::thing::passes(&refused) && tries < 8 => {
                tries += 1;
                let doubled = core::time::Duration::from_secs(1 << tries.min(5));
                world.region.pause(refused.retry_after.unwrap_or(doubled));
            }
            Err(refused) => return Err(from_refused(&refused)),
        }
    }
}

#[cfg(test)]
mod tests {
    use pipeline::ids::OrderId;

    use super::*;
    use crate::order::{Kind, Shared};
    use crate::test_world::{Site, wanted};

    #[test]
    fn what_an_open_order_shares_is_no_orphan_whatever_became_of_its_plan() {
        let site = Site::new();
        let run = OrderId([9; 16]);
        let shared = orders::Wanted { shared: Some(Shared { run }), ..wanted(Kind::Drill) };
        let name = site.process(1).give(7, &shared).unwrap();
        let mut order = site.process(1).read(name);
        let belongs = |order: &Order| whose(core::slice::from_ref(order), &[], &run.to_string());
        assert_eq!(belongs(&order), Belongs::Needed);
        order.state = State::Drilled;
        assert_eq!(belongs(&order), Belongs::Orphan);
    }
}
