//! Servers: how they fare, their points, what is done with them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ADMINISTRATOR, Kind, Meant, OPERATOR, Route, VIEWER, delete, get, needed, parameter, post, put,
    shape,
};
use crate::api::call::Call;
use crate::api::reply::{Reply, json};
use crate::api::site::{Answer, Refusal, Role};
use crate::api::views::servers::{
    Figure, Install, Overview, PointView, PolicyView, Readiness, SeenServer, Series, SeriesAsked,
    ServerView,
};

/// Points of one answer where nothing is said, and at most.
const POINTS: u64 = 200;
const POINTS_MAX: u64 = 1000;
/// How far back a figure goes: a month.
const SPAN_SECONDS_MAX: u64 = 31 * 86_400;
/// What a profile is called among kinds of content.
const TOML: &str = "text/plain; charset=utf-8";

/// Whose one-time token is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct InstallAsked {
    /// What the server is to be called; null as it calls itself.
    pub name: Option<String>,
    /// It was revoked, and is let in again: an administrator's word.
    pub readmit: bool,
}

/// Why a point is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PinAsked {
    /// Told beside it.
    pub why: String,
}

/// A machine that is taken for a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AcceptAsked {
    /// The failover that stands is over.
    pub after_failover: bool,
}

pub(super) const ROUTES: &[Route] = &[
    get(
        "overview",
        "/overview",
        VIEWER,
        "Every server at a glance, vault, spool, work in progress",
    )
    .gives::<Overview>()
    .does(|call| json(call.site().overview())),
    get("server", "/servers/{name}", VIEWER, "A server whole")
        .gives::<ServerView>()
        .does(|call| json(call.site().server(call.name()))),
    get("points", "/servers/{name}/points", VIEWER, "Its recovery points, the newest first")
        .query(&[
            parameter("before_millis", Kind::Number(u64::MAX), "None newer than this"),
            parameter(
                "limit",
                Kind::Number(POINTS_MAX),
                "At most so many; 200 where nothing is said",
            ),
        ])
        .gives::<Vec<PointView>>()
        .does(points),
    put(
        "pin",
        "/servers/{name}/points/{point}/pin",
        OPERATOR,
        "Keeps a point, whatever the retention says",
    )
    .takes::<PinAsked>()
    .gives::<PointView>()
    .does(|call| {
        let asked: PinAsked = call.json()?;
        json(call.site().pin(call.by()?, call.name(), point(call), &asked.why))
    }),
    delete(
        "unpin",
        "/servers/{name}/points/{point}/pin",
        OPERATOR,
        "Lets the retention count for it again",
    )
    .destroys()
    .gives::<PointView>()
    .weighs(|call| {
        let words = format!("point {} of server {} may go again", point(call), call.name());
        Ok(Meant::Servers(vec![call.name().to_owned()], words))
    })
    .does(|call| json(call.site().unpin(call.by()?, call.name(), point(call)))),
    get("series", "/servers/{name}/series", VIEWER, "One measured figure over time")
        .query(&[
            needed("figure", Kind::Word(shape::<Figure>), "Which"),
            needed("span_seconds", Kind::Number(SPAN_SECONDS_MAX), "How far back"),
        ])
        .gives::<Series>()
        .does(series),
    put("setPolicy", "/servers/{name}/policy", OPERATOR, "Changes how it is protected, live")
        .takes::<PolicyView>()
        .gives::<ServerView>()
        .weighs(policy_weighs)
        .does(|call| json(call.site().set_policy(call.by()?, call.name(), &call.json()?))),
    get("readiness", "/servers/{name}/readiness", OPERATOR, "Judges whether it can be recovered")
        .query(&[parameter("azure", Kind::Flag, "The subscription is asked too")])
        .gives::<Readiness>()
        .does(|call| json(call.site().readiness(call.name(), call.flag("azure")?))),
    post("revoke", "/servers/{name}/revoke", ADMINISTRATOR, "No agent comes in as it any more")
        .destroys()
        .gives::<ServerView>()
        .weighs(|call| {
            let words = format!("agents no longer come in as server {}", call.name());
            Ok(Meant::Servers(vec![call.name().to_owned()], words))
        })
        .does(|call| json(call.site().revoke(call.by()?, call.name()))),
    post(
        "accept",
        "/servers/{name}/accept",
        ADMINISTRATOR,
        "The next machine that shows up as it is it",
    )
    .takes::<AcceptAsked>()
    .gives::<ServerView>()
    .does(|call| {
        let asked: AcceptAsked = call.json()?;
        json(call.site().accept(call.by()?, call.name(), asked.after_failover))
    }),
    get("target", "/servers/{name}/target", VIEWER, "Where it is recovered to, as TOML")
        .gives_content(TOML)
        .does(|call| call.site().target(call.name()).map(text)),
    put("setTarget", "/servers/{name}/target", OPERATOR, "Changes where it is recovered to")
        .takes_text()
        .gives_content(TOML)
        .does(|call| call.site().set_target(call.by()?, call.name(), call.body_text()?).map(text)),
    post(
        "install",
        "/install",
        OPERATOR,
        "Makes the line that is run on a server that is to be protected",
    )
    .takes::<InstallAsked>()
    .gives::<Install>()
    .about(|call| Some(format!("server {}", call.json::<InstallAsked>().ok()?.name?)))
    .does(|call| {
        let asked: InstallAsked = call.json()?;
        if asked.readmit && !call.is(Role::Administrator) {
            let words = "takes the role administrator, which revoked it";
            return Err(Refusal::new(403, "to let a server in again", words).at("/readmit"));
        }
        json(call.site().install(call.by()?, asked.name.as_deref(), asked.readmit))
    }),
    get("seen", "/seen", OPERATOR, "Looks for machines on the network; takes seconds")
        .query(&[needed("network", Kind::Text, "Where: 192.0.2.0/24")])
        .noted()
        .gives::<Vec<SeenServer>>()
        .about(|call| Some(format!("network {}", call.text("network").ok()??)))
        .does(|call| json(call.site().seen(&call.needed("network")?))),
];

fn point<'a>(call: &'a Call<'_>) -> &'a str {
    call.parts.get(1).map_or("", String::as_str)
}

fn text(text: String) -> Reply {
    Reply::bytes(200, TOML, text.into_bytes())
}

fn points(call: &Call<'_>) -> Answer<Reply> {
    let limit = call.number("limit", POINTS_MAX)?.unwrap_or(POINTS);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    json(call.site().points(call.name(), call.number("before_millis", u64::MAX)?, limit))
}

fn series(call: &Call<'_>) -> Answer<Reply> {
    let missing = |name: &str| {
        Refusal::new(400, format!("parameter {name}"), "is missing").at(format!("/{name}"))
    };
    let figure = call.word("figure")?.ok_or_else(|| missing("figure"))?;
    let span = call.number("span_seconds", SPAN_SECONDS_MAX)?;
    let asked = SeriesAsked { figure, span_seconds: span.ok_or_else(|| missing("span_seconds"))? };
    json(call.site().series(call.name(), &asked))
}

/// What a second person watches over is not changed by one alone: neither that there is one, nor how long points are kept.
fn policy_weighs(call: &Call<'_>) -> Answer<Meant> {
    let asked: PolicyView = call.json()?;
    let now = call.site().server(call.name())?.policy;
    if asked.keep != now.keep && !call.is(Role::Administrator) {
        let words = "is retention, which takes the role administrator to change";
        return Err(Refusal::new(403, "how long points are kept", words)
            .remedy("leave it as it is, or ask an administrator")
            .at("/keep"));
    }
    if asked.second_person && asked.keep == now.keep {
        return Ok(Meant::Nothing);
    }
    let words = match asked.second_person {
        true => format!(
            "points of server {} are kept {} instead of {}",
            call.name(),
            asked.keep.as_deref().unwrap_or("as the vault says"),
            now.keep.as_deref().unwrap_or("as the vault says")
        ),
        false => format!("failover and deletion of server {} need one person alone", call.name()),
    };
    Ok(Meant::Servers(vec![call.name().to_owned()], words))
}
