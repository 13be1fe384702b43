//! What is mounted and what is swap, as /proc tells it.

use std::fs;
use std::path::Path;

/// Everything mounted and all swap areas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    /// In the kernel's order: whatever lies in another file system comes after it.
    pub mounts: Vec<Mount>,
    /// Devices and files that hold swap.
    pub swaps: Vec<String>,
}

/// One line of mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// `major:minor`; the major is 0 where the file system has no single device, as btrfs.
    pub numbers: String,
    /// What was named when it was mounted: mostly a device node.
    pub source: String,
    /// Where.
    pub at: String,
    /// What kind of file system.
    pub kind: String,
    /// The file system, not only this mount of it, takes no writes.
    pub read_only: bool,
}

/// What is mounted and what is swap, with `proc` under another root.
#[must_use]
pub fn read(root: &Path) -> Mounts {
    // Bytes, not text: a mount point may be named in any encoding.
    let text = |name: &str| {
        let bytes = fs::read(root.join("proc").join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Mounts { mounts: mountinfo(&text("self/mountinfo")), swaps: swaps(&text("swaps")) }
}

/// `36 35 98:0 /root /mnt rw,noatime master:1 - ext4 /dev/sda1 rw`: the fields before the dash vary
/// in number.
fn mountinfo(text: &str) -> Vec<Mount> {
    text.lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut fields = before.split(' ');
            let numbers = fields.nth(2)?.to_owned();
            let at = unescaped(fields.nth(1)?);
            let mut after = after.split(' ');
            let kind = after.next()?.to_owned();
            let source = unescaped(after.next()?);
            let read_only =
                after.next().is_some_and(|words| words.split(',').any(|word| word == "ro"));
            Some(Mount { numbers, source, at, kind, read_only })
        })
        .collect()
}

/// A line of titles, then one line for every area, its file or device first.
fn swaps(text: &str) -> Vec<String> {
    text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(unescaped).collect()
}

/// The kernel writes blanks and backslashes in names as `\040`.
fn unescaped(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *first == b'\\').and_then(octal);
        match code {
            Some(code) => {
                bytes.push(code);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn octal(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0_u8, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        value.checked_mul(8)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use hal_sim::random::Random;

    use super::*;

    #[test]
    fn lines_with_and_without_optional_fields_are_read() {
        let text = "36 35 98:0 / /mnt\\040one rw,noatime - ext4 /dev/sda1 rw\n\
            37 35 0:44 /sub /b rw shared:1 master:2 - btrfs /dev/mapper/a\\134b ro,seclabel\n\
            38 1 8:2 / / rw -\n38 1\n\n - \n- - -";
        let found = mountinfo(text);
        let mount = |numbers: &str, source: &str, at: &str, kind: &str| Mount {
            numbers: numbers.into(),
            source: source.into(),
            at: at.into(),
            kind: kind.into(),
            read_only: kind == "btrfs",
        };
        let expected = [
            mount("98:0", "/dev/sda1", "/mnt one", "ext4"),
            mount("0:44", "/dev/mapper/a\\b", "/b", "btrfs"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn swap_areas_are_read_without_their_title() {
        let text = "Filename\tType\tSize\tUsed\tPriority\n\
            /dev/sda3 partition 1 0 -2\n\n/swap\\040file file 1 0 -3";
        assert_eq!(swaps(text), ["/dev/sda3", "/swap file"]);
        assert_eq!(swaps(""), [""; 0]);
    }

    #[test]
    fn any_bytes_end_in_an_answer() {
        let mut random = Random::new(11);
        let letters = b"0123456789:/ -\\\n\tabc\xff";
        for _ in 0..20_000 {
            let length = random.below(60);
            let bytes: Vec<u8> = (0..length)
                .map(|_| letters[usize::try_from(random.below(letters.len() as u64)).unwrap()])
                .collect();
            let text = String::from_utf8_lossy(&bytes);
            assert!(mountinfo(&text).len() <= text.lines().count());
            assert!(swaps(&text).len() <= text.lines().count());
            assert!(unescaped(&text).len() <= 3 * text.len());
        }
        assert_eq!(unescaped("\\777\\08\\"), "\\777\\08\\", "no such byte, and cut short");
    }
}
