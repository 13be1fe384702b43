//! What cannot be provoked from outside; the rest is in `tests/`.

use rustix::io::Errno;

use super::*;

#[test]
fn a_failed_flush_stays_failed_on_every_handle() {
    let path = std::env::temp_dir().join(format!("hal-flush-{}.img", std::process::id()));
    let disk = LinuxDisk::create(&path, 65_536).unwrap();
    std::fs::remove_file(&path).unwrap();
    let mut other = disk.another().unwrap();
    let flush =
        || Request { token: 1, operation: Operation::Flush, offset: 0, length: 0, buffer: None };
    other.run(flush()).unwrap().result.unwrap();
    // The medium fails once, and the kernel would answer the next flush with success.
    let failed = disk.opened.flushed(Err(Errno::IO)).unwrap_err();
    assert_eq!((failed.kind, failed.code), (ErrorKind::Medium, Errno::IO.raw_os_error()));
    let error = other.run(flush()).unwrap().result.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Medium);
    assert!(error.to_string().contains("an earlier flush failed"), "{error}");
    let mut third = disk.another().unwrap();
    third.run(flush()).unwrap().result.unwrap_err();
}

#[test]
fn handles_move_between_threads() {
    fn moves<T: Send>() {}
    moves::<LinuxDisk>();
    moves::<AlignedBuffer>();
}
