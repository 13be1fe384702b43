//! Names of objects. They carry identities and numbers, never a server's name.
//! Slots and versions count down in names, so that the newest is listed first and found by one call.

use pipeline::ids::{SegmentId, ServerId};

use crate::error::Error;

/// The slot of a chain as a name.
pub fn chain_slot(server: &ServerId, slot: u64) -> String {
    format!("chain/{server}/{:016x}", u64::MAX - slot)
}

/// All slots of all chains.
pub const CHAINS_PREFIX: &str = "chain/";

/// All slots of a chain.
pub fn chain_prefix(server: &ServerId) -> String {
    format!("chain/{server}/")
}

/// The slot that a listed name means.
pub fn slot_of(server: &ServerId, name: &str) -> Result<u64, Error> {
    let digits = name.strip_prefix(&chain_prefix(server)).filter(|digits| {
        digits.len() == 16 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    });
    digits
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .map(|inverted| u64::MAX - inverted)
        .ok_or_else(|| {
            Error::corrupt(name, "is not an object that Lifeboat writes")
                .remedy("find out who put it into the vault, and take it out")
        })
}

/// A segment; the two digits spread a directory vault over 256 folders.
pub fn segment(server: &ServerId, segment: &SegmentId) -> String {
    format!("seg/{server}/{:02x}/{segment}", segment.0[0])
}

/// All segments of a server.
pub fn segment_prefix(server: &ServerId) -> String {
    format!("seg/{server}/")
}

/// The segment that a listed name means; `None` for anything that Lifeboat does not write.
pub fn segment_of(server: &ServerId, name: &str) -> Option<SegmentId> {
    let rest = name.strip_prefix(&segment_prefix(server))?;
    let (_, id) = rest.split_once('/')?;
    let id: SegmentId = id.parse().ok()?;
    (segment(server, &id) == name).then_some(id)
}

/// One version of a document, by what all its versions' names begin with.
pub fn document(prefix: &str, version: u64) -> String {
    format!("{prefix}{:016x}", u64::MAX - version)
}

/// All versions of the catalogue.
pub const CATALOGUE_PREFIX: &str = "catalogue/";
/// All recovery orders.
pub const ORDER_PREFIX: &str = "order/";
/// All recovery plans.
pub const PLAN_PREFIX: &str = "plan/";
/// All target profiles, by their servers.
pub const PROFILE_PREFIX: &str = "profile/";

/// A reader's pin on a server.
pub fn pin(server: &ServerId, id: &str) -> String {
    format!("pin/{server}/{id}")
}

/// All pins on a server.
pub fn pin_prefix(server: &ServerId) -> String {
    format!("pin/{server}/")
}

/// The index of a server's points of one day; days since 1970 count down.
pub fn day_index(server: &ServerId, day: u64) -> String {
    format!("index/{server}/{:08x}", 0xFFFF_FFFF_u64.saturating_sub(day))
}

/// The index of a server's points of one hour of a day; hours count down as days do.
pub fn hour_index(server: &ServerId, hour: u64) -> String {
    format!("{}-{:02}", day_index(server, hour / 24), 23 - hour % 24)
}

/// All indexes of a server, of days and of hours.
pub fn day_index_prefix(server: &ServerId) -> String {
    format!("index/{server}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_and_segments_survive_their_names_and_newer_slots_list_first() {
        let server = ServerId([3; 16]);
        let id = SegmentId([0xAB; 16]);
        assert_eq!(slot_of(&server, &chain_slot(&server, 77)).ok(), Some(77));
        assert!(chain_slot(&server, 78) < chain_slot(&server, 77));
        assert_eq!(segment_of(&server, &segment(&server, &id)), Some(id));
        assert_eq!(segment_of(&server, &format!("seg/{server}/00/{id}")), None);
        assert!(slot_of(&server, &format!("chain/{server}/+000000000000000")).is_err());
    }
}
