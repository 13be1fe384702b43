//! What an errno means for a disk: the kind, and words that say whose fault it is and what helps.

use hal::disk::{DiskError, ErrorKind};
use rustix::io::Errno;

/// Letters of a path kept in an error: its end, which tells more than its start.
const PATH_LETTERS_MAX: usize = 48;

/// The error of a failed call: `doing` is what was tried ("reading"), `path` what on.
pub(crate) fn error(errno: Errno, doing: &str, path: &str) -> DiskError {
    let (kind, cause) = meaning(errno);
    failed(kind, cause, doing, path).code(errno.raw_os_error())
}

/// An error of our own finding, in the same form.
pub(crate) fn failed(kind: ErrorKind, cause: &str, doing: &str, path: &str) -> DiskError {
    let letters = path.chars().count();
    let kept: String = path.chars().skip(letters.saturating_sub(PATH_LETTERS_MAX)).collect();
    let dots = if letters > PATH_LETTERS_MAX { "…" } else { "" };
    DiskError::words(kind, format_args!("{doing} {dots}{kept}: {cause}"))
}

fn meaning(errno: Errno) -> (ErrorKind, &'static str) {
    match errno {
        Errno::INVAL => (ErrorKind::Misuse, "the system takes no such request"),
        Errno::NODEV | Errno::NXIO | Errno::NOLINK => {
            (ErrorKind::Gone, "the device is gone; check its power and cables")
        }
        Errno::NOMEDIUM => (ErrorKind::Gone, "no medium in the drive"),
        Errno::NOENT | Errno::NOTDIR => (ErrorKind::Gone, "no such disk or image file"),
        Errno::NOSPC => (ErrorKind::Full, "no space left; free some and try again"),
        Errno::DQUOT => (ErrorKind::Full, "the disk quota is used up"),
        Errno::FBIG => (ErrorKind::Full, "the file system takes no file this large"),
        Errno::BUSY | Errno::TXTBSY => {
            (ErrorKind::Refused, "in use: mounted, swap, or held by LVM, md or a program")
        }
        Errno::ACCESS | Errno::PERM => (ErrorKind::Refused, "not permitted; run as root"),
        Errno::ROFS => (ErrorKind::Refused, "read-only or write-protected"),
        Errno::EXIST => (ErrorKind::Refused, "exists already"),
        Errno::LOOP => (ErrorKind::Refused, "too many symbolic links"),
        Errno::ISDIR => (ErrorKind::Refused, "a directory, not a disk or image file"),
        Errno::BADE => (ErrorKind::Refused, "another machine has reserved this disk"),
        Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOTTY => {
            (ErrorKind::Unsupported, "this disk cannot do that")
        }
        Errno::NOMEM | Errno::NOBUFS => (ErrorKind::Exhausted, "out of memory"),
        Errno::MFILE | Errno::NFILE => (ErrorKind::Exhausted, "too many open files"),
        Errno::AGAIN => (ErrorKind::Exhausted, "the system is short of resources; try again"),
        _ => (ErrorKind::Medium, "the medium failed; check the disk and its cables"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errno_is_sorted_by_blame() {
        for (errno, kind) in [
            (Errno::IO, ErrorKind::Medium),
            (Errno::NODATA, ErrorKind::Medium),
            (Errno::ILSEQ, ErrorKind::Medium),
            (Errno::TIMEDOUT, ErrorKind::Medium),
            (Errno::NODEV, ErrorKind::Gone),
            (Errno::NXIO, ErrorKind::Gone),
            (Errno::NOMEDIUM, ErrorKind::Gone),
            (Errno::NOENT, ErrorKind::Gone),
            (Errno::NOSPC, ErrorKind::Full),
            (Errno::DQUOT, ErrorKind::Full),
            (Errno::ROFS, ErrorKind::Refused),
            (Errno::PERM, ErrorKind::Refused),
            (Errno::ACCESS, ErrorKind::Refused),
            (Errno::BUSY, ErrorKind::Refused),
            (Errno::INVAL, ErrorKind::Misuse),
            (Errno::OPNOTSUPP, ErrorKind::Unsupported),
            (Errno::NOMEM, ErrorKind::Exhausted),
        ] {
            let error = error(errno, "reading", "/dev/sdz");
            assert_eq!(error.kind, kind, "{errno:?}");
            assert_eq!(error.code, errno.raw_os_error());
            assert!(error.to_string().starts_with("reading /dev/sdz: "), "{error}");
        }
    }

    #[test]
    fn the_end_of_a_long_path_and_the_cause_are_kept() {
        let path = format!("/{}/disk7.img", "very-long-folder/".repeat(40));
        let text = error(Errno::NOSPC, "flushing", &path).to_string();
        assert!(text.contains("disk7.img: no space left; free some and try again"), "{text}");
    }
}
