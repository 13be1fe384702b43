//! Packages made by hand are unpacked, and changed bytes end in an answer.

use super::*;
use crate::compress::{Codec, Content as Kind};

fn tarball() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in [("./lib/a.ko", &b"module"[..]), ("./usr/b", b"other"), ("/c", b"")] {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append(&header, bytes).unwrap();
    }
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    tar.append_link(&mut link, "lib/l", "a.ko").unwrap();
    tar.into_inner().unwrap()
}

fn package(member: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, data) in [("debian-binary", &b"2.0\n"[..]), ("control.tar.xz", b"x"), (member, data)]
    {
        bytes.extend_from_slice(
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, data.len())
                .as_bytes(),
        );
        bytes.extend_from_slice(data);
        if data.len() % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    bytes
}

fn all(package: &[u8]) -> Result<Vec<(String, Content)>, Error> {
    let mut found = Vec::new();
    unpack("x.deb", package, &|path| path != "usr/b", &mut |path, content| {
        found.push((path, content));
        Ok(())
    })?;
    Ok(found)
}

#[test]
fn files_and_links_that_are_wanted_come_out() {
    for (member, data) in [
        ("data.tar", tarball()),
        ("data.tar.zst", Codec::Zstandard(1).squeeze(&tarball(), Kind::Modules).unwrap()),
    ] {
        let found = all(&package(member, &data)).unwrap();
        let shown = format!("{found:?}");
        assert_eq!(found.len(), 3, "{shown}");
        assert!(
            matches!(&found[0], (path, Content::File(bytes)) if path == "lib/a.ko" && bytes == b"module")
        );
        assert!(
            matches!(&found[1], (path, Content::File(bytes)) if path == "c" && bytes.is_empty())
        );
        assert!(matches!(&found[2], (path, Content::Link(to)) if path == "lib/l" && to == "a.ko"));
    }
}

#[test]
fn what_is_no_package_is_told() {
    for (bytes, word) in [
        (b"".to_vec(), "no package"),
        (b"!<arch>\n".to_vec(), "no data"),
        (package("other", b""), "no data"),
        (package("data.tar.lzma", b""), "unknown"),
        (package("data.tar.xz", b"not xz"), "x.deb"),
        (package("data.tar.zst", b"not zstd"), "bearable"),
    ] {
        let error = all(&bytes).unwrap_err();
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
}

#[test]
fn a_broken_off_package_is_told() {
    let whole = package("data.tar", &tarball());
    for end in [100, 300, 700, 1200] {
        let error = all(&whole[..end]).unwrap_err();
        assert_eq!(error.blame(), crate::error::Blame::Corrupt, "{end}");
    }
}

#[test]
fn changed_bytes_end_in_an_answer() {
    let plain = package("data.tar", &tarball());
    let squeezed =
        package("data.tar.zst", &Codec::Zstandard(1).squeeze(&tarball(), Kind::Modules).unwrap());
    let xz = package("data.tar.xz", include_bytes!("tests/small.tar.xz"));
    assert_eq!(all(&xz).unwrap().len(), 2, "the sample is whole before it is changed");
    let mut state = 1_u32;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from(state >> 8).unwrap() % below
    };
    for good in [plain, squeezed, xz] {
        let (mut read, mut refused) = (0, 0);
        for _ in 0..4_000 {
            let mut bytes = good.clone();
            for _ in 0..=draw(3) {
                let at = draw(bytes.len());
                bytes[at] = u8::try_from(draw(256)).unwrap();
            }
            match all(&bytes) {
                Ok(_) => read += 1,
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 100 && read + refused == 4_000, "{read} {refused}");
    }
}
