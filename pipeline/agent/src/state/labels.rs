//! What disks are called: the kernel's name when one was first seen, kept when the kernel calls it something else; pure.

use serde::{Deserialize, Serialize};

/// Words of an identity, the strongest first: the first kind that both have decides.
const KINDS: [&str; 4] = ["wwn=", "serial=", "gpt=", "path="];

/// Every disk that was ever seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    known: Vec<Known>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    label: String,
    identity: String,
    /// Once said whether everything was sent, which is kept with the marks; files that were written then are still read.
    unused: bool,
}

impl Labels {
    /// The label of a disk that the kernel calls `name`, and whether anything is new that should be remembered. `taken` are
    /// labels of other disks that are there now.
    pub fn label(&mut self, name: &str, identity: &str, taken: &[String]) -> (String, bool) {
        let free = |label: &str| !taken.iter().any(|other| other == label);
        let found = self
            .known
            .iter_mut()
            .find(|known| free(&known.label) && is_same(&known.identity, identity));
        if let Some(known) = found {
            let changed = known.identity != identity;
            identity.clone_into(&mut known.identity);
            return (known.label.clone(), changed);
        }
        let unknown =
            |label: &String| free(label) && !self.known.iter().any(|known| known.label == *label);
        let numbered = (2_u32..).map(|number| format!("{name}-{number}"));
        let label = core::iter::once(name.to_owned()).chain(numbered).find(unknown);
        let label = label.unwrap_or_else(|| name.to_owned());
        self.known.push(Known {
            label: label.clone(),
            identity: identity.to_owned(),
            unused: false,
        });
        (label, true)
    }
}

/// Whether two identities are of one disk.
#[must_use]
pub fn is_same(one: &str, other: &str) -> bool {
    let word = |identity: &str, kind: &str| {
        identity.split(' ').find_map(|word| word.strip_prefix(kind)).map(str::to_owned)
    };
    let both = KINDS.iter().find_map(|kind| Some((word(one, kind)?, word(other, kind)?)));
    both.is_some_and(|(one, other)| one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_keeps_its_label_when_the_kernel_renames_it() {
        let mut labels = Labels::default();
        let none: &[String] = &[];
        assert_eq!(labels.label("sda", "wwn=a gpt=1", none), ("sda".to_owned(), true));
        let sda = ["sda".to_owned()];
        assert_eq!(labels.label("sdb", "wwn=b gpt=2", &sda), ("sdb".to_owned(), true));
        // After a restart they come the other way round, and one was partitioned anew.
        assert_eq!(labels.label("sda", "wwn=b gpt=2", none), ("sdb".to_owned(), false));
        let sdb = ["sdb".to_owned()];
        assert_eq!(labels.label("sdb", "wwn=a gpt=9", &sdb), ("sda".to_owned(), true));
        // A third one that takes the name of a disk that is known gets another.
        assert_eq!(labels.label("sda", "wwn=c", &[]), ("sda-2".to_owned(), true));
    }

    #[test]
    fn labels_that_an_agent_of_before_wrote_down_are_read() {
        // Of two disks, of which everything was sent of the first.
        let before = b"\x02\x03sda\x05wwn=a\x01\x03sdb\x08serial=b\x00";
        let mut labels: Labels = postcard::from_bytes(before).unwrap();
        assert_eq!(labels.label("sdb", "wwn=a", &[]), ("sda".to_owned(), false));
        assert_eq!(labels.label("sda", "serial=b", &["sda".to_owned()]), ("sdb".to_owned(), false));
    }

    #[test]
    fn the_strongest_word_that_both_have_decides() {
        assert!(is_same("wwn=1 serial=x", "wwn=1 serial=y"));
        assert!(!is_same("wwn=1 gpt=5", "wwn=2 gpt=5"), "a clone has the same partition table");
        assert!(is_same("serial=x gpt=5", "wwn=1 serial=x"));
        assert!(is_same("path=/dev/vda", "path=/dev/vda"));
        assert!(!is_same("gpt=5", "path=/dev/vda") && !is_same("", ""));
    }

    #[test]
    fn two_disks_that_say_the_same_get_two_labels() {
        let mut labels = Labels::default();
        let (first, _) = labels.label("sda", "serial=0", &[]);
        let (second, _) = labels.label("sdb", "serial=0", core::slice::from_ref(&first));
        assert_ne!(first, second);
        // And keep them.
        let (again, _) = labels.label("sda", "serial=0", &[]);
        assert_eq!(again, first);
        assert_eq!(labels.label("sdb", "serial=0", &[again]).0, second);
    }
}
