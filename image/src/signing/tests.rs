//! Keys are taken only as their owner keeps them, and programs that sign are checked.

use std::fs;

use super::*;

/// A folder of its own with development keys in it.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("lifeboat-signing-{name}-{}", std::process::id()));
    drop(fs::remove_dir_all(&folder));
    Keys::development(&folder).unwrap();
    folder
}

fn program(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn development_keys_are_made_once_and_say_so() {
    let folder = folder("once");
    let (one, two) = (Keys::development(&folder).unwrap(), Keys::read(&folder).unwrap());
    assert!(one.development && one.owners.is_some());
    assert_eq!(one.boot.certificate, two.boot.certificate);
    assert_eq!(one.boot.sign(b"x").unwrap(), two.boot.sign(b"x").unwrap());
    assert_eq!(one.release.sign(b"x").unwrap(), two.release.sign(b"x").unwrap());
    let words = b"Lifeboat development key (boot), not for production";
    assert!(one.boot.certificate.windows(words.len()).any(|window| window == words));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = folder("mode");
    for (name, mode) in [("boot", 0o640), ("release", 0o604), ("platform", 0o620)] {
        let key = folder.join(format!("{name}.key"));
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let error = Keys::read(&folder).unwrap_err().to_string();
        assert!(
            error.contains(&format!("mode {mode:o}")) && error.contains("chmod 600"),
            "{error}"
        );
        fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(Keys::read(&folder).is_ok());
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_key_and_a_certificate_of_different_people_are_refused() {
    let folder = folder("pair");
    fs::copy(folder.join("exchange.key"), folder.join("boot.key")).unwrap();
    let error = Keys::read(&folder).unwrap_err().to_string();
    assert!(error.contains("is not the certificate of the key beside it"), "{error}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_program_signs_as_the_key_does_and_a_wrong_signature_is_not_taken() {
    let folder = folder("program");
    let keys = Keys::read(&folder).unwrap();
    let expected = (keys.boot.sign(b"bytes").unwrap(), keys.release.sign(b"bytes").unwrap());
    for name in ["boot", "release"] {
        let secret = folder.join(format!("{name}.secret"));
        fs::rename(folder.join(format!("{name}.key")), &secret).unwrap();
    }
    let at = |name: &str| folder.join(name).display().to_string();
    program(
        &folder.join("boot.sign"),
        &format!("exec openssl dgst -sha256 -sign {}", at("boot.secret")),
    );
    // openssl signs files with Ed25519, and no stream.
    let (input, secret) = (at("input"), at("release.secret"));
    let script =
        format!("cat > {input}; exec openssl pkeyutl -sign -rawin -in {input} -inkey {secret}");
    program(&folder.join("release.sign"), &script);
    let keys = Keys::read(&folder).unwrap();
    assert_eq!(keys.boot.sign(b"bytes").unwrap(), expected.0);
    assert_eq!(keys.release.sign(b"bytes").unwrap(), expected.1);
    for (script, words) in [
        ("echo no", "no signature by the key"),
        ("exit 3", "ended with exit status: 3"),
        (
            &format!("exec openssl dgst -sha256 -sign {}", at("exchange.key")),
            "no signature by the key",
        ),
    ] {
        program(&folder.join("boot.sign"), script);
        let error = Keys::read(&folder).unwrap().boot.sign(b"bytes").unwrap_err().to_string();
        assert!(error.contains(words), "{script}: {error}");
    }
    fs::remove_dir_all(folder).unwrap();
}
