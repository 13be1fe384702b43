//! What a verb from elsewhere may, and what it weighs: it is read as every command line is, and then looked at as a value, so
//! that no way of writing an option gets past.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use clap::error::ErrorKind;
use firmware_web::api::site::{Answer, Refusal, Role};
use firmware_web::api::verbs::{VerbAsked, Weight};

use super::table::{REFUSED, Row, find, why_not};
use crate::cli::{
    CommandLine, NetVerb, Opening, PlanVerb, ServerPolicy, ServerVerb, TargetVerb, VaultVerb, Verb,
};
use crate::report::printable;
use crate::sink::{Signed, Sink};
use crate::vault_uri::VaultUri;

/// Words of a command line, and the longest.
const WORDS_MAX: usize = 256;
const WORD_BYTES_MAX: usize = 8 * 1024;
/// The longest line for the audit log.
const SHOWN_BYTES_MAX: usize = 500;

/// What the appliance adds.
pub(super) struct Own<'a> {
    pub(super) opening: Option<&'a Opening>,
    pub(super) state: Option<&'a Path>,
    /// Where the file that was sent along is, and where the one that is sent back comes to be.
    pub(super) input: PathBuf,
    pub(super) output: PathBuf,
}

/// A verb that may be run.
pub(super) struct Checked {
    /// Behind the program's name.
    pub(super) words: Vec<OsString>,
    pub(super) weight: Weight,
}

/// Reads it.
pub(super) fn check(asked: &VerbAsked, own: &Own<'_>) -> Answer<Checked> {
    let row = row_of(asked)?;
    refuse_own(asked, row)?;
    let mut words: Vec<OsString> = asked.verb.iter().map(OsString::from).collect();
    let mut add = |option: &str, path: &Path| words.extend([OsString::from(option), path.into()]);
    if let (Some(option), Some(_)) = (row.input, &asked.input) {
        add(option, &own.input);
    }
    if let (Some(option), Some(_)) = (row.output, &asked.output) {
        add(option, &own.output);
    }
    if row.state {
        let folder = own.state.ok_or_else(|| {
            refusal(&asked.verb, "wants a folder that this appliance does not have")
                .remedy("the page has the same: a server is added there, and all are listed")
        })?;
        add("--state", folder);
    }
    if row.vault {
        let opening = own.opening.ok_or_else(|| {
            Refusal::new(409, "the vault", "is not chosen yet")
                .remedy("finish the first run on the page")
        })?;
        add("--key-file", &opening.key_file);
        if let Some(file) = &opening.passphrase_file {
            add("--passphrase-file", file);
        }
        words.extend(["--vault".into(), opening.vault.to_string().into()]);
    }
    words.extend(asked.arguments.iter().map(OsString::from));
    let line = [OsString::from("lifeboat")].into_iter().chain(words.iter().cloned());
    let line = CommandLine::try_parse_from(line).map_err(|error| misread(asked, &error))?;
    if matches!(&line.verb, Verb::Drill(drill) if drill.here.here) {
        return Err(refusal(&asked.verb, "--here is for the machine that it is given on")
            .remedy("give it on a machine with QEMU, with the vault and the recovery key"));
    }
    if let Verb::Hydrate(hydrate) = &line.verb {
        hydrated(&hydrate.to, asked, own)?;
    }
    let weight = weigh(&line.verb, asked)?;
    Ok(Checked { words, weight })
}

fn refusal(verb: &[String], detail: impl Into<String>) -> Refusal {
    Refusal::new(422, printable(&verb.join(" ")), detail)
}

fn row_of(asked: &VerbAsked) -> Answer<&'static Row> {
    let all = asked.verb.iter().chain(&asked.arguments);
    let is_fine = |word: &String| word.len() <= WORD_BYTES_MAX && !word.contains('\0');
    if asked.verb.len() + asked.arguments.len() > WORDS_MAX || !all.clone().all(is_fine) {
        return Err(Refusal::new(400, "the verb", "has too many words, or one that is too long"));
    }
    if let Some((row, words)) = find(&asked.verb)
        && words == asked.verb.len()
    {
        return Ok(row);
    }
    Err(match why_not(&asked.verb) {
        Some((why, remedy)) => refusal(&asked.verb, why).remedy(remedy),
        None => refusal(&asked.verb, "is no verb").remedy("lifeboat --help lists them"),
    }
    .at("/verb"))
}

/// A clear word about what is the appliance's own, before the reading would only say that it is there twice.
fn refuse_own(asked: &VerbAsked, row: &Row) -> Answer<()> {
    let kit = row.words == ["vault", "kit"];
    for word in &asked.arguments {
        let option = word.split('=').next().unwrap_or_default();
        // Of the kit it is a form, and names no file.
        if REFUSED.contains(&option) && !(kit && option == "--html") {
            let detail =
                format!("{option} is the appliance's own, and is not given from elsewhere");
            let remedy = match option {
                "--file" | "--changed" => {
                    "this verb takes no file from elsewhere, or it is sent along as its input"
                }
                "--report" | "--html" | "--out" => {
                    "this verb gives no file, or it is asked for as its output"
                }
                "--with-key" => {
                    "the recovery key does not go over this way: print the kit where the key is"
                }
                _ => "leave it out: the appliance has its vault and key",
            };
            return Err(refusal(&asked.verb, detail).remedy(remedy).at("/arguments"));
        }
    }
    if asked.input.is_some() && row.input.is_none() {
        return Err(refusal(&asked.verb, "takes no file").at("/input"));
    }
    match &asked.output {
        Some(option) if row.output != Some(option) => {
            Err(refusal(&asked.verb, format!("gives no file for {}", printable(option)))
                .at("/output"))
        }
        _ => Ok(()),
    }
}

/// What the reading says, without what the appliance added.
fn misread(asked: &VerbAsked, error: &clap::Error) -> Refusal {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return refusal(&asked.verb, "help is where the command line is")
            .remedy("leave --remote out");
    }
    let text = error.to_string();
    let first: Vec<&str> = text.lines().take_while(|line| !line.starts_with("Usage:")).collect();
    let first = first.join(" ");
    let detail = printable(first.trim_start_matches("error: ").trim());
    refusal(&asked.verb, detail).remedy("lifeboat VERB --help has the options").at("/arguments")
}

fn weigh(verb: &Verb, asked: &VerbAsked) -> Answer<Weight> {
    let (role, second_person, server): (Role, bool, Option<&String>) = match verb {
        Verb::Points(_) | Verb::Files(_) => (Role::Viewer, false, None),
        Verb::Vault(VaultVerb::Info(_) | VaultVerb::Kit(_)) => (Role::Viewer, false, None),
        Verb::Verify(_) | Verb::Ready(_) | Verb::Hydrate(_) => (Role::Operator, false, None),
        Verb::Prune(prune) => (Role::Administrator, !prune.dry_run, prune.server.as_ref()),
        Verb::Drill(_) => (Role::Operator, false, None),
        Verb::Failover(failover) => {
            (Role::Operator, !failover.order.dry_run, failover.order.server.as_ref())
        }
        Verb::Commit(commit) => (Role::Operator, true, Some(&commit.server)),
        // An order is named by its identity: whose it is is not known here, nor whose what is left of others was.
        Verb::Cleanup(cleanup) => {
            (Role::Operator, cleanup.order.is_some() || cleanup.orphans, None)
        }
        Verb::Server(verb) => server_weight(verb),
        Verb::Plan(PlanVerb::Show(_) | PlanVerb::Report(_)) => (Role::Viewer, false, None),
        // A plan may name commands, and those run on the appliance.
        Verb::Plan(PlanVerb::Create(_)) => (Role::Administrator, false, None),
        Verb::Plan(PlanVerb::Run(run)) => (Role::Operator, !run.drill && !run.dry_run, None),
        Verb::Plan(PlanVerb::Continue(_) | PlanVerb::Commit(_)) => (Role::Operator, true, None),
        Verb::Target(TargetVerb::Set(_)) => (Role::Operator, false, None),
        Verb::Target(_) => (Role::Viewer, false, None),
        Verb::Net(NetVerb::Show(_)) => (Role::Viewer, false, None),
        Verb::Net(NetVerb::Test(_)) => (Role::Operator, false, None),
        // The table has none of these.
        _ => return Err(refusal(&asked.verb, "cannot be run from elsewhere")),
    };
    Ok(Weight { role, second_person, server: server.cloned(), words: shown(asked) })
}

fn server_weight(verb: &ServerVerb) -> (Role, bool, Option<&String>) {
    match verb {
        ServerVerb::List(_) => (Role::Viewer, false, None),
        ServerVerb::Policy(policy) if shows(policy) => (Role::Viewer, false, None),
        // How long points are kept is retention, and that is not the operator's.
        ServerVerb::Policy(policy) if policy.keep.is_some() => {
            (Role::Administrator, true, Some(&policy.name))
        }
        // It was an administrator who revoked it.
        ServerVerb::Token(token) if token.readmit => {
            (Role::Administrator, false, token.server.as_ref())
        }
        ServerVerb::Policy(_) | ServerVerb::Token(_) => (Role::Operator, false, None),
        // A drain stops the server: it is the first half of a planned failover.
        ServerVerb::Drain(drain) => (Role::Operator, !drain.abort, Some(&drain.name)),
        ServerVerb::Revoke(revoke) => (Role::Administrator, true, Some(&revoke.name)),
        ServerVerb::Accept(accept) => (Role::Administrator, false, Some(&accept.name)),
    }
}

/// Whether `server policy` only shows.
fn shows(policy: &ServerPolicy) -> bool {
    let times = policy.interval.is_none() && policy.freeze_budget.is_none();
    let counts = policy.application_every.is_none() && policy.leave_out.is_empty();
    let rates = policy.send_rate.is_none() && policy.compare_rate.is_none();
    let vault = policy.vault_rate.is_none() && policy.vault_rate_at.is_empty();
    let others = policy.keep.is_none() && policy.group.is_none();
    times && counts && rates && vault && others && !policy.pause && !policy.resume
}

/// Only to Azure: a file or a device would be the appliance's. A page blob is opened with what opens the vault, which is shown to
/// nobody but Azure and whoever has the vault.
fn hydrated(to: &Sink, asked: &VerbAsked, own: &Own<'_>) -> Answer<()> {
    let vault = match own.opening.map(|opening| &opening.vault) {
        Some(VaultUri::Azure(address)) => Some(&**address),
        _ => None,
    };
    match to {
        Sink::Signed(Signed::Given(_)) => Ok(()),
        Sink::Seed(seed) if seed.is_at_home(vault) => Ok(()),
        Sink::Seed(_) => Err(refusal(&asked.verb, "would show what opens the vault at an endpoint that is neither Azure's nor the vault's")
            .remedy("leave endpoint out, or run it where the endpoint is trusted, with vault and key")
            .at("/arguments")),
        _ => Err(refusal(&asked.verb, "would write to, or read an address from, a file of the appliance")
            .remedy("give sas:URL or pageblob:URL; into a file, run it where the file is to be, with vault and key")
            .at("/arguments")),
    }
}

/// The line for the audit log: addresses that open something are not in it.
fn shown(asked: &VerbAsked) -> String {
    let secret = |word: &str| {
        let begin = word.split_once("sas:").map(|(before, _)| format!("{before}sas:…"));
        begin.unwrap_or_else(|| word.split('?').next().unwrap_or_default().to_owned())
    };
    let words = asked.verb.iter().cloned().chain(asked.arguments.iter().map(|word| secret(word)));
    let line = printable(&words.collect::<Vec<String>>().join(" "));
    line[..line.floor_char_boundary(SHOWN_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests;
