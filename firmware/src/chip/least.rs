//! A place in the chip's own memory for the oldest version that is let in, which outlives the medium.
//!
//! It is an index that anybody may read and that this code only ever raises. Who runs another system on the machine can change
//! it: that is what Secure Boot is against. Full and broken chips are told, and cost this memory only.

use image_layout::version::Version;

use super::ChipError;
use super::command::{Bytes, Command, OWNER, Reader, SHA256, code, with_password};
use super::link::Link;

/// Ours among those that belong to a machine's owner.
const INDEX: u32 = 0x0180_6c62;
/// Written and read by the owner and by whoever knows the index's own password, which is none; no lock-out.
const ATTRIBUTES: u32 = 0x0206_0006;
/// Three numbers of four bytes.
const BYTES: u16 = 12;
/// There is no such index.
const NO_INDEX: u32 = 0x018b;
/// Nothing was ever written to it.
const UNWRITTEN: u32 = 0x014a;

/// The oldest version that the chip remembers to let in; `None` where nobody told it.
pub fn least(link: &mut dyn Link) -> Result<Option<Version>, ChipError> {
    let parameters = Bytes::default().u16(BYTES).u16(0).0;
    let handles = [INDEX, INDEX];
    let read =
        Command { code: code::NV_READ, verb: "read", handles: &handles, parameters: &parameters };
    match with_password(link, &read) {
        Ok(answer) => version(&answer).map(Some),
        Err(ChipError::Refused(_, NO_INDEX | UNWRITTEN)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Has the chip remember it.
pub fn remember(link: &mut dyn Link, least: Version) -> Result<(), ChipError> {
    let bytes: Vec<u8> = least.0.iter().flat_map(|number| number.to_be_bytes()).collect();
    let parameters = Bytes::default().sized(&bytes).u16(0).0;
    let handles = [INDEX, INDEX];
    let write =
        Command { code: code::NV_WRITE, verb: "write", handles: &handles, parameters: &parameters };
    match with_password(link, &write) {
        Err(ChipError::Refused(_, NO_INDEX)) => {}
        other => return other.map(drop),
    }
    // What the index is, and its length; it has no password and no policy.
    let public = Bytes::default().u32(INDEX).u16(SHA256).u32(ATTRIBUTES).sized(&[]).u16(BYTES).0;
    let parameters = Bytes::default().sized(&[]).sized(&public).0;
    let define = Command {
        code: code::NV_DEFINE,
        verb: "make room",
        handles: &[OWNER],
        parameters: &parameters,
    };
    with_password(link, &define)?;
    with_password(link, &write).map(drop)
}

/// The version in an answer: the length of what follows, the length of the version, and it.
fn version(answer: &[u8]) -> Result<Version, ChipError> {
    let mut reader = Reader(answer);
    reader.u32()?;
    let mut bytes = Reader(reader.sized()?);
    if bytes.0.len() != usize::from(BYTES) {
        return Err(ChipError::Strange("another length"));
    }
    Ok(Version([bytes.u32()?, bytes.u32()?, bytes.u32()?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps what it is asked, and answers that the index was never made.
    struct Asked(Vec<Vec<u8>>);

    impl Link for Asked {
        fn ask(&mut self, command: &[u8]) -> std::io::Result<Vec<u8>> {
            self.0.push(command.to_vec());
            Ok(vec![0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x8b])
        }
    }

    #[test]
    fn commands_are_as_the_chip_expects_them() {
        let mut asked = Asked(Vec::new());
        assert_eq!(least(&mut asked), Ok(None));
        let mut expected =
            vec![0x80, 2, 0, 0, 0, 35, 0, 0, 1, 0x4e, 1, 0x80, 0x6c, 0x62, 1, 0x80, 0x6c, 0x62];
        expected.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, 0, 12, 0, 0]);
        assert_eq!(asked.0, [expected]);
        assert!(remember(&mut asked, Version([1, 2, 3])).is_err());
        let mut expected = vec![0x80, 2, 0, 0, 0, 45, 0, 0, 1, 0x2a, 0x40, 0, 0, 1];
        expected.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
        expected.extend([0, 0, 0, 14, 1, 0x80, 0x6c, 0x62, 0, 11, 2, 6, 0, 6, 0, 0, 0, 12]);
        assert_eq!(asked.0.last(), Some(&expected));
    }

    #[test]
    fn any_answer_is_a_version_or_none() {
        let right = [0, 0, 0, 14, 0, 12, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0];
        assert_eq!(version(&right), Ok(Version([1, 2, 3])));
        for length in 0..18 {
            assert!(version(&right[..length]).is_err(), "{length}");
        }
        let short = [0, 0, 0, 14, 0, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        assert!(version(&short).is_err());
    }
}
