//! What is kept of the answers: one document each, written whole once its question is answered.
//!
//! How far first run is follows from which of them are there; none says so itself, so no two can disagree after a power cut.

use core::net::IpAddr;

use firmware_web::api::setup::How;
use firmware_web::api::views::appliance::CalendarView;
use pipeline_vault::Error;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::credential::Credential;
use crate::admin::keep::Keep;

/// A kind of document.
pub(super) trait Document: Serialize + DeserializeOwned {
    /// Its name.
    const NAME: &'static str;
}

/// The network was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NetworkKept {
    /// Somebody said that it is right.
    pub(super) answered: bool,
}

impl Document for NetworkKept {
    const NAME: &'static str = "setup-network";
}

/// The vault, and what opens it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VaultKept {
    /// Where it is, as it was typed.
    pub(super) place: String,
    /// What opens the storage.
    pub(super) credential: Credential,
    /// Made or taken over.
    pub(super) how: How,
    /// Its identity.
    pub(super) vault: String,
    /// The content of a key file.
    pub(super) key: String,
    /// It is known to be there: false while it is being made, so that a power cut leaves its key.
    pub(super) stands: bool,
    /// Somebody typed the recovery key.
    pub(super) confirmed: bool,
}

impl Document for VaultKept {
    const NAME: &'static str = "setup-vault";
}

impl Drop for VaultKept {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// Zone, time servers, limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TimeKept {
    /// The zone's name.
    pub(super) zone: String,
    /// Minutes east of UTC.
    pub(super) zone_minutes: i16,
    /// Time servers.
    pub(super) servers: Vec<IpAddr>,
    /// As it was typed.
    pub(super) calendar: CalendarView,
}

impl Document for TimeKept {
    const NAME: &'static str = "setup-time";
}

/// A certificate of a person's own.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CertificateKept {
    /// PEM.
    pub(super) chain: String,
    /// PEM.
    pub(super) key: String,
}

impl Document for CertificateKept {
    const NAME: &'static str = "setup-certificate";
}

impl Drop for CertificateKept {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// The document; `None` where there is none, or it was taken away.
pub(super) fn read<D: Document>(keep: &dyn Keep) -> Result<Option<D>, Error> {
    let Some(bytes) = keep.read(D::NAME)?.map(Zeroizing::new) else { return Ok(None) };
    if bytes.is_empty() {
        return Ok(None);
    }
    // What is in it may be secret, so its parser's words are not told.
    let damaged = |_| {
        Error::corrupt(
            format!("document {}", D::NAME),
            "cannot be read: another version wrote it, or it is damaged",
        )
        .remedy("start the version that wrote it, or answer the question anew")
    };
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

/// Keeps it.
pub(super) fn write<D: Document>(keep: &dyn Keep, document: &D) -> Result<(), Error> {
    let bytes = serde_json::to_vec(document).map(Zeroizing::new);
    let bytes =
        bytes.map_err(|error| Error::misuse(format!("document {}", D::NAME), error.to_string()))?;
    keep.write(D::NAME, &bytes)
}

/// Takes it away.
pub(super) fn clear<D: Document>(keep: &dyn Keep) -> Result<(), Error> {
    keep.write(D::NAME, &[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::keep::MemoryKeep;

    #[test]
    fn an_answer_is_there_whole_or_not_at_all() {
        let keep = MemoryKeep::default();
        assert_eq!(read::<TimeKept>(&keep).unwrap(), None);
        let kept =
            TimeKept { zone: "Europe/Berlin".into(), zone_minutes: 60, ..TimeKept::default() };
        write(&keep, &kept).unwrap();
        assert_eq!(read(&keep).unwrap(), Some(kept));
        clear::<TimeKept>(&keep).unwrap();
        assert_eq!(read::<TimeKept>(&keep).unwrap(), None);
    }

    #[test]
    fn damage_is_told_and_shows_nothing_of_what_is_there() {
        let keep = MemoryKeep::default();
        keep.write(VaultKept::NAME, b"{\"place\":\"SECRET\"").unwrap();
        let told = read::<VaultKept>(&keep).err().unwrap().to_string();
        assert!(told.contains("setup-vault") && !told.contains("SECRET"), "{told}");
    }
}
