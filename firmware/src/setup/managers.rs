//! Who manages the machine: the users that the API knows.

use firmware_web::api::setup::Secret;
use firmware_web::api::site::Answer;
use firmware_web::api::{Admin as _, Caller, Role, Who};

use super::ground::Administrators;
use crate::admin::accounts::Accounts;
use crate::admin::audit::Noted;

/// Who somebody at the console is, to the audit log.
const CONSOLE: &str = "console";

impl Administrators for Accounts {
    fn exist(&self) -> bool {
        // Users that cannot be read are no reason to let the next stranger in.
        !self.everybody().is_empty().unwrap_or(false)
    }

    fn make_first(&self, name: &str, password: &Secret) -> Answer<Caller> {
        let user = self.everybody().add_first(name, password.expose())?;
        Ok(Caller { name: user.name, role: user.role })
    }

    fn forget(&self) -> Answer<()> {
        let caller = Caller { name: CONSOLE.to_owned(), role: Role::Administrator };
        let who = Who { caller, user: CONSOLE.to_owned(), session: None, csrf: String::new() };
        for user in self.everybody().all()? {
            self.remove_user(&who, &user.name)?;
            let object = format!("user {}", user.name);
            self.note(&Noted {
                by: CONSOLE,
                what: "forgetUser",
                object: &object,
                outcome: 200,
                address: CONSOLE,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hal_linux::{SystemClock, SystemEntropy};

    use super::*;
    use crate::admin::audit::Room;
    use crate::admin::keep::{Keep, MemoryKeep};

    #[test]
    fn the_first_one_is_an_administrator_and_forgetting_is_in_the_audit_log() {
        let keep: Arc<dyn Keep> = Arc::new(MemoryKeep::default());
        let accounts = Accounts::new(
            Arc::clone(&keep),
            Arc::new(SystemClock),
            Arc::new(SystemEntropy),
            Room::PARTITION,
        );
        assert!(!accounts.exist());
        let password = Secret::new("correct horse battery");
        let first = accounts.make_first("ada", &password).unwrap();
        assert_eq!((first.name.as_str(), first.role), ("ada", Role::Administrator));
        assert!(accounts.exist() && accounts.make_first("eve", &password).is_err());
        accounts.forget().unwrap();
        assert!(!accounts.exist());
        let caller = Caller { name: "ada".to_owned(), role: Role::Administrator };
        let page = accounts.audit(None, 10);
        let told = format!("{page:?}");
        assert!(told.contains("forgetUser") && told.contains("user ada"), "{told}");
        drop(caller);
        keep.write("users", b"nonsense").unwrap();
        assert!(accounts.exist(), "what cannot be read is not taken for nobody");
    }
}
