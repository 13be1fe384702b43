//! The archive is what the format says, byte by byte, and the same each time.

use super::*;

#[test]
fn an_entry_is_laid_out_as_the_kernel_reads_it() {
    let mut archive = Cpio::new();
    archive.file("/a/b", b"hello").unwrap();
    let bytes = archive.end().unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let folder = "070701\
        00000001000041ED000000000000000000000002000000000000000000000000000000000000000000000000\
        0000000200000000a\0";
    assert!(text.starts_with(folder), "{text:?}");
    let file = "070701\
        00000002000081A4000000000000000000000001000000000000000500000000000000000000000000000000\
        0000000400000000a/b\0";
    let at = text.find(file).unwrap();
    assert!(at.is_multiple_of(4));
    let contents = (at + file.len()).next_multiple_of(4);
    assert_eq!(&bytes[contents..contents + 8], b"hello\0\0\0");
    assert!(text.contains("TRAILER!!!\0") && bytes.len().is_multiple_of(BLOCK));
}

#[test]
fn folders_are_made_once_and_before_what_is_in_them() {
    let mut archive = Cpio::new();
    archive.folder("/lib/modules").unwrap();
    archive.file("/lib/modules/a.ko", b"").unwrap();
    archive.program("/init", b"").unwrap();
    archive.device("/dev/console", 5, 1).unwrap();
    let bytes = archive.end().unwrap();
    let text = String::from_utf8_lossy(&bytes);
    for name in ["lib\0", "lib/modules\0", "lib/modules/a.ko\0", "init\0", "dev\0", "dev/console\0"]
    {
        assert_eq!(text.matches(&format!("0{name}")).count(), 1, "{name}");
    }
    assert!(text.find("0lib\0") < text.find("0lib/modules\0"));
}

#[test]
fn a_name_that_no_kernel_takes_is_refused() {
    let mut archive = Cpio::new();
    assert!(archive.file(&"x".repeat(NAME_BYTES_MAX), b"").is_err());
}
