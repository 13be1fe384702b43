//! Hardware addresses of this machine's network cards: by them it can be switched on over the network.

use std::fs;
use std::path::Path;

/// Where the kernel shows its interfaces.
const INTERFACES: &str = "/sys/class/net";
/// More than any machine has that is woken by them.
const CARDS_MAX: usize = 16;

/// Those of real cards, as firmware gave them: a card that is part of a bond bears another one's address.
#[must_use]
pub(crate) fn of_this_machine() -> Vec<[u8; 6]> {
    cards_in(Path::new(INTERFACES))
}

fn cards_in(interfaces: &Path) -> Vec<[u8; 6]> {
    let entries = fs::read_dir(interfaces).into_iter().flatten().flatten();
    let mut cards: Vec<[u8; 6]> = entries.filter_map(|entry| card(&entry.path())).collect();
    cards.sort_unstable();
    cards.dedup();
    cards.truncate(CARDS_MAX);
    cards
}

fn card(interface: &Path) -> Option<[u8; 6]> {
    // What is made by the kernel alone, such as a bridge, wakes nothing.
    if !interface.join("device").exists() {
        return None;
    }
    let of = |file: &str| address(fs::read_to_string(interface.join(file)).ok()?.trim());
    let card = of("bonding_slave/perm_hwaddr").or_else(|| of("address"))?;
    (card != [0; 6] && card[0] & 1 == 0).then_some(card)
}

fn address(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_those_of_hardware_by_the_addresses_that_they_were_made_with() {
        let folder = std::env::temp_dir().join(format!("cards-{}", std::process::id()));
        let interface = |name: &str, address: &str, is_card: bool| {
            let at = folder.join(name);
            fs::create_dir_all(&at).expect("room");
            fs::write(at.join("address"), format!("{address}\n")).expect("room");
            if is_card {
                fs::create_dir(at.join("device")).expect("room");
            }
        };
        interface("lo", "00:00:00:00:00:00", false);
        interface("br0", "02:00:00:00:00:09", false);
        interface("eth0", "52:54:00:00:00:01", true);
        interface("eth1", "52:54:00:00:00:01", true);
        interface("ib0", "80:00:02:08:fe:80:00:00:00:00", true);
        interface("odd", "zz", true);
        fs::create_dir(folder.join("eth1/bonding_slave")).expect("room");
        fs::write(folder.join("eth1/bonding_slave/perm_hwaddr"), "52:54:00:00:00:02\n")
            .expect("room");
        let cards = cards_in(&folder);
        fs::remove_dir_all(&folder).expect("it is there");
        assert_eq!(cards, [[0x52, 0x54, 0, 0, 0, 1], [0x52, 0x54, 0, 0, 0, 2]]);
    }
}
