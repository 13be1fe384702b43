//! A client certificate: proves an application's identity by signing an assertion, so that no secret is sent.

use std::path::Path;
use std::sync::Arc;

use core::fmt;

use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use pipeline_vault::Error;

use crate::encode::{base64_url, uuid};
use crate::secret::Secret;

/// For how long an assertion is good: long enough for a slow network, too short to be worth stealing.
const ASSERTION_SECONDS: u64 = 600;

/// A certificate and its key.
#[derive(Clone)]
pub struct ClientCertificate {
    key: Arc<RsaKeyPair>,
    thumbprint: String,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCertificate({})", self.thumbprint)
    }
}

impl ClientCertificate {
    /// Reads a PEM file that holds the certificate and its unencrypted RSA key.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let named = || format!("certificate file «{}»", path.display());
        let pem = std::fs::read(path).map(Zeroizing::new).map_err(|error| {
            Error::misuse(named(), format!("cannot be read ({error})"))
                .remedy("check AZURE_CLIENT_CERTIFICATE_PATH")
        })?;
        Self::from_pem(&pem).map_err(|what| {
            Error::misuse(named(), what).remedy(
                "it must be PEM with the certificate and its RSA key, unencrypted; from a PFX: \
                 openssl pkcs12 -in FILE.pfx -nodes -out FILE.pem",
            )
        })
    }

    /// Reads PEM; the error says what is wrong with it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let text = core::str::from_utf8(pem).map_err(|_| "is not PEM".to_owned())?;
        if text.contains("ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err("holds an encrypted key".to_owned());
        }
        let certificate =
            CertificateDer::from_pem_slice(pem).map_err(|_| "holds no certificate".to_owned())?;
        let key =
            PrivateKeyDer::from_pem_slice(pem).map_err(|_| "holds no private key".to_owned())?;
        let pair = match &key {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err("holds a key that is not RSA".to_owned()),
        };
        let pair = pair.map_err(|error| format!("holds a key that cannot be used ({error})"))?;
        let thumbprint = base64_url(digest(&SHA256, &certificate).as_ref());
        Ok(Self { key: Arc::new(pair), thumbprint })
    }

    /// The assertion that an identity service accepts instead of a secret: a JWT signed with PS256.
    pub fn assertion(
        &self,
        audience: &str,
        client: &str,
        unix_seconds: u64,
        name: [u8; 16],
    ) -> Result<Secret, Error> {
        let header = serde_json::json!({
            "alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint,
        });
        let claims = serde_json::json!({
            "aud": audience, "iss": client, "sub": client, "jti": uuid(name),
            "nbf": unix_seconds, "iat": unix_seconds, "exp": unix_seconds + ASSERTION_SECONDS,
        });
        let (header, claims) = (header.to_string(), claims.to_string());
        let text = format!("{}.{}", base64_url(header.as_bytes()), base64_url(claims.as_bytes()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PSS_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| Error::misuse("client certificate", "its key cannot sign"))?;
        Ok(Secret::new(format!("{text}.{}", base64_url(&signature))))
    }
}

#[cfg(test)]
mod tests;
