//! A session with the chip that nobody between it and the processor reads or changes.
//!
//! Its key comes of an agreement by ECDH with the chip's storage key. The first parameter of a command or of its answer is
//! enciphered by AES-128 in CFB with a key and a start of its own each time; everything is authenticated by HMAC-SHA-256.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use hal::time::Entropy;
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::hmac::{self, HMAC_SHA256};
use ring::rand::SystemRandom;
use zeroize::{Zeroize as _, Zeroizing};

use super::command::{
    Bytes, Command, NO_HANDLE, NULL, OWNER, Reader, SHA256, code, plain, send, with_password,
};
use super::link::Link;
use super::{ChipError, sha256};

/// Fixed to the chip, made by it, used without a password, for no lock-out, to decrypt what is below it only.
const STORAGE: u32 = 0x0003_0472;
const ECC: u16 = 0x0023;
const AES: u16 = 0x0006;
const CFB: u16 = 0x0043;
const AES_BITS: u16 = 128;
const P256: u16 = 0x0003;
const COORDINATE_BYTES: usize = 32;
const NONCE_BYTES: usize = 16;
/// The session lives on behind the command.
const GOES_ON: u8 = 0x01;
/// The command's first parameter is enciphered.
const SENT_SECRETLY: u8 = 0x20;
/// The answer's first parameter is enciphered.
const ANSWERED_SECRETLY: u8 = 0x40;

/// The chip's storage key: the same each time it is asked for, until the chip is cleared.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    pub(super) handle: u32,
    pub(super) name: Vec<u8>,
    x: [u8; COORDINATE_BYTES],
    y: [u8; COORDINATE_BYTES],
}

impl Storage {
    /// Has the chip make it. The most ordinary of its kind, so that every chip can.
    pub(super) fn make(link: &mut dyn Link) -> Result<Self, ChipError> {
        let public = Bytes::default().u16(ECC).u16(SHA256).u32(STORAGE).sized(&[]);
        let public = public.u16(AES).u16(AES_BITS).u16(CFB).u16(NULL).u16(P256).u16(NULL);
        let public = public.sized(&[]).sized(&[]).0;
        // No password and no data of ours; then what it is; nothing outside, no registers.
        let parameters = Bytes::default().sized(&[0; 4]).sized(&public).sized(&[]).u32(0).0;
        let verb = "make its storage key";
        let command = Command {
            code: code::CREATE_PRIMARY,
            verb,
            handles: &[OWNER],
            parameters: &parameters,
        };
        let answer = with_password(link, &command)?;
        let mut reader = Reader(&answer);
        let (handle, _) = (reader.u32()?, reader.u32()?);
        let area = reader.sized()?;
        let mut reader = Reader(area);
        // What it is comes back as it was asked for, and at its end the point.
        reader.take(public.len().saturating_sub(4))?;
        Ok(Self {
            handle,
            name: name_of(area),
            x: coordinate(&mut reader)?,
            y: coordinate(&mut reader)?,
        })
    }
}

/// A coordinate, with the zeros before it that a chip may leave out.
fn coordinate(reader: &mut Reader<'_>) -> Result<[u8; COORDINATE_BYTES], ChipError> {
    let bytes = reader.sized()?;
    let mut whole = [0; COORDINATE_BYTES];
    let start = COORDINATE_BYTES.checked_sub(bytes.len());
    let room = start.and_then(|start| whole.get_mut(start..));
    room.ok_or(ChipError::Strange("a point of another curve"))?.copy_from_slice(bytes);
    Ok(whole)
}

/// What the chip calls an object: the hash of what is public of it.
pub(super) fn name_of(public: &[u8]) -> Vec<u8> {
    [&SHA256.to_be_bytes()[..], &sha256(&[public])].concat()
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// To give what needs no more than an empty password.
    Plain = 0,
    /// To show that a policy is met.
    Policy = 1,
}

/// A session.
pub(super) struct Session {
    pub(super) handle: u32,
    key: Zeroizing<[u8; 32]>,
    /// The chip's last nonce.
    theirs: Vec<u8>,
}

/// An object of the chip: its handle and its name.
pub(super) type Object<'a> = (u32, &'a [u8]);

/// What of a command is nobody's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secret {
    Parameter,
    Answer,
}

impl Session {
    pub(super) fn start(
        link: &mut dyn Link,
        storage: &Storage,
        kind: Kind,
        entropy: &dyn Entropy,
    ) -> Result<Self, ChipError> {
        let (salt, point) = agree(storage)?;
        let ours = nonce(entropy)?;
        let parameters = Bytes::default().sized(&ours).sized(&point).u8(kind as u8);
        let parameters = parameters.u16(AES).u16(AES_BITS).u16(CFB).u16(SHA256).0;
        let handles = [storage.handle, NO_HANDLE];
        let verb = "begin a session";
        let command =
            Command { code: code::START_SESSION, verb, handles: &handles, parameters: &parameters };
        let answer = plain(link, &command)?;
        let mut reader = Reader(&answer);
        let handle = reader.u32()?;
        let theirs = reader.sized()?.to_vec();
        let key = stretch(&*salt, b"ATH\0", &theirs, &ours);
        Ok(Self { handle, key, theirs })
    }

    /// Sends a command about these objects, the first of which this session speaks for. Gives the
    /// parameters of the answer, which has no handle.
    pub(super) fn run(
        &mut self,
        link: &mut dyn Link,
        asked: &Asked<'_>,
        entropy: &dyn Entropy,
    ) -> Result<Zeroizing<Vec<u8>>, ChipError> {
        let ours = nonce(entropy)?;
        let mut parameters = Zeroizing::new(asked.parameters.to_vec());
        let attributes = GOES_ON
            | match asked.secret {
                Secret::Parameter => {
                    let (key, start) = self.cipher(&ours, &self.theirs);
                    encipher(&key, start, first(&mut parameters)?);
                    SENT_SECRETLY
                }
                Secret::Answer => ANSWERED_SECRETLY,
            };
        let number = asked.code.to_be_bytes();
        let names: Vec<u8> =
            asked.objects.iter().flat_map(|(_, name)| name.iter().copied()).collect();
        let sum = sha256(&[&number, &names, &parameters]);
        let proof = self.proof(&sum, &ours, &self.theirs, attributes);
        let area = Bytes::default().u32(self.handle).sized(&ours).u8(attributes).sized(&proof).0;
        let handles: Vec<u32> = asked.objects.iter().map(|(handle, _)| *handle).collect();
        let command = Command {
            code: asked.code,
            verb: asked.verb,
            handles: &handles,
            parameters: &parameters,
        };
        let answer = send(link, &command, Some(&area))?;
        let mut reader = Reader(&answer);
        let length = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        let mut given = Zeroizing::new(reader.take(length)?.to_vec());
        let theirs = reader.sized()?.to_vec();
        let (attributes, shown) = (reader.u8()?, reader.sized()?);
        let sum = sha256(&[&[0; 4], &number, &given]);
        let key = hmac::Key::new(HMAC_SHA256, &*self.key);
        let said = [&sum[..], &theirs, &ours, &[attributes]].concat();
        hmac::verify(&key, &said, shown)
            .map_err(|_| ChipError::Strange("an answer that is not authentic"))?;
        self.theirs = theirs;
        if asked.secret == Secret::Answer {
            // One who takes this mark off would otherwise have us take enciphered bytes for the secret.
            if attributes & ANSWERED_SECRETLY == 0 {
                return Err(ChipError::Strange("a secret that anybody could read"));
            }
            let (key, start) = self.cipher(&self.theirs, &ours);
            decipher(&key, start, first(&mut given)?);
        }
        Ok(given)
    }

    /// Key and start of a cipher: of both nonces, the newer first.
    fn cipher(&self, newer: &[u8], older: &[u8]) -> (Zeroizing<[u8; 16]>, [u8; 16]) {
        let both = stretch(&*self.key, b"CFB\0", newer, older);
        let (mut key, mut start) = (Zeroizing::new([0; 16]), [0; 16]);
        let (one, other) = both.split_at(16);
        key.copy_from_slice(one);
        start.copy_from_slice(other);
        (key, start)
    }

    fn proof(&self, sum: &[u8], newer: &[u8], older: &[u8], attributes: u8) -> Vec<u8> {
        let key = hmac::Key::new(HMAC_SHA256, &*self.key);
        let said = [sum, newer, older, &[attributes]].concat();
        hmac::sign(&key, &said).as_ref().to_vec()
    }
}

/// What a session is to run.
pub(super) struct Asked<'a> {
    pub(super) code: u32,
    pub(super) verb: &'static str,
    pub(super) objects: &'a [Object<'a>],
    pub(super) parameters: &'a [u8],
    pub(super) secret: Secret,
}

fn nonce(entropy: &dyn Entropy) -> Result<[u8; NONCE_BYTES], ChipError> {
    let mut nonce = [0; NONCE_BYTES];
    entropy.fill(&mut nonce).map_err(|_| ChipError::Entropy)?;
    Ok(nonce)
}

/// A secret that the chip and we alone know, and the point by which the chip finds it.
fn agree(storage: &Storage) -> Result<(Zeroizing<[u8; 32]>, Vec<u8>), ChipError> {
    let random = SystemRandom::new();
    let private =
        EphemeralPrivateKey::generate(&ECDH_P256, &random).map_err(|_| ChipError::Entropy)?;
    let public = private.compute_public_key().map_err(|_| ChipError::Entropy)?;
    let coordinates =
        public.as_ref().get(1..).and_then(|both| both.split_at_checked(COORDINATE_BYTES));
    let (x, y) = coordinates.ok_or(ChipError::Entropy)?;
    let point = Bytes::default().sized(x).sized(y).0;
    let theirs = [&[4][..], &storage.x, &storage.y].concat();
    let theirs = UnparsedPublicKey::new(&ECDH_P256, theirs);
    let salt = agree_ephemeral(private, &theirs, |shared| {
        Zeroizing::new(sha256(&[&[0, 0, 0, 1], shared, b"SECRET\0", x, &storage.x]))
    });
    Ok((salt.map_err(|_| ChipError::Strange("a point that is on no curve"))?, point))
}

/// The specification's KDFa: 256 bits.
fn stretch(key: &[u8], label: &[u8], newer: &[u8], older: &[u8]) -> Zeroizing<[u8; 32]> {
    let key = hmac::Key::new(HMAC_SHA256, key);
    let mut said = [&[0, 0, 0, 1], label, newer, older, &256_u32.to_be_bytes()].concat();
    let mut made = Zeroizing::new([0; 32]);
    made.copy_from_slice(hmac::sign(&key, &said).as_ref());
    said.zeroize();
    made
}

/// The first parameter, behind its length.
fn first(parameters: &mut [u8]) -> Result<&mut [u8], ChipError> {
    let strange = || ChipError::Strange("no parameter where one must be");
    let (length, rest) = parameters.split_first_chunk_mut::<2>().ok_or_else(strange)?;
    rest.get_mut(..usize::from(u16::from_be_bytes(*length))).ok_or_else(strange)
}

fn encipher(key: &[u8; 16], mut feed: [u8; 16], bytes: &mut [u8]) {
    let cipher = Aes128::new(key.into());
    for part in bytes.chunks_mut(16) {
        let mut mask = feed.into();
        cipher.encrypt_block(&mut mask);
        part.iter_mut().zip(mask.iter()).for_each(|(byte, mask)| *byte ^= mask);
        feed.iter_mut().zip(part.iter()).for_each(|(feed, byte)| *feed = *byte);
    }
}

fn decipher(key: &[u8; 16], mut feed: [u8; 16], bytes: &mut [u8]) {
    let cipher = Aes128::new(key.into());
    for part in bytes.chunks_mut(16) {
        let mut mask = feed.into();
        cipher.encrypt_block(&mut mask);
        feed.iter_mut().zip(part.iter()).for_each(|(feed, byte)| *feed = *byte);
        part.iter_mut().zip(mask.iter()).for_each(|(byte, mask)| *byte ^= mask);
    }
}
