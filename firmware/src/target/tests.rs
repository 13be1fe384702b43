//! Targets before, during and after a restore that works, fails or is cut short.

use super::*;

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("lifeboat-target-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn touch(target: &Target) {
    let mut disk = target.disk().unwrap();
    let request =
        Request { token: 0, operation: Operation::Zero, offset: 0, length: 4096, buffer: None };
    disk.run(request).unwrap().result.unwrap();
}

fn failure() -> Error {
    Error::corrupt("segment", "is missing")
}

#[test]
fn a_new_file_gets_its_name_when_it_is_whole() {
    let folder = Folder::new("new");
    let to = folder.0.join("a.img");
    let target = Target::open(&to, None, 65_536).unwrap();
    assert!(!target.compare());
    assert_eq!(folder.names(), ["a.img.lifeboat-part"]);
    touch(&target);
    target.finish().unwrap();
    assert_eq!(folder.names(), ["a.img"]);
    assert_eq!(fs::metadata(&to).unwrap().len(), 65_536);
}

#[test]
fn a_failure_before_the_first_write_leaves_everything_as_it_was() {
    let folder = Folder::new("untouched");
    let to = folder.0.join("a.img");
    let error = Target::open(&to, None, 65_536).unwrap().give_up(failure());
    assert_eq!(error, failure());
    assert_eq!(folder.names(), [""; 0]);
    fs::write(&to, vec![7; 65_536]).unwrap();
    let target = Target::open(&to, None, 65_536).unwrap();
    assert!(target.compare());
    assert_eq!(folder.names(), ["a.img.lifeboat-part"]);
    let _ = target.give_up(failure());
    assert_eq!(folder.names(), ["a.img"]);
    assert_eq!(fs::read(&to).unwrap(), vec![7; 65_536]);
}

#[test]
fn a_failure_midway_leaves_a_part_that_the_next_run_goes_on_with() {
    let folder = Folder::new("midway");
    let to = folder.0.join("a.img");
    fs::write(&to, vec![7; 65_536]).unwrap();
    let target = Target::open(&to, None, 65_536).unwrap();
    touch(&target);
    let error = target.give_up(failure()).to_string();
    assert!(
        error.contains("a.img.lifeboat-part") && error.contains("run the same again"),
        "{error}"
    );
    assert_eq!(folder.names(), ["a.img.lifeboat-part"]);
    let target = Target::open(&to, None, 65_536).unwrap();
    assert!(target.compare());
    target.finish().unwrap();
    assert_eq!(folder.names(), ["a.img"]);
}

#[test]
fn a_part_and_its_file_together_are_for_a_person_to_sort_out() {
    let folder = Folder::new("both");
    let to = folder.0.join("a.img");
    fs::write(&to, b"x").unwrap();
    fs::write(part_of(&to), b"y").unwrap();
    assert!(Target::open(&to, None, 1).unwrap_err().to_string().contains("remove one of the two"));
    assert_eq!(folder.names(), ["a.img", "a.img.lifeboat-part"]);
}

#[test]
fn a_second_restore_of_the_same_file_is_kept_away() {
    let folder = Folder::new("twice");
    let to = folder.0.join("a.img");
    let first = Target::open(&to, None, 65_536).unwrap();
    let error = Target::open(&to, None, 65_536).unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
    first.finish().unwrap();
}

#[test]
fn what_is_no_disk_is_refused() {
    let folder = Folder::new("odd");
    assert!(Target::open(&folder.0, None, 1).is_err());
    assert!(Target::open(Path::new("/dev/null"), None, 1).is_err());
    assert!(Target::open(&folder.0.join("none/a.img"), None, 1).is_err());
    let error = Target::open(&folder.0.join("a"), Some(Path::new("/dev/sdz")), 1).unwrap_err();
    assert!(error.to_string().contains("--confirm"), "{error}");
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn a_link_stays_a_link() {
    let folder = Folder::new("link");
    let (file, link) = (folder.0.join("a.img"), folder.0.join("link"));
    fs::write(&file, vec![1; 65_536]).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let target = Target::open(&link, None, 65_536).unwrap();
    touch(&target);
    target.finish().unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&link).unwrap()[..4096], vec![0; 4096]);
}
