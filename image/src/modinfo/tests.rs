//! Modules made by hand are read, and changed bytes end in an answer.

use super::*;

const WORDS: &[u8] =
    b"license=GPL\0depends=scsi-mod,libata\0softdep=pre: crc32c platform: x post: sg\0\
    alias=pci:v0000*\0alias=block-major-8-*\0firmware=a/b.fw\0\0junk\0\xff=x\0depends=\0";

/// The smallest ELF file with that section: header, the section's bytes, names, three section headers.
pub(crate) fn module(words: &[u8]) -> Vec<u8> {
    let names = b"\0.modinfo\0.shstrtab\0";
    let mut file = Vec::new();
    file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend_from_slice(&[1, 0, 62, 0, 1, 0, 0, 0]);
    file.resize(0x28, 0);
    let table = 64 + words.len() + names.len();
    file.extend_from_slice(&(table as u64).to_le_bytes());
    file.extend_from_slice(&[0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 64, 0, 3, 0, 2, 0]);
    file.extend_from_slice(words);
    file.extend_from_slice(names);
    file.resize(table + 64, 0);
    for (name, kind, offset, size) in
        [(1_u32, 1_u32, 64, words.len()), (10, 3, 64 + words.len(), names.len())]
    {
        file.extend_from_slice(&name.to_le_bytes());
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&[0; 16]);
        file.extend_from_slice(&(offset as u64).to_le_bytes());
        file.extend_from_slice(&(size as u64).to_le_bytes());
        file.extend_from_slice(&[0; 24]);
    }
    file
}

#[test]
fn a_module_says_what_it_needs() {
    let info = ModuleInfo::read("x", &module(WORDS)).unwrap();
    assert_eq!(info.depends, ["scsi_mod", "libata"]);
    assert_eq!((info.before, info.after), (vec!["crc32c".to_owned()], vec!["sg".to_owned()]));
    assert_eq!(info.aliases, ["pci:v0000*", "block-major-8-*"]);
    assert_eq!(info.firmware, ["a/b.fw"]);
}

#[test]
fn other_files_are_refused() {
    for file in [&b""[..], b"\x7fELF", b"#!/bin/sh"] {
        assert!(ModuleInfo::read("x", file).is_err());
    }
    let mut nameless = module(WORDS);
    let at = nameless.windows(8).position(|window| window == b".modinfo").unwrap();
    nameless[at + 1] = b'n';
    let error = ModuleInfo::read("x", &nameless).unwrap_err();
    assert!(error.to_string().contains("says nothing"), "{error}");
}

#[test]
fn changed_bytes_end_in_an_answer() {
    let good = module(WORDS);
    let mut state = 9_u32;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from(state >> 8).unwrap() % below
    };
    let mut read = 0;
    for _ in 0..30_000 {
        let mut bytes = good.clone();
        for _ in 0..=draw(4) {
            let at = draw(bytes.len());
            bytes[at] = u8::try_from(draw(256)).unwrap();
        }
        bytes.truncate(good.len() - draw(2) * draw(good.len()));
        read += usize::from(ModuleInfo::read("x", &bytes).is_ok());
    }
    assert!(read > 1000, "some changes are harmless: {read}");
}
