//! Keys for whoever builds without any: made once, kept in the target folder, and good for nothing but development, as
//! everybody who builds has others and nobody guards them.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_RSA_SHA256, SerialNumber};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha2::{Digest as _, Sha256};

use super::{DEVELOPMENT, ED25519_HEAD, pem, wrong};
use crate::error::{Blame, Error};
use crate::files;

const NOTE: &str = "These keys were made by a build that was given none. Nobody guards them: what they sign is for\n\
                    development only. For a release: cargo image -- --keys FOLDER, see image/README.md.\n";

/// Makes all of them. The folder appears whole or not at all, so that builds beside each other have the same keys.
pub(super) fn make(folder: &Path) -> Result<(), Error> {
    let part = folder.with_extension(format!("{}.part", std::process::id()));
    drop(fs::remove_dir_all(&part));
    files::make_folder(&part)?;
    for (name, words) in [("boot", "boot"), ("exchange", "key exchange"), ("platform", "platform")]
    {
        let key = rsa_key()?;
        secret(&part.join(format!("{name}.key")), &pem::write("PRIVATE KEY", &key))?;
        let certificate =
            certificate(&key, &format!("Lifeboat development key ({words}), not for production"))
                .map_err(|error| {
                wrong(name, &format!("no certificate can be made: {error}"), "report it")
            })?;
        files::write(
            &part.join(format!("{name}.crt")),
            pem::write("CERTIFICATE", &certificate).as_bytes(),
        )?;
    }
    let release = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new())
        .map_err(|_| wrong("release", "no key can be made", "report it"))?;
    let pair = Ed25519KeyPair::from_pkcs8(release.as_ref())
        .map_err(|_| wrong("release", "the key that was made cannot be read", "report it"))?;
    secret(&part.join("release.key"), &pem::write("PRIVATE KEY", release.as_ref()))?;
    let public = [&ED25519_HEAD[..], pair.public_key().as_ref()].concat();
    files::write(&part.join("release.pub"), pem::write("PUBLIC KEY", &public).as_bytes())?;
    files::write(&part.join(DEVELOPMENT), NOTE.as_bytes())?;
    if fs::rename(&part, folder).is_err() {
        // Another build was first: its keys are as good.
        drop(fs::remove_dir_all(&part));
    }
    Ok(())
}

/// A key of RSA, PKCS #8. The one crypto provider there is uses such keys and makes none.
fn rsa_key() -> Result<Vec<u8>, Error> {
    let output = Command::new("openssl")
        .args([
            "genpkey",
            "-quiet",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
        ])
        .output();
    let failed = |what: String| {
        Error::new(
            Blame::Machine,
            "openssl genpkey",
            what,
            "apt-get install openssl, or name keys of your own by --keys",
        )
    };
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            pem::block(&text, "PRIVATE KEY").ok_or_else(|| failed("gave no key".to_owned()))
        }
        Ok(output) => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// A certificate that a key signs for itself: the same for the same key.
fn certificate(key: &[u8], name: &str) -> Result<Vec<u8>, rcgen::Error> {
    let der = key.try_into().map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    let pair = KeyPair::from_der_and_sign_algo(&der, &PKCS_RSA_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // Positive, and no longer than it may be.
    let mut serial = Sha256::digest(key).to_vec();
    serial.truncate(16);
    serial.iter_mut().take(1).for_each(|byte| *byte &= 0x7f);
    params.serial_number = Some(SerialNumber::from(serial));
    // Firmware has no clock that it could judge this by.
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 12, 31);
    Ok(params.self_signed(&pair)?.der().to_vec())
}

/// A file that only its owner can read, from its first byte on.
fn secret(path: &Path, text: &str) -> Result<(), Error> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Error::file(path, &error))
}
