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
        let key = key(&["RSA", "-pkeyopt", "rsa_keygen_bits:2048"])?;
        secret(&part.join(format!("{name}.key")), &key)?;
        let words = format!("Lifeboat development key ({words}), not for production");
        let made = pem::write("CERTIFICATE", &certificate(&key, &words)?);
        files::write(&part.join(format!("{name}.crt")), made.as_bytes())?;
    }
    let key = key(&["ED25519"])?;
    let der = pem::block(&key, "PRIVATE KEY").unwrap_or_default();
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)
        .map_err(|_| wrong("release", "the key that was made cannot be read", "report it"))?;
    secret(&part.join("release.key"), &key)?;
    let public = [&ED25519_HEAD[..], pair.public_key().as_ref()].concat();
    files::write(&part.join("release.pub"), pem::write("PUBLIC KEY", &public).as_bytes())?;
    files::write(&part.join(DEVELOPMENT), NOTE.as_bytes())?;
    if fs::rename(&part, folder).is_err() {
        // Another build was first: its keys are as good.
        drop(fs::remove_dir_all(&part));
    }
    Ok(())
}

/// A private key, PKCS #8 as PEM. The one crypto provider there is uses keys of RSA and makes none.
fn key(algorithm: &[&str]) -> Result<String, Error> {
    let output =
        Command::new("openssl").args(["genpkey", "-quiet", "-algorithm"]).args(algorithm).output();
    let failed = |what: String| {
        let remedy = "apt-get install openssl, or name keys of your own by --keys";
        Error::new(Blame::Machine, "openssl genpkey", what, remedy)
    };
    match output {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(output) => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// A certificate that a key signs for itself: the same for the same key.
fn certificate(key: &str, name: &str) -> Result<Vec<u8>, Error> {
    let key = pem::block(key, "PRIVATE KEY").unwrap_or_default();
    let made = made(&key, name);
    made.map_err(|error| wrong(name, &format!("no certificate can be made: {error}"), "report it"))
}

fn made(key: &[u8], name: &str) -> Result<Vec<u8>, rcgen::Error> {
    let der = key.try_into().map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    let pair = KeyPair::from_der_and_sign_algo(&der, &PKCS_RSA_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // Positive, and no longer than it may be.
    let mut serial = Sha256::digest(key).to_vec();
    serial.truncate(16);
    serial.iter_mut().take(1).for_each(|byte| *byte = *byte & 0x3f | 0x40);
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
