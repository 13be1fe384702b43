//! The site authority: the one key that says who is an agent and who an appliance of this site.
//!
//! It lies sealed in the vault's catalogue, so that every appliance of a vault issues alike. It is made once and does
//! not end: renewing it would mean enrolling every server anew.
//!
//! Clocks. A certificate begins in 2024, whenever it is made, so that no clock that is behind finds it too young. An
//! appliance's certificate does not end: agents know it by its issuer and key, and an agent whose clock was never set must
//! get through. An agent's ends after 90 days by the appliance's clock, which alone judges it, and which gives the next one after 30.

use core::fmt;
use core::time::Duration;

use pipeline::ids::ServerId;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber, date_time_ymd,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::certificate::{
    CERTIFICATE_BYTES_MAX, NotOurs, RequestedKey, SERVER_URN, key_fingerprint_of,
};

/// How long an agent's certificate holds, seconds.
pub const AGENT_SECONDS: u64 = 90 * DAY;
/// How long before its end the next one is given to whoever asks, seconds.
pub const RENEW_SECONDS: u64 = 60 * DAY;
/// The name in every appliance's certificate: agents dial addresses, which change.
pub const APPLIANCE_NAME: &str = "appliance.lifeboat.internal";

const DAY: u64 = 24 * 60 * 60;
/// 9999-12-30: the last end that any certificate can have, less a day.
const LAST: u64 = 253_402_128_000;
/// 2026-01-01: an appliance whose clock says less was never set.
const EPOCH: u64 = 1_767_225_600;
const SITE_BYTES: usize = 4;

/// Why the authority could not do something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The machine has no randomness, or cannot sign.
    Made(String),
    /// The bytes of an authority are damaged.
    Corrupt(&'static str),
    /// The request for a certificate is none.
    Request(NotOurs),
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made(why) => write!(f, "a certificate cannot be made: {why}"),
            Self::Corrupt(why) => write!(f, "the site authority cannot be used: {why}"),
            Self::Request(why) => why.fmt(f),
        }
    }
}

impl core::error::Error for AuthorityError {}

impl From<rcgen::Error> for AuthorityError {
    fn from(error: rcgen::Error) -> Self {
        Self::Made(error.to_string())
    }
}

/// A certificate and its key, DER of X.509 and of PKCS #8.
#[derive(Clone)]
pub struct Credentials {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// The site authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    site: [u8; SITE_BYTES],
    certificate: Vec<u8>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("site", &self.site).finish_non_exhaustive()
    }
}

/// As it is kept. Only ever extended at its end.
#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    version: u8,
    site: [u8; SITE_BYTES],
    certificate: &'a [u8],
    key: &'a [u8],
}

impl Authority {
    /// A new one: once in the life of a vault.
    ///
    /// Errors: no randomness.
    pub fn generate() -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let site = random()?;
        let params = of_authority(site)?;
        let certificate = params.self_signed(&key)?.der().to_vec();
        Ok(Self { issuer: Issuer::new(params, key), site, certificate })
    }

    /// As it is kept, to be sealed at once: the private key is in it.
    ///
    /// Errors: none that can happen with memory left.
    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, AuthorityError> {
        let key = Zeroizing::new(self.issuer.key().serialize_der());
        let kept = Kept { version: 1, site: self.site, certificate: &self.certificate, key: &key };
        let bytes = postcard::to_allocvec(&kept);
        bytes.map(Zeroizing::new).map_err(|error| AuthorityError::Made(error.to_string()))
    }

    /// The one that was kept.
    ///
    /// Errors: damaged bytes, a newer version, or a certificate and a key that do not belong together.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AuthorityError> {
        let kept: Kept<'_> = match postcard::take_from_bytes(bytes) {
            Ok((kept, [])) => kept,
            _ => return Err(AuthorityError::Corrupt("its bytes cannot be read")),
        };
        if kept.version != 1 {
            return Err(AuthorityError::Corrupt("a newer version of Lifeboat wrote it"));
        }
        let key = PrivatePkcs8KeyDer::from(kept.key);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)
            .map_err(|_| AuthorityError::Corrupt("its key cannot be read"))?;
        let public = rcgen::PublicKeyData::subject_public_key_info(&key);
        let public = ring::digest::digest(&ring::digest::SHA256, &public);
        let certified = key_fingerprint_of(kept.certificate);
        if certified.ok().as_ref().map(<[u8; 32]>::as_slice) != Some(public.as_ref()) {
            return Err(AuthorityError::Corrupt("its certificate is of another key"));
        }
        let issuer = Issuer::new(of_authority(kept.site)?, key);
        Ok(Self { issuer, site: kept.site, certificate: kept.certificate.to_vec() })
    }

    /// Its certificate, DER: all that agents and appliances trust.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// A certificate and key for an appliance's replication port. Cheap: one may be made at every start.
    ///
    /// Errors: no randomness.
    pub fn appliance(&self) -> Result<Credentials, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(vec![APPLIANCE_NAME.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, "Lifeboat appliance");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let ends = Duration::from_secs(LAST);
        let certificate = of_holder(params, ends)?.signed_by(&key, &self.issuer)?.der().to_vec();
        Ok(Credentials { certificate, key: Zeroizing::new(key.serialize_der()) })
    }

    /// An agent's certificate (DER) for the key of its request (DER of PKCS #10), `now` in seconds since 1970.
    ///
    /// Errors: a request that is none, no randomness.
    pub fn agent(
        &self,
        request: &[u8],
        server: ServerId,
        now: u64,
    ) -> Result<Vec<u8>, AuthorityError> {
        let key = RequestedKey::of(request).map_err(AuthorityError::Request)?;
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        let name = Ia5String::try_from(format!("{SERVER_URN}{server}"))?;
        params.subject_alt_names.push(SanType::URI(name));
        params.distinguished_name.push(DnType::CommonName, "Lifeboat agent");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let ends = now.max(EPOCH).saturating_add(AGENT_SECONDS).min(LAST);
        let params = of_holder(params, Duration::from_secs(ends))?;
        Ok(params.signed_by(&key, &self.issuer)?.der().to_vec())
    }
}

/// A new key of an agent, which never leaves it, and the request for its certificate.
///
/// Errors: no randomness.
pub fn agent_request() -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), AuthorityError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, "Lifeboat agent");
    let request = params.serialize_request(&key)?.der().to_vec();
    debug_assert!(request.len() <= CERTIFICATE_BYTES_MAX, "a request is some 250 bytes");
    Ok((Zeroizing::new(key.serialize_der()), request))
}

fn of_authority(site: [u8; SITE_BYTES]) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    let [a, b, c, d] = site;
    // Two authorities of one name would be told apart by their keys only, and errors would not.
    params.distinguished_name = rcgen::DistinguishedName::new();
    let name = format!("Lifeboat site {a:02x}{b:02x}{c:02x}{d:02x}");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    Ok(params)
}

fn of_holder(
    mut params: CertificateParams,
    ends: Duration,
) -> Result<CertificateParams, AuthorityError> {
    let mut serial: [u8; 16] = random()?;
    // Positive, and always as long: DER drops leading zeros.
    if let Some(first) = serial.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(1970, 1, 1) + ends;
    Ok(params)
}

fn random<const N: usize>() -> Result<[u8; N], AuthorityError> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled
        .map(|()| bytes)
        .map_err(|_| AuthorityError::Made("the machine has no randomness".to_owned()))
}

#[cfg(test)]
mod tests;
