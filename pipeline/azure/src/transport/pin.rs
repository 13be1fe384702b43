//! A certificate that is known by its fingerprint: an appliance makes its own, which no authority vouches for.
//!
//! Whoever shows another one is refused before anything is said, and so is a peer that shows the right one without its key.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
};

use pipeline_vault::Error;

/// A fingerprint: SHA-256 of a certificate's bytes.
pub type Fingerprint = [u8; 32];

/// Which certificate is wanted, and which was shown.
#[derive(Debug, Default)]
pub struct Pin {
    wanted: Option<Fingerprint>,
    shown: Mutex<Option<Fingerprint>>,
}

impl Pin {
    /// This one; without one, whatever an authority vouches for.
    #[must_use]
    pub fn new(wanted: Option<Fingerprint>) -> Arc<Self> {
        Arc::new(Self { wanted, shown: Mutex::default() })
    }

    /// Which one is wanted.
    #[must_use]
    pub fn wanted(&self) -> Option<Fingerprint> {
        self.wanted
    }

    /// Notes what a peer showed to somebody else, who looked for us.
    pub fn note(&self, shown: Option<Fingerprint>) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    /// What the last peer showed.
    #[must_use]
    pub fn shown(&self) -> Option<Fingerprint> {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What every connection agrees on.
pub(super) fn client_config(
    pin: &Arc<Pin>,
    roots: RootCertStore,
) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| Error::misuse("TLS", error.to_string()))?;
    let verifier = Verifier { pin: Arc::clone(pin), usual, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::misuse("TLS", error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Verifier {
    pin: Arc<Pin>,
    usual: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let digest = ring::digest::digest(&ring::digest::SHA256, end_entity);
        let shown: Option<Fingerprint> = digest.as_ref().try_into().ok();
        *self.pin.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        match self.pin.wanted {
            Some(_) if self.pin.wanted == shown => Ok(ServerCertVerified::assertion()),
            Some(_) => {
                Err(TlsError::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
            None => self.usual.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
