//! A key that the chip gives out to what our key signed, on this machine as it is, and to nothing else.

use hal::time::Entropy;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::command::{
    Bytes, Command, NULL, OWNER, Reader, SHA256, code, flush, plain, with_password,
};
use super::link::Link;
use super::session::{Asked, Kind, Object, Secret, Session, Storage, name_of};
use super::signed::Signed;
use super::{ChipError, sha256};

/// What the stub measured of the slot.
const SLOT: u8 = 11;
/// Secure Boot, and words that nobody signed: in this order.
const AROUND: [u8; 2] = [7, 12];
const KEYED_HASH: u16 = 0x0008;
/// Fixed to the chip and to its storage key, given out under its policy alone, no lock-out.
const SEALED: u32 = 0x0000_0412;
/// Signs, and anybody may use what is public of it.
const VERIFIES: u32 = 0x0004_0040;
const RSA: u16 = 0x0001;
const RSASSA: u16 = 0x0014;
const SUM_BYTES: usize = 32;
/// Refused by a policy that is not met.
const POLICY_FAILED: u32 = 0x099d;
/// The answers that mean that what was loaded is not of this storage key.
const INTEGRITY: u32 = 0x01df;
/// A parameter is not what it must be: by its number.
const VALUE: u32 = 0x01c4;
/// What locks it: the hash of these words goes into the register.
const LOCK: &[u8] = b"Lifeboat: the state was opened, nothing after this opens it";

/// A key as the chip sealed it, with what tells why it does not open any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    storage: Vec<u8>,
    signer: Vec<u8>,
    around: [[u8; SUM_BYTES]; 2],
    private: Vec<u8>,
    public: Vec<u8>,
}

/// Seals a key for what this signer signs, on this machine as it is now.
pub fn seal(
    link: &mut dyn Link,
    signed: &Signed,
    key: &[u8; 32],
    entropy: &dyn Entropy,
) -> Result<Sealed, ChipError> {
    let storage = Storage::make(link)?;
    let made = seal_below(link, &storage, signed, key, entropy);
    flush(link, storage.handle);
    let (private, public, around) = made?;
    let signer = name_of(&signer_area(signed));
    Ok(Sealed { storage: storage.name, signer, around, private, public })
}

type Made = (Vec<u8>, Vec<u8>, [[u8; SUM_BYTES]; 2]);

fn seal_below(
    link: &mut dyn Link,
    storage: &Storage,
    signed: &Signed,
    key: &[u8; 32],
    entropy: &dyn Entropy,
) -> Result<Made, ChipError> {
    let around = read(link)?;
    let policy = policy(&name_of(&signer_area(signed)), &around);
    let public = Bytes::default().u16(KEYED_HASH).u16(SHA256).u32(SEALED).sized(&policy);
    let public = public.u16(NULL).sized(&[]).0;
    // No password, and the key.
    let secret = Zeroizing::new(Bytes::default().sized(&[]).sized(key).0);
    let parameters = Bytes::default().sized(&secret).sized(&public).sized(&[]).u32(0);
    let parameters = Zeroizing::new(parameters.0);
    let mut session = Session::start(link, storage, Kind::Plain, entropy)?;
    let asked = Asked {
        code: code::CREATE,
        verb: "seal a key",
        objects: &[(storage.handle, &storage.name)],
        parameters: &parameters,
        secret: Secret::Parameter,
    };
    let answer = session.run(link, &asked, entropy);
    flush(link, session.handle);
    let answer = answer?;
    let mut reader = Reader(&answer);
    Ok((reader.sized()?.to_vec(), reader.sized()?.to_vec(), around))
}

/// Whether what is sealed here now would open at the next start: something that nobody needs is, and does.
pub fn trial(link: &mut dyn Link, signed: &Signed, entropy: &dyn Entropy) -> Result<(), ChipError> {
    let mut key = Zeroizing::new([0; 32]);
    entropy.fill(&mut *key).map_err(|_| ChipError::Entropy)?;
    let sealed = seal(link, signed, &key, entropy)?;
    match open(link, signed, &sealed, entropy)? == key {
        true => Ok(()),
        false => Err(ChipError::Strange("another key than was sealed")),
    }
}

/// Opens a key. Nothing of it is left in the chip.
pub fn open(
    link: &mut dyn Link,
    signed: &Signed,
    sealed: &Sealed,
    entropy: &dyn Entropy,
) -> Result<Zeroizing<[u8; 32]>, ChipError> {
    if name_of(&signer_area(signed)) != sealed.signer {
        return Err(ChipError::Signer);
    }
    let storage = Storage::make(link)?;
    let opened = match storage.name == sealed.storage {
        true => open_below(link, &storage, signed, sealed, entropy),
        false => Err(ChipError::Another),
    };
    flush(link, storage.handle);
    opened
}

fn open_below(
    link: &mut dyn Link,
    storage: &Storage,
    signed: &Signed,
    sealed: &Sealed,
    entropy: &dyn Entropy,
) -> Result<Zeroizing<[u8; 32]>, ChipError> {
    let parameters = Bytes::default().sized(&sealed.private).sized(&sealed.public).0;
    let verb = "load a sealed key";
    let command =
        Command { code: code::LOAD, verb, handles: &[storage.handle], parameters: &parameters };
    let answer = with_password(link, &command).map_err(|error| match error {
        ChipError::Refused(_, INTEGRITY) => ChipError::Another,
        other => other,
    })?;
    let object = Reader(&answer).u32()?;
    let mut session = match Session::start(link, storage, Kind::Policy, entropy) {
        Ok(session) => session,
        Err(error) => {
            flush(link, object);
            return Err(error);
        }
    };
    let name = name_of(&sealed.public);
    let opened = meet(link, session.handle, signed)
        .and_then(|()| unseal(link, &mut session, (object, &name), entropy));
    flush(link, session.handle);
    flush(link, object);
    // What differs is said in words: the chip itself only says that something does.
    opened.map_err(|error| match error {
        ChipError::Refused(_, POLICY_FAILED) => differs(link, sealed),
        other => other,
    })
}

fn unseal(
    link: &mut dyn Link,
    session: &mut Session,
    object: Object<'_>,
    entropy: &dyn Entropy,
) -> Result<Zeroizing<[u8; 32]>, ChipError> {
    let asked = Asked {
        code: code::UNSEAL,
        verb: "open a sealed key",
        objects: &[object],
        parameters: &[],
        secret: Secret::Answer,
    };
    let given = session.run(link, &asked, entropy)?;
    let mut key = Zeroizing::new([0; 32]);
    let bytes = Reader(&given).sized()?;
    if bytes.len() != key.len() {
        return Err(ChipError::Strange("a key of another length"));
    }
    key.copy_from_slice(bytes);
    Ok(key)
}

/// Which of what is around is not as it was.
fn differs(link: &mut dyn Link, sealed: &Sealed) -> ChipError {
    match read(link) {
        Ok([secure_boot, _]) if secure_boot != sealed.around[0] => ChipError::SecureBoot,
        Ok([_, words]) if words != sealed.around[1] => ChipError::Words,
        Ok(_) => ChipError::System,
        Err(error) => error,
    }
}

/// Shows the chip that the policy is met.
fn meet(link: &mut dyn Link, session: u32, signed: &Signed) -> Result<(), ChipError> {
    let registers = |link: &mut dyn Link, numbers: &[u8]| {
        // Without a digest of ours: as they are.
        let parameters = Bytes::default().sized(&[]).registers(numbers).0;
        let verb = "look at its registers";
        let command =
            Command { code: code::POLICY_PCR, verb, handles: &[session], parameters: &parameters };
        plain(link, &command).map(drop)
    };
    registers(link, &[SLOT])?;
    let area = signer_area(signed);
    let ticket = verify(link, &area, signed)?;
    let parameters = Bytes::default().sized(&signed.policy).sized(&[]).sized(&name_of(&area));
    let parameters = parameters.raw(&ticket).0;
    let verb = "take what was signed";
    let command = Command {
        code: code::POLICY_AUTHORIZE,
        verb,
        handles: &[session],
        parameters: &parameters,
    };
    plain(link, &command).map_err(|error| match error {
        ChipError::Refused(_, VALUE) => ChipError::System,
        other => other,
    })?;
    registers(link, &AROUND)
}

/// Has the chip check the signature; its word that it did.
fn verify(link: &mut dyn Link, area: &[u8], signed: &Signed) -> Result<Vec<u8>, ChipError> {
    let parameters = Bytes::default().sized(&[]).sized(area).u32(OWNER).0;
    let verb = "load the signer's key";
    let load = Command { code: code::LOAD_EXTERNAL, verb, handles: &[], parameters: &parameters };
    let handle = Reader(&plain(link, &load)?).u32()?;
    let parameters = Bytes::default().sized(&sha256(&[&signed.policy])).u16(RSASSA).u16(SHA256);
    let parameters = parameters.sized(&signed.signature).0;
    let verb = "believe the slot's signature";
    let command =
        Command { code: code::VERIFY_SIGNATURE, verb, handles: &[handle], parameters: &parameters };
    let ticket = plain(link, &command);
    flush(link, handle);
    ticket
}

/// What the chip is told of the signer's key.
fn signer_area(signed: &Signed) -> Vec<u8> {
    let area = Bytes::default().u16(RSA).u16(SHA256).u32(VERIFIES).sized(&[]);
    let bits = u16::try_from(signed.modulus.len().saturating_mul(8)).unwrap_or(u16::MAX);
    area.u16(NULL).u16(NULL).u16(bits).u32(0).sized(&signed.modulus).0
}

/// The policy as the chip would reckon it.
fn policy(signer: &[u8], around: &[[u8; SUM_BYTES]; 2]) -> [u8; SUM_BYTES] {
    let authorized = sha256(&[&[0; SUM_BYTES], &code::POLICY_AUTHORIZE.to_be_bytes(), signer]);
    // No words of ours stand beside what is signed.
    let authorized = sha256(&[&authorized]);
    let chosen = Bytes::default().registers(&AROUND).0;
    let values = sha256(&[&around[0], &around[1]]);
    sha256(&[&authorized, &code::POLICY_PCR.to_be_bytes(), &chosen, &values])
}

/// What the registers around hold.
fn read(link: &mut dyn Link) -> Result<[[u8; SUM_BYTES]; 2], ChipError> {
    let values = registers(link, &AROUND)?;
    values.try_into().map_err(|_| ChipError::Strange("other registers"))
}

/// What at most eight registers hold, in the order of their numbers.
pub(super) fn registers(
    link: &mut dyn Link,
    numbers: &[u8],
) -> Result<Vec<[u8; SUM_BYTES]>, ChipError> {
    let parameters = Bytes::default().registers(numbers).0;
    let verb = "read its registers";
    let command = Command { code: code::PCR_READ, verb, handles: &[], parameters: &parameters };
    let answer = plain(link, &command)?;
    let mut reader = Reader(&answer);
    reader.u32()?;
    if reader.take(parameters.len())? != parameters {
        // What it has no bank for it leaves out.
        return Err(ChipError::Strange("no registers for SHA-256"));
    }
    let count = reader.u32()?;
    (0..count.min(8))
        .map(|_| {
            let value = reader.sized()?;
            value.try_into().map_err(|_| ChipError::Strange("a register of another length"))
        })
        .collect()
}

/// What runs later on this machine opens nothing until it starts again.
pub fn lock(link: &mut dyn Link) -> Result<(), ChipError> {
    let parameters = Bytes::default().u32(1).u16(SHA256).raw(&sha256(&[LOCK])).0;
    let verb = "lock itself";
    let handles = [u32::from(SLOT)];
    let command =
        Command { code: code::PCR_EXTEND, verb, handles: &handles, parameters: &parameters };
    with_password(link, &command).map(drop)
}
