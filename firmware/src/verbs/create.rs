//! `vault create`: a vault and its recovery key, which is kept safe before the vault depends on it.

use std::sync::Arc;

use pipeline_vault::keys::key_file::KeyFile;
use pipeline_vault::vault::{Plan, Vault};
use pipeline_vault::{Blame, Error};
use serde::Serialize;

use crate::cli::Create;
use crate::report::{Ending, Outcome, print, print_json};
use crate::session::{Place, passphrase};
use crate::verbs::Context;

/// The answer as JSON.
#[derive(Serialize)]
struct Created<'a> {
    vault: String,
    place: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_key: Option<&'a str>,
}

pub(super) fn run(create: &Create, context: &Context) -> Ending {
    let machine = &context.machine;
    let words = match &create.passphrase_file {
        Some(file) => passphrase(Some(file))?,
        None => None,
    };
    let store = Place::of(&create.vault, machine)?.store();
    let plan = Vault::plan(&*store, &*machine.clock, &*machine.entropy)?;
    let place = store.place();
    if let Some(path) = &create.key_out {
        let words = words.as_ref().map(|words| words.as_str());
        let text = KeyFile::text(plan.vault(), &place, plan.key(), words, &*machine.entropy)?;
        KeyFile::write(path, &text)?;
    }
    let (clock, entropy) = (Arc::clone(&machine.clock), Arc::clone(&machine.entropy));
    if let Err(error) = plan.build(store, clock, entropy) {
        return Err(after_failure(error, create).into());
    }
    say(create, &plan, &place)?;
    Ok(Outcome::Done)
}

/// A vault that was refused needs no key. Where the store failed it may exist all the same.
fn after_failure(error: Error, create: &Create) -> Error {
    let Some(path) = &create.key_out else { return error };
    if matches!(error.blame, Blame::Misuse | Blame::Refused) {
        if let Err(problem) = std::fs::remove_file(path) {
            log::warn!("{}: the key of no vault stays behind: {problem}", path.display());
        }
        return error;
    }
    let remedy = format!(
        "{}; the vault may have been made all the same: keep {} until you know",
        error.remedy,
        path.display()
    );
    error.remedy(remedy)
}

fn say(create: &Create, plan: &Plan, place: &str) -> Result<(), Error> {
    let key = plan.key().to_text();
    let key_file = create.key_out.as_ref().map(|path| path.display().to_string());
    if create.json {
        let shown = key_file.is_none().then_some(key.as_str());
        let vault = plan.vault().to_string();
        return print_json(&Created {
            vault,
            place: place.to_owned(),
            key_file,
            recovery_key: shown,
        });
    }
    let kept = match key_file {
        Some(path) => format!(
            "The recovery key is in {path}. Copy it to paper: without it nobody can read the vault.\n\
             lifeboat vault kit prints a page to keep off site.\n"
        ),
        None => format!(
            "The recovery key, shown this once:\n\n    {}\n\n\
             Write it down now and put it into a file for --key-file. Without it nobody can read the vault.\n",
            key.as_str()
        ),
    };
    print(&format!("Made the vault {place}.\n{kept}"))
}
