//! What the roll keeps beside each server's own policy: how long points of servers are kept that say nothing themselves, and which
//! servers need a second person.

use pipeline::ids::ServerId;
use serde::{Deserialize, Serialize};

use super::Roll;

/// What is kept beside each server's own policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// How long points are kept of servers that say nothing themselves, as `prune --keep` has it; none: for ever.
    pub keep: Option<String>,
    /// Servers whose failover and deletion need a second person.
    pub second_person: Vec<ServerId>,
}

impl Roll {
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

    #[test]
    fn rules_survive_the_bytes_and_an_older_roll_has_none() {
        let mut roll = Roll::new().unwrap();
        let plain = roll.to_bytes().unwrap();
        assert_eq!((plain[0], Roll::parse(&plain).unwrap().rules), (1, Rules::default()));
        roll.rules.keep = Some("30d".to_owned());
        roll.rules.second_person = vec![ServerId([5; 16])];
        let bytes = roll.to_bytes().unwrap();
        assert_eq!((bytes[0], Roll::parse(&bytes)), (5, Ok(roll.clone())));
        assert!(Roll::parse(&bytes[..bytes.len() - 1]).is_err());
        roll.rules = Rules::default();
        assert_eq!(roll.to_bytes().unwrap(), plain, "a roll without rules is as it always was");
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
