//! Answers of a chip that is broken, or of somebody between it and us. What a real one does is in `tests/tests/hardening/tpm.rs`.

use std::io;

use hal_sim::SimEntropy;
use hal_sim::random::Random;

use super::*;

/// Answers with any bytes; sometimes under a head that says that all is well.
struct Liar(Random);

impl Link for Liar {
    fn ask(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.0.below(500)).unwrap();
        let mut bytes: Vec<u8> =
            (0..length).map(|_| u8::try_from(self.0.below(256)).unwrap()).collect();
        if self.0.below(8) > 0 {
            let small = u8::try_from(self.0.below(40)).unwrap();
            let head = [command[0], command[1], 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0];
            bytes.splice(..0, [&head[..], &[0, 0, 0, 0, 0, small]].concat());
        }
        Ok(bytes)
    }
}

fn signed() -> Signed {
    Signed { policy: [1; 32], signature: vec![2; 256], modulus: vec![3; 256] }
}

#[test]
fn no_answer_makes_us_panic_or_believe() {
    let seed = 20_261_130;
    println!("seed {seed}");
    let mut liar = Liar(Random::new(seed));
    let entropy = SimEntropy::new(seed);
    let sealed = postcard::to_allocvec(&(vec![0_u8; 34], vec![0_u8; 34], [[0_u8; 32]; 2]));
    let mut bytes = sealed.unwrap();
    bytes.extend([3, 1, 2, 3, 3, 1, 2, 3]);
    let kept: Sealed = postcard::from_bytes(&bytes).unwrap();
    for _ in 0..20_000 {
        assert!(seal(&mut liar, &signed(), &[7; 32], &entropy).is_err());
        assert!(open(&mut liar, &signed(), &kept, &entropy).is_err());
        drop(measurements::registers(&mut liar));
    }
}

#[test]
fn what_came_with_the_slot_is_read_or_is_none() {
    let key = "-----BEGIN PUBLIC KEY-----\nMDMwDQYJKoZIhvcNAQEBBQADIgAwHwIYAP\n-----END PUBLIC KEY-----\n";
    assert_eq!(Signed::parse(b"{}", key.as_bytes()), None);
    assert_eq!(
        Signed::parse(b"{\"sha256\":[{\"pcrs\":[11],\"pol\":\"\xff\",\"sig\":\"\"}]}", b""),
        None
    );
    let mut random = Random::new(7);
    for _ in 0..2000 {
        let bytes: Vec<u8> = (0..200).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----{}-----END PUBLIC KEY-----",
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &bytes)
        );
        let json = "{\"sha256\":[{\"pcrs\":[11],\"pol\":\"0000000000000000000000000000000000000000000000000000000000000000\",\"sig\":\"AAAA\"}]}";
        assert_eq!(Signed::parse(json.as_bytes(), pem.as_bytes()), None);
    }
}
