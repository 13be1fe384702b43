//! Where a vault is, as a person writes it: `dir:PATH` or `azure://ACCOUNT/CONTAINER`.
//!
//! It refuses to open anything: text in, plain values out. What Azure's addresses look like is `pipeline-azure`'s to say.

use core::fmt;
use core::str::FromStr;
use std::path::PathBuf;

use pipeline_azure::address::AzureAddress;

/// A vault's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultUri {
    /// A folder of this machine.
    Directory(PathBuf),
    /// A container of an Azure storage account.
    Azure(Box<AzureAddress>),
}

impl FromStr for VaultUri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("dir:") {
            if path.is_empty() {
                return Err("no folder after dir:".to_owned());
            }
            return Ok(Self::Directory(PathBuf::from(path)));
        }
        if text.starts_with("azure://") {
            let address = AzureAddress::parse(text).map_err(|error| error.to_string())?;
            return Ok(Self::Azure(Box::new(address)));
        }
        Err("a vault is dir:PATH or azure://ACCOUNT/CONTAINER, the latter with ?endpoint=URL where needed".to_owned())
    }
}

impl fmt::Display for VaultUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "dir:{}", path.display()),
            Self::Azure(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_shown_as_written() {
        for text in [
            "dir:/srv/v",
            "dir:vault",
            "azure://lifeboat01/servers",
            "azure://abc/def?endpoint=http://127.0.0.1:1",
        ] {
            let uri: VaultUri = text.parse().unwrap();
            assert_eq!(uri.to_string(), text);
        }
    }

    #[test]
    fn everything_else_is_refused_with_what_is_right() {
        for text in [
            "",
            "/srv/vault",
            "s3://bucket",
            "dir:",
            "azure://",
            "azure://account",
            "azure://AB/con",
        ] {
            assert!(text.parse::<VaultUri>().is_err(), "{text}");
        }
        assert!("/srv/vault".parse::<VaultUri>().unwrap_err().contains("dir:PATH"));
        assert!(
            "azure://abc".parse::<VaultUri>().unwrap_err().contains("azure://ACCOUNT/CONTAINER")
        );
    }
}
