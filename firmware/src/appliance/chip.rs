//! The machine's security chip (TPM 2.0), as far as updates need it: a place for the oldest version that is let in, which outlives
//! the medium.
//!
//! It is an index of the chip's own memory that anybody may read and that this code only ever raises. Who runs another system on
//! the machine can change it: that is what Secure Boot is against. Full and broken chips are told, and cost this memory only.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::path::Path;

use image_layout::version::Version;

const DEVICE: &str = "/dev/tpmrm0";
/// Ours among those that belong to a machine's owner.
const INDEX: u32 = 0x0180_6c62;
const OWNER: u32 = 0x4000_0001;
/// Written and read by the owner and by whoever knows the index's own password, which is none; no lock-out.
const ATTRIBUTES: u32 = 0x0206_0006;
const SHA256: u16 = 0x000b;
const BYTES: u16 = 12;
/// An empty password.
const PASSWORD: [u8; 13] = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
const DEFINE: u32 = 0x012a;
const WRITE: u32 = 0x0137;
const READ: u32 = 0x014e;
/// There is no such index, or nothing was ever written to it.
const ABSENT: [u32; 2] = [0x018b, 0x014a];
const HEAD: usize = 10;
const ANSWER_BYTES_MAX: usize = 4096;

/// Whether the machine has one.
pub(crate) fn is_there() -> bool {
    Path::new(DEVICE).exists()
}

/// The oldest version that the chip remembers to let in; `None` where nobody told it.
pub(crate) fn least() -> Result<Option<Version>, String> {
    let command = command(READ, &[INDEX, INDEX], &[BYTES.to_be_bytes(), [0, 0]].concat());
    match ask(&command)? {
        Ok(answer) => version(&answer).map(Some).ok_or_else(|| strange("another length")),
        Err(code) if ABSENT.contains(&code) => Ok(None),
        Err(code) => Err(refused("reads", code)),
    }
}

/// Has the chip remember it.
pub(crate) fn remember(least: Version) -> Result<(), String> {
    let mut bytes = BYTES.to_be_bytes().to_vec();
    bytes.extend(least.0.iter().flat_map(|number| number.to_be_bytes()));
    bytes.extend([0, 0]);
    let write = command(WRITE, &[INDEX, INDEX], &bytes);
    match ask(&write)? {
        Ok(_) => return Ok(()),
        Err(code) if code == ABSENT[0] => {}
        Err(code) => return Err(refused("writes", code)),
    }
    // No password; then what the index is, and its length.
    let mut public = vec![0, 0, 0, 14];
    public.extend(INDEX.to_be_bytes());
    public.extend(SHA256.to_be_bytes());
    public.extend(ATTRIBUTES.to_be_bytes());
    public.extend([0, 0]);
    public.extend(BYTES.to_be_bytes());
    ask(&command(DEFINE, &[OWNER], &public))?.map_err(|code| refused("makes room for", code))?;
    ask(&write)?.map(drop).map_err(|code| refused("writes", code))
}

fn refused(verb: &str, code: u32) -> String {
    format!(
        "the security chip neither {verb} nor says why but by {code:#x}: it may be full, or owned by somebody else; clear it in the firmware's menu"
    )
}

fn strange(what: &str) -> String {
    format!("the security chip answers with {what}")
}

fn command(code: u32, handles: &[u32], parameters: &[u8]) -> Vec<u8> {
    let mut body: Vec<u8> = handles.iter().flat_map(|handle| handle.to_be_bytes()).collect();
    body.extend(PASSWORD);
    body.extend_from_slice(parameters);
    let mut command = vec![0x80, 0x02];
    command.extend(u32::try_from(HEAD + body.len()).unwrap_or(u32::MAX).to_be_bytes());
    command.extend(code.to_be_bytes());
    command.extend(body);
    command
}

/// What it answers, or the code by which it refuses.
fn ask(command: &[u8]) -> Result<Result<Vec<u8>, u32>, String> {
    let failed = |error: std::io::Error| format!("the security chip does not answer: {error}");
    let mut device = OpenOptions::new().read(true).write(true).open(DEVICE).map_err(failed)?;
    device.write_all(command).map_err(failed)?;
    let mut answer = vec![0; ANSWER_BYTES_MAX];
    let length = device.read(&mut answer).map_err(failed)?;
    answer.truncate(length);
    let code = answer.get(6..HEAD).and_then(|code| code.try_into().ok()).map(u32::from_be_bytes);
    match code.ok_or_else(|| strange("too few bytes"))? {
        0 => Ok(Ok(answer.split_off(HEAD))),
        code => Ok(Err(code)),
    }
}

/// The version in an answer: the length of what follows, the length of the version, and it.
fn version(answer: &[u8]) -> Option<Version> {
    let bytes = answer.get(4..)?;
    let bytes = bytes.strip_prefix(&BYTES.to_be_bytes())?.get(..usize::from(BYTES))?;
    let mut numbers = [0; 3];
    for (number, part) in numbers.iter_mut().zip(bytes.chunks_exact(4)) {
        *number = u32::from_be_bytes(part.try_into().ok()?);
    }
    Some(Version(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_as_the_chip_expects_them() {
        let read = command(READ, &[INDEX, INDEX], &[0, 12, 0, 0]);
        let mut expected =
            vec![0x80, 2, 0, 0, 0, 35, 0, 0, 1, 0x4e, 1, 0x80, 0x6c, 0x62, 1, 0x80, 0x6c, 0x62];
        expected.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, 0, 12, 0, 0]);
        assert_eq!(read, expected);
    }

    #[test]
    fn any_answer_is_a_version_or_none() {
        let right = [0, 0, 0, 14, 0, 12, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0];
        assert_eq!(version(&right), Some(Version([1, 2, 3])));
        for length in 0..18 {
            assert_eq!(version(&right[..length]), None, "{length}");
        }
        assert_eq!(version(&[0, 0, 0, 14, 0, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]), None);
    }
}
