//! Certificates for one test: a CA of its own, a server's certificate by it, and a client's for an identity.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Scratch, TlsFiles, run};

/// Files that openssl made; they go with the test.
#[derive(Debug)]
pub struct Certificates {
    folder: Scratch,
}

impl Certificates {
    /// Makes them all, the server's for these names besides loopback's.
    pub fn make(names: &[&str]) -> Result<Self, String> {
        let made = Self { folder: Scratch::new("certificates")? };
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<String>>();
        let openssl = |text: &str| made.openssl(&words(text)).map(drop);
        openssl(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=lifeboat-tests \
             -addext keyUsage=critical,keyCertSign -keyout ca.key -out ca.pem",
        )?;
        let mut extensions = "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n\
            subjectAltName=DNS:localhost,IP:127.0.0.1"
            .to_owned();
        names.iter().for_each(|name| extensions.push_str(&format!(",DNS:{name}")));
        fs::write(made.path("server.ext"), extensions).map_err(|error| error.to_string())?;
        openssl("req -newkey rsa:2048 -nodes -subj /CN=server -keyout server.key -out server.csr")?;
        openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile server.ext -out server.pem",
        )?;
        openssl(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=client \
             -keyout client.key -out client.crt",
        )?;
        let read = |name: &str| fs::read(made.path(name)).map_err(|error| error.to_string());
        let both = [read("client.key")?, read("client.crt")?].concat();
        fs::write(made.path("client.pem"), both).map_err(|error| error.to_string())?;
        Ok(made)
    }

    /// One more server's certificate, for this name: by a CA that nobody trusts where its name is given, else by the one to
    /// trust. It ends after so many days, which may have passed.
    pub fn another(
        &self,
        name: &str,
        stranger: Option<&str>,
        days: i32,
    ) -> Result<TlsFiles, String> {
        let file = |kind: &str| format!("{name}.{kind}");
        let (mut ca, mut ca_key) = ("ca.pem".to_owned(), "ca.key".to_owned());
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<String>>();
        if let Some(stranger) = stranger {
            (ca, ca_key) = (file("ca.pem"), file("ca.key"));
            let mut make = words("req -x509 -newkey rsa:2048 -nodes -days 2 -subj");
            make.extend([format!("/CN={stranger}"), "-keyout".to_owned(), ca_key.clone()]);
            make.extend(["-out".to_owned(), ca.clone()]);
            self.openssl(&make)?;
        }
        let extensions = format!("extendedKeyUsage=serverAuth\nsubjectAltName=DNS:{name}");
        fs::write(self.path(&file("ext")), extensions).map_err(|error| error.to_string())?;
        self.openssl(&words(&format!(
            "req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        )))?;
        self.openssl(&words(&format!(
            "x509 -req -in {name}.csr -CA {ca} -CAkey {ca_key} -CAcreateserial -days {days} \
             -extfile {name}.ext -out {name}.pem"
        )))?;
        Ok(TlsFiles { certificate: self.path(&file("pem")), key: self.path(&file("key")) })
    }

    /// The CA to trust.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The server's certificate and key.
    pub fn server(&self) -> TlsFiles {
        TlsFiles { certificate: self.path("server.pem"), key: self.path("server.key") }
    }

    /// The client's certificate and key in one file.
    pub fn client(&self) -> PathBuf {
        self.path("client.pem")
    }

    /// Whether openssl takes this as the client's PS256 signature under the text.
    pub fn client_signed(&self, text: &[u8], signature: &[u8]) -> bool {
        // One folder per check: checks run in parallel.
        let check = || -> Result<String, String> {
            let scratch = Scratch::new("signature")?;
            let file = |name: &str, bytes: &[u8]| {
                let path = scratch.path().join(name);
                fs::write(&path, bytes).map(|()| path).map_err(|error| error.to_string())
            };
            let (text, signature) = (file("text", text)?, file("signature", signature)?);
            let public = self.openssl(&["x509", "-in", "client.crt", "-noout", "-pubkey"])?;
            let public = file("public.pem", public.as_bytes())?;
            let shown = |path: &Path| path.display().to_string();
            self.openssl(&[
                "dgst",
                "-sha256",
                "-sigopt",
                "rsa_padding_mode:pss",
                "-sigopt",
                "rsa_pss_saltlen:32",
                "-verify",
                &shown(&public),
                "-signature",
                &shown(&signature),
                &shown(&text),
            ])
        };
        check().is_ok_and(|said| said.contains("Verified OK"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn openssl<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String, String> {
        run(Command::new("openssl").args(arguments).current_dir(self.folder.path()))
    }
}
