//! Certificates say whose they are, for as long as they should, and only to whoever holds the key.

use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

use super::*;
use crate::certificate::Peer;

const SERVER: ServerId = ServerId([7; 16]);
const NOW: u64 = 1_800_000_000;

fn validity(certificate: &[u8]) -> (u64, u64) {
    let parsed = Certificate::from_der(certificate).unwrap();
    let validity = parsed.tbs_certificate().validity();
    let seconds = |time: x509_cert::time::Time| time.to_unix_duration().as_secs();
    (seconds(validity.not_before), seconds(validity.not_after))
}

#[test]
fn an_authority_that_was_kept_issues_what_the_first_did() {
    let first = Authority::generate().unwrap();
    let again = Authority::from_bytes(&first.to_bytes().unwrap()).unwrap();
    assert_eq!(first.certificate(), again.certificate());
    let (_, request) = agent_request().unwrap();
    let certificates = [first, again].map(|from| from.agent(&request, SERVER, NOW).unwrap());
    let [one, two] = certificates.each_ref().map(|der| Certificate::from_der(der).unwrap());
    assert_eq!(one.tbs_certificate().issuer(), two.tbs_certificate().issuer());
    let [one, two] = certificates.map(|der| Peer::of(&der).unwrap());
    assert_eq!((one.server, one.key_fingerprint), (SERVER, two.key_fingerprint));
    assert_ne!(one.serial, two.serial);
    assert_eq!(one.ends_at, NOW + AGENT_SECONDS);
    let day = |day: u64| one.is_to_renew(NOW + day * DAY);
    assert_eq!([day(0), day(29), day(30), day(91)], [false, false, true, true]);
    assert!(one.is_to_renew(u64::MAX) && !one.is_to_renew(0));
}

#[test]
fn damaged_authorities_are_refused_and_none_panics() {
    let whole = Authority::generate().unwrap().to_bytes().unwrap();
    let mut refused = 0;
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        refused += usize::from(Authority::from_bytes(&bytes).is_err());
    }
    // A bit of the certificate that is not its key is for the vault's seal to notice.
    assert!(refused > whole.len() * 2, "{refused} of {}", whole.len() * 8);
    for length in 0..whole.len() {
        assert!(Authority::from_bytes(&whole[..length]).is_err(), "{length}");
    }
    let (one, two) = (Authority::generate().unwrap(), Authority::generate().unwrap());
    let key = two.issuer.key().serialize_der();
    let mixed = Kept { version: 1, site: one.site, certificate: one.certificate(), key: &key };
    let error = Authority::from_bytes(&postcard::to_allocvec(&mixed).unwrap()).unwrap_err();
    assert_eq!(error, AuthorityError::Corrupt("its certificate is of another key"));
    let newer = Kept { version: 2, ..mixed };
    let error = Authority::from_bytes(&postcard::to_allocvec(&newer).unwrap()).unwrap_err();
    assert!(error.to_string().contains("newer version"));
}

#[test]
fn clocks_that_are_wrong_by_years_make_certificates_that_hold() {
    let authority = Authority::generate().unwrap();
    let (_, request) = agent_request().unwrap();
    let (begins, ends) = validity(authority.certificate());
    assert!(begins < EPOCH && ends > LAST);
    for (now, ends) in [(0, EPOCH + AGENT_SECONDS), (NOW, NOW + AGENT_SECONDS), (u64::MAX, LAST)] {
        let certificate = authority.agent(&request, SERVER, now).unwrap();
        assert_eq!(validity(&certificate), (begins, ends), "{now}");
    }
    assert_eq!(validity(&authority.appliance().unwrap().certificate), (begins, LAST));
}

#[test]
fn a_request_counts_only_if_its_own_key_signed_it() {
    let authority = Authority::generate().unwrap();
    let (_, request) = agent_request().unwrap();
    let (_, other) = agent_request().unwrap();
    let mut parsed = x509_cert::request::CertReq::from_der(&request).unwrap();
    let foreign = x509_cert::request::CertReq::from_der(&other).unwrap();
    parsed.info.public_key = foreign.info.public_key;
    let stolen = parsed.to_der().unwrap();
    let error = authority.agent(&stolen, SERVER, NOW).unwrap_err().to_string();
    assert!(error.contains("not signed with its own key"), "{error}");
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = CertificateParams::new(Vec::<String>::new()).unwrap();
    let ed25519 = params.serialize_request(&key).unwrap();
    let error = authority.agent(ed25519.der(), SERVER, NOW).unwrap_err().to_string();
    assert!(error.contains("P-256"), "{error}");
}

#[test]
fn every_bit_of_a_request_is_signed_or_refused() {
    let (_, request) = agent_request().unwrap();
    for bit in 0..request.len() * 8 {
        let mut bytes = request.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(RequestedKey::of(&bytes).is_err(), "bit {bit}");
    }
    for length in 0..request.len() {
        assert!(RequestedKey::of(&request[..length]).is_err());
    }
    assert!(RequestedKey::of(&[0x30; CERTIFICATE_BYTES_MAX + 1]).is_err());
}

#[test]
fn certificates_with_any_bit_flipped_or_cut_never_panic() {
    let authority = Authority::generate().unwrap();
    let (_, request) = agent_request().unwrap();
    let whole = authority.agent(&request, SERVER, NOW).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let _ = Peer::of(&bytes);
    }
    for length in 0..whole.len() {
        assert!(Peer::of(&whole[..length]).is_err());
    }
    assert!(Peer::of(&authority.appliance().unwrap().certificate).is_err());
    assert!(Peer::of(authority.certificate()).is_err());
}

/// One that was kept by version 1; its key is known to everybody, and signs nothing but this test's.
const KEPT: &str = include_str!("kept.txt");

#[test]
fn an_authority_that_was_kept_by_a_version_of_before_is_read() {
    let hex = KEPT.trim_end();
    let pair = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(pair).collect();
    let authority = Authority::from_bytes(&bytes).unwrap();
    assert_eq!(authority.to_bytes().unwrap().as_slice(), bytes);
    let (_, request) = agent_request().unwrap();
    let issued = authority.agent(&request, SERVER, NOW).unwrap();
    let [issued, issuer] =
        [issued.as_slice(), authority.certificate()].map(|der| Certificate::from_der(der).unwrap());
    let names = (issued.tbs_certificate().issuer(), issuer.tbs_certificate().subject());
    assert_eq!(names.0, names.1);
}
