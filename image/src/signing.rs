//! Who signs: keys and certificates out of a folder, or programs that hold a key elsewhere and sign with it.
//!
//! | in the folder | for |
//! | --- | --- |
//! | `boot.crt`, with `boot.key` or `boot.sign` | what firmware starts: the boot manager and both slots |
//! | `exchange.crt`, with `exchange.key` or `exchange.sign` | the list of keys that firmware takes signatures of (KEK) |
//! | `platform.crt`, with `platform.key` or `platform.sign` | who owns the machine to its firmware (PK) |
//! | `release.pub`, with `release.key` or `release.sign` | updates: Ed25519 |
//!
//! `.crt` is an X.509 certificate, `.pub` a public key, `.key` a private one, PKCS #8, all PEM. `.sign` is a program: it gets
//! the bytes to be signed on its standard input, and gives the bare signature on its standard output: RSA PKCS #1 v1.5 over
//! SHA-256, or Ed25519. What it gives is checked against the certificate before it is used.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ring::rand::SystemRandom;
use ring::signature::{
    ED25519, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    RsaKeyPair, UnparsedPublicKey,
};
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

use crate::error::{Blame, Error};
use crate::files;

/// Keys for whoever has none.
mod development;
/// PEM.
pub(crate) mod pem;

/// The file that says that the keys beside it are for development only.
const DEVELOPMENT: &str = "DEVELOPMENT";
/// A public key of Ed25519 as SPKI: this, and 32 bytes.
const ED25519_HEAD: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// All who sign.
#[derive(Debug)]
pub struct Keys {
    /// What firmware starts.
    pub boot: Signatory,
    /// The lists that firmware keeps; not there where they are signed elsewhere.
    pub owners: Option<Owners>,
    /// Updates.
    pub release: ReleaseSignatory,
    /// By which further keys updates may be signed: those that come after, `release-NAME.pub`.
    pub next: Vec<[u8; 32]>,
    /// Whether nobody may rely on them.
    pub development: bool,
}

/// Who may change what firmware takes signatures of.
#[derive(Debug)]
pub struct Owners {
    /// The machine's owner: PK.
    pub platform: Signatory,
    /// Who changes the list: KEK.
    pub exchange: Signatory,
}

impl Keys {
    /// Those in a folder.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let owners = match folder.join("platform.crt").exists() {
            true => Some(Owners {
                platform: Signatory::read(folder, "platform")?,
                exchange: Signatory::read(folder, "exchange")?,
            }),
            false => None,
        };
        Ok(Self {
            boot: Signatory::read(folder, "boot")?,
            owners,
            release: ReleaseSignatory::read(folder)?,
            next: next(folder)?,
            development: folder.join(DEVELOPMENT).exists(),
        })
    }

    /// Those of this copy of the sources, made where there are none yet: for development only.
    pub fn development(folder: &Path) -> Result<Self, Error> {
        if !folder.join(DEVELOPMENT).exists() {
            development::make(folder)?;
        }
        Self::read(folder)
    }
}

impl Keys {
    /// What an image that they sign trusts.
    #[must_use]
    pub fn trusted(&self) -> image_layout::keys::Keys {
        let mut release = vec![self.release.public];
        release.extend(&self.next);
        image_layout::keys::Keys { release, development: self.development }
    }

    /// What stands behind the names of files that they signed.
    #[must_use]
    pub fn suffix(&self) -> &'static str {
        if self.development { "-development" } else { "" }
    }
}

/// The keys after the one in use.
fn next(folder: &Path) -> Result<Vec<[u8; 32]>, Error> {
    let entries = std::fs::read_dir(folder).map_err(|error| Error::file(folder, &error))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("release-") && name.ends_with(".pub")
    });
    paths.sort();
    paths.iter().map(|path| release_key(path)).collect()
}

/// A public key of Ed25519.
fn release_key(path: &Path) -> Result<[u8; 32], Error> {
    let der = pem::read(path, "PUBLIC KEY")?;
    der.strip_prefix(&ED25519_HEAD).and_then(|key| key.try_into().ok()).ok_or_else(|| {
        wrong(
            &path.display().to_string(),
            "is no public key of Ed25519",
            "make it by openssl pkey -pubout",
        )
    })
}

/// What makes a signature.
enum Hand<K> {
    Key(K),
    Program(PathBuf),
}

/// Who signs with RSA, and is known by a certificate.
pub struct Signatory {
    hand: Hand<RsaKeyPair>,
    public: Vec<u8>,
    modulus_bytes: usize,
    /// The key of the certificate, SubjectPublicKeyInfo.
    pub(crate) public_key: Vec<u8>,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// Who made it, DER.
    pub(crate) issuer: Vec<u8>,
    /// Its number, DER.
    pub(crate) serial: Vec<u8>,
}

impl core::fmt::Debug for Signatory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Signatory").finish_non_exhaustive()
    }
}

impl Signatory {
    fn read(folder: &Path, name: &str) -> Result<Self, Error> {
        let path = folder.join(format!("{name}.crt"));
        let certificate = certificate(&path)?;
        let object = path.display().to_string();
        let broken =
            |what: &str| wrong(&object, what, "give an X.509 certificate with an RSA key, as PEM");
        let parsed =
            Certificate::from_der(&certificate).map_err(|_| broken("is no X.509 certificate"))?;
        let parsed = parsed.tbs_certificate();
        let encoded = |value: Result<Vec<u8>, x509_cert::der::Error>| {
            value.map_err(|_| broken("is no certificate that can be written again"))
        };
        let public = parsed.subject_public_key_info().subject_public_key.raw_bytes().to_vec();
        let modulus_bytes = modulus_bytes(&public).ok_or_else(|| broken("has no RSA key"))?;
        let hand = hand(folder, name, |der| {
            RsaKeyPair::from_pkcs8(der)
                .map_err(|_| "is no RSA key of at least 2048 bits in PKCS #8".to_owned())
        })?;
        let signatory = Self {
            hand,
            public,
            modulus_bytes,
            public_key: encoded(parsed.subject_public_key_info().to_der())?,
            issuer: encoded(parsed.issuer().to_der())?,
            serial: encoded(parsed.serial_number().to_der())?,
            certificate,
        };
        if let Hand::Key(key) = &signatory.hand
            && key.public_key().as_ref() != signatory.public
        {
            return Err(broken("is not the certificate of the key beside it"));
        }
        Ok(signatory)
    }

    /// The signature of these bytes: RSA PKCS #1 v1.5 over SHA-256, the same for the same bytes.
    pub(crate) fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let key = match &self.hand {
            Hand::Program(program) => {
                let signature = ask(program, bytes)?;
                let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public);
                return checked(program, signature, |signature| public.verify(bytes, signature));
            }
            Hand::Key(key) => key,
        };
        let mut signature = vec![0; key.public().modulus_len()];
        // This way of signing takes no random bytes.
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), bytes, &mut signature)
            .map_err(|_| wrong("an RSA key", "does not sign", "make another one"))?;
        Ok(signature)
    }

    /// Length of a signature.
    pub(crate) fn signature_bytes(&self) -> usize {
        self.modulus_bytes
    }
}

/// Who signs updates.
pub struct ReleaseSignatory {
    hand: Hand<Ed25519KeyPair>,
    /// By which the signature is checked.
    pub public: [u8; 32],
}

impl core::fmt::Debug for ReleaseSignatory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ReleaseSignatory").field("public", &self.public).finish_non_exhaustive()
    }
}

impl ReleaseSignatory {
    fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("release.pub");
        let public = release_key(&path)?;
        let object = path.display().to_string();
        let hand = hand(folder, "release", |der| {
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                .map_err(|_| "is no key of Ed25519 in PKCS #8".to_owned())
        })?;
        if let Hand::Key(key) = &hand
            && key.public_key().as_ref() != public
        {
            return Err(wrong(
                &object,
                "does not belong to the key beside it",
                "make it by openssl pkey -pubout",
            ));
        }
        Ok(Self { hand, public })
    }

    /// The signature of these bytes.
    pub fn sign(&self, bytes: &[u8]) -> Result<[u8; 64], Error> {
        let signature = match &self.hand {
            Hand::Key(key) => key.sign(bytes).as_ref().to_vec(),
            Hand::Program(program) => {
                let public = UnparsedPublicKey::new(&ED25519, self.public);
                checked(program, ask(program, bytes)?, |signature| public.verify(bytes, signature))?
            }
        };
        signature
            .try_into()
            .map_err(|_| wrong("release", "gave a signature of another length", "use Ed25519"))
    }
}

fn wrong(object: &str, what: &str, remedy: &str) -> Error {
    Error::new(Blame::Misuse, object, what, remedy)
}

/// A certificate's DER, whichever way it is written.
pub(crate) fn certificate(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = files::read(path)?;
    if bytes.first() == Some(&0x30) {
        return Ok(bytes);
    }
    pem::read(path, "CERTIFICATE")
}

/// Length of the modulus in a public key of RSA: the first number of two.
fn modulus_bytes(public: &[u8]) -> Option<usize> {
    use x509_cert::der::asn1::{Any, UintRef};
    let numbers = Vec::<Any>::from_der(public).ok()?;
    let modulus: UintRef<'_> = numbers.first()?.decode_as().ok()?;
    Some(modulus.as_bytes().len()).filter(|length| (256..=1024).contains(length))
}

/// The key of that name, or the program that has it.
fn hand<K>(
    folder: &Path,
    name: &str,
    parse: impl Fn(&[u8]) -> Result<K, String>,
) -> Result<Hand<K>, Error> {
    let (key, program) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.sign")));
    if !key.exists() && program.exists() {
        return Ok(Hand::Program(program));
    }
    let object = key.display().to_string();
    let facts = std::fs::metadata(&key).map_err(|error| Error::file(&key, &error))?;
    let mode = facts.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let what = format!("is a private key that others on this machine can read (mode {mode:o})");
        let remedy = format!("chmod 600 {object}, and think about who read it until now");
        return Err(wrong(&object, &what, &remedy));
    }
    let der = pem::read(&key, "PRIVATE KEY")?;
    parse(&der)
        .map(Hand::Key)
        .map_err(|what| wrong(&object, &what, "convert it by openssl pkcs8 -topk8 -nocrypt"))
}

/// Has a program sign.
fn ask(program: &Path, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let failed = |what: String| {
        wrong(
            &program.display().to_string(),
            &what,
            "see what it says above; it gets bytes on its input, and gives a bare signature on its output",
        )
    };
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    let given = child.stdin.take().map(|mut input| input.write_all(bytes));
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    match given {
        Some(Ok(())) if output.status.success() => Ok(output.stdout),
        // Who has read enough for a signature may close its end: whether it is one is seen by its bytes.
        Some(Err(error))
            if error.kind() == io::ErrorKind::BrokenPipe && output.status.success() =>
        {
            Ok(output.stdout)
        }
        Some(Err(error)) if output.status.success() => {
            Err(failed(format!("does not take the bytes: {error}")))
        }
        _ => Err(failed(format!("ended with {}", output.status))),
    }
}

fn checked(
    program: &Path,
    signature: Vec<u8>,
    verify: impl Fn(&[u8]) -> Result<(), ring::error::Unspecified>,
) -> Result<Vec<u8>, Error> {
    match verify(&signature) {
        Ok(()) => Ok(signature),
        Err(_) => Err(wrong(
            &program.display().to_string(),
            &format!(
                "gave {} bytes that are no signature by the key that is named beside it",
                signature.len()
            ),
            "RSA: PKCS #1 v1.5 over SHA-256 of its input; Ed25519: of its input itself",
        )),
    }
}

#[cfg(test)]
mod tests;
