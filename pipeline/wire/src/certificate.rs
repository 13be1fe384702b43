//! What a certificate says of its holder, and what the request for one must say.
//!
//! Only P-256: one kind of key is enough, and every TLS library has it.

use core::fmt;

use pipeline::ids::ServerId;
use ring::digest::{SHA256, digest};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::request::CertReq;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use crate::authority::RENEW_SECONDS;

/// Before the hexadecimal name of a server in its certificate.
pub const SERVER_URN: &str = "urn:lifeboat:server:";
/// Larger than any certificate or request of ours.
pub const CERTIFICATE_BYTES_MAX: usize = 4096;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
/// An uncompressed point of P-256.
const POINT_BYTES: usize = 65;

/// Bytes that are no certificate, or no request for one, of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOurs(pub &'static str);

impl fmt::Display for NotOurs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for NotOurs {}

/// An agent, as its certificate names it. That the site authority issued it is the verifier's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Peer {
    /// Which server.
    pub server: ServerId,
    /// Of the certificate.
    pub serial: [u8; 16],
    /// SHA-256 of the public key: stays when a certificate is renewed for the same key.
    pub key_fingerprint: [u8; 32],
    /// When the certificate ends, seconds since 1970.
    pub ends_at: u64,
}

impl Peer {
    /// What a certificate (DER) says.
    ///
    /// Errors: bytes that are no certificate of an agent.
    pub fn of(certificate: &[u8]) -> Result<Self, NotOurs> {
        let parsed = parse(certificate)?;
        let certificate = parsed.tbs_certificate();
        let serial = certificate.serial_number().as_bytes();
        let serial = serial
            .try_into()
            .map_err(|_| NotOurs("the certificate's number is not one of ours"))?;
        let ends_at = certificate.validity().not_after.to_unix_duration().as_secs();
        let key_fingerprint = key_fingerprint(certificate.subject_public_key_info())?;
        Ok(Self { server: server_of(&parsed)?, serial, key_fingerprint, ends_at })
    }

    /// Whether the next certificate is given to whoever asks, by the appliance's clock. Agents ask at the beginning of
    /// each session and once a day, since their clocks say nothing.
    #[must_use]
    pub fn is_to_renew(&self, now: u64) -> bool {
        now.saturating_add(RENEW_SECONDS) >= self.ends_at
    }
}

/// SHA-256 of a certificate's public key, whoever holds it.
///
/// Errors: bytes that are no certificate.
pub fn key_fingerprint_of(certificate: &[u8]) -> Result<[u8; 32], NotOurs> {
    key_fingerprint(parse(certificate)?.tbs_certificate().subject_public_key_info())
}

/// The public key that a request (DER of PKCS #10) asks a certificate for: its holder signed the request with it.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestedKey {
    point: [u8; POINT_BYTES],
    fingerprint: [u8; 32],
}

impl fmt::Debug for RequestedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestedKey").finish_non_exhaustive()
    }
}

impl RequestedKey {
    /// The key of a request. What else it says is passed over: whom it is for, the appliance knows.
    ///
    /// Errors: no request, another kind of key, or not signed with it.
    pub fn of(request: &[u8]) -> Result<Self, NotOurs> {
        const FOREIGN: NotOurs = NotOurs("the request for a certificate cannot be read");
        if request.len() > CERTIFICATE_BYTES_MAX {
            return Err(FOREIGN);
        }
        let request = CertReq::from_der(request).map_err(|_| FOREIGN)?;
        let key = &request.info.public_key;
        let curve = key.algorithm.parameters.as_ref().and_then(|any| any.decode_as().ok());
        if key.algorithm.oid != EC_PUBLIC_KEY || curve != Some(P256) {
            return Err(NotOurs("the request for a certificate is for a key that is not of P-256"));
        }
        let point = key.subject_public_key.as_bytes().and_then(|bytes| bytes.try_into().ok());
        let point: [u8; POINT_BYTES] = point.ok_or(FOREIGN)?;
        let signed = request.info.to_der().map_err(|_| FOREIGN)?;
        let signature = request.signature.as_bytes().ok_or(FOREIGN)?;
        let holds =
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &point).verify(&signed, signature);
        if request.algorithm.oid != ECDSA_WITH_SHA256 || holds.is_err() {
            return Err(NotOurs("the request for a certificate is not signed with its own key"));
        }
        Ok(Self { point, fingerprint: key_fingerprint(key)? })
    }

    /// SHA-256 of the key, as [`Peer::key_fingerprint`].
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

impl rcgen::PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

fn parse(certificate: &[u8]) -> Result<Certificate, NotOurs> {
    const FOREIGN: NotOurs = NotOurs("the certificate cannot be read");
    if certificate.len() > CERTIFICATE_BYTES_MAX {
        return Err(FOREIGN);
    }
    Certificate::from_der(certificate).map_err(|_| FOREIGN)
}

fn server_of(certificate: &Certificate) -> Result<ServerId, NotOurs> {
    const NONE: NotOurs = NotOurs("the certificate names no server");
    let names = certificate.tbs_certificate().get_extension::<SubjectAltName>();
    let (_, SubjectAltName(names)) = names.ok().flatten().ok_or(NONE)?;
    // One name and nothing else: a certificate for two servers would be whichever its holder likes.
    let [GeneralName::UniformResourceIdentifier(name)] = names.as_slice() else { return Err(NONE) };
    name.as_str().strip_prefix(SERVER_URN).and_then(|hex| hex.parse().ok()).ok_or(NONE)
}

fn key_fingerprint(key: &SubjectPublicKeyInfoOwned) -> Result<[u8; 32], NotOurs> {
    let der = key.to_der().map_err(|_| NotOurs("the certificate's key cannot be read"))?;
    digest(&SHA256, &der)
        .as_ref()
        .try_into()
        .map_err(|_| NotOurs("the certificate's key cannot be read"))
}
