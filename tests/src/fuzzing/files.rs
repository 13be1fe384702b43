//! What people write, and what stands beside a kernel.

use firmware_recovery::guest::survey::fstab as table;
use firmware_recovery::plan::Text;
use firmware_recovery::profile::Profile;
use hal::net::config::Network;
use image_layout::command_line::CommandLine;
use image_layout::configuration::Configuration;
use image_layout::esp::SlotFile;
use image_layout::keys::Keys;
use image_layout::modules::Index;
use image_layout::version::Version;

use super::{choice, text};

/// `lifeboat.toml`, and the network as the page takes it.
pub(super) fn configuration(bytes: &[u8]) {
    if let Ok(read) = Configuration::<Network>::parse(bytes) {
        let _ = format!("{read:?}");
    }
    let text = text(bytes);
    let _ = firmware::net::page::parse("page", &text);
    let _ = firmware::setup::network::of_text(&text);
}

/// Where servers are recovered to, and in which order.
pub(super) fn profile(bytes: &[u8]) {
    let (which, rest) = choice(bytes, 2);
    let text = text(rest);
    if which == 0 {
        if let Ok(profile) = toml::from_str::<Profile>(&text) {
            let _ = (profile.problems(), profile.network_group());
            assert!(
                toml::from_str::<Profile>(&toml::to_string(&profile).expect("as it was read"))
                    .is_ok()
            );
        }
    } else if let Ok(plan) = toml::from_str::<Text>(&text) {
        let _ = plan.problems(&|name| name.len() > 3);
    }
}

/// The kernel's command line, the index of modules, a slot's name, keys and versions.
pub(super) fn boot_words(bytes: &[u8]) {
    let (which, rest) = choice(bytes, 5);
    match which {
        0 => {
            let _ = CommandLine::parse(&text(rest));
        }
        1 => {
            if let Ok(index) = Index::parse(rest) {
                let _ = (index.place("virtio_net"), index.wanted("pci:v00001AF4d00001000sv*"));
            }
        }
        2 => {
            if let Some(file) = SlotFile::parse(&text(rest)) {
                assert_eq!(SlotFile::parse(&file.to_string()), Some(file));
            }
        }
        3 => {
            let _ = Keys::parse(&text(rest));
        }
        _ => {
            if let Some(version) = Version::parse(&text(rest)) {
                assert_eq!(Version::parse(&version.to_string()), Some(version));
            }
        }
    }
}

/// A server's `fstab`.
pub(super) fn fstab(bytes: &[u8]) {
    let text = text(bytes);
    let _ = table::parse(&text);
    let _ = table::with_devices(&text, &|line| {
        table::is_by_device(&line.what).then(|| "UUID=1".to_owned())
    });
}
