//! Tokens of Entra identities: asked for, kept, renewed at four fifths of their life and after a 401.

/// What asking for a token looks like on the wire, and what comes back.
pub mod exchange;

use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use core::time::Duration;

use pipeline_vault::Error;

use super::certificate::ClientCertificate;
use crate::address::Origin;
use crate::retry::{Attempts, RetryPolicy};
use crate::secret::Secret;
use crate::surroundings::{Surroundings, random_name};
use crate::transport::Transport;

use exchange::{Answer, Verdict};

/// After a renewal that failed while the old token still holds, the next is tried no sooner than this.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);
/// A token with less left than this is not sent any more: it could end on the way.
const LEFT_MIN: Duration = Duration::from_secs(30);
/// The metadata service asks for that much patience where it is being updated (410).
const METADATA_PATIENCE: Duration = Duration::from_secs(75);
/// Longest that one question for a token takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same where nobody asked for a managed identity: outside Azure the question just disappears.
const GUESS_PATIENCE: Duration = Duration::from_secs(3);

/// An Entra identity and what proves it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Identity {
    /// An application with a secret.
    Secret {
        /// The tenant that it is registered in.
        tenant: String,
        /// Its client id.
        client: String,
        /// Its secret.
        secret: Secret,
        /// Where tokens are asked for.
        authority: Origin,
    },
    /// An application with a certificate.
    Certificate {
        /// The tenant that it is registered in.
        tenant: String,
        /// Its client id.
        client: String,
        /// Its certificate and key.
        certificate: ClientCertificate,
        /// Where tokens are asked for.
        authority: Origin,
    },
    /// The identity that Azure gave this virtual machine.
    Managed {
        /// The client id of a user-assigned identity; `None` for the machine's own.
        client: Option<String>,
        /// The metadata service.
        host: Origin,
        /// What stands before its path, usually nothing.
        base: String,
        /// Nobody asked for it: there are just no other credentials.
        only_guess: bool,
    },
}

/// One token.
#[derive(Clone, Debug)]
struct Token {
    text: Secret,
    /// When to renew it, and when it is over, by the machine's stopwatch.
    renew_at: Duration,
    over_at: Duration,
}

/// Tokens of one identity for one scope at a time, shared by all threads.
#[derive(Clone, Debug)]
pub struct TokenSource {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    identity: Identity,
    token: Mutex<Option<Token>>,
    /// Held by the one thread that asks.
    asking: Mutex<()>,
}

/// What asking needs of the world.
pub(crate) struct World<'a> {
    pub(crate) transport: &'a dyn Transport,
    pub(crate) surroundings: &'a dyn Surroundings,
    pub(crate) policy: RetryPolicy,
    pub(crate) scope: &'a str,
}

impl TokenSource {
    /// A source that has no token yet.
    pub fn new(identity: Identity) -> Self {
        let shared = Shared { identity, token: Mutex::new(None), asking: Mutex::new(()) };
        Self { shared: Arc::new(shared) }
    }

    /// A token that holds; asks for one where there is none or it is due.
    pub(crate) fn bearer(&self, world: &World<'_>) -> Result<Secret, Error> {
        let now = world.surroundings.elapsed();
        let current = self.current().filter(|token| token.over_at > now + LEFT_MIN);
        let Some(current) = current else { return self.ask_as_only_one(world) };
        if now < current.renew_at {
            return Ok(current.text);
        }
        let _asking = match self.shared.asking.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Somebody renews it already; ours holds meanwhile.
            Err(TryLockError::WouldBlock) => return Ok(current.text),
        };
        match self.ask(world) {
            Ok(text) => Ok(text),
            Err(error) => {
                log::warn!("the token could not be renewed yet: {error}");
                self.postpone(now + RENEWAL_PAUSE);
                Ok(current.text)
            }
        }
    }

    /// Forgets a token that Azure refused, unless a newer one is here already.
    pub(crate) fn forget(&self, refused: &str) {
        let mut token = self.lock();
        if token.as_ref().is_some_and(|token| token.text.expose() == refused) {
            *token = None;
        }
    }

    fn ask_as_only_one(&self, world: &World<'_>) -> Result<Secret, Error> {
        let _asking = self.shared.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let now = world.surroundings.elapsed();
        // Who asked before us may have brought it.
        match self.current().filter(|token| token.over_at > now + LEFT_MIN) {
            Some(token) => Ok(token.text),
            None => self.ask(world),
        }
    }

    /// Asks until an answer that counts comes, within the policy.
    fn ask(&self, world: &World<'_>) -> Result<Secret, Error> {
        let mut policy = world.policy;
        if let Identity::Managed { only_guess, .. } = &self.shared.identity {
            // Outside Azure nobody answers there: no reason to make a person wait for minutes.
            policy.attempts_max = if *only_guess { 2 } else { policy.attempts_max.max(12) };
            policy.total = policy.total.max(METADATA_PATIENCE);
        }
        let mut attempts = Attempts::new(policy, world.surroundings);
        loop {
            let (answer, asked_for) = match self.ask_once(world)? {
                Verdict::Token(answer) => return Ok(self.keep(answer, world.surroundings)),
                Verdict::Refused(error) => return Err(error),
                Verdict::Again { error, retry_after } => (error, retry_after),
            };
            match attempts.next_wait(asked_for, world.surroundings)? {
                Some(wait) => world.surroundings.pause(wait),
                None => return Err(answer),
            }
        }
    }

    fn ask_once(&self, world: &World<'_>) -> Result<Verdict, Error> {
        let identity = &self.shared.identity;
        let unix_ms = world.surroundings.unix_ms();
        let name = random_name(world.surroundings)?;
        let (origin, request) = exchange::request(identity, world.scope, unix_ms / 1000, name)?;
        let only_guess = matches!(identity, Identity::Managed { only_guess: true, .. });
        let patience = if only_guess { GUESS_PATIENCE } else { PATIENCE };
        let reply = world.transport.send(&origin, &request, patience);
        Ok(exchange::judge(identity, reply, unix_ms))
    }

    fn keep(&self, answer: Answer, surroundings: &dyn Surroundings) -> Secret {
        let now = surroundings.elapsed();
        let life = Duration::from_secs(answer.seconds);
        let text = answer.token.clone();
        *self.lock() =
            Some(Token { text: answer.token, renew_at: now + life * 4 / 5, over_at: now + life });
        text
    }

    fn postpone(&self, until: Duration) {
        if let Some(token) = self.lock().as_mut() {
            token.renew_at = token.renew_at.max(until);
        }
    }

    /// Whether nobody named this identity: it is the machine's own, for want of another.
    pub(crate) fn is_only_guess(&self) -> bool {
        matches!(self.shared.identity, Identity::Managed { only_guess: true, .. })
    }

    /// Whether a token is here.
    pub(crate) fn has_token(&self) -> bool {
        self.lock().is_some()
    }

    fn current(&self) -> Option<Token> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Token>> {
        self.shared.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
