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
struct Created {
    vault: String,
    place: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_file: Option<String>,
}

pub(super) fn run(create: &Create, context: &Context) -> Ending {
    let machine = &context.machine;
    let words = match &create.passphrase_file {
        Some(file) => passphrase(Some(file), &machine.settings)?,
        None => None,
    };
    let store = Place::of(&create.vault, machine)?.store();
    let plan = Vault::plan(&*store, &*machine.clock, &*machine.entropy)?;
    let place = store.place();
    // Whoever is stopped from here on has the key of a vault that may exist.
    if let Some(path) = &create.key_out {
        let words = words.as_ref().map(|words| words.as_str());
        let text = KeyFile::text(plan.vault(), &place, plan.key(), words, &*machine.entropy)?;
        KeyFile::write(path, &text)?;
    } else if !create.json {
        print(&format!(
            "The recovery key of {place}, shown this once:\n\n    {}\n\n\
             Write it down now and put it into a file for --key-file. Without it nobody can read the vault.\n",
            plan.key().to_text().as_str()
        ))?;
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
    let Some(path) = &create.key_out else {
        let known = matches!(error.blame, Blame::Misuse | Blame::Refused);
        let what = if known {
            "the key shown opens nothing"
        } else {
            "the vault may have been made all the same: keep the key shown until you know"
        };
        let remedy =
            [error.remedy.as_str(), what].join(if error.remedy.is_empty() { "" } else { "; " });
        return error.remedy(remedy);
    };
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
    let key_file = create.key_out.as_ref().map(|path| path.display().to_string());
    if create.json {
        let vault = plan.vault().to_string();
        return print_json(&Created { vault, place: place.to_owned(), key_file });
    }
    let kept = match key_file {
        Some(path) => format!(
            "The recovery key is in {path}. Copy it to paper: without it nobody can read the vault.\n\
             lifeboat vault kit prints a page to keep off site.\n"
        ),
        None => String::new(),
    };
    print(&format!("Made the vault {place}.\n{kept}"))
}
