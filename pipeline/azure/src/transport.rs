//! The one HTTP client: sends a request, hands back the answer. It follows no redirect and trusts no length.
//!
//! A body goes out from the slice that the caller has; ureq copies it into its send buffer (and TLS into
//! records), nothing of ours does. A ranged read comes straight into the caller's slice.

/// Who carries requests for a process that does not carry them itself.
pub mod carrier;
/// The small DNS client: A and AAAA over UDP and TCP.
pub mod dns;
/// What can go wrong on the way, sorted by who can mend it.
pub mod failure;
/// Names to addresses: literals, a table, the hosts file, DNS.
pub mod names;
/// One certificate that is trusted by its fingerprint.
pub mod pin;
/// Which requests go through an HTTP proxy.
pub mod proxy;
/// Which certificates are trusted.
pub mod tls;

use std::io::Read as _;
use std::path::PathBuf;

use core::time::Duration;

use ureq::Agent;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector as _, TcpConnector};

use pipeline_vault::Error;

use crate::address::Origin;
use crate::credentials::Lookup;
use crate::request::{Method, Request};
use crate::response::Head;

use failure::{Failure, Kind};
use names::{NameOptions, Names};
use proxy::{Proxy, ProxyChoice};

/// Largest head of an answer.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Send and receive buffer of a connection.
const BUFFER_BYTES: usize = 64 * 1024;
/// Longest body that is read only to keep its connection.
const DRAIN_BYTES_MAX: usize = 64 * 1024;

/// Anything that carries requests: the network, or a script in a test.
pub trait Transport: Send + Sync {
    /// Sends the request and waits for the head of its answer, for at most `patience` in all,
    /// the reading of the body included.
    fn send(
        &self,
        origin: &Origin,
        request: &Request<'_>,
        patience: Duration,
    ) -> Result<Reply, Failure>;
}

/// How the client behaves. The defaults suit a link of 150 ms and 1 Mbit/s and better.
#[derive(Clone, Debug)]
pub struct TransportOptions {
    /// Longest wait for a connection, name and TLS included.
    pub connect: Duration,
    /// Longest wait while a connection takes nothing of what is sent.
    pub idle: Duration,
    /// Longest silence of the peer: before the head of its answer, and between pieces of its body.
    pub answer: Duration,
    /// Connections kept for the next request.
    pub kept_connections: usize,
    /// For how long a connection is kept: less than what firewalls forget after.
    pub kept_for: Duration,
    /// Files with certificates (PEM) to trust beside the usual ones.
    pub ca_files: Vec<PathBuf>,
    /// The same by their contents, for who opens no file.
    pub ca_contents: Vec<Vec<u8>>,
    /// A certificate to trust by its fingerprint, whoever signed it; where none is named, those that `ca_files` vouch for, and
    /// what was shown is noted here.
    pub pin: Option<std::sync::Arc<pin::Pin>>,
    /// Which proxy to use.
    pub proxy: ProxyChoice,
    /// How names become addresses.
    pub names: NameOptions,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            answer: Duration::from_secs(90),
            kept_connections: 64,
            kept_for: Duration::from_secs(30),
            ca_files: Vec::new(),
            ca_contents: Vec::new(),
            pin: None,
            proxy: ProxyChoice::FromEnvironment,
            names: NameOptions::default(),
        }
    }
}

impl TransportOptions {
    /// The defaults, and the file that `LIFEBOAT_CA_FILE` names.
    pub fn from_env() -> Self {
        let mut options = Self::default();
        if let Some(file) = std::env::var_os("LIFEBOAT_CA_FILE").filter(|file| !file.is_empty()) {
            options.ca_files.push(PathBuf::from(file));
        }
        options
    }

    /// The same where variables are looked up elsewhere, those that name proxies too.
    pub fn from_lookup(lookup: Lookup<'_>) -> Result<Self, Error> {
        let file = lookup("LIFEBOAT_CA_FILE").filter(|file| !file.is_empty());
        let ca_files = file.into_iter().map(PathBuf::from).collect();
        Ok(Self { ca_files, proxy: ProxyChoice::from_lookup(lookup)?, ..Self::default() })
    }
}

/// The network, by ureq, whose pool keeps connections apart by host and proxy.
#[derive(Debug)]
pub struct HttpTransport {
    agent: Agent,
    proxies: proxy::Settled,
}

impl HttpTransport {
    /// Makes the client; fails where a certificate file or a proxy's address is no good.
    pub fn new(options: &TransportOptions) -> Result<Self, Error> {
        let tls = match &options.pin {
            Some(pin) => pin::client_config(pin, tls::roots_of(options)?)?,
            None => tls::client_config_with(tls::roots_of(options)?)?,
        };
        let proxies = options.proxy.settle(&|name| std::env::var(name).ok())?;
        let chain =
            ().chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(tls::TlsConnector::new(tls));
        let names = Names::new(options.names.clone());
        let agent = Agent::with_parts(agent_config(options), chain, names);
        Ok(Self { agent, proxies })
    }
}

impl HttpTransport {
    fn run(
        &self,
        proxy: Option<&Proxy>,
        patience: Duration,
        request: ureq::http::Request<impl ureq::AsSendBody>,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let request = self
            .agent
            .configure_request(request)
            .timeout_global(Some(patience))
            .proxy(proxy.map(|proxy| proxy.as_ureq().clone()))
            .build();
        self.agent.run(request)
    }

    fn send_by(
        &self,
        origin: &Origin,
        request: &Request<'_>,
        body: impl ureq::AsSendBody,
        proxy: Option<&Proxy>,
        patience: Duration,
    ) -> Result<Reply, Failure> {
        let response = self
            .run(proxy, patience, build(origin, request, body)?)
            .map_err(|error| Failure::from_ureq(error, origin, proxy))?;
        let (parts, body) = response.into_parts();
        let headers = parts.headers.iter().filter_map(|(name, value)| {
            // A value that is no text is of no use to anybody here.
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        });
        let head = Head { status: parts.status.as_u16(), headers: headers.collect() };
        Ok(Reply { head, body: Body::Network(Box::new(body)), origin: origin.clone() })
    }
}

impl Transport for HttpTransport {
    fn send(
        &self,
        origin: &Origin,
        request: &Request<'_>,
        patience: Duration,
    ) -> Result<Reply, Failure> {
        let proxy = self.proxies.for_origin(origin);
        match &request.body {
            Some(body) => self.send_by(origin, request, &**body, proxy, patience),
            None => self.send_by(origin, request, (), proxy, patience),
        }
    }
}

fn agent_config(options: &TransportOptions) -> ureq::config::Config {
    let kept = options.kept_connections.max(1);
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("lifeboat/", env!("CARGO_PKG_VERSION")))
        .max_response_header_size(HEAD_BYTES_MAX)
        .input_buffer_size(BUFFER_BYTES)
        .output_buffer_size(BUFFER_BYTES)
        .max_idle_connections(kept)
        .max_idle_connections_per_host(kept)
        .max_idle_age(options.kept_for)
        .timeout_resolve(Some(options.connect))
        .timeout_connect(Some(options.connect))
        .timeout_per_read(Some(options.answer))
        .timeout_per_write(Some(options.idle))
        .timeout_recv_response(Some(options.answer))
        // Each request brings its own: which one depends on where it goes.
        .proxy(None)
        .build()
}

fn build<T>(
    origin: &Origin,
    request: &Request<'_>,
    body: T,
) -> Result<ureq::http::Request<T>, Failure> {
    let method = match request.method {
        Method::Get => ureq::http::Method::GET,
        Method::Head => ureq::http::Method::HEAD,
        Method::Put => ureq::http::Method::PUT,
        Method::Post => ureq::http::Method::POST,
        Method::Delete => ureq::http::Method::DELETE,
    };
    let url = format!("{origin}{}", request.target().expose());
    let mut builder = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in &request.headers {
        builder = builder.header(name.as_str(), value.as_str());
    }
    // The error's own text could repeat a header, and so a secret.
    builder.body(body).map_err(|_| {
        Failure::new(Kind::Request, "the request holds something that HTTP cannot carry")
    })
}

/// An answer: its head, and its body still on the wire.
pub struct Reply {
    /// Status and headers.
    pub head: Head,
    body: Body,
    origin: Origin,
}

enum Body {
    Network(Box<ureq::Body>),
    Bytes(std::io::Cursor<Vec<u8>>),
    Carried(Box<dyn carrier::Stream>),
}

impl Reply {
    /// An answer that is here already: for a script in a test.
    pub fn canned(head: Head, body: Vec<u8>) -> Self {
        let origin = Origin { https: true, authority: "canned".to_owned() };
        Self { head, body: Body::Bytes(std::io::Cursor::new(body)), origin }
    }

    /// An answer whose body somebody else brings.
    pub fn carried(head: Head, body: Box<dyn carrier::Stream>, origin: Origin) -> Self {
        Self { head, body: Body::Carried(body), origin }
    }

    /// Fills the slice from the body; answers how far it came, and what stopped it where that is short.
    pub fn read_into(&mut self, into: &mut [u8]) -> (usize, Option<Failure>) {
        let mut filled = 0;
        while filled < into.len() {
            match self.read_some(&mut into[filled..]) {
                Ok(0) => return (filled, None),
                Ok(more) => filled += more,
                Err(failure) => return (filled, Some(failure)),
            }
        }
        (filled, None)
    }

    /// The whole body; an error where it is longer than `bytes_max` or shorter than it claims.
    pub fn read_all(&mut self, bytes_max: u64) -> Result<Vec<u8>, Failure> {
        let too_long =
            || Failure::new(Kind::Answer, format!("the answer is longer than {bytes_max} bytes"));
        let claimed = self.head.content_length();
        if claimed.is_some_and(|bytes| bytes > bytes_max) {
            return Err(too_long());
        }
        // A claim alone allocates little: memory follows the bytes that really come.
        let room = claimed.unwrap_or(0).min(1024 * 1024);
        let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or(0));
        let mut chunk = [0_u8; 16 * 1024];
        loop {
            let more = self.read_some(&mut chunk)?;
            if more == 0 {
                break;
            }
            bytes.extend_from_slice(&chunk[..more]);
            if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
                return Err(too_long());
            }
        }
        let came = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        match claimed {
            Some(claimed) if claimed != came => Err(Failure::new(
                Kind::Broken,
                format!("the answer ended after {came} of {claimed} bytes"),
            )),
            _ => Ok(bytes),
        }
    }

    /// Reads what is left of a short body, so that its connection can be kept.
    pub fn drain(mut self) {
        let mut chunk = [0_u8; 4096];
        let mut left = DRAIN_BYTES_MAX;
        while left > 0 {
            match self.read_some(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(more) => left = left.saturating_sub(more),
            }
        }
    }

    /// Reads what has come of the body, and waits for that; 0 at its end.
    pub fn read_some(&mut self, into: &mut [u8]) -> Result<usize, Failure> {
        let read = match &mut self.body {
            Body::Network(body) => body.as_reader().read(into),
            Body::Bytes(bytes) => bytes.read(into),
            Body::Carried(body) => return body.read_some(into),
        };
        read.map_err(|error| Failure::from_ureq(ureq::Error::from(error), &self.origin, None))
    }
}

#[cfg(test)]
mod tests;
