//! What the agent remembers across restarts: who it is, where appliances are, and what its disks are called.
//!
//! It lies on a disk that is replicated, so every copy of the server has it too: that is why [`Binding`] is told in every
//! Hello, and a copy is refused. It is written by the loop alone, never while anything is frozen. Sets of changed blocks are
//! no business of this file: while the machine runs the kernel keeps them, and what goes over to its next start is `reboot`'s.
//!
//! [`Binding`]: pipeline_wire::message::Binding

use core::fmt;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use pipeline::ids::ServerId;
use pipeline::seal::digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::enrol::Asking;

/// Labels of disks that stay when the kernel renames them.
pub mod labels;

/// Where it is unless told otherwise.
pub const FOLDER: &str = "/var/lib/lifeboat-agent";
/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
const MAGIC: &[u8; 8] = b"LBAGENT1";
const SUM_BYTES: usize = 32;

/// Whom this server was enrolled as, by whom.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// Its identity.
    pub server: ServerId,
    /// Its name, for people.
    pub name: String,
    /// Where appliances listen, `address:port`, in the order in which they are tried.
    pub addresses: Vec<String>,
    /// The site authority's certificate, DER.
    pub authority: Vec<u8>,
    /// Our own, DER.
    pub certificate: Vec<u8>,
    /// Its private key, PKCS #8 DER.
    pub key: Vec<u8>,
}

impl fmt::Debug for Enrolment {
    /// Everything but the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Enrolment");
        shown.field("server", &self.server).field("name", &self.name);
        shown.field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// The folder with what is remembered.
#[derive(Clone, Debug)]
pub struct State {
    folder: PathBuf,
}

impl State {
    /// In this folder, which is made when something is written.
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Whom this server was enrolled as; nothing where it was not.
    ///
    /// Errors: it was, and cannot be read; in words.
    pub fn enrolment(&self) -> Result<Option<Enrolment>, String> {
        let path = self.folder.join("enrolment");
        read(&path).map_err(|why| {
            format!("{}: {why}; enrol this server again with a new token", path.display())
        })
    }

    /// Remembers it.
    ///
    /// Errors: in words.
    pub fn remember(&self, enrolment: &Enrolment) -> Result<(), String> {
        self.put("enrolment", enrolment)
    }

    /// The key that was made for a token, where one was. One that cannot be read is none: another is made.
    #[must_use]
    pub fn asking(&self) -> Option<Asking> {
        read(&self.folder.join("token")).ok().flatten()
    }

    /// Remembers it.
    ///
    /// Errors: in words.
    pub fn ask(&self, asking: &Asking) -> Result<(), String> {
        self.put("token", asking)
    }

    /// What the disks are called. What cannot be read is none: labels are given anew, and said so by the caller.
    ///
    /// Errors: they are there and cannot be read.
    pub fn labels(&self) -> Result<labels::Labels, String> {
        self.recall("disks")
    }

    /// Remembers them.
    ///
    /// Errors: in words.
    pub fn name_disks(&self, labels: &labels::Labels) -> Result<(), String> {
        self.put("disks", labels)
    }

    /// Disks that the policy left out when it was heard the last time, by their labels.
    ///
    /// Errors: it is written down and cannot be read.
    pub fn left_out(&self) -> Result<Vec<String>, String> {
        self.recall("left-out")
    }

    /// Remembers them.
    ///
    /// Errors: in words.
    pub fn leave_out(&self, labels: &[String]) -> Result<(), String> {
        self.put("left-out", &labels)
    }

    /// When everything of each disk was last held against the vault, milliseconds since 1970, by labels.
    ///
    /// Errors: it is written down and cannot be read.
    pub fn compared(&self) -> Result<BTreeMap<String, u64>, String> {
        self.recall("compared")
    }

    /// Remembers it.
    ///
    /// Errors: in words.
    pub fn note_compared(&self, compared: &BTreeMap<String, u64>) -> Result<(), String> {
        self.put("compared", compared)
    }

    /// Cuts up to this epoch were made before the machine started the last time, whether or not they arrived.
    ///
    /// Errors: it is written down and cannot be read.
    pub fn made(&self) -> Result<u64, String> {
        self.recall("made")
    }

    /// Remembers it.
    ///
    /// Errors: in words.
    pub fn note_made(&self, epoch: u64) -> Result<(), String> {
        self.put("made", &epoch)
    }

    /// Where all this is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Forgets everything: nothing is left behind.
    ///
    /// Errors: something could not be removed.
    pub fn forget(&self) -> Result<(), String> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(format!("{}: {error}", self.folder.display()))
            }
            _ => Ok(()),
        }
    }

    fn recall<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, String> {
        let path = self.folder.join(name);
        let read = read(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        Ok(read.unwrap_or_default())
    }

    fn put<T: Serialize>(&self, name: &str, value: &T) -> Result<(), String> {
        let path = self.folder.join(name);
        write(&self.folder, name, value).map_err(|error| {
            format!(
                "{}: {error}; what the agent should remember is not written: see that the disk has room and takes writes",
                path.display()
            )
        })
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, String> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => {
            file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| error.to_string())?
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    parse(&bytes).map(Some).ok_or_else(|| "damaged, or written by another program".to_owned())
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (sum, rest) = bytes.split_first_chunk::<SUM_BYTES>()?;
    let body = rest.strip_prefix(MAGIC)?;
    if digest(&[rest]).0 != *sum {
        return None;
    }
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

/// Either what was there before is there afterwards, or all of what is new, whenever the power fails.
fn write<T: Serialize>(folder: &Path, name: &str, value: &T) -> io::Result<()> {
    let body = postcard::to_allocvec(value).map_err(io::Error::other)?;
    let sum = digest(&[MAGIC.as_slice(), &body]);
    fs::create_dir_all(folder)?;
    let (path, new) = (folder.join(name), folder.join(format!("{name}.new")));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    for part in [sum.0.as_slice(), MAGIC, &body] {
        file.write_all(part)?;
    }
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("lifeboat-agent-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn enrolment() -> Enrolment {
        Enrolment {
            server: ServerId([7; 16]),
            name: "web1".to_owned(),
            addresses: vec!["192.0.2.1:9443".to_owned()],
            authority: vec![1; 300],
            certificate: vec![2; 400],
            key: vec![3; 120],
        }
    }

    #[test]
    fn what_is_remembered_is_there_again_and_nobody_else_reads_it() {
        let folder = folder("remembers");
        let state = State::at(&folder);
        assert_eq!(state.enrolment(), Ok(None));
        state.remember(&enrolment()).unwrap();
        assert_eq!(State::at(&folder).enrolment(), Ok(Some(enrolment())));
        let (labels, compared) = (["sda".to_owned()], BTreeMap::from([("sda".to_owned(), 7)]));
        assert_eq!((state.left_out(), state.compared()), (Ok(Vec::new()), Ok(BTreeMap::new())));
        state.leave_out(&labels).unwrap();
        state.note_compared(&compared).unwrap();
        assert_eq!((state.left_out(), state.compared()), (Ok(labels.to_vec()), Ok(compared)));
        let mode = fs::metadata(folder.join("enrolment")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{:?}", enrolment()).contains("[3, 3"), "the key is shown");
        state.forget().unwrap();
        assert!(!folder.exists());
        state.forget().unwrap();
    }

    #[test]
    fn any_damage_is_noticed_and_a_write_that_was_cut_leaves_what_was_before() {
        let folder = folder("damage");
        let state = State::at(&folder);
        state.remember(&enrolment()).unwrap();
        let path = folder.join("enrolment");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            assert!(parse::<Enrolment>(&bad).is_none(), "byte {at}");
            assert!(parse::<Enrolment>(&whole[..at]).is_none(), "cut at {at}");
        }
        fs::write(folder.join("enrolment.new"), &whole[..20]).unwrap();
        assert_eq!(state.enrolment(), Ok(Some(enrolment())));
        fs::write(&path, b"x").unwrap();
        assert!(state.enrolment().unwrap_err().contains("enrol this server again"));
        state.forget().unwrap();
    }
}
