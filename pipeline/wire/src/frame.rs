//! Head, body and payload: bytes to messages and back, pure.

use core::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of a head.
pub const HEAD_BYTES: usize = 8;
/// Largest body.
pub const BODY_BYTES_MAX: usize = 65_536;
/// Largest payload: sixteen blocks.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// What comes after a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the message.
    pub body: usize,
    /// Bytes behind it.
    pub payload: usize,
}

/// Bytes that are no message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// A length beyond what any message has.
    Length,
    /// The body is no message of this protocol.
    Body,
    /// A message that is too large to be sent.
    Large,
    /// The payload is not what the message says.
    Payload,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => {
                "a frame is longer than any may be: the other side speaks something else"
            }
            Self::Body => "a message cannot be read: the other side speaks something else",
            Self::Large => "a message is too large to be sent",
            Self::Payload => "a message has another payload than it says",
        })
    }
}

impl core::error::Error for FrameError {}

/// What a head says.
///
/// Errors: a length beyond the limits.
pub fn head(bytes: [u8; HEAD_BYTES]) -> Result<Head, FrameError> {
    let [a, b, c, d, e, f, g, h] = bytes;
    let number = |bytes| usize::try_from(u32::from_le_bytes(bytes)).map_err(|_| FrameError::Length);
    let head = Head { body: number([a, b, c, d])?, payload: number([e, f, g, h])? };
    let fits = (1..=BODY_BYTES_MAX).contains(&head.body) && head.payload <= PAYLOAD_BYTES_MAX;
    if fits { Ok(head) } else { Err(FrameError::Length) }
}

/// The message of a body.
///
/// Errors: bytes that are no such message, or more than one.
pub fn message<M: DeserializeOwned>(body: &[u8]) -> Result<M, FrameError> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        _ => Err(FrameError::Body),
    }
}

/// Head and body of a message that so many bytes of payload follow.
///
/// Errors: a message or payload beyond the limits.
pub fn emit<M: Serialize>(message: &M, payload: usize) -> Result<Vec<u8>, FrameError> {
    let body = postcard::to_allocvec(message).map_err(|_| FrameError::Large)?;
    if body.len() > BODY_BYTES_MAX || payload > PAYLOAD_BYTES_MAX {
        return Err(FrameError::Large);
    }
    let length = |length: usize| u32::try_from(length).map_err(|_| FrameError::Large);
    let mut frame = Vec::with_capacity(HEAD_BYTES + body.len());
    frame.extend(length(body.len())?.to_le_bytes());
    frame.extend(length(payload)?.to_le_bytes());
    frame.extend(body);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Blocks, Content, FromAgent};
    use crate::runs::Run;

    #[test]
    fn a_message_survives_its_bytes() {
        let runs = vec![Run { first: 7, blocks: 2 }];
        let blocks = Blocks { sequence: 3, disk: 1, content: Content::Data, runs };
        let said = FromAgent::Blocks(blocks);
        let bytes = emit(&said, 131_072).unwrap();
        let (first, body) = bytes.split_first_chunk().unwrap();
        let head = head(*first).unwrap();
        assert_eq!((head.body, head.payload), (body.len(), 131_072));
        assert_eq!(message(body), Ok(said));
        assert_eq!(message::<FromAgent>(&[body, &[0]].concat()), Err(FrameError::Body));
    }

    #[test]
    fn lengths_beyond_the_limits_are_refused_before_anything_is_allocated() {
        assert_eq!(head([0; 8]), Err(FrameError::Length));
        assert_eq!(head([0xff; 8]), Err(FrameError::Length));
        assert!(head([0, 0, 1, 0, 0, 0, 16, 0]).is_ok());
        assert_eq!(head([1, 0, 1, 0, 0, 0, 16, 0]), Err(FrameError::Length));
        assert_eq!(head([0, 0, 1, 0, 1, 0, 16, 0]), Err(FrameError::Length));
    }
}
