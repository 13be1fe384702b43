//! What came with the slot that runs: the policy that its builder signed, the signature, and the signer's key, in the form of
//! systemd's stub. All of it is data; the chip believes or refuses it.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use x509_cert::der::asn1::{Any, UintRef};
use x509_cert::der::{Decode as _, asn1::BitString};

const SIGNATURE: &str = "tpm2-pcr-signature.json";
const KEY: &str = "tpm2-pcr-public-key.pem";
/// Neither file is longer.
const FILE_BYTES_MAX: u64 = 16 * 1024;
/// What the signer's public exponent must be: the one that a chip takes for granted.
const EXPONENT: [u8; 3] = [1, 0, 1];

/// What was signed of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The policy over register 11.
    pub policy: [u8; 32],
    /// RSASSA PKCS #1 v1.5 over its SHA-256.
    pub signature: Vec<u8>,
    /// The signer's modulus.
    pub modulus: Vec<u8>,
}

#[derive(Deserialize)]
struct Banks {
    #[serde(default)]
    sha256: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    pcrs: Vec<u8>,
    pol: String,
    sig: String,
}

impl Signed {
    /// What the stub put into this folder; `None` where it put nothing of the kind there that can be used.
    #[must_use]
    pub fn read(folder: &Path) -> Option<Self> {
        let file = |name: &str| {
            let path = folder.join(name);
            let short = fs::metadata(&path).is_ok_and(|facts| facts.len() <= FILE_BYTES_MAX);
            if short { fs::read(&path).ok() } else { None }
        };
        Self::parse(&file(SIGNATURE)?, &file(KEY)?)
    }

    /// The same of the files' bytes.
    #[must_use]
    pub fn parse(signature: &[u8], key: &[u8]) -> Option<Self> {
        let banks: Banks = serde_json::from_slice(signature).ok()?;
        let entry = banks.sha256.into_iter().find(|entry| entry.pcrs == [11])?;
        let policy = unhex(&entry.pol)?;
        let signature = STANDARD.decode(entry.sig).ok()?;
        let modulus = modulus(key)?;
        (signature.len() == modulus.len()).then_some(Self { policy, signature, modulus })
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// The modulus of an RSA key, PEM of SubjectPublicKeyInfo.
fn modulus(pem: &[u8]) -> Option<Vec<u8>> {
    let text = str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once("-----BEGIN PUBLIC KEY-----")?;
    let (body, _) = rest.split_once("-----END PUBLIC KEY-----")?;
    let der = STANDARD.decode(body.split_whitespace().collect::<String>()).ok()?;
    let parts = Vec::<Any>::from_der(&der).ok()?;
    let key: BitString = parts.get(1)?.decode_as().ok()?;
    let numbers = Vec::<Any>::from_der(key.as_bytes()?).ok()?;
    let number = |place: usize| {
        let number: UintRef<'_> = numbers.get(place)?.decode_as().ok()?;
        Some(number.as_bytes().to_vec())
    };
    (number(1)? == EXPONENT).then(|| number(0)).flatten().filter(|modulus| modulus.len() <= 512)
}
