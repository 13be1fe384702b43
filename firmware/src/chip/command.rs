//! The bytes of commands and answers of a TPM 2.0: numbers are big-endian, and what has a length has it before it.
//!
//! What is read is read to its end or refused; no answer makes this panic.

use super::ChipError;
use super::link::{ANSWER_BYTES_MAX, Link};

/// Commands, as the chip numbers them.
pub(super) mod code {
    pub(crate) const NV_DEFINE: u32 = 0x12a;
    pub(crate) const CREATE_PRIMARY: u32 = 0x131;
    pub(crate) const NV_WRITE: u32 = 0x137;
    pub(crate) const NV_READ: u32 = 0x14e;
    pub(crate) const CREATE: u32 = 0x153;
    pub(crate) const LOAD: u32 = 0x157;
    pub(crate) const UNSEAL: u32 = 0x15e;
    pub(crate) const FLUSH: u32 = 0x165;
    pub(crate) const LOAD_EXTERNAL: u32 = 0x167;
    pub(crate) const POLICY_AUTHORIZE: u32 = 0x16a;
    pub(crate) const START_SESSION: u32 = 0x176;
    pub(crate) const VERIFY_SIGNATURE: u32 = 0x177;
    pub(crate) const PCR_READ: u32 = 0x17e;
    pub(crate) const POLICY_PCR: u32 = 0x17f;
    pub(crate) const PCR_EXTEND: u32 = 0x182;
}

/// Of everything here.
pub(super) const SHA256: u16 = 0x000b;
/// No algorithm.
pub(super) const NULL: u16 = 0x0010;
/// No handle.
pub(super) const NO_HANDLE: u32 = 0x4000_0007;
/// Whose the machine is: where the storage key comes from.
pub(super) const OWNER: u32 = 0x4000_0001;
/// An empty password.
const PASSWORD: [u8; 9] = [0x40, 0, 0, 9, 0, 0, 0, 0, 0];
const WITH_SESSIONS: u16 = 0x8002;
const WITHOUT_SESSIONS: u16 = 0x8001;
const HEAD_BYTES: u32 = 10;

/// Bytes that are put together.
#[derive(Clone, Debug, Default)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Bytes {
    pub(super) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(super) fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// With its length before it. Nothing that we send is longer than such a length says.
    pub(super) fn sized(self, bytes: &[u8]) -> Self {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.u16(length).raw(bytes)
    }

    /// These registers, in the bank of SHA-256.
    pub(super) fn registers(self, numbers: &[u8]) -> Self {
        let mut mask = [0; 3];
        for number in numbers {
            if let Some(byte) = mask.get_mut(usize::from(number / 8)) {
                *byte |= 1 << (number % 8);
            }
        }
        self.u32(1).u16(SHA256).u8(3).raw(&mask)
    }
}

/// Bytes that are taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], ChipError> {
        let short = ChipError::Strange("too few bytes");
        let (now, later) = self.0.split_at_checked(length).ok_or(short)?;
        self.0 = later;
        Ok(now)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ChipError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, ChipError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, ChipError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ChipError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn sized(&mut self) -> Result<&'a [u8], ChipError> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

/// What a command is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command<'a> {
    pub(super) code: u32,
    /// What it does, in an error.
    pub(super) verb: &'static str,
    pub(super) handles: &'a [u32],
    pub(super) parameters: &'a [u8],
}

/// Sends it with these sessions (their area's bytes); what is answered behind the head.
pub(super) fn send(
    link: &mut dyn Link,
    command: &Command<'_>,
    sessions: Option<&[u8]>,
) -> Result<Vec<u8>, ChipError> {
    let mut body = Bytes::default();
    for handle in command.handles {
        body = body.u32(*handle);
    }
    if let Some(area) = sessions {
        body = body.u32(u32::try_from(area.len()).unwrap_or(u32::MAX)).raw(area);
    }
    let body = body.raw(command.parameters).0;
    let tag = if sessions.is_some() { WITH_SESSIONS } else { WITHOUT_SESSIONS };
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).saturating_add(HEAD_BYTES);
    let bytes = Bytes::default().u16(tag).u32(length).u32(command.code).raw(&body).0;
    let answer = link.ask(&bytes).map_err(|error| ChipError::Device(error.to_string()))?;
    if answer.len() > ANSWER_BYTES_MAX {
        return Err(ChipError::Strange("too many bytes"));
    }
    let mut reader = Reader(&answer);
    let (answered, _) = (reader.u16()?, reader.u32()?);
    match reader.u32()? {
        0 if answered == tag => Ok(reader.0.to_vec()),
        0 => Err(ChipError::Strange("another kind of answer")),
        code => Err(ChipError::Refused(command.verb, code)),
    }
}

/// The same without sessions.
pub(super) fn plain(link: &mut dyn Link, command: &Command<'_>) -> Result<Vec<u8>, ChipError> {
    send(link, command, None)
}

/// The same with an empty password; the parameters of the answer, behind `handles` handles of it.
pub(super) fn with_password(
    link: &mut dyn Link,
    command: &Command<'_>,
) -> Result<Vec<u8>, ChipError> {
    send(link, command, Some(&PASSWORD))
}

/// Lets go of what the chip holds for us. It has room for a few things only; what fails here the kernel lets go when the device
/// is closed.
pub(super) fn flush(link: &mut dyn Link, handle: u32) {
    let parameters = handle.to_be_bytes();
    let command =
        Command { code: code::FLUSH, verb: "let go", handles: &[], parameters: &parameters };
    let _ = plain(link, &command);
}
