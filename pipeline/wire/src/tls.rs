//! TLS between agent and appliance: 1.3 only, certificates on both sides, the site authority's and nobody else's.
//!
//! No session is ever resumed: each connection shows its certificate, so that a revoked one opens none. The agent's clock
//! takes no part; the appliance's only where it says that it is set.

use core::fmt;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::Resumption;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName,
    RootCertStore, ServerConfig, SignatureScheme, version::TLS13,
};

use crate::authority::{APPLIANCE_NAME, Credentials};
use crate::certificate::Peer;

/// What both sides say that they speak.
pub const ALPN: &[u8] = b"lifeboat-replication";

/// 2025-01-01: a time that is within every certificate of ours. Ends are judged by the gate, not here.
const WITHIN: u64 = 1_735_689_600;

/// Decides whether a certificate of the site authority still opens the door.
pub trait Gate: fmt::Debug + Send + Sync {
    /// Seconds since 1970, where the clock is known to be right: certificates end by it. `None`: none ends.
    fn now(&self) -> Option<u64>;
    /// Whether this certificate, this key or this server was revoked.
    fn is_revoked(&self, peer: &Peer) -> bool;
}

/// How an agent dials: `credentials` are its own, `authority` is the site authority's certificate (DER).
///
/// Errors: bytes that are no certificate or no key, or that do not belong together.
pub fn agent(
    credentials: &Credentials,
    authority: &[u8],
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let verifier = AuthorityOnly(
        WebPkiServerVerifier::builder_with_provider(roots(authority)?, provider())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?,
    );
    let (chain, key) = halves(credentials);
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(NoClock))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// How an appliance listens: `credentials` are its own, `authority` is the site authority's certificate (DER).
///
/// Errors: bytes that are no certificate or no key, or that do not belong together.
pub fn appliance(
    credentials: &Credentials,
    authority: &[u8],
    gate: Arc<dyn Gate>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let inner = WebPkiClientVerifier::builder_with_provider(roots(authority)?, provider())
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let (chain, key) = halves(credentials);
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(NoClock))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(Agents { inner, gate }))
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// How a server that has no certificate yet asks the page: whoever shows the certificate with this SHA-256 is believed,
/// and nobody else.
///
/// Errors: none that a provider with TLS 1.3 has.
pub fn pinned(pin: [u8; 32]) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(NoClock))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { pin }))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// The name that agents ask every appliance for.
///
/// Errors: none; the name is a constant that a test parses.
pub fn appliance_name() -> Result<ServerName<'static>, rustls::Error> {
    ServerName::try_from(APPLIANCE_NAME).map_err(|error| rustls::Error::General(error.to_string()))
}

/// Whom an appliance speaks with, once the handshake is done: the peer's certificates as rustls has them.
///
/// Errors: a connection whose handshake is not done, or that was not made by [`appliance`].
pub fn peer(certificates: Option<&[CertificateDer<'_>]>) -> Result<Peer, rustls::Error> {
    let certificate =
        certificates.and_then(<[_]>::first).ok_or(rustls::Error::NoCertificatesPresented)?;
    Peer::of(certificate).map_err(|_| CertificateError::ApplicationVerificationFailure.into())
}

/// Whether both sides said that they speak this protocol. An appliance that finds otherwise after the handshake ends it.
#[must_use]
pub fn is_replication(alpn: Option<&[u8]>) -> bool {
    alpn == Some(ALPN)
}

/// What a failure of TLS means to whoever runs the agent: what and why, and what to do now.
#[must_use]
pub fn explain(error: &rustls::Error) -> (String, &'static str) {
    use rustls::Error;
    const ENROL: &str = "make a new token on the appliance, and enrol again with it";
    const OTHER: &str = "check the address and the port (9443 unless it was set otherwise)";
    match error {
        Error::AlertReceived(AlertDescription::CertificateRevoked) => {
            ("the appliance has revoked this server's certificate".to_owned(), ENROL)
        }
        Error::AlertReceived(AlertDescription::CertificateExpired) => (
            "this server's certificate has ended: it was not in touch for 90 days".to_owned(),
            ENROL,
        ),
        Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied,
        ) => (
            "the appliance belongs to another vault than this server was enrolled with".to_owned(),
            ENROL,
        ),
        Error::InvalidCertificate(_) => (
            "who answers is no appliance of the site that this server was enrolled with".to_owned(),
            OTHER,
        ),
        Error::NoApplicationProtocol
        | Error::AlertReceived(
            AlertDescription::NoApplicationProtocol | AlertDescription::ProtocolVersion,
        )
        | Error::InvalidMessage(_)
        | Error::PeerIncompatible(_) => {
            ("who answers does not speak Lifeboat's replication protocol".to_owned(), OTHER)
        }
        other => (
            format!("the connection to the appliance failed: {other}"),
            "it is tried again by itself",
        ),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

fn roots(authority: &[u8]) -> Result<Arc<RootCertStore>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.to_vec()))?;
    Ok(Arc::new(roots))
}

fn halves(credentials: &Credentials) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let key = PrivatePkcs8KeyDer::from(credentials.key.to_vec());
    (vec![CertificateDer::from(credentials.certificate.clone())], PrivateKeyDer::Pkcs8(key))
}

/// Time has no part in what rustls itself does here: no tickets, and ends are judged by the gate. A clock before 1970
/// would make it panic.
#[derive(Debug)]
struct NoClock;

impl TimeProvider for NoClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(within())
    }
}

fn within() -> UnixTime {
    UnixTime::since_unix_epoch(core::time::Duration::from_secs(WITHIN))
}

/// Signatures are checked by the provider's algorithms, whoever is believed.
macro_rules! by_provider {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = &default_provider().signature_verification_algorithms;
            verify_tls12_signature(message, certificate, signature, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = &default_provider().signature_verification_algorithms;
            verify_tls13_signature(message, certificate, signature, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            default_provider().signature_verification_algorithms.supported_schemes()
        }
    };
}

/// Whoever has a certificate of the authority for an appliance, whenever and wherever that is.
#[derive(Debug)]
struct AuthorityOnly(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AuthorityOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let name = appliance_name()?;
        self.0.verify_server_cert(end_entity, intermediates, &name, ocsp_response, within())
    }

    by_provider!();
}

/// Whoever shows this certificate, and holds its key.
#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if digest(&SHA256, end_entity).as_ref() == self.pin {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    by_provider!();
}

/// Whoever has a certificate of the authority for an agent, and passes the gate.
#[derive(Debug)]
struct Agents {
    inner: Arc<dyn ClientCertVerifier>,
    gate: Arc<dyn Gate>,
}

impl ClientCertVerifier for Agents {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, within())?;
        // Only now: who is not the authority's gets no further into parsing than rustls itself goes.
        let peer = Peer::of(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        if self.gate.is_revoked(&peer) {
            return Err(CertificateError::Revoked.into());
        }
        if self.gate.now().is_some_and(|now| now > peer.ends_at) {
            return Err(CertificateError::Expired.into());
        }
        Ok(verified)
    }

    by_provider!();
}

#[cfg(test)]
mod tests;
