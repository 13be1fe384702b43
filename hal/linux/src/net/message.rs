//! The bytes of one message to or from the kernel's network part, and of its attributes. Reading takes any bytes.

const HEAD_BYTES: usize = 16;
const ATTRIBUTE_HEAD_BYTES: usize = 4;
const ALIGN: usize = 4;
/// Both flags of an attribute's type: nested, and network byte order.
const TYPE_MASK: u16 = 0x3FFF;
const NESTED: u16 = 0x8000;

/// A message that is being written; its head comes last, when the length is known.
#[derive(Clone, Debug)]
pub(super) struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    /// A message of this kind with these flags and this fixed part.
    pub(super) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut message = Self { kind, flags, body: fixed.to_vec() };
        message.pad();
        message
    }

    fn pad(&mut self) {
        self.body.resize(self.body.len().next_multiple_of(ALIGN), 0);
    }

    /// The same with one more attribute.
    pub(super) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        // Everything written here is a name or a few numbers: 64 KiB are never reached.
        let length = u16::try_from(ATTRIBUTE_HEAD_BYTES + value.len()).unwrap_or(u16::MAX);
        self.body.extend_from_slice(&length.to_ne_bytes());
        self.body.extend_from_slice(&kind.to_ne_bytes());
        self.body.extend_from_slice(value);
        self.pad();
        self
    }

    /// The same with one more attribute, a number.
    pub(super) fn with_number(self, kind: u16, value: u32) -> Self {
        self.with(kind, &value.to_ne_bytes())
    }

    /// The same with one more attribute, a text that ends with a zero.
    pub(super) fn with_text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.with(kind, &bytes)
    }

    /// The same with an attribute that holds others.
    pub(super) fn with_nested(self, kind: u16, inner: impl FnOnce(Self) -> Self) -> Self {
        let nested = inner(Self::new(0, 0, &[]));
        self.with(kind | NESTED, &nested.body)
    }

    /// The whole message.
    pub(super) fn emit(&self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(HEAD_BYTES + self.body.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.body.len());
        bytes.extend_from_slice(&length.to_ne_bytes());
        bytes.extend_from_slice(&self.kind.to_ne_bytes());
        bytes.extend_from_slice(&self.flags.to_ne_bytes());
        bytes.extend_from_slice(&sequence.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A message that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// What it is.
    pub(super) kind: u16,
    /// Whether more of the same answer follows, and the like.
    pub(super) flags: u16,
    /// Which question it answers.
    pub(super) sequence: u32,
    /// Everything behind its head.
    pub(super) body: Vec<u8>,
}

/// The messages in what one read gave.
pub(super) fn replies(mut bytes: &[u8]) -> Vec<Reply> {
    let mut found = Vec::new();
    while let Some(length) = word(bytes, 0) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (Some(kind), Some(flags), Some(sequence)) =
            (short(bytes, 4), short(bytes, 6), word(bytes, 8))
        else {
            break;
        };
        let Some(body) = bytes.get(HEAD_BYTES..length) else { break };
        found.push(Reply { kind, flags, sequence, body: body.to_vec() });
        bytes = bytes.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
    }
    found
}

/// The attributes in these bytes, by number.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let length = usize::from(short(rest, 0)?);
        let kind = short(rest, 2)? & TYPE_MASK;
        let value = rest.get(ATTRIBUTE_HEAD_BYTES..length)?;
        rest = rest.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The number of 16 bits at this place.
pub(super) fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// The number of 32 bits at this place.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A text that ends with a zero, or with its bytes.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    Some(core::str::from_utf8(bytes.get(..end)?).ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        Message::new(16, 5, &[1, 2, 3, 4])
            .with_text(3, "eth0")
            .with_number(4, 1500)
            .with_nested(18, |inner| inner.with_text(1, "vlan").with(2, &[7, 0]))
            .emit(9)
    }

    #[test]
    fn what_was_written_is_read() {
        let mut bytes = sample();
        bytes.extend(Message::new(3, 0, &[]).emit(10));
        let found = replies(&bytes);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].kind, found[0].flags, found[0].sequence), (16, 5, 9));
        assert_eq!(found[0].body.get(..4), Some(&[1, 2, 3, 4][..]));
        let listed: Vec<(u16, &[u8])> = attributes(&found[0].body[4..]).collect();
        assert_eq!(listed.len(), 3);
        assert_eq!(text(listed[0].1).as_deref(), Some("eth0"));
        assert_eq!(word(listed[1].1, 0), Some(1500));
        assert_eq!(listed[2].0, 18);
        assert_eq!(attributes(listed[2].1).count(), 2);
        assert_eq!((found[1].kind, found[1].sequence), (3, 10));
    }

    #[test]
    fn any_bytes_are_taken() {
        let good = sample();
        let mut state = 5_u64;
        for round in 0..50_000 {
            let mut bad = good.clone();
            for _ in 0..1 + round % 4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = usize::try_from(state >> 33).unwrap() % bad.len();
                bad[at] = state.to_le_bytes()[3];
            }
            for reply in replies(&bad) {
                assert!(reply.body.len() <= bad.len());
                for (_, value) in attributes(&reply.body) {
                    assert!(attributes(value).count() <= bad.len());
                    let _ = text(value);
                }
            }
        }
        for length in 0..good.len() {
            assert!(replies(&good[..length]).is_empty());
        }
    }
}
