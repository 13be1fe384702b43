//! Which disk of a recovery point goes onto which disk of this machine: by identity, by kind and size. Pure.

/// A disk as the point has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its name in the point.
    pub(crate) name: String,
    /// What told it from others: parts such as `serial=X`.
    pub(crate) identity: String,
    /// Its size.
    pub(crate) bytes: u64,
}

/// A disk of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Present {
    /// Its node.
    pub(crate) path: String,
    /// As for `Wanted`, of the disk as it is now.
    pub(crate) identity: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// It takes no writes, or is in use.
    pub(crate) unusable: Option<String>,
}

/// Why a disk was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// It is the very disk.
    Same,
    /// Of the same kind and exactly the same size.
    KindAndSize,
    /// Exactly the same size.
    Size,
    /// The smallest of the same kind that is large enough.
    LargerOfKind,
    /// The smallest that is large enough.
    Larger,
}

impl Reason {
    /// In a few words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Same => "the same disk",
            Self::KindAndSize => "same kind and size",
            Self::Size => "same size",
            Self::LargerOfKind => "larger, same kind",
            Self::Larger => "larger",
        }
    }
}

/// One disk onto another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// Place in the point.
    pub(crate) from: usize,
    /// Place in the machine.
    pub(crate) onto: usize,
    /// Why.
    pub(crate) reason: Reason,
}

/// Pairs every disk of the point with one of the machine, the surest first; or says which has none.
pub(crate) fn pair(wanted: &[Wanted], present: &[Present]) -> Result<Vec<Pair>, String> {
    let mut candidates: Vec<(Reason, u64, usize, usize)> = Vec::new();
    for (from, want) in wanted.iter().enumerate() {
        for (onto, have) in present.iter().enumerate() {
            if let Some(reason) = fits(want, have) {
                candidates.push((reason, have.bytes - want.bytes, from, onto));
            }
        }
    }
    // The surest reason, then the least waste; the order of the lists where both are equal.
    candidates.sort_unstable();
    let mut pairs: Vec<Pair> = Vec::new();
    for (reason, _, from, onto) in candidates {
        if !pairs.iter().any(|pair| pair.from == from || pair.onto == onto) {
            pairs.push(Pair { from, onto, reason });
        }
    }
    // The surest pair of one disk may have taken the only one that is large enough for another.
    for from in 0..wanted.len() {
        if !pairs.iter().any(|pair| pair.from == from)
            && !make_room(from, wanted, present, &mut pairs)
        {
            return Err(missing(&wanted[from], present));
        }
    }
    pairs.sort_by_key(|pair| pair.from);
    Ok(pairs)
}

/// Finds a disk for `from`, moving others along as far as that takes.
fn make_room(from: usize, wanted: &[Wanted], present: &[Present], pairs: &mut Vec<Pair>) -> bool {
    let mut tried = vec![false; present.len()];
    augment(from, wanted, present, pairs, &mut tried)
}

fn augment(
    from: usize,
    wanted: &[Wanted],
    present: &[Present],
    pairs: &mut Vec<Pair>,
    tried: &mut [bool],
) -> bool {
    for onto in 0..present.len() {
        let Some(reason) = fits(&wanted[from], &present[onto]) else { continue };
        if core::mem::replace(&mut tried[onto], true) {
            continue;
        }
        let holder = pairs.iter().find(|pair| pair.onto == onto).map(|pair| pair.from);
        if holder.is_none_or(|holder| augment(holder, wanted, present, pairs, tried)) {
            pairs.retain(|pair| pair.onto != onto && pair.from != from);
            pairs.push(Pair { from, onto, reason });
            return true;
        }
    }
    false
}

fn fits(want: &Wanted, have: &Present) -> Option<Reason> {
    if have.unusable.is_some() || have.bytes < want.bytes {
        return None;
    }
    let same_kind = kind(&want.name) == kind(have.path.rsplit('/').next().unwrap_or_default());
    Some(match have.bytes == want.bytes {
        true if same_hardware(&want.identity, &have.identity) => Reason::Same,
        true if same_kind => Reason::KindAndSize,
        true => Reason::Size,
        false if same_kind => Reason::LargerOfKind,
        false => Reason::Larger,
    })
}

/// What hardware says of itself; the partition table's GUID is content, and goes wherever the content goes.
fn same_hardware(one: &str, two: &str) -> bool {
    let hardware = |part: &&str| part.starts_with("wwn=") || part.starts_with("serial=");
    one.split(' ').filter(hardware).any(|part| two.split(' ').any(|other| other == part))
}

/// The kind of a disk by the kernel's name for it: what stands before the first digit, and the letter of the disk.
fn kind(name: &str) -> &str {
    ["nvme", "mmcblk", "xvd", "vd", "sd", "hd", "pmem"]
        .into_iter()
        .find(|kind| name.starts_with(kind))
        .unwrap_or("")
}

fn missing(want: &Wanted, present: &[Present]) -> String {
    let unusable: Vec<String> = present
        .iter()
        .filter_map(|have| Some(format!("{} {}", have.path, have.unusable.as_ref()?)))
        .collect();
    let mut words = format!(
        "disk {} of {} bytes has no disk here that is as large and not taken by another; put in a larger one",
        want.name, want.bytes
    );
    if !unusable.is_empty() {
        words.push_str(&format!(" ({})", unusable.join(", ")));
    }
    words
}

#[cfg(test)]
mod tests {
    use hal_sim::random::Random;

    use super::*;

    fn want(name: &str, identity: &str, bytes: u64) -> Wanted {
        Wanted { name: name.into(), identity: identity.into(), bytes }
    }

    fn have(path: &str, identity: &str, bytes: u64) -> Present {
        Present { path: path.into(), identity: identity.into(), bytes, unusable: None }
    }

    fn named(wanted: &[Wanted], present: &[Present]) -> Vec<(String, String, Reason)> {
        let name = |pair: &Pair| {
            (wanted[pair.from].name.clone(), present[pair.onto].path.clone(), pair.reason)
        };
        pair(wanted, present).unwrap().iter().map(name).collect()
    }

    #[test]
    fn the_very_disk_wins_then_kind_then_size() {
        let wanted =
            [want("sda", "serial=A gpt=1", 100), want("nvme0n1", "", 100), want("sdb", "", 50)];
        let present = [
            have("/dev/sda", "serial=X gpt=1", 100),
            have("/dev/nvme0n1", "", 100),
            have("/dev/sdb", "serial=A", 100),
            have("/dev/sdc", "", 80),
        ];
        let expected = [
            ("sda".into(), "/dev/sdb".into(), Reason::Same),
            ("nvme0n1".into(), "/dev/nvme0n1".into(), Reason::KindAndSize),
            ("sdb".into(), "/dev/sdc".into(), Reason::LargerOfKind),
        ];
        assert_eq!(named(&wanted, &present), expected);
    }

    #[test]
    fn another_bus_and_a_larger_disk_do() {
        let wanted = [want("vda", "path=/dev/vda", 100)];
        let present = [have("/dev/nvme0n1", "", 300), have("/dev/sda", "", 120)];
        assert_eq!(named(&wanted, &present), [("vda".into(), "/dev/sda".into(), Reason::Larger)]);
    }

    #[test]
    fn a_sure_pair_gives_way_where_another_disk_has_no_other_place() {
        let wanted = [want("sda", "serial=A", 50), want("sdb", "", 60)];
        let present =
            [have("/dev/sda", "", 55), have("/dev/sdb", "serial=A", 50), have("/dev/sdc", "", 60)];
        assert_eq!(pair(&wanted, &present).unwrap().len(), 2);
        let wanted = [want("sda", "", 50), want("sdb", "", 40)];
        let present = [have("/dev/sda", "", 50), have("/dev/vdb", "", 45)];
        let found = named(&wanted, &present);
        assert_eq!(found[0].1, "/dev/sda");
        assert_eq!(found[1].1, "/dev/vdb");
    }

    #[test]
    fn what_cannot_be_is_said_with_the_reason() {
        let wanted = [want("sda", "", 100)];
        let mut small = have("/dev/sda", "", 99);
        assert!(pair(&wanted, &[small.clone()]).unwrap_err().contains("sda of 100 bytes"));
        small.bytes = 100;
        small.unusable = Some("is write-protected".into());
        assert!(pair(&wanted, &[small]).unwrap_err().contains("write-protected"));
        assert_eq!(pair(&[], &[]), Ok(Vec::new()));
    }

    #[test]
    fn whatever_can_be_paired_is_and_never_too_small_or_twice() {
        let mut random = Random::new(12);
        for _ in 0..3000 {
            let mut sizes = |most: u64| -> Vec<u64> {
                (0..random.below(most)).map(|_| 1 + random.below(9)).collect()
            };
            let (want_sizes, have_sizes) = (sizes(6), sizes(8));
            let wanted: Vec<Wanted> =
                want_sizes.iter().map(|size| want("sdx", "", *size)).collect();
            let present: Vec<Present> =
                have_sizes.iter().map(|size| have("/dev/vdx", "", *size)).collect();
            // Possible exactly where the largest fit the largest.
            let (mut large, mut room) = (want_sizes.clone(), have_sizes.clone());
            large.sort_unstable_by(|one, two| two.cmp(one));
            room.sort_unstable_by(|one, two| two.cmp(one));
            let possible = large.len() <= room.len()
                && large.iter().zip(&room).all(|(want, have)| want <= have);
            match pair(&wanted, &present) {
                Ok(pairs) => {
                    assert!(possible);
                    assert_eq!(pairs.len(), wanted.len());
                    for (place, pair) in pairs.iter().enumerate() {
                        assert_eq!(pair.from, place);
                        assert!(present[pair.onto].bytes >= wanted[pair.from].bytes);
                        assert!(pairs[..place].iter().all(|earlier| earlier.onto != pair.onto));
                    }
                }
                Err(_) => assert!(!possible, "{want_sizes:?} onto {have_sizes:?}"),
            }
        }
    }
}
