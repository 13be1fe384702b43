//! A program keeps what is loaded of it, and what could not be started is refused.

use super::*;

// As they stand in a file.
const FIXED: u16 = 2;
const DYNAMIC: u16 = 3;
const X86_64: u16 = 62;
const LOADER: u32 = 3;

/// A file with one segment of everything, and a table of sections behind it.
fn elf(kind: u16, machine: u16, segments: &[(u32, u64, u64)]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend_from_slice(&kind.to_le_bytes());
    file.extend_from_slice(&machine.to_le_bytes());
    file.extend_from_slice(&1_u32.to_le_bytes());
    file.extend_from_slice(&0_u64.to_le_bytes());
    file.extend_from_slice(&64_u64.to_le_bytes());
    file.extend_from_slice(&300_u64.to_le_bytes());
    file.extend_from_slice(&[0, 0, 0, 0, 64, 0, 56, 0]);
    file.extend_from_slice(&u16::try_from(segments.len()).unwrap().to_le_bytes());
    file.extend_from_slice(&[64, 0, 3, 0, 2, 0]);
    for (kind, offset, size) in segments {
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&[0; 4]);
        file.extend_from_slice(&offset.to_le_bytes());
        file.extend_from_slice(&[0; 16]);
        file.extend_from_slice(&size.to_le_bytes());
        file.extend_from_slice(&[0; 16]);
    }
    file.resize(600, 7);
    file
}

#[test]
fn what_is_loaded_stays_and_nothing_else() {
    let file = elf(DYNAMIC, X86_64, &[(1, 0, 200), (1, 200, 90)]);
    let bare = bare("x", &file).unwrap();
    assert_eq!(bare.len(), 290);
    assert_eq!(bare[SECTIONS_OFFSET], [0; 8]);
    assert_eq!(bare[SECTIONS_COUNT], [0; 4]);
    assert_eq!(bare[64..], file[64..290]);
}

#[test]
fn what_could_not_be_started_is_refused() {
    for (file, word) in [
        (elf(DYNAMIC, X86_64, &[(LOADER, 0, 9), (1, 0, 200)]), "loader"),
        (elf(DYNAMIC, 183, &[(1, 0, 200)]), "x86-64"),
        (elf(1, X86_64, &[(1, 0, 200)]), "x86-64"),
        (elf(FIXED, X86_64, &[(1, 500, 200)]), "broken off"),
        (elf(FIXED, X86_64, &[(1, u64::MAX, u64::MAX)]), "broken off"),
        (elf(FIXED, X86_64, &[(1, 0, 10)]), "nothing to load"),
        (b"#!/bin/sh\n".to_vec(), "no program"),
        (Vec::new(), "no program"),
    ] {
        let error = bare("x", &file).unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
    }
}

#[test]
fn this_very_test_is_a_program_that_could_be_taken() {
    let path = std::env::current_exe().unwrap();
    let file = std::fs::read(&path).unwrap();
    let bare = bare("test", &file).unwrap();
    assert!(bare.len() < file.len());
    let out = std::env::temp_dir().join(format!("lifeboat-bare-{}", std::process::id()));
    std::fs::write(&out, &bare).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&out, mode).unwrap();
    let listed = std::process::Command::new(&out).arg("--list").output().unwrap();
    std::fs::remove_file(&out).unwrap();
    assert!(listed.status.success(), "it runs without its sections");
    assert!(String::from_utf8_lossy(&listed.stdout).contains("this_very_test"));
}
