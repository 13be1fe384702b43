//! Glob patterns as the kernel's tables of devices write them: `*`, `?` and `[…]`.
//!
//! No pattern can make it slow: at most one star is open at a time, so the work is at most the product of both lengths.

/// Whether `text` is what `pattern` describes, from its first byte to its last.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // Where to go on when what follows the last star does not fit: one byte further on.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some((b'*', rest)) = pattern.split_first() {
            star = Some((rest, text));
            pattern = rest;
            continue;
        }
        match (one(pattern, text.first().copied()), text.split_first()) {
            (Some(rest), Some((_, after))) => (pattern, text) = (rest, after),
            (_, None) => return pattern.is_empty(),
            (None, Some(_)) => match star {
                Some((rest, [_, after @ ..])) => {
                    star = Some((rest, after));
                    (pattern, text) = (rest, after);
                }
                _ => return false,
            },
        }
    }
}

/// What is left of the pattern once its first element has taken this byte; `None` where it does not.
fn one(pattern: &[u8], byte: Option<u8>) -> Option<&[u8]> {
    let byte = byte?;
    match pattern.split_first()? {
        (b'?', rest) => Some(rest),
        (b'[', rest) => match class(rest, byte) {
            Some((true, after)) => Some(after),
            Some((false, _)) => None,
            // Without its end it is a bracket like any other letter.
            None => (byte == b'[').then_some(rest),
        },
        (&letter, rest) => (letter == byte).then_some(rest),
    }
}

/// Whether the class, which begins after its bracket, holds the byte, and what follows it.
fn class(class: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let (negated, mut rest) = match class {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let mut holds = false;
    let mut first = true;
    loop {
        match rest {
            [b']', after @ ..] if !first => return Some((holds != negated, after)),
            [low, b'-', high, after @ ..] if *high != b']' => {
                holds |= (*low..=*high).contains(&byte);
                rest = after;
            }
            [letter, after @ ..] => {
                holds |= *letter == byte;
                rest = after;
            }
            [] => return None,
        }
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_real_tables_fit_their_devices() {
        for (pattern, text) in [
            (
                "pci:v00008086d000010D3sv*sd*bc*sc*i*",
                "pci:v00008086d000010D3sv00008086sd0000A01Fbc02sc00i00",
            ),
            ("pci:v*d*sv*sd*bc01sc08i02*", "pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02"),
            ("virtio:d00000002v*", "virtio:d00000002v00001AF4"),
            (
                "usb:v*p*d*dc*dsc*dp*ic08isc06ip50in*",
                "usb:v46F4p0001d0000dc00dsc00dp00ic08isc06ip50in00",
            ),
            ("usb:v0BC2p33[1-2]*", "usb:v0BC2p331"),
            ("acpi*:PNP0C0C:*", "acpi:PNP0C0C:"),
            ("a[!x]c", "abc"),
            ("[]]", "]"),
            ("[", "["),
            ("", ""),
            ("*", ""),
            ("a*b*c", "axxbxxbxxc"),
        ] {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn others_do_not_fit() {
        for (pattern, text) in [
            ("virtio:d00000002v*", "virtio:d00000001v00001AF4"),
            ("a", ""),
            ("", "a"),
            ("a?c", "ac"),
            ("a[!b]c", "abc"),
            ("a[0-9]", "ax"),
            ("abc", "abcd"),
            ("*a", "ab"),
            ("[ab", "a"),
        ] {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    /// The plainest matcher there is, for patterns without classes.
    fn slow(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                slow(rest, text)
                    || text.split_first().is_some_and(|(_, after)| slow(pattern, after))
            }
            (Some((letter, rest)), Some((byte, after))) => {
                (*letter == b'?' || letter == byte) && slow(rest, after)
            }
            _ => false,
        }
    }

    #[test]
    fn it_agrees_with_the_plainest_matcher() {
        let mut state = 3_u32;
        let mut draw = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            usize::try_from((state >> 8) % below).unwrap()
        };
        let mut fitting = 0;
        for _ in 0..50_000 {
            let pattern: [u8; 5] = core::array::from_fn(|_| b"ab*?*"[draw(5)]);
            let text: [u8; 6] = core::array::from_fn(|_| b"ab"[draw(2)]);
            let (pattern, text) = (&pattern[..draw(6)], &text[..draw(7)]);
            assert_eq!(matches(pattern, text), slow(pattern, text), "{pattern:?} {text:?}");
            fitting += usize::from(matches(pattern, text));
        }
        assert!(fitting > 1000, "{fitting}");
    }

    #[test]
    fn many_stars_are_not_slow() {
        let pattern = b"*a".repeat(1000);
        let mut text = b"a".repeat(4000);
        text.push(b'b');
        assert!(!matches(&pattern, &text));
    }
}
