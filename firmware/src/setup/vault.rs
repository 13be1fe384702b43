//! A vault made, or taken over.

use std::sync::Arc;

use firmware_web::api::Refusal;
use firmware_web::api::setup::{How, KeyShown, VaultAsked, VaultFound, VaultTest};
use firmware_web::api::site::Answer;
use pipeline_azure::transport::failure::Kind;
use pipeline_vault::Error;
use pipeline_vault::error::Blame;
use pipeline_vault::keys::key_file::KeyFile;
use pipeline_vault::keys::recovery_key::RecoveryKey;
use pipeline_vault::points::read_chain_leniently;
use pipeline_vault::store::BlobStore;
use pipeline_vault::vault::{Plan, Vault};
use zeroize::Zeroizing;

use super::credential::Credential;
use super::documents::VaultKept;
use super::refused;
use crate::session::Machine;

/// Longest key file that is looked at.
const KEY_BYTES_MAX: usize = 64 * 1024;

/// A key as its letters stand on paper, and as a file.
pub(super) fn shown(kept: &VaultKept) -> Result<KeyShown, Error> {
    let key = KeyFile::parse(&kept.key, "what is kept of the vault")?.open(None)?;
    let groups = key.to_text().split('-').map(str::to_owned).collect();
    Ok(KeyShown { groups, file: kept.key.clone() })
}

/// Chooses identity and key of a new vault; nothing is in the place yet but what makes a container or a folder.
pub(super) fn plan(
    store: &dyn BlobStore,
    place: &str,
    credential: Credential,
    machine: &Machine,
) -> Answer<(Plan, VaultKept)> {
    let planned = Vault::plan(store, &*machine.clock, &*machine.entropy);
    let plan = planned.map_err(store_refusal)?;
    let text = KeyFile::text(plan.vault(), &store.place(), plan.key(), None, &*machine.entropy);
    let key = text.map_err(refused::plain)?.to_string();
    let kept = VaultKept {
        place: place.to_owned(),
        credential,
        how: How::New,
        vault: plan.vault().to_string(),
        key,
        stands: false,
        confirmed: false,
    };
    Ok((plan, kept))
}

/// Makes it.
pub(super) fn build(plan: &Plan, store: Arc<dyn BlobStore>, machine: &Machine) -> Answer<()> {
    let (clock, entropy) = (Arc::clone(&machine.clock), Arc::clone(&machine.entropy));
    plan.build(store, clock, entropy).map(drop).map_err(store_refusal)
}

/// Whom nobody vouches for is mended by an authority; who refuses looks at the credential; everything else comes of the place.
fn store_refusal(error: Error) -> Refusal {
    let field = match error.blame {
        Blame::Refused if error.remedy == Kind::TLS_REMEDY => "/authority",
        Blame::Refused => "/credential/value",
        _ => "/place",
    };
    refused::of(error, field)
}

/// Whether the vault that was planned before a power cut is there and opens with the key that was kept.
pub(super) fn stands(kept: &VaultKept, store: Arc<dyn BlobStore>, machine: &Machine) -> bool {
    check_same(kept, store, machine).is_ok()
}

/// Refused where what lies there is not the vault that is kept.
pub(super) fn check_same(
    kept: &VaultKept,
    store: Arc<dyn BlobStore>,
    machine: &Machine,
) -> Answer<()> {
    let opened = KeyFile::parse(&kept.key, "what is kept of the vault")
        .and_then(|file| file.open(None))
        .and_then(|key| open(store, &key, machine))
        .map_err(|error| refused::of(error, "/place"))?;
    if opened.id().to_string() == kept.vault {
        return Ok(());
    }
    Err(refused::field("/place", "the vault", "is another one than the one in use"))
}

/// Refused where the way to a vault does not lead to its end, by the field that the first hindrance is about.
pub(super) fn lets_in(tested: &VaultTest) -> Answer<()> {
    let Some(row) = tested.rows.iter().find(|row| row.standing == "bad") else { return Ok(()) };
    let field = match &*row.step {
        "tls" => "/authority",
        "clock" | "name" | "route" => "/place",
        _ => "/credential/value",
    };
    let told = refused::field(field, &row.object, row.verdict.clone());
    Err(if row.remedy.is_empty() { told } else { refused::remedy(told, &row.remedy) })
}

fn open(store: Arc<dyn BlobStore>, key: &RecoveryKey, machine: &Machine) -> Result<Vault, Error> {
    Vault::open(store, Arc::clone(&machine.clock), Arc::clone(&machine.entropy), key)
}

/// Looks at a vault that is to be taken over.
pub(super) fn look(
    asked: &VaultAsked,
    credential: Credential,
    store: &Arc<dyn BlobStore>,
    machine: &Machine,
) -> Answer<(VaultFound, VaultKept)> {
    let key = typed_key(asked)?;
    // What keeps the store from answering is no fault of the key.
    store.list("", None, 1).map_err(store_refusal)?;
    let vault = open(Arc::clone(store), &key, machine).map_err(|error| {
        let field = if error.what.contains("no vault") { "/place" } else { "/key" };
        refused::of(error, field)
    })?;
    let text = KeyFile::text(vault.id(), &store.place(), &key, None, &*machine.entropy);
    let kept = VaultKept {
        place: asked.place.clone(),
        credential,
        how: How::Adopt,
        vault: vault.id().to_string(),
        key: text.map_err(refused::plain)?.to_string(),
        stands: true,
        // It was typed a moment ago.
        confirmed: true,
    };
    Ok((found(&vault), kept))
}

fn typed_key(asked: &VaultAsked) -> Answer<RecoveryKey> {
    let typed = asked.key.as_ref().map(|key| Zeroizing::new(key.expose().to_owned()));
    let typed = typed.filter(|text| !text.trim().is_empty());
    let typed = typed.ok_or_else(|| {
        refused::remedy(
            refused::field("/key", "recovery key", "is missing"),
            "type its forty letters, or give the content of its file",
        )
    })?;
    if typed.len() > KEY_BYTES_MAX {
        return Err(refused::field("/key", "recovery key", "is far longer than any key file"));
    }
    let file =
        KeyFile::parse(&typed, "recovery key").map_err(|error| refused::of(error, "/key"))?;
    let passphrase = asked.passphrase.as_ref().map(|words| words.expose());
    let passphrase = passphrase.filter(|words| !words.is_empty());
    file.open(passphrase).map_err(|error| refused::of(error, "/passphrase"))
}

/// What a person has to know of it.
fn found(vault: &Vault) -> VaultFound {
    let mut found =
        VaultFound { vault: vault.id().to_string(), place: vault.place(), ..VaultFound::default() };
    let access = vault.access();
    for server in vault.servers() {
        found.servers.push(server.name.clone());
        match read_chain_leniently(&access, server.id) {
            Ok((view, trouble)) => {
                for point in view.points().filter_map(|link| link.record.point()) {
                    found.points += 1;
                    found.newest_millis = found.newest_millis.max(Some(point.started));
                }
                found.warnings.extend(trouble.map(|trouble| trouble.to_string()));
            }
            Err(error) => found.warnings.push(error.to_string()),
        }
    }
    found.warnings.truncate(20);
    if !found.servers.is_empty() {
        found.warnings.push(
            "Whoever writes into this vault now is shut out as soon as this machine does: take another appliance out of service first.".to_owned(),
        );
    }
    found
}

/// The key as somebody wrote it down, against the one that is kept.
pub(super) fn compare(kept: &VaultKept, typed: &str) -> Answer<()> {
    if typed.len() > KEY_BYTES_MAX {
        return Err(refused::field("/typed", "recovery key", "is far longer than any key file"));
    }
    let read = |text: &str| KeyFile::parse(text, "recovery key").and_then(|file| file.open(None));
    let typed = read(typed).map_err(|error| refused::of(error, "/typed"))?;
    let kept = read(&kept.key).map_err(refused::plain)?;
    let (typed, kept) = (typed.to_text(), kept.to_text());
    let differ: Vec<String> = typed
        .split('-')
        .zip(kept.split('-'))
        .enumerate()
        .filter(|(_, (one, other))| one != other)
        .map(|(place, _)| (place + 1).to_string())
        .collect();
    let what = match differ.as_slice() {
        [] => return Ok(()),
        [one] => format!("is another one in group {one}"),
        [several @ .., last] if several.len() < 4 => {
            format!("is another one in groups {} and {last}", several.join(", "))
        }
        _ => "is the key of another vault".to_owned(),
    };
    let wrong = refused::field("/typed", "recovery key", what);
    Err(refused::remedy(wrong, "compare it with what you wrote down, or have it shown once more"))
}
