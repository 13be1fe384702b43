//! The API behind the door: who asks is looked up, the body read within its limits, the call made on a thread of its own, what was
//! done noted, and what is answered told.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use firmware_web::api::admin::Origin;
use firmware_web::api::alarm::Alarm;
use firmware_web::api::metrics::{self, Beside, Requests};
use firmware_web::api::reply::problem;
use firmware_web::api::routes::{BEGIN, COOKIE, Found, METRICS, Route, find, perform};
use firmware_web::api::setup::Setup;
use firmware_web::api::verbs::Verbs;
use firmware_web::api::views::admin::Settled;
use firmware_web::api::{Answer, Behind, Body, Call, Refusal, Reply, Site, Stream, Who};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE as COOKIES, HOST, ORIGIN, RANGE};
use hyper::{HeaderMap, Request};
use smol::future;
use smol::lock::{Semaphore, SemaphoreGuard};

use super::body::{NoBody, pieces, whole};
use super::feed::Feed;
use super::told::Telling;
use super::{BODY, within};
use crate::admin::accounts::Accounts;
use crate::admin::audit::Noted;

/// Calls at once: each has a thread.
const CALLS_MAX: usize = 32;
/// How long a call waits for its turn.
const TURN: Duration = Duration::from_secs(10);
/// Answers at once that take as long as their client does: files, and verbs that run.
const LONG_MAX: usize = 24;
/// Bodies larger than most that are held at once.
const LARGE_MAX: usize = 4;
const LARGE_BYTES: usize = 256 * 1024;
/// Logins in vain that are noted in an hour; what is more is told in the program's log, so that nobody can push the audit log's
/// older entries out from outside.
const VAIN_MAX: u32 = 30;
/// By which a second person agrees.
const SETTLE: &str = "settleApproval";
const HOUR_NANOS: u64 = 3_600_000_000_000;

/// Tells what is measured.
pub type Measure = Arc<dyn Fn(&dyn Site, &Requests) -> String + Send + Sync>;

/// The API, and what stands behind it.
pub struct Api {
    pub(super) site: Arc<dyn Site>,
    pub(super) accounts: Arc<Accounts>,
    setup: Option<Arc<dyn Setup>>,
    alarm: Option<Arc<dyn Alarm>>,
    verbs: Option<Arc<dyn Verbs>>,
    measure: Measure,
    requests: Requests,
    pub(super) feed: Feed,
    calls: Semaphore,
    large: Semaphore,
    pub(super) long: Arc<Semaphore>,
    /// The hour by the clock that only runs forwards, and logins in vain that were noted in it.
    vain: Mutex<(u64, u32)>,
    began: std::time::Instant,
}

impl Api {
    /// Of an appliance, and those who may manage it.
    #[must_use]
    pub fn new(site: Arc<dyn Site>, accounts: Arc<Accounts>) -> Self {
        let measure: Measure = Arc::new(|site, requests| {
            let beside = Beside { requests: Some(requests), ..Beside::default() };
            metrics::exposition(&metrics::Told::by(site), &beside)
        });
        Self {
            feed: Feed::new(Arc::clone(&site)),
            site,
            accounts,
            setup: None,
            alarm: None,
            verbs: None,
            measure,
            requests: Requests::default(),
            calls: Semaphore::new(CALLS_MAX),
            large: Semaphore::new(LARGE_MAX),
            long: Arc::new(Semaphore::new(LONG_MAX)),
            vain: Mutex::default(),
            began: std::time::Instant::now(),
        }
    }

    /// With first run.
    #[must_use]
    pub fn with_setup(self, setup: Arc<dyn Setup>) -> Self {
        Self { setup: Some(setup), ..self }
    }

    /// With alerts.
    #[must_use]
    pub fn with_alarm(self, alarm: Arc<dyn Alarm>) -> Self {
        Self { alarm: Some(alarm), ..self }
    }

    /// With verbs for somebody elsewhere.
    #[must_use]
    pub fn with_verbs(self, verbs: Arc<dyn Verbs>) -> Self {
        Self { verbs: Some(verbs), ..self }
    }

    /// With more to be measured than the site knows.
    #[must_use]
    pub fn with_measure(self, measure: Measure) -> Self {
        Self { measure, ..self }
    }

    /// Whether a path is the API's.
    pub(super) fn takes(path: &str) -> bool {
        path == METRICS
            || path.strip_prefix(BEGIN).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The answer.
    pub(super) async fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
        known: &Arc<AtomicBool>,
    ) -> Telling {
        let telling = match self.handle(request, peer, known).await {
            Ok(telling) => telling,
            Err(refusal) => Telling::plain(problem(&refusal)),
        };
        self.requests.answered(telling.reply.status);
        telling
    }

    async fn handle(
        self: &Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
        known: &Arc<AtomicBool>,
    ) -> Answer<Telling> {
        let (head, incoming) = request.into_parts();
        let path = head.uri.path();
        let path = path.strip_prefix(BEGIN).unwrap_or(path).to_owned();
        let (route, parts) = match find(head.method.as_str(), &path) {
            Found::Route(route, parts) => (route, parts),
            Found::OtherMethods(methods) => return Ok(Telling::plain(other_method(&methods))),
            Found::Nothing => {
                let detail = "is not there: /api/v1/openapi.json says what is";
                return Err(Refusal::new(404, "the path", detail));
            }
        };
        let origin = Origin {
            address: peer.ip().to_canonical(),
            agent: text(&head.headers, "user-agent").unwrap_or_default().to_owned(),
        };
        let asked = Asked {
            route,
            parts,
            path,
            query: head.uri.query().unwrap_or_default().to_owned(),
            range: text(&head.headers, RANGE.as_str()).map(str::to_owned),
            last_event: text(&head.headers, "last-event-id").map(str::to_owned),
            origin,
        };
        let who = self.who(route, &head.headers).await?;
        if who.is_some() {
            known.store(true, Ordering::Relaxed);
        } else if route.role.is_some() {
            return Err(Refusal::new(401, "the caller", "is not known")
                .remedy("log in, or send a token that has not ended"));
        }
        from_our_page(route, &head.headers, who.as_ref())?;
        let noted_who = who.clone();
        if route.is_streamed() {
            kind_is(route, &head.headers)?;
            // A file, sent as fast as its client can.
            let _turns = (turn(&self.large).await?, turn(&self.calls).await?);
            let (pieces, comes) = pieces(incoming, route.body_bytes_max());
            let api = Arc::clone(self);
            let call = smol::unblock(move || {
                let comes = Mutex::new(comes);
                api.perform(&asked, who.as_ref(), &[], Some(Stream(&comes)))
            });
            let ((), reply) = future::zip(pieces, call).await;
            return Ok(Telling { reply, who: noted_who });
        }
        let is_large = route.body_bytes_max() > LARGE_BYTES;
        let large = if is_large { Some(turn(&self.large).await?) } else { None };
        let body = body(route, &head.headers, incoming).await?;
        let turn = turn(&self.calls).await?;
        let api = Arc::clone(self);
        let reply = smol::unblock(move || api.perform(&asked, who.as_ref(), &body, None)).await;
        drop((turn, large));
        Ok(Telling { reply, who: noted_who })
    }

    async fn who(self: &Arc<Self>, route: &Route, headers: &HeaderMap) -> Answer<Option<Who>> {
        let token = text(headers, AUTHORIZATION.as_str()).map(str::to_owned);
        let cookie = cookie(headers);
        // Who only watches does not keep a session alive.
        let uses = route.id != "eventStream";
        if token.is_none() && cookie.is_none() {
            return Ok(None);
        }
        let api = Arc::clone(self);
        let found = smol::unblock(move || match (token, cookie) {
            (Some(token), _) => {
                let plain =
                    token.split_once(' ').filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
                plain.map_or(Ok(None), |(_, token)| api.accounts.by_token(token.trim()))
            }
            (None, Some(cookie)) => api.accounts.by_cookie(&cookie, uses),
            (None, None) => Ok(None),
        });
        found.await
    }

    /// On a thread of its own.
    fn perform(
        &self,
        asked: &Asked,
        who: Option<&Who>,
        body: &[u8],
        stream: Option<Stream<'_>>,
    ) -> Reply {
        let measure = || (self.measure)(&*self.site, &self.requests);
        let behind = Behind {
            site: &*self.site,
            admin: &*self.accounts,
            setup: self.setup.as_deref(),
            alarm: self.alarm.as_deref(),
            verbs: self.verbs.as_deref(),
            metrics: Some(&measure),
        };
        let call = Call {
            behind,
            who,
            from: &asked.origin,
            parts: asked.parts.clone(),
            path: &asked.path,
            query: &asked.query,
            body,
            stream,
            range: asked.range.as_deref(),
            last_event: asked.last_event.as_deref(),
        };
        let reply = perform(asked.route, &call).unwrap_or_else(|refusal| problem(&refusal));
        self.note(asked, &call, reply.status);
        if asked.route.id == SETTLE {
            self.note_deed(asked, &reply);
        }
        reply
    }

    /// What a second person agreed to was done in the name of who asked.
    fn note_deed(&self, asked: &Asked, reply: &Reply) {
        let Body::Bytes(bytes) = &reply.body else { return };
        let Ok(Settled { approval, .. }) = serde_json::from_slice(bytes) else { return };
        let Some(outcome) = approval.outcome else { return };
        let agreed = approval.settled_by.unwrap_or_default();
        let object = format!("{}, agreed to by {agreed}", approval.object);
        let address = asked.origin.address.to_string();
        let (by, what) = (&approval.by, &approval.operation);
        self.accounts.note(&Noted { by, what, object: &object, outcome, address: &address });
    }

    fn note(&self, asked: &Asked, call: &Call<'_>, outcome: u16) {
        let route = asked.route;
        if !(route.changes() || route.noted) {
            return;
        }
        let address = asked.origin.address.to_string();
        let mut object = route.object(call);
        let by = match call.who {
            Some(who) if who.session.is_none() => {
                format!("{} (token of {})", who.caller.name, who.user)
            }
            Some(who) => who.caller.name.clone(),
            None => {
                // Held up, or too many: it was not even tried.
                if matches!(outcome, 429 | 503) || (outcome >= 400 && !self.may_note_vain()) {
                    log::warn!("{} from {address}: refused with {outcome}", route.id);
                    return;
                }
                // A password typed into the wrong field must not be written down.
                let name = object.strip_prefix("user ").unwrap_or_default();
                let is_user = self.accounts.everybody().find(name).is_ok_and(|it| it.is_some());
                if route.id == "logIn" && !is_user {
                    object = "a user that is not there".to_owned();
                }
                String::new()
            }
        };
        let noted = Noted { by: &by, what: route.id, object: &object, outcome, address: &address };
        self.accounts.note(&noted);
    }

    fn may_note_vain(&self) -> bool {
        let hour = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX) / HOUR_NANOS;
        let mut vain = self.vain.lock().unwrap_or_else(PoisonError::into_inner);
        if vain.0 != hour {
            *vain = (hour, 0);
        }
        vain.1 = vain.1.saturating_add(1);
        vain.1 <= VAIN_MAX
    }
}

/// One of so many turns, unless it takes too long to come.
async fn turn(turns: &Semaphore) -> Answer<SemaphoreGuard<'_>> {
    let turn = async { Ok(turns.acquire().await) };
    within(TURN, turn).await.map_err(|_| too_many())
}

/// What is asked of a route, but for its body.
struct Asked {
    route: &'static Route,
    parts: Vec<String>,
    path: String,
    query: String,
    range: Option<String>,
    last_event: Option<String>,
    origin: Origin,
}

fn other_method(methods: &[&'static str]) -> Reply {
    let mut allow = methods.join(", ");
    if methods.contains(&"GET") {
        allow.push_str(", HEAD");
    }
    let words = format!("is not answered here: {allow} are");
    problem(&Refusal::new(405, "this method", words)).with("allow", allow)
}

/// What another page has a browser send does nothing: the word of the session stands in no cookie, and where a browser says from
/// where it comes, that is here.
fn from_our_page(route: &Route, headers: &HeaderMap, who: Option<&Who>) -> Answer<()> {
    if !route.changes() {
        return Ok(());
    }
    let refused = |detail: &str| {
        Err(Refusal::new(403, "the request", detail).remedy("use the page of this machine"))
    };
    if let Some(origin) = text(headers, ORIGIN.as_str()) {
        let host = text(headers, HOST.as_str()).unwrap_or_default();
        if !origin.strip_prefix("https://").is_some_and(|from| from.eq_ignore_ascii_case(host)) {
            return refused("comes from a page of somebody else");
        }
    }
    let Some(who) = who.filter(|who| who.session.is_some()) else { return Ok(()) };
    let word = text(headers, "x-csrf").unwrap_or_default();
    // By their hashes, so that the time says nothing of where they differ.
    if blake3::hash(word.as_bytes()) != blake3::hash(who.csrf.as_bytes()) {
        return refused("lacks the word of the session, x-csrf");
    }
    Ok(())
}

/// What is sent is of the kind that the route takes.
fn kind_is(route: &Route, headers: &HeaderMap) -> Answer<()> {
    if let Some(kind) = route.body_kind() {
        let said = text(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
        let said = said.split(';').next().unwrap_or_default().trim();
        if !said.eq_ignore_ascii_case(kind) {
            let words = format!("is of another kind than {kind}");
            return Err(Refusal::new(415, "what was sent", words));
        }
    }
    Ok(())
}

async fn body(route: &Route, headers: &HeaderMap, incoming: Incoming) -> Answer<Vec<u8>> {
    kind_is(route, headers)?;
    let bytes_max = route.body_bytes_max();
    let read = within(BODY, async { Ok(whole(incoming, bytes_max).await) }).await;
    match read {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(NoBody::Large)) => {
            let words = format!("is larger than {bytes_max} bytes");
            Err(Refusal::new(413, "what was sent", words))
        }
        Ok(Err(NoBody::Cut)) => Err(Refusal::new(400, "what was sent", "was cut off")),
        Err(_) => Err(Refusal::new(408, "what was sent", "took too long")),
    }
}

/// What the cookie of a session holds.
fn cookie(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(COOKIES).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';'));
    pairs.find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE).then(|| value.to_owned())
    })
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

pub(super) fn too_many() -> Refusal {
    Refusal::new(503, "the appliance", "is asked too much at once")
        .remedy("try again in a moment")
        .retry_after(5)
}
