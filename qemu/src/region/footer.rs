//! The last 512 bytes of an uploaded disk: a fixed VHD says what it is there.

use super::refusal::Refusal;

/// Bytes of the footer.
pub(crate) const BYTES: u64 = 512;
/// What it begins with.
const COOKIE: &[u8] = b"conectix";
/// The kind of a disk that is all there.
const FIXED: u32 = 2;

/// Whether these are the footer of a fixed disk of so many bytes; the refusal says what is wrong, as Azure does.
pub(crate) fn check(footer: &[u8], bytes: u64, disk: &str) -> Result<(), Refusal> {
    let refuse = |words: String| Err(Refusal::new(400, "InvalidVhd", words));
    let word = |at: usize| footer.get(at..at + 4).map(be32).unwrap_or_default();
    let long = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
    if footer.get(..8) != Some(COOKIE) {
        return refuse(format!(
            "The specified cookie value in VHD footer indicates that disk '{disk}' is not a supported VHD. Disk is expected \
             to have cookie value 'conectix'."
        ));
    }
    if word(60) != FIXED {
        return refuse(format!(
            "Disk '{disk}' is expected to be of type fixed (2) and is of type {}.",
            word(60)
        ));
    }
    if long(48) != bytes {
        return refuse(format!(
            "The specified disk '{disk}' has {bytes} bytes and a footer that says {}.",
            long(48)
        ));
    }
    let rest = footer.iter().enumerate().filter(|(at, _)| !(64..68).contains(at));
    let sum = rest.fold(0_u32, |sum, (_, byte)| sum.wrapping_add(u32::from(*byte)));
    if word(64) != !sum {
        return refuse(format!("The checksum of disk '{disk}' in its VHD footer is wrong."));
    }
    Ok(())
}

fn be32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_that_qemu_writes_is_taken_and_any_bit_of_it_flipped_is_not() {
        let folder = std::env::temp_dir().join(format!("footer-{}", std::process::id()));
        let made = std::process::Command::new("qemu-img")
            .args(["create", "-q", "-f", "vpc", "-o", "subformat=fixed,force_size=on"])
            .arg(&folder)
            .arg("1M")
            .status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: qemu-img is not installed: apt-get install qemu-utils");
            return;
        }
        let file = std::fs::read(&folder).unwrap();
        std::fs::remove_file(&folder).unwrap();
        let footer = &file[1 << 20..];
        assert_eq!(footer.len(), 512);
        check(footer, 1 << 20, "d").unwrap();
        assert!(check(footer, 1 << 21, "d").unwrap_err().message.contains("bytes"));
        assert!(check(&[], 1 << 20, "d").is_err());
        for bit in 0..footer.len() * 8 {
            let mut hurt = footer.to_vec();
            hurt[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(check(&hurt, 1 << 20, "d").unwrap_err().code, "InvalidVhd", "bit {bit}");
        }
    }
}
