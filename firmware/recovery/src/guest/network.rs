//! How a server sets up its first network interface, by whichever programs it has for that; and files that make it
//! ask by DHCP or take an address, whatever the interface's card is.

use core::net::IpAddr;
use std::io;

use serde::{Deserialize, Serialize};

use super::tree::{Rights, Tree, join};

/// What the first interface is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// What the network gives it: so a retained address comes to it in Azure too.
    #[default]
    Dhcp,
    /// As it is set up, whatever comes of that.
    Keep,
    /// An address of its own.
    Address {
        /// The address.
        address: IpAddr,
        /// Bits of the network.
        prefix: u8,
        /// The way out.
        gateway: Option<IpAddr>,
        /// Who knows names.
        names: Vec<IpAddr>,
    },
}

/// Programs that set up a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Netplan,
    NetworkManager,
    Networkd,
    Ifupdown,
    /// Red Hat's and SUSE's scripts.
    Ifcfg(&'static str),
}

/// A program that is there, and what is set for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) program: Program,
    /// Files in which an address is fixed, or a card named.
    pub(super) fixed: Vec<String>,
}

const IFCFG: [&str; 2] = ["etc/sysconfig/network-scripts", "etc/sysconfig/network"];

/// The programs that set up this server's network.
pub(super) fn find(tree: &dyn Tree) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut add = |program, files: Vec<String>, signs: &[&str]| -> io::Result<()> {
        let mut fixed = Vec::new();
        for file in files {
            let text = tree.text(&file)?.unwrap_or_default();
            let mut lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
            if lines.any(|line| signs.iter().any(|sign| line.to_ascii_lowercase().contains(sign))) {
                fixed.push(file);
            }
        }
        found.push(Found { program, fixed });
        Ok(())
    };
    let ending = |folder: &str, end: &str| -> io::Result<Vec<String>> {
        let mut files = tree.files(folder)?;
        files.retain(|file| file.ends_with(end));
        Ok(files)
    };
    let plans = ending("etc/netplan", ".yaml")?;
    if !plans.is_empty() {
        add(Program::Netplan, plans, &["addresses:", "macaddress:", "dhcp4: no", "dhcp4: false"])?;
    }
    let manager = ["usr/sbin/NetworkManager", "usr/bin/NetworkManager"];
    if manager.iter().map(|path| tree.has(path)).collect::<io::Result<Vec<_>>>()?.contains(&true) {
        let files = ending("etc/NetworkManager/system-connections", ".nmconnection")?;
        let signs = ["method=manual", "mac-address=", "interface-name=", "address1="];
        add(Program::NetworkManager, files, &signs)?;
    }
    if is_enabled(tree, "systemd-networkd")? {
        let files = ending("etc/systemd/network", ".network")?;
        add(Program::Networkd, files, &["address=", "macaddress=", "name="])?;
    }
    if tree.has("etc/network/interfaces")? {
        let mut files = vec!["etc/network/interfaces".to_owned()];
        files.extend(tree.files("etc/network/interfaces.d")?);
        add(
            Program::Ifupdown,
            files,
            &[" static", "hwaddress", "iface en", "iface em", "iface p"],
        )?;
    }
    for folder in IFCFG {
        let mut files = tree.files(folder)?;
        files.retain(|file| file.contains("/ifcfg-") && !file.ends_with("/ifcfg-lo"));
        if !files.is_empty() {
            let signs =
                ["bootproto=none", "bootproto=static", "bootproto='static'", "ipaddr", "hwaddr"];
            add(Program::Ifcfg(folder), files, &signs)?;
        }
    }
    Ok(found)
}

/// The addresses that a server's settings fix, in the order in which they were found: not those of its loopback, and none that
/// counts on one cable alone.
pub(super) fn addresses(tree: &dyn Tree) -> io::Result<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for found in find(tree)? {
        for file in &found.fixed {
            let text = tree.text(file)?.unwrap_or_default();
            let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
            addresses.extend(lines.flat_map(|line| found.program.addresses(line)));
        }
    }
    addresses.retain(|address| match address {
        IpAddr::V4(four) => !four.is_loopback() && !four.is_link_local() && !four.is_unspecified(),
        IpAddr::V6(six) => {
            !six.is_loopback() && !six.is_unicast_link_local() && !six.is_unspecified()
        }
    });
    let mut seen = std::collections::BTreeSet::new();
    addresses.retain(|address| seen.insert(*address));
    Ok(addresses)
}

impl Program {
    /// The addresses that a line of its settings fixes.
    fn addresses(self, line: &str) -> Vec<IpAddr> {
        let lower = line.to_ascii_lowercase();
        let value = |begin: &str| {
            let (name, value) = lower.split_once('=')?;
            let number = name.trim().strip_prefix(begin)?;
            number.chars().all(|letter| letter.is_ascii_digit()).then(|| value.to_owned())
        };
        let (text, wants_range) = match self {
            // Servers of names stand there without a range.
            Self::Netplan => (Some(lower.clone()), true),
            Self::NetworkManager => {
                let first = |value: String| value.split(',').next().unwrap_or_default().to_owned();
                (value("address").map(first), true)
            }
            Self::Networkd => (value("address"), false),
            Self::Ifupdown => (lower.strip_prefix("address ").map(str::to_owned), false),
            Self::Ifcfg(_) => (value("ipaddr"), false),
        };
        let text = text.unwrap_or_default();
        let words =
            text.split(|letter: char| letter.is_whitespace() || "[]{},\"'".contains(letter));
        let address = |word: &str| match word.split_once('/') {
            Some((address, range)) if range.parse::<u8>().is_ok_and(|bits| bits <= 128) => {
                address.parse().ok()
            }
            None if !wants_range => word.parse().ok(),
            _ => None,
        };
        words.filter_map(address).collect()
    }
}

fn is_enabled(tree: &dyn Tree, unit: &str) -> io::Result<bool> {
    for target in ["multi-user.target.wants", "network-online.target.wants", "sysinit.target.wants"]
    {
        for folder in ["etc/systemd/system", "usr/lib/systemd/system"] {
            if tree.link(&format!("{folder}/{target}/{unit}.service"))?.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

impl Found {
    /// What people call it.
    pub(super) fn name(&self) -> &'static str {
        match self.program {
            Program::Netplan => "netplan",
            Program::NetworkManager => "NetworkManager",
            Program::Networkd => "systemd-networkd",
            Program::Ifupdown => "ifupdown",
            Program::Ifcfg(_) => "ifcfg",
        }
    }

    /// The files that are put aside, and the one that is written: path, text, mode.
    pub(super) fn files(&self, wanted: &Network) -> Option<(Vec<String>, String, String, u32)> {
        let (path, text, mode) = match self.program {
            Program::Netplan => {
                ("etc/netplan/90-lifeboat.yaml".to_owned(), netplan(wanted)?, 0o600)
            }
            Program::NetworkManager => {
                let path = "etc/NetworkManager/system-connections/lifeboat.nmconnection";
                (path.to_owned(), keyfile(wanted)?, 0o600)
            }
            Program::Networkd => {
                ("etc/systemd/network/05-lifeboat.network".to_owned(), networkd(wanted)?, 0o644)
            }
            Program::Ifupdown => ("etc/network/interfaces".to_owned(), ifupdown(wanted)?, 0o644),
            Program::Ifcfg(folder) => (join(folder, "ifcfg-eth0"), ifcfg(wanted)?, 0o644),
        };
        // A connection of NetworkManager that is bound to a card which is not there harms nothing, and ours comes
        // first.
        let aside =
            if self.program == Program::NetworkManager { Vec::new() } else { self.fixed.clone() };
        Some((aside.into_iter().filter(|file| *file != path).collect(), path, text, mode))
    }
}

/// Rights of a file that is root's.
pub(super) fn root_may(mode: u32) -> Rights {
    Rights { mode, owner: 0, group: 0 }
}

fn listed<T: ToString>(values: &[T], joint: &str) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(joint)
}

fn netplan(wanted: &Network) -> Option<String> {
    let head = "network:\n  version: 2\n  ethernets:\n    lifeboat:\n      match: {name: \"e*\"}\n";
    Some(match wanted {
        Network::Keep => return None,
        Network::Dhcp => format!("{head}      dhcp4: true\n"),
        Network::Address { address, prefix, gateway, names } => {
            let route = gateway.map(|gateway| {
                let all = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
                format!("      routes: [{{to: \"{all}\", via: \"{gateway}\"}}]\n")
            });
            let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
            let names = format!("      nameservers: {{addresses: [{}]}}\n", quoted.join(", "));
            format!(
                "{head}      addresses: [\"{address}/{prefix}\"]\n{}{names}",
                route.unwrap_or_default()
            )
        }
    })
}

fn keyfile(wanted: &Network) -> Option<String> {
    let head =
        "[connection]\nid=lifeboat\ntype=ethernet\nautoconnect=true\nautoconnect-priority=999\n";
    Some(match wanted {
        Network::Keep => return None,
        Network::Dhcp => format!("{head}\n[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n"),
        Network::Address { address, prefix, gateway, names } => {
            let via = gateway.map(|gateway| format!(",{gateway}")).unwrap_or_default();
            let (set, other) = if address.is_ipv4() { ("ipv4", "ipv6") } else { ("ipv6", "ipv4") };
            let names: String = names.iter().map(|name| format!("{name};")).collect();
            format!(
                "{head}\n[{set}]\nmethod=manual\naddress1={address}/{prefix}{via}\ndns={names}\n\n[{other}]\nmethod=auto\n"
            )
        }
    })
}

fn networkd(wanted: &Network) -> Option<String> {
    let head = "[Match]\nName=e*\n\n[Network]\n";
    Some(match wanted {
        Network::Keep => return None,
        Network::Dhcp => format!("{head}DHCP=yes\n"),
        Network::Address { address, prefix, gateway, names } => {
            let via = gateway.map(|gateway| format!("Gateway={gateway}\n")).unwrap_or_default();
            let names: String = names.iter().map(|name| format!("DNS={name}\n")).collect();
            format!("{head}Address={address}/{prefix}\n{via}{names}")
        }
    })
}

fn ifupdown(wanted: &Network) -> Option<String> {
    let head = "auto lo\niface lo inet loopback\n\nauto eth0\n";
    Some(match wanted {
        Network::Keep => return None,
        Network::Dhcp => format!("{head}iface eth0 inet dhcp\n"),
        Network::Address { address, prefix, gateway, names } => {
            let family = if address.is_ipv4() { "inet" } else { "inet6" };
            let via = gateway.map(|gateway| format!("    gateway {gateway}\n")).unwrap_or_default();
            let names = format!("    dns-nameservers {}\n", listed(names, " "));
            format!(
                "{head}iface eth0 {family} static\n    address {address}/{prefix}\n{via}{names}"
            )
        }
    })
}

fn ifcfg(wanted: &Network) -> Option<String> {
    let head = "DEVICE=eth0\nONBOOT=yes\nSTARTMODE=auto\nTYPE=Ethernet\n";
    Some(match wanted {
        Network::Keep => return None,
        Network::Dhcp => format!("{head}BOOTPROTO=dhcp\n"),
        Network::Address { address, prefix, gateway, names } => {
            let via = gateway.map(|gateway| format!("GATEWAY={gateway}\n")).unwrap_or_default();
            let names = names.iter().zip(1..);
            let names: String =
                names.map(|(name, number)| format!("DNS{number}={name}\n")).collect();
            format!("{head}BOOTPROTO=none\nIPADDR={address}\nPREFIX={prefix}\n{via}{names}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_that_settings_fix_are_found_in_the_words_of_each_program() {
        let cases = [
            (Program::Netplan, "addresses: [192.0.2.5/24, \"fd00::5/64\"]", "192.0.2.5 fd00::5"),
            (Program::Netplan, "- 192.0.2.5/24", "192.0.2.5"),
            (Program::Netplan, "nameservers: {addresses: [192.0.2.53]}", ""),
            (Program::Netplan, "routes: [{to: default, via: 192.0.2.1}]", ""),
            (Program::NetworkManager, "address1=192.0.2.5/24,192.0.2.1", "192.0.2.5"),
            (Program::NetworkManager, "dns=192.0.2.53;", ""),
            (Program::Networkd, "Address=192.0.2.5/24", "192.0.2.5"),
            (Program::Networkd, "Gateway=192.0.2.1", ""),
            (Program::Networkd, "MACAddress=00:11:22:33:44:55", ""),
            (Program::Ifupdown, "address 192.0.2.5", "192.0.2.5"),
            (Program::Ifupdown, "gateway 192.0.2.1", ""),
            (Program::Ifcfg(IFCFG[0]), "IPADDR='192.0.2.5/24'", "192.0.2.5"),
            (Program::Ifcfg(IFCFG[0]), "IPADDR0=192.0.2.5", "192.0.2.5"),
            (Program::Ifcfg(IFCFG[0]), "IPADDR=192.0.2.5/999", ""),
        ];
        for (program, line, wanted) in cases {
            let found = program.addresses(line);
            let found = found.iter().map(ToString::to_string);
            assert_eq!(found.collect::<Vec<_>>().join(" "), wanted, "{program:?} {line}");
        }
    }
}
