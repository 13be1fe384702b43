//! What this machine is known by: its board and its disks, hashed.
//!
//! `/etc/machine-id` and everything else that lies on a disk takes no part: a copy has it too.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use pipeline_wire::message::Binding;

/// What firmware tells of the board, in the order in which it is hashed. It must never change: agents would be taken for
/// copies of themselves.
const BOARD: [&str; 4] = [
    "sys/class/dmi/id/product_uuid",
    "sys/class/dmi/id/product_serial",
    "sys/class/dmi/id/board_serial",
    "sys/firmware/devicetree/base/serial-number",
];
const FACT_BYTES_MAX: u64 = 4096;

/// Of the machine whose root is `root`, with disks of these identities (words `kind=value`).
#[must_use]
pub fn of_machine<'a>(root: &Path, identities: impl IntoIterator<Item = &'a str>) -> Binding {
    let board = BOARD.map(|path| fact(&root.join(path)));
    let disks = identities.into_iter().filter_map(hardware);
    Binding::of(board.iter().map(String::as_str), disks)
}

/// What the hardware of a disk says of itself. Its partition table is left out: a copy has that too.
fn hardware(identity: &str) -> Option<&str> {
    let word = |kind: &str| identity.split(' ').find_map(|word| word.strip_prefix(kind));
    word("wwn=").or_else(|| word("serial="))
}

/// What cannot be read tells nothing, like what is not there.
fn fact(path: &Path) -> String {
    let mut bytes = Vec::new();
    let file = File::open(path);
    let read = file.and_then(|file| file.take(FACT_BYTES_MAX).read_to_end(&mut bytes));
    if read.is_err() {
        bytes.clear();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use pipeline_wire::binding::{Judgement, judge};

    use super::*;

    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, facts: &[(&str, &str)]) -> Self {
            let process = std::process::id();
            let root = std::env::temp_dir().join(format!("lifeboat-binding-{name}-{process}"));
            for (path, said) in facts {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, said).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_copy_on_another_board_with_other_disks_is_told_apart() {
        let uuid = "4c4c4544-0042-3510-8054-b4c04f4d3633\n";
        let known = Root::new("known", &[(BOARD[0], uuid), (BOARD[2], "None\n")]);
        let copy = Root::new("copy", &[(BOARD[0], "5c4c4544-0042-3510-8054-b4c04f4d3633\n")]);
        let disk = ["wwn=naa.5000 serial=S1 gpt=77 path=/dev/sda"];
        let first = of_machine(&known.0, disk);
        // Another partition table and another name: the same disk.
        let again = of_machine(&known.0, ["path=/dev/sdb wwn=naa.5000 gpt=78"]);
        assert_eq!(judge(&first, &again), Judgement::Same);
        assert_eq!(judge(&first, &of_machine(&copy.0, disk)), Judgement::OtherMachine);
        let other = of_machine(&known.0, ["serial=S2 gpt=77 path=/dev/sda"]);
        assert_eq!(judge(&first, &other), Judgement::OtherDisks);
    }

    #[test]
    fn a_machine_that_tells_nothing_is_bound_by_its_disks_alone() {
        let root = Root::new("silent", &[(BOARD[0], "\u{0}")]);
        let binding = of_machine(&root.0, ["serial=S1", "gpt=77 path=/dev/vdb", ""]);
        assert_eq!((binding.machine, binding.disks.len()), ([0; 16], 1));
    }
}
