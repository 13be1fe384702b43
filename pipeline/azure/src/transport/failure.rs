//! What can go wrong between us and the peer, sorted by who can mend it. No text here ever holds a secret.

use std::io;

use core::error::Error as _;

use pipeline_vault::error::{Blame, Retry};
use serde::{Deserialize, Serialize};

use super::names::NameFailure;
use super::proxy::Proxy;
use crate::address::Origin;

/// Where the way is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Kind {
    /// The name has no address, and DNS says so.
    NoSuchName,
    /// No DNS server answered.
    NoNameServer,
    /// Nobody took the connection.
    Connect,
    /// The peer's certificate or TLS is not acceptable.
    Tls,
    /// The proxy refused.
    ProxyRefused,
    /// The proxy wants a name and password, or other ones.
    ProxyAuthentication,
    /// The peer fell silent.
    Timeout,
    /// The connection broke.
    Broken,
    /// The peer's answer is no HTTP, or longer or shorter than it may be.
    Answer,
    /// Our own request cannot be sent.
    Request,
}

impl Kind {
    /// What to do where nobody vouches for a peer.
    pub const TLS_REMEDY: &'static str = "if a proxy inspects TLS, or the authority is your own, trust its certificate (PEM): on the page beside the vault's place, elsewhere by a file that LIFEBOAT_CA_FILE names";
}

/// One failure of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where the way is broken.
    pub kind: Kind,
    /// What happened, in a clause that names the host.
    pub what: String,
}

impl Failure {
    /// A failure of that kind.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into() }
    }

    /// Whether the same request may get through in a moment.
    pub fn is_passing(&self) -> bool {
        match self.kind {
            Kind::NoNameServer
            | Kind::Connect
            | Kind::Timeout
            | Kind::Broken
            | Kind::ProxyRefused => true,
            Kind::NoSuchName
            | Kind::Tls
            | Kind::ProxyAuthentication
            | Kind::Answer
            | Kind::Request => false,
        }
    }

    /// Whether the peer may have done what was asked before the way broke.
    pub fn may_have_arrived(&self) -> bool {
        matches!(self.kind, Kind::Timeout | Kind::Broken | Kind::Answer)
    }

    /// What a person can do about it.
    pub fn remedy(&self) -> &'static str {
        match self.kind {
            Kind::NoSuchName => {
                "check the account's name and the cloud; behind a private endpoint, check that DNS knows it"
            }
            Kind::NoNameServer => "check the servers in /etc/resolv.conf and the network",
            Kind::Connect => "check the network, the firewall and the endpoint, then run it again",
            Kind::Tls => Kind::TLS_REMEDY,
            Kind::ProxyRefused => "check what the proxy allows and NO_PROXY",
            Kind::ProxyAuthentication => {
                "put the proxy's name and password into HTTPS_PROXY: http://name:password@host:port"
            }
            Kind::Timeout | Kind::Broken => "check the network and run it again: nothing is lost",
            Kind::Answer => {
                "check that the endpoint is Azure's blob service and not something else"
            }
            Kind::Request => "",
        }
    }

    /// The failure as an error about `object`.
    pub fn into_error(self, object: impl Into<String>) -> pipeline_vault::Error {
        let (blame, retry) = match self.kind {
            Kind::NoSuchName => (Blame::Misuse, Retry::Never),
            Kind::ProxyAuthentication | Kind::ProxyRefused => (Blame::Refused, Retry::Never),
            Kind::Tls => (Blame::Refused, Retry::Never),
            Kind::Request => (Blame::Misuse, Retry::Never),
            Kind::NoNameServer | Kind::Connect | Kind::Timeout | Kind::Broken | Kind::Answer => {
                (Blame::Device, Retry::Later)
            }
        };
        let remedy = self.remedy();
        pipeline_vault::Error::new(blame, object, self.what).remedy(remedy).retry(retry)
    }

    /// Sorts what ureq says.
    pub(crate) fn from_ureq(error: ureq::Error, origin: &Origin, proxy: Option<&Proxy>) -> Self {
        let peer = proxy.map_or_else(|| origin.authority.clone(), Proxy::shown);
        match error {
            ureq::Error::Timeout(ureq::Timeout::Resolve) => {
                Self::new(Kind::NoNameServer, format!("no DNS server told the address of {peer}"))
            }
            ureq::Error::Timeout(ureq::Timeout::Connect) => {
                Self::new(Kind::Connect, format!("{peer} does not answer"))
            }
            ureq::Error::Timeout(_) => Self::new(Kind::Timeout, format!("{peer} fell silent")),
            ureq::Error::ConnectProxyFailed(reason) if reason.contains("407") => Self::new(
                Kind::ProxyAuthentication,
                format!("the proxy {peer} wants another name and password (407)"),
            ),
            ureq::Error::ConnectProxyFailed(reason) => Self::new(
                Kind::ProxyRefused,
                format!("the proxy {peer} does not connect to {} ({reason})", origin.authority),
            ),
            ureq::Error::Rustls(error) => tls_failure(&error, &peer),
            ureq::Error::Io(error) => io_failure(&error, &peer),
            ureq::Error::Other(error) => match error.downcast_ref::<NameFailure>() {
                Some(failure) => failure.to_failure(),
                None => Self::new(Kind::Broken, format!("the connection to {peer} broke")),
            },
            ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => {
                Self::new(Kind::Answer, format!("what {peer} answers is not HTTP"))
            }
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                Self::new(Kind::Request, format!("no request can be made to {peer}"))
            }
            _ => Self::new(Kind::Broken, format!("the connection to {peer} broke")),
        }
    }
}

fn io_failure(error: &io::Error, peer: &str) -> Failure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let inner = inner.or_else(|| error.source().and_then(|source| source.downcast_ref()));
    if let Some(tls) = inner {
        return tls_failure(tls, peer);
    }
    let connect = |what: &str| Failure::new(Kind::Connect, format!("{peer} {what}"));
    match error.kind() {
        io::ErrorKind::ConnectionRefused => connect("refuses the connection"),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            connect("cannot be reached: the network knows no way to it")
        }
        io::ErrorKind::NetworkDown | io::ErrorKind::AddrNotAvailable => {
            connect("cannot be reached: this machine's network is down")
        }
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            Failure::new(Kind::Timeout, format!("{peer} fell silent"))
        }
        _ => Failure::new(Kind::Broken, format!("the connection to {peer} broke")),
    }
}

fn tls_failure(error: &rustls::Error, peer: &str) -> Failure {
    use rustls::CertificateError as Bad;
    let what = match error {
        rustls::Error::InvalidCertificate(bad) => match bad {
            Bad::UnknownIssuer => "is signed by nobody that this machine trusts".to_owned(),
            Bad::Expired | Bad::ExpiredContext { .. } => {
                "has expired, or this machine's clock is wrong".to_owned()
            }
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                "is not valid yet, or this machine's clock is wrong".to_owned()
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                "is for another name".to_owned()
            }
            other => format!("is not acceptable ({other})"),
        },
        rustls::Error::InvalidMessage(_) => {
            return Failure::new(Kind::Tls, format!("{peer} does not speak TLS on this port"));
        }
        // A peer that breaks off inside TLS may be well again in a moment.
        rustls::Error::DecryptError | rustls::Error::PeerMisbehaved(_) => {
            return Failure::new(Kind::Broken, format!("the connection to {peer} was garbled"));
        }
        other => return Failure::new(Kind::Tls, format!("TLS with {peer} fails ({other})")),
    };
    Failure::new(Kind::Tls, format!("the certificate of {peer} {what}"))
}
