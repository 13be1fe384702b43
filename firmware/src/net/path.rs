//! The path tester: for each host of Azure the answer of DNS, the route, the connection, the certificates and the
//! time that each took, with a verdict in plain words.
//!
//! It sends no credential and trusts nobody whom a request would not trust.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use hal::net::nic::Stack;
use hal_linux::LinuxStack;
use pipeline_azure::address::{AzureAddress, Origin};
use pipeline_azure::cloud::Cloud;
use pipeline_azure::transport::TransportOptions;
use pipeline_azure::transport::names::Names;
use pipeline_azure::transport::proxy::{Proxy, ProxyChoice};
use pipeline_azure::transport::tls::trusted_roots;
use pipeline_vault::Error;
use rustls::RootCertStore;
use serde::Serialize;

/// Who answers where Azure should: portals told from hosts.
mod portal;
/// The certificates that a host shows, and what is wrong with them.
mod tls;

/// Longest head of a proxy's answer.
const PROXY_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Certificates that end sooner than this are worth a word.
const DAYS_LEFT_FEW: i64 = 14;

/// A host to test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What it is for: `blob`, `login`, `management`, or `host`.
    pub purpose: &'static str,
    /// Scheme, host and port.
    pub origin: Origin,
}

impl Target {
    fn https(purpose: &'static str, authority: &str) -> Self {
        Self { purpose, origin: Origin { https: true, authority: authority.to_ascii_lowercase() } }
    }

    /// One host that a person names.
    pub fn host(authority: &str) -> Result<Self, Error> {
        let (origin, path) = Origin::parse(&format!("https://{authority}"))?;
        if !path.is_empty() {
            return Err(Error::misuse(format!("host «{authority}»"), "is more than a host"));
        }
        Ok(Self { purpose: "host", origin })
    }

    /// What this vault needs: its blobs, and where tokens for it come from.
    #[must_use]
    pub fn of_vault(address: &AzureAddress) -> Vec<Self> {
        let cloud = address.cloud();
        let blobs = Self { purpose: "blob", origin: address.origin().clone() };
        let mut targets = vec![blobs];
        targets.extend(Self::of_cloud(&cloud));
        targets
    }

    /// Whether a private endpoint can stand in for it: Azure has none for tokens and management.
    fn may_be_private(&self) -> bool {
        matches!(self.purpose, "blob" | "host")
    }

    /// What every vault of a cloud needs.
    #[must_use]
    pub fn of_cloud(cloud: &Cloud) -> Vec<Self> {
        vec![Self::https("login", cloud.login), Self::https("management", cloud.management)]
    }
}

/// What was found on the way to one host.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// What the host is for.
    pub purpose: String,
    /// The host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The proxy on the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Its addresses, or those of the proxy.
    pub addresses: Vec<IpAddr>,
    /// An address of them is of a private network: a private endpoint, or somebody who answers instead.
    pub private: bool,
    /// How long the answer of DNS took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_millis: Option<u64>,
    /// The link that packets leave by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The router.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// The own address that packets carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// The address that took the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected: Option<IpAddr>,
    /// How long the connection took: the latency of the way, there and back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_millis: Option<u64>,
    /// How long TLS took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_millis: Option<u64>,
    /// Who signed the host's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Days until the certificate ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_left: Option<i64>,
    /// Everything is as it should be.
    pub good: bool,
    /// What it comes to, in a sentence.
    pub verdict: String,
    /// What to do now; empty where nothing is to be done.
    pub remedy: String,
}

impl Report {
    fn expect_private(&mut self) {
        let Some(public) = self.addresses.iter().find(|address| !is_private(address)) else {
            return;
        };
        let verdict = format!(
            "DNS gives the public address {public} for {}, where a private endpoint is expected",
            self.host
        );
        let remedy = "link the private DNS zone to the network of the DNS server, forward the zone to Azure, or write the endpoint's address into [network.hosts]";
        self.fails(verdict, remedy);
    }

    fn fails(&mut self, verdict: impl Into<String>, remedy: impl Into<String>) {
        (self.good, self.verdict, self.remedy) = (false, verdict.into(), remedy.into());
    }
}

/// The tester: names, proxies and trust as requests have them.
pub struct Tester {
    names: Names,
    proxy: ProxyChoice,
    roots: Arc<RootCertStore>,
    stack: Option<LinuxStack>,
    patience: Duration,
    private: bool,
}

impl Tester {
    /// A tester that goes the way that requests with these options go.
    pub fn new(options: &TransportOptions, patience: Duration) -> Result<Self, Error> {
        Ok(Self {
            private: false,
            names: Names::new(options.names.clone()),
            proxy: options.proxy.clone(),
            roots: Arc::new(trusted_roots(&options.ca_files)?),
            // Without it only the route stays unknown.
            stack: LinuxStack::open().ok(),
            patience,
        })
    }

    /// The same, for whom blobs and hosts of a person's own must have private addresses.
    #[must_use]
    pub fn private(self, private: bool) -> Self {
        Self { private, ..self }
    }

    /// Goes the way to one host, as far as it leads.
    pub fn test(&mut self, target: &Target) -> Report {
        let origin = &target.origin;
        let mut report = Report {
            purpose: target.purpose.to_owned(),
            host: origin.host().to_owned(),
            port: origin.port(),
            good: true,
            ..Report::default()
        };
        let proxy = match self.proxy.proxy_for(origin) {
            Ok(proxy) => proxy,
            Err(error) => {
                report.fails(error.what, error.remedy);
                return report;
            }
        };
        report.proxy = proxy.as_ref().map(Proxy::shown);
        let peer = match &proxy {
            Some(proxy) => (proxy.host().to_owned(), proxy.port()),
            None => (origin.host().to_owned(), origin.port()),
        };
        if !self.find(&peer.0, &mut report) {
            return report;
        }
        // Through a proxy it is the proxy that asks for the name.
        if self.private && target.may_be_private() && proxy.is_none() {
            report.expect_private();
            if !report.good {
                return report;
            }
        }
        let Some(stream) = self.connect(peer.1, &mut report) else { return report };
        let stream = match &proxy {
            Some(proxy) => match self.through(proxy, origin, stream, &mut report) {
                Some(stream) => stream,
                None => return report,
            },
            None => stream,
        };
        self.shake_hands(origin, stream, proxy.is_none(), &mut report);
        report
    }

    /// The name.
    fn find(&self, host: &str, report: &mut Report) -> bool {
        let began = Instant::now();
        match self.names.look_up(host, self.patience) {
            Ok(addresses) => {
                report.name_millis = Some(millis(began));
                report.private = addresses.iter().any(is_private);
                report.addresses = addresses;
                true
            }
            Err(failure) => {
                report.fails(failure.what.clone(), failure.remedy());
                false
            }
        }
    }

    /// The route and the connection, to the first address that takes one.
    fn connect(&mut self, port: u16, report: &mut Report) -> Option<TcpStream> {
        let mut why = String::new();
        for address in report.addresses.clone() {
            self.route(address, report);
            let began = Instant::now();
            match TcpStream::connect_timeout(&SocketAddr::new(address, port), self.patience) {
                Ok(stream) => {
                    report.connected = Some(address);
                    report.connect_millis = Some(millis(began));
                    report.source = stream.local_addr().ok().map(|local| local.ip());
                    return Some(stream);
                }
                Err(error) => why = refusal(address, &error),
            }
        }
        report.fails(
            why,
            "let a firewall on the way pass TCP to this port, or set a route or a proxy",
        );
        None
    }

    fn route(&mut self, address: IpAddr, report: &mut Report) {
        let Some(stack) = &mut self.stack else { return };
        let Ok(way) = stack.way(address) else { return };
        let links = stack.links().unwrap_or_default();
        report.link = links.into_iter().find(|link| link.index == way.link).map(|link| link.name);
        (report.via, report.source) = (way.via, way.source);
    }

    /// Asks a proxy to connect us.
    fn through(
        &self,
        proxy: &Proxy,
        origin: &Origin,
        mut stream: TcpStream,
        report: &mut Report,
    ) -> Option<TcpStream> {
        let shown = proxy.shown();
        if proxy.is_https() {
            report.verdict = format!(
                "the proxy {shown} takes connections; what lies behind its own TLS is not tested"
            );
            return None;
        }
        let peer = format!("{}:{}", origin.host(), origin.port());
        let mut request = format!("CONNECT {peer} HTTP/1.1\r\nHost: {peer}\r\n");
        if let Some(told) = proxy.authorization() {
            request.push_str(&format!("Proxy-Authorization: {}\r\n", told.expose()));
        }
        request.push_str("\r\n");
        let answer = stream
            .set_read_timeout(Some(self.patience))
            .and_then(|()| stream.write_all(request.as_bytes()))
            .and_then(|()| read_head(&mut stream));
        let status = match &answer {
            Ok(head) => portal::status_of(head),
            Err(error) => {
                report.fails(
                    format!("the proxy {shown} does not answer: {error}"),
                    "check the proxy's address and port",
                );
                return None;
            }
        };
        match status {
            Some(200..300) => return Some(stream),
            Some(407) => report.fails(
                format!("the proxy {shown} wants a name and password, or other ones"),
                "write them into the proxy's URL: http://name:password@host:port",
            ),
            Some(status) => report.fails(
                format!("the proxy {shown} refuses {peer} with status {status}"),
                "let the proxy's rules pass this host and port",
            ),
            None => report
                .fails(format!("{shown} is no HTTP proxy"), "check the proxy's address and port"),
        }
        None
    }

    /// TLS, and what can be learnt of who answers.
    fn shake_hands(&self, origin: &Origin, stream: TcpStream, straight: bool, report: &mut Report) {
        if !origin.https {
            report.verdict = "takes connections, without TLS".to_owned();
            return;
        }
        let began = Instant::now();
        let shaken = tls::shake(origin.host(), stream, &self.roots, self.patience);
        report.tls_millis = Some(millis(began));
        if let Some(certificate) = &shaken.certificate {
            report.issuer = Some(certificate.issuer.clone());
            report.days_left = Some(certificate.days_left);
        }
        match shaken.trouble {
            None => report.verdict = praise(report),
            Some(trouble) => {
                let (verdict, remedy) =
                    trouble.in_words(origin.host(), shaken.certificate.as_ref());
                report.fails(verdict, remedy);
                // Whoever stands in the way of TLS may say who it is to those who come without.
                let suspect = straight && trouble.is_a_stranger();
                let portal = report.connected.filter(|_| suspect).and_then(|address| {
                    portal::ask(SocketAddr::new(address, 80), origin.host(), self.patience)
                });
                if let Some(portal) = portal {
                    report.fails(
                        format!("a captive portal answers instead of {}: {portal}", origin.host()),
                        "sign in there from a browser, or connect this machine elsewhere",
                    );
                }
            }
        }
    }
}

/// The sentence for a way that is as it should be.
fn praise(report: &Report) -> String {
    let mut words = "good".to_owned();
    if report.private && report.proxy.is_none() {
        words.push_str(", by a private address");
    }
    match report.days_left {
        Some(..1) => words.push_str("; its certificate ends today"),
        Some(days @ ..DAYS_LEFT_FEW) => {
            words.push_str(&format!("; days until its certificate ends: {days}"));
        }
        _ => {}
    }
    words
}

/// Why nobody took a connection.
fn refusal(address: IpAddr, error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => format!("{address} refuses the connection"),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => {
            format!("{address} does not answer: packets are dropped on the way")
        }
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => {
            format!("nothing leads to {address}")
        }
        _ => format!("{address} cannot be reached: {error}"),
    }
}

/// The head of an answer, up to the empty line.
fn read_head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < PROXY_HEAD_BYTES_MAX {
        if stream.read(&mut byte)? == 0 {
            break;
        }
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn is_private(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
