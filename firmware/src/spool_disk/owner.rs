//! The owner of spools as a file in the state folder: `spool.key`, 8 bytes of magic, the appliance's 16, the key's 32.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use hal_linux::SystemEntropy;
use pipeline::seal::SecretKey;
use pipeline_vault::Error;
use zeroize::Zeroizing;

use crate::spool::Owner;

const FILE: &str = "spool.key";
const MAGIC: [u8; 8] = *b"LBSPKEY1";

/// The owner that is kept in `folder`; `None` where there is none yet.
pub fn of_folder(folder: &Path) -> Result<Option<Owner>, Error> {
    let path = folder.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Error::device(
                path.display().to_string(),
                format!("cannot be read: {error}"),
            ));
        }
    };
    parse(&bytes).map(Some).ok_or_else(|| {
        Error::corrupt(path.display().to_string(), "is no key of a spool")
            .remedy("put the right one back; or remove it, and format the spool anew")
    })
}

/// The same, or a new one that is kept there from now on.
pub fn of_folder_or_new(folder: &Path) -> Result<Owner, Error> {
    if let Some(owner) = of_folder(folder)? {
        return Ok(owner);
    }
    let failed = |what: String| {
        Error::device(folder.display().to_string(), what).remedy("name a folder with --state")
    };
    let owner = Owner::new(&SystemEntropy).map_err(|error| failed(error.to_string()))?;
    write(folder, &owner)
        .map_err(|error| failed(format!("cannot keep the spool's key: {error}")))?;
    Ok(owner)
}

fn parse(bytes: &[u8]) -> Option<Owner> {
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (appliance, key) = rest.split_first_chunk::<16>()?;
    let key = <[u8; 32]>::try_from(key).ok().filter(|_| *magic == MAGIC)?;
    Some(Owner { appliance: *appliance, key: SecretKey::from_bytes(key) })
}

/// Whole or not at all, for its owner only.
fn write(folder: &Path, owner: &Owner) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let (path, new) =
        (folder.join(FILE), folder.join(format!("{FILE}.new-{}", std::process::id())));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&MAGIC)?;
    file.write_all(&owner.appliance)?;
    file.write_all(owner.key.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_kept_and_found_again_and_a_broken_one_is_told() {
        let folder = std::env::temp_dir().join(format!("lifeboat-owner-{}", std::process::id()));
        assert_eq!(of_folder(&folder).unwrap(), None);
        let owner = of_folder_or_new(&folder).unwrap();
        assert!(of_folder_or_new(&folder).unwrap() == owner);
        let bytes = fs::read(folder.join(FILE)).unwrap();
        assert_eq!((bytes.len(), &bytes[..8]), (56, &MAGIC[..]));
        for length in 0..bytes.len() {
            assert_eq!(parse(&bytes[..length]), None);
        }
        assert_eq!(parse(&[bytes.as_slice(), &[0]].concat()), None, "one byte more");
        fs::write(folder.join(FILE), &bytes[1..]).unwrap();
        let error = of_folder_or_new(&folder).unwrap_err().to_string();
        assert!(error.contains("no key of a spool"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
