//! Documents on a real partition file: each full, none able to write, the power gone in between.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use firmware_web::api::Role;
use hal_linux::{LinuxDisk, SystemClock, SystemEntropy};

use super::super::{Fifth, Identity, Inner, NOTES, Remembered, WRITE};
use super::*;
use crate::admin::audit::{Audit, Noted, Room};
use crate::admin::tokens::Tokens;
use crate::admin::users::Users;
use crate::site::events::{Events, Note};
use crate::state::Store;
use crate::state::keys::InTheOpen;
use crate::state::layout::{SLOTS, slot_offset};

const PASSWORD: &str = "correct horse battery";

/// A state partition in a file.
struct Partition(PathBuf);

impl Partition {
    fn new(name: &str) -> Self {
        let file = format!("lifeboat-state-{name}-{}", std::process::id());
        Self::at(std::env::temp_dir().join(file))
    }

    fn at(path: PathBuf) -> Self {
        File::create(&path).unwrap().set_len(image_layout::disk::STATE_BYTES).unwrap();
        Self(path)
    }

    /// The machine starts.
    fn start(&self) -> Arc<Memory> {
        let disk = LinuxDisk::open(&self.0, WRITE).unwrap();
        let (store, found) =
            Store::open::<Remembered>(disk, &mut InTheOpen, &SystemEntropy).unwrap();
        assert_eq!(found.troubles, Vec::<String>::new());
        let kept = found.state.map(Fifth::from).unwrap_or_default();
        Arc::new(Memory(Mutex::new(Inner { store: Some(store), kept, ..Inner::default() })))
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// All that a machine may remember beside its documents, as much as there may be.
fn fill_the_rest(memory: &Memory) {
    let notes = (0..4).map(|number| (format!("v{number}"), vec![7; NOTES.bytes])).collect();
    let identity = Some(Identity { certificate: vec![1; 2048], key: vec![2; 256] });
    let network = Some("x".repeat(32 * 1024));
    memory
        .change(|kept| (kept.notes, kept.identity, kept.network) = (notes, identity, network))
        .unwrap();
}

#[test]
fn documents_are_kept_whole_within_what_a_slot_holds() {
    let memory = Memory::default();
    assert_eq!(memory.read("users").unwrap(), None);
    memory.write("users", b"one").unwrap();
    memory.write("users", b"two").unwrap();
    assert_eq!(memory.read("users").unwrap().as_deref(), Some(&b"two"[..]));
    for name in ["", "../x", "Users"] {
        assert!(memory.write(name, b"x").is_err() && memory.read(name).is_err(), "{name}");
    }
    let told = memory.write("users", &vec![0; budget::budget("users") + 1]).unwrap_err();
    assert!(told.to_string().contains("32768"), "{told}");
    assert_eq!(memory.read("users").unwrap().as_deref(), Some(&b"two"[..]));
}

#[test]
fn each_document_has_its_room_though_all_others_are_full_and_after_a_power_cut_too() {
    let partition = Partition::new("full");
    let memory = partition.start();
    fill_the_rest(&memory);
    let strangers = ["of-another", "of-a-newer", "of-an-older"].map(|name| (name, 8 * 1024));
    let all: Vec<(&str, usize)> = budget::budgets().chain(strangers).collect();
    for (number, (name, bytes)) in (0_u8..).zip(&all) {
        memory.write(name, &vec![number; *bytes]).unwrap();
        assert!(memory.write(name, &vec![99; bytes + 1]).is_err(), "{name}");
    }
    assert!(memory.write("one-more", b"x").is_err());
    // Full as it is, each is written once more, and the power fails within the write behind it.
    for (name, bytes) in &all {
        memory.write(name, &vec![200; *bytes]).unwrap();
        let whole = fs::read(&partition.0).unwrap();
        // What stands already is not written again.
        let _ = memory.write("hosts", format!("torn behind {name}").as_bytes());
        tear(&partition, &whole);
        let kept = partition_after_cut(&partition);
        assert_eq!(kept.read(name).unwrap(), Some(vec![200; *bytes]), "{name}");
        fs::write(&partition.0, &whole).unwrap();
    }
}

/// Of the slot that was written since, only a beginning is on the disk.
fn tear(partition: &Partition, before: &[u8]) {
    let after = fs::read(&partition.0).unwrap();
    let file = File::options().write(true).open(&partition.0).unwrap();
    for place in 0..SLOTS {
        let from = usize::try_from(slot_offset(place)).unwrap();
        let (half, end) = (from + 8192, from + 896 * 1024);
        if before[from..end] != after[from..end] {
            file.write_all_at(&before[half..end], slot_offset(place) + 8192).unwrap();
            return;
        }
    }
    panic!("nothing was written");
}

fn partition_after_cut(partition: &Partition) -> Memory {
    let disk = LinuxDisk::open(&partition.0, WRITE).unwrap();
    let (_, found) = Store::open::<Remembered>(disk, &mut InTheOpen, &SystemEntropy).unwrap();
    let kept = found.state.map(Fifth::from).unwrap_or_default();
    Memory(Mutex::new(Inner { kept, ..Inner::default() }))
}

#[test]
fn a_flood_of_events_and_a_full_audit_log_keep_no_password_and_no_token_from_being_written() {
    let partition = Partition::new("flood");
    let memory = partition.start();
    fill_the_rest(&memory);
    let keep = Arc::clone(&memory) as Arc<dyn Keep>;
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let users = Users::new(Arc::clone(&keep), clock.clone(), entropy.clone());
    let tokens = Tokens::new(Arc::clone(&keep), clock.clone(), entropy.clone());
    users.add_first("anna", PASSWORD).unwrap();
    let asked = serde_json::json!({ "name": "script", "role": "viewer" });
    let made = tokens.make("anna", &serde_json::from_value(asked).unwrap()).unwrap();
    let audit = Audit::open(Arc::clone(&keep), clock.clone(), Room::PARTITION);
    let events = Events::new(clock.clone());
    for number in 0..600_u32 {
        let noise = blake3::hash(&number.to_le_bytes()).to_hex();
        let object = format!("server {noise}");
        let (by, what, address) = ("eve", "logIn", "192.0.2.1");
        audit.note(&Noted { by, what, object: &object, outcome: 401, address });
        for part in 0..8 {
            let words = format!("{part} {noise} {}", blake3::hash(&[part]).to_hex());
            let kind = "flood";
            let (object, by) = (object.clone(), None);
            let health = firmware_web::api::views::servers::Health::Bad;
            events.note(Note { health, kind, object, words, by });
        }
    }
    events.save(&*keep).unwrap();
    users.set_password("anna", "another horse battery").unwrap();
    users.add("anna", "bert", Role::Operator, PASSWORD).unwrap();
    tokens.end(&made.made.id).unwrap();
    keep.write("setup-vault", &vec![b' '; budget::budget("setup-vault")]).unwrap();
    // The machine starts again without another word.
    let again = partition.start() as Arc<dyn Keep>;
    let users = Users::new(Arc::clone(&again), clock.clone(), entropy.clone());
    assert!(users.known("anna", "another horse battery").unwrap().is_some());
    assert!(users.known("anna", PASSWORD).unwrap().is_none());
    let tokens = Tokens::new(Arc::clone(&again), clock.clone(), entropy);
    assert!(tokens.find(&made.token).unwrap().is_none());
    let page = Audit::open(again.clone(), clock.clone(), Room::PARTITION).page(None, 1).unwrap();
    assert_eq!((page.broken, page.entries[0].number), (None, 600));
    assert!(Events::open(clock, &*again).newest() >= events.newest(), "the newest are kept");
}

/// A file system of a few MiB that is gone with this; needs root.
struct Small(PathBuf);

impl Small {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("lifeboat-small-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(&folder);
        assert!(mount.status().unwrap().success());
        Self(folder)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn what_cannot_be_kept_is_refused_and_told_until_it_can_be_again() {
    let small = Small::new();
    let partition = Partition::at(small.0.join("state"));
    let memory = partition.start();
    memory.write("users", b"one").unwrap();
    assert_eq!(memory.trouble(), None);
    // Nothing more can be written below the partition: as a stick that is worn out.
    let filler = small.0.join("filler");
    let full = fs::write(&filler, vec![1; 16 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let told = memory.write("users", b"two").unwrap_err().to_string();
    assert!(told.contains("document users") && told.contains("not kept"), "{told}");
    assert_eq!(memory.read("users").unwrap().as_deref(), Some(&b"one"[..]), "as it was");
    let trouble = memory.trouble().unwrap();
    assert!(trouble.contains("state partition") && trouble.contains("replace it"), "{trouble}");
    assert_eq!(partition.start().read("users").unwrap().as_deref(), Some(&b"one"[..]));
    fs::remove_file(&filler).unwrap();
    memory.write("users", b"three").unwrap();
    assert_eq!(memory.trouble(), None);
    assert_eq!(partition.start().read("users").unwrap().as_deref(), Some(&b"three"[..]));
    memory.let_go();
    assert!(memory.trouble().unwrap().contains("plugged in"));
}

#[test]
fn documents_show_their_names_alone() {
    let documents = Documents(BTreeMap::from([("users".to_owned(), b"SECRET".to_vec())]));
    assert_eq!(format!("{documents:?}"), "{\"users\"}");
}
