//! Settings of the network, as a form gives one link of them and as a text gives them all. Pure.

use core::fmt::Display;
use core::str::FromStr;

use firmware_web::api::Refusal;
use firmware_web::api::setup::{LinkAsked, NetworkAsked, NetworkView};
use firmware_web::api::views::appliance::MachineLink;
use hal::net::address::Cidr;
use hal::net::config::{Link, Network};

use super::refused::{conflict, field, remedy};
use crate::net::state::{LinkState, State};

/// Longest text of settings.
const TEXT_BYTES_MAX: usize = 64 * 1024;
const TITLE: &str = "the network";
/// Stands for a name and a password.
const HIDDEN: &str = "://…@";

/// What is asked for, when exactly one thing is.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "who does it must do each")]
pub enum Change<'a> {
    /// It stays as it is.
    Keep,
    /// One link is to be tried.
    Link(&'a LinkAsked),
    /// All of it is to be tried.
    Settings(&'a str),
    /// What is tried is kept.
    Confirm,
    /// What was typed before is forgotten.
    Forget,
}

impl<'a> Change<'a> {
    /// The one thing that is asked for.
    pub fn of(asked: &'a NetworkAsked) -> Result<Self, Refusal> {
        let all = [
            asked.keep.then_some(Self::Keep),
            asked.link.as_ref().map(Self::Link),
            asked.settings.as_deref().map(Self::Settings),
            asked.confirm.then_some(Self::Confirm),
            asked.forget.then_some(Self::Forget),
        ];
        let mut wanted = all.into_iter().flatten();
        match (wanted.next(), wanted.next()) {
            (Some(change), None) => Ok(change),
            _ => Err(Refusal {
                status: 400,
                title: TITLE.to_owned(),
                detail: "is asked for none or several of keep, link, settings, confirm and forget"
                    .to_owned(),
                ..Refusal::default()
            }),
        }
    }
}

/// Settings with one link as a form gives it, everything else as it was. `page` names every link.
pub fn with_link(mut page: Network, asked: &LinkAsked) -> Result<Network, Refusal> {
    let mut addresses = Vec::new();
    for (place, text) in asked.addresses.iter().enumerate() {
        addresses.push(read::<Cidr>(text).map_err(|what| {
            let wrong = field(&format!("/link/addresses/{place}"), TITLE, what);
            remedy(wrong, "write an address with its prefix: 10.0.0.5/24")
        })?);
    }
    let Some(link) = page.links.iter_mut().find(|link| link.name == asked.name) else {
        return Err(field("/link/name", TITLE, format!("has no link «{}»", asked.name)));
    };
    if !asked.gateways.is_empty() && addresses.is_empty() {
        return Err(field(
            "/link/gateways",
            TITLE,
            "has a router and no address: name both, or neither for DHCP",
        ));
    }
    *link = Link {
        name: link.name.clone(),
        nic: link.nic.clone(),
        vlan: link.vlan.clone(),
        bond: link.bond.clone(),
        mtu: link.mtu,
        metric: link.metric,
        addresses,
        gateways: asked.gateways.clone(),
        ..Link::default()
    };
    if asked.dns.len() > 3 {
        return Err(field("/link/dns", TITLE, "has more than three DNS servers"));
    }
    page.dns.clone_from(&asked.dns);
    checked(page, "/link")
}

/// Settings as a text of TOML gives them.
pub fn of_text(text: &str) -> Result<Network, Refusal> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(field("/settings", TITLE, "is larger than any settings are"));
    }
    if text.contains(HIDDEN) {
        let wrong =
            field("/settings", TITLE, "has a proxy whose name and password are not told here");
        return Err(remedy(wrong, "write them again: http://name:password@host:port"));
    }
    let read = toml::from_str::<Network>(text).map_err(|error| {
        let before = error.span().map(|span| text.get(..span.start).unwrap_or_default());
        let line = before.map(|before| before.matches('\n').count() + 1);
        let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        field("/settings", TITLE, format!("{place}{}", error.message().trim()))
    })?;
    checked(read, "/settings")
}

fn checked(page: Network, name: &str) -> Result<Network, Refusal> {
    match page.clone().check() {
        Ok(_) => Ok(page),
        Err(problems) => {
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Err(field(name, TITLE, told.join("; ")))
        }
    }
}

fn read<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|error| format!("«{text}»: {error}"))
}

/// The network for a page. `settings` are those in force.
#[must_use]
pub fn view(state: &State, settings: &Network, source: &str) -> NetworkView {
    NetworkView {
        links: state.links.iter().map(link).collect(),
        dns: state.dns.clone(),
        gateways: state.links.iter().flat_map(|link| link.gateways.clone()).collect(),
        source: source.to_owned(),
        changeable: true,
        settings: without_secrets(settings),
        trial_seconds_left: None,
    }
}

/// A link for a page.
#[must_use]
pub fn link(link: &LinkState) -> MachineLink {
    MachineLink {
        name: link.name.clone(),
        mac: link.mac.clone().unwrap_or_default(),
        carrier: link.carrier,
        speed_mbit: link.speed_mbit.map(u64::from),
        addresses: link.addresses.clone(),
    }
}

/// As TOML; a proxy's URL may hold a name and a password.
fn without_secrets(settings: &Network) -> String {
    let text = toml::to_string(settings).unwrap_or_default();
    let hide = |line: &str| match (line.find("://"), line.rfind('@')) {
        (Some(begin), Some(end)) if begin < end => {
            let (scheme, rest) = (line.get(..begin), line.get(end + 1..));
            format!("{}{HIDDEN}{}", scheme.unwrap_or_default(), rest.unwrap_or_default())
        }
        _ => line.to_owned(),
    };
    text.lines().map(hide).collect::<Vec<_>>().join("\n")
}

/// There is nothing to be changed here.
#[must_use]
pub fn not_here() -> Refusal {
    remedy(
        conflict(TITLE, "is kept by this machine's own system and is only shown here"),
        "change it there",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Network {
        let uplink = "[[link]]\nname = \"uplink\"\nnic = \"eth0\"\nmtu = 1400\n";
        let other = "[[link]]\nname = \"other\"\nnic = \"eth1\"\n";
        of_text(&[uplink, other].concat()).unwrap()
    }

    fn asked(addresses: &[&str], gateways: &[&str]) -> LinkAsked {
        LinkAsked {
            name: "uplink".to_owned(),
            addresses: addresses.iter().map(|&text| text.to_owned()).collect(),
            gateways: gateways.iter().map(|text| text.parse().unwrap()).collect(),
            dns: vec!["10.0.0.1".parse().unwrap()],
        }
    }

    #[test]
    fn a_form_sets_one_link_and_leaves_the_others() {
        let set = with_link(page(), &asked(&["10.0.0.5/24"], &["10.0.0.1"])).unwrap();
        assert_eq!(set.links[0].addresses.len(), 1);
        assert_eq!((set.links[0].mtu, set.dns.len()), (Some(1400), 1));
        assert_eq!(set.links[1], page().links[1]);
        let back = with_link(set, &asked(&[], &[])).unwrap();
        assert!(back.links[0].addresses.is_empty() && back.links[0].gateways.is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_by_its_field() {
        let told = |asked: LinkAsked| with_link(page(), &asked).unwrap_err().field.unwrap();
        assert_eq!(told(asked(&["10.0.0.5/24", "x"], &[])), "/link/addresses/1");
        assert_eq!(told(asked(&["10.0.0.5"], &[])), "/link/addresses/0");
        assert_eq!(told(asked(&[], &["10.0.0.1"])), "/link/gateways");
        assert_eq!(told(LinkAsked { name: "none".into(), ..asked(&[], &[]) }), "/link/name");
        let dns = vec!["10.0.0.1".parse().unwrap(); 4];
        assert_eq!(told(LinkAsked { dns, ..asked(&[], &[]) }), "/link/dns");
        let told = of_text("dns = [\n5]\n").unwrap_err();
        assert!(told.detail.starts_with("line "), "{told:?}");
        assert_eq!(of_text(&"#".repeat(70_000)).unwrap_err().field.as_deref(), Some("/settings"));
        assert!(of_text("[[link]]\nname = \"a\"\n").is_err(), "it says not what it is");
    }

    #[test]
    fn one_thing_is_asked_for_at_a_time() {
        let none = NetworkAsked::default();
        assert_eq!(Change::of(&none).unwrap_err().status, 400);
        let two = NetworkAsked { keep: true, confirm: true, ..NetworkAsked::default() };
        assert!(Change::of(&two).is_err());
        let one = NetworkAsked { settings: Some(String::new()), ..NetworkAsked::default() };
        assert_eq!(Change::of(&one).unwrap(), Change::Settings(""));
    }

    #[test]
    fn passwords_of_proxies_are_not_told() {
        let text = "[[proxy]]\nfor = [\"*\"]\nthrough = \"http://name:SECRET@10.0.0.9:3128\"\n";
        let settings = of_text(text).unwrap();
        let view = view(&State::default(), &settings, "file");
        assert!(!view.settings.contains("SECRET"), "{}", view.settings);
        assert!(view.settings.contains("10.0.0.9:3128"));
        assert!(of_text(&view.settings).is_err(), "what was hidden is no password");
        assert!(without_secrets(&page()).contains("uplink"));
    }
}
