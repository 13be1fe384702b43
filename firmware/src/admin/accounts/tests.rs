//! Who comes in, who does not, and what ends.

use firmware_web::api::setup::Secret;
use hal_linux::SystemEntropy;
use hal_sim::clock::SimClock;

use super::*;
use crate::admin::keep::MemoryKeep;

const PASSWORD: &str = "correct horse";

fn accounts() -> Accounts {
    let keep = Arc::new(MemoryKeep::default());
    // It stands still: a pause of a second is not over because a guess took longer than that.
    let clock = Arc::new(SimClock::default());
    let accounts = Accounts::new(keep, clock, Arc::new(SystemEntropy), Room::PARTITION);
    accounts.users.add_first("anna", PASSWORD).unwrap();
    accounts.users.add("anna", "oskar", Role::Operator, PASSWORD).unwrap();
    accounts
}

fn from(last: u8) -> Origin {
    Origin { address: IpAddr::from([192, 0, 2, last]), agent: "test".into() }
}

fn log_in(accounts: &Accounts, name: &str, password: &str, last: u8) -> Answer<Begun> {
    let asked = LogIn { name: name.into(), password: Secret::new(password) };
    accounts.log_in(&from(last), &asked)
}

fn who(accounts: &Accounts, name: &str) -> (Who, String) {
    let begun = log_in(accounts, name, PASSWORD, 1).unwrap();
    (accounts.by_cookie(&begun.cookie, true).unwrap().unwrap(), begun.cookie)
}

#[test]
fn wrong_names_and_wrong_passwords_are_told_in_the_same_words_and_held_up_alike() {
    let accounts = accounts();
    let refusals = |name: &str, last: u8| -> Vec<(u16, String, String)> {
        let tries = (0..5).map(|_| log_in(&accounts, name, "wrong horse!", last).unwrap_err());
        tries.map(|refusal| (refusal.status, refusal.title, refusal.detail)).collect()
    };
    let of_somebody = refusals("anna", 7);
    assert_eq!(of_somebody, refusals("nobody", 8));
    let statuses: Vec<u16> = of_somebody.iter().map(|refusal| refusal.0).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 429]);
    // Even the right one, while it lasts.
    assert_eq!(log_in(&accounts, "anna", PASSWORD, 7).unwrap_err().status, 429);
}

#[test]
fn a_user_that_is_gone_takes_sessions_and_tokens_along() {
    let accounts = accounts();
    let (anna, _) = who(&accounts, "anna");
    let asked = UserAsked {
        name: "bert".into(),
        role: Role::Administrator,
        password: Secret::new(PASSWORD),
    };
    accounts.add_user(&anna, &asked).unwrap();
    let (bert, cookie) = who(&accounts, "bert");
    let made = accounts
        .make_token(&bert, &TokenAsked { name: "ci".into(), role: Role::Operator, days: None })
        .unwrap();
    let token = accounts.by_token(&made.token).unwrap().unwrap();
    assert!(accounts.still(&bert) && accounts.still(&token));
    accounts.remove_user(&anna, "bert").unwrap();
    assert_eq!(accounts.by_cookie(&cookie, true).unwrap(), None);
    assert_eq!(accounts.by_token(&made.token).unwrap(), None);
    assert!(!accounts.still(&bert) && !accounts.still(&token) && accounts.still(&anna));
}

#[test]
fn a_token_does_no_more_than_who_made_it() {
    let accounts = accounts();
    let (oskar, _) = who(&accounts, "oskar");
    let asked = TokenAsked { name: "ci".into(), role: Role::Administrator, days: None };
    assert_eq!(accounts.make_token(&oskar, &asked).unwrap_err().status, 403);
    let made = accounts.tokens.make("oskar", &asked).unwrap();
    let role = accounts.by_token(&made.token).unwrap().unwrap().caller.role;
    assert_eq!(role, Role::Operator, "whatever the document says");
}

#[test]
fn a_token_that_has_ended_watches_nothing_and_what_it_asked_for_is_not_done() {
    let (keep, clock) = (Arc::new(MemoryKeep::default()), SimClock::default());
    let hands = Arc::new(clock.clone());
    let accounts = Accounts::new(keep, hands, Arc::new(SystemEntropy), Room::PARTITION);
    for name in ["anna", "bert"] {
        accounts.users.put("first run", name, Role::Administrator, PASSWORD).unwrap();
    }
    let (bert, _) = who(&accounts, "bert");
    let made = |days| {
        let asked = TokenAsked { name: "ci".into(), role: Role::Administrator, days };
        let made = accounts.tokens.make("anna", &asked).unwrap();
        let token = accounts.by_token(&made.token).unwrap().unwrap();
        assert!(accounts.still(&token));
        (made, token)
    };
    let (ended, token) = made(None);
    let deed = Deed {
        operation: "revoke".into(),
        object: "server web1".into(),
        words: "agents no longer come in as server web1".into(),
        path: "/servers/web1/revoke".into(),
        query: String::new(),
        body: Vec::new(),
        by: token.clone(),
    };
    let Permission::Waits(waits) = accounts.permit(deed).unwrap() else { panic!("it waits") };
    accounts.tokens.end(&ended.made.id).unwrap();
    assert!(!accounts.still(&token));
    let refused = accounts.settle(&bert, &waits.id, true).unwrap_err();
    assert!(refused.detail.contains("who may no longer"), "{refused:?}");
    let (_, token) = made(Some(1));
    clock.jump(hal::time::UnixMillis(clock.now().0 + 86_400_001));
    assert!(!accounts.still(&token), "nobody ended it but its time");
}

#[test]
fn ones_own_password_takes_the_old_one_and_ends_other_sessions() {
    let accounts = accounts();
    let (oskar, own) = who(&accounts, "oskar");
    let (_, other) = who(&accounts, "oskar");
    let change = |by: &Who, name: &str, old: Option<&str>| {
        let asked =
            PasswordAsked { password: Secret::new("another horse"), old: old.map(Secret::new) };
        accounts.set_password(by, &from(1), name, &asked)
    };
    assert_eq!(change(&oskar, "oskar", None).unwrap_err().field.as_deref(), Some("/old"));
    assert_eq!(change(&oskar, "oskar", Some("wrong")).unwrap_err().status, 422);
    assert_eq!(change(&oskar, "anna", Some(PASSWORD)).unwrap_err().status, 403);
    change(&oskar, "oskar", Some(PASSWORD)).unwrap();
    assert!(accounts.by_cookie(&own, true).unwrap().is_some());
    assert_eq!(accounts.by_cookie(&other, true).unwrap(), None);
    assert!(log_in(&accounts, "oskar", "another horse", 1).is_ok());
    let (anna, _) = who(&accounts, "anna");
    change(&anna, "oskar", None).unwrap();
    assert_eq!(accounts.by_cookie(&own, true).unwrap(), None, "an administrator ends them all");
}

#[test]
fn sessions_of_others_are_an_administrators_alone() {
    let accounts = accounts();
    let (anna, _) = who(&accounts, "anna");
    let (oskar, cookie) = who(&accounts, "oskar");
    assert_eq!(Admin::sessions(&accounts, &oskar).unwrap().len(), 1);
    assert_eq!(Admin::sessions(&accounts, &anna).unwrap().len(), 2);
    let ids = (anna.session.as_deref().unwrap(), oskar.session.as_deref().unwrap());
    assert_eq!(accounts.end_session(&oskar, Some(ids.0)).unwrap_err().status, 404);
    accounts.end_session(&anna, Some(ids.1)).unwrap();
    assert_eq!(accounts.by_cookie(&cookie, true).unwrap(), None);
    accounts.end_session(&anna, None).unwrap();
    assert!(!accounts.still(&anna));
}
