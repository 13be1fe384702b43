//! A certificate of a person's own, for whoever comes by one of its names; and which of the two a client is shown.
//!
//! The one that the machine made itself is never taken away: agents pin it, whoever comes by an address sees it, and a person who
//! lost the way by name has it. So a certificate that cannot be served keeps nobody out.

use core::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use pipeline_vault::Error;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use smol::channel::{Receiver, Sender, bounded};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use zeroize::Zeroizing;

/// Longest chain with its key: no certificates of a server are larger.
pub const PEM_BYTES_MAX: usize = 40 * 1024;
const CHAIN_MAX: usize = 10;
/// A clock may differ from the authority's by so much.
const SLACK_MILLIS: u64 = 24 * 3_600_000;

/// What is wrong, and with which of the two texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// `chain` or `key`.
    pub field: &'static str,
    /// What it is, in a clause.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
}

/// A certificate with its key, checked.
#[derive(Clone)]
pub struct Own {
    certified: Arc<CertifiedKey>,
    /// Chain and key as they were given, for the door.
    texts: Arc<Zeroizing<(String, String)>>,
    /// The names that it is for, in small letters.
    pub names: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// SHA-256, as browsers show it.
    pub sha256: String,
    /// When it ends, in milliseconds since 1970.
    pub ends_millis: u64,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Own({:?})", self.names)
    }
}

impl Own {
    /// Reads both texts, PEM. The first certificate is the server's.
    pub fn parse(chain: &str, key: &str, now_millis: u64) -> Result<Self, Wrong> {
        let (own, begins) = Self::read(chain, key)?;
        if own.ends_millis <= now_millis {
            return Err(wrong(
                "chain",
                "has ended already".to_owned(),
                "renew it; or set this machine's clock, if that is wrong",
            ));
        }
        if begins > now_millis.saturating_add(SLACK_MILLIS) {
            return Err(wrong("chain", "is not good yet".to_owned(), "check this machine's clock"));
        }
        Ok(own)
    }

    /// The texts by which it is read again.
    pub(super) fn texts(&self) -> (&str, &str) {
        (&self.texts.0, &self.texts.1)
    }

    /// Reads both texts, whatever the clock says; and when it begins, in milliseconds since 1970.
    pub(super) fn read(chain: &str, key: &str) -> Result<(Self, u64), Wrong> {
        let texts = Arc::new(Zeroizing::new((chain.to_owned(), key.to_owned())));
        let certificates = read_chain(chain)?;
        let key = read_key(key)?;
        let first = certificates.first().map(|first| first.to_vec()).unwrap_or_default();
        let facts = Certificate::from_der(&first).map_err(|error| {
            wrong(
                "chain",
                format!("begins with what is no certificate: {error}"),
                "give PEM, the server's certificate first",
            )
        })?;
        let facts = facts.tbs_certificate();
        let millis = |time: x509_cert::time::Time| {
            u64::try_from(time.to_unix_duration().as_millis()).unwrap_or(u64::MAX)
        };
        let validity = facts.validity();
        let (begins, ends_millis) = (millis(validity.not_before), millis(validity.not_after));
        let names =
            names(facts.get_extension::<SubjectAltName>().ok().flatten().map(|(_, names)| names));
        if names.is_empty() {
            return Err(wrong(
                "chain",
                "names no host".to_owned(),
                "have one made with the machine's DNS name in it",
            ));
        }
        let provider = rustls::crypto::ring::default_provider();
        let certified = CertifiedKey::from_der(certificates, key, &provider).map_err(bad_key)?;
        let issuer = facts.issuer().to_string();
        let certified = Arc::new(certified);
        let own = Self { certified, texts, names, issuer, sha256: sha256(&first), ends_millis };
        Ok((own, begins))
    }

    /// Whether it is for this name; a star stands for one part.
    #[must_use]
    pub fn is_for(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let rest = name.split_once('.').map(|(_, rest)| rest);
        self.names.iter().any(|known| {
            *known == name || known.strip_prefix("*.").is_some_and(|known| Some(known) == rest)
        })
    }
}

/// Why rustls does not take a key.
fn bad_key(error: rustls::Error) -> Wrong {
    if matches!(error, rustls::Error::InconsistentKeys(_)) {
        let remedy =
            "give the key that the certificate was made for, and the server's certificate first";
        return wrong("key", "is not that of the first certificate".to_owned(), remedy);
    }
    let remedy = "give an ECDSA (P-256, P-384), Ed25519 or RSA key of at least 2048 bits";
    wrong("key", format!("cannot be used: {error}"), remedy)
}

fn wrong(field: &'static str, what: String, remedy: &'static str) -> Wrong {
    Wrong { field, what, remedy }
}

fn read_chain(text: &str) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let bad = |what: String| {
        wrong("chain", what, "give PEM: -----BEGIN CERTIFICATE-----, the server's first")
    };
    if text.len() > PEM_BYTES_MAX {
        return Err(bad("is larger than certificates of a server are".to_owned()));
    }
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let chain = read.map_err(|error| bad(format!("cannot be read: {error}")))?;
    match chain.len() {
        0 => Err(bad("holds no certificate".to_owned())),
        1..=CHAIN_MAX => Ok(chain),
        _ => Err(bad(format!("holds more than {CHAIN_MAX} certificates"))),
    }
}

fn read_key(text: &str) -> Result<PrivateKeyDer<'static>, Wrong> {
    let bad = |what: &str| {
        wrong("key", what.to_owned(), "give PEM: -----BEGIN PRIVATE KEY-----, without a passphrase")
    };
    if text.len() > PEM_BYTES_MAX {
        return Err(bad("is larger than any key is"));
    }
    if text.contains("ENCRYPTED") {
        return Err(bad("is sealed with a passphrase"));
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| bad("holds no key"))
}

/// Host names and addresses, in small letters.
fn names(found: Option<SubjectAltName>) -> Vec<String> {
    let names = found.map(|found| found.0).unwrap_or_default();
    let name = |name: GeneralName| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let four =
                <[u8; 4]>::try_from(bytes).map(|bytes| core::net::IpAddr::from(bytes).to_string());
            let six = || {
                <[u8; 16]>::try_from(bytes).map(|bytes| core::net::IpAddr::from(bytes).to_string())
            };
            four.or_else(|_| six()).ok()
        }
        _ => None,
    };
    names.into_iter().filter_map(name).collect()
}

/// SHA-256 as browsers show it: `AB:CD:...`.
pub(crate) fn sha256(der: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    let mut text = String::with_capacity(95);
    for (place, byte) in digest.as_ref().iter().enumerate() {
        let colon = if place == 0 { "" } else { ":" };
        // Writing into a string cannot fail.
        let _ = write!(text, "{colon}{byte:02X}");
    }
    text
}

/// What clients are shown.
#[derive(Debug)]
pub(super) struct Shown {
    /// The machine's.
    machine: Arc<CertifiedKey>,
    own: Arc<Slot>,
}

/// The certificate of a person's own, while there is one.
#[derive(Debug, Default)]
pub(super) struct Slot {
    own: RwLock<Option<Own>>,
    /// Who is told that it changed.
    watchers: Mutex<Vec<Sender<()>>>,
}

impl Slot {
    pub(super) fn get(&self) -> RwLockReadGuard<'_, Option<Own>> {
        self.own.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, own: Option<Own>) {
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = own;
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| {
            // Full, it was told already.
            let _ = watcher.try_send(());
            !watcher.is_closed()
        });
    }

    pub(super) fn changes(&self) -> Receiver<()> {
        let (tell, told) = bounded(1);
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).push(tell);
        told
    }
}

impl Shown {
    pub(super) fn new(machine: CertifiedKey, own: Arc<Slot>) -> Self {
        Self { machine: Arc::new(machine), own }
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let own = self.own.get();
        let fits = own.as_ref().zip(hello.server_name()).filter(|(own, name)| own.is_for(name));
        Some(fits.map_or_else(|| Arc::clone(&self.machine), |(own, _)| Arc::clone(&own.certified)))
    }
}

/// The machine's certificate and key as rustls wants them; fails where the two do not belong together.
pub(super) fn machine(
    certificate: &[u8],
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, Error> {
    let failed = |error: rustls::Error| {
        Error::corrupt("the certificate", format!("cannot be used: {error}"))
            .remedy("remove it: a new one is made, whose fingerprint the console shows")
    };
    let provider = rustls::crypto::ring::default_provider();
    let chain = vec![CertificateDer::from(certificate.to_vec())];
    CertifiedKey::from_der(chain, key, &provider).map_err(failed)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::serve::identity::pem;

    /// 2026-11-30.
    const NOW: u64 = 1_795_996_800_000;

    fn made(names: &[&str], years: (i32, i32)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        (pem("CERTIFICATE", certificate.der()), pem("PRIVATE KEY", &key.serialize_der()))
    }

    #[test]
    fn a_name_is_one_of_its_own_whatever_its_letters_and_a_star_is_one_part() {
        let (chain, key) = made(&["Lifeboat.example", "*.site.example", "10.0.0.5"], (2025, 2030));
        let own = Own::parse(&chain, &key, NOW).unwrap();
        assert_eq!(own.names, ["lifeboat.example", "*.site.example", "10.0.0.5"]);
        for name in ["lifeboat.example", "LIFEBOAT.EXAMPLE", "a.site.example"] {
            assert!(own.is_for(name), "{name}");
        }
        for name in ["site.example", "a.b.site.example", "example", "", "lifeboat.example.org"] {
            assert!(!own.is_for(name), "{name}");
        }
        assert_eq!((own.sha256.len(), own.ends_millis), (95, 1_893_456_000_000));
    }

    #[test]
    fn dates_names_and_keys_are_looked_at_before_anything_is_shown() {
        let told = |(chain, key): (String, String)| {
            let wrong = Own::parse(&chain, &key, NOW).unwrap_err();
            (wrong.field, wrong.what)
        };
        assert_eq!(told(made(&["a.example"], (2020, 2021))), ("chain", "has ended already".into()));
        assert_eq!(told(made(&["a.example"], (2030, 2040))), ("chain", "is not good yet".into()));
        assert_eq!(told(made(&[], (2025, 2030))), ("chain", "names no host".into()));
        let (one, other) = (made(&["a.example"], (2025, 2030)), made(&["a.example"], (2025, 2030)));
        assert_eq!(told((one.0.clone(), other.1)).0, "key");
        assert_eq!(told((one.0.repeat(11), one.1.clone())).0, "chain");
        assert_eq!(told((one.0.clone(), "-----BEGIN ENCRYPTED PRIVATE KEY-----".into())).0, "key");
        assert_eq!(told((String::new(), one.1)).0, "chain");
    }
}
