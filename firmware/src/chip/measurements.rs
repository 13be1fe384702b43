//! What firmware, boot manager and stub wrote down of what they measured, in the form of the Trusted Computing Group (events of
//! PC Client firmware, with digests of several algorithms).
//!
//! Whoever owns the firmware wrote these bytes: any are read, to where they make no sense any more, and never more than a bound.
//! Numbers are little-endian.

use std::fs::File;
use std::io::Read as _;

use super::link::Link;
use super::{ChipError, seal, sha256};

/// Where the kernel shows them.
pub const LOG: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";
/// Of a log, more is not looked at: those of real machines have some ten thousand.
const BYTES_MAX: u64 = 1 << 20;
/// Of events, more are not told.
const EVENTS_MAX: usize = 2048;
/// Of what an event says, in letters.
const WORDS_MAX: usize = 160;
/// Registers that are told.
pub const REGISTERS: u8 = 16;
const SHA1_BYTES: usize = 20;
const SHA256: u16 = 0x000b;
/// What the log begins with, behind the head of its first event.
const FIRST: &[u8] = b"Spec ID Event03\0";
/// Is told, and changes no register.
const NO_ACTION: u32 = 3;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which register it went into.
    pub register: u32,
    /// What kind it is, by number.
    pub kind: u32,
    /// What went into the register; `None` where the log has no SHA-256 of it.
    pub sha256: Option<[u8; 32]>,
    /// What it says, as far as it is text.
    pub words: String,
}

impl Event {
    /// What kind it is, as the specification calls it.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            NO_ACTION => "EV_NO_ACTION",
            0x4 => "EV_SEPARATOR",
            0x5 => "EV_ACTION",
            0x6 => "EV_EVENT_TAG",
            0x7 => "EV_S_CRTM_CONTENTS",
            0x8 => "EV_S_CRTM_VERSION",
            0xd => "EV_IPL",
            0x8000_0001 => "EV_EFI_VARIABLE_DRIVER_CONFIG",
            0x8000_0002 => "EV_EFI_VARIABLE_BOOT",
            0x8000_0003 => "EV_EFI_BOOT_SERVICES_APPLICATION",
            0x8000_0004 => "EV_EFI_BOOT_SERVICES_DRIVER",
            0x8000_0006 => "EV_EFI_GPT_EVENT",
            0x8000_0007 => "EV_EFI_ACTION",
            0x8000_0008 => "EV_EFI_PLATFORM_FIRMWARE_BLOB",
            0x8000_0009 => "EV_EFI_HANDOFF_TABLES",
            0x8000_000a => "EV_EFI_PLATFORM_FIRMWARE_BLOB2",
            0x8000_000b => "EV_EFI_HANDOFF_TABLES2",
            0x8000_00e0 => "EV_EFI_VARIABLE_AUTHORITY",
            _ => "another kind",
        }
    }
}

/// A log as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Its events, the first first.
    pub events: Vec<Event>,
    /// Whether it was read to its end.
    pub whole: bool,
}

impl Log {
    /// That of this machine.
    pub fn read() -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{LOG}: {error}");
        let mut bytes = Vec::new();
        let file = File::open(LOG).map_err(failed)?;
        file.take(BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
        Ok(Self::parse(&bytes))
    }

    /// The same of any bytes.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let mut log = Self::default();
        let mut left = bytes;
        let Some(digests) = first(&mut left) else { return log };
        while log.events.len() < EVENTS_MAX {
            // Firmware leaves zeros or ones behind the last event.
            if left.is_empty() || left.iter().all(|byte| *byte == 0 || *byte == 0xff) {
                log.whole = true;
                break;
            }
            let Some(event) = event(&mut left, &digests) else { break };
            log.events.push(event);
        }
        log
    }

    /// What a register holds if the log is true: `None` where an event of it has no SHA-256.
    #[must_use]
    pub fn replayed(&self, register: u8) -> Option<[u8; 32]> {
        let of = |event: &&Event| event.register == u32::from(register) && event.kind != NO_ACTION;
        self.events
            .iter()
            .filter(of)
            .try_fold([0; 32], |value, event| event.sha256.map(|digest| sha256(&[&value, &digest])))
    }
}

/// What the first registers hold.
pub fn registers(link: &mut dyn Link) -> Result<Vec<[u8; 32]>, ChipError> {
    let numbers: Vec<u8> = (0..REGISTERS).collect();
    let mut values = Vec::new();
    for some in numbers.chunks(8) {
        values.extend(seal::registers(link, some)?);
    }
    Ok(values)
}

/// Which digests there are, and how long each is: from the first event.
fn first(left: &mut &[u8]) -> Option<Vec<(u16, usize)>> {
    take(left, 8 + SHA1_BYTES)?;
    let length = usize::try_from(word(left)?).ok()?;
    let mut body = take(left, length)?;
    if take(&mut body, FIRST.len())? != FIRST {
        return None;
    }
    take(&mut body, 8)?;
    let count = word(&mut body)?;
    (0..count.min(16)).map(|_| Some((half(&mut body)?, usize::from(half(&mut body)?)))).collect()
}

fn event(left: &mut &[u8], digests: &[(u16, usize)]) -> Option<Event> {
    let (register, kind) = (word(left)?, word(left)?);
    let mut sha256 = None;
    for _ in 0..Some(word(left)?).filter(|count| *count <= 16)? {
        let algorithm = half(left)?;
        let (_, length) = digests.iter().find(|(known, _)| *known == algorithm)?;
        let digest = take(left, *length)?;
        if algorithm == SHA256 {
            sha256 = digest.try_into().ok();
        }
    }
    let length = usize::try_from(word(left)?).ok()?;
    Some(Event { register, kind, sha256, words: words(take(left, length)?) })
}

/// What of an event is text: of one byte a letter, or of two. A run of fewer than four letters is chance.
fn words(bytes: &[u8]) -> String {
    let wide = bytes.len() > 3
        && bytes.iter().skip(1).step_by(2).filter(|byte| **byte == 0).count() * 3 > bytes.len();
    let step = if wide { 2 } else { 1 };
    let letters = bytes.iter().step_by(step).take(16 * WORDS_MAX);
    let letters: String = letters
        .map(|byte| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '\n' })
        .collect();
    let runs: Vec<&str> = letters.split('\n').filter(|run| run.len() >= 4).collect();
    let mut words = runs.join(" ");
    words.truncate(WORDS_MAX);
    words
}

fn take<'a>(left: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (now, later) = left.split_at_checked(length)?;
    *left = later;
    Some(now)
}

fn word(left: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(left, 4)?.try_into().ok()?))
}

fn half(left: &mut &[u8]) -> Option<u16> {
    Some(u16::from_le_bytes(take(left, 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use hal_sim::random::Random;

    use super::*;

    /// A log of two algorithms and three events.
    fn log() -> Vec<u8> {
        let mut first = FIRST.to_vec();
        first.extend([0, 0, 0, 0, 0, 2, 0, 2]);
        first.extend([2, 0, 0, 0, 4, 0, 20, 0, 11, 0, 32, 0, 0]);
        let mut bytes = [&[0, 0, 0, 0, 3, 0, 0, 0][..], &[0; 20]].concat();
        bytes.extend(u32::try_from(first.len()).unwrap().to_le_bytes());
        bytes.extend(first);
        for (register, kind, said) in
            [(11, 13, &b".linux\0"[..]), (11, NO_ACTION, b"StartupLocality"), (7, 4, &[0; 4])]
        {
            bytes.extend([register, 0, 0, 0]);
            bytes.extend(kind.to_le_bytes());
            bytes.extend([2, 0, 0, 0, 4, 0]);
            bytes.extend([1; 20]);
            bytes.extend([11, 0]);
            bytes.extend([register; 32]);
            bytes.extend(u32::try_from(said.len()).unwrap().to_le_bytes());
            bytes.extend(said);
        }
        bytes
    }

    #[test]
    fn events_are_read_and_make_the_registers_what_they_are() {
        let mut bytes = log();
        bytes.extend([0xff; 32]);
        let log = Log::parse(&bytes);
        assert!(log.whole);
        assert_eq!(log.events.len(), 3);
        assert_eq!((log.events[0].words.as_str(), log.events[0].kind_name()), (".linux", "EV_IPL"));
        assert_eq!(log.replayed(11), Some(sha256(&[&[0; 32], &[11; 32]])), "no action is none");
        assert_eq!(log.replayed(3), Some([0; 32]));
        let wide: Vec<u8> = "SecureBoot".bytes().flat_map(|byte| [byte, 0]).collect();
        assert_eq!(words(&[&[7; 32][..], &wide].concat()), "");
        assert_eq!(words(&wide), "SecureBoot");
    }

    #[test]
    fn any_bytes_are_a_log_or_the_beginning_of_one() {
        let whole = log();
        for length in 0..whole.len() {
            assert!(Log::parse(&whole[..length]).events.len() <= 3, "{length}");
        }
        let mut random = Random::new(20_261_130);
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..=random.below(6) {
                let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
                bytes[at] = u8::try_from(random.below(256)).unwrap();
            }
            let log = Log::parse(&bytes);
            assert!(log.events.len() <= EVENTS_MAX);
            drop((0..REGISTERS).map(|register| log.replayed(register)).collect::<Vec<_>>());
        }
        // A thousand and more events of nothing are an end, and a length beyond the end is none.
        let many: Vec<u8> = [&whole[..], &[1; 100_000]].concat();
        assert!(!Log::parse(&many).whole);
    }
}
