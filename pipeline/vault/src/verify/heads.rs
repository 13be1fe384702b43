//! What others saw of a chain: records of other chains, this machine, a piece of paper. A chain that is whole
//! in itself and older than that was rolled back.

use super::chain::ChainState;
use super::findings::Findings;
use super::objects::Inventory;
use crate::access::Access;
use crate::error::Error;
use crate::index;
use crate::names;
use crate::record::KnownHead;

type Checked = (Inventory, ChainState, Findings);

/// Holds every head that anybody knows against the chain that it is of.
pub(crate) fn check(chains: &[Checked], known: &[KnownHead]) {
    for head in known {
        judge(chains, head, "this machine or whoever named it");
    }
    for (inventory, chain, _) in chains {
        for link in &chain.links {
            let Some(manifest) = link.record.manifest() else { continue };
            for head in manifest.heads.iter().filter(|head| head.server != inventory.server) {
                let witness = names::chain_slot(&inventory.server, link.record.slot);
                judge(chains, head, &witness);
            }
        }
    }
}

/// Holds what indexes say of slots against the chain that they are of: a slot never changes.
pub(crate) fn check_indexes(access: &Access, chains: &[Checked]) -> Result<(), Error> {
    for (inventory, ..) in chains {
        let server = inventory.server;
        let prefix = names::day_index_prefix(&server);
        for name in inventory.small.iter().filter(|name| name.starts_with(&prefix)) {
            // One that does not open is a finding of its own.
            for entry in index::read(access, &server, name)?.entries {
                let head = KnownHead { server, slot: entry.slot, digest: entry.digest };
                judge(chains, &head, &format!("the index {name}"));
            }
        }
    }
    Ok(())
}

fn judge(chains: &[Checked], head: &KnownHead, witness: &str) {
    let Some((_, chain, findings)) =
        chains.iter().find(|(inventory, ..)| inventory.server == head.server)
    else {
        return;
    };
    let found = chain.digest(head.slot);
    let error = if chain.newest.is_none_or(|newest| newest < head.slot) {
        let ends = chain.newest.map_or_else(
            || String::from("it is empty"),
            |newest| format!("it ends with slot {newest}"),
        );
        Error::corrupt(
            names::chain_prefix(&head.server),
            format!("was rolled back: {ends}, and {witness} saw slot {}", head.slot),
        )
    } else if found.is_some_and(|found| found != head.digest) {
        Error::corrupt(
            names::chain_slot(&head.server, head.slot),
            format!("was replaced: {witness} saw another record in this slot"),
        )
    } else {
        return;
    };
    // These errors are never the store's own, so they are always taken.
    let _ = findings.object(&error.remedy(
        "find out who put an older state in place; newer points are in a copy of the vault",
    ));
}
