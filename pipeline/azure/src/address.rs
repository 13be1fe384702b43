//! Where a vault is: account, container, prefix, and how to reach them. It never holds a secret.

use core::fmt;

use pipeline_vault::Error;

use crate::cloud::{COMMERCIAL, Cloud};
use crate::encode::{percent_decode, percent_path};

/// What the name of an object may have at most, prefix included: Azure's own limit.
const NAME_CHARS_MAX: usize = 1024;

/// Scheme, host and port: what a connection is made to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether the connection is TLS.
    pub https: bool,
    /// Host and, where it is not the scheme's own, port.
    pub authority: String,
}

impl Origin {
    /// Splits `https://host:port/path` into the origin and the path without its last slash.
    pub fn parse(url: &str) -> Result<(Self, String), Error> {
        let bad = |what: &str| {
            Error::misuse(format!("endpoint «{}»", without_query(url)), what.to_owned())
                .remedy("write it like https://host:port or http://127.0.0.1:10000/account")
        };
        let (https, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(bad("begins with neither https:// nor http://")),
        };
        if rest.contains(['?', '#', '@', ' ', '\\']) {
            return Err(bad("holds more than scheme, host, port and path"));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let parsed: Option<ureq::http::uri::Authority> = authority.parse().ok();
        if parsed.is_none_or(|parsed| parsed.host().is_empty()) {
            return Err(bad("names no host"));
        }
        let origin = Self { https, authority: authority.to_ascii_lowercase() };
        Ok((origin, path.trim_matches('/').to_owned()))
    }

    /// The host without its port; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        let authority = self.authority.as_str();
        if let Some((host, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            return host;
        }
        authority.split_once(':').map_or(authority, |(host, _)| host)
    }

    /// The port, the scheme's own where none is written.
    pub fn port(&self) -> u16 {
        let written = match self.authority.rsplit_once(']') {
            Some((_, after)) => after.strip_prefix(':'),
            None => self.authority.split_once(':').map(|(_, port)| port),
        };
        let default = if self.https { 443 } else { 80 };
        written.and_then(|port| port.parse().ok()).unwrap_or(default)
    }

    /// Whether it is this machine by its loopback address or its name `localhost`.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        let literal = host.parse::<core::net::IpAddr>();
        literal.map_or_else(|_| is_localhost(host), |address| address.is_loopback())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

/// Whether the name is this machine's by definition.
pub(crate) fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost")
}

/// A vault's address: `azure://ACCOUNT/CONTAINER[/PREFIX]?endpoint=URL&cloud=usgov`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureAddress {
    account: String,
    container: String,
    prefix: String,
    cloud: Cloud,
    origin: Origin,
    /// What stands before the container in a path: empty, or `/ACCOUNT` where the host does not name it.
    base: String,
    endpoint: Option<String>,
    secondary: bool,
}

impl AzureAddress {
    /// Reads an address. Secrets in it are refused, without repeating them.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |what: String| {
            Error::misuse(format!("address «{}»", without_query(text)), what).remedy(
                "write it like azure://ACCOUNT/CONTAINER or azure://ACCOUNT/CONTAINER?endpoint=URL",
            )
        };
        let rest = text
            .strip_prefix("azure://")
            .ok_or_else(|| bad("does not begin with azure://".to_owned()))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut parts = path.trim_end_matches('/').splitn(3, '/');
        let account = parts.next().unwrap_or_default().to_owned();
        let container = parts.next().unwrap_or_default().to_owned();
        let prefix = parts.next().unwrap_or_default().to_owned();
        check_account(&account).map_err(&bad)?;
        check_container(&container).map_err(&bad)?;
        if !prefix.is_empty() {
            check_name(&prefix).map_err(|what| bad(format!("has a prefix that {what}")))?;
        }
        let (endpoint, cloud) = parse_query(query, &bad)?;
        let mut address = Self {
            origin: public_origin(&account, cloud),
            account,
            container,
            prefix,
            cloud,
            base: String::new(),
            endpoint: None,
            secondary: false,
        };
        if let Some(endpoint) = endpoint {
            address = address.with_endpoint(&endpoint)?;
        }
        Ok(address)
    }

    /// The same vault at another endpoint, as a connection string or `?endpoint=` names it.
    ///
    /// The account may be the first label of the host, the first part of the path, or be left out:
    /// then an address, `localhost` or a host without a dot gets it in the path (as Azurite wants it),
    /// and any other host is a domain that stands for the account.
    pub fn with_endpoint(mut self, endpoint: &str) -> Result<Self, Error> {
        let (origin, path) = Origin::parse(endpoint)?;
        let in_host = origin.host().split('.').next() == Some(self.account.as_str());
        let bare = origin.host().parse::<core::net::IpAddr>().is_ok()
            || is_localhost(origin.host())
            || !origin.host().contains('.');
        self.base = match path.as_str() {
            "" if bare && !in_host => format!("/{}", self.account),
            "" => String::new(),
            path if path == self.account => format!("/{path}"),
            path => {
                let what = format!("names «{path}» where the account «{}» belongs", self.account);
                return Err(Error::misuse(format!("endpoint «{endpoint}»"), what)
                    .remedy("leave the path out or end it with the account's name"));
            }
        };
        if let Some(cloud) = Cloud::of_blob_host(origin.host()) {
            self.cloud = cloud;
        }
        let usual = origin == public_origin(&self.account, self.cloud) && self.base.is_empty();
        self.endpoint = (!usual).then(|| endpoint.trim_end_matches('/').to_owned());
        self.origin = origin;
        Ok(self)
    }

    /// Another container of the same account, at the same endpoint.
    pub fn beside(&self, container: &str) -> Result<Self, Error> {
        check_container(container).map_err(|what| {
            Error::misuse(format!("container «{container}»"), what)
                .remedy("name it by lower-case letters, digits and hyphens")
        })?;
        Ok(Self { container: container.to_owned(), prefix: String::new(), ..self.clone() })
    }

    /// The read-only copy that Azure keeps in the paired region, of accounts that have one.
    pub fn secondary(&self) -> Result<Self, Error> {
        let mut copy = Self { secondary: true, ..self.clone() };
        if self.secondary {
            return Ok(copy);
        }
        let other = format!("{}-secondary", self.account);
        if !self.base.is_empty() {
            copy.base = format!("/{other}");
            return Ok(copy);
        }
        let Some(suffix) = self.origin.authority.strip_prefix(&format!("{}.", self.account)) else {
            let what = "has no secondary that its endpoint would name";
            return Err(Error::misuse(self.to_string(), what)
                .remedy("open the secondary by its own endpoint with ?endpoint="));
        };
        copy.origin.authority = format!("{other}.{suffix}");
        Ok(copy)
    }

    /// The storage account.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The container in it.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// The cloud that the account is in, as far as the address tells.
    pub fn cloud(&self) -> Cloud {
        self.cloud
    }

    /// Whether it is where Azure itself has the account, and no endpoint of somebody's own.
    pub fn is_usual(&self) -> bool {
        self.endpoint.is_none()
    }

    /// What a connection is made to.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether this is the read-only copy.
    pub fn is_secondary(&self) -> bool {
        self.secondary
    }

    /// The container's path on the wire.
    pub fn container_path(&self) -> String {
        format!("{}/{}", self.base, self.container)
    }

    /// An object's path on the wire.
    pub fn blob_path(&self, name: &str) -> String {
        format!("{}/{}", self.container_path(), percent_path(&self.full_name(name)))
    }

    /// An object's name in the container: with the prefix.
    pub fn full_name(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) }
    }

    /// The name without the prefix; `None` for an object of somebody else.
    pub fn own_name<'a>(&self, full: &'a str) -> Option<&'a str> {
        if self.prefix.is_empty() {
            return Some(full);
        }
        full.strip_prefix(self.prefix.as_str())?.strip_prefix('/')
    }

    /// How a person would name an object: `azure://account/container/name`.
    pub fn object(&self, name: &str) -> String {
        format!("azure://{}/{}/{}", self.account, self.container, self.full_name(name))
    }

    /// How a person would name the container.
    pub fn container_object(&self) -> String {
        format!("container «{}» of account «{}»", self.container, self.account)
    }
}

impl fmt::Display for AzureAddress {
    /// The address as it is parsed; of a secondary, the primary's with a word about it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "azure://{}/{}", self.account, self.container)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        match &self.endpoint {
            Some(endpoint) => write!(f, "?endpoint={endpoint}")?,
            None if self.cloud != COMMERCIAL => write!(f, "?cloud={}", self.cloud.name)?,
            None => {}
        }
        if self.secondary { f.write_str(" (secondary)") } else { Ok(()) }
    }
}

/// Whether this can be an object's name: slash-separated ASCII without empty or dotted parts.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_CHARS_MAX {
        return Err(format!("has {} characters; 1 to {NAME_CHARS_MAX} are possible", name.len()));
    }
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    if !name.bytes().all(plain) {
        return Err("holds characters other than visible ASCII, or a backslash".to_owned());
    }
    let dotted = |part: &str| part.is_empty() || part.bytes().all(|byte| byte == b'.');
    if name.split('/').any(dotted) {
        return Err("has an empty or dotted part between slashes".to_owned());
    }
    Ok(())
}

fn public_origin(account: &str, cloud: Cloud) -> Origin {
    Origin { https: true, authority: format!("{account}.{}", cloud.blob_suffix) }
}

/// The endpoint and the cloud of an address' query.
fn parse_query(
    query: &str,
    bad: &impl Fn(String) -> Error,
) -> Result<(Option<String>, Cloud), Error> {
    let (mut endpoint, mut cloud) = (None, COMMERCIAL);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "endpoint" => {
                let value = percent_decode(value)
                    .ok_or_else(|| bad("has an endpoint with a broken %-escape".to_owned()))?;
                endpoint = Some(value);
            }
            "cloud" => {
                cloud = Cloud::named(value).ok_or_else(|| {
                    bad(format!("names the cloud «{value}»; known are public, usgov and china"))
                })?;
            }
            "sig" | "se" | "sp" | "sv" | "sr" | "ss" | "srt" | "st" | "spr" => {
                return Err(bad("holds a shared access signature".to_owned()).remedy(
                    "put it into AZURE_STORAGE_SAS_TOKEN: addresses are shown and logged",
                ));
            }
            _ => return Err(bad(format!("has the unknown option «{name}»"))),
        }
    }
    Ok((endpoint, cloud))
}

fn check_account(account: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if (3..=24).contains(&account.len()) && account.bytes().all(plain) {
        return Ok(());
    }
    let hint =
        if account.contains('.') { "; give the account's name only, not its host" } else { "" };
    Err(format!(
        "names the account «{account}»: 3 to 24 lower-case letters and digits are expected{hint}"
    ))
}

fn check_container(container: &str) -> Result<(), String> {
    if container.is_empty() {
        return Err("names no container".to_owned());
    }
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = (3..=63).contains(&container.len())
        && container.bytes().all(plain)
        && !container.starts_with('-')
        && !container.ends_with('-')
        && !container.contains("--");
    if fits {
        return Ok(());
    }
    Err(format!(
        "names the container «{container}»: 3 to 63 lower-case letters, digits and single dashes are expected"
    ))
}

/// The text up to its first question mark: what follows may be a secret.
fn without_query(text: &str) -> &str {
    text.split_once('?').map_or(text, |(before, _)| before)
}

#[cfg(test)]
mod tests;
