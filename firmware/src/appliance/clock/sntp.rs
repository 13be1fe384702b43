//! SNTP (RFC 4330): a question of 48 bytes, and what its answer says of our clock. Pure; any bytes end in an answer.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Bytes of a packet without extensions.
pub const PACKET_BYTES: usize = 48;
/// Between 1900, where NTP's first era begins, and 1970.
const ERA_SECONDS: u64 = 2_208_988_800;
/// Times before this are of the second era, which begins in 2036: no server is right that says 2016.
const PIVOT_SECONDS: u64 = 3_660_000_000;
/// No leap warning, version 4, client.
const QUESTION: u8 = 0b00_100_011;

/// What a server's answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What is to be added to our clock.
    pub offset_millis: i64,
}

/// Why a server's answer is worth nothing, or there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// Nothing came.
    Silent,
    /// It cannot be reached, as the system says by this errno.
    Unreachable(i32),
    /// Fewer bytes than an answer has.
    Short,
    /// It answers no question of ours.
    Foreign,
    /// The server says that it does not know the time.
    Unset,
    /// It holds no time.
    Timeless,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "it does not answer",
            Self::Unreachable(errno) => return write!(f, "it cannot be reached (errno {errno})"),
            Self::Short => "the answer is too short",
            Self::Foreign => "the answer is to no question of ours",
            Self::Unset => "the server's own clock is not set",
            Self::Timeless => "the answer holds no time",
        })
    }
}

/// A question. The cookie stands where the time of sending would: the answer repeats it, and our clock is not told.
pub fn question(cookie: [u8; 8]) -> [u8; PACKET_BYTES] {
    let mut packet = [0; PACKET_BYTES];
    packet[0] = QUESTION;
    packet[40..48].copy_from_slice(&cookie);
    packet
}

/// Judges an answer; our clock's milliseconds when the question left and when the answer came.
pub fn answer(packet: &[u8], cookie: [u8; 8], sent: u64, received: u64) -> Result<Reply, Fault> {
    let packet = packet.first_chunk::<PACKET_BYTES>().ok_or(Fault::Short)?;
    let (leap, mode, stratum) = (packet[0] >> 6, packet[0] & 7, packet[1]);
    if mode != 4 || packet[24..32] != cookie {
        return Err(Fault::Foreign);
    }
    if leap == 3 || stratum == 0 || stratum > 15 {
        return Err(Fault::Unset);
    }
    let (taken, given) = (millis(packet, 32), millis(packet, 40));
    let (Some(taken), Some(given)) = (taken, given) else {
        return Err(Fault::Timeless);
    };
    let signed = |value: u64| i128::from(value);
    let offset = (signed(taken) - signed(sent) + signed(given) - signed(received)) / 2;
    let offset_millis = i64::try_from(offset).map_err(|_| Fault::Timeless)?;
    Ok(Reply { offset_millis })
}

/// A time in milliseconds since 1970.
fn millis(packet: &[u8; PACKET_BYTES], at: usize) -> Option<u64> {
    let number =
        |at: usize| packet.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
    let (seconds, fraction) = (u64::from(number(at)?), u64::from(number(at + 4)?));
    if seconds == 0 {
        return None;
    }
    let era = if seconds < PIVOT_SECONDS { 1 << 32 } else { 0 };
    Some((seconds + era - ERA_SECONDS) * 1000 + ((fraction * 1000) >> 32))
}

#[cfg(test)]
pub(crate) mod tests {
    use hal_sim::random::Random;

    use super::*;

    /// A good server's answer to a question.
    pub(crate) fn reply(question: &[u8; PACKET_BYTES], now_millis: u64) -> [u8; PACKET_BYTES] {
        let mut packet = [0; PACKET_BYTES];
        packet[0] = 0b00_100_100;
        packet[1] = 2;
        packet[24..32].copy_from_slice(&question[40..48]);
        let seconds = (now_millis / 1000 + ERA_SECONDS) % (1 << 32);
        let fraction = ((now_millis % 1000) << 32) / 1000 + 1;
        for at in [32, 40] {
            packet[at..at + 4].copy_from_slice(&u32::try_from(seconds).unwrap().to_be_bytes());
            packet[at + 4..at + 8].copy_from_slice(&u32::try_from(fraction).unwrap().to_be_bytes());
        }
        packet
    }

    const COOKIE: [u8; 8] = *b"unlikely";
    const NOW: u64 = 1_795_377_845_250;

    #[test]
    fn the_offset_is_the_middle_of_the_way() {
        let packet = reply(&question(COOKIE), NOW + 60_000);
        let offset =
            |sent, received| answer(&packet, COOKIE, sent, received).unwrap().offset_millis;
        assert_eq!(offset(NOW, NOW), 60_000);
        assert_eq!(offset(NOW - 100, NOW + 100), 60_000);
        assert_eq!(offset(NOW + 120_000, NOW + 120_000), -60_000);
        assert_eq!(offset(0, 0), i64::try_from(NOW + 60_000).unwrap(), "a clock of 1970");
    }

    #[test]
    fn the_year_2036_is_not_1900() {
        let later = 2_200_000_000_000;
        let packet = reply(&question(COOKIE), later);
        assert_eq!(answer(&packet, COOKIE, later, later).unwrap().offset_millis, 0);
    }

    #[test]
    fn other_packets_are_refused() {
        let good = reply(&question(COOKIE), NOW);
        let refused = |change: &dyn Fn(&mut [u8; PACKET_BYTES])| {
            let mut packet = good;
            change(&mut packet);
            answer(&packet, COOKIE, NOW, NOW).unwrap_err()
        };
        assert_eq!(refused(&|packet| packet[24] ^= 1), Fault::Foreign);
        assert_eq!(refused(&|packet| packet[0] = QUESTION), Fault::Foreign);
        assert_eq!(refused(&|packet| packet[1] = 0), Fault::Unset);
        assert_eq!(refused(&|packet| packet[0] |= 0xC0), Fault::Unset);
        assert_eq!(refused(&|packet| packet[40..44].fill(0)), Fault::Timeless);
        assert_eq!(answer(&good[..47], COOKIE, NOW, NOW), Err(Fault::Short));
    }

    #[test]
    fn any_bytes_end_in_an_answer() {
        let mut random = Random::new(8);
        let mut taken = 0;
        for _ in 0..20_000 {
            let mut packet = reply(&question(COOKIE), NOW);
            for _ in 0..=random.below(4) {
                let at = usize::try_from(random.below(48)).unwrap();
                packet[at] = u8::try_from(random.below(256)).unwrap();
            }
            let now = random.below(u64::MAX);
            taken += u32::from(answer(&packet, COOKIE, now, now).is_ok());
        }
        assert!(taken > 1000, "{taken}");
    }
}
