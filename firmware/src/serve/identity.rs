//! Who the machine is to browsers and agents: a certificate that it signed itself, known by its fingerprint.
//!
//! It does not end: nobody but a person who compares fingerprints vouches for it, and one that ends on the worst day of
//! the year helps nobody (RFC 5280, 4.1.2.5 has the date for that). Losing it costs a new look at the console.

use core::fmt;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipeline_vault::Error;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use smol::channel::Receiver;
use zeroize::Zeroizing;

use own::{Own, Shown, Slot};

/// A certificate of a person's own.
pub mod own;

/// What the file in the state folder is called.
const FILE: &str = "identity.pem";
/// Such a file is two small texts.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The machine's certificate and its key, and the chain and key of a person's own.
type Told<'a> = (&'a [u8], &'a [u8], Option<(&'a str, &'a str)>);

/// A certificate and its key.
pub struct Identity {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    /// What whoever comes by name is shown.
    own: Arc<Slot>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

impl Identity {
    /// A new one for a machine of this name.
    pub fn generate(name: &str) -> Result<Self, Error> {
        let failed =
            |error: rcgen::Error| Error::device("the certificate", format!("is not made: {error}"));
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut names = vec!["lifeboat".to_owned()];
        names.extend(is_host_name(name).then(|| name.to_ascii_lowercase()));
        names.dedup();
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, "Lifeboat");
        // A machine whose clock was never set makes one too.
        params.not_before = date_time_ymd(2024, 1, 1);
        params.not_after = date_time_ymd(9999, 12, 31);
        let certificate = params.self_signed(&key).map_err(failed)?;
        Self::from_der(certificate.der().to_vec(), key.serialize_der())
    }

    /// One that was kept: DER of X.509 and of PKCS #8. Fails where the two do not belong together.
    pub fn from_der(certificate: Vec<u8>, key: Vec<u8>) -> Result<Self, Error> {
        let identity = Self { certificate, key: Zeroizing::new(key), own: Arc::default() };
        identity.tls().map(|_| identity)
    }

    /// DER of X.509.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// DER of PKCS #8.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// SHA-256 of the certificate as browsers show it: `AB:CD:...`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        own::sha256(&self.certificate)
    }

    /// The certificate of a person's own, where there is one.
    #[must_use]
    pub fn own(&self) -> Option<Own> {
        self.own.get().clone()
    }

    /// From now on this one is shown to whoever comes by its names, by every door that is open already too.
    pub fn set_own(&self, own: Option<Own>) {
        self.own.set(own);
    }

    /// Told whenever another certificate of a person's own is shown.
    pub(super) fn changes(&self) -> Receiver<()> {
        self.own.changes()
    }

    /// The same machine once more: what is changed there is changed here.
    pub(super) fn share(&self) -> Self {
        let (certificate, key) = (self.certificate.clone(), self.key.clone());
        Self { certificate, key, own: Arc::clone(&self.own) }
    }

    /// All that a door shows, for a process of its own.
    pub(super) fn told(&self) -> Zeroizing<Vec<u8>> {
        let own = self.own.get();
        let own = own.as_ref().map(Own::texts);
        let told: Told<'_> = (&self.certificate, &self.key, own);
        // Into memory, which does not fail; without anything the door says what it lacks.
        Zeroizing::new(postcard::to_allocvec(&told).unwrap_or_default())
    }

    /// What was told so.
    pub(super) fn heard(told: Vec<u8>) -> Result<Self, Error> {
        let told = Zeroizing::new(told);
        let unread = |what: String| Error::corrupt("the certificate", what);
        let (certificate, key, own): Told<'_> = postcard::from_bytes(&told)
            .map_err(|error| unread(format!("was not handed on whole: {error}")))?;
        let identity = Self::from_der(certificate.to_vec(), key.to_vec())?;
        if let Some((chain, key)) = own {
            let (own, _) = Own::read(chain, key).map_err(|wrong| unread(wrong.what))?;
            identity.set_own(Some(own));
        }
        Ok(identity)
    }

    /// How the machine speaks TLS: versions 1.3 and 1.2, asking no client who it is.
    pub fn tls(&self) -> Result<Arc<ServerConfig>, Error> {
        let failed = |error: rustls::Error| {
            Error::corrupt("the certificate", format!("cannot be used: {error}"))
                .remedy("remove it: a new one is made, whose fingerprint the console shows")
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.to_vec()));
        let machine = own::machine(&self.certificate, key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider);
        let mut config = builder
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Shown::new(machine, Arc::clone(&self.own))));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// The one kept in `folder`, or a new one that is kept there from now on.
    pub fn of_folder(folder: &Path, name: &str) -> Result<Self, Error> {
        let path = folder.join(FILE);
        match fs::metadata(&path) {
            Ok(facts) if facts.len() <= FILE_BYTES_MAX => return Self::read(&path),
            Ok(_) => return Err(no_identity(&path, "is larger than any")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(no_identity(&path, &error.to_string())),
        }
        let identity = Self::generate(name)?;
        identity.write(folder, &path).map_err(|error| {
            Error::device(path.display().to_string(), format!("cannot be written: {error}"))
                .remedy("name a folder for it with --state")
        })?;
        Ok(identity)
    }

    fn read(path: &Path) -> Result<Self, Error> {
        use rustls::pki_types::pem::PemObject as _;
        let text = fs::read(path).map_err(|error| no_identity(path, &error.to_string()))?;
        let text = Zeroizing::new(text);
        let broken = |error: rustls::pki_types::pem::Error| no_identity(path, &error.to_string());
        let certificate = CertificateDer::from_pem_slice(&text).map_err(broken)?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(&text).map_err(broken)?;
        Self::from_der(certificate.to_vec(), key.secret_pkcs8_der().to_vec())
    }

    /// Whole or not at all, for its owner only.
    fn write(&self, folder: &Path, path: &Path) -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let new = path.with_extension(format!("new-{}", std::process::id()));
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(pem("CERTIFICATE", &self.certificate).as_bytes())?;
        file.write_all(Zeroizing::new(pem("PRIVATE KEY", &self.key)).as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        fs::File::open(folder)?.sync_all()
    }
}

/// Where a program that is not the first process keeps its certificate.
#[must_use]
pub fn default_folder() -> Option<PathBuf> {
    let is_root = rustix::process::geteuid().is_root();
    pipeline_vault::vault::known::folder(&|name: &str| std::env::var_os(name), is_root)
}

fn no_identity(path: &Path, why: &str) -> Error {
    Error::corrupt(path.display().to_string(), format!("holds no certificate: {why}"))
        .remedy("remove it: a new one is made, with another fingerprint")
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}

fn is_host_name(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(part)
}

#[cfg(test)]
mod tests;
