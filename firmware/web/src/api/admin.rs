//! Who may manage the appliance, and what they did: what answers behind users, sessions, tokens, approvals and the audit log.

use core::net::IpAddr;

use super::call::Who;
use super::site::{Answer, Caller};
use super::views::admin::{
    ApprovalView, AuditPage, HostNames, LogIn, PasswordAsked, RoleAsked, SessionRow, SessionView,
    TokenAsked, TokenMade, TokenView, UserAsked, UserView,
};

/// From where somebody asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The address of the connection.
    pub address: IpAddr,
    /// What the client calls itself.
    pub agent: String,
}

/// A session that began.
#[derive(Clone, PartialEq, Eq)]
pub struct Begun {
    /// What the client is told.
    pub view: SessionView,
    /// What the cookie holds: a secret.
    pub cookie: String,
}

impl core::fmt::Debug for Begun {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Begun").field("name", &self.view.name).finish_non_exhaustive()
    }
}

/// What is to be done once a second person agrees: the request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// The operation's ID.
    pub operation: String,
    /// On which object.
    pub object: String,
    /// What is to be done, in a sentence.
    pub words: String,
    /// The path below `/api/v1`, as it came.
    pub path: String,
    /// The query, as it came.
    pub query: String,
    /// The body.
    pub body: Vec<u8>,
    /// Who asks.
    pub by: Who,
}

/// Whether something that needs a second person may be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum Permission {
    /// A second person agreed to this very request.
    Given,
    /// Somebody has to agree first.
    Waits(ApprovalView),
}

/// Who may manage the appliance. Calls may block, as those of a [`super::Site`]; roles are looked at before.
pub trait Admin: Send + Sync {
    /// Somebody comes in with a password.
    fn log_in(&self, from: &Origin, asked: &LogIn) -> Answer<Begun>;
    /// A session for somebody who has shown otherwise who they are.
    fn begin(&self, from: &Origin, caller: &Caller) -> Answer<Begun>;
    /// Whether this origin may try a secret now, and what is to be noted where it was wrong or right.
    fn may_try(&self, from: &Origin) -> Answer<()>;
    /// It tried.
    fn tried(&self, from: &Origin, was_right: bool);
    /// Sessions: one's own, or of all for an administrator.
    fn sessions(&self, by: &Who) -> Answer<Vec<SessionRow>>;
    /// One of them ends; without a name the one that asks.
    fn end_session(&self, by: &Who, id: Option<&str>) -> Answer<()>;

    /// Users.
    fn users(&self) -> Answer<Vec<UserView>>;
    /// One more.
    fn add_user(&self, by: &Who, asked: &UserAsked) -> Answer<UserView>;
    /// One less; the last administrator stays. Sessions and tokens of it end.
    fn remove_user(&self, by: &Who, name: &str) -> Answer<()>;
    /// What one of them may do; the last administrator stays one. Sessions and tokens may no more from then on.
    fn set_role(&self, by: &Who, name: &str, asked: &RoleAsked) -> Answer<()>;
    /// A password: one's own with the old one, anybody's by an administrator. Other sessions of the user end.
    fn set_password(
        &self,
        by: &Who,
        from: &Origin,
        name: &str,
        asked: &PasswordAsked,
    ) -> Answer<()>;

    /// Tokens.
    fn tokens(&self) -> Answer<Vec<TokenView>>;
    /// One more, with no more to do than who makes it.
    fn make_token(&self, by: &Who, asked: &TokenAsked) -> Answer<TokenMade>;
    /// It ends.
    fn end_token(&self, by: &Who, id: &str) -> Answer<()>;

    /// What waits for a second person, and what became of what waited lately.
    fn approvals(&self) -> Answer<Vec<ApprovalView>>;
    /// Whether a deed may be done now; where not, it is remembered, and another person may agree.
    fn permit(&self, deed: Deed) -> Answer<Permission>;
    /// Another person agrees or refuses. The deed is to be done now where one is answered.
    fn settle(&self, by: &Who, id: &str, grant: bool) -> Answer<(ApprovalView, Option<Deed>)>;
    /// The request that agreement was given for is to be sent again by who asked, once, instead of being done at once.
    fn leave_to_asker(&self, id: &str);
    /// What came of a deed.
    fn came_of(&self, id: &str, outcome: u16) -> Option<ApprovalView>;

    /// What was done, the newest first.
    fn audit(&self, before: Option<u64>, limit: usize) -> Answer<AuditPage>;
    /// Names by which browsers may ask.
    fn hosts(&self) -> Answer<HostNames>;
    /// The same, changed.
    fn set_hosts(&self, by: &Who, hosts: &HostNames) -> Answer<HostNames>;
}
