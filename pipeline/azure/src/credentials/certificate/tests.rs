//! The assertion that a certificate signs, checked by openssl, which knows nothing of this crate.

use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

/// A certificate of openssl's making, in a folder that goes with the test.
struct Made {
    folder: PathBuf,
}

impl Made {
    fn new(label: &str, key_options: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("lifeboat-{label}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let made = Self { folder };
        let mut arguments = vec!["req", "-x509", "-days", "2", "-subj", "/CN=lifeboat-test"];
        arguments.extend_from_slice(key_options);
        arguments.extend(["-keyout", "key.pem", "-out", "certificate.pem"]);
        made.openssl(&arguments);
        made
    }

    fn openssl(&self, arguments: &[&str]) -> String {
        let run = Command::new("openssl").args(arguments).current_dir(&self.folder).output();
        let run = run.expect("openssl is needed: apt-get install openssl");
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "openssl {arguments:?}: {said}");
        String::from_utf8_lossy(&run.stdout).into_owned()
    }

    fn both(&self) -> Vec<u8> {
        let read = |name: &str| std::fs::read(self.folder.join(name)).unwrap();
        [read("key.pem"), read("certificate.pem")].concat()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

#[test]
fn openssl_accepts_the_signature_and_the_claims_are_those_that_entra_wants() {
    let made = Made::new("assertion", &["-newkey", "rsa:2048", "-nodes"]);
    let certificate = ClientCertificate::from_pem(&made.both()).expect("a certificate");
    let audience = "https://login.example/tenant/oauth2/v2.0/token";
    let assertion = certificate.assertion(audience, "client", 1_795_351_475, [7; 16]).unwrap();
    let parts: Vec<&str> = assertion.expose().split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("not three parts") };
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let header_json: serde_json::Value = serde_json::from_slice(&decode(header)).unwrap();
    assert_eq!((&header_json["alg"], &header_json["typ"]), (&"PS256".into(), &"JWT".into()));
    let printed =
        made.openssl(&["x509", "-in", "certificate.pem", "-noout", "-sha256", "-fingerprint"]);
    let digits: String =
        printed.split('=').next_back().unwrap().chars().filter(char::is_ascii_hexdigit).collect();
    let ours = crate::encode::hex(&decode(header_json["x5t#S256"].as_str().unwrap()));
    assert_eq!(ours, digits.to_lowercase(), "the thumbprint");
    let claims_json: serde_json::Value = serde_json::from_slice(&decode(claims)).unwrap();
    assert_eq!(claims_json["aud"], audience);
    assert_eq!((&claims_json["iss"], &claims_json["sub"]), (&"client".into(), &"client".into()));
    assert_eq!(claims_json["exp"].as_u64().unwrap() - claims_json["nbf"].as_u64().unwrap(), 600);
    std::fs::write(made.folder.join("text"), format!("{header}.{claims}")).unwrap();
    std::fs::write(made.folder.join("signature"), decode(signature)).unwrap();
    made.openssl(&["x509", "-in", "certificate.pem", "-noout", "-pubkey", "-out", "public.pem"]);
    let said = made.openssl(&[
        "dgst",
        "-sha256",
        "-sigopt",
        "rsa_padding_mode:pss",
        "-sigopt",
        "rsa_pss_saltlen:32",
        "-verify",
        "public.pem",
        "-signature",
        "signature",
        "text",
    ]);
    assert!(said.contains("Verified OK"), "{said}");
}

#[test]
fn a_key_in_the_old_format_is_read_too() {
    let made = Made::new("old-format", &["-newkey", "rsa:2048", "-nodes"]);
    made.openssl(&["rsa", "-in", "key.pem", "-traditional", "-out", "key.pem"]);
    let pem = made.both();
    assert!(String::from_utf8_lossy(&pem).contains("BEGIN RSA PRIVATE KEY"));
    assert!(ClientCertificate::from_pem(&pem).is_ok());
}

#[test]
fn files_that_cannot_be_used_say_why() {
    let encrypted = Made::new("encrypted", &["-newkey", "rsa:2048", "-passout", "pass:x"]);
    let curve =
        Made::new("curve", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    let small = Made::new("small", &["-newkey", "rsa:1024", "-nodes"]);
    for (pem, reason) in [
        (encrypted.both(), "encrypted"),
        (curve.both(), "cannot be used"),
        (small.both(), "cannot be used"),
        (b"hello".to_vec(), "no certificate"),
        (vec![0xFF, 0xFE], "not PEM"),
    ] {
        let said = ClientCertificate::from_pem(&pem).expect_err(reason);
        assert!(said.contains(reason), "{said}");
    }
    let path = encrypted.folder.join("key.pem");
    let error = ClientCertificate::from_file(&path).expect_err("encrypted");
    assert!(error.to_string().contains("openssl pkcs12"), "{error}");
    assert!(error.to_string().contains("key.pem"), "{error}");
}
