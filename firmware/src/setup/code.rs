//! The one-time code that pairs: it stands on the console, so that whoever types it into a browser stands in front of the
//! machine, or was let in by somebody who does.
//!
//! Eight letters of Crockford's base32, forty random bits. Five wrong tries use a code up: the next one comes after a pause,
//! so that nobody guesses one, and a person who mistyped reads a fresh one. Nothing of it is ever kept.

use core::fmt;

use hal::time::{Entropy, Moment};
use pipeline_vault::Error;
use zeroize::Zeroize;

/// Letters of a code.
const LETTERS: usize = 8;
/// After how many of them a dash stands.
const GROUP: usize = 4;
/// No letter is mistaken for a digit.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Wrong tries that use a code up.
const TRIES: u32 = 5;
/// Pause after that.
const PAUSE_MILLIS: u64 = 30_000;
/// Longest text that is looked at.
const TEXT_BYTES_MAX: usize = 64;

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "who is told must have words for each")]
pub enum Tried {
    /// It is the code.
    Right,
    /// It is not; so many tries are left.
    Wrong(u32),
    /// It is not, and was one time too many: another code stands on the console.
    UsedUp,
    /// Nobody may try for so many seconds.
    Paused(u64),
}

/// The code that is good now.
pub struct Code {
    letters: [u8; LETTERS],
    wrong: u32,
    /// Until then nobody may try.
    paused: Option<Moment>,
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        self.letters.zeroize();
    }
}

impl Code {
    /// A new one.
    pub fn new(entropy: &dyn Entropy) -> Result<Self, Error> {
        Ok(Self { letters: draw(entropy)?, wrong: 0, paused: None })
    }

    /// As the console shows it: `7K3M-Q9TX`.
    #[must_use]
    pub fn shown(&self) -> String {
        let groups = self.letters.chunks(GROUP).map(|group| String::from_utf8_lossy(group));
        groups.collect::<Vec<_>>().join("-")
    }

    /// Somebody typed this.
    pub fn attempt(
        &mut self,
        typed: &str,
        now: Moment,
        entropy: &dyn Entropy,
    ) -> Result<Tried, Error> {
        if let Some(until) = self.paused {
            if now < until {
                return Ok(Tried::Paused(until.since(now).div_ceil(1000)));
            }
            self.paused = None;
        }
        if self.is(typed) {
            return Ok(Tried::Right);
        }
        self.wrong += 1;
        if self.wrong < TRIES {
            return Ok(Tried::Wrong(TRIES - self.wrong));
        }
        self.letters = draw(entropy)?;
        self.wrong = 0;
        self.paused = Some(now.after(PAUSE_MILLIS));
        Ok(Tried::UsedUp)
    }

    /// Whether this is the code, in a time that tells nothing of it.
    fn is(&self, typed: &str) -> bool {
        if typed.len() > TEXT_BYTES_MAX {
            return false;
        }
        let mut letters: Vec<u8> = typed.chars().filter_map(value).collect();
        let differs =
            letters.iter().zip(&self.letters).fold(0, |all, (one, other)| all | (one ^ other));
        let right = letters.len() == LETTERS && differs == 0;
        letters.zeroize();
        right
    }
}

fn draw(entropy: &dyn Entropy) -> Result<[u8; LETTERS], Error> {
    let mut letters = [0; LETTERS];
    entropy
        .fill(&mut letters)
        .map_err(|error| Error::device("the pairing code", format!("cannot be made: {error}")))?;
    // The mask keeps each below the alphabet's 32 letters, and every letter as likely as any other.
    Ok(letters.map(|byte| ALPHABET[usize::from(byte & 31)]))
}

/// The letter that is meant; nothing for what only parts letters.
fn value(letter: char) -> Option<u8> {
    Some(match letter.to_ascii_uppercase() {
        letter if letter.is_whitespace() => return None,
        '-' | '_' | '.' | '\u{2010}'..='\u{2015}' => return None,
        'O' => b'0',
        'I' | 'L' => b'1',
        'U' => b'V',
        // Whatever no code has is no letter of this one either.
        other => u8::try_from(other).unwrap_or(b'?'),
    })
}

#[cfg(test)]
mod tests {
    use hal_sim::entropy::SimEntropy;

    use super::*;

    fn code(entropy: &SimEntropy) -> Code {
        Code::new(entropy).unwrap()
    }

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        let entropy = SimEntropy::new(3);
        let mut code = code(&entropy);
        let shown = code.shown();
        assert_eq!((shown.len(), shown.as_bytes()[4]), (9, b'-'));
        for typed in [
            shown.clone(),
            shown.to_lowercase(),
            shown.replace('-', ""),
            format!(" {} ", shown.replace('-', " ")),
            shown.replace('-', "\u{2013}"),
            shown.replace('0', "o").replace('1', "l").replace('V', "u"),
        ] {
            assert_eq!(code.attempt(&typed, Moment(0), &entropy).unwrap(), Tried::Right, "{typed}");
        }
        assert!(!format!("{code:?}").contains(&shown[..4]));
    }

    #[test]
    fn five_wrong_tries_use_it_up_and_the_next_one_has_to_wait() {
        let entropy = SimEntropy::new(4);
        let mut code = code(&entropy);
        let first = code.shown();
        let wrong = ["", "x", "ABCD-EFGHJ", "ÄÖÜ", &"A".repeat(100_000)];
        for (place, typed) in (1..).zip(wrong) {
            let tried = code.attempt(typed, Moment(1000), &entropy).unwrap();
            let expected = if place < TRIES { Tried::Wrong(TRIES - place) } else { Tried::UsedUp };
            assert_eq!(tried, expected, "{place}");
        }
        let second = code.shown();
        assert_ne!(first, second);
        let at = |millis: u64| Moment(1000 + millis);
        assert_eq!(code.attempt(&second, at(0), &entropy).unwrap(), Tried::Paused(30));
        assert_eq!(code.attempt(&second, at(29_001), &entropy).unwrap(), Tried::Paused(1));
        assert_eq!(code.attempt(&first, at(30_000), &entropy).unwrap(), Tried::Wrong(4), "used up");
        assert_eq!(code.attempt(&second, at(30_000), &entropy).unwrap(), Tried::Right);
    }

    #[test]
    fn codes_are_of_their_alphabet_and_differ() {
        let entropy = SimEntropy::new(5);
        let codes: Vec<String> = (0..200).map(|_| code(&entropy).shown()).collect();
        for code in &codes {
            assert!(
                code.bytes().all(|letter| letter == b'-' || ALPHABET.contains(&letter)),
                "{code}"
            );
        }
        let unique: std::collections::BTreeSet<_> = codes.iter().collect();
        assert_eq!(unique.len(), codes.len());
    }
}
