//! Where the vault is, and what opens it: from `lifeboat.toml`, or asked for at the console; made ready for the verbs.
//!
//! A vault may also lie on a disk of this machine: `disk:NAME/FOLDER`, where NAME is the name of its partition or the label
//! of its ext4 file system. Secrets go into memory only: the key into a file under /run, the credential into a job's environment.

use core::time::Duration;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::board::{Answer, Board, Kind, Question};
use super::{Appliance, medium, mounts};
use crate::child::Verb;
use crate::cli::Opening;
use crate::session::Machine;
use crate::site::facts::Vaulted;
use crate::vault_uri::VaultUri;

/// Where the recovery key lies while it is needed.
pub(crate) const KEY_FOLDER: &str = "/run/keys";
/// Held while a place is made ready: two services want the same key and mount the same disk.
static PREPARING: Mutex<()> = Mutex::new(());
/// Where a disk that holds the vault is mounted.
const DISK_FOLDER: &str = "/run/vault";
/// Where the verbs remember what they saw of vaults.
pub(crate) const KNOWN_FOLDER: &str = "/run/known";
/// A switch may take half a minute until it lets a link speak, and DHCP some more.
const ONLINE_PATIENCE: Duration = Duration::from_secs(90);
/// What computes ext4's checksums.
const CHECKSUMS: [&str; 2] = ["crc32c_generic", "crc32c_intel"];
/// ext4: where its label is, and the number that it is known by.
const EXT4_MAGIC_AT: u64 = 1024 + 0x38;
const EXT4_LABEL_AT: u64 = 1024 + 0x78;

/// What a person gave, or is still to give.
#[derive(Clone, Default)]
pub(crate) struct Wanted {
    /// The vault's address.
    pub(crate) address: Option<String>,
    /// The recovery key.
    pub(crate) key: Option<String>,
    /// The credential of the storage.
    pub(crate) token: Option<String>,
    /// The server.
    pub(crate) server: Option<String>,
    /// The credential as first run has it: names and values of an environment.
    pub(crate) credential: Vec<(String, String)>,
}

impl Wanted {
    /// What `lifeboat.toml` says, where it says all there is to say; else what first run chose.
    pub(crate) fn of(appliance: &Appliance) -> Self {
        let file = Self::of_file(appliance);
        let chosen = appliance.first_run.get().filter(|_| !file.is_complete());
        match chosen.and_then(|run| run.chosen()) {
            Some(chosen) => Self {
                address: Some(chosen.place.clone()),
                key: Some(chosen.key.to_string()),
                token: Some(String::new()),
                server: file.server,
                credential: chosen.credential.clone(),
            },
            None => file,
        }
    }

    /// What `lifeboat.toml` says.
    pub(crate) fn of_file(appliance: &Appliance) -> Self {
        let vault = appliance.settings.get().and_then(|settings| settings.vault.as_ref());
        vault.map_or_else(Self::default, |vault| Self {
            address: Some(vault.address.clone()),
            key: vault.recovery_key.clone(),
            token: vault.token.clone(),
            server: vault.server.clone(),
            credential: Vec::new(),
        })
    }

    /// Asks for what is missing; `None` when the person goes back.
    pub(crate) fn complete(mut self, board: &Board) -> Option<Self> {
        if self.address.is_none() {
            self.address = Some(ask_address(board, &[])?);
        }
        let in_cloud = self.address.as_deref().is_some_and(|address| address.starts_with("azure:"));
        if in_cloud && self.token.is_none() {
            let words = [
                "A shared access signature, an account key or a connection string. Empty: this machine's managed identity.",
            ];
            self.token = Some(ask(board, "What opens the storage account?", &words, Kind::Secret)?);
        }
        if self.key.is_none() {
            let words = ["The forty letters, with or without blanks between the groups."];
            self.key = Some(ask(board, "The recovery key?", &words, Kind::Secret)?);
        }
        Some(self)
    }

    /// Whether nothing has to be asked.
    pub(crate) fn is_complete(&self) -> bool {
        let in_cloud = self.address.as_deref().is_some_and(|address| address.starts_with("azure:"));
        self.address.is_some() && self.key.is_some() && (self.token.is_some() || !in_cloud)
    }
}

/// Asks where the vault is, for a capture: a token of an appliance that has it is an answer too.
pub(crate) fn ask_where(board: &Board) -> Option<String> {
    ask_address(
        board,
        &["Or a token of an appliance that has it: lifeboat server token makes one."],
    )
}

fn ask_address(board: &Board, more: &[&str]) -> Option<String> {
    let words = [
        "azure://ACCOUNT/CONTAINER, or disk:NAME/FOLDER for a vault on a disk of this machine,",
        "NAME being the name of its partition or the label of its ext4 file system.",
    ];
    ask(board, "Where is the vault?", &[&words, more].concat(), Kind::Text(String::new()))
}

/// Asks for a line of text.
pub(crate) fn ask(board: &Board, title: &str, words: &[&str], kind: Kind) -> Option<String> {
    let words = words.iter().map(|&line| line.to_owned()).collect();
    match board.ask(Question { title: title.to_owned(), words, kind }) {
        Answer::Typed(text) => Some(text.trim().to_owned()),
        _ => None,
    }
}

/// A vault that the verbs can be run on, and that this process itself can open.
#[derive(Clone)]
pub(crate) struct VaultPlace {
    /// As a person wrote it.
    pub(crate) shown: String,
    /// As the verbs take it.
    address: String,
    /// The same, read.
    uri: VaultUri,
    environment: Vec<(String, String)>,
    /// The kernel's name of the disk that it lies on.
    pub(crate) disk: Option<String>,
}

impl VaultPlace {
    /// Makes it ready: its disk mounted, its key where the verbs read it.
    pub(crate) fn prepare(appliance: &Appliance, wanted: &Wanted) -> Result<Self, String> {
        let shown = wanted.address.clone().ok_or("no vault is named")?;
        let key = wanted.key.as_deref().ok_or("no recovery key is given")?;
        if shown.starts_with("azure:") && !super::network::wait_online(appliance, ONLINE_PATIENCE) {
            return Err("no network: no link has an address yet; check the cable, or whether there is DHCP, or set addresses in lifeboat.toml".to_owned());
        }
        if shown.starts_with("azure:") {
            appliance.belief.check()?;
        }
        let _one = PREPARING.lock().unwrap_or_else(PoisonError::into_inner);
        put_key(key)?;
        // Refused here in words, not by each verb.
        let (uri, disk) = locate_alone(appliance, &shown)?;
        let address = uri.to_string();
        fs::create_dir_all(KNOWN_FOLDER).map_err(|error| format!("{KNOWN_FOLDER}: {error}"))?;
        let environment = environment(appliance, wanted, &uri)?;
        let place = Self { shown, address, uri, environment, disk };
        let (opening, machine) = place.opening();
        let (environment, shown) = (place.environment.clone(), place.shown.clone());
        let vaulted = Vaulted { opening, machine, environment, shown };
        *appliance.vaulted.lock().unwrap_or_else(PoisonError::into_inner) = Some(vaulted);
        Ok(place)
    }

    /// Whether credentials and proxies are still those that it was made ready with.
    pub(crate) fn is_current(&self, appliance: &Appliance, wanted: &Wanted) -> bool {
        environment(appliance, wanted, &self.uri).is_ok_and(|now| now == self.environment)
    }

    /// What this process opens the vault with, and the machine that it is opened on: settings and credentials are those
    /// that a verb gets, and nobody else in this process sees them.
    pub(crate) fn opening(&self) -> (Opening, Machine) {
        let opening = Opening {
            vault: self.uri.clone(),
            key_file: key_path(),
            passphrase_file: None,
            older_key: false,
        };
        (opening, Machine::with_table(self.environment.clone()))
    }

    /// A verb on this vault.
    pub(crate) fn verb(&self, words: &[&str]) -> Verb {
        let mut all: Vec<OsString> = words.iter().map(OsString::from).collect();
        all.extend(["--vault".into(), self.address.clone().into()]);
        all.extend(["--key-file".into(), key_path().into_os_string()]);
        Verb { words: all, environment: self.environment.clone(), program: None }
    }
}

/// A place as it is typed, its disk mounted; and the disk's name.
pub(crate) fn locate(
    appliance: &Appliance,
    place: &str,
) -> Result<(VaultUri, Option<String>), String> {
    let _one = PREPARING.lock().unwrap_or_else(PoisonError::into_inner);
    locate_alone(appliance, place)
}

fn locate_alone(appliance: &Appliance, place: &str) -> Result<(VaultUri, Option<String>), String> {
    let (address, disk) = match place.strip_prefix("disk:") {
        Some(rest) => {
            let (folder, disk) = mount_disk(appliance, rest)?;
            (format!("dir:{}", folder.display()), Some(disk))
        }
        None => (place.to_owned(), None),
    };
    let uri = address.parse().map_err(|problem| format!("vault {place}: {problem}"))?;
    Ok((uri, disk))
}

/// What a job on this vault gets as its environment.
fn environment(
    appliance: &Appliance,
    wanted: &Wanted,
    uri: &VaultUri,
) -> Result<Vec<(String, String)>, String> {
    let typed = wanted.token.as_deref().and_then(credential);
    let all: Vec<_> = typed.into_iter().chain(wanted.credential.iter().cloned()).collect();
    dressed(appliance, uri, &all)
}

/// The same with this credential.
pub(crate) fn dressed(
    appliance: &Appliance,
    uri: &VaultUri,
    credential: &[(String, String)],
) -> Result<Vec<(String, String)>, String> {
    let mut environment = vec![("LIFEBOAT_STATE".to_owned(), KNOWN_FOLDER.to_owned())];
    environment.extend_from_slice(credential);
    if let VaultUri::Azure(vault) = uri {
        environment.extend(super::network::proxies(appliance, vault)?);
    }
    Ok(environment)
}

/// Which of the three kinds of credential a text is.
fn credential(token: &str) -> Option<(String, String)> {
    let token = token.trim();
    let name = if token.is_empty() {
        return None;
    } else if token.contains("AccountName=") || token.contains("BlobEndpoint=") {
        "AZURE_STORAGE_CONNECTION_STRING"
    } else if token.contains("sig=") {
        "AZURE_STORAGE_SAS_TOKEN"
    } else {
        "AZURE_STORAGE_KEY"
    };
    Some((name.to_owned(), token.to_owned()))
}

fn key_path() -> PathBuf {
    Path::new(KEY_FOLDER).join("recovery.key")
}

/// The key into memory, for its owner only; whole at once, since somebody may be reading it.
fn put_key(key: &str) -> Result<(), String> {
    let failed =
        |error: std::io::Error| format!("the recovery key cannot be kept in memory: {error}");
    fs::create_dir_all(KEY_FOLDER).map_err(failed)?;
    let (path, new) = (key_path(), key_path().with_extension("new"));
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&new).map_err(failed)?;
    file.write_all(key.as_bytes()).map_err(failed)?;
    fs::rename(&new, &path).map_err(failed)
}

/// Mounts the disk of `NAME/FOLDER`; the folder, and the disk's name.
fn mount_disk(appliance: &Appliance, text: &str) -> Result<(PathBuf, String), String> {
    let (name, folder) = text.split_once('/').unwrap_or((text, ""));
    let inside = Path::new(folder);
    let plain = inside.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if name.is_empty() || !plain {
        return Err(format!("vault disk:{text}: write disk:NAME/FOLDER"));
    }
    let at = PathBuf::from(DISK_FOLDER);
    let (device, disk) = find(name)?;
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut mounts = mounts.lines().filter(|line| line.split(' ').nth(1) == Some(DISK_FOLDER));
    let mut mounted = mounts.next().and_then(|line| line.split(' ').next()).map(PathBuf::from);
    if mounted.as_ref().is_some_and(|mounted| *mounted != device) {
        // Another one was looked at before; one that is in use stays.
        mounts::release(&at)?;
        mounted = None;
    }
    if mounted.is_none() {
        let loader = appliance.loader.get().ok_or("no module can be loaded")?;
        for module in CHECKSUMS {
            // The file system asks for one by what it does, not by name; which there is, is the image's to say.
            let _ = loader.need(module);
        }
        loader.need("ext4")?;
        mounts::disk(&device, &at, "ext4", true)?;
    }
    Ok((at.join(inside), disk))
}

/// The kernel's name of the disk that holds the vault, while it is mounted.
pub(crate) fn disk() -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut lines = mounts.lines().map(|line| line.split(' '));
    let device = lines.find_map(|mut words| {
        let device = words.next()?;
        (words.next() == Some(DISK_FOLDER)).then(|| device.to_owned())
    })?;
    let partitions = medium::partitions(Path::new("/"));
    let whole = partitions.into_iter().find(|one| one.device == Path::new(&device));
    let plain = device.rsplit('/').next().map(str::to_owned);
    whole.map(|one| one.disk).or(plain)
}

/// Lets go of a disk that holds the vault, before the machine goes down.
pub(crate) fn release() {
    if Path::new(DISK_FOLDER).exists()
        && let Err(words) = mounts::release(Path::new(DISK_FOLDER))
    {
        // Nothing may have been mounted.
        log::debug!("{words}");
    }
}

/// The block device of this name: of its partition, or of the ext4 file system on it. Two of the same name are none.
fn find(name: &str) -> Result<(PathBuf, String), String> {
    let partitions = medium::partitions(Path::new("/"));
    let mut found: Vec<(PathBuf, String)> = partitions
        .iter()
        .filter(|one| one.name == name || label(&one.device).as_deref() == Some(name))
        .map(|one| (one.device.clone(), one.disk.clone()))
        .collect();
    for disk in hal_linux::inventory() {
        let path = PathBuf::from(&disk.path);
        if label(&path).as_deref() == Some(name) {
            found.push((path, disk.kernel_name().to_owned()));
        }
    }
    match found.len() {
        1 => found.pop().ok_or_else(String::new),
        0 => Err(format!(
            "no disk here bears the name {name}: connect it, or check the partition's name or the label of its ext4 file system"
        )),
        count => Err(format!("{count} disks bear the name {name}: disconnect the others")),
    }
}

/// The label of an ext4 file system.
fn label(device: &Path) -> Option<String> {
    let file = File::open(device).ok()?;
    let mut magic = [0; 2];
    let mut label = [0; 16];
    file.read_exact_at(&mut magic, EXT4_MAGIC_AT).ok()?;
    file.read_exact_at(&mut label, EXT4_LABEL_AT).ok()?;
    if magic != [0x53, 0xEF] {
        return None;
    }
    let letters: Vec<u8> = label.into_iter().take_while(|byte| *byte != 0).collect();
    String::from_utf8(letters).ok().filter(|label| !label.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_told_apart() {
        let name = |token| credential(token).map(|(name, _)| name);
        assert_eq!(name("sv=2024&sig=abc%3D").as_deref(), Some("AZURE_STORAGE_SAS_TOKEN"));
        let string = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=b==";
        assert_eq!(name(string).as_deref(), Some("AZURE_STORAGE_CONNECTION_STRING"));
        let shared = "BlobEndpoint=https://a;SharedAccessSignature=sv=1&sig=x";
        assert_eq!(name(shared).as_deref(), Some("AZURE_STORAGE_CONNECTION_STRING"));
        assert_eq!(name("Zm9v==").as_deref(), Some("AZURE_STORAGE_KEY"));
        assert_eq!(name("  "), None, "the machine's identity");
    }

    #[test]
    fn only_what_is_missing_is_asked_for() {
        let full = Wanted {
            address: Some("azure://a/b".into()),
            key: Some("K".into()),
            token: Some(String::new()),
            server: None,
            credential: Vec::new(),
        };
        assert!(full.is_complete());
        let board = Board::default();
        assert!(full.clone().complete(&board).is_some(), "without a person");
        let on_disk = Wanted { address: Some("disk:x/y".into()), token: None, ..full.clone() };
        assert!(on_disk.is_complete());
        assert!(!Wanted { token: None, ..full.clone() }.is_complete());
        board.close();
        assert!(Wanted { key: None, ..full }.complete(&board).is_none());
    }

    #[test]
    fn a_label_is_read_from_a_file_system_and_from_nothing_else() {
        let path = std::env::temp_dir().join(format!("lifeboat-label-{}", std::process::id()));
        let mut image = vec![0; 4096];
        image[1024 + 0x38..1024 + 0x3A].copy_from_slice(&[0x53, 0xEF]);
        image[1024 + 0x78..1024 + 0x7D].copy_from_slice(b"vault");
        fs::write(&path, &image).unwrap();
        assert_eq!(label(&path).as_deref(), Some("vault"));
        image[1024 + 0x38] = 0;
        fs::write(&path, &image).unwrap();
        assert_eq!(label(&path), None);
        fs::write(&path, b"short").unwrap();
        assert_eq!(label(&path), None);
        fs::remove_file(&path).unwrap();
    }
}
