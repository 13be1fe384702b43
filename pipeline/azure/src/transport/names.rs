//! Names to addresses without libc: literals and localhost, a table, the hosts file, then DNS.
//!
//! A static glibc must never load a host's NSS modules, and private endpoints need the table anyway.

use std::collections::HashMap;
use std::io;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::dns::{self, Dns, Trouble};
use super::failure::{Failure, Kind};
use crate::address::is_localhost;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;
/// Longest that an answer of DNS is believed, whatever it says of itself.
const CACHE_SECONDS_MAX: u32 = 300;
/// Names that are remembered.
const CACHE_NAMES_MAX: usize = 256;
/// Longest that DNS is waited for where the caller sets no limit.
const PATIENCE: Duration = Duration::from_secs(30);

/// How names become addresses.
#[derive(Clone, Debug)]
pub struct NameOptions {
    /// Names and their addresses that come before everything else: private endpoints.
    pub table: Vec<(String, IpAddr)>,
    /// The hosts file; `None` for none.
    pub hosts_file: Option<PathBuf>,
    /// Where DNS servers and search domains are written.
    pub resolv_conf: PathBuf,
    /// DNS servers to use instead of those written there.
    pub servers: Vec<SocketAddr>,
    /// What somebody tells of names, for who opens no file.
    pub told: Option<Arc<Told>>,
}

impl Default for NameOptions {
    fn default() -> Self {
        Self {
            table: Vec::new(),
            hosts_file: Some(PathBuf::from("/etc/hosts")),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            servers: Vec::new(),
            told: None,
        }
    }
}

/// A socket for datagrams that leads to this address alone.
pub type Datagrams = fn(SocketAddr) -> io::Result<UdpSocket>;

/// What is told of names to a process that opens no file: what stands in files elsewhere, as it was last.
#[derive(Debug)]
pub struct Told {
    known: Mutex<HashMap<String, Vec<IpAddr>>>,
    settings: Mutex<Option<dns::Settings>>,
    datagrams: Datagrams,
}

impl Told {
    /// Nothing yet. DNS servers are asked over sockets that `datagrams` makes.
    #[must_use]
    pub fn new(datagrams: Datagrams) -> Arc<Self> {
        Arc::new(Self { known: Mutex::default(), settings: Mutex::default(), datagrams })
    }

    /// The addresses of a host; none where DNS is to be asked: these servers, or those of this text.
    pub fn tell(&self, host: &str, known: &[IpAddr], resolv_conf: &str, servers: &[SocketAddr]) {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            all.remove(host);
        } else if all.len() < CACHE_NAMES_MAX || all.contains_key(host) {
            all.insert(host.to_owned(), known.to_vec());
        }
        drop(all);
        let mut settings = dns::Settings::parse(resolv_conf);
        if !servers.is_empty() {
            settings.servers = servers.to_vec();
        }
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = Some(settings);
    }

    fn known(&self, host: &str) -> Option<Vec<IpAddr>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned()
    }
}

/// A name that got no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NameFailure {
    host: String,
    trouble: Trouble,
}

impl NameFailure {
    pub(super) fn to_failure(&self) -> Failure {
        let host = &self.host;
        match &self.trouble {
            Trouble::NoSuchName => {
                Failure::new(Kind::NoSuchName, format!("there is no host {host}"))
            }
            Trouble::NoAnswer(why) => Failure::new(
                Kind::NoNameServer,
                format!("the address of {host} cannot be found: {why}"),
            ),
        }
    }
}

impl fmt::Display for NameFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_failure().what)
    }
}

impl core::error::Error for NameFailure {}

/// The resolver that ureq asks.
pub struct Names {
    options: NameOptions,
    cache: Mutex<HashMap<String, (Vec<IpAddr>, Instant)>>,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Names {
    /// A resolver with an empty memory.
    pub fn new(options: NameOptions) -> Self {
        Self { options, cache: Mutex::new(HashMap::new()) }
    }

    /// The addresses of a host, as a request would get them: for whoever tests the way.
    pub fn look_up(&self, host: &str, patience: Duration) -> Result<Vec<IpAddr>, Failure> {
        self.addresses(host, patience).map_err(|failure| failure.to_failure())
    }

    /// The addresses of a host, those of IPv4 first: where both work it matters little, and where
    /// IPv6 is only half there a connection is not delayed by it.
    pub(super) fn addresses(
        &self,
        host: &str,
        patience: Duration,
    ) -> Result<Vec<IpAddr>, NameFailure> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse() {
            return Ok(vec![address]);
        }
        if let Some(found) = self.without_dns(host) {
            return Ok(found);
        }
        if let Some(found) = self.remembered(host) {
            return Ok(found);
        }
        let deadline = Instant::now() + patience;
        let (mut found, seconds) = self
            .ask(host, deadline)
            .map_err(|trouble| NameFailure { host: host.to_owned(), trouble })?;
        found.sort_by_key(IpAddr::is_ipv6);
        self.remember(host, &found, seconds);
        Ok(found)
    }

    /// What is written of a host here, and of where DNS is: for who asks DNS instead of us.
    #[must_use]
    pub fn written(&self, host: &str) -> (Vec<IpAddr>, String) {
        if let Some(found) = self.without_dns(host) {
            return (found, String::new());
        }
        (Vec::new(), std::fs::read_to_string(&self.options.resolv_conf).unwrap_or_default())
    }

    /// The table, localhost, the hosts file.
    fn without_dns(&self, host: &str) -> Option<Vec<IpAddr>> {
        let wanted = host.trim_end_matches('.');
        let listed: Vec<IpAddr> = self
            .options
            .table
            .iter()
            .filter(|(name, _)| name.trim_end_matches('.').eq_ignore_ascii_case(wanted))
            .map(|(_, address)| *address)
            .collect();
        if !listed.is_empty() {
            return Some(listed);
        }
        if let Some(told) = &self.options.told
            && let Some(found) = told.known(host)
        {
            return Some(found);
        }
        if is_localhost(wanted) {
            return Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        // Read each time: it is small, and who edits it wants it used.
        let file = self.options.hosts_file.as_ref()?;
        let found = in_hosts_file(&std::fs::read_to_string(file).unwrap_or_default(), wanted);
        (!found.is_empty()).then_some(found)
    }

    /// The name that DNS servers give for an address, where one does in this time. Nobody proves that it is true.
    #[must_use]
    pub fn name_of(&self, address: IpAddr, patience: Duration) -> Option<String> {
        self.dns(self.settings()).name_of(address, Instant::now() + patience)
    }

    fn dns(&self, settings: dns::Settings) -> Dns {
        Dns::new(settings, self.options.told.as_ref().map(|told| told.datagrams))
    }

    fn settings(&self) -> dns::Settings {
        if let Some(told) = &self.options.told {
            let settings = told.settings.lock().unwrap_or_else(PoisonError::into_inner);
            return settings.clone().unwrap_or_else(|| dns::Settings::parse(""));
        }
        let text = std::fs::read_to_string(&self.options.resolv_conf).unwrap_or_default();
        let mut settings = dns::Settings::parse(&text);
        if !self.options.servers.is_empty() {
            settings.servers.clone_from(&self.options.servers);
        }
        settings
    }

    /// Asks DNS, along the search list where the name is short.
    fn ask(&self, host: &str, deadline: Instant) -> Result<(Vec<IpAddr>, u32), Trouble> {
        let settings = self.settings();
        let mut trouble = Trouble::NoSuchName;
        let candidates = settings.candidates(host);
        let dns = self.dns(settings);
        for candidate in candidates {
            match dns.addresses(&candidate, deadline) {
                Ok(found) => return Ok(found),
                // A server that fails for one candidate must not be hidden by a «no» to another.
                Err(Trouble::NoAnswer(why)) => trouble = Trouble::NoAnswer(why),
                Err(Trouble::NoSuchName) => {}
            }
        }
        Err(trouble)
    }

    fn remembered(&self, host: &str) -> Option<Vec<IpAddr>> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let (found, until) = cache.get(host)?;
        (*until > Instant::now()).then(|| found.clone())
    }

    fn remember(&self, host: &str, found: &[IpAddr], seconds: u32) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if cache.len() >= CACHE_NAMES_MAX {
            cache.retain(|_, (_, until)| *until > now);
        }
        if cache.len() < CACHE_NAMES_MAX {
            let until = now + Duration::from_secs(u64::from(seconds.min(CACHE_SECONDS_MAX)));
            cache.insert(host.to_owned(), (found.to_vec(), until));
        }
    }
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default);
        let patience = if timeout.after.is_not_happening() { PATIENCE } else { *timeout.after };
        let found = self
            .addresses(host, patience)
            .map_err(|failure| ureq::Error::Other(Box::new(failure)))?;
        let mut resolved = self.empty();
        for address in found.into_iter().take(ADDRESSES_MAX) {
            resolved.push(SocketAddr::new(address, port));
        }
        Ok(resolved)
    }
}

/// The addresses that a hosts file gives a name.
fn in_hosts_file(text: &str, wanted: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
        if words.any(|name| name.trim_end_matches('.').eq_ignore_ascii_case(wanted)) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests;
