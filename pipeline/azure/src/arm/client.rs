//! The client of the control plane: sends calls with an identity's token, rides out what passes, follows operations.
//!
//! Every call that it knows may be sent twice: a PUT and a DELETE say how things shall be, and the POSTs here turn
//! something on or off or ask for what is given again. So a lost reply is answered by sending it again.

use std::sync::{Arc, Mutex, PoisonError};

use core::fmt;
use core::time::Duration;

use pipeline_vault::Error;
use pipeline_vault::error::Blame;
use serde_json::Value;

use super::id::{GroupId, ResourceId};
use super::refusal::Said;
use super::{Answer, Call, Follows, Operation, Progress, Refused, ResultAt, Why, follow};
use crate::address::Origin;
use crate::cloud::Cloud;
use crate::credentials::token::{TokenSource, World};
use crate::credentials::{Credentials, Lookup};
use crate::encode::uuid;
use crate::request::{Method, Request};
use crate::response::Head;
use crate::retry::{Attempts, RetryPolicy};
use crate::sas::url::SignedUrl;
use crate::secret::Secret;
use crate::surroundings::{Machine, Surroundings, random_name};
use crate::transport::failure::Failure;
use crate::transport::{Transport, TransportOptions, carrier};
use follow::Seen;

/// Longest wait for one request.
const PATIENCE: Duration = Duration::from_secs(120);
/// Largest answer that is read, all pages of a list together: the sizes of a region take some megabytes.
const ANSWER_BYTES_MAX: u64 = 24 * 1024 * 1024;
/// What there is to set where no identity is.
const SET_AN_IDENTITY: &str = "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH: keys and signatures of \
     an account open its storage only";
/// Most pages of one list.
const PAGES_MAX: u32 = 500;
/// What was made a moment ago may not be found at once: so often it is asked for, with so long a pause between.
const LATE_LOOKS: u32 = 5;
const LATE_PAUSE: Duration = Duration::from_secs(2);

/// What proves to the control plane who asks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Bearer {
    /// An Entra identity, whose tokens are renewed.
    Identity(TokenSource),
    /// One token, as somebody gave it.
    Given(Secret),
}

/// Azure's control plane, or what stands in for it.
pub struct ControlPlane {
    transport: Arc<dyn Transport>,
    surroundings: Arc<dyn Surroundings>,
    origin: Origin,
    scope: &'static str,
    bearer: Bearer,
    retry: RetryPolicy,
    /// Until when, by the stopwatch, Azure wants to be left alone: asking earlier makes it longer.
    quiet_until: Mutex<Duration>,
}

/// An answer that is no refusal.
struct Heard {
    head: Head,
    body: Value,
    bytes: u64,
}

/// What is asked, and where.
struct Ask<'a> {
    origin: Origin,
    method: Method,
    /// Path and query, as on the wire.
    target: String,
    body: Option<&'a Value>,
    act: &'a str,
}

impl ControlPlane {
    /// The control plane of a cloud, or the one at `endpoint`; nothing is sent before the first call.
    pub fn open(
        cloud: Cloud,
        endpoint: Option<&str>,
        bearer: Bearer,
        options: &TransportOptions,
    ) -> Result<Self, Error> {
        let transport = carrier::open(options)?;
        let world = Arc::new(Machine::new());
        Self::open_over(cloud, endpoint, bearer, RetryPolicy::default(), transport, world)
    }

    /// The same over another transport, clock and dice.
    pub fn open_over(
        cloud: Cloud,
        endpoint: Option<&str>,
        bearer: Bearer,
        retry: RetryPolicy,
        transport: Arc<dyn Transport>,
        surroundings: Arc<dyn Surroundings>,
    ) -> Result<Self, Error> {
        let own = format!("https://{}", cloud.management);
        let (origin, path) = Origin::parse(endpoint.unwrap_or(&own))?;
        let bad = |what: &str| {
            Error::misuse(format!("control plane «{origin}»"), what.to_owned())
                .remedy("write it like https://management.azure.com")
        };
        if !path.is_empty() {
            return Err(bad("has a path behind its host"));
        }
        if !origin.https && !origin.is_loopback() {
            return Err(bad("would get the identity's token over plain HTTP"));
        }
        let (scope, quiet_until) = (cloud.management_scope, Mutex::new(Duration::ZERO));
        Ok(Self { transport, surroundings, origin, scope, bearer, retry, quiet_until })
    }

    /// What the environment says: `LIFEBOAT_AZURE_MANAGEMENT` names another control plane, `LIFEBOAT_AZURE_TOKEN` holds
    /// a token; without it the identity of the `AZURE_…` variables, or the machine's own.
    pub fn from_lookup(cloud: Cloud, lookup: Lookup<'_>) -> Result<Self, Error> {
        let set = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let bearer = match set("LIFEBOAT_AZURE_TOKEN") {
            Some(token) => Bearer::Given(Secret::new(token.trim())),
            None => Bearer::Identity(Credentials::identity(cloud, lookup)?),
        };
        let endpoint = set("LIFEBOAT_AZURE_MANAGEMENT");
        Self::open(cloud, endpoint.as_deref(), bearer, &TransportOptions::from_lookup(lookup)?)
    }

    /// Sends a call; a list comes whole, whatever its pages. Errors: the refusal, in words that say what to change.
    pub fn call(&self, call: &Call) -> Result<Answer, Refused> {
        let ask = Ask {
            origin: self.origin.clone(),
            method: call.method,
            target: target_of(call),
            body: call.body.as_ref(),
            act: &call.act,
        };
        let heard = match self.ask(&ask) {
            Ok(heard) => heard,
            // What is to go away and is not there has gone away.
            Err(refused) if call.method == Method::Delete && is_gone(&refused) => {
                return Ok(Answer::Done(Value::Null));
            }
            Err(refused) => return Err(refused),
        };
        let Heard { head, body, bytes } = heard;
        if call.method == Method::Get {
            return self.whole_list(body, bytes, &call.act).map(Answer::Done);
        }
        follow::begun(call, &head, body, &self.origin).map_err(|what| odd(&call.act, &what))
    }

    /// How far an operation is. Errors: it could not be asked for; one that failed is an answer.
    pub fn look(&self, operation: &Operation) -> Result<Progress, Refused> {
        let act = act_of(operation);
        let version = operation.result.as_ref().map_or("", |result| &result.api_version);
        let heard = self.ask(&self.get(&operation.address, version, &act)?);
        let missing = matches!(&heard, Err(refused) if refused.why == Why::Missing);
        let resource = operation.result.as_ref().filter(|result| result.path.starts_with('/'));
        let heard = match (operation.follows, resource) {
            (Follows::Resource, None) if missing => return Ok(Progress::Done(Value::Null)),
            // Azure forgets operations after a day or so; the resource still says how it is.
            (Follows::Status | Follows::Location, Some(result)) if missing => {
                return self.look(&Operation {
                    address: result.path.clone(),
                    follows: Follows::Resource,
                    ..operation.clone()
                });
            }
            _ => heard?,
        };
        match follow::seen(operation, &heard.head, heard.body).map_err(|what| odd(&act, &what))? {
            Seen::Running(wait) => Ok(Progress::Running(wait)),
            Seen::Done(result) => Ok(Progress::Done(result)),
            Seen::Read(result) => self.result(&result, &act).map(Progress::Done),
            Seen::Failed(body) => Ok(Progress::Failed(Said::of_operation(&body).refuse(&act))),
        }
    }

    /// What stands at an address with a signature that Azure gave out; its first `bytes_max` bytes at most.
    pub fn read(&self, address: &Secret, bytes_max: u64) -> Result<Vec<u8>, Refused> {
        let act = "reading what Azure shows of a machine";
        let url = SignedUrl::parse(address).map_err(|error| unfit(act, &error))?;
        let mut attempts = Attempts::new(self.retry, &*self.surroundings);
        loop {
            let request = url.request(Method::Get);
            let (refused, asked_for) = match self.transport.send(url.origin(), &request, PATIENCE) {
                Ok(mut reply) if reply.head.status == 200 => {
                    let length = reply.head.content_length().unwrap_or(bytes_max);
                    let room = usize::try_from(length.min(bytes_max)).unwrap_or(0);
                    match fill(&mut reply, room) {
                        Ok(bytes) => return Ok(bytes),
                        Err(failure) => (lost(act, &failure), None),
                    }
                }
                Ok(mut reply) => {
                    let body = reply.read_all(64 * 1024).unwrap_or_default();
                    let refusal = crate::response::Refusal::new(&reply.head, &body);
                    let asked_for = refusal.retry_after.map(Duration::from_secs);
                    let passing = crate::wire::is_passing(&refusal);
                    let refused = unread(act, &refusal);
                    if !passing {
                        return Err(refused);
                    }
                    (refused, asked_for)
                }
                Err(failure) if failure.is_passing() => (lost(act, &failure), None),
                Err(failure) => return Err(lost(act, &failure)),
            };
            self.wait_or(refused, asked_for, &mut attempts)?;
        }
    }

    /// Waits, by the clock that this client goes by.
    pub fn pause(&self, time: Duration) {
        self.surroundings.pause(time);
    }

    /// The question for what is at a path or a whole URL of Azure's.
    fn get<'a>(&self, address: &str, version: &str, act: &'a str) -> Result<Ask<'a>, Refused> {
        let (origin, target) = if address.starts_with('/') {
            let separator = if address.contains('?') { "" } else { "?api-version=" };
            let version = if separator.is_empty() { "" } else { version };
            (self.origin.clone(), format!("{address}{separator}{version}"))
        } else {
            // What was stored is held against the region again: it may have been another's.
            let whole = follow::followed(address, &self.origin).map_err(|what| odd(act, &what))?;
            let place = whole.split('?').next().unwrap_or_default();
            let (origin, _) = Origin::parse(place).map_err(|error| unfit(act, &error))?;
            let target = whole.splitn(4, '/').nth(3).unwrap_or_default();
            (origin, format!("/{target}"))
        };
        Ok(Ask { origin, method: Method::Get, target, body: None, act })
    }

    /// What a finished operation brought.
    fn result(&self, result: &ResultAt, act: &str) -> Result<Value, Refused> {
        let ask = self.get(&result.path, &result.api_version, act)?;
        for _ in 1..LATE_LOOKS {
            match self.ask(&ask) {
                Err(refused) if refused.why == Why::Missing => self.surroundings.pause(LATE_PAUSE),
                other => return other.map(|heard| heard.body),
            }
        }
        self.ask(&ask).map(|heard| heard.body)
    }

    /// A list with the pages that follow its first.
    fn whole_list(&self, mut first: Value, mut bytes: u64, act: &str) -> Result<Value, Refused> {
        for _ in 0..PAGES_MAX {
            let link =
                first.get("nextLink").and_then(Value::as_str).filter(|link| !link.is_empty());
            let Some(link) = link.map(str::to_owned) else { return Ok(first) };
            let mut next = self.ask(&self.get(&link, "", act)?)?;
            bytes = bytes.saturating_add(next.bytes);
            let more =
                next.body.get_mut("value").and_then(Value::as_array_mut).map(core::mem::take);
            let (Some(all), Some(mut more)) =
                (first.get_mut("value").and_then(Value::as_array_mut), more)
            else {
                return Err(odd(act, "a page of its list holds no list"));
            };
            all.append(&mut more);
            first["nextLink"] = next.body.get("nextLink").cloned().unwrap_or_default();
            if bytes > ANSWER_BYTES_MAX {
                break;
            }
        }
        Err(odd(act, "its list has no end"))
    }

    /// Asks until an answer that counts comes, within the policy.
    fn ask(&self, ask: &Ask<'_>) -> Result<Heard, Refused> {
        let mut attempts = Attempts::new(self.retry, &*self.surroundings);
        let mut renewed = false;
        loop {
            self.keep_quiet(ask.act)?;
            let token = self.token(ask.act)?;
            let (refused, asked_for) = match self.once(ask, &token) {
                Ok(Ok(heard)) => return Ok(heard),
                Ok(Err(said)) => {
                    if let (true, false, Bearer::Identity(source)) =
                        (said.is_about_token(), renewed, &self.bearer)
                    {
                        renewed = true;
                        source.forget(token.expose());
                        continue;
                    }
                    let (passing, everybody) = (said.is_passing(), said.is_about_everybody());
                    let refused = said.refuse(ask.act);
                    if !passing {
                        return Err(refused);
                    }
                    if everybody {
                        self.hush(refused.retry_after.unwrap_or_default());
                    }
                    let asked_for = refused.retry_after;
                    (refused, asked_for)
                }
                Err(failure) if failure.is_passing() => (lost(ask.act, &failure), None),
                Err(failure) => return Err(lost(ask.act, &failure)),
            };
            self.wait_or(refused, asked_for, &mut attempts)?;
        }
    }

    /// Waits for the next try; hands the refusal back where there is none.
    fn wait_or(
        &self,
        refused: Refused,
        asked_for: Option<Duration>,
        attempts: &mut Attempts,
    ) -> Result<(), Refused> {
        match attempts.next_wait(asked_for, &*self.surroundings) {
            Ok(Some(wait)) => {
                log::debug!("{refused} (again in {} ms)", wait.as_millis());
                self.surroundings.pause(wait);
                Ok(())
            }
            Ok(None) => Err(refused),
            Err(error) => Err(unfit(&refused.act, &error)),
        }
    }

    /// One try: an answer, a refusal, or neither.
    fn once(&self, ask: &Ask<'_>, token: &Secret) -> Result<Result<Heard, Said>, Failure> {
        let name = random_name(&*self.surroundings).unwrap_or_default();
        let mut request = Request::new(ask.method, ask.target.clone())
            .with_header("accept", "application/json")
            .with_header("x-ms-client-request-id", uuid(name))
            .with_header("authorization", format!("Bearer {}", token.expose()));
        if let Some(body) = ask.body {
            request = request.with_header("content-type", "application/json");
            request = request.with_body(body.to_string().into_bytes());
        } else if matches!(ask.method, Method::Post | Method::Put) {
            request = request.with_body(&[][..]);
        }
        let mut reply = self.transport.send(&ask.origin, &request, PATIENCE)?;
        let body = reply.read_all(ANSWER_BYTES_MAX)?;
        let head = reply.head;
        if !(200..300).contains(&head.status) {
            return Ok(Err(Said::new(&head, &body)));
        }
        let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Ok(Heard { head, body: Value::Null, bytes }));
        }
        match serde_json::from_slice(&body) {
            Ok(body) => Ok(Ok(Heard { head, body, bytes })),
            // A login page says 200 too.
            Err(_) => Ok(Err(Said::new(&Head { status: head.status, headers: Vec::new() }, b""))),
        }
    }

    fn token(&self, act: &str) -> Result<Secret, Refused> {
        match &self.bearer {
            Bearer::Given(token) => Ok(token.clone()),
            Bearer::Identity(source) => {
                let world = World {
                    transport: &*self.transport,
                    surroundings: &*self.surroundings,
                    policy: self.retry,
                    scope: self.scope,
                };
                source.bearer(&world).map_err(|error| {
                    let guessed = source.is_only_guess();
                    unfit(act, &if guessed { error.remedy(SET_AN_IDENTITY) } else { error })
                })
            }
        }
    }

    /// Remembers for all threads that Azure wants to be left alone.
    fn hush(&self, time: Duration) {
        let until = self.surroundings.elapsed() + time;
        let mut quiet = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        *quiet = until.max(*quiet);
    }

    /// Waits until Azure may be asked again, where that is within our patience.
    fn keep_quiet(&self, act: &str) -> Result<(), Refused> {
        let until = *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        let left = until.saturating_sub(self.surroundings.elapsed());
        if left > self.retry.total {
            return Err(Refused {
                why: Why::Later,
                code: "TooManyRequests".to_owned(),
                act: act.to_owned(),
                words: "Azure wants to be left alone by this identity for a while".to_owned(),
                retry_after: Some(left),
            });
        }
        if !left.is_zero() {
            self.surroundings.pause(left);
        }
        Ok(())
    }
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// Path and query of a call, as on the wire.
fn target_of(call: &Call) -> String {
    let mut request = Request::new(call.method, crate::encode::percent_path(&call.path))
        .with_query("api-version", call.api_version);
    for (name, value) in &call.query {
        request = request.with_query(name, value.clone());
    }
    request.target().expose().to_owned()
}

/// What an operation is about, as far as its result tells.
fn act_of(operation: &Operation) -> String {
    let path = operation.result.as_ref().map(|result| result.path.as_str());
    let path = path.or(Some(operation.address.as_str())).filter(|path| path.starts_with('/'));
    let path = path.map(|path| path.split('?').next().unwrap_or_default()).unwrap_or_default();
    match (ResourceId::parse(path), GroupId::try_from(path.to_owned())) {
        (Ok(id), _) => format!("what Azure does with {}", id.shown()),
        (_, Ok(group)) => format!("what Azure does with resource group «{}»", group.name()),
        _ => "what Azure does behind its answer".to_owned(),
    }
}

/// Whether what was to be deleted is not there. A subscription that this identity does not see is another matter.
fn is_gone(refused: &Refused) -> bool {
    refused.why == Why::Missing && refused.code != "SubscriptionNotFound"
}

/// As much of a body as there is room for.
fn fill(reply: &mut crate::transport::Reply, room: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    // Memory follows what really comes: the length is the peer's word.
    let mut chunk = vec![0_u8; room.min(64 * 1024)];
    while bytes.len() < room {
        let want = chunk.len().min(room - bytes.len());
        let (filled, failure) = reply.read_into(&mut chunk[..want]);
        bytes.extend_from_slice(&chunk[..filled]);
        if let Some(failure) = failure {
            return Err(failure);
        }
        if filled < want {
            break;
        }
    }
    Ok(bytes)
}

fn lost(act: &str, failure: &Failure) -> Refused {
    let remedy = failure.remedy();
    let words = if remedy.is_empty() {
        failure.what.clone()
    } else {
        format!("{}; {remedy}", failure.what)
    };
    Refused { why: Why::Way, code: String::new(), act: act.to_owned(), words, retry_after: None }
}

fn odd(act: &str, what: &str) -> Refused {
    let words = format!("Azure's answer is none that it would give: {what}");
    Refused { why: Why::Way, code: String::new(), act: act.to_owned(), words, retry_after: None }
}

fn unfit(act: &str, error: &Error) -> Refused {
    let why = match error.blame {
        Blame::Device => Why::Way,
        Blame::Refused => Why::Denied,
        _ => Why::Invalid,
    };
    Refused {
        why,
        code: String::new(),
        act: act.to_owned(),
        words: error.to_string(),
        retry_after: None,
    }
}

fn unread(act: &str, refusal: &crate::response::Refusal) -> Refused {
    let why = match refusal.status {
        401 | 403 => Why::Denied,
        404 => Why::Missing,
        408 | 429 | 500.. => Why::Later,
        _ => Why::Invalid,
    };
    Refused {
        why,
        code: refusal.code.clone(),
        act: act.to_owned(),
        words: format!("HTTP {} {}; ask for its address again", refusal.status, refusal.code),
        retry_after: refusal.retry_after.map(Duration::from_secs),
    }
}

#[cfg(test)]
mod tests;
