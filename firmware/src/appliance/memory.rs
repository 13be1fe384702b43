//! What this machine remembers across restarts, on the state partition; and how it ended the last time.
//!
//! Where there is no such partition, or it fails, the machine works all the same and says so: nothing that a recovery needs
//! is kept here.

use core::fmt::{self, Display};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use hal::time::Clock;
use hal_linux::{Access, Direct, LinuxDisk, OpenOptions, SystemClock, SystemEntropy};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::Appliance;
use super::enrolment;
use super::keyring::{self, AtHand};
use super::medium::{self, Medium, Partition};
use crate::admin::keep::budget::ALL_BYTES_MAX;
use crate::report::Utc;
use crate::spool::Owner;
use crate::state::keys::{Keyring, Way};
use crate::state::layout::SLOT_BYTES;
use crate::state::{self, Found, Known, StateError, Store};

/// Small documents of others.
mod documents;

pub(crate) use documents::Documents;

/// What the last words begin with while the machine runs: who finds them knows that it did not end in order.
const RUNNING: &str = "running since ";
/// Of the verbs' notes.
const NOTES: FileLimits = FileLimits { files: 8, bytes: 64 * 1024, all_bytes: 256 * 1024 };
/// What else is remembered, at most: the network, certificate and key, machines that were enrolled.
const REST_BYTES: usize = 160 * 1024;
const _: () = assert!(
    NOTES.all_bytes + ALL_BYTES_MAX + REST_BYTES <= SLOT_BYTES as usize,
    "whatever is full, a slot holds all of it"
);

/// Everything that is remembered, by version: an older one is read, and written as the newest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Remembered {
    /// The first version.
    First(First),
    /// The second: with the network as typed, and who the machine is.
    Second(Second),
    /// The third: with the spool.
    Third(Third),
    /// The fourth: with the machines that are servers of an appliance.
    Fourth(Fourth),
    /// The fifth: with small documents, and the oldest version that is let in.
    Fifth(Fifth),
}

/// The first version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct First {
    starts: u64,
    notes: BTreeMap<String, Vec<u8>>,
}

/// The second version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Second {
    starts: u64,
    notes: BTreeMap<String, Vec<u8>>,
    network: Option<String>,
    identity: Option<Identity>,
}

/// The third version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Third {
    starts: u64,
    notes: BTreeMap<String, Vec<u8>>,
    network: Option<String>,
    identity: Option<Identity>,
    spool: Option<SpoolKept>,
}

/// The fourth version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fourth {
    starts: u64,
    notes: BTreeMap<String, Vec<u8>>,
    network: Option<String>,
    identity: Option<Identity>,
    spool: Option<SpoolKept>,
    enrolments: Vec<enrolment::Kept>,
}

/// The fifth version, and the newest: what the machine works with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fifth {
    /// How often the machine started.
    pub(crate) starts: u64,
    /// What the verbs noted of vaults, so that one that was rolled back is noticed: file names and content.
    pub(crate) notes: BTreeMap<String, Vec<u8>>,
    /// The network as a person typed it at the console: the table `[network]` of `lifeboat.toml`, as TOML.
    pub(crate) network: Option<String>,
    /// The certificate of the machine's page and its key.
    pub(crate) identity: Option<Identity>,
    /// The spool's key, from the first formatting on.
    pub(crate) spool: Option<SpoolKept>,
    /// Machines that this medium enrolled at an appliance.
    pub(crate) enrolments: Vec<enrolment::Kept>,
    /// Small documents of others: users, the vault that was chosen, alerts.
    pub(crate) documents: Documents,
    /// The oldest version that an update may bring.
    pub(crate) least: [u32; 3],
}

/// What is remembered of the spool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SpoolKept {
    /// Who the machine is to its spool, and the key.
    pub(crate) owner: Owner,
    /// The disk that a person gave it at the console.
    pub(crate) disk: Option<String>,
}

/// A certificate and its key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// DER of X.509.
    pub(crate) certificate: Vec<u8>,
    /// DER of PKCS #8.
    pub(crate) key: Vec<u8>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl From<Remembered> for Fifth {
    fn from(remembered: Remembered) -> Self {
        match remembered {
            Remembered::First(First { starts, notes }) => Self { starts, notes, ..Self::default() },
            Remembered::Second(Second { starts, notes, network, identity }) => {
                Self { starts, notes, network, identity, ..Self::default() }
            }
            Remembered::Third(Third { starts, notes, network, identity, spool }) => {
                Self { starts, notes, network, identity, spool, ..Self::default() }
            }
            Remembered::Fourth(Fourth { starts, notes, network, identity, spool, enrolments }) => {
                Self { starts, notes, network, identity, spool, enrolments, ..Self::default() }
            }
            Remembered::Fifth(fifth) => fifth,
        }
    }
}

/// How the partition is opened.
const WRITE: OpenOptions = OpenOptions { access: Access::Write, direct: Direct::Auto };

/// A partition that did not open.
struct Aside {
    device: PathBuf,
    why: String,
    /// What it is known by: another medium may bear the device's name later.
    mark: [u8; 32],
}

#[derive(Default)]
struct Inner {
    store: Option<Store<LinuxDisk>>,
    /// What a partition that was lost is known by.
    lost: Option<Known>,
    /// A partition that did not open: nothing is written to it.
    aside: Option<Aside>,
    /// Why the last change is not on the partition.
    trouble: Option<String>,
    kept: Fifth,
}

/// The memory.
#[derive(Default)]
pub(crate) struct Memory(Mutex<Inner>);

impl Memory {
    /// Changes what is remembered. A failure is told, and costs the memory only.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Fifth)) -> Result<(), String> {
        self.change_and(change, true)
    }

    /// The same; what cannot be written is not so in memory either.
    fn change_or_not(&self, change: impl FnOnce(&mut Fifth)) -> Result<(), String> {
        self.change_and(change, false)
    }

    fn change_and(&self, change: impl FnOnce(&mut Fifth), holds: bool) -> Result<(), String> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = inner.kept.clone();
        change(&mut inner.kept);
        if inner.kept == before {
            return Ok(());
        }
        let kept = Remembered::Fifth(inner.kept.clone());
        let Some(store) = &mut inner.store else { return Ok(()) };
        let written = store.write(&kept, &SystemEntropy).map_err(|error| error.to_string());
        inner.trouble = written.clone().err();
        if written.is_err() && !holds {
            inner.kept = before;
        }
        written
    }

    /// Why what is set now may be forgotten at the next start, where it may.
    pub(crate) fn trouble(&self) -> Option<String> {
        const LOST: &str = "the medium is pulled out: what is set now is held in memory alone, and forgotten at the next start unless it is plugged in again before";
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = inner.lost.as_ref().map(|_| LOST.to_owned());
        lost.or_else(|| inner.trouble.clone())
    }

    /// The partition is gone: what is set from now on is held in memory.
    pub(crate) fn let_go(&self) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.aside = None;
        if let Some(store) = inner.store.take() {
            inner.lost = Some(store.known());
        }
    }

    /// Whether a partition is gone and may come back.
    pub(crate) fn is_lost(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lost.is_some()
    }

    /// Takes the partition that was lost, and writes to it what is held in memory.
    fn take_back(&self, device: &Path) -> Result<(), StateError> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = &inner.lost else { return Ok(()) };
        let disk = LinuxDisk::open(device, WRITE)?;
        let mut store = Store::reopen::<Remembered>(disk, known)?;
        let kept = Remembered::Fifth(inner.kept.clone());
        store.write(&kept, &SystemEntropy)?;
        inner.store = Some(store);
        (inner.lost, inner.trouble) = (None, None);
        Ok(())
    }

    /// Why what was remembered is kept aside, where it is.
    pub(crate) fn aside(&self) -> Option<String> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.aside.as_ref().map(|aside| aside.why.clone())
    }

    /// What was remembered is not kept aside.
    pub(crate) fn opened(&self) -> Result<(), String> {
        match self.aside() {
            Some(why) => Err(format!("what this machine remembers does not open: {why}")),
            None => Ok(()),
        }
    }

    /// How the partition's key is kept; `None` where there is no partition.
    pub(crate) fn ways(&self) -> Option<Vec<Way>> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.store.as_ref().map(|store| store.ways().to_vec())
    }

    /// Keeps everything under a new key from now on.
    pub(crate) fn replace_key(&self, keyring: &mut dyn Keyring) -> Result<(), String> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = Remembered::Fifth(inner.kept.clone());
        let store = inner.store.as_mut().ok_or("the medium was pulled out")?;
        let replaced = store.replace_key(Some(&kept), keyring, &SystemEntropy);
        replaced.map_err(|error| error.to_string())
    }

    /// Begins anew on the partition that did not open, with what is held in memory; on no other.
    pub(crate) fn begin_anew(&self, keyring: &mut dyn Keyring) -> Result<(), String> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let aside =
            inner.aside.as_ref().ok_or("nothing is kept aside: the medium was pulled out")?;
        let mut disk = LinuxDisk::open(&aside.device, WRITE).map_err(|error| error.to_string())?;
        if state::mark(&mut disk).map_err(|error| error.to_string())? != aside.mark {
            return Err(format!(
                "{} is another medium now, or was written to: nothing was changed; plug in the one that did not open, and start the machine again",
                aside.device.display()
            ));
        }
        let kept = Remembered::Fifth(inner.kept.clone());
        let begun = Store::begin::<Remembered>(disk, keyring, &SystemEntropy);
        let (mut store, _) = begun.map_err(|error| error.to_string())?;
        store.write(&kept, &SystemEntropy).map_err(|error| error.to_string())?;
        (inner.store, inner.aside) = (Some(store), None);
        Ok(())
    }

    /// What is remembered now.
    pub(crate) fn kept(&self) -> Fifth {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).kept.clone()
    }

    /// Keeps last words. From a panic too: where the memory is busy they are lost rather than the machine.
    pub(crate) fn keep_words(&self, words: &str) {
        let Ok(mut inner) = self.0.try_lock() else { return };
        if let Some(store) = &mut inner.store
            && let Err(error) = store.keep_words(words, &SystemEntropy)
        {
            log::info!("last words are not kept: {error}");
        }
    }
}

/// Opens the state partition of the medium that was booted.
pub(crate) fn open(appliance: &Appliance) -> Result<String, String> {
    let show = |text: &dyn Display| {
        let text = text.to_string();
        appliance.board.update(|view| view.state.clone_from(&text));
    };
    let medium = appliance.medium();
    let Some(partition) = &medium.state else {
        show(&"none: settings are forgotten at the next start");
        return Ok(
            "there is no state partition; settings are forgotten at the next start".to_owned()
        );
    };
    let result = open_on(appliance, partition);
    match &result {
        Ok(words) => show(words),
        Err(words) => show(&format!("not kept: {words}")),
    }
    result
}

fn open_on(appliance: &Appliance, partition: &Partition) -> Result<String, String> {
    let mut disk = LinuxDisk::open(&partition.device, WRITE).map_err(|error| error.to_string())?;
    let mark = state::mark(&mut disk).map_err(|error| error.to_string())?;
    let opened = Store::open(disk, &mut AtHand::new(appliance), &SystemEntropy);
    let (mut store, found): (_, Found<Remembered>) = match opened {
        Err(error @ (StateError::Locked(_) | StateError::Newer)) => {
            let words = format!("{error}; key k forgets it");
            let mut inner = appliance.memory.0.lock().unwrap_or_else(PoisonError::into_inner);
            let device = partition.device.clone();
            inner.aside = Some(Aside { device, why: error.to_string(), mark });
            let said: [(&str, &dyn Display); 4] =
                [("starts", &0), ("troubles", &1), ("key", &"aside"), ("words", &error)];
            appliance.events.say("state", &said);
            return Err(words);
        }
        opened => opened.map_err(|error| error.to_string())?,
    };
    for trouble in &found.troubles {
        log::warn!("state: {trouble}");
    }
    match store.last_words() {
        Ok(words) => tell_last(appliance, words.as_deref()),
        Err(error) => log::warn!("{error}"),
    }
    let adopted = found.state.map(Fifth::from).unwrap_or_default();
    restore_notes(&adopted.notes);
    let lost = found.troubles.iter().any(|trouble| trouble.contains("kept aside"));
    {
        let mut inner = appliance.memory.0.lock().unwrap_or_else(PoisonError::into_inner);
        *inner = Inner { store: Some(store), kept: adopted, ..Inner::default() };
    }
    let mut starts = 0;
    appliance.memory.change(|kept| {
        kept.starts += 1;
        starts = kept.starts;
    })?;
    appliance.memory.keep_words(&format!("{RUNNING}{}", Utc(SystemClock.now().0)));
    let (word, way) = keyring::kept_by(&appliance.memory.ways().unwrap_or_default());
    let said: [(&str, &dyn Display); 3] =
        [("starts", &starts), ("troubles", &found.troubles.len()), ("key", &word)];
    appliance.events.say("state", &said);
    let device = partition.device.display();
    Ok(match lost {
        true => {
            format!("begun anew on {device}; what was there is kept aside: name the vault again")
        }
        false => format!("kept on {device}, start {starts}, {way}"),
    })
}

/// Says on the console that what is set is not kept, for as long as that is so.
pub(crate) fn tell_trouble(appliance: &Appliance) {
    const NOT: &str = "not kept: ";
    let (trouble, works) = {
        let inner = appliance.memory.0.lock().unwrap_or_else(PoisonError::into_inner);
        (inner.trouble.clone(), inner.store.is_some())
    };
    let shown = appliance.board.view().state;
    let state = match trouble {
        Some(words) if works => format!("{NOT}{words}"),
        None if works && shown.starts_with(NOT) => {
            let (_, way) = keyring::kept_by(&appliance.memory.ways().unwrap_or_default());
            format!("kept again, {way}")
        }
        _ => return,
    };
    if state != shown {
        appliance.board.update(|view| view.state = state);
    }
}

/// Says anew how the state is kept, once that changed.
pub(crate) fn show_kept(appliance: &Appliance) {
    let Some(ways) = appliance.memory.ways() else { return };
    let (word, way) = keyring::kept_by(&ways);
    log::info!("state: kept from now on, {way}");
    appliance.board.update(|view| view.state = format!("kept, {way}"));
    appliance.events.say("key", &[("key", &word)]);
}

/// Looks whether the medium that was pulled out is there again, and takes it back: it is known by the key on its state
/// partition, so that no other stick is ever written to.
pub(crate) fn come_back(appliance: &Appliance) {
    if !appliance.memory.is_lost() {
        return;
    }
    let all = medium::partitions(Path::new("/"));
    for state in all.iter().filter(|one| one.name == image_layout::disk::STATE_NAME) {
        let shown = state.device.display();
        let taken = appliance.memory.take_back(&state.device);
        if matches!(taken, Ok(()) | Err(StateError::Ahead)) {
            // It may bear another name now, and is no disk to be written over under that one either.
            let esp = all
                .iter()
                .find(|one| one.disk == state.disk && one.name == image_layout::disk::ESP_NAME);
            let (esp, cd) = (esp.cloned(), appliance.medium().cd.clone());
            appliance.set_medium(Medium { esp, state: Some(state.clone()), cd });
        }
        let words = match taken {
            Ok(()) => {
                let running = format!("{RUNNING}{}", Utc(SystemClock.now().0));
                appliance.memory.keep_words(&running);
                appliance.events.say("back", &[("device", &shown)]);
                log::info!("state: the medium is back on {shown}, and has what was set meanwhile");
                format!("kept on {shown}: the medium is back")
            }
            Err(why) => {
                log::warn!("state: {shown}: {why}");
                format!("held in memory; {shown}: {why}")
            }
        };
        appliance.board.update(|view| view.state = words);
    }
}

/// Says how the machine ended the last time, where that is worth a word.
fn tell_last(appliance: &Appliance, words: Option<&str>) {
    let Some(words) = words else { return };
    let clean = !words.starts_with(RUNNING) && !words.starts_with("fault");
    appliance.events.say("last", &[("clean", &clean), ("words", &words)]);
    match words.strip_prefix(RUNNING) {
        Some(since) => log::warn!(
            "this machine was {RUNNING}{since} and did not end in order: a power cut, a reset or a crash"
        ),
        None if clean => log::info!("the last end: {words}"),
        None => log::warn!("the last end: {words}"),
    }
}

/// Puts the verbs' notes where they look for them.
fn restore_notes(notes: &BTreeMap<String, Vec<u8>>) {
    let folder = Path::new(super::vault_place::KNOWN_FOLDER);
    for (name, bytes) in notes.iter().filter(|(name, _)| is_plain(name)) {
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(folder.join(name), bytes));
        if let Err(error) = written {
            log::warn!("what was noted of a vault is lost: {error}");
        }
    }
}

/// Takes the verbs' notes into the memory, after a job.
pub(crate) fn take_notes(appliance: &Appliance) {
    let notes = read_files(Path::new(super::vault_place::KNOWN_FOLDER), NOTES);
    if let Err(words) = appliance.memory.change(|kept| kept.notes = notes) {
        log::warn!("{words}");
        appliance.board.update(|view| view.state = format!("not kept: {words}"));
    }
}

/// How much of a folder is kept.
#[derive(Clone, Copy)]
pub(crate) struct FileLimits {
    /// Files at most; of more, the last by name are left.
    pub(crate) files: usize,
    /// Bytes of one; a larger one is left.
    pub(crate) bytes: usize,
    /// Bytes of all; of more, the last by name are left.
    pub(crate) all_bytes: usize,
}

/// The files of a folder, by name.
pub(crate) fn read_files(folder: &Path, limits: FileLimits) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeMap::new() };
    let mut files: BTreeMap<String, Vec<u8>> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok().filter(|name| is_plain(name))?;
            let bytes = fs::read(entry.path()).ok()?;
            (bytes.len() <= limits.bytes).then_some((name, bytes))
        })
        .collect();
    let all = |files: &BTreeMap<String, Vec<u8>>| files.values().map(Vec::len).sum::<usize>();
    while files.len() > limits.files || all(&files) > limits.all_bytes {
        files.pop_last();
    }
    files
}

/// A file name and nothing that leads elsewhere.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains('/') && name.len() < 200
}

#[cfg(test)]
mod tests {
    use pipeline::seal::SecretKey;

    use super::*;
    use crate::state::keys::InTheOpen;

    #[test]
    fn notes_are_taken_whole_and_within_limits() {
        let folder = std::env::temp_dir().join(format!("lifeboat-notes-{}", std::process::id()));
        fs::create_dir_all(folder.join("sub")).unwrap();
        for number in 0..12 {
            fs::write(folder.join(format!("note-{number:02}")), [number]).unwrap();
        }
        fs::write(folder.join("large"), vec![0; NOTES.bytes + 1]).unwrap();
        fs::write(folder.join(".hidden"), b"x").unwrap();
        let notes = read_files(&folder, NOTES);
        assert_eq!(notes.len(), NOTES.files);
        assert_eq!(notes["note-03"], [3]);
        fs::remove_dir_all(&folder).unwrap();
        assert!(read_files(&folder, NOTES).is_empty());
        assert!(!is_plain("../x") && !is_plain("") && is_plain("vault-1"));
    }

    #[test]
    fn without_a_partition_the_memory_works_and_keeps_nothing() {
        let memory = Memory::default();
        assert_eq!(memory.change(|kept| kept.starts = 3), Ok(()));
        memory.keep_words("the end");
        assert_eq!(memory.0.lock().unwrap().kept.starts, 3);
    }

    /// Seen to fail where the device's name alone is asked.
    #[test]
    fn what_did_not_open_is_begun_anew_and_no_other_medium_under_its_name() {
        let device = std::env::temp_dir().join(format!("lifeboat-aside-{}", std::process::id()));
        let file = fs::File::create(&device).unwrap();
        file.set_len(image_layout::disk::STATE_BYTES).unwrap();
        let mark = state::mark(&mut LinuxDisk::open(&device, WRITE).unwrap()).unwrap();
        let memory = Memory::default();
        let aside = |mark| Some(Aside { device: device.clone(), why: "no".to_owned(), mark });
        memory.0.lock().unwrap().aside = aside([7; 32]);
        assert_eq!(memory.opened().unwrap_err(), "what this machine remembers does not open: no");
        let refused = memory.begin_anew(&mut InTheOpen).unwrap_err();
        assert!(refused.contains("is another medium now"), "{refused}");
        assert!(fs::read(&device).unwrap().iter().all(|byte| *byte == 0), "it was written to");
        memory.let_go();
        assert!(memory.begin_anew(&mut InTheOpen).is_err(), "it was pulled out");
        memory.0.lock().unwrap().aside = aside(mark);
        assert_eq!(memory.begin_anew(&mut InTheOpen), Ok(()));
        assert_eq!((memory.opened(), memory.ways()), (Ok(()), Some(Vec::new())));
        let _ = fs::remove_file(&device);
    }

    #[test]
    fn the_bytes_of_the_second_version_do_not_change_by_accident() {
        let kept = Remembered::Second(Second {
            starts: 1,
            notes: BTreeMap::new(),
            network: Some("x".to_owned()),
            identity: Some(Identity { certificate: vec![7], key: vec![8, 9] }),
        });
        let bytes = postcard::to_allocvec(&kept).unwrap();
        assert_eq!(bytes, [1, 1, 0, 1, 1, b'x', 1, 1, 7, 2, 8, 9]);
        assert_eq!(postcard::from_bytes::<Remembered>(&bytes).unwrap(), kept);
    }

    #[test]
    fn the_first_version_is_read_as_the_newest() {
        let notes = BTreeMap::from([("v".to_owned(), vec![1])]);
        let first = Remembered::First(First { starts: 7, notes: notes.clone() });
        assert_eq!(Fifth::from(first), Fifth { starts: 7, notes, ..Fifth::default() });
    }

    #[test]
    fn the_second_version_is_read_as_the_newest() {
        let identity = Identity { certificate: vec![7], key: vec![8, 9] };
        let (network, identity) = (Some("x".to_owned()), Some(identity));
        let second = Second {
            starts: 2,
            network: network.clone(),
            identity: identity.clone(),
            ..Second::default()
        };
        let fifth = Fifth { starts: 2, network, identity, ..Fifth::default() };
        assert_eq!(Fifth::from(Remembered::Second(second)), fifth);
    }

    #[test]
    fn the_bytes_of_the_third_version_do_not_change_by_accident() {
        let owner = Owner { appliance: [3; 16], key: SecretKey::from_bytes([4; 32]) };
        let spool = Some(SpoolKept { owner, disk: Some("S1".to_owned()) });
        let kept = Remembered::Third(Third { starts: 1, spool, ..Third::default() });
        let bytes = postcard::to_allocvec(&kept).unwrap();
        let expected = [&[2, 1, 0, 0, 0, 1][..], &[3; 16], &[4; 32], &[1, 2, b'S', b'1']].concat();
        assert_eq!(bytes, expected);
        assert_eq!(postcard::from_bytes::<Remembered>(&bytes).unwrap(), kept);
    }

    #[test]
    fn the_third_version_is_read_as_the_newest() {
        let third = Third { starts: 3, network: Some("x".to_owned()), ..Third::default() };
        let network = Some("x".to_owned());
        let fifth = Fifth { starts: 3, network, ..Fifth::default() };
        assert_eq!(Fifth::from(Remembered::Third(third)), fifth);
    }

    #[test]
    fn the_bytes_of_the_fourth_version_do_not_change_by_accident_and_it_is_read_as_the_newest() {
        let network = Some("x".to_owned());
        let fourth =
            Remembered::Fourth(Fourth { starts: 3, network: network.clone(), ..Fourth::default() });
        let bytes = postcard::to_allocvec(&fourth).unwrap();
        assert_eq!(bytes, [3, 3, 0, 1, 1, b'x', 0, 0, 0]);
        assert_eq!(postcard::from_bytes(&bytes), Ok(fourth.clone()));
        assert_eq!(Fifth::from(fourth), Fifth { starts: 3, network, ..Fifth::default() });
    }

    #[test]
    fn the_bytes_of_the_fifth_version_do_not_change_by_accident_and_it_shows_no_document() {
        let documents = Documents(BTreeMap::from([("v".to_owned(), b"SECRET".to_vec())]));
        let fifth = Remembered::Fifth(Fifth {
            starts: 3,
            documents,
            least: [1, 2, 300],
            ..Fifth::default()
        });
        let bytes = postcard::to_allocvec(&fifth).unwrap();
        let expected =
            [&[4, 3, 0, 0, 0, 0, 0, 1, 1, b'v', 6][..], b"SECRET", &[1, 2, 0xAC, 2]].concat();
        assert_eq!(bytes, expected);
        assert_eq!(postcard::from_bytes(&bytes), Ok(fifth.clone()));
        assert!(!format!("{fifth:?}").contains("83"), "{fifth:?}");
    }

    #[test]
    fn the_bytes_of_the_first_version_do_not_change_by_accident() {
        let notes = BTreeMap::from([("v".to_owned(), vec![1, 2])]);
        let kept = Remembered::First(First { starts: 300, notes });
        let bytes = postcard::to_allocvec(&kept).unwrap();
        assert_eq!(bytes, [0, 0xAC, 2, 1, 1, b'v', 2, 1, 2]);
        assert_eq!(postcard::from_bytes::<Remembered>(&bytes).unwrap(), kept);
    }
}
