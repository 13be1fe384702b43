//! What vouches for the system that runs: the firmware by Secure Boot, and the kernel by its lockdown; and what came with the
//! system without anybody's signature, which is thrown away.

use std::fs;
use std::path::Path;

use image_layout::initrd;
use image_layout::keys::Keys;

use super::Appliance;
use crate::chip::Signed;

/// One byte behind four of attributes: 1 where the firmware starts only what is signed.
const SECURE_BOOT: &str =
    "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
/// Where systemd's stub puts what it finds beside the slot on the medium, `*.cred` and others: nobody signed that.
const EXTRA: &str = "/.extra";

/// What the stub puts there out of the slot itself, and so was signed with it.
const SIGNED: [&str; 4] =
    ["os-release", "profile", "tpm2-pcr-public-key.pem", "tpm2-pcr-signature.json"];

/// Says what vouches for the system, and removes what nobody vouches for.
pub(crate) fn look(appliance: &Appliance) -> Result<String, String> {
    if let Some(signed) = Signed::read(Path::new(EXTRA)) {
        // Set once, here.
        let _ = appliance.signed.set(signed);
    }
    let unsigned = throw_away(Path::new(EXTRA));
    if unsigned > 0 {
        log::warn!(
            "{unsigned} files lay on the medium beside the system, for it to take in: nobody signed them, and they were thrown away"
        );
    }
    let secure = on(fs::read(SECURE_BOOT).ok().as_deref());
    let lockdown = fs::read_to_string(LOCKDOWN).ok();
    let lockdown = lockdown.as_deref().and_then(chosen).unwrap_or("unknown");
    let keys = Keys::parse(&fs::read_to_string(initrd::KEYS).unwrap_or_default());
    appliance.events.say(
        "trust",
        &[
            ("secure_boot", &secure.map_or("absent", |on| if on { "on" } else { "off" })),
            ("lockdown", &lockdown),
            ("development", &keys.development),
            ("thrown_away", &unsigned),
        ],
    );
    let words = match secure {
        Some(true) => "Secure Boot is on: nothing unsigned was started",
        Some(false) => {
            "Secure Boot is off: whoever holds the medium can start something else from it"
        }
        None => {
            "this machine has no Secure Boot: whoever holds the medium can start something else from it"
        }
    };
    Ok(format!("{words}; lockdown {lockdown}{}", keys.mark()))
}

fn on(variable: Option<&[u8]>) -> Option<bool> {
    variable.and_then(|bytes| bytes.get(4)).map(|byte| *byte == 1)
}

/// The word in brackets.
fn chosen(text: &str) -> Option<&str> {
    text.split_once('[')?.1.split_once(']').map(|(word, _)| word)
}

/// Removes a folder; how many files were in it that nobody signed.
fn throw_away(folder: &Path) -> usize {
    let signed = SIGNED.iter().filter(|name| folder.join(name).is_file()).count();
    let count = files(folder).saturating_sub(signed);
    if folder.exists()
        && let Err(error) = fs::remove_dir_all(folder)
    {
        log::warn!("{}: {error}", folder.display());
    }
    count
}

fn files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let count = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => files(&entry.path()),
        _ => 1,
    };
    entries.map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_firmware_and_kernel_say_is_read() {
        assert_eq!(on(Some(&[6, 0, 0, 0, 1])), Some(true));
        assert_eq!(on(Some(&[6, 0, 0, 0, 0])), Some(false));
        assert_eq!((on(Some(&[6, 0, 0])), on(None)), (None, None));
        assert_eq!(chosen("none integrity [confidentiality]\n"), Some("confidentiality"));
        assert_eq!(chosen("none integrity"), None);
    }

    #[test]
    fn what_nobody_signed_is_counted_and_gone() {
        let folder = std::env::temp_dir().join(format!("lifeboat-extra-{}", std::process::id()));
        fs::create_dir_all(folder.join("credentials")).unwrap();
        fs::write(folder.join("credentials/a.cred"), b"x").unwrap();
        fs::write(folder.join("b"), b"x").unwrap();
        fs::write(folder.join("os-release"), b"x").unwrap();
        assert_eq!(throw_away(&folder), 2);
        assert!(!folder.exists());
        assert_eq!(throw_away(&folder), 0);
    }
}
