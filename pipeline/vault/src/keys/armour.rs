//! Bytes as text between two marker lines, with a checksum: survives mail, terminals and other line ends.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pipeline::seal::digest;
use zeroize::Zeroizing;

const LINE_LETTERS: usize = 64;
const CHECKSUM_BYTES: usize = 6;

/// Why text did not give bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// There is no marker line.
    NotArmoured,
    /// It is armoured, as something else.
    Other(String),
    /// The last marker is missing, a letter is wrong, or the checksum differs.
    Damaged,
    /// It is longer than anything of its kind.
    TooLong,
}

impl Unreadable {
    /// What is wrong, as a clause about a file that should hold a `wanted`.
    pub(crate) fn what(&self, wanted: &str) -> String {
        match self {
            Self::NotArmoured => format!("holds no {wanted}"),
            Self::Other(found) => format!("holds a {found} instead of a {wanted}"),
            Self::Damaged => format!("holds a {wanted} that is damaged or cut short"),
            Self::TooLong => format!("is too long to be a {wanted}"),
        }
    }
}

/// The text: notes as comments, then the bytes between markers.
pub(crate) fn wrap(label: &str, notes: &[String], bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 3 / 2 + 500));
    notes.iter().for_each(|note| text.extend(["# ", note, "\n"]));
    text.extend(["-----BEGIN ", &marker(label), "-----\n"]);
    let letters = Zeroizing::new(STANDARD.encode(bytes));
    let mut rest = letters.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE_LETTERS));
        text.extend([line, "\n"]);
        rest = more;
    }
    text.extend(["=", &STANDARD.encode(checksum(bytes)), "\n"]);
    text.extend(["-----END ", &marker(label), "-----\n"]);
    text
}

/// The bytes of the first armoured part, which must be labelled `label`.
pub(crate) fn unwrap(
    label: &str,
    text: &str,
    bytes_max: usize,
) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    if text.len() > bytes_max.saturating_mul(2).saturating_add(4096) {
        return Err(Unreadable::TooLong);
    }
    let mut lines = text.lines().map(str::trim);
    let begin = lines.find_map(|line| line.strip_prefix("-----BEGIN LIFEBOAT "));
    let found = begin.and_then(|rest| rest.strip_suffix("-----")).ok_or(Unreadable::NotArmoured)?;
    if !found.eq_ignore_ascii_case(label) {
        return Err(Unreadable::Other(found.to_lowercase()));
    }
    let mut letters = Zeroizing::new(String::with_capacity(text.len()));
    let mut wanted_checksum = None;
    for line in lines {
        if let Some(end) = line.strip_prefix("-----END ") {
            let whole = end.strip_suffix("-----") == Some(&marker(label));
            let bytes = decode(&letters).filter(|_| whole).ok_or(Unreadable::Damaged)?;
            return match wanted_checksum {
                Some(sum) if sum == checksum(&bytes) => Ok(bytes),
                _ => Err(Unreadable::Damaged),
            };
        }
        match line.strip_prefix('=') {
            Some(sum) => wanted_checksum = STANDARD.decode(sum).ok(),
            None => letters.push_str(line),
        }
    }
    Err(Unreadable::Damaged)
}

fn marker(label: &str) -> String {
    format!("LIFEBOAT {}", label.to_uppercase())
}

fn decode(letters: &str) -> Option<Zeroizing<Vec<u8>>> {
    // Room for everything at once: a vector that grows leaves copies of secrets behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(letters.len()));
    STANDARD.decode_vec(letters, &mut bytes).ok()?;
    Some(bytes)
}

fn checksum(bytes: &[u8]) -> Vec<u8> {
    digest(&[b"lifeboat armour 1", bytes]).0[..CHECKSUM_BYTES].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::mutations;

    #[test]
    fn bytes_of_all_lengths_survive_mail() {
        for length in 0..300_u16 {
            let bytes: Vec<u8> = (0..length).map(|byte| (byte % 251) as u8).collect();
            let text = wrap("recovery ticket", &[String::from("a note")], &bytes);
            let mailed = format!("Hello,\r\n\r\n{}\r\nRegards", text.replace('\n', " \r\n  "));
            let back = unwrap("recovery ticket", &mailed, 1000).expect("whole");
            assert_eq!(*back, bytes);
        }
    }

    #[test]
    fn other_and_cut_texts_are_told_apart() {
        let text = wrap("recovery ticket", &[], &[7; 200]);
        let other = unwrap("sealed recovery key", &text, 1000);
        assert_eq!(other, Err(Unreadable::Other(String::from("recovery ticket"))));
        assert_eq!(unwrap("recovery ticket", "hello", 10), Err(Unreadable::NotArmoured));
        assert_eq!(unwrap("recovery ticket", &"a".repeat(9000), 10), Err(Unreadable::TooLong));
        for end in text.find("----\n").expect("a marker") + 5..text.len() - 6 {
            assert_eq!(unwrap("recovery ticket", &text[..end], 1000), Err(Unreadable::Damaged));
        }
    }

    #[test]
    fn changed_letters_never_give_other_bytes() {
        let text = wrap("recovery ticket", &[], &[7; 200]);
        mutations(text.as_bytes(), 20_000, |changed| {
            let changed = String::from_utf8_lossy(changed);
            if let Ok(bytes) = unwrap("recovery ticket", &changed, 1000) {
                assert_eq!(*bytes, [7; 200]);
            }
        });
    }
}
