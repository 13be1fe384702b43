//! Which tokens there are, and what became of them: pure, kept by whoever implements the registry.

use pipeline::ids::ServerId;
use pipeline_wire::enrol::Why;
use serde::{Deserialize, Serialize};

use super::{Attempt, Grant};

/// Tokens that are remembered at once.
pub const TOKENS_MAX: usize = 1024;
/// How long one that is over is remembered, so that its holder is told why, seconds.
const REMEMBERED_SECONDS: u64 = 7 * 24 * 60 * 60;

/// All tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens(Vec<Kept>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    secret_hash: [u8; 32],
    ends_at: u64,
    /// Whom it is for, where a server that was enrolled before is to be enrolled again.
    again: Option<Grant>,
    used: Option<Used>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Used {
    key_fingerprint: [u8; 32],
    grant: Grant,
}

/// What a good token gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redeemed {
    /// It was used up just now.
    Now(Grant),
    /// It was used up before, with the same key: whether that still holds is for the roll to say.
    Before(Grant),
}

/// Too many tokens are waiting to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

impl Tokens {
    /// Remembers a new one, for any server or for one that was enrolled before. `now` is in seconds since 1970.
    ///
    /// Errors: too many.
    pub fn add(
        &mut self,
        secret_hash: [u8; 32],
        ends_at: u64,
        again: Option<Grant>,
        now: u64,
    ) -> Result<(), TooMany> {
        self.0.retain(|kept| now < kept.ends_at.saturating_add(REMEMBERED_SECONDS));
        if self.0.len() >= TOKENS_MAX {
            return Err(TooMany);
        }
        self.0.push(Kept { secret_hash, ends_at, again, used: None });
        Ok(())
    }

    /// Uses one up. `fresh` is who a server becomes that was never enrolled before; a server whose answer got lost, and
    /// which asks again with the same key before the token ends, becomes who it was told to be. `now` is `None` where the
    /// clock is not known to be right: then none is too old.
    ///
    /// Errors: why not.
    pub fn redeem(
        &mut self,
        attempt: &Attempt,
        now: Option<u64>,
        fresh: Grant,
    ) -> Result<Redeemed, Why> {
        let kept = self.0.iter_mut().find(|kept| kept.secret_hash == attempt.secret_hash);
        let kept = kept.ok_or(Why::Unknown)?;
        let same = |used: &Used| used.key_fingerprint == attempt.key_fingerprint;
        if kept.used.as_ref().is_some_and(|used| !same(used)) {
            return Err(Why::Used);
        }
        if now.is_some_and(|now| now >= kept.ends_at) {
            return Err(Why::Ended);
        }
        if let Some(used) = &kept.used {
            return Ok(Redeemed::Before(used.grant.clone()));
        }
        let grant = kept.again.clone().unwrap_or(fresh);
        let key_fingerprint = attempt.key_fingerprint;
        kept.used = Some(Used { key_fingerprint, grant: grant.clone() });
        Ok(Redeemed::Now(grant))
    }

    /// Forgets all tokens of a server, used or not: none of them is good any more.
    pub fn forget(&mut self, server: ServerId) {
        self.0.retain(|kept| {
            let mut grants = kept.again.iter().chain(kept.used.iter().map(|used| &used.grant));
            grants.all(|grant| grant.server != server)
        });
    }

    /// How many can still be used.
    #[must_use]
    pub fn open(&self, now: u64) -> usize {
        self.0.iter().filter(|kept| kept.used.is_none() && now < kept.ends_at).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(byte: u8) -> Grant {
        Grant { server: ServerId([byte; 16]), name: format!("web{byte}") }
    }

    fn attempt(secret: u8, key: u8) -> Attempt {
        let host = "web".to_owned();
        Attempt { secret_hash: [secret; 32], key_fingerprint: [key; 32], host }
    }

    #[test]
    fn a_token_is_good_for_one_server_which_may_ask_again() {
        let mut tokens = Tokens::default();
        tokens.add([1; 32], 100, None, 0).unwrap();
        assert_eq!(tokens.redeem(&attempt(2, 1), Some(5), grant(9)), Err(Why::Unknown));
        assert_eq!(tokens.redeem(&attempt(1, 1), Some(5), grant(1)), Ok(Redeemed::Now(grant(1))));
        assert_eq!(tokens.redeem(&attempt(1, 2), Some(5), grant(2)), Err(Why::Used));
        // Its answer got lost: it is who it was, until the token ends.
        let before = Ok(Redeemed::Before(grant(1)));
        assert_eq!(tokens.redeem(&attempt(1, 1), Some(99), grant(3)), before);
        assert_eq!(tokens.redeem(&attempt(1, 1), Some(100), grant(3)), Err(Why::Ended));
        assert_eq!(tokens.open(5), 0);
    }

    #[test]
    fn a_token_ends_by_a_clock_that_is_right_and_its_holder_is_told_for_a_week() {
        let mut tokens = Tokens::default();
        tokens.add([1; 32], 100, None, 0).unwrap();
        assert_eq!(tokens.redeem(&attempt(1, 1), Some(100), grant(1)), Err(Why::Ended));
        tokens.add([2; 32], 1000, None, 99 + REMEMBERED_SECONDS).unwrap();
        assert_eq!(tokens.redeem(&attempt(1, 1), Some(100), grant(1)), Err(Why::Ended));
        tokens.add([3; 32], 1000, None, 100 + REMEMBERED_SECONDS).unwrap();
        assert_eq!(tokens.redeem(&attempt(1, 1), Some(100), grant(1)), Err(Why::Unknown));
        assert_eq!(tokens.redeem(&attempt(2, 1), None, grant(1)), Ok(Redeemed::Now(grant(1))));
    }

    #[test]
    fn a_server_is_enrolled_again_as_who_it_was() {
        let mut tokens = Tokens::default();
        tokens.add([1; 32], 100, Some(grant(7)), 0).unwrap();
        assert_eq!(tokens.redeem(&attempt(1, 1), Some(5), grant(1)), Ok(Redeemed::Now(grant(7))));
    }

    #[test]
    fn tokens_that_nobody_uses_are_bounded() {
        let mut tokens = Tokens::default();
        for place in 0..TOKENS_MAX {
            let byte = u8::try_from(place % 256).unwrap();
            tokens.add([byte; 32], 100, None, 0).unwrap();
        }
        assert_eq!(tokens.add([0; 32], 100, None, 0), Err(TooMany));
        assert_eq!(tokens.add([0; 32], 100, None, 100 + REMEMBERED_SECONDS), Ok(()));
    }
}
