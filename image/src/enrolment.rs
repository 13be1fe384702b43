//! What a firmware is given so that it starts our programs and no others: its three lists of keys, each with the signature
//! that lets it in (`EFI_VARIABLE_AUTHENTICATION_2`), as boot managers and firmware menus take them from a medium.
//!
//! | list | holds | signed by |
//! | --- | --- | --- |
//! | `PK` | the machine's owner | itself |
//! | `KEK` | who may change `db` | `PK` |
//! | `db` | whose programs are started | `KEK` |
//!
//! Once more with Microsoft's certificates beside ours: without them a machine whose network card or controller brings
//! firmware of its own, which Microsoft has signed, may not show a picture any more, or not start at all. They are theirs:
//! whoever builds names a folder of them.

use std::fs;
use std::path::Path;

use uuid::{Uuid, uuid};

use crate::error::{Blame, Error};
use crate::pkcs7;
use crate::signing::{Keys, Owners, Signatory, certificate};
use crate::time::Utc;

/// Where lists of certificates are known by.
const X509: Uuid = uuid!("a5c059a1-94e4-4aa7-87b5-ab155c2bf072");
const PKCS7: Uuid = uuid!("4aafd29d-68df-49ee-8aa9-347d375665a7");
/// Whose variables `PK` and `KEK` are.
const GLOBAL: Uuid = uuid!("8be4df61-93ca-11d2-aa0d-00e098032b8c");
/// Whose variable `db` is.
const SECURITY: Uuid = uuid!("d719b2cb-3d3a-4674-a3bc-dad00e67656f");
/// Who put our keys there: ours alone.
const OURS: Uuid = uuid!("6c696665-626f-4174-8000-6b6579730001");
/// Who put Microsoft's there, as everybody has it.
const MICROSOFT: Uuid = uuid!("77fa9abd-0359-4d32-bd60-28f4e78f784b");
/// Kept, there while booting and running, changed by who signs with a time.
const ATTRIBUTES: u32 = 0x27;
const REVISION: u16 = 0x0200;
const KIND_GUID: u16 = 0x0ef1;
/// Of a folder no more are taken.
const CERTIFICATES_MAX: usize = 16;

/// One of the lists, ready to be taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// `PK`, `KEK` or `db`.
    pub name: &'static str,
    /// What it holds: `EFI_SIGNATURE_LIST`s.
    pub list: Vec<u8>,
    /// The same with its signature.
    pub signed: Vec<u8>,
}

/// A certificate and who vouches for it.
struct Entry<'a> {
    owner: Uuid,
    certificate: &'a [u8],
}

/// Certificates of Microsoft, or of whomever else a machine is to trust.
#[derive(Clone, Debug, Default)]
pub struct Others {
    exchange: Vec<Vec<u8>>,
    boot: Vec<Vec<u8>>,
}

impl Others {
    /// Those in a folder: `.crt`, `.cer`, `.der` and `.pem`. Who has «KEK» in the file's name, in letters of any size, may change
    /// the list, the others are in it; but those for «PK», which nobody but the machine's owner has.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let entries = fs::read_dir(folder).map_err(|error| Error::file(folder, &error))?;
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| {
            path.extension().is_some_and(|end| {
                ["crt", "cer", "der", "pem"].iter().any(|one| end.eq_ignore_ascii_case(one))
            })
        });
        paths.sort();
        let mut others = Self::default();
        for path in paths.iter().take(CERTIFICATES_MAX) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let is_owners = name.ends_with("PK")
                || name
                    .split(|letter: char| !letter.is_ascii_alphanumeric())
                    .any(|word| word.eq_ignore_ascii_case("pk"));
            if is_owners {
                continue;
            }
            let changes = name.to_ascii_uppercase().contains("KEK");
            let part = if changes { &mut others.exchange } else { &mut others.boot };
            part.push(certificate(path)?);
        }
        match others.boot.is_empty() || others.exchange.is_empty() {
            true => Err(Error::new(
                Blame::Misuse,
                folder.display().to_string(),
                "has no certificate for db, or none with «KEK» in its name",
                "put Microsoft's there: image/README.md says where they are to be had",
            )),
            false => Ok(others),
        }
    }
}

/// The three lists, dated so.
pub fn lists(
    keys: &Keys,
    owners: &Owners,
    others: Option<&Others>,
    at: u64,
) -> Result<Vec<List>, Error> {
    let nobody = Others::default();
    let others = others.unwrap_or(&nobody);
    let platform = [ours(&owners.platform)];
    let mut exchange = vec![ours(&owners.exchange)];
    exchange.extend(others.exchange.iter().map(theirs));
    let mut boot = vec![ours(&keys.boot)];
    boot.extend(others.boot.iter().map(theirs));
    Ok(vec![
        list("PK", GLOBAL, &platform, &owners.platform, at)?,
        list("KEK", GLOBAL, &exchange, &owners.platform, at)?,
        list("db", SECURITY, &boot, &owners.exchange, at)?,
    ])
}

fn ours(signatory: &Signatory) -> Entry<'_> {
    Entry { owner: OURS, certificate: &signatory.certificate }
}

fn theirs(certificate: &Vec<u8>) -> Entry<'_> {
    Entry { owner: MICROSOFT, certificate }
}

fn list(
    name: &'static str,
    vendor: Uuid,
    entries: &[Entry<'_>],
    signatory: &Signatory,
    at: u64,
) -> Result<List, Error> {
    let too_large =
        || Error::new(Blame::Limit, name, "is larger than a variable", "name fewer certificates");
    let mut bytes = Vec::new();
    for Entry { owner, certificate } in entries {
        let length = u32::try_from(16 + certificate.len()).map_err(|_| too_large())?;
        bytes.extend(X509.to_bytes_le());
        // Each in a list of its own, as they differ in length; none has a header.
        bytes.extend((length + 28).to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(owner.to_bytes_le());
        bytes.extend_from_slice(certificate);
    }
    let time = time(at);
    let mut named: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    named.extend(vendor.to_bytes_le());
    named.extend(ATTRIBUTES.to_le_bytes());
    named.extend(time);
    named.extend_from_slice(&bytes);
    let signature = pkcs7::detached(&named, signatory, &|bytes| signatory.sign(bytes))?;
    let length = u32::try_from(24 + signature.len()).map_err(|_| too_large())?;
    let mut signed = time.to_vec();
    signed.extend(length.to_le_bytes());
    signed.extend(REVISION.to_le_bytes());
    signed.extend(KIND_GUID.to_le_bytes());
    signed.extend(PKCS7.to_bytes_le());
    signed.extend_from_slice(&signature);
    signed.extend_from_slice(&bytes);
    Ok(List { name, list: bytes, signed })
}

/// `EFI_TIME`, in UTC.
fn time(at: u64) -> [u8; 16] {
    let Utc { year, month, day, hour, minute, second } = Utc::of(at);
    let mut time = [0; 16];
    time[..2].copy_from_slice(&u16::try_from(year).unwrap_or(u16::MAX).to_le_bytes());
    for (place, part) in time[2..7].iter_mut().zip([month, day, hour, minute, second]) {
        *place = u8::try_from(part).unwrap_or(u8::MAX);
    }
    time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_what_they_should_and_are_the_same_twice() {
        let folder = std::env::temp_dir().join(format!("lifeboat-lists-{}", std::process::id()));
        let keys = Keys::development(&folder).unwrap();
        let owners = keys.owners.as_ref().unwrap();
        let made = lists(&keys, owners, None, 1_790_000_000).unwrap();
        assert_eq!(made, lists(&keys, owners, None, 1_790_000_000).unwrap());
        assert_eq!(made.iter().map(|list| list.name).collect::<Vec<_>>(), ["PK", "KEK", "db"]);
        let db = &made[2];
        assert!(db.list.ends_with(&keys.boot.certificate) && db.signed.ends_with(&db.list));
        let certificates = folder.join("theirs");
        fs::create_dir_all(&certificates).unwrap();
        assert!(
            Others::read(&certificates).unwrap_err().to_string().contains("no certificate for db")
        );
        fs::copy(folder.join("platform.crt"), certificates.join("ms-kek-2011.pem")).unwrap();
        fs::write(certificates.join("db.der"), &keys.boot.certificate).unwrap();
        // Nobody but us owns the machine: what is made for PK is in no list.
        for name in ["ms-oem-pk-2023.pem", "WindowsOEMDevicesPK.pem"] {
            fs::copy(folder.join("exchange.crt"), certificates.join(name)).unwrap();
        }
        let others = Others::read(&certificates).unwrap();
        assert_eq!((others.exchange.len(), others.boot.len()), (1, 1), "as packages name them");
        let more = lists(&keys, owners, Some(&others), 1_790_000_000).unwrap();
        assert_eq!(more[2].list.len(), 2 * db.list.len());
        assert_eq!(more[0], made[0], "the owner is one");
        fs::remove_dir_all(folder).unwrap();
    }
}
