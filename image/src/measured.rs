//! What a machine's security chip (TPM) will hold once it has started a slot, and the slot's signer's word that it may: so that a
//! key which was sealed for this signer opens under every slot that he signed, and under nothing else.
//!
//! systemd's stub measures name and contents of each section into register 11, in an order of its own (`uki.h` of systemd 257). What is
//! signed is the policy "register 11 holds this" of the bank of SHA-256, by the key that signs the slot itself: RSASSA PKCS #1
//! v1.5 over SHA-256, as systemd's own tools do it. Signature and key stand in the slot as sections `.pcrsig` and `.pcrpkey`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::signing::{Signatory, pem};

/// Sections in the order in which the stub measures them; others it leaves out.
const ORDER: [&str; 9] =
    [".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat"];
/// Behind those.
pub(crate) const KEY_SECTION: &str = ".pcrpkey";
/// The one that is not measured, as it could not hold its own signature.
pub(crate) const SIGNATURE_SECTION: &str = ".pcrsig";
/// Register 11 of the bank of SHA-256, as the chip writes it.
const REGISTER: [u8; 10] = [0, 0, 0, 1, 0, 0x0b, 3, 0, 8, 0];
const POLICY_PCR: [u8; 4] = [0, 0, 0x01, 0x7f];

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// What register 11 holds once the stub has measured these sections.
#[must_use]
pub fn register(sections: &[(String, &[u8])]) -> [u8; 32] {
    let mut value = [0; 32];
    for name in ORDER.iter().chain([&KEY_SECTION]) {
        let Some((_, bytes)) = sections.iter().find(|(own, _)| own == name) else { continue };
        let named = sha256(&[name.as_bytes(), &[0]]);
        value = sha256(&[&value, &named]);
        value = sha256(&[&value, &sha256(&[bytes])]);
    }
    value
}

/// The policy that register 11 holds this.
#[must_use]
pub fn policy(register: &[u8; 32]) -> [u8; 32] {
    sha256(&[&[0; 32], &POLICY_PCR, &REGISTER, &sha256(&[register])])
}

/// The signer's key, as it stands in `.pcrpkey`.
#[must_use]
pub fn public_key(signer: &Signatory) -> String {
    pem::write("PUBLIC KEY", &signer.public_key)
}

/// The signer's word for this value of register 11, as it stands in `.pcrsig`.
pub fn signature(signer: &Signatory, register: &[u8; 32]) -> Result<String, Error> {
    let policy = policy(register);
    let signature = STANDARD.encode(signer.sign(&policy)?);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let fingerprint = hex(&sha256(&[&signer.public_key]));
    Ok(format!(
        "{{\"sha256\":[{{\"pcrs\":[11],\"pkfp\":\"{fingerprint}\",\"pol\":\"{}\",\"sig\":\"{signature}\"}}]}}\n",
        hex(&policy)
    ))
}
