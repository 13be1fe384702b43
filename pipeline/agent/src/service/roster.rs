//! Which disks take part, and what they are called; what of it is remembered across restarts.
//!
//! What cannot be written down is told, and known until the agent ends: a full disk is no reason to protect nothing.

use std::collections::BTreeMap;

use hal::time::UnixMillis;

use crate::devices::Leaf;
use crate::replicate::Memory;
use crate::state::State;
use crate::state::labels::Labels;

/// Disks by name.
pub(super) struct Roster {
    state: State,
    labels: Labels,
    /// The labels changed since they were written down.
    is_unwritten: bool,
    left_out: Vec<String>,
}

/// The disks of a run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Those that take part, with their labels.
    pub(super) leaves: Vec<(Leaf, String)>,
    /// Labels of those that are there and do not.
    pub(super) omitted: Vec<String>,
}

impl Roster {
    pub(super) fn read(state: &State) -> Self {
        let labels = state.labels().unwrap_or_else(|why| {
            log::warn!("{why}; disks are called what the kernel calls them now");
            Labels::default()
        });
        let left_out = state.left_out().unwrap_or_else(|why| {
            log::warn!("{why}; the appliance says it again");
            Vec::new()
        });
        Self { state: state.clone(), labels, is_unwritten: false, left_out }
    }

    /// Names these disks, and leaves out what the policy wants. Where it wants none at all they are all in, since nobody is
    /// introduced without a disk.
    pub(super) fn choose(&mut self, leaves: Vec<Leaf>, troubles: &mut Vec<String>) -> Chosen {
        let mut labels: Vec<String> = Vec::new();
        for leaf in &leaves {
            let (label, is_new) = self.labels.label(&leaf.name, &leaf.identity, &labels);
            self.is_unwritten |= is_new;
            labels.push(label);
        }
        if self.is_unwritten {
            match self.state.name_disks(&self.labels) {
                Ok(()) => self.is_unwritten = false,
                Err(why) => told(why, troubles),
            }
        }
        let is_out = |label: &String| self.left_out.contains(label);
        let all_out = labels.iter().all(is_out);
        let named = leaves.into_iter().zip(labels);
        let (out, leaves): (Vec<_>, Vec<_>) =
            named.partition(|(_, label)| is_out(label) && !all_out);
        Chosen { leaves, omitted: out.into_iter().map(|(_, label)| label).collect() }
    }

    /// The policy leaves these out from now on.
    pub(super) fn leave_out(&mut self, labels: &[String]) {
        if self.left_out == labels {
            return;
        }
        self.left_out = labels.to_vec();
        if let Err(why) = self.state.leave_out(labels) {
            log::error!("{why}");
        }
    }
}

fn told(why: String, troubles: &mut Vec<String>) {
    log::error!("{why}");
    troubles.push(why);
}

/// When each disk was compared, on the disk.
pub(super) struct Remembered {
    state: State,
    compared: BTreeMap<String, u64>,
}

impl Remembered {
    pub(super) fn read(state: &State) -> Self {
        let compared = state.compared().unwrap_or_else(|why| {
            log::warn!("{why}; the time until disks are compared again begins anew");
            BTreeMap::new()
        });
        Self { state: state.clone(), compared }
    }
}

impl Memory for Remembered {
    fn compared_at(&self, label: &str) -> Option<UnixMillis> {
        self.compared.get(label).copied().map(UnixMillis)
    }

    fn set_compared(&mut self, label: &str, at: UnixMillis) -> Result<(), String> {
        self.compared.insert(label.to_owned(), at.0);
        self.state.note_compared(&self.compared)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("lifeboat-roster-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn leaf(name: &str) -> Leaf {
        Leaf {
            name: name.to_owned(),
            path: PathBuf::from("/dev").join(name),
            number: (8, 0),
            bytes: 1 << 20,
            sector_bytes: 512,
            identity: format!("serial={name}"),
            untracked: None,
        }
    }

    fn chosen(roster: &mut Roster) -> (Vec<String>, Vec<String>) {
        let mut troubles = Vec::new();
        let Chosen { leaves, omitted } =
            roster.choose(vec![leaf("sda"), leaf("sdb")], &mut troubles);
        assert_eq!(troubles, [""; 0]);
        (leaves.into_iter().map(|(_, label)| label).collect(), omitted)
    }

    fn labels(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|label| (*label).to_owned()).collect()
    }

    #[test]
    fn a_disk_that_the_policy_leaves_out_stays_out_when_the_agent_starts_again() {
        let state = State::at(folder("stays"));
        let mut roster = Roster::read(&state);
        assert_eq!(chosen(&mut roster), (labels(&["sda", "sdb"]), labels(&[])));
        roster.leave_out(&labels(&["sdb", "sdz"]));
        for mut roster in [roster, Roster::read(&state)] {
            assert_eq!(chosen(&mut roster), (labels(&["sda"]), labels(&["sdb"])));
        }
        let mut roster = Roster::read(&state);
        roster.leave_out(&labels(&["sda", "sdb"]));
        assert_eq!(
            chosen(&mut roster),
            (labels(&["sda", "sdb"]), labels(&[])),
            "no Hello is empty"
        );
        roster.leave_out(&[]);
        assert_eq!(chosen(&mut roster), (labels(&["sda", "sdb"]), labels(&[])));
        state.forget().unwrap();
    }

    #[test]
    fn a_name_that_cannot_be_written_down_is_told_and_kept_and_written_when_that_is_possible() {
        let place = folder("full");
        // No folder can be made below a file, whoever asks.
        fs::write(&place, b"").unwrap();
        let state = State::at(place.join("state"));
        let mut roster = Roster::read(&state);
        for _ in 0..2 {
            let mut troubles = Vec::new();
            let chosen = roster.choose(vec![leaf("sda")], &mut troubles);
            assert_eq!(chosen.leaves, [(leaf("sda"), "sda".to_owned())]);
            assert!(troubles[0].contains("is not written"), "{troubles:?}");
        }
        let mut memory = Remembered::read(&state);
        assert!(memory.set_compared("sda", UnixMillis(9)).is_err());
        assert_eq!(memory.compared_at("sda"), Some(UnixMillis(9)));
        roster.leave_out(&labels(&["sdx"]));
        fs::remove_file(&place).unwrap();
        let renamed = Leaf { name: "sdq".to_owned(), ..leaf("sda") };
        let mut troubles = Vec::new();
        let chosen = roster.choose(vec![renamed.clone()], &mut troubles);
        assert_eq!((chosen.leaves[0].1.as_str(), troubles.as_slice()), ("sda", [].as_slice()));
        let again = Roster::read(&state).choose(vec![renamed], &mut troubles);
        assert_eq!(again.leaves[0].1, "sda");
        fs::remove_dir_all(&place).unwrap();
    }
}
