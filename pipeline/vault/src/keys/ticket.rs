//! A recovery ticket: opens one recovery point of one server and nothing else, for whoever restores without the
//! recovery key.
//!
//! It carries keys that were derived for this purpose: of single objects by name, of single segments; never a server's
//! epoch key, from which others could be derived. The text is armoured postcard of `Ticket`, or that sealed with a
//! passphrase. It cannot be called back.

#[cfg(test)]
mod tests;

use std::path::Path;

use hal::time::Entropy;
use pipeline::ids::{KeyEpoch, PointId, SegmentId, ServerId, VaultId};
use pipeline::seal::SecretKey;
use pipeline::segment::SegmentIdentity;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::keys::KeySource;
use crate::keys::armour::{self, Unreadable};
use crate::keys::key_file::{read_capped, write_new};
use crate::keys::passphrase::{self, Cost};
use crate::sealed::{ObjectKey, ObjectKind};

const LABEL: &str = "recovery ticket";
const SEALED_LABEL: &str = "sealed recovery ticket";
/// Largest ticket: a quarter of a million segments, two tebibytes stored.
const TICKET_BYTES_MAX: usize = 14 * 1024 * 1024;

/// What opens one point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The vault.
    pub vault: VaultId,
    /// Where the vault is, as the command line takes it.
    pub place: String,
    /// The server.
    pub server: ServerId,
    /// Its name.
    pub server_name: String,
    /// The point.
    pub point: PointId,
    /// The slot of the point's record in the server's chain.
    pub slot: u64,
    /// When the ticket was made, milliseconds since 1970.
    pub made: u64,
    /// After this a program should refuse it, milliseconds since 1970; only a rekey and time really end it.
    pub expires: Option<u64>,
    /// What the server's fingerprints are keyed with.
    pub fingerprint: SecretKey,
    /// The objects of the vault that it opens, each by the key of its name alone.
    pub objects: Vec<ObjectTicket>,
    /// The segments that the point needs, ascending.
    pub segments: Vec<SegmentTicket>,
}

/// One object that a ticket opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectTicket {
    /// Its name.
    pub name: String,
    /// What `sealed::name_key` made for it.
    pub key: SecretKey,
}

/// One segment that a ticket opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentTicket {
    /// Its identity.
    pub segment: SegmentId,
    /// Its key.
    pub key: SecretKey,
}

impl Ticket {
    /// The ticket as text, sealed where a passphrase is given.
    pub fn text(
        &self,
        passphrase: Option<&str>,
        entropy: &dyn Entropy,
    ) -> Result<Zeroizing<String>, Error> {
        let plain = self.encode()?;
        let notes = [
            String::from("Opens one recovery point of one server and nothing else."),
            format!("vault: {}", self.vault),
            format!("point: {}", self.point),
        ];
        let Some(passphrase) = passphrase else {
            return Ok(armour::wrap(LABEL, &notes, &plain));
        };
        let kind = ObjectKind::Ticket;
        let sealed = passphrase::seal(kind, self.vault, &plain, passphrase, Cost::USUAL, entropy)?;
        Ok(armour::wrap(SEALED_LABEL, &notes, &sealed))
    }

    /// Reads a ticket's text; `file` is what errors call it.
    pub fn parse(text: &str, passphrase: Option<&str>, file: &str) -> Result<Self, Error> {
        let wrong = |unreadable: Unreadable| {
            Error::misuse(file, unreadable.what(LABEL))
                .remedy("name the file that `lifeboat vault ticket` wrote")
        };
        if is_sealed(text) {
            let sealed = armour::unwrap(SEALED_LABEL, text, TICKET_BYTES_MAX).map_err(wrong)?;
            let passphrase = passphrase.ok_or_else(|| {
                Error::misuse(file, "is sealed with a passphrase").remedy("give the passphrase too")
            })?;
            let (vault, plain) = passphrase::open(ObjectKind::Ticket, &sealed, passphrase, file)?;
            let ticket = Self::decode(&plain, file)?;
            return if ticket.vault == vault { Ok(ticket) } else { Err(not_one(file)) };
        }
        Self::decode(&armour::unwrap(LABEL, text, TICKET_BYTES_MAX).map_err(wrong)?, file)
    }

    /// Reads a ticket's file.
    pub fn read(path: &Path, passphrase: Option<&str>) -> Result<Self, Error> {
        let file = format!("ticket {}", path.display());
        let (text, _) = read_capped(path, TICKET_BYTES_MAX as u64 * 2)
            .map_err(|error| Error::misuse(&file, format!("cannot be read: {error}")))?;
        Self::parse(&text, passphrase, &file)
    }

    /// Writes `text` to a file that does not exist yet, for its owner alone, durably.
    pub fn write(path: &Path, text: &str) -> Result<(), Error> {
        write_new(path, text.as_bytes(), "ticket")
    }

    fn encode(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        let failed = |error| Error::misuse("ticket", format!("cannot be encoded ({error})"));
        let size = postcard::experimental::serialized_size(self).map_err(failed)?;
        if size + 1024 > TICKET_BYTES_MAX {
            return Err(Error::exhausted("ticket", "names more segments than a ticket can hold")
                .remedy("restore with the recovery key instead"));
        }
        let mut plain = Zeroizing::new(vec![0; size]);
        let used = postcard::to_slice(self, &mut plain).map_err(failed)?.len();
        plain.truncate(used);
        Ok(plain)
    }

    fn decode(plain: &[u8], file: &str) -> Result<Self, Error> {
        let ticket: Self = postcard::from_bytes(plain).map_err(|_| not_one(file))?;
        let ascending = ticket.segments.windows(2).all(|pair| pair[0].segment < pair[1].segment);
        if ascending { Ok(ticket) } else { Err(not_one(file)) }
    }
}

impl KeySource for Ticket {
    fn newest_record_key(&self, _server: &ServerId) -> Option<(KeyEpoch, SecretKey)> {
        None
    }

    fn object_key(
        &self,
        server: &ServerId,
        _kind: ObjectKind,
        name: &str,
        _epoch: KeyEpoch,
    ) -> Option<ObjectKey> {
        let object = self.objects.iter().find(|object| object.name == name);
        object.filter(|_| *server == self.server).map(|object| ObjectKey::Name(object.key.clone()))
    }

    fn segment_key(&self, identity: &SegmentIdentity) -> Option<SecretKey> {
        if identity.vault != self.vault || identity.server != self.server {
            return None;
        }
        let at = self.segments.binary_search_by_key(&identity.segment, |known| known.segment);
        at.ok().map(|at| self.segments[at].key.clone())
    }

    fn fingerprint_key(&self, server: &ServerId) -> Option<SecretKey> {
        (*server == self.server).then(|| self.fingerprint.clone())
    }
}

/// True for a ticket's text that wants a passphrase.
#[must_use]
pub fn is_sealed(text: &str) -> bool {
    let begin = text.lines().find(|line| line.trim_start().starts_with("-----BEGIN"));
    begin.is_some_and(|line| line.contains("SEALED"))
}

fn not_one(file: &str) -> Error {
    Error::corrupt(file, "holds something that is no ticket inside")
        .remedy("if a newer Lifeboat wrote it, use that version; or have it made again")
}
