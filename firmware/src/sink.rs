//! Where a point becomes a disk, as a person writes it: a disk that is uploaded, a warm seed, a VHD, a file, a device.
//!
//! Text in, plain values out. An address that opens something is never shown.

use core::str::FromStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use firmware_recovery::hydrate::pages::{Pages, signed};
use pipeline_azure::address::AzureAddress;
use pipeline_azure::credentials::Credentials;
use pipeline_azure::pages::{PageBlob, PageOptions};
use pipeline_azure::sas::url::SignedUrl;
use pipeline_azure::transport::TransportOptions;
use pipeline_azure::{Secret, encode};
use pipeline_vault::Error;

use crate::session::Machine;

/// Longest address in a file.
const ADDRESS_BYTES_MAX: usize = 16 * 1024;

/// A place for a disk.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "as the option is written")]
pub enum Sink {
    /// A disk in Azure that waits for its content, by the address that Azure gave out for it.
    Signed(Signed),
    /// A page blob that follows the vault.
    Seed(Box<Seed>),
    /// A fixed VHD.
    Vhd(PathBuf),
    /// A file or a block device.
    Plain(PathBuf),
}

/// An address with a signature.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "as the option is written")]
pub enum Signed {
    /// As it is.
    Given(Secret),
    /// In a file, which is read again when the signature has ended.
    File(PathBuf),
}

/// A page blob in a container.
#[derive(Clone, Debug)]
pub struct Seed {
    address: AzureAddress,
    name: String,
}

impl FromStr for Sink {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let file = |path: &str| match path {
            "" => Err("a name is missing behind the colon".to_owned()),
            path => Ok(PathBuf::from(path)),
        };
        match text.split_once(':') {
            Some(("sas", rest)) => Self::signed(rest),
            Some(("pageblob", rest)) => Seed::parse(rest).map(|seed| Self::Seed(Box::new(seed))),
            Some(("vhd", path)) => file(path).map(Self::Vhd),
            Some(("raw", path)) => file(path).map(Self::Plain),
            _ if text.is_empty() => {
                Err("give sas:URL, vhd:FILE, raw:FILE, pageblob:azure://… or a device".to_owned())
            }
            _ => Ok(Self::Plain(PathBuf::from(text))),
        }
    }
}

impl Sink {
    fn signed(rest: &str) -> Result<Self, String> {
        if let Some(path) = rest.strip_prefix('@') {
            return Ok(Self::Signed(Signed::File(PathBuf::from(path))));
        }
        let address = Secret::new(rest);
        SignedUrl::parse(&address).map_err(|error| error.to_string())?;
        Ok(Self::Signed(Signed::Given(address)))
    }

    /// How a person may see it.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Signed(signed) => match signed.address().and_then(|url| SignedUrl::parse(&url)) {
                Ok(url) => url.shown(),
                Err(_) => "the disk that is uploaded".to_owned(),
            },
            Self::Seed(seed) => seed.address.object(&seed.name),
            Self::Vhd(path) | Self::Plain(path) => path.display().to_string(),
        }
    }
}

impl Signed {
    fn address(&self) -> Result<Secret, Error> {
        let path = match self {
            Self::Given(address) => return Ok(address.clone()),
            Self::File(path) => path,
        };
        let failed = |what: String| Error::misuse(path.display().to_string(), what);
        let text =
            std::fs::read(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
        let text = String::from_utf8(text).ok().filter(|text| text.len() <= ADDRESS_BYTES_MAX);
        let text = text.ok_or_else(|| failed("holds no address".to_owned()))?;
        Ok(Secret::new(text.trim()))
    }

    /// Opens the blob there.
    pub fn open(&self, machine: &Machine) -> Result<Arc<dyn Pages>, Error> {
        let first = self.address()?;
        let blob = Arc::new(PageBlob::signed(&first, &page_options(machine)?)?);
        let again = self.clone();
        Ok(signed(blob, move || {
            let next = again.address()?;
            if next == first {
                return Err(Error::refused("the disk that is uploaded", "its signature has ended, or never counted")
                    .remedy(
                        "ask Azure for another and run the same again: it goes on from there. With sas:@FILE another may be put into the file meanwhile",
                    ));
            }
            Ok(next)
        }))
    }
}

impl Seed {
    fn parse(text: &str) -> Result<Self, String> {
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let (folder, name) = place.rsplit_once('/').ok_or("name a blob behind the container")?;
        let question = if query.is_empty() { "" } else { "?" };
        let address = AzureAddress::parse(&format!("{folder}{question}{query}"));
        let address = address.map_err(|error| {
            format!("{error}; the blob's name stands behind the container, as in pageblob:azure://ACCOUNT/CONTAINER/web1-sda.vhd")
        })?;
        let name = encode::percent_decode(name).ok_or("the blob's name is no text")?;
        pipeline_vault::store::check_name(&name).map_err(|error| error.to_string())?;
        Ok(Self { address, name })
    }

    /// Whether it lies where Azure itself has such an account, or where the vault lies.
    #[must_use]
    pub fn is_at_home(&self, vault: Option<&AzureAddress>) -> bool {
        self.address.is_usual()
            || vault.is_some_and(|vault| vault.origin() == self.address.origin())
    }

    /// Opens the blob, made with this length where it is not there.
    pub fn open(&self, bytes: u64, machine: &Machine) -> Result<Arc<PageBlob>, Error> {
        let lookup = |name: &str| (machine.settings)(name)?.into_string().ok();
        let (credentials, address) = Credentials::from_lookup(&self.address, &lookup)?;
        let blob = PageBlob::kept(&address, &self.name, credentials, &page_options(machine)?)?;
        if blob.create(bytes)? {
            log::info!("{}: made, {bytes} bytes", blob.shown());
        }
        Ok(Arc::new(blob))
    }
}

fn page_options(machine: &Machine) -> Result<PageOptions, Error> {
    let lookup = |name: &str| (machine.settings)(name)?.into_string().ok();
    let transport = TransportOptions::from_lookup(&lookup)?;
    Ok(PageOptions { transport, ..PageOptions::default() })
}

/// The path of a file or device, if it is one.
#[must_use]
pub fn path_of(sink: &Sink) -> Option<&Path> {
    match sink {
        Sink::Vhd(path) | Sink::Plain(path) => Some(path),
        Sink::Signed(_) | Sink::Seed(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_no_secret_is_shown() {
        let signed = "sas:https://md-x.blob.core.windows.net/a/abcd?sv=1&sig=hunter2";
        let sink: Sink = signed.parse().unwrap();
        assert_eq!(sink.shown(), "https://md-x.blob.core.windows.net/a/abcd");
        assert!(!format!("{sink:?}").contains("hunter2"));
        let seed: Sink = "pageblob:azure://abc/seeds/web1/sda.vhd".parse().unwrap();
        assert!(seed.shown().ends_with("seeds/web1/sda.vhd"), "{}", seed.shown());
        let there = "pageblob:azure://abc/seeds/sda.vhd?endpoint=http://127.0.0.1:1";
        assert!(there.parse::<Sink>().is_ok());
        assert!(
            matches!("vhd:a.vhd".parse().unwrap(), Sink::Vhd(path) if path == Path::new("a.vhd"))
        );
        assert!(matches!("raw:a".parse().unwrap(), Sink::Plain(path) if path == Path::new("a")));
        assert!(matches!("/dev/sdb".parse().unwrap(), Sink::Plain(_)));
        assert!(matches!("sas:@f".parse().unwrap(), Sink::Signed(Signed::File(_))));
        for wrong in
            ["", "vhd:", "raw:", "sas:https://a/b", "pageblob:azure://abc/con", "pageblob:x"]
        {
            let error = wrong.parse::<Sink>().unwrap_err();
            assert!(!error.is_empty(), "{wrong}");
        }
    }
}
