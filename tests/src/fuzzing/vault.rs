//! What is in a vault behind its seals, in a spool and in a state partition. `tests/tests/hostile_objects.rs` tries the seals.

use firmware::ingest::journal;
use firmware::ingest::roll::Roll;
use firmware::spool::Owner;
use firmware::spool::checkpoint::Checkpoint;
use firmware::spool::record::Headed;
use firmware::spool::superblock::{Identified, Read, Superblock};
use firmware::state::slot;
use firmware_recovery::documents::parse;
use firmware_recovery::order::Order;
use firmware_recovery::plan::Plan;
use firmware_recovery::target::Target;
use pipeline::ids::{OrderId, PlanId, ServerId, VaultId};
use pipeline::seal::SecretKey;
use pipeline::segment::SegmentHeader;
use pipeline_agent::reboot::saved::Saved;
use pipeline_vault::document::Name;
use pipeline_vault::keys::key_file::KeyFile;
use pipeline_vault::keys::recovery_key::RecoveryKey;
use pipeline_vault::keys::ring::KeyRing;
use pipeline_vault::keys::ticket::Ticket;
use pipeline_vault::map::{Inner, Leaf};
use pipeline_vault::record::Record;
use pipeline_vault::retain::Policy;

use super::{choice, text};

/// The appliance whose spool it is.
const OWNER: Superblock =
    Superblock { spool: [1; 16], appliance: [2; 16], disk_bytes: 1 << 30, log_bytes: 1 << 29 };

/// A record of a chain.
pub(super) fn record(bytes: &[u8]) {
    if let Ok(record) = Record::decode(bytes) {
        let _ = (record.point().map(|point| point.disks.len()), format!("{record:?}"));
    }
}

/// A page of a map.
pub(super) fn map(bytes: &[u8]) {
    let (level, rest) = choice(bytes, 4);
    if level == 0 {
        let _ = Leaf::decode(rest);
    } else {
        let _ = Inner::decode(rest, level);
    }
}

/// Rings, recovery keys, key files, tickets and what is kept for how long.
pub(super) fn keys(bytes: &[u8]) {
    let (which, rest) = choice(bytes, 4);
    let words = text(rest);
    match which {
        0 => {
            if let Ok(ring) = KeyRing::decode(rest, VaultId([1; 16]), 1, "ring") {
                assert!(ring.encode().is_ok());
            }
        }
        1 => {
            if let Ok(key) = RecoveryKey::parse(&words) {
                assert!(RecoveryKey::parse(&key.to_text()).is_ok());
            }
            let _ = KeyFile::parse(&words, "key file");
        }
        2 => {
            let _ = Ticket::parse(&words, None, "ticket");
        }
        _ => {
            let _ = Policy::parse(&words);
        }
    }
}

/// A segment's header.
pub(super) fn segment(bytes: &[u8]) {
    let _ = SegmentHeader::parse(bytes);
}

/// Orders, plans and targets.
pub(super) fn document(bytes: &[u8]) {
    let (which, rest) = choice(bytes, 3);
    match which {
        0 => {
            if let Ok(order) = parse::<Order>(Name::Order(OrderId([1; 16])), rest) {
                let _ = order.next_step();
            }
        }
        1 => drop(parse::<Plan>(Name::Plan(PlanId([1; 16])), rest)),
        _ => drop(parse::<Target>(Name::Profile(ServerId([1; 16])), rest)),
    }
}

/// A spool's head and log, a state partition's slots, what an agent keeps over a restart.
pub(super) fn spool(bytes: &[u8]) {
    let (which, rest) = choice(bytes, 4);
    match which {
        0 => {
            if let Read::Whole(superblock, _) = Superblock::read(rest) {
                assert!(superblock.log_end() <= superblock.disk_bytes);
            }
        }
        1 => {
            let owner = Owner { appliance: [2; 16], key: SecretKey::from_bytes([3; 32]) };
            let keys: Identified = OWNER.identify(&owner);
            let _ = (Headed::read(rest, 0, &keys), Checkpoint::read(rest, &keys));
        }
        2 => {
            for kind in [slot::Kind::Key, slot::Kind::State, slot::Kind::Words] {
                let _ = slot::read(rest, kind, None);
            }
        }
        _ => {
            let _ = Saved::parse(rest);
        }
    }
}

/// Who sends to an appliance, and what its spool has of them.
pub(super) fn roll(bytes: &[u8]) {
    let (which, rest) = choice(bytes, 2);
    if which == 0 {
        if let Ok(roll) = Roll::parse(rest) {
            assert!(roll.to_bytes().is_ok());
        }
    } else if let Some((_, entry)) = journal::parse(rest) {
        let _ = journal::emit(&entry);
    }
}
