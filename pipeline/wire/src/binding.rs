//! What a machine is known by, and whether it is still the same or a copy.
//!
//! State of the agent lies on a disk that is replicated: every drill and every clone has the certificate too. What they do
//! not have is the board and the disks. Only hashes are told, so that no serial number leaves the server.

use ring::digest::{Context, SHA256};

use crate::message::Binding;

/// Nothing is known of a machine's board.
const UNKNOWN: [u8; 16] = [0; 16];
/// What firmware says where its maker filled in nothing; of many machines the same.
const FILLERS: [&str; 16] = [
    "",
    "none",
    "n/a",
    "na",
    "unknown",
    "default",
    "default string",
    "not specified",
    "not applicable",
    "not available",
    "oem",
    "o.e.m.",
    "system serial number",
    "base board serial number",
    "to be filled by o.e.m.",
    "03000200-0400-0500-0006-000700080009",
];

impl Binding {
    /// Of what firmware tells of the board (its UUID, its serial numbers), in a fixed order, and of what each disk says of
    /// itself, in any order. What says nothing is left out; a disk that says nothing cannot be told from another.
    #[must_use]
    pub fn of<'a, 'b>(
        board: impl IntoIterator<Item = &'a str>,
        disks: impl IntoIterator<Item = &'b str>,
    ) -> Self {
        let said: Vec<String> = board.into_iter().map(telling).collect();
        let machine = if said.iter().all(String::is_empty) {
            UNKNOWN
        } else {
            hash("lifeboat machine", said.iter().map(String::as_str))
        };
        let mut disks: Vec<[u8; 16]> = disks
            .into_iter()
            .map(telling)
            .filter(|said| !said.is_empty())
            .map(|said| hash("lifeboat disk", [said.as_str()]))
            .collect();
        disks.sort_unstable();
        disks.dedup();
        Self { machine, disks }
    }
}

/// What an appliance thinks of a machine that shows up with a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Judgement {
    /// Nothing changed.
    Same,
    /// The same machine, with a disk more or less: to be remembered as it is now.
    Changed,
    /// Another board.
    OtherMachine,
    /// The same board as far as can be told, and not one disk that it had.
    OtherDisks,
}

impl Judgement {
    /// Whether the machine is not the one that was enrolled: a copy of its disks, or a restored one.
    #[must_use]
    pub fn is_copy(self) -> bool {
        matches!(self, Self::OtherMachine | Self::OtherDisks)
    }
}

/// Whether who shows up as `now` is the machine that was `known`.
///
/// The board decides where both tell one. A disk that came or went is the same machine, as long as one stayed; where
/// neither tells of any disk, the board alone decides.
#[must_use]
pub fn judge(known: &Binding, now: &Binding) -> Judgement {
    let both_told = known.machine != UNKNOWN && now.machine != UNKNOWN;
    if both_told && known.machine != now.machine {
        return Judgement::OtherMachine;
    }
    let none_told = known.disks.is_empty() && now.disks.is_empty();
    if !none_told && !known.disks.iter().any(|disk| now.disks.contains(disk)) {
        // A server whose disks told nothing of themselves gets one that does: the board vouches for it.
        let vouched = both_told && known.disks.is_empty();
        return if vouched { Judgement::Changed } else { Judgement::OtherDisks };
    }
    if known == now { Judgement::Same } else { Judgement::Changed }
}

/// What is told, or nothing where it tells nothing.
fn telling(said: &str) -> String {
    let said = said.trim_matches(|sign: char| sign.is_whitespace() || sign == '\0').to_lowercase();
    let mut signs = said.chars().filter(|sign| sign.is_alphanumeric());
    let first = signs.next();
    // All zeros, all F, a lone 0: no serial number is one sign many times.
    let is_one_sign = signs.all(|sign| Some(sign) == first);
    let counts = said == "0123456789" || said == "123456789" || said == "1234567890";
    if is_one_sign || counts || FILLERS.contains(&said.as_str()) { String::new() } else { said }
}

fn hash<'a>(what: &str, said: impl IntoIterator<Item = &'a str>) -> [u8; 16] {
    let mut context = Context::new(&SHA256);
    context.update(what.as_bytes());
    for part in said {
        // Separated, so that no two lists of parts are one text.
        context.update(&[0]);
        context.update(part.as_bytes());
    }
    let mut short = [0; 16];
    for (place, byte) in short.iter_mut().zip(context.finish().as_ref()) {
        *place = *byte;
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "4c4c4544-0042-3510-8054-b4c04f4d3633";

    fn of(board: &[&str], disks: &[&str]) -> Binding {
        Binding::of(board.iter().copied(), disks.iter().copied())
    }

    #[test]
    fn a_machine_is_the_same_whatever_the_order_and_the_letters() {
        let first = of(&[UUID, "B5TM633"], &["wwn=naa.5000c500a1", "serial=S3Z8"]);
        let capitals = UUID.to_uppercase();
        let again =
            of(&[&format!("{capitals}\n"), " b5tm633 "], &["serial=S3Z8", "wwn=naa.5000c500a1"]);
        assert_eq!(first, again);
        assert_eq!(judge(&first, &again), Judgement::Same);
        assert_ne!(of(&["ab", "c"], &[]), of(&["a", "bc"], &[]));
        assert_ne!(of(&["", "abc"], &[]), of(&["abc", ""], &[]));
    }

    #[test]
    fn what_makers_leave_blank_tells_nothing() {
        for filler in [
            "",
            " ",
            "0",
            "00000000-0000-0000-0000-000000000000",
            "FFFFFFFF",
            "None",
            "To Be Filled By O.E.M.",
            "Default string\n",
            "0123456789",
            "........",
            "\0\0",
            "03000200-0400-0500-0006-000700080009",
        ] {
            assert_eq!(of(&[filler], &[filler]), Binding::default(), "{filler:?}");
        }
        assert_eq!(of(&["", "B5TM633"], &[]).machine, of(&["None", "B5TM633"], &[]).machine);
    }

    #[test]
    fn a_disk_added_or_replaced_is_the_same_machine() {
        let known = of(&[UUID], &["one", "two"]);
        for disks in [&["one", "two", "three"][..], &["one"], &["two", "three"]] {
            assert_eq!(judge(&known, &of(&[UUID], disks)), Judgement::Changed, "{disks:?}");
        }
    }

    #[test]
    fn another_board_or_no_disk_in_common_is_a_copy() {
        let known = of(&[UUID], &["one", "two"]);
        let other = of(&["5c4c4544-0042-3510-8054-b4c04f4d3633"], &["one", "two"]);
        assert_eq!(judge(&known, &other), Judgement::OtherMachine);
        for disks in [&["three"][..], &[]] {
            let judged = judge(&known, &of(&[UUID], disks));
            assert_eq!(judged, Judgement::OtherDisks, "{disks:?}");
            assert!(judged.is_copy());
        }
    }

    #[test]
    fn where_the_board_tells_nothing_disks_decide_and_where_disks_do_not_the_board() {
        let boardless = of(&[], &["one", "two"]);
        assert_eq!(judge(&boardless, &of(&[], &["one", "two"])), Judgement::Same);
        assert_eq!(judge(&boardless, &of(&[UUID], &["two"])), Judgement::Changed);
        assert!(judge(&boardless, &of(&[UUID], &["three"])).is_copy());
        let diskless = of(&[UUID], &[]);
        assert_eq!(judge(&diskless, &of(&[UUID], &[])), Judgement::Same);
        assert_eq!(judge(&diskless, &of(&[UUID], &["one"])), Judgement::Changed);
        assert!(judge(&of(&[], &[]), &of(&[], &["one"])).is_copy());
    }
}
