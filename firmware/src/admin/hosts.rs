//! Names by which browsers may ask for the machine, in the document `hosts`: a page of somebody else's whose name leads here
//! (rebinding) must not be answered.

use core::net::{IpAddr, Ipv6Addr};

use firmware_web::api::views::admin::HostNames;
use firmware_web::api::{Answer, Refusal};

use super::keep::Keep;
use super::users;

const DOCUMENT: &str = "hosts";
/// Names at most.
const NAMES_MAX: usize = 16;
const NAME_BYTES_MAX: usize = 253;

/// Those that an administrator added.
pub(super) fn read(keep: &dyn Keep) -> Answer<HostNames> {
    Ok(users::read(keep, DOCUMENT)?.unwrap_or_default())
}

/// All of them, anew.
pub(super) fn write(keep: &dyn Keep, hosts: &HostNames) -> Answer<HostNames> {
    if hosts.names.len() > NAMES_MAX {
        let words = format!("are more than {NAMES_MAX}");
        return Err(Refusal::new(422, "names of the machine", words).at("/names"));
    }
    for (place, name) in hosts.names.iter().enumerate() {
        if !is_name(name) {
            return Err(Refusal::new(422, format!("the name {name:?}"), "is no name of a host")
                .at(format!("/names/{place}")));
        }
    }
    let mut names: Vec<String> = hosts.names.iter().map(|name| name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    names.dedup();
    let hosts = HostNames { names };
    users::write(keep, DOCUMENT, &hosts)?;
    Ok(hosts)
}

/// What a client calls this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum Called<'a> {
    /// By an address, to which no name leads.
    Address,
    /// By this name.
    Name(&'a str),
}

/// What stands in the header `host`, without its port; nothing where it is nonsense.
#[must_use]
pub fn called(host: &str) -> Option<Called<'_>> {
    if let Some(rest) = host.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port_is_good = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        let is_address = address.parse::<Ipv6Addr>().is_ok();
        return (is_address && port_is_good).then_some(Called::Address);
    }
    let name = match host.split_once(':') {
        Some((name, port)) if is_port(port) => name,
        Some(_) => return None,
        None => host,
    };
    match name.parse::<IpAddr>() {
        Ok(_) => Some(Called::Address),
        Err(_) => is_name(name).then_some(Called::Name(name)),
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= NAME_BYTES_MAX && name.split('.').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::keep::MemoryKeep;

    #[test]
    fn addresses_and_names_are_told_apart_and_nonsense_is_neither() {
        for (host, expected) in [
            ("192.0.2.1", Some(Called::Address)),
            ("192.0.2.1:443", Some(Called::Address)),
            ("[2001:db8::1]:443", Some(Called::Address)),
            ("[::1]", Some(Called::Address)),
            ("lifeboat.example", Some(Called::Name("lifeboat.example"))),
            ("lifeboat:8443", Some(Called::Name("lifeboat"))),
            ("", None),
            ("[::1", None),
            ("[evil]:443", None),
            ("::1", None),
            ("a b", None),
            ("evil.example:99999", None),
            ("evil.example:+1", None),
            ("192.0.2.1.", None),
            ("a..b", None),
        ] {
            assert_eq!(called(host), expected, "{host}");
        }
    }

    #[test]
    fn names_are_kept_small_and_plain() {
        let keep = MemoryKeep::default();
        let names = |names: &[&str]| HostNames {
            names: names.iter().map(|&name| name.to_owned()).collect(),
        };
        let kept = write(&keep, &names(&["B.example", "a.example", "b.example"])).unwrap();
        assert_eq!(
            (&kept.names[..], &read(&keep).unwrap()),
            (&names(&["a.example", "b.example"]).names[..], &kept)
        );
        let refused = write(&keep, &names(&["a", "<b>"])).unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("/names/1"));
        assert!(write(&keep, &names(&["a"; 17])).is_err());
        assert_eq!(read(&keep).unwrap(), kept, "as it was");
    }
}
