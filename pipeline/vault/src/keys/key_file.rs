//! The file that a recovery key is kept in: a few lines of text that name their vault, readable by their owner alone.
//!
//! A file with nothing but the forty letters, typed from paper, is one too. It refuses to overwrite any file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use hal::time::Entropy;
use pipeline::ids::VaultId;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::keys::armour::{self, Unreadable};
use crate::keys::passphrase::{self, Cost};
use crate::keys::recovery_key::RecoveryKey;
use crate::sealed::ObjectKind;

const LABEL: &str = "sealed recovery key";
const VAULT_NOTE: &str = "vault:";
/// Largest key file: notes, a sealed key, and what a person writes around it.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A key file that was read; one that is sealed still wants its passphrase.
pub struct KeyFile {
    name: String,
    content: Content,
}

enum Content {
    Plain(RecoveryKey),
    Sealed(Zeroizing<Vec<u8>>),
}

impl KeyFile {
    /// Reads a key file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let name = format!("key file {}", path.display());
        let (text, mode) = read_small(path).map_err(|error| unreadable(&name, &error))?;
        if mode & 0o077 != 0 {
            log::warn!("{name} can be read by others; `chmod 600` keeps it to its owner");
        }
        Self::parse(&text, &name)
    }

    /// Reads a key file's text; `name` is what errors call it.
    pub fn parse(text: &str, name: &str) -> Result<Self, Error> {
        let wrong = |what: String| {
            Error::misuse(name, what)
                .remedy("name the file that `lifeboat vault create --key-out` wrote")
        };
        let content = match armour::unwrap(LABEL, text, 4096) {
            Ok(bytes) => Content::Sealed(bytes),
            Err(Unreadable::NotArmoured) => {
                let (notes, letters): (Vec<&str>, Vec<&str>) =
                    text.lines().map(str::trim).partition(|line| line.starts_with('#'));
                let letters = Zeroizing::new(letters.join("\n"));
                if letters.trim().is_empty() {
                    return Err(wrong(String::from("holds no recovery key")));
                }
                let key = RecoveryKey::parse(&letters)
                    .map_err(|error| wrong(format!("its recovery key {}", error.what)))?;
                let vault = vault_in(&notes).map_err(wrong)?;
                Content::Plain(match vault {
                    Some(vault) => key.of(vault),
                    None => key,
                })
            }
            Err(unreadable) => return Err(wrong(unreadable.what(LABEL))),
        };
        Ok(Self { name: name.to_owned(), content })
    }

    /// The vault that a key file says it is of, for whoever only guesses by it; nothing is warned of, and no passphrase wanted.
    #[must_use]
    pub fn names_vault(path: &Path) -> Option<VaultId> {
        let (text, _) = read_small(path).ok()?;
        let notes: Vec<&str> = text.lines().map(str::trim).collect();
        vault_in(&notes).ok()?
    }

    /// True where `open` wants a passphrase.
    #[must_use]
    pub fn wants_passphrase(&self) -> bool {
        matches!(self.content, Content::Sealed(_))
    }

    /// The key in it. A passphrase given for a file that is not sealed is not looked at.
    pub fn open(&self, passphrase: Option<&str>) -> Result<RecoveryKey, Error> {
        let sealed = match &self.content {
            Content::Plain(key) => return Ok(key.clone()),
            Content::Sealed(sealed) => sealed,
        };
        let passphrase = passphrase.ok_or_else(|| {
            Error::misuse(&self.name, "is sealed with a passphrase")
                .remedy("give the passphrase too")
        })?;
        let (vault, plain) =
            passphrase::open(ObjectKind::RecoveryKey, sealed, passphrase, &self.name)?;
        let key = RecoveryKey::from_bytes(&plain)
            .ok_or_else(|| Error::corrupt(&self.name, "holds a key of another length"))?;
        Ok(key.of(vault))
    }

    /// The text of a key file. `place` is told to whoever finds the file.
    pub fn text(
        vault: VaultId,
        place: &str,
        key: &RecoveryKey,
        passphrase: Option<&str>,
        entropy: &dyn Entropy,
    ) -> Result<Zeroizing<String>, Error> {
        let mut notes = vec![
            String::from(
                "Lifeboat recovery key. Whoever has it and the vault can read everything in it.",
            ),
            String::from("Without it nobody can. Keep a copy on paper, away from this machine."),
            format!("{VAULT_NOTE} {vault}"),
            format!("place: {}", place.replace(char::is_control, " ")),
        ];
        if let Some(passphrase) = passphrase {
            notes.push(String::from("Sealed with a passphrase."));
            let bytes = passphrase::seal(
                ObjectKind::RecoveryKey,
                vault,
                key.as_bytes(),
                passphrase,
                Cost::USUAL,
                entropy,
            )?;
            return Ok(armour::wrap(LABEL, &notes, &bytes));
        }
        let mut text = Zeroizing::new(String::with_capacity(1024));
        notes.iter().for_each(|note| text.extend(["# ", note, "\n"]));
        text.extend([&key.to_text(), "\n"]);
        Ok(text)
    }

    /// Writes `text` to a file that does not exist yet, for its owner alone, durably.
    pub fn write(path: &Path, text: &str) -> Result<(), Error> {
        write_new(path, text.as_bytes(), "key file")
    }
}

/// Writes a secret file that does not exist yet; on failure none is left.
pub(crate) fn write_new(path: &Path, bytes: &[u8], what: &str) -> Result<(), Error> {
    let name = format!("{what} {}", path.display());
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Error::misuse(&name, "exists already, and is not overwritten")
                .remedy("name a new file, or move that one away")
        }
        _ => Error::misuse(&name, format!("cannot be made: {error}"))
            .remedy("name a file in a folder that you may write to"),
    })?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(folder)?.sync_all());
    written.map_err(|error| {
        let _ = fs::remove_file(path);
        Error::device(&name, format!("cannot be written: {error}"))
    })
}

/// A small text file and its mode. Secrets are read into memory that is wiped and never grows.
pub(crate) fn read_small(path: &Path) -> io::Result<(Zeroizing<String>, u32)> {
    read_capped(path, FILE_BYTES_MAX)
}

pub(crate) fn read_capped(path: &Path, bytes_max: u64) -> io::Result<(Zeroizing<String>, u32)> {
    let too_long = || io::Error::other("it is far too long to be one");
    let file = OpenOptions::new().read(true).open(path)?;
    let facts = file.metadata()?;
    if facts.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    let known = if facts.is_file() { facts.len() } else { bytes_max };
    let capacity = usize::try_from(known.min(bytes_max) + 1).map_err(|_| too_long())?;
    let mut text = Zeroizing::new(String::with_capacity(capacity));
    file.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max { Err(too_long()) } else { Ok((text, facts.mode())) }
}

fn unreadable(name: &str, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::misuse(name, "does not exist")
            .remedy("name the recovery key's file; from paper, type the key into a new one"),
        io::ErrorKind::InvalidData => Error::misuse(name, "is no text, as a key file is"),
        _ => Error::misuse(name, format!("cannot be read: {error}")),
    }
}

fn vault_in(notes: &[&str]) -> Result<Option<VaultId>, String> {
    let note = notes.iter().find_map(|note| {
        note.trim_start_matches('#').trim_start().strip_prefix(VAULT_NOTE).map(str::trim)
    });
    let parse = |note: &str| {
        note.parse()
            .map_err(|_| format!("names «{note}» as its vault, which is no vault's identity"))
    };
    note.map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use hal_sim::entropy::SimEntropy;

    use super::*;
    use crate::scratch::{Scratch, mutations};

    const VAULT: VaultId = VaultId([0xAB; 16]);

    fn key() -> RecoveryKey {
        RecoveryKey::generate(&SimEntropy::new(5)).expect("randomness")
    }

    fn text(passphrase: Option<&str>) -> Zeroizing<String> {
        KeyFile::text(VAULT, "dir:/srv/vault", &key(), passphrase, &SimEntropy::new(9))
            .expect("text")
    }

    #[test]
    fn keys_survive_their_files_with_and_without_passphrase() {
        let scratch = Scratch::new();
        for passphrase in [None, Some("correct horse")] {
            let path = scratch.path().join(format!("key-{}", passphrase.is_some()));
            KeyFile::write(&path, &text(passphrase)).expect("a new file");
            let file = KeyFile::read(&path).expect("what was written");
            assert_eq!(file.wants_passphrase(), passphrase.is_some());
            assert_eq!(file.open(passphrase), Ok(key().of(VAULT)));
            assert_eq!(file.open(None).is_err(), passphrase.is_some());
            let mode = fs::metadata(&path).expect("it exists").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn no_file_is_overwritten_and_no_link_followed() {
        let scratch = Scratch::new();
        let path = scratch.path().join("key");
        fs::write(&path, "mine").expect("a file");
        std::os::unix::fs::symlink(scratch.path().join("target"), scratch.path().join("link"))
            .expect("a link");
        for path in [&path, &scratch.path().join("link")] {
            let error = KeyFile::write(path, &text(None)).expect_err("it exists");
            assert!(error.what.contains("not overwritten"), "{error}");
        }
        assert_eq!(fs::read_to_string(&path).expect("it is still there"), "mine");
        assert!(!scratch.path().join("target").exists());
    }

    #[test]
    fn letters_typed_from_paper_are_a_key_file() {
        let file = KeyFile::parse(&format!("\n{}\n", &*key().to_text()), "file").expect("a key");
        assert_eq!(file.open(None), Ok(key()));
        assert_eq!(file.open(None).map(|key| key.vault()), Ok(None));
    }

    #[test]
    fn wrong_files_are_told() {
        let told = |text: &str| match KeyFile::parse(text, "file") {
            Err(error) => error.what,
            Ok(_) => panic!("{text} was taken for a key"),
        };
        assert!(told("").contains("no recovery key"));
        assert!(told("# vault: 12\n").contains("no recovery key"));
        assert!(told(&format!("# vault: 12\n{}", &*key().to_text())).contains("«12»"));
        let ticket = armour::wrap("recovery ticket", &[], b"x");
        assert!(told(&ticket).contains("a recovery ticket instead of"));
        assert!(told(&text(None).replacen('-', "!", 1)).contains("group 2"));
        let scratch = Scratch::new();
        let read = |name: &str| match KeyFile::read(&scratch.path().join(name)) {
            Err(error) => error.what,
            Ok(_) => panic!("{name} was taken for a key"),
        };
        fs::write(scratch.path().join("binary"), [0xFF; 100]).expect("a file");
        fs::write(scratch.path().join("huge"), vec![b'A'; 70_000]).expect("a file");
        assert!(read("gone").contains("does not exist"));
        assert!(read("binary").contains("no text"));
        assert!(read("huge").contains("too long"));
        assert!(read(".").contains("cannot be read"));
    }

    #[test]
    fn mutated_files_give_the_key_or_an_error() {
        let text = text(None);
        mutations(text.as_bytes(), 20_000, |changed| {
            let changed = String::from_utf8_lossy(changed);
            if let Ok(file) = KeyFile::parse(&changed, "file") {
                // Two wrong letters in one group pass its check once in 256; what passes is still no panic.
                let _ = file.open(None);
            }
        });
    }
}
