//! Users: names, roles, and what is kept of their passwords, in the document `users`.
//!
//! It is read anew each time, so that the verb `user` and a running `serve` see the same.

use std::sync::{Arc, Mutex, PoisonError};

use firmware_web::api::views::admin::UserView;
use firmware_web::api::{Answer, Refusal, Role};
use hal::time::{Clock, Entropy};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::keep::Keep;
use super::passwords::{self, Kept};

const DOCUMENT: &str = "users";
const VERSION: u32 = 1;
/// Users at most.
const USERS_MAX: usize = 64;
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Users.
pub struct Users {
    keep: Arc<dyn Keep>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// One change at a time.
    changing: Mutex<()>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    users: Vec<User>,
}

/// A user as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct User {
    name: String,
    role: Role,
    made_millis: u64,
    by: String,
    password: Kept,
}

impl User {
    fn view(&self) -> UserView {
        let User { name, role, made_millis, by, .. } = self.clone();
        UserView { name, role, made_millis, by }
    }
}

/// A name as users and tokens have it.
pub fn check_name(name: &str) -> Answer<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        let words =
            format!("is not 1 to {NAME_BYTES_MAX} of the letters a to z, digits, -, _, . and @");
        return Err(Refusal::new(422, "the name", words).at("/name"));
    }
    Ok(())
}

impl Users {
    /// Those that are kept there.
    #[must_use]
    pub fn new(keep: Arc<dyn Keep>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { keep, clock, entropy, changing: Mutex::default() }
    }

    /// All of them, by name.
    pub fn all(&self) -> Answer<Vec<UserView>> {
        Ok(self.read()?.iter().map(User::view).collect())
    }

    /// One of them.
    pub fn find(&self, name: &str) -> Answer<Option<UserView>> {
        Ok(self.read()?.iter().find(|user| user.name == name).map(User::view))
    }

    /// Whether nobody was let in yet.
    pub fn is_empty(&self) -> Answer<bool> {
        Ok(self.read()?.is_empty())
    }

    /// The user whose password this is. A name that nobody has costs the same.
    pub fn known(&self, name: &str, password: &str) -> Answer<Option<UserView>> {
        let user = self.read()?.into_iter().find(|user| user.name == name);
        let kept = user.as_ref().map_or_else(Kept::of_nobody, |user| user.password.clone());
        let right = kept.is(password);
        Ok(user.filter(|_| right).map(|user| user.view()))
    }

    /// One more.
    pub fn add(&self, by: &str, name: &str, role: Role, password: &str) -> Answer<UserView> {
        self.insert(by, name, role, password, |users| {
            match users.iter().any(|user| user.name.eq_ignore_ascii_case(name)) {
                true => {
                    Err(Refusal::new(409, format!("user {name}"), "is there already").at("/name"))
                }
                false => Ok(()),
            }
        })
    }

    /// The first of all, an administrator: refused where there is one.
    pub fn add_first(&self, name: &str, password: &str) -> Answer<UserView> {
        self.insert("first run", name, Role::Administrator, password, |users| {
            match users.is_empty() {
                true => Ok(()),
                false => Err(Refusal::new(409, "this machine", "has an administrator already")
                    .remedy("log in")),
            }
        })
    }

    /// One more, or the same with another role and password.
    pub fn put(&self, by: &str, name: &str, role: Role, password: &str) -> Answer<UserView> {
        self.insert(by, name, role, password, |users| {
            users.retain(|user| !user.name.eq_ignore_ascii_case(name));
            Ok(())
        })
    }

    fn insert(
        &self,
        by: &str,
        name: &str,
        role: Role,
        password: &str,
        may: impl FnOnce(&mut Vec<User>) -> Answer<()>,
    ) -> Answer<UserView> {
        check_name(name)?;
        passwords::check(name, password)?;
        let user = User {
            name: name.to_owned(),
            role,
            made_millis: self.clock.now().0,
            by: by.to_owned(),
            password: Kept::new(password, &*self.entropy)?,
        };
        let view = user.view();
        self.change(|users| {
            may(users)?;
            if users.len() >= USERS_MAX {
                return Err(Refusal::new(409, "users", format!("are {USERS_MAX} already")));
            }
            users.push(user);
            Ok(())
        })?;
        Ok(view)
    }

    /// One less.
    pub fn remove(&self, name: &str) -> Answer<()> {
        self.change(|users| {
            let before = users.len();
            users.retain(|user| user.name != name);
            if users.len() == before { Err(not_there(name)) } else { Ok(()) }
        })
    }

    /// Nobody is left: only who stands at the machine may want that.
    pub fn forget_all(&self) -> Answer<()> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        write(&*self.keep, DOCUMENT, &Document { version: VERSION, users: Vec::new() })
    }

    /// Another password.
    pub fn set_password(&self, name: &str, password: &str) -> Answer<()> {
        passwords::check(name, password)?;
        let kept = Kept::new(password, &*self.entropy)?;
        self.change(|users| {
            let user = users.iter_mut().find(|user| user.name == name);
            user.ok_or_else(|| not_there(name))?.password = kept;
            Ok(())
        })
    }

    /// What somebody may do.
    pub fn set_role(&self, name: &str, role: Role) -> Answer<()> {
        self.change(|users| {
            let user = users.iter_mut().find(|user| user.name == name);
            user.ok_or_else(|| not_there(name))?.role = role;
            Ok(())
        })
    }

    /// An administrator always remains, once there was one.
    fn change(&self, change: impl FnOnce(&mut Vec<User>) -> Answer<()>) -> Answer<()> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let rules = |users: &[User]| users.iter().any(|user| user.role == Role::Administrator);
        let mut users = self.read()?;
        let ruled = rules(&users);
        change(&mut users)?;
        if ruled && !rules(&users) {
            return Err(Refusal::new(409, "the last administrator", "cannot be taken away")
                .remedy("make another user an administrator first"));
        }
        users.sort_by(|one, other| one.name.cmp(&other.name));
        write(&*self.keep, DOCUMENT, &Document { version: VERSION, users })
    }

    fn read(&self) -> Answer<Vec<User>> {
        let document: Option<Document> = read(&*self.keep, DOCUMENT)?;
        Ok(document.map_or_else(Vec::new, |document| document.users))
    }
}

fn not_there(name: &str) -> Refusal {
    Refusal::new(404, format!("user {name}"), "is not there")
}

/// A document as JSON. One that cannot be read is no empty one: nobody gets in before it is mended.
pub(super) fn read<T: DeserializeOwned>(keep: &dyn Keep, name: &str) -> Answer<Option<T>> {
    let failed = |words: String| {
        log::error!("document {name}: {words}");
        Refusal::new(503, format!("document {name}"), "cannot be read")
            .remedy("see the log of the machine")
    };
    let bytes = keep.read(name).map_err(|error| failed(error.to_string()))?;
    let Some(bytes) = bytes else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(error.to_string()))
}

/// Writes a document as JSON.
pub(super) fn write<T: Serialize>(keep: &dyn Keep, name: &str, document: &T) -> Answer<()> {
    let failed = |words: String| Refusal::new(503, format!("document {name}"), words);
    let bytes = serde_json::to_vec(document).map_err(|error| failed(error.to_string()))?;
    keep.write(name, &bytes).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use hal_linux::{SystemClock, SystemEntropy};

    use super::*;
    use crate::admin::keep::MemoryKeep;

    const PASSWORD: &str = "correct horse";

    fn users() -> (Arc<MemoryKeep>, Users) {
        let keep = Arc::new(MemoryKeep::default());
        let users = Users::new(
            Arc::clone(&keep) as Arc<dyn Keep>,
            Arc::new(SystemClock),
            Arc::new(SystemEntropy),
        );
        (keep, users)
    }

    #[test]
    fn the_first_is_an_administrator_and_there_is_one_first() {
        let (_, users) = users();
        assert!(users.is_empty().unwrap());
        let first = users.add_first("anna", PASSWORD).unwrap();
        assert_eq!((first.role, users.is_empty().unwrap()), (Role::Administrator, false));
        assert_eq!(users.add_first("eve", PASSWORD).unwrap_err().status, 409);
        assert!(users.known("anna", PASSWORD).unwrap().is_some());
        for (name, password) in [("anna", "wrong horse!"), ("Anna", PASSWORD), ("eve", PASSWORD)] {
            assert_eq!(users.known(name, password).unwrap(), None, "{name}");
        }
    }

    #[test]
    fn an_administrator_always_remains() {
        let (_, users) = users();
        users.add_first("anna", PASSWORD).unwrap();
        users.add("anna", "bert", Role::Operator, PASSWORD).unwrap();
        assert_eq!(users.remove("anna").unwrap_err().status, 409);
        assert_eq!(users.put("anna", "anna", Role::Viewer, PASSWORD).unwrap_err().status, 409);
        assert_eq!(users.all().unwrap().len(), 2);
        users.add("anna", "carl", Role::Administrator, PASSWORD).unwrap();
        users.remove("anna").unwrap();
        assert_eq!(users.remove("anna").unwrap_err().status, 404);
    }

    #[test]
    fn names_are_plain_and_told_apart() {
        let (_, users) = users();
        users.add_first("anna", PASSWORD).unwrap();
        for wrong in ["", "a b", "<script>", "a\n", "ä", &"a".repeat(65)] {
            let refused = users.add("anna", wrong, Role::Viewer, PASSWORD).unwrap_err();
            assert_eq!((refused.status, refused.field.as_deref()), (422, Some("/name")));
        }
        assert_eq!(users.add("anna", "ANNA", Role::Viewer, PASSWORD).unwrap_err().status, 409);
    }

    #[test]
    fn no_password_is_kept_and_a_damaged_document_lets_nobody_in() {
        let (keep, users) = users();
        users.add_first("anna", PASSWORD).unwrap();
        let text = String::from_utf8(keep.read(DOCUMENT).unwrap().unwrap()).unwrap();
        assert!(!text.contains(PASSWORD));
        keep.write(DOCUMENT, b"{").unwrap();
        assert_eq!(users.known("anna", PASSWORD).unwrap_err().status, 503);
        assert_eq!(users.is_empty().unwrap_err().status, 503);
        assert_eq!(users.add_first("eve", PASSWORD).unwrap_err().status, 503);
    }

    #[test]
    fn all_users_fit_into_a_document() {
        let (_, users) = users();
        users.add_first("anna", PASSWORD).unwrap();
        let long = "x".repeat(NAME_BYTES_MAX - 2);
        let user = |number: usize| User {
            name: format!("{long}{number:02}"),
            role: Role::Administrator,
            made_millis: u64::MAX,
            by: "y".repeat(NAME_BYTES_MAX),
            password: Kept::new(PASSWORD, &SystemEntropy).unwrap(),
        };
        let one = user(0);
        users
            .change(|all| {
                all.extend(
                    (1..USERS_MAX)
                        .map(|number| User { name: format!("{long}{number:02}"), ..one.clone() }),
                );
                Ok(())
            })
            .unwrap();
        assert_eq!(users.add("anna", "one", Role::Viewer, PASSWORD).unwrap_err().status, 409);
    }
}
