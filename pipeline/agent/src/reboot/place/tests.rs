//! The file by itself; what it is on a device is seen in a machine, in `tests/tests/restart.rs`.

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("lifeboat-place-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_prepared_says_nothing_and_is_made_void_where_it_lies() {
    let folder = Folder::new("prepared");
    let place = Place::at(folder.0.join("marks"));
    assert_eq!(place.read(), Ok(None));
    place.prepare(10_000).unwrap();
    assert_eq!(place.read(), Ok(None));
    let found = fs::metadata(folder.0.join("marks")).unwrap();
    assert_eq!((found.len(), found.mode() & 0o777), (4 * PAGE as u64, 0o600));
    let body = b"what was marked".to_vec();
    let mut padded = body.clone();
    padded.resize(PAGE, 0);
    let file = OpenOptions::new().write(true).open(folder.0.join("marks")).unwrap();
    file.write_all_at(&[head_of(&body), padded].concat(), 0).unwrap();
    assert_eq!(place.read(), Ok(Some(body)));
    place.prepare(10_000).unwrap();
    assert_eq!(place.read(), Ok(None), "it is believed once");
    let again = fs::metadata(folder.0.join("marks")).unwrap();
    assert_eq!(again.ino(), found.ino());
    // More disks need more room.
    place.prepare(100_000).unwrap();
    assert!(fs::metadata(folder.0.join("marks")).unwrap().len() > 100_000);
    assert!(place.prepare(BYTES_MAX).unwrap_err().contains("too large"));
}

#[test]
fn a_torn_or_changed_save_is_none() {
    let body: Vec<u8> = (0..9000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let whole = [head_of(&body), body.clone()].concat();
    assert_eq!(parse(&whole), Ok(Some(body)));
    for at in (0..whole.len()).step_by(97).chain(0..SUM_BYTES + 16) {
        // Behind its words the head is empty.
        if (SUM_BYTES + 16..PAGE).contains(&at) {
            continue;
        }
        let mut bad = whole.clone();
        bad[at] ^= 1;
        assert!(parse(&bad).is_err(), "byte {at}");
    }
    for length in [0, 7, 48, PAGE, PAGE + 1, whole.len() - 1] {
        assert!(parse(&whole[..length]).is_err(), "{length}");
    }
    // The head is written last: where it is a stamp still, nothing was saved.
    let mut half = whole;
    half[..PAGE].copy_from_slice(&stamp_of(0, &[7; NONCE_BYTES]));
    assert_eq!(parse(&half), Ok(None));
}

#[test]
fn nothing_is_opened_where_its_file_system_may_still_write() {
    let folder = Folder::new("open");
    let place = Place::at(folder.0.join("marks"));
    assert!(place.open().is_err());
    place.prepare(1).unwrap();
    assert!(place.open().is_err(), "the tests' own file system takes writes");
}
