//! Which requests go through an HTTP proxy, by CONNECT. The metadata service never does, loopback only if told so.

use core::fmt;
use core::net::IpAddr;

use pipeline_vault::Error;

use crate::address::{Origin, is_localhost};
use crate::credentials::Lookup;
use crate::secret::Secret;

/// Which proxy to use.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum ProxyChoice {
    /// None, whatever the environment says.
    Never,
    /// This one for everything that `exceptions` (like `NO_PROXY`) does not match.
    Always {
        /// The proxy.
        proxy: Proxy,
        /// Hosts that are reached without it.
        exceptions: Exceptions,
    },
    /// The first of these whose destinations match; what none matches goes straight.
    ByDestination(Vec<Rule>),
    /// What `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say, in either case.
    #[default]
    FromEnvironment,
    /// What was found out before.
    Settled(Settled),
}

impl ProxyChoice {
    /// The proxy at this URL for everything, loopback too: `http://name:password@host:port`.
    pub fn explicit(url: &str) -> Result<Self, Error> {
        Ok(Self::Always { proxy: Proxy::parse(url)?, exceptions: Exceptions::default() })
    }

    /// What these variables say, looked up where the caller says: `HTTPS_PROXY` and the others.
    pub fn from_lookup(lookup: Lookup<'_>) -> Result<Self, Error> {
        Ok(Self::Settled(Self::FromEnvironment.settle(lookup)?))
    }

    /// The proxy that a request to this origin would go through.
    pub fn proxy_for(&self, origin: &Origin) -> Result<Option<Proxy>, Error> {
        let settled = self.settle(&|name| std::env::var(name).ok())?;
        Ok(settled.for_origin(origin).cloned())
    }

    /// What it comes to, given where variables are looked up. Read once: a client does not change its way.
    pub fn settle(&self, lookup: Lookup<'_>) -> Result<Settled, Error> {
        match self {
            Self::Never => Ok(Settled::default()),
            Self::Settled(settled) => Ok(settled.clone()),
            Self::Always { proxy, exceptions } => Ok(Settled {
                https: Some(proxy.clone()),
                http: Some(proxy.clone()),
                exceptions: exceptions.clone(),
                even_loopback: true,
                rules: Vec::new(),
            }),
            Self::ByDestination(rules) => {
                Ok(Settled { rules: rules.clone(), even_loopback: true, ..Settled::default() })
            }
            Self::FromEnvironment => {
                let first = |names: &[&str]| {
                    names.iter().find_map(|name| lookup(name).filter(|value| !value.is_empty()))
                };
                let proxy = |names: &[&str]| first(names).map(|url| Proxy::parse(&url)).transpose();
                Ok(Settled {
                    https: proxy(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])?,
                    http: proxy(&["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])?,
                    exceptions: Exceptions::parse(
                        &first(&["NO_PROXY", "no_proxy"]).unwrap_or_default(),
                    ),
                    even_loopback: false,
                    rules: Vec::new(),
                })
            }
        }
    }
}

/// Which way the requests to some destinations go.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The destinations, as `NO_PROXY` lists them.
    pub destinations: Exceptions,
    /// Their proxy; `None` for straight.
    pub proxy: Option<Proxy>,
}

/// Which proxies there are, and for what.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    https: Option<Proxy>,
    http: Option<Proxy>,
    exceptions: Exceptions,
    even_loopback: bool,
    rules: Vec<Rule>,
}

impl Settled {
    /// The proxy for a request to this origin.
    pub fn for_origin(&self, origin: &Origin) -> Option<&Proxy> {
        let direct = is_metadata_service(origin)
            || (origin.is_loopback() && !self.even_loopback)
            || self.exceptions.matches(origin);
        let ruled = self.rules.iter().find(|rule| rule.destinations.matches(origin));
        let usual = if origin.https { &self.https } else { &self.http };
        let proxy = ruled.map_or(usual, |rule| &rule.proxy);
        proxy.as_ref().filter(|_| !direct)
    }
}

/// Azure's metadata service and other link-local addresses: a proxy would answer for the wrong machine.
fn is_metadata_service(origin: &Origin) -> bool {
    match origin.host().parse() {
        Ok(IpAddr::V4(address)) => address.is_link_local(),
        Ok(IpAddr::V6(address)) => address.is_unicast_link_local(),
        Err(_) => false,
    }
}

/// One HTTP proxy, with name and password where it wants them.
#[derive(Clone)]
pub struct Proxy {
    inner: ureq::Proxy,
    url: Secret,
}

impl Proxy {
    /// Reads `http://name:password@host:port`, or the same with https.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let bad = |what: &str| {
            // The URL may hold a password: it is not repeated.
            Error::misuse("proxy", what.to_owned())
                .remedy("write it like http://name:password@host:port, special characters as %XX")
        };
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let inner = ureq::Proxy::new(&url).map_err(|_| bad("its URL cannot be read"))?;
        if inner.host().is_empty() {
            return Err(bad("its URL names no host"));
        }
        match inner.protocol() {
            ureq::ProxyProtocol::Http | ureq::ProxyProtocol::Https => {
                Ok(Self { inner, url: Secret::new(url) })
            }
            _ => Err(bad("is no HTTP proxy; SOCKS is not supported")),
        }
    }

    pub(super) fn as_ureq(&self) -> &ureq::Proxy {
        &self.inner
    }

    /// Its host.
    pub fn host(&self) -> &str {
        self.inner.host()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.inner.port()
    }

    /// Whether it is itself reached by TLS.
    pub fn is_https(&self) -> bool {
        self.inner.protocol() == ureq::ProxyProtocol::Https
    }

    /// Its URL, with name and password: for who is to go through it.
    pub fn url(&self) -> &Secret {
        &self.url
    }

    /// What it wants to be told in `Proxy-Authorization`; a secret.
    pub fn authorization(&self) -> Option<Secret> {
        let name = self.inner.username()?;
        let password = self.inner.password().unwrap_or_default();
        let told = crate::encode::base64(format!("{name}:{password}").as_bytes());
        Some(Secret::new(format!("Basic {told}")))
    }

    /// Host and port, without name and password.
    pub fn shown(&self) -> String {
        format!("{}:{}", self.inner.host(), self.inner.port())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.shown())
    }
}

/// Hosts that are reached without a proxy, as `NO_PROXY` lists them.
#[derive(Clone, Debug, Default)]
pub struct Exceptions {
    entries: Vec<Exception>,
}

#[derive(Clone, Debug)]
enum Exception {
    Everything,
    /// A domain and all names under it, at one port or any.
    Domain(String, Option<u16>),
    /// Addresses of which the first `bits` bits are these.
    Network(IpAddr, u32),
}

impl Exceptions {
    /// Reads `*`, `.example.com`, `host:port`, `10.0.0.0/8`, separated by commas or blanks.
    pub fn parse(text: &str) -> Self {
        let words = text.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty());
        Self { entries: words.map(Exception::parse).collect() }
    }

    /// Whether one of them is this origin, or covers it.
    pub fn matches(&self, origin: &Origin) -> bool {
        self.entries.iter().any(|entry| entry.matches(origin))
    }
}

impl Exception {
    fn parse(word: &str) -> Self {
        if word == "*" {
            return Self::Everything;
        }
        if let Ok(address) = word.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Self::Network(address, 128);
        }
        if let Some((network, bits)) = word.split_once('/')
            && let (Ok(network), Ok(bits)) = (network.parse(), bits.parse())
        {
            return Self::Network(network, bits);
        }
        let (host, port) = match word.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (word, None),
        };
        let host = host.trim_start_matches('*').trim_matches('.').to_ascii_lowercase();
        Self::Domain(host, port)
    }

    fn matches(&self, origin: &Origin) -> bool {
        match self {
            Self::Everything => true,
            Self::Domain(domain, port) => {
                let host = origin.host();
                let below = host.strip_suffix(domain.as_str());
                let inside = below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                    || (is_localhost(domain) && is_localhost(host));
                inside && port.is_none_or(|port| port == origin.port())
            }
            Self::Network(network, bits) => match (origin.host().parse(), network) {
                (Ok(IpAddr::V4(address)), IpAddr::V4(network)) => {
                    same_bits(address.to_bits(), network.to_bits(), *bits)
                }
                (Ok(IpAddr::V6(address)), IpAddr::V6(network)) => {
                    let differ = address.to_bits() ^ network.to_bits();
                    differ.leading_zeros() >= (*bits).min(128)
                }
                _ => false,
            },
        }
    }
}

fn same_bits(a: u32, b: u32, bits: u32) -> bool {
    (a ^ b).leading_zeros() >= bits.min(32)
}
