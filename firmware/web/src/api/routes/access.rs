//! Users, sessions, tokens, approvals, the audit log.

use super::{
    ADMINISTRATOR, ANYBODY, Gives, Kind, OPERATOR, Route, VIEWER, carry_out, delete, get,
    parameter, post, put,
};
use crate::api::admin::Begun;
use crate::api::call::Call;
use crate::api::openapi;
use crate::api::reply::{Body, JSON, Reply, json, json_of, problem};
use crate::api::site::{Answer, Refusal};
use crate::api::views::admin::{
    ApprovalAnswer, ApprovalView, AuditPage, HostNames, LogIn, PasswordAsked, RoleAsked,
    SessionRow, SessionView, Settled, TokenAsked, TokenMade, TokenView, UserAsked, UserView,
};

/// What the cookie of a session is called.
pub const COOKIE: &str = "lifeboat";
/// Entries of the audit log where nothing is said, and at most.
const ENTRIES: u64 = 100;
const ENTRIES_MAX: u64 = 500;

pub(super) const ROUTES: &[Route] = &[
    get("description", "/openapi.json", ANYBODY, "This document")
        .gives_content(JSON)
        .does(|_| Ok(Reply::bytes(200, JSON, openapi::text()))),
    get("session", "/session", VIEWER, "Who one is").gives::<SessionView>().does(who),
    post("logIn", "/session", ANYBODY, "Logs in: sets the cookie of a session")
        .takes::<LogIn>()
        .gives::<SessionView>()
        .about(|call| Some(format!("user {}", call.json::<LogIn>().ok()?.name)))
        .does(|call| began(&call.admin().log_in(call.from, &call.json()?)?)),
    delete("logOut", "/session", VIEWER, "Logs out").does(|call| {
        call.admin().end_session(call.who()?, None)?;
        let gone = format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
        Ok(Reply::nothing().with("set-cookie", gone))
    }),
    get(
        "sessions",
        "/sessions",
        VIEWER,
        "Sessions: one's own, or everybody's for an administrator",
    )
    .gives::<Vec<SessionRow>>()
    .does(|call| json(call.admin().sessions(call.who()?))),
    delete("endSession", "/sessions/{id}", VIEWER, "Ends a session").does(|call| {
        call.admin().end_session(call.who()?, Some(call.name())).map(|()| Reply::nothing())
    }),
    get("users", "/users", ADMINISTRATOR, "Who may log in")
        .gives::<Vec<UserView>>()
        .does(|call| json(call.admin().users())),
    post("addUser", "/users", ADMINISTRATOR, "Lets somebody in")
        .takes::<UserAsked>()
        .gives::<UserView>()
        .about(|call| Some(format!("user {}", call.json::<UserAsked>().ok()?.name)))
        .does(|call| json(call.admin().add_user(call.who()?, &call.json()?))),
    delete("removeUser", "/users/{name}", ADMINISTRATOR, "Lets somebody in no more")
        .destroys()
        .does(|call| call.admin().remove_user(call.who()?, call.name()).map(|()| Reply::nothing())),
    post("setRole", "/users/{name}/role", ADMINISTRATOR, "Changes what somebody may do")
        .takes::<RoleAsked>()
        .does(|call| {
            call.admin()
                .set_role(call.who()?, call.name(), &call.json()?)
                .map(|()| Reply::nothing())
        }),
    post("setPassword", "/users/{name}/password", VIEWER, "Changes a password")
        .takes::<PasswordAsked>()
        .does(|call| {
            let asked: PasswordAsked = call.json()?;
            call.admin()
                .set_password(call.who()?, call.from, call.name(), &asked)
                .map(|()| Reply::nothing())
        }),
    get("tokens", "/tokens", ADMINISTRATOR, "Tokens for scripts")
        .gives::<Vec<TokenView>>()
        .does(|call| json(call.admin().tokens())),
    post("makeToken", "/tokens", ADMINISTRATOR, "Makes a token, which is shown this once")
        .takes::<TokenAsked>()
        .gives::<TokenMade>()
        .about(|call| Some(format!("token {}", call.json::<TokenAsked>().ok()?.name)))
        .does(|call| json(call.admin().make_token(call.who()?, &call.json()?))),
    delete("endToken", "/tokens/{id}", ADMINISTRATOR, "Ends a token")
        .destroys()
        .does(|call| call.admin().end_token(call.who()?, call.name()).map(|()| Reply::nothing())),
    get("approvals", "/approvals", OPERATOR, "What waits for a second person")
        .gives::<Vec<ApprovalView>>()
        .does(|call| json(call.admin().approvals())),
    post(
        "settleApproval",
        "/approvals/{id}",
        ADMINISTRATOR,
        "Agrees as the second person, or refuses",
    )
    .takes::<ApprovalAnswer>()
    .gives::<Settled>()
    .does(settle),
    get("audit", "/audit", ADMINISTRATOR, "What was done, the newest first")
        .query(&[
            parameter("before", Kind::Number(u64::MAX), "Older than this number"),
            parameter(
                "limit",
                Kind::Number(ENTRIES_MAX),
                "At most so many; 100 where nothing is said",
            ),
        ])
        .gives::<AuditPage>()
        .does(|call| {
            let limit = call.number("limit", ENTRIES_MAX)?.unwrap_or(ENTRIES);
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            json(call.admin().audit(call.number("before", u64::MAX)?, limit))
        }),
    get(
        "hosts",
        "/hosts",
        VIEWER,
        "Names by which browsers may ask, beside addresses and the machine's own",
    )
    .gives::<HostNames>()
    .does(|call| json(call.admin().hosts())),
    put("setHosts", "/hosts", ADMINISTRATOR, "Changes them")
        .takes::<HostNames>()
        .gives::<HostNames>()
        .does(|call| json(call.admin().set_hosts(call.who()?, &call.json()?))),
];

/// The answer to somebody whose session begins.
pub(super) fn began(begun: &Begun) -> Answer<Reply> {
    let cookie = format!("{COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Strict", begun.cookie);
    Ok(json_of(200, &begun.view)?.with("set-cookie", cookie))
}

/// A session's view is made by who keeps sessions; a token's is its name and role.
fn who(call: &Call<'_>) -> Answer<Reply> {
    let who = call.who()?;
    let csrf = who.csrf.clone();
    let view = SessionView { name: who.caller.name.clone(), role: who.caller.role, csrf };
    json_of(200, &view)
}

/// What was agreed to is done now, and what came of it is told to both: here, and by the approval.
fn settle(call: &Call<'_>) -> Answer<Reply> {
    let asked: ApprovalAnswer = call.json()?;
    let (approval, deed) = call.admin().settle(call.who()?, call.name(), asked.grant)?;
    let Some(deed) = deed else {
        return json_of(200, &Settled { approval, answer: None });
    };
    let streams = super::all()
        .any(|route| route.id == deed.operation && matches!(route.gives, Gives::Lines(_)));
    if streams {
        call.admin().leave_to_asker(&approval.id);
        return json_of(200, &Settled { approval, answer: None });
    }
    let reply = carry_out(&deed, call).unwrap_or_else(|refusal| problem(&refusal));
    let approval = call.admin().came_of(&approval.id, reply.status).unwrap_or(approval);
    let Body::Bytes(bytes) = reply.body else {
        return Err(Refusal::new(500, "the approval", "was answered by what cannot be told"));
    };
    json_of(200, &Settled { approval, answer: serde_json::from_slice(&bytes).ok() })
}
