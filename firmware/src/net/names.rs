//! DNS servers, search domains and the host table for whoever sends requests.
//!
//! They are handed over as two small files of the usual forms, replaced whole: a client that runs already reads them
//! again with its next question, so that a new lease reaches it.

use core::fmt;
use core::fmt::Write as _;
use core::net::{IpAddr, Ipv6Addr};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use hal::net::config::Network;
use hal::net::dhcp4::lease::Lease;
use hal::net::dhcp6::lease::Information;
use hal::net::ndisc::Advice;
use hal::time::Moment;
use pipeline_azure::transport::TransportOptions;
use pipeline_azure::transport::names::NameOptions;
use pipeline_vault::Error;

use crate::net::proxies::proxy_choice;

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

    /// What holds now: what the page says, else what the leases say, best first, then the servers of IPv6, and then the
    /// routers (RFC 8106, 5.3.1).
    pub(super) fn resolver(
        &self,
        now: Moment,
        network: &Network,
        leases: &[(u32, &Lease)],
        known: &[(u32, &Information)],
    ) -> Resolver {
        let on_cable = |server: Ipv6Addr, link: u32| server.is_unicast_link_local().then_some(link);
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
            for (link, server) in
                known.iter().flat_map(|(link, known)| known.dns.iter().map(move |dns| (link, dns)))
            {
                add(IpAddr::V6(*server), on_cable(*server, *link));
            }
            for (link, server, _) in self.servers.iter().filter(|(_, _, until)| now < *until) {
                add(IpAddr::V6(*server), on_cable(*server, *link));
            }
        } else {
            network.dns.iter().for_each(|server| add(*server, None));
        }
        let mut search = network.search.clone();
        if search.is_empty() {
            let leased = leases.iter().flat_map(|(_, lease)| &lease.domains);
            let six = known.iter().flat_map(|(_, known)| &known.domains);
            let leased = leased.chain(six).cloned();
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
            hosts_file: Some(self.hosts()),
            resolv_conf: self.resolv_conf(),
            ..NameOptions::default()
        };
        let proxy = proxy_choice(&network.proxies)?;
        Ok(TransportOptions { names, proxy, ..TransportOptions::from_env() })
    }
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
    use super::*;

    fn page(text: &str) -> Network {
        toml::from_str(text).unwrap()
    }

    fn servers(list: &[&str], seconds: u32) -> Advice {
        let servers = list.iter().map(|server| server.parse().unwrap()).collect();
        Advice::Servers { servers, seconds }
    }

    fn told(advised: &Advised, now: u64, text: &str) -> Vec<String> {
        let resolver = advised.resolver(Moment(now), &page(text), &[], &[]);
        resolver.servers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_routers_say_of_servers_holds_as_long_as_they_say() {
        let mut advised = Advised::default();
        advised.note(Moment(0), 3, &servers(&["fd00::1", "fe80::1"], 10));
        advised.note(Moment(0), 3, &servers(&["fd00::2"], u32::MAX));
        assert_eq!(advised.deadline(), Some(Moment(10_000)));
        assert_eq!(told(&advised, 9_999, ""), ["fd00::1", "fe80::1%3", "fd00::2"]);
        assert_eq!(told(&advised, 10_000, ""), ["fd00::2"]);
        advised.note(Moment(1), 3, &servers(&["fd00::2"], 0));
        assert_eq!(told(&advised, 10_000, ""), [""; 0], "a router may take it back");
        advised.note(Moment(1), 4, &servers(&["fd00::4"], 10));
        advised.keep(|link| link != 4);
        assert_eq!(
            told(&advised, 2, ""),
            ["fd00::1", "fe80::1%3"],
            "a link that is gone says nothing"
        );
    }

    #[test]
    fn what_the_page_says_of_servers_and_domains_counts_alone() {
        let mut advised = Advised::default();
        advised.note(Moment(0), 3, &servers(&["fd00::1", "fd00::2", "fd00::3", "fd00::4"], 10));
        let domains = vec!["corp.example".to_owned()];
        advised.note(Moment(0), 3, &Advice::Domains { domains, seconds: 10 });
        assert_eq!(told(&advised, 1, "").len(), SERVERS_MAX);
        assert_eq!(told(&advised, 1, "dns = [\"10.0.0.1\"]"), ["10.0.0.1"]);
        let text = |page: Network| advised.resolver(Moment(1), &page, &[], &[]).text();
        assert!(text(page("")).contains("search corp.example\n"));
        assert!(text(page("search = [\"own.example\"]")).contains("search own.example\n"));
    }

    #[test]
    fn servers_of_dhcp_count_more_than_routers_and_those_of_one_cable_say_which() {
        let mut advised = Advised::default();
        advised.note(Moment(0), 3, &servers(&["fd00::1", "fd00::2"], 10));
        let domains = vec!["routers.example".to_owned()];
        advised.note(Moment(0), 3, &Advice::Domains { domains, seconds: 10 });
        let known = Information {
            dns: vec!["fe80::53".parse().unwrap(), "fd00::2".parse().unwrap()],
            domains: vec!["servers.example".to_owned()],
            ntp: Vec::new(),
        };
        let resolver = advised.resolver(Moment(1), &Network::default(), &[], &[(4, &known)]);
        let told: Vec<String> = resolver.servers.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["fe80::53%4", "fd00::2", "fd00::1"]);
        assert_eq!(resolver.search, ["servers.example", "routers.example"]);
    }

    #[test]
    fn a_router_that_never_stops_talking_is_heard_only_so_long() {
        let mut advised = Advised::default();
        for number in 0..500_u16 {
            advised.note(Moment(0), 3, &servers(&[&format!("fd00::{number:x}:1")], 10));
            let domains = vec![format!("d{number}.example")];
            advised.note(Moment(0), 3, &Advice::Domains { domains, seconds: 10 });
        }
        assert_eq!((advised.servers.len(), advised.domains.len()), (ADVICE_MAX, ADVICE_MAX));
    }

    #[test]
    fn files_are_replaced_whole_and_hold_the_table() {
        let folder = std::env::temp_dir().join(format!("lifeboat-names-{}", std::process::id()));
        let files = Files::new(&folder).unwrap();
        let table = page("[hosts]\n\"a.blob.core.windows.net\" = [\"10.0.0.4\", \"fd00::4\"]\n");
        files.write_hosts(&table).unwrap();
        files.write_resolver(&Resolver::default()).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let text = "10.0.0.4 a.blob.core.windows.net\nfd00::4 a.blob.core.windows.net\n";
        assert_eq!(read("hosts"), text);
        assert_eq!(read("resolv.conf"), "options timeout:3 attempts:2\n");
        files.write_hosts(&Network::default()).unwrap();
        assert_eq!(read("hosts"), "");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "nothing else is left there");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
