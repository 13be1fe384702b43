//! What a machine's own firmware wrote down.

use firmware::chip::measurements::{Log, REGISTERS};

/// The log of what was measured while it started, and the registers that it would come to.
pub(super) fn measurements(bytes: &[u8]) {
    let log = Log::parse(bytes);
    let said: usize = log.events.iter().map(|event| event.words.len()).sum();
    // An event is fourteen bytes and more, and its words are some of its letters.
    assert!(log.events.len() * 14 + said <= bytes.len(), "it told more than there was");
    assert!(!log.whole || bytes.len() > 32, "nothing is no log");
    for event in &log.events {
        assert!(!event.kind_name().is_empty() && event.words.is_ascii());
    }
    for register in 0..=REGISTERS {
        let lacks = |event: &firmware::chip::measurements::Event| {
            event.register == u32::from(register) && event.sha256.is_none()
        };
        let replayed = log.replayed(register);
        assert!(replayed.is_some() || log.events.iter().any(lacks), "register {register}");
    }
}
