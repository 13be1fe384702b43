//! Points that are no longer kept go: of each server of the vault as its own policy has it, or as is said for all.

use pipeline::ids::ServerId;
use pipeline_vault::Error;
use pipeline_vault::retain::Policy;
use pipeline_vault::upkeep::{self, Options};

use super::roll::kept::KeptRoll;

/// Prunes every server of the vault that is not kept for ever. One server's trouble keeps no other from being pruned.
pub fn enforce(roll: &KeptRoll, is_over: &dyn Fn() -> bool) {
    let servers = roll.session().servers();
    for (name, server) in servers {
        if is_over() {
            return;
        }
        match prune(roll, server) {
            Ok(0) => {}
            Ok(removed) => log::info!("{name}: {removed} points removed by its policy"),
            Err(error) => log::warn!("{name}: {error}"),
        }
    }
}

/// How many points went.
fn prune(roll: &KeptRoll, server: ServerId) -> Result<u64, Error> {
    let rules = roll.roll();
    let Some(policy) = rules.keep_of(server).and_then(|keep| Policy::parse(keep).ok()) else {
        return Ok(0);
    };
    // Nothing is removed from a vault that was put back to an older state. The lock is not held while pruning.
    roll.session().chain(server)?;
    let report = upkeep::run(&roll.access(), server, &policy, &Options::default())?;
    Ok(report.points_removed)
}
