//! Every route of the API, in one table: what it takes, what it answers, who may ask. The document of the API is made of it too.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::admin::{Deed, Permission};
use super::call::{self, Call, unknown};
use super::reply::{Reply, json_of};
use super::site::{Answer, Refusal, Role};
use super::views::servers::Health;

/// Users, sessions, tokens, approvals, the audit log.
mod access;
/// The machine, events, alerts, verbs.
mod appliance;
/// Files of points.
mod files;
/// Orders and plans.
mod recovery;
/// Servers.
mod servers;
/// First run.
mod setup;
/// The vault and long work.
mod vault;

pub use access::COOKIE;
pub use appliance::METRICS;

/// What every path begins with.
pub const BEGIN: &str = "/api/v1";
/// Largest body where nothing else is said.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// How a schema is made.
pub type Shape = fn(&mut SchemaGenerator) -> Schema;

/// A route.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Route {
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: &'static str,
    /// Below [`BEGIN`], with `{...}` for what varies.
    pub path: &'static str,
    /// The operation's ID: for the document, the audit log, approvals.
    pub id: &'static str,
    /// What it does, in a sentence without its full stop.
    pub summary: &'static str,
    /// The least role; none where everybody may ask.
    pub role: Option<Role>,
    /// What it does cannot be taken back.
    pub destroys: bool,
    /// Whether it is noted in the audit log although it changes nothing.
    pub noted: bool,
    /// Parameters of its query.
    pub query: &'static [Parameter],
    /// Its body.
    pub takes: Takes,
    /// Its answer.
    pub gives: Gives,
    /// What it means to do, where a second person may be needed.
    weighs: Option<fn(&Call<'_>) -> Answer<Meant>>,
    /// The object that it is about, where its path does not say so.
    about: Option<fn(&Call<'_>) -> Option<String>>,
    answer: fn(&Call<'_>) -> Answer<Reply>,
}

/// A parameter of a query.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// It must be there.
    pub needed: bool,
    /// What it is for, in a sentence without its full stop.
    pub words: &'static str,
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "the document must have a schema for each")]
pub enum Kind {
    /// A text.
    Text,
    /// A whole number up to this.
    Number(u64),
    /// `true` or `false`.
    Flag,
    /// One of some words.
    Word(Shape),
}

/// What a route takes.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "the document must have words for each")]
pub enum Takes {
    /// No body.
    Nothing,
    /// JSON of this shape, so many bytes at most.
    Json(Shape, usize),
    /// Text, so many bytes at most.
    Text(usize),
    /// Bytes that are read while they come, so many at most.
    Stream(usize),
}

/// What a route answers where all is well.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "the document must have words for each")]
pub enum Gives {
    /// Nothing.
    Nothing,
    /// JSON of this shape.
    Json(Shape),
    /// Content of this kind.
    Content(&'static str),
    /// A part of a file, or all of it.
    File,
    /// Server-sent events.
    Events,
    /// Lines of JSON of this shape.
    Lines(Shape),
}

/// Whose second person has to agree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no fourth way")]
pub enum Meant {
    /// Nobody's: it neither fails over nor deletes.
    Nothing,
    /// That of any of these servers, for what is said in these words.
    Servers(Vec<String>, String),
    /// That of any server at all.
    Everything(String),
}

fn shape<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn missing(_: &Call<'_>) -> Answer<Reply> {
    Err(Refusal::new(500, "the route", "has nothing behind it"))
}

impl Route {
    const fn new(
        method: &'static str,
        id: &'static str,
        path: &'static str,
        role: Option<Role>,
        summary: &'static str,
    ) -> Self {
        let (takes, gives) = (Takes::Nothing, Gives::Nothing);
        Self {
            method,
            path,
            id,
            summary,
            role,
            destroys: false,
            noted: false,
            query: &[],
            takes,
            gives,
            weighs: None,
            about: None,
            answer: missing,
        }
    }

    const fn takes<T: JsonSchema>(mut self) -> Self {
        self.takes = Takes::Json(shape::<T>, BODY_BYTES_MAX);
        self
    }

    const fn takes_up_to<T: JsonSchema>(mut self, bytes_max: usize) -> Self {
        self.takes = Takes::Json(shape::<T>, bytes_max);
        self
    }

    const fn takes_text(mut self) -> Self {
        self.takes = Takes::Text(BODY_BYTES_MAX);
        self
    }

    const fn gives<T: JsonSchema>(mut self) -> Self {
        self.gives = Gives::Json(shape::<T>);
        self
    }

    const fn gives_content(mut self, kind: &'static str) -> Self {
        self.gives = Gives::Content(kind);
        self
    }

    const fn query(mut self, query: &'static [Parameter]) -> Self {
        self.query = query;
        self
    }

    const fn destroys(mut self) -> Self {
        self.destroys = true;
        self
    }

    const fn noted(mut self) -> Self {
        self.noted = true;
        self
    }

    const fn weighs(mut self, weighs: fn(&Call<'_>) -> Answer<Meant>) -> Self {
        self.weighs = Some(weighs);
        self
    }

    const fn about(mut self, about: fn(&Call<'_>) -> Option<String>) -> Self {
        self.about = Some(about);
        self
    }

    const fn does(mut self, answer: fn(&Call<'_>) -> Answer<Reply>) -> Self {
        self.answer = answer;
        self
    }

    /// How large a body may be.
    #[must_use]
    pub fn body_bytes_max(&self) -> usize {
        match self.takes {
            // Many clients send `{}` where nothing is taken.
            Takes::Nothing => 1024,
            Takes::Json(_, most) | Takes::Text(most) | Takes::Stream(most) => most,
        }
    }

    /// Whether its body is read while it comes.
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        matches!(self.takes, Takes::Stream(_))
    }

    /// The kind of content that its body is.
    #[must_use]
    pub fn body_kind(&self) -> Option<&'static str> {
        match self.takes {
            Takes::Nothing => None,
            Takes::Json(..) => Some("application/json"),
            Takes::Text(_) => Some("text/plain"),
            Takes::Stream(_) => Some("application/octet-stream"),
        }
    }

    /// Whether it changes anything, so that a cookie alone does not do.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.method != "GET"
    }

    /// Whether it asks for a second person at times.
    #[must_use]
    pub fn may_wait(&self) -> bool {
        self.weighs.is_some()
    }

    /// The object that a call is about, for people: `server web1`.
    #[must_use]
    pub fn object(&self, call: &Call<'_>) -> String {
        if let Some(said) = self.about.and_then(|about| about(call)) {
            return said;
        }
        let words: Vec<&str> = self.path.split('/').filter(|word| !word.is_empty()).collect();
        let place = words.iter().position(|word| word.starts_with('{'));
        match place.and_then(|place| place.checked_sub(1)).and_then(|place| words.get(place)) {
            Some(kind) => format!("{} {}", kind.strip_suffix('s').unwrap_or(kind), call.name()),
            None => words.first().copied().unwrap_or_default().to_owned(),
        }
    }
}

const fn parameter(name: &'static str, kind: Kind, words: &'static str) -> Parameter {
    Parameter { name, kind, needed: false, words }
}

const fn needed(name: &'static str, kind: Kind, words: &'static str) -> Parameter {
    Parameter { name, kind, needed: true, words }
}

const fn get(
    id: &'static str,
    path: &'static str,
    role: Option<Role>,
    summary: &'static str,
) -> Route {
    Route::new("GET", id, path, role, summary)
}

const fn post(
    id: &'static str,
    path: &'static str,
    role: Option<Role>,
    summary: &'static str,
) -> Route {
    Route::new("POST", id, path, role, summary)
}

const fn put(
    id: &'static str,
    path: &'static str,
    role: Option<Role>,
    summary: &'static str,
) -> Route {
    Route::new("PUT", id, path, role, summary)
}

const fn delete(
    id: &'static str,
    path: &'static str,
    role: Option<Role>,
    summary: &'static str,
) -> Route {
    Route::new("DELETE", id, path, role, summary)
}

const ANYBODY: Option<Role> = None;
const VIEWER: Option<Role> = Some(Role::Viewer);
const OPERATOR: Option<Role> = Some(Role::Operator);
const ADMINISTRATOR: Option<Role> = Some(Role::Administrator);

/// Every route, by what it is about.
pub fn all() -> impl Iterator<Item = &'static Route> {
    [
        access::ROUTES,
        servers::ROUTES,
        vault::ROUTES,
        files::ROUTES,
        recovery::ROUTES,
        appliance::ROUTES,
        setup::ROUTES,
    ]
    .into_iter()
    .flatten()
}

/// What was found for a method and a path.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "there is no fourth way")]
pub enum Found {
    /// This route, and what stands for its `{...}`.
    Route(&'static Route, Vec<String>),
    /// The path, with other methods.
    OtherMethods(Vec<&'static str>),
    /// No such path.
    Nothing,
}

/// The route for a method and a path below [`BEGIN`]. `HEAD` is answered as `GET` is.
#[must_use]
pub fn find(method: &str, path: &str) -> Found {
    let method = if method == "HEAD" { "GET" } else { method };
    let mut others = Vec::new();
    // A path without a variable part goes before one that has it: `files/content` is no file's name.
    let mut with_parts = None;
    for route in all() {
        let Some(parts) = parts(route.path, path) else { continue };
        if route.method != method {
            others.push(route.method);
        } else if parts.is_empty() {
            return Found::Route(route, parts);
        } else if with_parts.is_none() {
            with_parts = Some((route, parts));
        }
    }
    match with_parts {
        Some((route, parts)) => Found::Route(route, parts),
        None if others.is_empty() => Found::Nothing,
        None => {
            others.sort_unstable();
            others.dedup();
            Found::OtherMethods(others)
        }
    }
}

fn parts(template: &str, path: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut given = path.split('/');
    for word in template.split('/') {
        let given = given.next()?;
        match word.starts_with('{') {
            true => parts.push(call::part(given)?),
            false if word == given => {}
            false => return None,
        }
    }
    given.next().is_none().then_some(parts)
}

/// Does what is asked, where who asks may: or says who has to agree first.
pub fn perform(route: &Route, call: &Call<'_>) -> Answer<Reply> {
    let role = route.role;
    if let Some(needed) = role {
        may(route, call.who.ok_or_else(unknown)?.caller.role, needed)?;
    }
    known_parameters(route, call)?;
    let Some(weighs) = route.weighs else { return (route.answer)(call) };
    let meant = weighs(call)?;
    let Some(words) = second_person(call, meant)? else { return (route.answer)(call) };
    let deed = Deed {
        operation: route.id.to_owned(),
        object: route.object(call),
        words,
        path: call.path.to_owned(),
        query: call.query.to_owned(),
        body: call.body.to_vec(),
        by: call.who()?.clone(),
    };
    match call.admin().permit(deed)? {
        Permission::Given => (route.answer)(call),
        Permission::Waits(approval) => json_of(202, &approval),
    }
}

/// Does what a second person agreed to, as it was asked.
fn carry_out(deed: &Deed, call: &Call<'_>) -> Answer<Reply> {
    let Found::Route(route, parts) = find_by_id(&deed.operation, &deed.path) else {
        return Err(Refusal::new(404, "the approval", "is for nothing that there is"));
    };
    let asked = Call {
        who: Some(&deed.by),
        parts,
        path: &deed.path,
        query: &deed.query,
        body: &deed.body,
        ..call.clone()
    };
    // What was agreed to may have become something else: a plan with other servers.
    if let Some(weighs) = route.weighs
        && second_person(&asked, weighs(&asked)?)?.is_some_and(|words| words != deed.words)
    {
        let words = format!("is no longer what was agreed to: {}", deed.words);
        return Err(Refusal::new(409, "the approval", words).remedy("ask for it anew"));
    }
    (route.answer)(&asked)
}

fn find_by_id(id: &str, path: &str) -> Found {
    let route = all().find(|route| route.id == id);
    match route.and_then(|route| Some((route, parts(route.path, path)?))) {
        Some((route, parts)) => Found::Route(route, parts),
        None => Found::Nothing,
    }
}

fn may(route: &Route, role: Role, needed: Role) -> Answer<()> {
    if role >= needed {
        return Ok(());
    }
    let words = format!("may not do this: it takes the role {}", role_word(needed));
    Err(Refusal::new(403, format!("the role {}", role_word(role)), words)
        .remedy(format!("ask an administrator: {}", route.summary)))
}

/// A role in a word.
#[must_use]
pub fn role_word(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Administrator => "administrator",
    }
}

fn known_parameters(route: &Route, call: &Call<'_>) -> Answer<()> {
    for (name, _) in call::pairs(call.query)? {
        if !route.query.iter().any(|known| known.name == name) {
            return Err(Refusal::new(400, format!("parameter {name:?}"), "is not known here"));
        }
    }
    Ok(())
}

/// What a second person has to agree to, in words; nothing where no policy asks for one. A policy that cannot be read is a refusal:
/// it might ask for one.
fn second_person(call: &Call<'_>, meant: Meant) -> Answer<Option<String>> {
    let (names, words) = match meant {
        Meant::Nothing => return Ok(None),
        Meant::Servers(names, words) => (names, words),
        Meant::Everything(words) => {
            let overview = call.site().overview()?;
            if overview.servers.is_empty() && overview.vault != Health::Good {
                return Err(Refusal::new(
                    503,
                    "the vault",
                    "was not read yet: nobody knows whose policy asks for a second person",
                )
                .remedy("try it again in a moment")
                .retry_after(5));
            }
            (overview.servers.into_iter().map(|row| row.name).collect(), words)
        }
    };
    for name in names {
        match call.site().server(&name) {
            Ok(server) if server.policy.second_person => return Ok(Some(words)),
            Ok(_) => {}
            // What is not there cannot ask for anybody.
            Err(refusal) if refusal.status == 404 => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
