//! What people write is read, what cannot be is refused in words, and any text is taken.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::ToString;

use super::*;
use crate::net::chance::Chance;

/// A page with everything on it.
const PAGE: &str = r#"
dns = ["10.0.0.53", "fd00::53"]
search = ["corp.example"]

[hosts]
"acct.blob.core.windows.net" = ["10.1.2.4"]

[[link]]
name = "uplink"
nic = "52:54:00:12:34:56"

[[link]]
name = "bond0"
bond = { nics = ["0000:03:00.0", "eno2"], mode = "802.3ad" }
mtu = 9000
addresses = ["10.9.0.5/24", "fd00:9::5/64"]
gateways = ["10.9.0.1", "fe80::1"]
metric = 50

[[link]]
name = "vlan20"
vlan = { on = "bond0", id = 20 }
ipv6 = "off"

[[route]]
to = "20.60.0.0/16"
link = "bond0"
via = "10.9.0.2"

[[proxy]]
for = ["*.blob.core.windows.net", "10.0.0.0/8"]
through = "none"

[[proxy]]
for = ["*"]
through = "http://me:secret@proxy.example:3128"
"#;

fn read(text: &str) -> Network {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn complaints(text: &str) -> Vec<String> {
    let problems = read(text).check().err().unwrap_or_default();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_page_with_everything_is_read_and_written_again() {
    let network = read(PAGE);
    assert_eq!(complaints(PAGE), Vec::<String>::new());
    assert_eq!(network.links[0].ipv4(), Ipv4::Dhcp);
    assert_eq!(network.links[0].ipv6(), Ipv6::Auto);
    assert_eq!(network.links[1].ipv4(), Ipv4::Static);
    assert_eq!(network.links[1].ipv6(), Ipv6::Static);
    assert_eq!(network.links[1].bond.as_ref().unwrap().mode, BondMode::Lacp);
    let written = toml::to_string(&network).unwrap();
    assert_eq!(read(&written), network);
    assert!(!format!("{network:?}").contains("secret"), "a password is shown");
}

#[test]
fn nothing_is_a_network_too() {
    assert_eq!(complaints(""), Vec::<String>::new());
    assert_eq!(read(""), Network::default());
}

#[test]
fn what_cannot_be_is_told_with_its_place() {
    let nic = "nic = \"eth0\"\n";
    let link = |more: &str| format!("[[link]]\nname = \"a\"\n{more}");
    for (text, words) in [
        ("dns = [\"0.0.0.0\"]".to_owned(), "network: dns: 0.0.0.0 can be no server's"),
        ("search = [\"a b\"]".to_owned(), "search: «a b» is no domain"),
        ("[hosts]\nx = []".to_owned(), "hosts «x»: has no address"),
        ("[hosts]\n\"x y\" = [\"10.0.0.1\"]".to_owned(), "is no name of a host"),
        (link(""), "link «a»: says not what it is"),
        ("[[link]]\nnic = \"eth0\"".to_owned(), "link number 1: needs a name"),
        ("[[link]]\nname = \"a/b\"\nnic = \"eth0\"".to_owned(), "needs a name of at most 15"),
        (link(&format!("{nic}vlan = {{ on = \"b\", id = 1 }}")), "more than one of"),
        (link("vlan = { on = \"b\", id = 1 }"), "no link «b» stands before it"),
        (link("vlan = { on = \"a\", id = 1 }"), "no link «a» stands before it"),
        (link("vlan = { on = \"b\", id = 4095 }"), "4095 is not between 1 and 4094"),
        (link("bond = { nics = [], mode = \"active-backup\" }"), "names no NIC"),
        (link("bond = { nics = [\"x\", \"x\"], mode = \"active-backup\" }"), "x is used already"),
        (link(&format!("{nic}ipv4 = \"static\"")), "addresses has none like 10.0.0.5/24"),
        (link(&format!("{nic}ipv6 = \"static\"")), "addresses has none like fd00::5/64"),
        (link(&format!("{nic}ipv4 = \"dhcp\"\naddresses = [\"10.0.0.5/24\"]")), "is not static"),
        (link(&format!("{nic}ipv6 = \"off\"\naddresses = [\"fd00::5/64\"]")), "is off, but"),
        (link(&format!("{nic}addresses = [\"10.0.0.0/24\"]")), "no machine's address"),
        (
            link(&format!("{nic}addresses = [\"10.0.0.1/24\", \"10.0.0.1/8\"]")),
            "stands there twice",
        ),
        (
            link(&format!("{nic}addresses = [\"10.0.0.1/24\"]\ngateways = [\"10.0.1.1\"]")),
            "in none of the link's networks",
        ),
        (
            link(&format!("{nic}addresses = [\"10.0.0.1/24\"]\ngateways = [\"10.0.0.1\"]")),
            "own address",
        ),
        (link(&format!("{nic}gateways = [\"10.0.0.1\", \"10.0.0.2\"]")), "more than one of IPv4"),
        (link(&format!("{nic}mtu = 1000")), "1000 is not between 1280"),
        (link(&format!("{nic}[[route]]\nto = \"10.0.0.1/8\"\nlink = \"a\"")), "write 10.0.0.0/8"),
        (link(&format!("{nic}[[route]]\nto = \"10.0.0.0/8\"\nlink = \"b\"")), "no link «b»"),
        (
            link(&format!("{nic}[[route]]\nto = \"10.0.0.0/8\"\nlink = \"a\"\nvia = \"fd00::1\"")),
            "other kind",
        ),
        ("[[proxy]]\nfor = []\nthrough = \"none\"".to_owned(), "names no destination"),
        (
            "[[proxy]]\nfor = [\"*\"]\nthrough = \"socks://x\"".to_owned(),
            "write http://name:password",
        ),
        (
            "[[proxy]]\nfor = [\"a/b\"]\nthrough = \"none\"".to_owned(),
            "no domain, address or network",
        ),
    ] {
        let told = complaints(&text);
        assert!(told.iter().any(|line| line.contains(words)), "{text}\n{words}\n{told:?}");
    }
}

#[test]
fn links_do_not_share_nics_names_or_tags() {
    let twice = "[[link]]\nname = \"a\"\nnic = \"eth0\"\n".repeat(2);
    let told = complaints(&twice);
    assert_eq!(told.len(), 2, "{told:?}");
    let tagged = "[[link]]\nname = \"a\"\nnic = \"eth0\"\n[[link]]\nname = \"b\"\nvlan = { on = \"a\", id = 5 }\n\
        [[link]]\nname = \"c\"\nvlan = { on = \"a\", id = 5 }\n[[link]]\nname = \"d\"\nvlan = { on = \"b\", id = 6 }\n";
    let told = complaints(tagged);
    assert!(
        told[0].contains("another link's already") && told[1].contains("a VLAN itself"),
        "{told:?}"
    );
}

#[test]
fn misspelt_keys_are_refused_by_name() {
    for text in ["dms = []", "[[link]]\nnames = \"a\"", "[[proxy]]\nto = []"] {
        let error = toml::from_str::<Network>(text).unwrap_err().to_string();
        assert!(error.contains("unknown field"), "{error}");
    }
}

#[test]
fn nics_are_chosen_by_mac_place_or_name() {
    use crate::net::facts::{LinkFacts, LinkKind};
    let facts = LinkFacts {
        index: 2,
        name: "eth0".into(),
        kind: LinkKind::Hardware,
        mac: Some(Mac([2; 6])),
        permanent_mac: Some(Mac([4; 6])),
        up: false,
        carrier: false,
        mtu: 1500,
        master: None,
        driver: None,
        place: Some("0000:03:00.0".into()),
        speed_mbit: None,
        managed: crate::net::facts::Managed::Nothing,
    };
    for (choice, is) in [
        ("04:04:04:04:04:04", true),
        ("02:02:02:02:02:02", false),
        ("0000:03:00.0", true),
        ("eth0", true),
        ("eth1", false),
    ] {
        assert_eq!(NicChoice::from(choice.to_string()).is(&facts), is, "{choice}");
    }
}

#[test]
fn any_text_is_taken() {
    let mut chance = Chance::new(3);
    let mut parsed = 0;
    for _ in 0..20_000 {
        let mut bytes = PAGE.as_bytes().to_vec();
        for _ in 0..1 + chance.number() % 4 {
            let at = usize::try_from(chance.number()).unwrap() % bytes.len();
            match chance.number() % 3 {
                0 => bytes[at] = chance.number().to_le_bytes()[0] & 127,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"0123456789.:/\"[]=\nabf"[at % 21]),
            }
        }
        let Ok(text) = core::str::from_utf8(&bytes) else { continue };
        if let Ok(network) = toml::from_str::<Network>(text) {
            parsed += 1;
            let _ = network.check();
        }
    }
    assert!(parsed > 1000, "only {parsed} of the mutants were pages at all");
}
