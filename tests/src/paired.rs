//! The real `lifeboat serve`, paired with an administrator, with a token for each role: what is asked over its API is asked of it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::json;

use crate::curl::Curl;
use crate::program::{Place, checked, lifeboat};

const PASSWORD: &str = "a lifeboat holds everybody";

/// It. The vault has two points of the server `web1`.
pub struct Paired {
    /// Vault and key.
    pub place: Place,
    /// Where everything of it is; a file of each role's name holds a token of it.
    pub folder: PathBuf,
    /// Where it listens.
    pub address: String,
    /// What it shows.
    pub fingerprint: String,
    /// The process.
    pub serving: Child,
    /// The administrator's session.
    pub curl: Curl,
}

impl Paired {
    /// Starts it in a folder; `environment` is what it finds in its own.
    ///
    /// # Panics
    /// Where it does not come up.
    pub fn new(folder: &Path, environment: &[(&str, &str)]) -> Self {
        let place = Place::in_folder(folder);
        let image = folder.join("sda");
        for generation in 0..2_u32 {
            let text: Vec<u8> =
                (0..300_000_u32).flat_map(|at| (at / 64 + generation).to_le_bytes()).collect();
            fs::write(&image, text).expect("an image");
            let mut command = place.verb("protect");
            command.args(["--server", "web1"]).arg(&image);
            checked(command.output().expect("it starts"), "protect");
        }
        Self::over(place, folder, environment)
    }

    /// The same over a vault that is there.
    ///
    /// # Panics
    /// Where it does not come up.
    pub fn over(place: Place, folder: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = place.verb("serve");
        command.args(["-vvv", "--listen", "127.0.0.1:0", "--state"]).arg(folder.join("served"));
        // All that it can say: beside the rest, for whoever looks for what it should not have said.
        let log = fs::File::create(folder.join("serve.log")).expect("a file");
        // Nothing of whoever runs the tests reaches Azure by mistake.
        command
            .env("AZURE_TENANT_ID", "")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut serving = command.spawn().expect("it starts");
        let mut lines =
            BufReader::new(serving.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let (mut address, mut fingerprint, mut code) =
            (String::new(), String::new(), String::new());
        for line in lines.by_ref() {
            let behind = |begin: &str| line.strip_prefix(begin).map(|rest| rest.trim().to_owned());
            address = behind("Serving https://")
                .map_or(address, |rest| rest.trim_end_matches('/').to_owned());
            fingerprint = behind("Certificate: SHA-256 ").unwrap_or(fingerprint);
            code = behind("Pairing code: ")
                .map_or(code, |rest| rest.split(' ').next().unwrap_or_default().to_owned());
            if line.starts_with("Stop it") {
                break;
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        let mut curl = Curl::new(&format!("https://{address}"));
        curl.begin("/setup/pair", &json!({"code": code, "name": "ada", "password": PASSWORD}));
        let bed = Self { place, folder: folder.to_owned(), address, fingerprint, serving, curl };
        for role in ["viewer", "operator", "administrator"] {
            let made = bed.curl.change("POST", "/tokens", &json!({"name": role, "role": role}));
            fs::write(bed.folder.join(role), made["token"].as_str().expect("a token"))
                .expect("a file");
        }
        bed
    }

    /// The command line against it, with a role's token.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn remote(&self, role: &str, words: &[&str]) -> Output {
        self.command(role, &self.address, Some(&self.fingerprint), words)
            .output()
            .expect("it starts")
    }

    /// The same, not started: at this address, and with this fingerprint.
    pub fn command(
        &self,
        role: &str,
        address: &str,
        fingerprint: Option<&str>,
        words: &[&str],
    ) -> Command {
        let mut command = Command::new(lifeboat());
        command
            .args(["--remote", &format!("https://{address}"), "--token-file"])
            .arg(self.folder.join(role));
        if let Some(fingerprint) = fingerprint {
            command.args(["--fingerprint", fingerprint]);
        }
        command
            .arg("--quiet")
            .args(words)
            .env_remove("LIFEBOAT_REMOTE")
            .env_remove("LIFEBOAT_TOKEN");
        command
    }

    /// The same verb at home.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn home(&self, words: &[&str], with_vault: bool) -> Output {
        let mut command = self.place.bare();
        command.args(words).env("AZURE_TENANT_ID", "");
        if with_vault {
            command.args(["--vault", &self.place.vault, "--key-file"]).arg(&self.place.key);
        }
        if words.starts_with(&["server", "list"]) {
            command.arg("--state").arg(self.folder.join("served"));
        }
        command.output().expect("it starts")
    }
}

impl Drop for Paired {
    fn drop(&mut self) {
        let _ = self.serving.kill();
        let _ = self.serving.wait();
    }
}
