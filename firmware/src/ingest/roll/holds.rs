//! What the roll keeps beside each server's own policy: points that stay whatever the retention says, how long points of servers
//! are kept that say nothing themselves, and which servers need a second person.

use pipeline::ids::{PointId, ServerId};
use pipeline_vault::Error;
use pipeline_vault::retain::Policy;
use serde::{Deserialize, Serialize};

use super::Roll;

/// Points that are held of all servers together.
const HOLDS_MAX: usize = 2000;
/// Longest reason, in bytes.
const WHY_BYTES_MAX: usize = 300;

/// A point that stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Whose point.
    pub server: ServerId,
    /// Its place in the chain.
    pub slot: u64,
    /// Which.
    pub point: PointId,
    /// Why, for people.
    pub why: String,
    /// Who said so.
    pub by: String,
    /// When, milliseconds since 1970.
    pub at_millis: u64,
}

/// What is kept beside each server's own policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Points that stay.
    pub holds: Vec<Hold>,
    /// How long points are kept of servers that say nothing themselves, as `prune --keep` has it; none: for ever.
    pub keep: Option<String>,
    /// Servers whose failover and deletion need a second person.
    pub second_person: Vec<ServerId>,
}

impl Roll {
    /// Holds a point; held already, it is held for the newer reason.
    ///
    /// Errors: too many points are held.
    pub fn hold(&mut self, mut hold: Hold) -> Result<(), Error> {
        hold.why.truncate(hold.why.floor_char_boundary(WHY_BYTES_MAX));
        let holds = &mut self.rules.holds;
        holds.retain(|known| (known.server, known.slot) != (hold.server, hold.slot));
        if holds.len() >= HOLDS_MAX {
            return Err(Error::exhausted(
                "points that are pinned",
                format!("are {HOLDS_MAX} already"),
            )
            .remedy("unpin some of them first"));
        }
        holds.push(hold);
        Ok(())
    }

    /// Lets a point go; whether it was held.
    pub fn let_go(&mut self, server: ServerId, point: PointId) -> bool {
        let before = self.rules.holds.len();
        self.rules.holds.retain(|known| (known.server, known.point) != (server, point));
        self.rules.holds.len() < before
    }

    /// Why a point is held; `None` where it is not.
    #[must_use]
    pub fn held(&self, server: ServerId, slot: u64) -> Option<&Hold> {
        self.rules.holds.iter().find(|hold| (hold.server, hold.slot) == (server, slot))
    }

    /// A policy, and the points of this server that stay.
    #[must_use]
    pub fn holding(&self, server: ServerId, policy: Policy) -> Policy {
        let holds = self.rules.holds.iter().filter(|hold| hold.server == server);
        policy.holding(holds.map(|hold| hold.slot))
    }

    /// How long a server's points are kept: as it says itself, or as is said for all; `None` is for ever.
    #[must_use]
    pub fn keep_of(&self, server: ServerId) -> Option<&str> {
        let own = self.server(server).and_then(|listed| listed.keep.as_deref());
        own.or(self.rules.keep.as_deref())
    }

    /// Whether a server's failover and deletion need a second person.
    #[must_use]
    pub fn needs_second(&self, server: ServerId) -> bool {
        self.rules.second_person.contains(&server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(slot: u64, why: &str) -> Hold {
        Hold {
            server: ServerId([5; 16]),
            slot,
            point: PointId([7; 16]),
            why: why.to_owned(),
            by: "tripwire".to_owned(),
            at_millis: 9,
        }
    }

    #[test]
    fn rules_survive_the_bytes_and_an_older_roll_has_none() {
        let mut roll = Roll::new().unwrap();
        let plain = roll.to_bytes().unwrap();
        assert_eq!((plain[0], Roll::parse(&plain).unwrap().rules), (1, Rules::default()));
        roll.hold(hold(4, "a jump")).unwrap();
        roll.rules.keep = Some("30d".to_owned());
        roll.rules.second_person = vec![ServerId([5; 16])];
        let bytes = roll.to_bytes().unwrap();
        assert_eq!((bytes[0], Roll::parse(&bytes)), (3, Ok(roll.clone())));
        assert!(Roll::parse(&bytes[..bytes.len() - 1]).is_err());
        assert!(roll.let_go(ServerId([5; 16]), PointId([7; 16])));
        (roll.rules.keep, roll.rules.second_person) = (None, Vec::new());
        assert_eq!(roll.to_bytes().unwrap(), plain, "a roll without rules is as it always was");
    }

    #[test]
    fn a_point_is_held_once_and_only_its_own_server_keeps_it() {
        let mut roll = Roll::new().unwrap();
        roll.hold(hold(4, "first")).unwrap();
        roll.hold(hold(4, &"ü".repeat(400))).unwrap();
        assert_eq!(roll.rules.holds.len(), 1);
        assert!(roll.held(ServerId([5; 16]), 4).is_some_and(|hold| hold.why.len() == 300));
        assert!(roll.held(ServerId([6; 16]), 4).is_none());
        for slot in 0..2000 {
            let _ = roll.hold(hold(slot, "many"));
        }
        assert!(roll.hold(hold(9999, "one more")).is_err());
        assert!(roll.hold(hold(4, "again")).is_ok(), "it is held already");
    }

    #[test]
    fn who_says_nothing_is_kept_as_is_said_for_all() {
        let mut roll = Roll::new().unwrap();
        let server = ServerId([5; 16]);
        let binding = pipeline_wire::message::Binding { machine: [1; 16], disks: Vec::new() };
        roll.enrol(server, "web", &binding, [6; 32]);
        assert_eq!(roll.keep_of(server), None);
        roll.rules.keep = Some("30d".to_owned());
        assert_eq!(
            (roll.keep_of(server), roll.keep_of(ServerId([8; 16]))),
            (Some("30d"), Some("30d"))
        );
        roll.named("web").unwrap().keep = Some("7d".to_owned());
        assert_eq!(roll.keep_of(server), Some("7d"));
    }
}
