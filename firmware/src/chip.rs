//! The machine's security chip (TPM 2.0), spoken to without a library: what a key is sealed by, so that only what our key signed
//! opens it, on this machine alone; and a place for the oldest version that is let in.
//!
//! # What the key of the state is sealed to
//!
//! | register | holds | must be |
//! | --- | --- | --- |
//! | 11 | every section of the slot that runs, measured by systemd's stub before it starts the kernel | what the slot's own signature says: `.pcrsig`, by the key in `.pcrpkey`, which is the one that signs slots |
//! | 7 | whether Secure Boot is on, its keys, and whose signature was believed | as it was when the key was sealed |
//! | 12 | words for the kernel that nobody signed, and files that lay beside the slot | as it was when the key was sealed |
//!
//! So a newer slot by the same signer opens what an older one sealed (`PolicyAuthorize`); with Secure Boot on, nothing else does. With
//! it off, a system of somebody else's can measure what ours would. Once the state is open, or was refused, register 11 is
//! extended: what runs later on this machine opens nothing until it starts again. Nothing is sealed before the chip has opened
//! something here: chips that do not know the signer's key seal for it all the same.
//!
//! Of a slot the builder signs one policy: `PolicyPCR` over register 11 alone, in the bank of SHA-256. The stub puts
//! signature and key at `/.extra/tpm2-pcr-signature.json` and `/.extra/tpm2-pcr-public-key.pem`, in systemd's form. Both are taken
//! as data: the chip checks the signature, and the key is part of what register 11 holds.
//!
//! # On the wires of the chip
//!
//! Everything secret goes through a session of its own: salted by ECDH with the chip's storage key, parameters enciphered by
//! AES-128 in CFB, commands and answers authenticated. Whoever listens between processor and chip reads nothing of the key. The
//! storage key's name is kept beside the sealed key: somebody in between who shows the chip of another machine, and a chip
//! that was cleared, are known by it. Who does not only listen but sends commands of his own has the chip unseal in a session
//! of *his*, while the registers are as they must be: nobody has a password that he would lack. A passphrase is against him.
//!
//! # What a sealed key is, as kept on the state partition
//!
//! `postcard` of [`Sealed`]: name of the storage key, name of the signer's key, digests of registers 7 and 12, private and public
//! part as the chip gave them.

use core::fmt;

pub use self::least::{least, remember};
pub use self::link::{Device, Link};
pub use self::seal::{Sealed, lock, open, seal, trial};
pub use self::signed::Signed;

/// The bytes of commands and answers.
mod command;
/// The oldest version that is let in.
mod least;
/// The device, or whatever else answers as one.
mod link;
/// What firmware and stub wrote down of what they measured.
pub mod measurements;
/// A key that opens under a policy.
mod seal;
/// Sessions that nobody in between reads.
mod session;
/// What came with the slot: its signature and the signer's key.
mod signed;

/// Why the chip did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChipError {
    /// There is none, or it does not speak TPM 2.0.
    Absent,
    /// The device failed.
    Device(String),
    /// It answers what no chip answers, or somebody in between changed it.
    Strange(&'static str),
    /// It refuses, by this code of its own.
    Refused(&'static str, u32),
    /// It is not the chip that sealed, or was cleared since.
    Another,
    /// What runs was signed by somebody else than what sealed, or by nobody.
    Signer,
    /// Secure Boot was switched, or other keys are trusted.
    SecureBoot,
    /// Words were added for the kernel, or files put beside the slot.
    Words,
    /// What runs is not what its signature says, or the chip was locked since the machine started.
    System,
    /// No randomness.
    Entropy,
}

impl fmt::Display for ChipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str(
                "this machine shows no security chip (TPM 2.0): it is another machine, or the chip is switched off in the firmware's menu",
            ),
            Self::Device(words) => write!(f, "the security chip does not answer: {words}"),
            Self::Strange(what) => write!(
                f,
                "the security chip answers with {what}: it is broken, or something sits between it and the processor"
            ),
            Self::Refused(verb, code) => write!(
                f,
                "the security chip refuses to {verb} and says no more than {code:#x}: it may be full, locked, or owned by somebody else; clear it in the firmware's menu"
            ),
            Self::Another => f.write_str(
                "it was sealed by another security chip: the medium comes from another machine, or the chip was cleared",
            ),
            Self::Signer => f.write_str(
                "the system that runs is not signed by who signed the one that sealed it",
            ),
            Self::SecureBoot => f.write_str(
                "Secure Boot is not as it was: it was switched, or the firmware trusts other keys; set it back in the firmware's menu",
            ),
            Self::Words => f.write_str(
                "words were added to the kernel's command line, or files put beside the system on the medium: take them away and start again",
            ),
            Self::System => f.write_str(
                "the system that runs is not the one that its signature tells of, or the chip was locked since the start: start the machine again",
            ),
            Self::Entropy => f.write_str("no randomness for a session with the security chip"),
        }
    }
}

impl core::error::Error for ChipError {}

/// SHA-256.
fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut sum = [0; 32];
    sum.copy_from_slice(context.finish().as_ref());
    sum
}

#[cfg(test)]
mod tests;
