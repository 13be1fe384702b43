//! Everything that helps whoever helps: a tar, packed by gzip, of what the appliance tells of itself.
//!
//! It is put together of views, which hold no secret by their shapes; and of texts that a person or a program wrote, such as a
//! profile or a trouble, everything is blotted out that this machine knows as a secret.

use firmware_web::api::site::Answer;
use serde::Serialize;
use zeroize::Zeroizing;

use super::facts::Vaulted;
use super::{LiveSite, packed};
use crate::report::Utc;

/// What stands where a secret stood.
const BLOT: &str = "[secret]";
/// Shorter texts are no secrets, and would blot out words.
const SECRET_BYTES_MIN: usize = 6;
/// Largest key file.
const KEY_BYTES_MAX: u64 = 64 * 1024;
/// Settings whose values are secrets, by what is in their names.
const SECRET_NAMES: [&str; 8] =
    ["KEY", "SECRET", "TOKEN", "PASS", "CONNECTION_STRING", "SIGNATURE", "CREDENTIAL", "PROXY"];

impl LiveSite {
    pub(super) fn pack_bundle(&self) -> Answer<Vec<u8>> {
        let vaulted = (self.facts.vault)();
        let secrets = vaulted.as_ref().map(secrets_of).unwrap_or_default();
        let mut tar = Tar { bytes: Vec::new(), secrets, at_millis: self.now() };
        let about = format!(
            "Lifeboat {}, {} {:?}, packed {}.\nNames of servers, disks and people are in here; keys, passwords and tokens are not.\n",
            env!("CARGO_PKG_VERSION"),
            self.facts.role,
            self.facts.name,
            Utc(self.now())
        );
        tar.add("about.txt", &about);
        tar.add_json("overview.json", &*self.overview_now());
        tar.add_json("appliance.json", &self.appliance_view());
        tar.add_json("vault.json", &self.vault_view().ok());
        tar.add_json("jobs.json", &self.jobs.list());
        tar.add_json("events.json", &self.facts.events.all());
        let orders = self.order_views().unwrap_or_default().into_iter().map(|mut order| {
            order.screenshot = None;
            order
        });
        tar.add_json("orders.json", &orders.collect::<Vec<_>>());
        tar.add_json("plans.json", &self.plan_views().ok());
        let sight = self.sight();
        let servers: Vec<_> =
            sight.servers.keys().filter_map(|name| self.server_view(name).ok()).collect();
        tar.add_json("servers.json", &servers);
        tar.add_json("settings.json", &vaulted.map(|vaulted| settings_of(&vaulted)));
        for file in ["version", "meminfo", "mounts", "loadavg", "uptime", "diskstats"] {
            let text = std::fs::read_to_string(format!("/proc/{file}")).unwrap_or_default();
            tar.add(&format!("kernel/{file}"), &text);
        }
        Ok(packed::gzip(&tar.end()))
    }
}

/// Which settings there are; what they are only where that is no secret.
fn settings_of(vaulted: &Vaulted) -> Vec<(String, String)> {
    let shown = |(name, value): &(String, String)| {
        let ours = name.starts_with("LIFEBOAT_") || name.starts_with("AZURE_") || is_secret(name);
        let value = if is_secret(name) { BLOT } else { value.as_str() };
        ours.then(|| (name.clone(), value.to_owned()))
    };
    vaulted.environment.iter().filter_map(shown).collect()
}

fn is_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    SECRET_NAMES.iter().any(|part| upper.contains(part))
}

/// Every text of this machine that opens something.
fn secrets_of(vaulted: &Vaulted) -> Vec<Zeroizing<String>> {
    let mut secrets: Vec<Zeroizing<String>> = vaulted
        .environment
        .iter()
        .filter(|(name, _)| is_secret(name))
        .map(|(_, value)| Zeroizing::new(value.clone()))
        .collect();
    let files = [Some(&vaulted.opening.key_file), vaulted.opening.passphrase_file.as_ref()];
    for path in files.into_iter().flatten() {
        let small = std::fs::metadata(path).is_ok_and(|facts| facts.len() <= KEY_BYTES_MAX);
        let text =
            if small { std::fs::read_to_string(path).unwrap_or_default() } else { String::new() };
        let text = Zeroizing::new(text);
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with("---") && !line.contains(": "));
        secrets.extend(lines.map(|line| Zeroizing::new(line.to_owned())));
    }
    // Parts of connection strings and signatures are secrets by themselves.
    let parts: Vec<Zeroizing<String>> = secrets
        .iter()
        .flat_map(|secret| secret.split([';', '&', '?']))
        .filter_map(|part| part.split_once('='))
        .filter(|(name, _)| name.eq_ignore_ascii_case("sig") || is_secret(name))
        .map(|(_, value)| Zeroizing::new(value.to_owned()))
        .collect();
    secrets.extend(parts);
    secrets.retain(|secret| secret.len() >= SECRET_BYTES_MIN);
    // The longest first: a part must not spoil the whole.
    secrets.sort_by_key(|secret| core::cmp::Reverse(secret.len()));
    secrets
}

/// An archive in the form of POSIX (ustar).
struct Tar {
    bytes: Vec<u8>,
    secrets: Vec<Zeroizing<String>>,
    at_millis: u64,
}

impl Tar {
    fn add_json(&mut self, name: &str, value: &impl Serialize) {
        let text = serde_json::to_string_pretty(value).unwrap_or_else(|error| error.to_string());
        self.add(name, &text);
    }

    fn add(&mut self, name: &str, text: &str) {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), BLOT);
            }
        }
        let name = format!("lifeboat/{name}");
        let mut head = [0; 512];
        put(&mut head, 0, name.as_bytes());
        put(&mut head, 100, b"0000644\0");
        put(&mut head, 108, b"0000000\0");
        put(&mut head, 116, b"0000000\0");
        put(&mut head, 124, format!("{:011o}\0", text.len()).as_bytes());
        put(&mut head, 136, format!("{:011o}\0", self.at_millis / 1000).as_bytes());
        put(&mut head, 148, b"        ");
        put(&mut head, 156, b"0");
        put(&mut head, 257, b"ustar\x0000");
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        put(&mut head, 148, format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend(head);
        self.bytes.extend(text.as_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }
}

/// Puts bytes into a head at a place; what is too long loses its end.
fn put(head: &mut [u8; 512], at: usize, bytes: &[u8]) {
    let end = (at + bytes.len()).min(head.len());
    head[at..end].copy_from_slice(&bytes[..end - at]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Machine;

    #[test]
    fn secrets_of_a_machine_are_blotted_out_and_gnu_tar_reads_the_rest() {
        let folder = std::env::temp_dir().join(format!("bundle-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let key_file = folder.join("vault.key");
        std::fs::write(&key_file, "-----BEGIN KEY-----\nABCDE-FGHIJ\n-----END KEY-----\n").unwrap();
        let environment = vec![
            (
                "AZURE_STORAGE_CONNECTION_STRING".to_owned(),
                "AccountName=me;AccountKey=bm90IGZvciB5b3U=".to_owned(),
            ),
            ("LIFEBOAT_STATE".to_owned(), "/var/lib/lifeboat".to_owned()),
            ("HOME".to_owned(), "/root".to_owned()),
        ];
        let vaulted = Vaulted {
            opening: crate::cli::Opening {
                vault: "dir:/srv/vault".parse().unwrap(),
                key_file,
                passphrase_file: None,
                older_key: false,
            },
            machine: Machine::with_table(Vec::new()),
            environment,
            shown: "dir:/srv/vault".to_owned(),
        };
        let mut tar =
            Tar { bytes: Vec::new(), secrets: secrets_of(&vaulted), at_millis: 1_767_225_600_000 };
        tar.add("a.txt", "a trouble that says ABCDE-FGHIJ and bm90IGZvciB5b3U= by mistake");
        tar.add_json("settings.json", &settings_of(&vaulted));
        let file = folder.join("bundle.tar.gz");
        std::fs::write(&file, packed::gzip(&tar.end())).unwrap();
        let run = |arguments: &[&str]| {
            let output = std::process::Command::new("tar")
                .args(arguments)
                .arg("-f")
                .arg(&file)
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(run(&["-tz"]), "lifeboat/a.txt\nlifeboat/settings.json\n");
        let all = run(&["-xzO"]);
        assert!(!all.contains("FGHIJ") && !all.contains("bm90") && all.contains(BLOT), "{all}");
        assert!(all.contains("/var/lib/lifeboat") && !all.contains("/root"), "{all}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
