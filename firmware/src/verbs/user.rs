//! `user` in a folder of `serve`, and how users and approvals are printed, here and from elsewhere.
//!
//! Approvals are in the memory of a running appliance: here there are none.

use std::io::{BufRead as _, IsTerminal as _};
use std::sync::Arc;

use firmware_web::api::routes::role_word;
use firmware_web::api::views::admin::{ApprovalState, ApprovalView, UserView};
use firmware_web::api::{Refusal, Role};
use pipeline_vault::Error;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::admin::keep::FolderKeep;
use crate::admin::passwords::BYTES_MAX;
use crate::admin::users::Users;
use crate::cli::UserVerb;
use crate::report::{Ending, Failure, Outcome, Utc, print, print_json, printable, table};
use crate::serve::identity::default_folder;
use crate::verbs::Context;

/// Who did it, to whoever looks at the user later.
const BY: &str = "lifeboat user";

pub(super) fn run(verb: &UserVerb, context: &Context) -> Ending {
    let folder = verb.state().cloned().or_else(default_folder);
    let folder =
        folder.filter(|folder| folder.is_dir()).ok_or_else(|| {
            Failure::Usage(Error::misuse("--state", "names no folder of serve").remedy(
                "give the folder that serve was started with, or an appliance with --remote",
            ))
        })?;
    let machine = &context.machine;
    let (clock, entropy) = (Arc::clone(&machine.clock), Arc::clone(&machine.entropy));
    let users = Users::new(Arc::new(FolderKeep::open(&folder)?), clock, entropy);
    match verb {
        UserVerb::List(list) => {
            let all = users.all().map_err(told)?;
            if list.json { print_json(&all)? } else { print(&listed(&all))? }
        }
        UserVerb::Add(add) => {
            let password = password()?;
            users.add(BY, &add.at.name, role(&add.role), &password).map(drop).map_err(told)?;
        }
        UserVerb::Password(at) => users.set_password(&at.name, &password()?).map_err(told)?,
        UserVerb::Role(set) => users.set_role(&set.at.name, role(&set.role)).map_err(told)?,
        UserVerb::Remove(at) => users.remove(&at.name).map_err(told)?,
    }
    Ok(Outcome::Done)
}

/// `approval`, where no appliance is named.
pub(super) fn approval() -> Ending {
    Err(Failure::Usage(
        Error::misuse("approval", "is of an appliance that runs: what waits is in its memory")
            .remedy("say which with --remote https://HOST, with a token of another administrator than asked"),
    ))
}

/// `call`, where no appliance is named.
pub(super) fn call() -> Ending {
    Err(Failure::Usage(
        Error::misuse("call", "is of an appliance that runs")
            .remedy("say which with --remote https://HOST, with a token of the role that it wants"),
    ))
}

fn told(refusal: Refusal) -> Error {
    let error = Error::refused(refusal.title, refusal.detail);
    match refusal.remedy {
        Some(remedy) => error.remedy(remedy),
        None => error,
    }
}

/// A role by its word; the parser knows no other.
fn role(word: &str) -> Role {
    let roles = [Role::Administrator, Role::Operator];
    roles.into_iter().find(|role| role_word(*role) == word).unwrap_or(Role::Viewer)
}

/// The first line of standard input; a terminal does not show it.
pub(crate) fn password() -> Result<Zeroizing<String>, Error> {
    let input = std::io::stdin();
    let shown = input.is_terminal().then(|| tcgetattr(&input).ok()).flatten();
    if let Some(shown) = &shown {
        let mut hidden = shown.clone();
        hidden.local_modes -= LocalModes::ECHO;
        // One that cannot be told shows the password to who typed it.
        let _ = tcsetattr(&input, OptionalActions::Now, &hidden);
        eprintln!("Password:");
    }
    let most = u64::try_from(BYTES_MAX).unwrap_or(0) + 2;
    let mut line = Zeroizing::new(String::with_capacity(BYTES_MAX + 2));
    let read = std::io::Read::take(input.lock(), most).read_line(&mut line);
    if let Some(shown) = &shown {
        let _ = tcsetattr(&input, OptionalActions::Now, shown);
    }
    let object = "the password on standard input";
    read.map_err(|error| Error::misuse(object, format!("cannot be read: {error}")))?;
    let typed = line.trim_end_matches(['\n', '\r']);
    if typed.is_empty() {
        return Err(Error::misuse(object, "is empty").remedy("write it there, on the first line"));
    }
    Ok(Zeroizing::new(typed.to_owned()))
}

/// Users for people.
pub(crate) fn listed(users: &[UserView]) -> String {
    let row = |user: &UserView| {
        let since = Utc(user.made_millis).to_string();
        vec![printable(&user.name), role_word(user.role).to_owned(), since, printable(&user.by)]
    };
    let rows: Vec<Vec<String>> = users.iter().map(row).collect();
    table(&["NAME", "ROLE", "SINCE", "BY"], &[false; 4], &rows)
}

/// Approvals for people.
pub(crate) fn waiting(approvals: &[ApprovalView]) -> String {
    let row = |approval: &ApprovalView| {
        let state = match approval.state {
            ApprovalState::Waits => "waits",
            ApprovalState::Granted => "granted",
            ApprovalState::Refused => "refused",
            ApprovalState::Over => "over",
        };
        let until = Utc(approval.ends_millis).to_string();
        let (by, what) = (printable(&approval.by), printable(&approval.words));
        vec![printable(&approval.id), state.to_owned(), by, until, what]
    };
    let rows: Vec<Vec<String>> = approvals.iter().map(row).collect();
    table(&["ID", "STATE", "ASKED BY", "UNTIL", "WHAT"], &[false; 5], &rows)
}
