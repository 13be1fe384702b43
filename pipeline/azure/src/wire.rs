//! One request's life: signed, sent, judged, tried again while that can help, and explained when it cannot.

use std::sync::Arc;

use core::time::Duration;

use pipeline_vault::Error;
use pipeline_vault::error::Retry;

use crate::address::AzureAddress;
use crate::credentials::Credentials;
use crate::credentials::token::World;
use crate::date::http_date;
use crate::encode::uuid;
use crate::explain::{Act, Scene, explain, named};
use crate::governor::Governor;
use crate::request::Request;
use crate::response::Refusal;
use crate::retry::{Attempts, RetryPolicy};
use crate::surroundings::{Surroundings, random_name};
use crate::transport::failure::{Failure, Kind};
use crate::transport::{Reply, Transport};

/// Largest error body that is read.
const ERROR_BYTES_MAX: u64 = 64 * 1024;
/// Answers that are not Azure's are asked again this often: a login page does not go away in seconds.
const ODD_ANSWERS_MAX: u32 = 3;
/// Longest wait for a whole request, before its bytes are counted.
const PATIENCE: Duration = Duration::from_secs(120);
/// The slowest link that is waited for, in bytes per second.
const SLOWEST_LINK: u64 = 32 * 1024;

/// One question to Azure, and how its answer is taken. State that survives a broken answer is in it.
pub(crate) trait Exchange {
    /// What comes of it.
    type Output;

    /// What is being done, for messages.
    fn act(&self) -> Act;

    /// To what, for messages.
    fn object(&self) -> String;

    /// The request as it has to be now; a read that was cut asks for the rest.
    fn request(&self) -> Request<'_>;

    /// Bytes that the answer brings, as far as known: it decides how long is waited.
    fn answer_bytes(&self) -> u64 {
        0
    }

    /// Bytes of content that the answers brought: it tells how busy the link is.
    fn brought(&self) -> u64 {
        0
    }

    /// Takes an answer. `uncertain` says that an earlier try may have been carried out.
    fn accept(&mut self, reply: Reply, uncertain: bool) -> Result<Self::Output, Trouble>;

    /// Whether the last answer brought something that need not be asked for again.
    fn progressed(&mut self) -> bool {
        false
    }
}

/// Why a try did not succeed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The way broke.
    Way(Failure),
    /// Azure, or something before it, said no.
    Refused(Refusal),
    /// The answer is none that Azure would give.
    Odd(String),
    /// No try can help.
    Final(Error),
}

/// What all requests of a store share.
pub(crate) struct Wire {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) surroundings: Arc<dyn Surroundings>,
    pub(crate) address: AzureAddress,
    pub(crate) credentials: Credentials,
    pub(crate) retry: RetryPolicy,
    pub(crate) governor: Governor,
}

/// One exchange under way.
struct Course {
    attempts: Attempts,
    odd: u32,
    uncertain: bool,
    token_renewed: bool,
}

impl Wire {
    /// Runs an exchange to its end.
    pub(crate) fn run<X: Exchange>(&self, exchange: &mut X) -> Result<X::Output, Error> {
        let mut course = Course {
            attempts: Attempts::new(self.retry, &*self.surroundings),
            odd: 0,
            uncertain: false,
            token_renewed: false,
        };
        loop {
            let trouble = match self.once(exchange, course.uncertain) {
                Ok(output) => return Ok(output),
                Err(trouble) => trouble,
            };
            if exchange.progressed() {
                course.attempts.progressed(&*self.surroundings);
                course.odd = 0;
            }
            let object = exchange.object();
            let wait = self.consider(&trouble, &mut course, exchange.act(), &object)?;
            if !wait.is_zero() {
                log::debug!("{object}: {} (again in {} ms)", shown(&trouble), wait.as_millis());
                self.surroundings.pause(wait);
            }
        }
    }

    /// One try.
    fn once<X: Exchange>(&self, exchange: &mut X, uncertain: bool) -> Result<X::Output, Trouble> {
        let slot = self.governor.enter();
        let request = self.authorize(exchange.request()).map_err(Trouble::Final)?;
        let sends = u64::try_from(request.body_bytes()).unwrap_or(u64::MAX);
        let expected = sends.saturating_add(exchange.answer_bytes());
        let patience = PATIENCE + Duration::from_secs(expected / SLOWEST_LINK);
        let began = self.surroundings.elapsed();
        let sent = self.transport.send(self.address.origin(), &request, patience);
        let bearer = self.bearer_of(&request);
        drop(request);
        let outcome = match sent {
            Ok(reply) => exchange.accept(reply, uncertain),
            Err(failure) => Err(Trouble::Way(failure)),
        };
        drop(slot);
        match outcome {
            Ok(output) => {
                let moved = sends.saturating_add(exchange.brought());
                let now = self.surroundings.elapsed();
                let millis = now.saturating_sub(began).as_millis();
                log::debug!("{}: {moved} bytes in {millis} ms", exchange.object());
                self.governor.answered(moved, now);
                Ok(output)
            }
            Err(Trouble::Refused(refusal)) if is_about_token(&refusal) => {
                if let (Credentials::Entra(source), Some(refused)) = (&self.credentials, bearer) {
                    source.forget(refused.expose());
                }
                Err(Trouble::Refused(refusal))
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Decides whether to try again, and after how long; the error where not.
    fn consider(
        &self,
        trouble: &Trouble,
        course: &mut Course,
        act: Act,
        object: &str,
    ) -> Result<Duration, Error> {
        let scene = self.scene(act, object);
        let asked_for = match trouble {
            Trouble::Final(error) => return Err(error.clone()),
            Trouble::Way(failure) => {
                course.uncertain |= failure.may_have_arrived();
                if !failure.is_passing() {
                    return Err(failure.clone().into_error(object));
                }
                if failure.kind == Kind::Timeout {
                    self.governor.throttled(self.surroundings.elapsed(), Duration::ZERO);
                }
                None
            }
            Trouble::Odd(_) => {
                course.odd += 1;
                if course.odd >= ODD_ANSWERS_MAX {
                    return Err(self.exhausted(trouble, course, &scene));
                }
                None
            }
            Trouble::Refused(refusal) => {
                course.uncertain |= refusal.status >= 500;
                let stale = matches!(self.credentials, Credentials::Entra(_))
                    && is_about_token(refusal)
                    && !course.token_renewed;
                if stale {
                    course.token_renewed = true;
                    return Ok(Duration::ZERO);
                }
                if !is_passing(refusal) {
                    return Err(explain(refusal, &scene));
                }
                let asked_for = refusal.retry_after.map(Duration::from_secs);
                if matches!(refusal.status, 429 | 500 | 503) {
                    let quiet = asked_for.unwrap_or_default();
                    self.governor.throttled(self.surroundings.elapsed(), quiet);
                }
                asked_for
            }
        };
        match course.attempts.next_wait(asked_for, &*self.surroundings)? {
            Some(wait) => Ok(wait),
            None => Err(self.exhausted(trouble, course, &scene)),
        }
    }

    /// The error after the last try: what the last trouble was, and how often it was tried.
    fn exhausted(&self, trouble: &Trouble, course: &Course, scene: &Scene<'_>) -> Error {
        let tries = course.attempts.made().max(course.odd);
        let seconds = course.attempts.lasted(&*self.surroundings).as_secs();
        let tried = format!("tried {tries} times in {seconds} s");
        let mut error = match trouble {
            Trouble::Final(error) => return error.clone(),
            Trouble::Way(failure) => failure.clone().into_error(scene.object),
            Trouble::Odd(what) => Error::refused(scene.object, what.clone())
                .remedy("check the endpoint and what stands between this machine and it")
                .retry(Retry::Later),
            Trouble::Refused(refusal) if !refusal.from_storage => explain(refusal, scene),
            Trouble::Refused(refusal) => match refusal.code.as_str() {
                "ContainerBeingDeleted" => explain(refusal, scene),
                _ => Error::device(scene.object, format!("Azure answers {}", named(refusal)))
                    .remedy("wait some minutes and run it again: what is finished is kept"),
            },
        };
        error.what = format!("{} ({tried})", error.what);
        error
    }

    /// Adds date, name and authorization.
    pub(crate) fn authorize<'a>(&self, request: Request<'a>) -> Result<Request<'a>, Error> {
        let name = random_name(&*self.surroundings)?;
        let date = http_date(self.surroundings.unix_ms());
        let mut request = request
            .with_header("x-ms-date", date)
            .with_header("x-ms-client-request-id", uuid(name));
        match &self.credentials {
            Credentials::SharedKey(key) => {
                let authorization = key.authorization(&request);
                Ok(request.with_header("authorization", authorization))
            }
            Credentials::Sas(token) => {
                request.signature = Some(token.query().clone());
                Ok(request)
            }
            Credentials::Entra(source) => {
                let world = World {
                    transport: &*self.transport,
                    surroundings: &*self.surroundings,
                    policy: self.retry,
                    scope: self.address.cloud().storage_scope,
                };
                let token = source.bearer(&world)?;
                Ok(request.with_header("authorization", format!("Bearer {}", token.expose())))
            }
        }
    }

    /// The token that a request carries: what to forget if it is refused.
    fn bearer_of(&self, request: &Request<'_>) -> Option<crate::secret::Secret> {
        let token = request.header("authorization")?.strip_prefix("Bearer ")?;
        Some(crate::secret::Secret::new(token))
    }

    pub(crate) fn scene<'a>(&'a self, act: Act, object: &'a str) -> Scene<'a> {
        Scene {
            act,
            object,
            address: &self.address,
            kind: self.credentials.kind(),
            term: self.credentials.term(),
            local_ms: self.surroundings.unix_ms(),
        }
    }
}

/// What an answer that is no success says.
pub(crate) fn refusal_of(mut reply: Reply) -> Trouble {
    let body = reply.read_all(ERROR_BYTES_MAX).unwrap_or_default();
    Trouble::Refused(Refusal::new(&reply.head, &body))
}

/// Whether the refusal may be gone in a moment.
pub(crate) fn is_passing(refusal: &Refusal) -> bool {
    if matches!(refusal.code.as_str(), "FeatureNotSupported" | "APINotImplemented") {
        return false;
    }
    let damaged = matches!(
        refusal.code.as_str(),
        "Crc64Mismatch" | "Md5Mismatch" | "ContainerBeingDeleted" | "OperationTimedOut"
    );
    damaged || matches!(refusal.status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// Whether another token could change the answer.
fn is_about_token(refusal: &Refusal) -> bool {
    refusal.status == 401
        || matches!(refusal.code.as_str(), "InvalidAuthenticationInfo" | "AuthenticationFailed")
}

fn shown(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Way(failure) => failure.what.clone(),
        Trouble::Refused(refusal) => format!("answered {}", named(refusal)),
        Trouble::Odd(what) => what.clone(),
        Trouble::Final(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
