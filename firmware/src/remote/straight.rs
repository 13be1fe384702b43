//! Verbs of which an appliance elsewhere has each as a call of its API: users, approvals, and any call. No process is run there
//! for them, so the call's own rules hold: who may, what is noted, whose sessions end.

use std::ffi::OsString;
use std::io::{Read as _, Write};
use std::path::Path;

use clap::Parser as _;
use firmware_web::api::routes::{BEGIN, Found, METRICS, find};
use firmware_web::api::views::admin::{ApprovalView, Settled, UserView};
use pipeline_azure::request::Method;
use pipeline_vault::Error;
use serde_json::json;
use zeroize::Zeroizing;

use super::table::STRAIGHT;
use crate::admin::users::check_name;
use crate::cli::{ApprovalVerb, Call, CommandLine, UserVerb, Verb};
use crate::verbs::user;

const JSON: &str = "application/json";
/// What is sent with a call: an update is the largest.
const SENT_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// A call, and how its answer is printed.
pub struct Straight {
    /// How.
    pub method: Method,
    /// As it is asked for.
    pub path: String,
    /// What is sent, and its content type; it may hold a password.
    pub body: Option<(&'static str, Zeroizing<Vec<u8>>)>,
    print: Print,
}

enum Print {
    Nothing,
    Users {
        json: bool,
    },
    Approvals {
        json: bool,
    },
    Settled,
    /// As it comes.
    Raw,
}

impl core::fmt::Debug for Straight {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} {}", self.method.name(), self.path)
    }
}

/// The call that these words mean; nothing where the verb is another.
///
/// Errors: the words are no such verb, or a password is wanted and cannot be read.
pub(super) fn read(words: &[String]) -> Result<Option<Straight>, Error> {
    let is = |ours: &&[&str]| ours.iter().zip(words).all(|(ours, theirs)| ours == theirs);
    let Some(verb) = words.first().filter(|word| STRAIGHT.iter().any(|ours| ours[0] == **word))
    else {
        return Ok(None);
    };
    let shown = words.iter().take(2).cloned().collect::<Vec<_>>().join(" ");
    let line = ["lifeboat"].map(OsString::from).into_iter().chain(words.iter().map(OsString::from));
    let line = CommandLine::try_parse_from(line).map_err(|error| {
        let text = error.to_string();
        let first: Vec<&str> = text.lines().take_while(|it| !it.starts_with("Usage:")).collect();
        let what = first.join(" ").trim_start_matches("error: ").trim().to_owned();
        Error::misuse(shown.clone(), what).remedy(format!("lifeboat {verb} --help says more"))
    })?;
    if !STRAIGHT.iter().any(is) {
        return Err(Error::misuse(shown, "is no verb").remedy("lifeboat --help lists them"));
    }
    match &line.verb {
        Verb::User(verb) if verb.state().is_some() => {
            Err(Error::misuse("--state", "is the appliance's own, and is not given from elsewhere"))
        }
        Verb::User(verb) => of_user(verb).map(Some),
        Verb::Approval(verb) => of_approval(verb).map(Some),
        Verb::Call(verb) => of_call(verb).map(Some),
        _ => Ok(None),
    }
}

fn call(method: Method, path: String, body: Option<serde_json::Value>, print: Print) -> Straight {
    let body = body.map(|body| (JSON, Zeroizing::new(body.to_string().into_bytes())));
    Straight { method, path: format!("{BEGIN}{path}"), body, print }
}

fn of_user(verb: &UserVerb) -> Result<Straight, Error> {
    // It becomes a part of the path.
    let named = |name: &str| {
        let is_path = name.bytes().all(|byte| byte == b'.');
        check_name(name).map_err(|refusal| Error::misuse(refusal.title, refusal.detail))?;
        if is_path { Err(Error::misuse("the name", "is none")) } else { Ok(()) }
    };
    Ok(match verb {
        UserVerb::List(list) => {
            call(Method::Get, "/users".to_owned(), None, Print::Users { json: list.json })
        }
        UserVerb::Add(add) => {
            named(&add.at.name)?;
            let password = user::password()?;
            let asked = json!({ "name": add.at.name, "role": add.role, "password": &*password });
            call(Method::Post, "/users".to_owned(), Some(asked), Print::Nothing)
        }
        UserVerb::Password(at) => {
            named(&at.name)?;
            let asked = json!({ "password": &*user::password()? });
            call(Method::Post, format!("/users/{}/password", at.name), Some(asked), Print::Nothing)
        }
        UserVerb::Role(set) => {
            named(&set.at.name)?;
            let asked = json!({ "role": set.role });
            call(Method::Post, format!("/users/{}/role", set.at.name), Some(asked), Print::Nothing)
        }
        UserVerb::Remove(at) => {
            named(&at.name)?;
            call(Method::Delete, format!("/users/{}", at.name), None, Print::Nothing)
        }
    })
}

fn of_approval(verb: &ApprovalVerb) -> Result<Straight, Error> {
    let settle = |id: &str, grant: bool| {
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Error::misuse("the approval", "has no such name")
                .remedy("approval list has their names"));
        }
        let asked = json!({ "grant": grant });
        Ok(call(Method::Post, format!("/approvals/{id}"), Some(asked), Print::Settled))
    };
    match verb {
        ApprovalVerb::List(list) => {
            let print = Print::Approvals { json: list.json };
            Ok(call(Method::Get, "/approvals".to_owned(), None, print))
        }
        ApprovalVerb::Grant(approval) => settle(&approval.id, true),
        ApprovalVerb::Refuse(approval) => settle(&approval.id, false),
    }
}

fn of_call(asked: &Call) -> Result<Straight, Error> {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    if !asked.path.starts_with('/') || !asked.path.bytes().all(plain) {
        return Err(Error::misuse(format!("path {}", asked.path), "is none of the API")
            .remedy("write it like /servers/web1, what is no letter or digit as %20"));
    }
    let method = match asked.method.as_str() {
        "PUT" => Method::Put,
        "POST" => Method::Post,
        "DELETE" => Method::Delete,
        _ => Method::Get,
    };
    let path = asked.path.strip_prefix(BEGIN).unwrap_or(&asked.path);
    let place = path.split('?').next().unwrap_or_default();
    // A route that this program does not know may be one of a newer appliance.
    let kind = match find(method.name(), place) {
        Found::Route(route, _) => route.body_kind(),
        Found::OtherMethods(_) | Found::Nothing => None,
    };
    let sent = asked.file.as_deref().map(sent).transpose()?;
    let body = sent.map(|bytes| (kind.unwrap_or(JSON), bytes));
    let path = if place == METRICS { path.to_owned() } else { format!("{BEGIN}{path}") };
    Ok(Straight { method, path, body, print: Print::Raw })
}

/// What is sent along with a call.
fn sent(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let failed = |what: String| Error::misuse(format!("file {}", path.display()), what);
    let mut bytes = Zeroizing::new(Vec::new());
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(SENT_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(SENT_BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    let read = read.map_err(|error| failed(format!("cannot be read: {error}")))?;
    if u64::try_from(read).unwrap_or(u64::MAX) > SENT_BYTES_MAX {
        return Err(failed("is larger than 32 MiB, more than any call takes".to_owned()));
    }
    Ok(bytes)
}

impl Straight {
    /// Whether what is answered is handed on as it comes.
    pub(super) fn is_raw(&self) -> bool {
        matches!(self.print, Print::Raw)
    }

    /// Prints what was answered.
    ///
    /// Errors: it is no such answer, or cannot be printed.
    pub(super) fn print(&self, answer: &[u8], out: &mut dyn Write) -> Result<(), Error> {
        let strange = |error: serde_json::Error| {
            Error::corrupt("the appliance", format!("answers what is not understood: {error}"))
                .remedy("it may be of another version than this program")
        };
        let pretty = |json: bool, text: String| -> Result<String, Error> {
            if !json {
                return Ok(text);
            }
            let value: serde_json::Value = serde_json::from_slice(answer).map_err(strange)?;
            Ok(serde_json::to_string_pretty(&value).map_err(strange)? + "\n")
        };
        let text = match self.print {
            Print::Nothing | Print::Raw => return Ok(()),
            Print::Users { json } => {
                let users: Vec<UserView> = serde_json::from_slice(answer).map_err(strange)?;
                pretty(json, user::listed(&users))?
            }
            Print::Approvals { json } => {
                let all: Vec<ApprovalView> = serde_json::from_slice(answer).map_err(strange)?;
                pretty(json, user::waiting(&all))?
            }
            Print::Settled => {
                let settled: Settled = serde_json::from_slice(answer).map_err(strange)?;
                user::waiting(&[settled.approval])
            }
        };
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| Error::device("standard output", format!("takes no more: {error}")))
    }
}
