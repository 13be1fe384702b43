//! Key rings, the vault's marker, key files, recovery keys, tickets, and what a machine remembers of a vault.

use std::fs;

use hal_linux::SystemEntropy;
use pipeline_vault::keys::key_file::KeyFile;
use pipeline_vault::keys::recovery_key::RecoveryKey;
use pipeline_vault::keys::ring::{KeyRing, copy_name, object_name};
use pipeline_vault::keys::ticket::Ticket;
use pipeline_vault::points::read_chain;
use pipeline_vault::tickets;
use pipeline_vault::vault::known::{Head, Known};
use tests::small_vault::Folder;

use crate::corpus::Bed;
use tests::campaign::mutate;

#[test]
fn key_rings_open_as_they_were_written_or_err() {
    let bed = Bed::new();
    let vault = bed.vault.open_in(bed.store.clone()).expect("its own key");
    let ring = vault.ring();
    let plain = ring.encode().expect("a ring").to_vec();
    mutate("ring contents", 50_000, &[plain], |bytes, _| {
        if let Ok(other) = KeyRing::decode(bytes, ring.vault(), ring.version(), "ring") {
            assert!(other.encode().is_ok());
        }
    });
    let names = [object_name(ring.version()), copy_name(ring.version()), "vault".to_owned()];
    let bodies = bed.bodies(&names);
    mutate("rings and markers", 3000, &bodies, |bytes, random| {
        let count = 1 + random.below(3);
        for name in names.iter().take(usize::try_from(count).expect("small")) {
            bed.store.overwrite(name, bytes);
        }
        if let Ok(opened) = bed.vault.open_in(bed.store.clone()) {
            assert_eq!(opened.ring().vault(), ring.vault());
            let _ = opened.audit();
        }
        bed.mend();
    });
}

#[test]
fn key_files_and_recovery_keys_are_read_or_refused() {
    let key = RecoveryKey::generate(&SystemEntropy).expect("randomness");
    let text = key.to_text().to_string();
    let noted = format!("# a note\n# vault: {}\n{text}\n", "ab".repeat(16));
    let corpus = [text.clone().into_bytes(), noted.into_bytes()];
    mutate("key files", 50_000, &corpus, |bytes, _| {
        let mutated = String::from_utf8_lossy(bytes);
        // One typing error in 256 passes its group's check and becomes another key, which then opens nothing.
        if let Ok(read) = RecoveryKey::parse(&mutated) {
            assert_eq!(read.to_text().len(), text.len());
        }
        let _ = KeyFile::parse(&mutated, "key file");
    });
}

#[test]
fn tickets_are_read_or_refused() {
    let bed = Bed::new();
    let view = read_chain(&bed.access, bed.server).expect("a chain");
    let link = view.find("latest").expect("a point");
    let request = tickets::Request { place: "dir:/vault", server_name: "db1", expires: None };
    let ticket = tickets::fill(&bed.access, &view, link, &request).expect("a ticket");
    let text = ticket.text(None, &SystemEntropy).expect("a text").to_string();
    mutate("tickets", 20_000, &[text.into_bytes()], |bytes, _| {
        if let Ok(read) = Ticket::parse(&String::from_utf8_lossy(bytes), None, "ticket") {
            assert_eq!(read, ticket, "another ticket passed for this one");
        }
    });
}

#[test]
fn what_a_machine_remembers_is_read_or_set_aside() {
    let bed = Bed::new();
    let folder = Folder::new();
    let vault = bed.access.vault;
    let (mut known, _) = Known::load(folder.path(), vault).expect("nothing yet");
    for head in &bed.vault.heads {
        let (server, slot, digest) = (head.server, head.slot, head.digest);
        known.note_head(Head { server, slot, digest, point: None });
    }
    known.save().expect("room for a small file");
    let file = files(folder.path()).into_iter().find(|path| path.is_file()).expect("a file");
    let body = fs::read(&file).expect("the file");
    mutate("known", 3000, core::slice::from_ref(&body), |bytes, _| {
        fs::write(&file, bytes).expect("room for a small file");
        if let Ok((read, trouble)) = Known::load(folder.path(), vault) {
            let whole = read.heads().len() == bed.vault.heads.len();
            assert!(whole || trouble.is_some(), "damage was read as knowledge");
        }
    });
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if fs::metadata(&path).is_ok_and(|facts| facts.len() > 0) {
            all.push(path);
        }
    }
    all
}
