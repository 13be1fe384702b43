//! DNS servers, search domains, the host table and proxies for whoever sends requests.
//!
//! They are handed over as two small files of the usual forms, replaced whole: a client that runs already reads them
//! again with its next question, so that a new lease reaches it.

use core::fmt;
use core::fmt::Write as _;
use core::net::{IpAddr, Ipv6Addr};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use hal::net::config::{Network, ProxyRule};
use hal::net::dhcp4::lease::Lease;
use hal::net::ndisc::Advice;
use hal::time::Moment;
use pipeline_azure::address::Origin;
use pipeline_azure::transport::TransportOptions;
use pipeline_azure::transport::names::NameOptions;
use pipeline_azure::transport::proxy::{Exceptions, Proxy, ProxyChoice, Rule};
use pipeline_vault::Error;

/// Servers that are asked at most, as resolver(5) has it.
const SERVERS_MAX: usize = 3;
/// What routers may say at most.
const ADVICE_MAX: usize = 64;

/// A DNS server; one that is reached over one cable only says over which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its address.
    pub address: IpAddr,
    /// The link, for an address that means something on that alone.
    pub link: Option<u32>,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.address, f)?;
        self.link.map_or(Ok(()), |link| write!(f, "%{link}"))
    }
}

/// Who answers questions for names, and where short ones are searched for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// The servers, best first.
    pub servers: Vec<Server>,
    /// The domains, best first.
    pub search: Vec<String>,
}

impl Resolver {
    /// The text that resolver(5) describes.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for server in &self.servers {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "nameserver {server}");
        }
        if !self.search.is_empty() {
            let _ = writeln!(text, "search {}", self.search.join(" "));
        }
        text.push_str("options timeout:3 attempts:2\n");
        text
    }
}

/// What routers of IPv6 said of names, each until its time is over.
#[derive(Debug, Default)]
pub(super) struct Advised {
    servers: Vec<(u32, Ipv6Addr, Moment)>,
    domains: Vec<(u32, String, Moment)>,
}

impl Advised {
    pub(super) fn note(&mut self, now: Moment, link: u32, advice: &Advice) {
        match advice {
            Advice::Servers { servers, seconds } => {
                for server in servers {
                    self.servers.retain(|(on, known, _)| (*on, known) != (link, server));
                    if *seconds > 0 && self.servers.len() < ADVICE_MAX {
                        self.servers.push((link, *server, until(now, *seconds)));
                    }
                }
            }
            Advice::Domains { domains, seconds } => {
                for domain in domains {
                    self.domains.retain(|(on, known, _)| (*on, known) != (link, domain));
                    if *seconds > 0 && self.domains.len() < ADVICE_MAX {
                        self.domains.push((link, domain.clone(), until(now, *seconds)));
                    }
                }
            }
        }
    }

    /// Forgets what was heard on links that are gone.
    pub(super) fn keep(&mut self, there: impl Fn(u32) -> bool) {
        self.servers.retain(|(link, ..)| there(*link));
        self.domains.retain(|(link, ..)| there(*link));
    }

    /// When something of it ends next.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let servers = self.servers.iter().map(|(_, _, until)| *until);
        let domains = self.domains.iter().map(|(_, _, until)| *until);
        servers.chain(domains).filter(|until| until.0 != u64::MAX).min()
    }

    /// What holds now: what the page says, else what the leases say, best first, and then the routers.
    pub(super) fn resolver(
        &self,
        now: Moment,
        network: &Network,
        leases: &[(u32, &Lease)],
    ) -> Resolver {
        let mut servers: Vec<Server> = Vec::new();
        let mut add = |address: IpAddr, link: Option<u32>| {
            let server = Server { address, link };
            if servers.len() < SERVERS_MAX && !servers.contains(&server) {
                servers.push(server);
            }
        };
        if network.dns.is_empty() {
            let leased = leases.iter().flat_map(|(_, lease)| &lease.dns);
            leased.for_each(|server| add(IpAddr::V4(*server), None));
            for (link, server, _) in self.servers.iter().filter(|(_, _, until)| now < *until) {
                add(IpAddr::V6(*server), server.is_unicast_link_local().then_some(*link));
            }
        } else {
            network.dns.iter().for_each(|server| add(*server, None));
        }
        let mut search = network.search.clone();
        if search.is_empty() {
            let leased = leases.iter().flat_map(|(_, lease)| &lease.domains).cloned();
            let advised = self.domains.iter().filter(|(_, _, until)| now < *until);
            for domain in leased.chain(advised.map(|(_, domain, _)| domain.clone())) {
                if !search.contains(&domain) {
                    search.push(domain);
                }
            }
        }
        Resolver { servers, search }
    }
}

fn until(now: Moment, seconds: u32) -> Moment {
    match seconds {
        u32::MAX => Moment(u64::MAX),
        seconds => now.after(u64::from(seconds) * 1000),
    }
}

/// The table of the page as hosts(5) describes it.
#[must_use]
pub fn hosts_text(network: &Network) -> String {
    let mut text = String::new();
    for (name, addresses) in &network.hosts {
        for address in addresses {
            let _ = writeln!(text, "{address} {name}");
        }
    }
    text
}

/// Where the files are: in one folder, which is best in memory.
#[derive(Clone, Debug)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// Files in this folder, which is made where it is missing.
    pub fn new(folder: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(folder).map_err(|error| {
            Error::device(folder.display().to_string(), format!("cannot be made: {error}"))
        })?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn resolv_conf(&self) -> PathBuf {
        self.folder.join("resolv.conf")
    }

    fn hosts(&self) -> PathBuf {
        self.folder.join("hosts")
    }

    /// Replaces what is said of name servers.
    pub fn write_resolver(&self, resolver: &Resolver) -> Result<(), Error> {
        replace(&self.resolv_conf(), &resolver.text())
    }

    /// Replaces the table.
    pub fn write_hosts(&self, network: &Network) -> Result<(), Error> {
        replace(&self.hosts(), &hosts_text(network))
    }

    /// How requests are sent: names by these files, proxies as the page says.
    pub fn transport(&self, network: &Network) -> Result<TransportOptions, Error> {
        let names = NameOptions {
            table: Vec::new(),
            hosts_file: Some(self.hosts()),
            resolv_conf: self.resolv_conf(),
            servers: Vec::new(),
        };
        let proxy = proxy_choice(&network.proxies)?;
        Ok(TransportOptions { names, proxy, ..TransportOptions::from_env() })
    }
}

/// The proxies of the page; what the environment says where it names none.
pub fn proxy_choice(rules: &[ProxyRule]) -> Result<ProxyChoice, Error> {
    if rules.is_empty() {
        return Ok(ProxyChoice::FromEnvironment);
    }
    let rules = rules.iter().map(|rule| {
        let proxy = match rule.through.is_none() {
            true => None,
            false => Some(Proxy::parse(&rule.through.0)?),
        };
        Ok(Rule { destinations: Exceptions::parse(&rule.destinations.join(",")), proxy })
    });
    Ok(ProxyChoice::ByDestination(rules.collect::<Result<_, Error>>()?))
}

/// The page's proxies as a program's environment, for requests to these hosts: the first has its proxy by name, and those
/// that go straight are exceptions. Nothing where the page names none.
pub fn proxy_environment(
    rules: &[ProxyRule],
    origins: &[Origin],
) -> Result<Vec<(String, String)>, Error> {
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let mut found: Vec<(&Origin, Option<&ProxyRule>)> = Vec::new();
    for origin in origins {
        let rule = rules.iter().find(|rule| covers(rule, origin));
        found.push((origin, rule.filter(|rule| !rule.through.is_none())));
    }
    let Some(proxy) = found.iter().find_map(|(_, rule)| *rule) else { return Ok(Vec::new()) };
    // Refused here, where the page's words are at hand.
    Proxy::parse(&proxy.through.0)?;
    let straight = found.iter().filter(|(_, rule)| rule.is_none());
    let straight: Vec<&str> = straight.map(|(origin, _)| origin.authority.as_str()).collect();
    if let Some((origin, rule)) =
        found.iter().find(|(_, rule)| rule.is_some_and(|rule| rule.through != proxy.through))
    {
        let through = rule.map(|rule| rule.destinations.join(", ")).unwrap_or_default();
        log::warn!(
            "{}: goes through the proxy for {}, not through that for {through}: a job has one proxy",
            origin.authority,
            proxy.destinations.join(", ")
        );
    }
    let url = || proxy.through.0.clone();
    Ok(vec![
        ("HTTPS_PROXY".to_owned(), url()),
        ("HTTP_PROXY".to_owned(), url()),
        ("NO_PROXY".to_owned(), straight.join(",")),
    ])
}

fn covers(rule: &ProxyRule, origin: &Origin) -> bool {
    Exceptions::parse(&rule.destinations.join(",")).matches(origin)
}

/// Writes a file so that a reader sees the old text or the new one.
fn replace(path: &Path, text: &str) -> Result<(), Error> {
    let part = path.with_extension("part");
    let written = std::fs::File::create(&part)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| std::fs::rename(&part, path));
    written.map_err(|error| {
        Error::device(path.display().to_string(), format!("cannot be written: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use hal::net::config::ProxyUrl;

    use super::*;

    fn rule(destinations: &[&str], through: &str) -> ProxyRule {
        let destinations = destinations.iter().map(|&text| text.to_owned()).collect();
        ProxyRule { destinations, through: ProxyUrl(through.to_owned()) }
    }

    fn environment(rules: &[ProxyRule]) -> Vec<(String, String)> {
        let origin = |authority: &str| Origin { https: true, authority: authority.to_owned() };
        let origins = ["a.blob.core.windows.net", "login.microsoftonline.com"].map(origin);
        proxy_environment(rules, &origins).unwrap()
    }

    #[test]
    fn a_job_gets_the_proxy_of_its_vaults_host_and_the_exceptions() {
        assert_eq!(environment(&[]), []);
        assert_eq!(environment(&[rule(&["*"], "none")]), []);
        assert_eq!(environment(&[rule(&["example.com"], "http://p:8080")]), []);
        let one = environment(&[rule(&["*"], "http://n:w@p:8080")]);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let proxied = |exceptions: &str| {
            let url = "http://n:w@p:8080";
            [pair("HTTPS_PROXY", url), pair("HTTP_PROXY", url), pair("NO_PROXY", exceptions)]
        };
        assert_eq!(one, proxied(""));
        // The first rule that covers a host counts, as for every request.
        let both = [rule(&["core.windows.net"], "none"), rule(&["*"], "http://n:w@p:8080")];
        assert_eq!(environment(&both), proxied("a.blob.core.windows.net"));
        let blobs = [rule(&["core.windows.net"], "http://n:w@p:8080")];
        assert_eq!(environment(&blobs), proxied("login.microsoftonline.com"));
    }

    #[test]
    fn a_proxy_that_is_none_is_refused_without_its_password() {
        let origin = Origin { https: true, authority: "a".to_owned() };
        let rules = [rule(&["*"], "socks5://n:secret@p:1")];
        let error = proxy_environment(&rules, &[origin]).unwrap_err().to_string();
        assert!(error.contains("proxy") && !error.contains("secret"), "{error}");
    }
}
