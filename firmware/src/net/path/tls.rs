//! The certificates that a host shows, and what is wrong with them.
//!
//! Trust is as everywhere: the usual verifier decides, and what it refuses stays refused. Here is only remembered what
//! it was shown.

use core::time::Duration;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};
use x509_cert::Certificate as Parsed;
use x509_cert::der::Decode as _;

use crate::report::{Utc, printable};
use crate::serve::identity::own::sha256;

const DAY_SECONDS: i64 = 86_400;

/// What a host's certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// Whom it is for.
    pub(super) subject: String,
    /// Who signed it.
    pub(super) issuer: String,
    /// SHA-256 of its bytes, as other programs write it.
    pub(super) sha256: String,
    /// Days until it ends; negative when it has.
    pub(super) days_left: i64,
    /// From when on it counts, in milliseconds since 1970.
    from: u64,
    /// Until when it counts.
    until: u64,
}

/// How a handshake went.
pub(super) struct Shaken {
    /// The host's own certificate, where it came so far.
    pub(super) certificate: Option<Certificate>,
    /// What went wrong.
    pub(super) trouble: Option<Trouble>,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Signed by somebody whom nobody trusts here.
    Stranger,
    /// A certificate for somebody else.
    Name,
    /// Ended, or not yet begun, by this machine's clock.
    Date,
    /// Any other complaint about certificates.
    Certificate(String),
    /// What answers does not speak TLS.
    NoTls,
    /// The connection was cut during the handshake.
    Cut,
    /// The peer fell silent during the handshake.
    Silence,
    /// Anything else.
    Other(String),
}

impl Trouble {
    /// Whether somebody else than the host may have answered.
    pub(super) fn is_a_stranger(&self) -> bool {
        matches!(self, Self::Stranger | Self::Name | Self::NoTls | Self::Cut)
    }

    /// Verdict and remedy.
    pub(super) fn in_words(&self, host: &str, shown: Option<&Certificate>) -> (String, String) {
        let issuer = shown.map_or("somebody unknown", |shown| shown.issuer.as_str());
        let subject = shown.map_or("somebody else", |shown| shown.subject.as_str());
        let (verdict, remedy) = match self {
            Self::Stranger => (
                format!(
                    "a middlebox opens TLS: the certificate of {host} is signed by «{issuer}», whom nobody trusts; its SHA-256 is {}",
                    shown.map_or("not known", |shown| shown.sha256.as_str())
                ),
                format!(
                    "exempt {host} from inspection; or, if «{issuer}» is your own, trust its certificate (PEM): on the page beside the vault's place, elsewhere by a file that LIFEBOAT_CA_FILE names"
                ),
            ),
            Self::Name => (
                format!("who answers for {host} shows a certificate for «{subject}»"),
                "check the address in DNS and in the host table: it is another machine's"
                    .to_owned(),
            ),
            Self::Date => {
                let range =
                    shown.map(|shown| format!("{} to {}", Utc(shown.from), Utc(shown.until)));
                (
                    format!(
                        "by this machine's clock ({}) the certificate of {host} does not count: {}",
                        Utc(now_millis()),
                        range.unwrap_or_default()
                    ),
                    "set this machine's clock; if it is right, whoever runs the host must renew"
                        .to_owned(),
                )
            }
            Self::Certificate(what) => (
                format!(
                    "the certificate of {host}, signed by «{issuer}», is not acceptable: {what}"
                ),
                "check what stands between this machine and Azure".to_owned(),
            ),
            Self::NoTls => (
                format!("what answers for {host} does not speak TLS: a proxy or a portal"),
                "name the proxy in the configuration, or connect this machine elsewhere".to_owned(),
            ),
            Self::Cut => (
                format!(
                    "the connection to {host} is cut when TLS begins: a firewall filters by name"
                ),
                format!("let the firewall pass TLS to {host}"),
            ),
            Self::Silence => (
                format!(
                    "{host} takes the connection and falls silent when TLS begins: large packets may be lost on the way"
                ),
                "try a smaller MTU on the link, and check the firewall".to_owned(),
            ),
            Self::Other(what) => (format!("TLS with {host} fails: {what}"), String::new()),
        };
        (printable(&verdict), printable(&remedy))
    }
}

/// Shakes hands with a host over a connection.
pub(super) fn shake(
    host: &str,
    mut stream: TcpStream,
    roots: &Arc<RootCertStore>,
    patience: Duration,
) -> Shaken {
    let broken = |what: String| Shaken { certificate: None, trouble: Some(Trouble::Other(what)) };
    let timeouts = stream
        .set_read_timeout(Some(patience))
        .and_then(|()| stream.set_write_timeout(Some(patience)));
    if let Err(error) = timeouts {
        return broken(error.to_string());
    }
    let witness = match Witness::new(roots) {
        Ok(witness) => Arc::new(witness),
        Err(what) => return broken(what),
    };
    let connection = config(&witness).and_then(|config| {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())
    });
    let mut connection = match connection {
        Ok(connection) => connection,
        Err(what) => return broken(what),
    };
    let mut trouble = None;
    while connection.is_handshaking() && trouble.is_none() {
        trouble = connection.complete_io(&mut stream).err().map(|error| sort(&error));
    }
    let seen = witness.seen.lock().unwrap_or_else(PoisonError::into_inner);
    Shaken { certificate: seen.as_deref().and_then(read), trouble }
}

fn config(witness: &Arc<Witness>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let verifier = Arc::clone(witness) as Arc<dyn ServerCertVerifier>;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// What rustls says, sorted.
fn sort(error: &std::io::Error) -> Trouble {
    use std::io::ErrorKind;
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (inner, error.kind()) {
        (Some(rustls::Error::InvalidCertificate(complaint)), _) => match complaint {
            CertificateError::UnknownIssuer => Trouble::Stranger,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Trouble::Name
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Trouble::Date,
            other => Trouble::Certificate(format!("{other:?}")),
        },
        (Some(rustls::Error::InvalidMessage(_)), _) => Trouble::NoTls,
        (Some(other), _) => Trouble::Other(other.to_string()),
        (None, ErrorKind::TimedOut | ErrorKind::WouldBlock) => Trouble::Silence,
        (
            None,
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe,
        ) => Trouble::Cut,
        (None, _) => Trouble::Other(error.to_string()),
    }
}

/// The usual verifier, and what it was shown.
#[derive(Debug)]
struct Witness {
    usual: Arc<WebPkiServerVerifier>,
    seen: Mutex<Option<Vec<u8>>>,
}

impl Witness {
    fn new(roots: &Arc<RootCertStore>) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), provider);
        let usual = usual.build().map_err(|error| error.to_string())?;
        Ok(Self { usual, seen: Mutex::new(None) })
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        host: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(host.to_vec());
        self.usual.verify_server_cert(host, others, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// What a certificate says; `None` where it is none.
fn read(der: &[u8]) -> Option<Certificate> {
    let parsed = Parsed::from_der(der).ok()?;
    let certificate = parsed.tbs_certificate();
    let validity = certificate.validity();
    let millis = |time: x509_cert::time::Time| {
        u64::try_from(time.to_unix_duration().as_millis()).unwrap_or(u64::MAX)
    };
    let (from, until) = (millis(validity.not_before), millis(validity.not_after));
    let seconds = |millis: u64| i64::try_from(millis / 1000).unwrap_or(i64::MAX);
    Some(Certificate {
        subject: short(&certificate.subject().to_string()),
        issuer: short(&certificate.issuer().to_string()),
        sha256: sha256(der),
        days_left: (seconds(until) - seconds(now_millis())).div_euclid(DAY_SECONDS),
        from,
        until,
    })
}

/// The common name out of a whole one, or the whole.
fn short(name: &str) -> String {
    let common = name.split(',').find_map(|part| part.trim().strip_prefix("CN="));
    printable(common.unwrap_or(name))
}

fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
