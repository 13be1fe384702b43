//! Certificates are made, kept, and refused where they are damaged.

use std::os::unix::fs::PermissionsExt;

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lifeboat-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_machine_stays_who_it_is_and_only_its_owner_reads_the_key() {
    let folder = Folder::new("identity");
    let first = Identity::of_folder(&folder.0, "site-one").unwrap();
    let again = Identity::of_folder(&folder.0, "another name").unwrap();
    assert_eq!(first.fingerprint(), again.fingerprint());
    assert_eq!(first.fingerprint().len(), 95);
    let mode = fs::metadata(folder.0.join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let other = Identity::generate("site-one").unwrap();
    assert_ne!(first.fingerprint(), other.fingerprint());
    assert!(!format!("{first:?}").contains("key"));
}

#[test]
fn names_that_are_no_host_names_make_a_certificate_all_the_same() {
    for name in ["", "Das Büro", "-x", "a..b", &"a".repeat(300), "lifeboat", "Site-1.Example"] {
        Identity::generate(name).unwrap();
    }
}

#[test]
fn a_damaged_file_is_told_and_never_replaced() {
    let folder = Folder::new("damaged-identity");
    Identity::of_folder(&folder.0, "x").unwrap();
    let path = folder.0.join(FILE);
    let whole = fs::read_to_string(&path).unwrap();
    let (certificate, key) = whole.split_at(whole.find("-----BEGIN PRIVATE").unwrap());
    let another = Identity::generate("y").unwrap();
    let swapped = format!("{certificate}{}", pem("PRIVATE KEY", another.key()));
    for text in ["", "nonsense", certificate, key, &swapped, &whole[..whole.len() / 3]] {
        fs::write(&path, text).unwrap();
        let error = Identity::of_folder(&folder.0, "x").unwrap_err().to_string();
        assert!(error.contains("remove it"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}
