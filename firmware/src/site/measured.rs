//! What firmware, boot manager and stub measured before this machine's first process began.

use firmware_web::api::site::{Answer, Refusal};
use firmware_web::api::views::appliance::{Measured, MeasurementsView, Register};

use crate::chip::Device;
use crate::chip::measurements::{Log, REGISTERS, registers};

/// As they are now.
pub(super) fn measurements() -> Answer<MeasurementsView> {
    let refused = |words: String| Refusal::new(409, "the measured boot", words);
    let mut device = Device::open().map_err(|error| refused(error.to_string()))?;
    let held = registers(&mut device).map_err(|error| refused(error.to_string()))?;
    let log = Log::read().map_err(refused)?;
    let register = |(number, value): (u8, [u8; 32])| Register {
        number,
        sha256: hex(&value),
        replayed_sha256: log.replayed(number).map(|value| hex(&value)),
    };
    Ok(MeasurementsView {
        whole: log.whole,
        registers: (0..REGISTERS).zip(held).map(register).collect(),
        events: log
            .events
            .iter()
            .map(|event| Measured {
                register: event.register,
                kind: event.kind,
                kind_name: event.kind_name().to_owned(),
                sha256: event.sha256.map(|digest| hex(&digest)),
                words: event.words.clone(),
            })
            .collect(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
