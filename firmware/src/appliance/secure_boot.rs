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
/// What the kernel was handed when it started. It is there whatever drivers there are: words can keep `efivarfs` away.
const HANDED_OVER: &str = "/sys/kernel/boot_params/data";
/// Where in it the kernel's own start wrote down whether Secure Boot is on, and how it says so.
const HANDED_SECURE: usize = 0x1ec;
const HANDED_ON: u8 = 3;
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
/// Where systemd's stub puts what it finds beside the slot on the medium, `*.cred` and others: nobody signed that.
const EXTRA: &str = "/.extra";

/// What the stub puts there out of the slot itself, and so was signed with it.
const SIGNED: [&str; 4] =
    ["os-release", "profile", "tpm2-pcr-public-key.pem", "tpm2-pcr-signature.json"];

/// Says what vouches for the system, and removes what nobody vouches for. Refuses to go on where Secure Boot is on and the kernel
/// was given other words than those that were signed: systemd's stub takes some from the board's tables.
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
    let handed = fs::read(HANDED_OVER).ok().as_deref().and_then(handed_on);
    let secure = match handed {
        Some(true) => Some(true),
        _ => on(fs::read(SECURE_BOOT).ok().as_deref()),
    };
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
    if secure == Some(true)
        && let Ok(signed) = fs::read_to_string(initrd::WORDS)
    {
        let given = fs::read_to_string("/proc/cmdline").map_err(|error| error.to_string())?;
        only_signed(&signed, &given)?;
    }
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

fn handed_on(data: &[u8]) -> Option<bool> {
    data.get(HANDED_SECURE).map(|byte| *byte == HANDED_ON)
}

/// Refuses any word that the slot does not have, and any that it has and the kernel did not get.
fn only_signed(signed: &str, given: &str) -> Result<(), String> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let (signed, given) = (words(signed), words(given));
    if signed == given {
        return Ok(());
    }
    let strange = given.get(signed.len()..).filter(|_| given.starts_with(&signed));
    let strange = strange.unwrap_or(&given).join(" ");
    Err(format!(
        "Secure Boot is on, and the kernel was given words that nobody signed: {strange}. They come from this machine's own tables \
         (SMBIOS), which its firmware or the host of a virtual machine writes, or from an add-on on the medium. Nothing of state and \
         vault was opened. Take the words away there and start again, or start from another machine"
    ))
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
    fn words_that_nobody_signed_are_named() {
        assert_eq!(only_signed("quiet panic=30\n", "quiet panic=30\n"), Ok(()));
        assert_eq!(only_signed("quiet panic=30\n", "quiet  panic=30 "), Ok(()));
        let more = only_signed("quiet panic=30\n", "quiet panic=30 lockdown=none a=b\n");
        assert!(more.is_err_and(|told| told.contains("nobody signed: lockdown=none a=b. They")));
        for other in ["quiet", "", "panic=30 quiet", "x quiet panic=30", "quiet panic=31"] {
            assert!(only_signed("quiet panic=30", other).is_err(), "{other}");
        }
        let mut data = [0; 4096];
        assert_eq!((handed_on(&data), handed_on(&[])), (Some(false), None));
        data[0x1ec] = 3;
        assert_eq!(handed_on(&data), Some(true));
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
