//! Orders that nobody needs any more.
//!
//! Of each server stay those that are not over, those that were committed, as a sweep knows by them what is the server, those
//! that a run of a plan tells of, and of the others the last [`KEPT`].

use std::collections::{BTreeMap, BTreeSet};

use pipeline::ids::{OrderId, ServerId};
use pipeline_vault::Error;
use pipeline_vault::document::{Class, Name};

use super::{Order, orders};
use crate::documents::{self, Documents};
use crate::plan::Plan;

/// So many that are over stay of each server: as many as its target remembers drills.
pub const KEPT: usize = 20;

/// The orders that can go. Nothing can where an order or a plan cannot be read: it might be what they are needed for.
pub fn outdated(documents: &dyn Documents) -> Result<Vec<OrderId>, Error> {
    let (all, troubles) = orders::all(documents)?;
    if let Some(trouble) = troubles.into_iter().next() {
        return Err(trouble);
    }
    let mut told = BTreeSet::new();
    for name in documents.list(Class::Plans)? {
        let plan = documents::load::<Plan>(documents, name)?.1;
        let runs = plan.iter().flat_map(|plan| &plan.runs);
        told.extend(runs.flat_map(|run| &run.orders).map(|order| order.order));
    }
    let may_go =
        |order: &&Order| order.is_over() && !order.is_committed() && !told.contains(&order.id);
    let mut kept: BTreeMap<ServerId, usize> = BTreeMap::new();
    let mut old = Vec::new();
    // The newest come first.
    for order in all.iter().filter(may_go) {
        let count = kept.entry(order.server).or_default();
        *count += 1;
        if *count > KEPT {
            old.push(order.id);
        }
    }
    Ok(old)
}

/// Takes them away; how many.
///
/// Errors: this identity may not delete.
pub fn forget(documents: &dyn Documents) -> Result<usize, Error> {
    let old = outdated(documents)?;
    for order in &old {
        documents.remove(Name::Order(*order))?;
    }
    Ok(old.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Kind;
    use crate::order::orders::Wanted;
    use crate::order::run::Work;
    use crate::test_world::{Site, wanted};

    #[test]
    fn the_last_ones_stay_and_whatever_is_open_or_was_committed() {
        let site = Site::new();
        let process = site.process(1);
        let give = |id: u8, kind: Kind| {
            let wanted = Wanted { at_millis: u64::from(id), ..wanted(kind) };
            process.order(id, &wanted).unwrap_or_else(|error| panic!("{id}: {error}"))
        };
        let first = give(1, Kind::Failover);
        Work::take(process.world(), Name::Order(first.id), false).unwrap().commit().unwrap();
        let drills = u8::try_from(KEPT).unwrap() + 3;
        for id in 2..2 + drills {
            give(id, Kind::Drill);
        }
        let open = process.give(99, &Wanted { at_millis: 2, ..wanted(Kind::Failover) }).unwrap();
        let expected: Vec<OrderId> = [4, 3, 2].map(|id| OrderId([id; 16])).to_vec();
        assert_eq!(outdated(&process.documents).unwrap(), expected);
        assert_eq!(forget(&process.documents).unwrap(), 3);
        assert_eq!(forget(&process.documents).unwrap(), 0);
        let left = process.documents.list(Class::Orders).unwrap();
        assert_eq!(left.len(), KEPT + 2, "{left:?}");
        assert!(left.contains(&open) && left.contains(&Name::Order(first.id)));
    }
}
