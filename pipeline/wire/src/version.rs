//! Which version of the protocol two sides speak.
//!
//! Three things stay as they are in every version, so that any two can part in words: the frame, the first fields of
//! `Hello` (which message it is, the oldest and the newest version), and `Refused`.

use serde::Deserialize;

use crate::frame;
use crate::message::{FromAgent, Hello, Refused, VERSION, VERSION_MIN, Why};

/// How every `Hello` of every version begins. 0 is which message it is.
#[derive(Deserialize)]
struct Beginning {
    message: u8,
    version_min: u16,
    version_max: u16,
}

/// The newest version that both have, where the other side has these.
///
/// Errors: none; what an agent is told.
pub fn agree(version_min: u16, version_max: u16) -> Result<u16, Refused> {
    let newest = version_max.min(VERSION);
    if newest >= version_min.max(VERSION_MIN) {
        return Ok(newest);
    }
    let remedy = if version_min > VERSION {
        "update the appliance, or install the agent that it gives"
    } else {
        "update the agent: run the line that «lifeboat server token» prints"
    };
    Err(Refused {
        why: Why::Version,
        words: format!(
            "the agent speaks {}, this appliance {}",
            versions(version_min, version_max),
            versions(VERSION_MIN, VERSION)
        ),
        remedy: remedy.to_owned(),
    })
}

/// Whether an appliance's choice is one that this side offered.
#[must_use]
pub fn is_spoken(version: u16) -> bool {
    (VERSION_MIN..=VERSION).contains(&version)
}

/// The `Hello` that the first body of a connection is, and the version that is spoken from here on.
///
/// Errors: what the agent is told, whichever version it is of.
pub fn hello(body: &[u8]) -> Result<(Box<Hello>, u16), Refused> {
    if let Ok((Beginning { message: 0, version_min, version_max }, _)) =
        postcard::take_from_bytes(body)
    {
        // Before what follows, which in another version may be anything.
        let version = agree(version_min, version_max)?;
        if let Ok(FromAgent::Hello(hello)) = frame::message(body) {
            return Ok((hello, version));
        }
    }
    Err(Refused {
        why: Why::Nonsense,
        words: "the first message is no Hello of an agent".to_owned(),
        remedy: "install the agent that the appliance gives".to_owned(),
    })
}

fn versions(min: u16, max: u16) -> String {
    if min == max { format!("version {min}") } else { format!("versions {min} to {max}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::hello as said;

    fn body(hello: &Hello) -> Vec<u8> {
        let frame = frame::emit(&FromAgent::Hello(Box::new(hello.clone())), 0).unwrap();
        frame[frame::HEAD_BYTES..].to_vec()
    }

    #[test]
    fn the_newest_that_both_have_is_spoken() {
        for (min, max) in [(1, 1), (0, 1)] {
            assert_eq!(agree(min, max), Ok(1), "{min} to {max}");
        }
        for (min, max) in [(1, 2), (2, 2), (0, 2)] {
            assert_eq!(agree(min, max), Ok(2), "{min} to {max}");
        }
        for (min, max) in [(1, 3), (3, 3), (1, 4), (0, 9), (1, u16::MAX)] {
            assert_eq!(agree(min, max), Ok(3), "{min} to {max}");
        }
        assert!(is_spoken(1) && is_spoken(3) && !is_spoken(0) && !is_spoken(4));
        let (heard, version) = hello(&body(&Hello { version_max: 4, ..said() })).unwrap();
        assert_eq!((heard.version_max, version), (4, 3));
    }

    #[test]
    fn an_agent_that_is_too_new_or_too_old_is_told_which_side_to_update() {
        let newer = Hello { version_min: 4, version_max: 5, ..said() };
        // Of another version, so what follows is not understood.
        for bytes in [body(&newer), [&body(&newer)[..], b"more"].concat(), vec![0, 4, 5, 255, 255]]
        {
            let refused = hello(&bytes).unwrap_err();
            assert_eq!(refused.why, Why::Version);
            assert_eq!(
                refused.words,
                "the agent speaks versions 4 to 5, this appliance versions 1 to 3"
            );
            assert!(refused.remedy.starts_with("update the appliance"), "{}", refused.remedy);
        }
        let refused = agree(0, 0).unwrap_err();
        assert!(refused.why == Why::Version && refused.remedy.starts_with("update the agent"));
        // Nonsense that claims to begin behind its end.
        assert_eq!(agree(9, 0).unwrap_err().why, Why::Version);
    }

    #[test]
    fn what_is_no_hello_is_nonsense() {
        let cut = body(&said());
        let status = frame::emit(&FromAgent::Goodbye { words: String::new() }, 0).unwrap();
        for bytes in [&b""[..], b"GET / HTTP/1.1\r\n", &cut[..cut.len() - 1], &status[8..]] {
            assert_eq!(hello(bytes).unwrap_err().why, Why::Nonsense, "{bytes:?}");
        }
    }
}
