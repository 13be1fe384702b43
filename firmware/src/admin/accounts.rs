//! Who may manage the appliance: users, sessions, tokens, approvals, names of the machine and the audit log, as the API asks for
//! them.

use core::net::IpAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use firmware_web::api::admin::{Begun, Deed, Origin, Permission};
use firmware_web::api::routes::role_word;
use firmware_web::api::views::admin::{
    ApprovalView, AuditPage, HostNames, LogIn, PasswordAsked, RoleAsked, SessionRow, SessionView,
    TokenAsked, TokenMade, TokenView, UserAsked, UserView,
};
use firmware_web::api::{Admin, Answer, Caller, Refusal, Role, Who};
use hal::time::{Clock, Entropy};

use super::approvals::Approvals;
use super::audit::{Audit, Noted, Room};
use super::hosts;
use super::keep::Keep;
use super::sessions::{Beginning, Moment, SECRET_BYTES, Sessions};
use super::throttle::Throttle;
use super::tokens::Tokens;
use super::users::Users;

/// Guesses that wait for their turn; one at a time is made, each takes memory.
const GUESSES_MAX: usize = 16;

/// Users, sessions, tokens, approvals, audit log.
pub struct Accounts {
    users: Users,
    tokens: Tokens,
    keep: Arc<dyn Keep>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    audit: Audit,
    sessions: Mutex<Sessions>,
    approvals: Mutex<Approvals>,
    throttle: Mutex<Throttle>,
    guessing: Mutex<()>,
    guesses: AtomicUsize,
}

impl Accounts {
    /// Those that are kept there.
    #[must_use]
    pub fn new(
        keep: Arc<dyn Keep>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        room: Room,
    ) -> Self {
        let parts = || (Arc::clone(&keep), Arc::clone(&clock), Arc::clone(&entropy));
        let (users, tokens) = (parts(), parts());
        Self {
            users: Users::new(users.0, users.1, users.2),
            tokens: Tokens::new(tokens.0, tokens.1, tokens.2),
            audit: Audit::open(Arc::clone(&keep), Arc::clone(&clock), room),
            keep,
            clock,
            entropy,
            sessions: Mutex::default(),
            approvals: Mutex::default(),
            throttle: Mutex::default(),
            guessing: Mutex::default(),
            guesses: AtomicUsize::new(0),
        }
    }

    /// The users themselves, for first run and the verb `user`.
    #[must_use]
    pub fn everybody(&self) -> &Users {
        &self.users
    }

    /// Every user, session and token goes, as somebody at the console wants it. Who they were.
    pub fn forget_everybody(&self) -> Answer<Vec<String>> {
        let names: Vec<String> = self.users.all()?.into_iter().map(|user| user.name).collect();
        for name in &names {
            self.sessions().end_of(name, None);
            self.tokens.end_of(name)?;
        }
        self.users.forget_all()?;
        Ok(names)
    }

    /// Notes what was done.
    pub fn note(&self, noted: &Noted<'_>) {
        self.audit.note(noted);
    }

    /// Who has this cookie. `uses`: a person is at it, so that the session goes on.
    pub fn by_cookie(&self, cookie: &str, uses: bool) -> Answer<Option<Who>> {
        let Some(standing) = self.sessions().find(cookie, self.nanos(), uses) else {
            return Ok(None);
        };
        let Some(user) = self.users.find(&standing.user)? else {
            // It went by another way than ours: the verb, on the same folder.
            self.sessions().end_of(&standing.user, None);
            return Ok(None);
        };
        let caller = Caller { name: user.name.clone(), role: user.role };
        let (session, csrf) = (Some(standing.id), standing.csrf);
        Ok(Some(Who { caller, user: user.name, session, csrf }))
    }

    /// Who has this token. One whose maker may do less now does no more than that.
    pub fn by_token(&self, token: &str) -> Answer<Option<Who>> {
        let Some(found) = self.tokens.find(token)? else { return Ok(None) };
        let Some(maker) = self.users.find(&found.by)? else { return Ok(None) };
        let role = found.role.min(maker.role);
        let caller = Caller { name: found.name, role };
        Ok(Some(Who { caller, user: found.by, session: None, csrf: String::new() }))
    }

    /// Whether whoever this is may still do what they may.
    #[must_use]
    pub fn still(&self, who: &Who) -> bool {
        let session = who.session.as_deref();
        let stands = session.is_none_or(|id| self.sessions().stands(id, self.nanos()));
        let by_user = || self.users.find(&who.user).ok().flatten();
        let by_token = || self.tokens.stands(&who.user, &who.caller.name).unwrap_or(false);
        stands
            && by_user().is_some_and(|user| user.role >= who.caller.role)
            && (session.is_some() || by_token())
    }

    /// Whether a browser may call the machine so: an administrator said so.
    #[must_use]
    pub fn is_host(&self, name: &str) -> bool {
        hosts::read(&*self.keep)
            .is_ok_and(|hosts| hosts.names.iter().any(|known| known.eq_ignore_ascii_case(name)))
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn approvals(&self) -> MutexGuard<'_, Approvals> {
        self.approvals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nanos(&self) -> u64 {
        self.clock.monotonic_nanos()
    }

    fn secret(&self) -> Answer<[u8; SECRET_BYTES]> {
        let mut secret = [0; SECRET_BYTES];
        self.entropy
            .fill(&mut secret)
            .map_err(|error| Refusal::new(503, "this machine", error.to_string()))?;
        Ok(secret)
    }

    /// A password is tried, in its turn and not too often.
    fn guess(&self, name: &str, password: &str, address: IpAddr) -> Answer<Option<UserView>> {
        /// Gone from the queue, however it ends.
        struct Turn<'a>(&'a AtomicUsize);
        impl Drop for Turn<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let before = self.guesses.fetch_add(1, Ordering::Relaxed);
        let _turn = Turn(&self.guesses);
        if before >= GUESSES_MAX {
            return Err(Refusal::new(503, "logging in", "is tried by too many at once")
                .remedy("try again in a moment"));
        }
        let _one = self.guessing.lock().unwrap_or_else(PoisonError::into_inner);
        // Behind the queue: whoever sends many at once is held up by the first of them.
        self.may(Some(name), address)?;
        let user = self.users.known(name, password)?;
        match &user {
            Some(user) => self.throttle().succeeded(Some(&user.name), address),
            None => self.throttle().failed(Some(name), address, self.nanos()),
        }
        Ok(user)
    }

    fn may(&self, name: Option<&str>, address: IpAddr) -> Answer<()> {
        self.throttle().may(name, address, self.nanos()).map_err(|seconds| {
            Refusal::new(429, "logging in", "was tried too often in vain")
                .remedy(format!("try again in {seconds} s"))
                .retry_after(seconds)
        })
    }

    fn begun(&self, from: &Origin, name: String, role: Role) -> Answer<Begun> {
        let secrets = [self.secret()?, self.secret()?];
        let address = from.address.to_string();
        let beginning = Beginning { user: &name, address: &address, agent: &from.agent };
        let now = Moment { nanos: self.nanos(), millis: self.clock.now().0 };
        let (cookie, standing) = self.sessions().begin(&secrets, &beginning, now);
        Ok(Begun { view: SessionView { name, role, csrf: standing.csrf }, cookie })
    }
}

impl Admin for Accounts {
    fn log_in(&self, from: &Origin, asked: &LogIn) -> Answer<Begun> {
        let user = self.guess(&asked.name, asked.password.expose(), from.address)?;
        // The same words whether there is somebody of that name or not.
        let wrong = || Refusal::new(401, "name or password", "is wrong").at("/password");
        let user = user.ok_or_else(wrong)?;
        self.begun(from, user.name, user.role)
    }

    fn begin(&self, from: &Origin, caller: &Caller) -> Answer<Begun> {
        self.begun(from, caller.name.clone(), caller.role)
    }

    fn may_try(&self, from: &Origin) -> Answer<()> {
        self.may(None, from.address)
    }

    fn tried(&self, from: &Origin, was_right: bool) {
        if was_right {
            self.throttle().succeeded(None, from.address);
        } else {
            self.throttle().failed(None, from.address, self.nanos());
        }
    }

    fn sessions(&self, by: &Who) -> Answer<Vec<SessionRow>> {
        let of = (by.caller.role < Role::Administrator).then_some(by.user.as_str());
        Ok(self.sessions().all(of, by.session.as_deref(), self.nanos()))
    }

    fn end_session(&self, by: &Who, id: Option<&str>) -> Answer<()> {
        let Some(id) = id.or(by.session.as_deref()) else {
            return Err(Refusal::new(409, "a token", "has no session to end"));
        };
        let mut sessions = self.sessions();
        let may = |user: &str| by.caller.role == Role::Administrator || user == by.user;
        // Somebody else's is not there, for who may not end it.
        if !sessions.user_of(id).is_some_and(may) {
            return Err(Refusal::new(404, format!("session {id}"), "is not there"));
        }
        sessions.end(id);
        Ok(())
    }

    fn users(&self) -> Answer<Vec<UserView>> {
        self.users.all()
    }

    fn add_user(&self, by: &Who, asked: &UserAsked) -> Answer<UserView> {
        self.users.add(&by.caller.name, &asked.name, asked.role, asked.password.expose())
    }

    fn remove_user(&self, _: &Who, name: &str) -> Answer<()> {
        self.users.remove(name)?;
        self.sessions().end_of(name, None);
        self.tokens.end_of(name)
    }

    fn set_role(&self, _: &Who, name: &str, asked: &RoleAsked) -> Answer<()> {
        self.users.set_role(name, asked.role)
    }

    fn set_password(
        &self,
        by: &Who,
        from: &Origin,
        name: &str,
        asked: &PasswordAsked,
    ) -> Answer<()> {
        if by.user == name && by.session.is_some() {
            // A browser that was left open must not be enough to take the user over.
            let old = asked.old.as_ref().map_or("", |old| old.expose());
            if self.guess(name, old, from.address)?.is_none() {
                return Err(Refusal::new(422, "the old password", "is wrong").at("/old"));
            }
        } else if by.caller.role < Role::Administrator {
            let words = format!("is changed by its user or an {}", role_word(Role::Administrator));
            return Err(Refusal::new(403, format!("the password of {name}"), words));
        }
        self.users.set_password(name, asked.password.expose())?;
        let own = by.session.as_deref().filter(|_| by.user == name);
        self.sessions().end_of(name, own);
        Ok(())
    }

    fn tokens(&self) -> Answer<Vec<TokenView>> {
        self.tokens.all()
    }

    fn make_token(&self, by: &Who, asked: &TokenAsked) -> Answer<TokenMade> {
        if asked.role > by.caller.role {
            let words = format!("may give no more than its own role {}", role_word(by.caller.role));
            return Err(
                Refusal::new(403, format!("the caller {}", by.caller.name), words).at("/role")
            );
        }
        self.tokens.make(&by.user, asked)
    }

    fn end_token(&self, _: &Who, id: &str) -> Answer<()> {
        self.tokens.end(id)
    }

    fn approvals(&self) -> Answer<Vec<ApprovalView>> {
        Ok(self.approvals().all(self.clock.now().0))
    }

    fn permit(&self, deed: Deed) -> Answer<Permission> {
        let id = self.secret()?;
        let id = blake3::hash(&id).to_hex().chars().take(16).collect();
        self.approvals().permit(deed, id, self.clock.now().0)
    }

    fn settle(&self, by: &Who, id: &str, grant: bool) -> Answer<(ApprovalView, Option<Deed>)> {
        let asker = self.approvals().asked_by(id).cloned();
        if let Some(asker) = asker.filter(|_| grant) {
            // Whoever asked may have been put out since.
            let user = self.users.find(&asker.user)?;
            let by_token = asker.session.is_none();
            if user.is_none_or(|user| user.role < asker.caller.role)
                || (by_token && !self.tokens.stands(&asker.user, &asker.caller.name)?)
            {
                let words = format!("was asked for by {}, who may no longer", asker.caller.name);
                return Err(Refusal::new(409, format!("approval {id}"), words));
            }
        }
        self.approvals().settle(by, id, grant, self.clock.now().0)
    }

    fn leave_to_asker(&self, id: &str) {
        self.approvals().leave_to_asker(id);
    }

    fn came_of(&self, id: &str, outcome: u16) -> Option<ApprovalView> {
        self.approvals().came_of(id, outcome)
    }

    fn audit(&self, before: Option<u64>, limit: usize) -> Answer<AuditPage> {
        self.audit.page(before, limit)
    }

    fn hosts(&self) -> Answer<HostNames> {
        hosts::read(&*self.keep)
    }

    fn set_hosts(&self, _: &Who, names: &HostNames) -> Answer<HostNames> {
        hosts::write(&*self.keep, names)
    }
}

#[cfg(test)]
mod tests;
