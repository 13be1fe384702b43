//! Bytes of a connection as messages of the appliance; pure, and bounded whatever arrives.

use pipeline_wire::frame::{HEAD_BYTES, head, message};
use pipeline_wire::message::FromAppliance;

/// What arrived and is no whole message yet.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    bytes: Vec<u8>,
    /// How much of `bytes` is still to come until something can be said.
    wanted: usize,
}

impl Decoder {
    /// Takes what a connection read, and gives every message that is whole now.
    ///
    /// Errors: bytes that no appliance sends; nothing more can be understood.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<Vec<FromAppliance>, String> {
        let mut messages = Vec::new();
        loop {
            let wanted = self.wanted.max(HEAD_BYTES);
            let part = bytes.len().min(wanted - self.bytes.len());
            let (now, later) = bytes.split_at(part);
            self.bytes.extend_from_slice(now);
            bytes = later;
            if self.bytes.len() < wanted {
                return Ok(messages);
            }
            let Some((first, body)) = self.bytes.split_first_chunk::<HEAD_BYTES>() else {
                return Ok(messages);
            };
            if body.is_empty() {
                let head = head(*first).map_err(|error| error.to_string())?;
                if head.payload != 0 {
                    return Err("the appliance sent a payload, which it never does".to_owned());
                }
                self.wanted = HEAD_BYTES + head.body;
            } else {
                messages.push(message(body).map_err(|error| error.to_string())?);
                self.bytes.clear();
                self.wanted = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hal_sim::random::Random;
    use pipeline_wire::frame::emit;

    use super::*;

    #[test]
    fn messages_come_out_however_the_bytes_arrive() {
        let said: Vec<FromAppliance> = (0..50)
            .map(|number| match number % 3 {
                0 => FromAppliance::Spooled { sequence: number },
                1 => FromAppliance::Wanted { question: 7, bits: vec![0xA5; 32] },
                _ => FromAppliance::Resend { words: "x".repeat(usize::try_from(number).unwrap()) },
            })
            .collect();
        let bytes: Vec<u8> = said.iter().flat_map(|said| emit(said, 0).unwrap()).collect();
        for seed in 0..100 {
            let (mut random, mut decoder) = (Random::new(seed), Decoder::default());
            let (mut rest, mut heard) = (bytes.as_slice(), Vec::new());
            while !rest.is_empty() {
                let part = usize::try_from(1 + random.below(90)).unwrap().min(rest.len());
                let (now, later) = rest.split_at(part);
                heard.extend(decoder.take(now).unwrap());
                rest = later;
            }
            assert!(heard == said, "seed {seed}");
        }
    }

    #[test]
    fn bytes_that_no_appliance_sends_end_in_words() {
        for seed in 0..2000 {
            let (mut random, mut decoder) = (Random::new(seed), Decoder::default());
            let mut bytes = [0; 200];
            random.fill(&mut bytes);
            // A believable head, so that bodies are met too.
            bytes[..8].copy_from_slice(&[9, 0, 0, 0, 0, 0, 0, 0]);
            let _ = decoder.take(&bytes);
            assert!(decoder.bytes.len() <= 65_536 + HEAD_BYTES);
        }
        assert!(Decoder::default().take(b"HTTP/1.1 400 Bad Request\r\n").is_err());
        let mut payload = emit(&FromAppliance::Spooled { sequence: 1 }, 16).unwrap();
        payload.extend([0; 16]);
        assert!(Decoder::default().take(&payload).is_err());
    }
}
