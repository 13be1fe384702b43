//! `vault rekey`: new keys for servers, a new recovery key, or the end of a server's keys.

use pipeline_vault::Error;
use pipeline_vault::keys::key_file::KeyFile;
use pipeline_vault::keys::recovery_key::RecoveryKey;
use pipeline_vault::vault::{OldRings, Vault};
use serde::Serialize;

use crate::cli::Rekey;
use crate::report::{Ending, Failure, Outcome, print, print_json};
use crate::session::{Machine, Session};
use crate::verbs::Context;

/// The answer as JSON.
#[derive(Serialize)]
struct Rekeyed<'a> {
    ring_version: u64,
    servers: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    shredded: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_file: Option<String>,
    /// Older key rings that could not be deleted: they still open with the key of their time.
    old_rings_kept: Vec<String>,
}

pub(super) fn run(rekey: Rekey, context: &Context) -> Ending {
    if rekey.shred.is_some() && rekey.shred != rekey.confirm {
        let name = rekey.shred.unwrap_or_default();
        return Err(Failure::Usage(
            Error::misuse(
                format!("server {name}"),
                "is not what --confirm names; nothing was done",
            )
            .remedy(format!("shredding cannot be undone: add --confirm {name}")),
        ));
    }
    if rekey.json && rekey.recovery_key && rekey.key_out.is_none() {
        let error = Error::misuse("a new recovery key", "is not printed among JSON");
        return Err(Failure::Usage(error.remedy("name a file for it with --key-out")));
    }
    let opening = rekey.opening.clone().opening();
    let mut session = Session::open(&opening, &context.machine)?;
    if let Some(name) = &rekey.shred {
        let vault = session.vault()?;
        let old = vault.shred(name)?;
        let answer = Answer { servers: 0, shredded: Some(name), key_file: None };
        return say(&answer, &old, vault, rekey.json);
    }
    let new_key = rekey.recovery_key.then(|| RecoveryKey::generate(&*context.machine.entropy));
    let new_key = new_key.transpose()?;
    let vault = session.vault()?;
    if let Some(key) = &new_key {
        keep_safe(&rekey, key, vault, &context.machine)?;
    }
    let names: Vec<&str> = rekey.server.iter().map(String::as_str).collect();
    let done = vault.rekey(&names, new_key.as_ref())?;
    let answer = Answer {
        servers: done.servers,
        shredded: None,
        key_file: rekey.key_out.as_ref().map(|path| path.display().to_string()),
    };
    let ending = say(&answer, &done.old_rings, vault, rekey.json);
    session.note_ring();
    ending
}

/// Whoever is stopped after this has the new key, whether it is in force or not.
fn keep_safe(
    rekey: &Rekey,
    key: &RecoveryKey,
    vault: &Vault,
    machine: &Machine,
) -> Result<(), Error> {
    match &rekey.key_out {
        Some(path) => {
            let text = KeyFile::text(vault.id(), &vault.place(), key, None, &*machine.entropy)?;
            KeyFile::write(path, &text)
        }
        None => print(&format!(
            "The new recovery key, shown this once, in force when this command succeeds:\n\n    {}\n\n\
             Keep the old one until then.\n",
            key.to_text().as_str()
        )),
    }
}

struct Answer<'a> {
    servers: usize,
    shredded: Option<&'a str>,
    key_file: Option<String>,
}

fn say(answer: &Answer<'_>, old: &OldRings, vault: &Vault, json: bool) -> Ending {
    let kept: Vec<String> = old.kept.iter().map(ToString::to_string).collect();
    if json {
        print_json(&Rekeyed {
            ring_version: vault.ring().version(),
            servers: answer.servers,
            shredded: answer.shredded,
            key_file: answer.key_file.clone(),
            old_rings_kept: kept.clone(),
        })?;
    } else {
        let mut lines = match answer.shredded {
            Some(name) => {
                format!("The keys of {name} are destroyed: its points cannot be read any more.\n")
            }
            None => format!("{} servers have new keys from now on.\n", answer.servers),
        };
        if let Some(path) = &answer.key_file {
            lines += &format!(
                "The new recovery key is in {path}; the old one opens nothing new any more.\n"
            );
        }
        print(&lines)?;
    }
    match kept.first() {
        None => Ok(Outcome::Done),
        Some(first) => Ok(Outcome::Incomplete(first.clone())),
    }
}
