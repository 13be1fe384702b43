//! Sessions: in memory alone, known by the hash of what the cookie holds. They do not outlive the program.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use firmware_web::api::views::admin::SessionRow;

/// Without use it ends after this, in nanoseconds; and after that in any case.
pub const IDLE_NANOS: u64 = 30 * 60 * 1_000_000_000;
/// See `IDLE_NANOS`.
pub const LIFE_NANOS: u64 = 12 * 60 * 60 * 1_000_000_000;
/// Sessions of one user, and in all; the one that was not used for longest makes room.
const OF_USER_MAX: usize = 16;
const ALL_MAX: usize = 256;
/// Bytes of a secret.
pub const SECRET_BYTES: usize = 32;
/// Longest name of a browser that is remembered, in letters.
const AGENT_LETTERS_MAX: usize = 120;

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions(BTreeMap<Key, Session>);

/// What a secret is known by.
type Key = [u8; 32];

#[derive(Clone)]
struct Session {
    id: String,
    user: String,
    csrf: String,
    began: Moment,
    used: Moment,
    address: String,
    agent: String,
}

impl core::fmt::Debug for Session {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Session").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A moment by both clocks: one to reckon with, one to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds of the clock that only runs forwards.
    pub nanos: u64,
    /// Milliseconds since 1970.
    pub millis: u64,
}

/// A session that is to begin.
#[derive(Clone, Copy, Debug)]
pub struct Beginning<'a> {
    /// Whose.
    pub user: &'a str,
    /// From where.
    pub address: &'a str,
    /// What the browser calls itself.
    pub agent: &'a str,
}

/// A session that stands.
#[derive(Clone, PartialEq, Eq)]
pub struct Standing {
    /// By which it is ended.
    pub id: String,
    /// Whose.
    pub user: String,
    /// What changing requests carry.
    pub csrf: String,
}

impl Sessions {
    /// One begins, with these random bytes for cookie and word. Gives the cookie.
    pub fn begin(
        &mut self,
        secrets: &[[u8; SECRET_BYTES]; 2],
        beginning: &Beginning<'_>,
        now: Moment,
    ) -> (String, Standing) {
        self.end_stale(now.nanos);
        self.make_room(beginning.user);
        let [cookie, csrf] = secrets.map(|secret| URL_SAFE_NO_PAD.encode(secret));
        let key = key(&cookie);
        let session = Session {
            // The hash says nothing of the cookie, and so its beginning may be shown.
            id: blake3::Hash::from(key).to_hex().chars().take(16).collect(),
            user: beginning.user.to_owned(),
            csrf,
            began: now,
            used: now,
            address: beginning.address.to_owned(),
            agent: beginning.agent.chars().take(AGENT_LETTERS_MAX).collect(),
        };
        let standing = session.standing();
        self.0.insert(key, session);
        (cookie, standing)
    }

    /// The session of a cookie, which is used by that unless it only watches.
    pub fn find(&mut self, cookie: &str, now: u64, uses: bool) -> Option<Standing> {
        let key = key(cookie);
        let session = self.0.get_mut(&key)?;
        if session.is_over(now) {
            self.0.remove(&key);
            return None;
        }
        if uses {
            let passed = now.saturating_sub(session.used.nanos);
            session.used.nanos = now;
            session.used.millis = session.used.millis.saturating_add(passed / 1_000_000);
        }
        Some(session.standing())
    }

    /// Whether a session still stands, by what it is ended by.
    #[must_use]
    pub fn stands(&self, id: &str, now: u64) -> bool {
        self.0.values().any(|session| session.id == id && !session.is_over(now))
    }

    /// Sessions that stand, the newest first; of one user, or of all.
    pub fn all(&mut self, of: Option<&str>, own: Option<&str>, now: u64) -> Vec<SessionRow> {
        self.end_stale(now);
        let sessions = self.0.values().filter(|session| of.is_none_or(|user| session.user == user));
        let mut rows: Vec<SessionRow> = sessions.map(|session| session.row(own)).collect();
        rows.sort_by_key(|row| core::cmp::Reverse(row.began_millis));
        rows
    }

    /// Whose session this is.
    #[must_use]
    pub fn user_of(&self, id: &str) -> Option<&str> {
        self.0.values().find(|session| session.id == id).map(|session| session.user.as_str())
    }

    /// It ends.
    pub fn end(&mut self, id: &str) {
        self.0.retain(|_, session| session.id != id);
    }

    /// All of a user end, but this one.
    pub fn end_of(&mut self, user: &str, but: Option<&str>) {
        self.0.retain(|_, session| session.user != user || Some(session.id.as_str()) == but);
    }

    fn end_stale(&mut self, now: u64) {
        self.0.retain(|_, session| !session.is_over(now));
    }

    fn make_room(&mut self, user: &str) {
        loop {
            let of_user = self.0.values().filter(|session| session.user == user).count();
            let whose = if of_user >= OF_USER_MAX { Some(user) } else { None };
            if whose.is_none() && self.0.len() < ALL_MAX {
                return;
            }
            let stalest = self
                .0
                .iter()
                .filter(|(_, session)| whose.is_none_or(|user| session.user == user))
                .min_by_key(|(_, session)| session.used.nanos)
                .map(|(key, _)| *key);
            let Some(stalest) = stalest else { return };
            self.0.remove(&stalest);
        }
    }
}

impl Session {
    fn is_over(&self, now: u64) -> bool {
        now.saturating_sub(self.used.nanos) > IDLE_NANOS
            || now.saturating_sub(self.began.nanos) > LIFE_NANOS
    }

    fn standing(&self) -> Standing {
        Standing { id: self.id.clone(), user: self.user.clone(), csrf: self.csrf.clone() }
    }

    fn row(&self, own: Option<&str>) -> SessionRow {
        SessionRow {
            id: self.id.clone(),
            name: self.user.clone(),
            began_millis: self.began.millis,
            used_millis: self.used.millis,
            address: self.address.clone(),
            agent: self.agent.clone(),
            own: own == Some(self.id.as_str()),
        }
    }
}

fn key(cookie: &str) -> Key {
    *blake3::hash(cookie.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(sessions: &mut Sessions, user: &str, seed: u8, nanos: u64) -> String {
        let beginning = Beginning { user, address: "192.0.2.1", agent: "test" };
        let secrets = [[seed; SECRET_BYTES], [seed.wrapping_add(100); SECRET_BYTES]];
        sessions.begin(&secrets, &beginning, Moment { nanos, millis: 0 }).0
    }

    #[test]
    fn a_session_ends_without_use_and_in_any_case() {
        let mut sessions = Sessions::default();
        let cookie = begin(&mut sessions, "anna", 1, 0);
        assert_eq!(cookie.len(), 43);
        assert!(sessions.find("nonsense", 0, true).is_none());
        let mut now = 0;
        while now + IDLE_NANOS <= LIFE_NANOS {
            now += IDLE_NANOS;
            assert!(sessions.find(&cookie, now, true).is_some(), "used in time");
        }
        assert!(sessions.find(&cookie, LIFE_NANOS + 1, true).is_none());
        let cookie = begin(&mut sessions, "anna", 2, 0);
        assert!(sessions.find(&cookie, IDLE_NANOS, false).is_some(), "who only watches");
        assert!(sessions.find(&cookie, IDLE_NANOS + 1, true).is_none(), "has not used it");
    }

    #[test]
    fn sessions_are_shown_and_ended_each_by_itself() {
        let mut sessions = Sessions::default();
        let one = begin(&mut sessions, "anna", 1, 0);
        let two = begin(&mut sessions, "anna", 2, 0);
        let bert = begin(&mut sessions, "bert", 3, 0);
        let id = sessions.find(&one, 0, true).unwrap().id;
        assert_eq!(sessions.all(Some("anna"), Some(&id), 0).len(), 2);
        assert_eq!(sessions.all(None, Some(&id), 0).iter().filter(|row| row.own).count(), 1);
        sessions.end_of("anna", Some(&id));
        assert!(sessions.find(&two, 0, true).is_none() && sessions.stands(&id, 0));
        sessions.end(&id);
        assert!(sessions.find(&one, 0, true).is_none());
        assert!(sessions.find(&bert, 0, true).is_some());
        assert!(!format!("{sessions:?}").contains(&bert));
    }

    #[test]
    fn many_sessions_take_little_memory_and_one_user_ends_its_own() {
        let mut sessions = Sessions::default();
        let bert = begin(&mut sessions, "bert", 250, 0);
        for seed in 0..40 {
            begin(&mut sessions, "anna", seed, u64::from(seed) + 1);
        }
        assert_eq!(sessions.all(Some("anna"), None, 50).len(), OF_USER_MAX);
        assert!(sessions.find(&bert, 50, true).is_some());
    }
}
