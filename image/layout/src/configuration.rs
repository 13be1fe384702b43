//! `lifeboat.toml`: the optional file in the ESP's root, by which a stick works without anybody at the console.
//!
//! ```toml
//! role = "capture"                      # appliance, capture or recover
//! name = "site-one"                     # what the console calls the machine
//! advertise = ["203.0.113.7"]           # where servers find it, where addresses are translated on the way: before its own
//!
//! [vault]
//! address = "azure://account/container"
//! server = "web1"                       # whose disks these are
//! recovery-key = "…"                    # as printed when the vault was made
//! token = "…"                           # the credential; a SAS here
//!
//! [appliance]                           # capture through an appliance instead: it has the vault, and no key is needed here
//! token = "…"                           # as lifeboat server token made it; good once, and remembered on the medium
//! server = "web1"                       # what the machine is to be called, unless the token says so
//!
//! [spool]
//! disk = "S3YKNX0M"                     # serial number, WWN or name; formatted only when that is typed at the console
//!
//! [hardening]
//! lock-modules = true                   # half a minute after the last device came, no driver is loaded any more
//!
//! [network]                             # see the network's own description
//! ```
//!
//! The network's shape belongs to the hardware layer, which this crate does not name: who reads the file says which
//! type stands there.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::command_line::Role;

/// Largest file that is read.
pub const BYTES_MAX: usize = 64 * 1024;

/// The file's contents; `N` is the network's part.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Configuration<N> {
    /// What the machine is to be; the console asks where it is missing.
    pub role: Option<Role>,
    /// What the console calls the machine.
    pub name: Option<String>,
    /// Addresses by which servers find an appliance that does not have them itself: the ports behind them are the same.
    #[serde(default)]
    pub advertise: Vec<IpAddr>,
    /// Where recovery points go to, or come from.
    pub vault: Option<Vault>,
    /// The appliance that a captured machine's disks go through.
    pub appliance: Option<Appliance>,
    /// Where what the vault does not have yet is kept.
    pub spool: Option<Spool>,
    /// How much the machine forbids itself.
    #[serde(default)]
    pub hardening: Hardening,
    /// Addresses, routes, names; DHCP on every link where it is missing.
    pub network: Option<N>,
}

/// What a machine forbids itself beyond what every machine does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Hardening {
    /// No driver is loaded any more, once the machine is up and its devices are there: what is plugged in later does not work
    /// where nothing like it was there.
    pub lock_modules: bool,
}

/// The disk for what sources sent and the vault does not have yet.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Spool {
    /// Its serial number, its WWN, or what the system calls it.
    pub disk: String,
}

/// Where the vault is and how it opens.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Vault {
    /// `azure://ACCOUNT/CONTAINER`, or `dir:PATH`.
    pub address: String,
    /// Whose disks are protected or brought back.
    pub server: Option<String>,
    /// The recovery key.
    pub recovery_key: Option<String>,
    /// The credential of the storage: a shared access signature, an account key or a connection string.
    pub token: Option<String>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |secret: &Option<String>| secret.as_ref().map(|_| "(hidden)");
        f.debug_struct("Vault")
            .field("address", &self.address)
            .field("server", &self.server)
            .field("recovery_key", &told(&self.recovery_key))
            .field("token", &told(&self.token))
            .finish()
    }
}

/// How a captured machine becomes a server of an appliance.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Appliance {
    /// The token that lets one machine in, once.
    pub token: String,
    /// What the machine is to be called.
    pub server: Option<String>,
}

impl fmt::Debug for Appliance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appliance")
            .field("token", &"(hidden)")
            .field("server", &self.server)
            .finish()
    }
}

/// Why a `lifeboat.toml` cannot be used, in words for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigurationError(String);

impl fmt::Display for ConfigurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for ConfigurationError {}

impl<N: DeserializeOwned> Configuration<N> {
    /// Reads the file's bytes. Nothing of the file is used where any of it is wrong: half a configuration could
    /// protect the wrong thing.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigurationError> {
        if bytes.len() > BYTES_MAX {
            return Err(ConfigurationError(format!(
                "lifeboat.toml: {} bytes, more than {BYTES_MAX}; is it the right file?",
                bytes.len()
            )));
        }
        let text = core::str::from_utf8(bytes).map_err(|error| {
            ConfigurationError(format!(
                "lifeboat.toml: not UTF-8 at byte {}; save it as plain text",
                error.valid_up_to()
            ))
        })?;
        // Editors of another system put a mark in front.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| {
                text.bytes().take(span.start).filter(|&byte| byte == b'\n').count() + 1
            });
            // The message alone: the whole error shows the line, and a secret may stand in it.
            let what = error.message().lines().next().unwrap_or_default().to_owned();
            let place = if line == 0 { "".to_owned() } else { format!(" line {line}") };
            ConfigurationError(format!("lifeboat.toml{place}: {what}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Network {
        mtu: u16,
    }

    const WHOLE: &str = "role = \"capture\"\nname = \"site\"\nadvertise = [\"203.0.113.7\", \"2001:db8::7\"]\n[vault]\naddress = \"azure://a/b\"\n\
        server = \"web1\"\nrecovery-key = \"sesame-open\"\ntoken = \"sv=very-secret\"\n[appliance]\ntoken = \"0LFB-secret\"\nserver = \"web2\"\n[spool]\ndisk = \"S1\"\n[network]\nmtu = 1500\n";

    #[test]
    fn a_whole_file_is_read() {
        let read: Configuration<Network> = Configuration::parse(WHOLE.as_bytes()).unwrap();
        assert_eq!(read.role, Some(Role::Capture));
        let advertised: [IpAddr; 2] =
            ["203.0.113.7", "2001:db8::7"].map(|address| address.parse().unwrap());
        assert_eq!(read.advertise, advertised);
        assert_eq!(read.network, Some(Network { mtu: 1500 }));
        assert_eq!(read.spool, Some(Spool { disk: "S1".into() }));
        let appliance = read.appliance.unwrap();
        assert_eq!(appliance.token, "0LFB-secret");
        assert!(!format!("{appliance:?}").contains("secret"), "{appliance:?}");
        let vault = read.vault.unwrap();
        assert_eq!(vault.recovery_key.as_deref(), Some("sesame-open"));
        let shown = format!("{vault:?}");
        assert!(!shown.contains("sesame") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn an_empty_file_asks_for_nothing() {
        for text in ["", "\u{feff}", "# nothing\r\n"] {
            let read: Configuration<Network> = Configuration::parse(text.as_bytes()).unwrap();
            let nothing = Configuration {
                role: None,
                name: None,
                advertise: Vec::new(),
                vault: None,
                appliance: None,
                spool: None,
                hardening: Hardening { lock_modules: false },
                network: None,
            };
            assert_eq!(read, nothing);
        }
        let text = "[hardening]\nlock-modules = true\n";
        let read: Configuration<Network> = Configuration::parse(text.as_bytes()).unwrap();
        assert!(read.hardening.lock_modules);
    }

    #[test]
    fn mistakes_name_their_line_and_no_secret() {
        let told =
            |text: &str| Configuration::<Network>::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(
            told("role = \"king\"").starts_with("lifeboat.toml line 1: "),
            "{}",
            told("role = \"king\"")
        );
        assert!(told("\n[network]\nmtu = \"big\"").contains("line 3"));
        let named = told("name = \"a\"\nadvertise = [\"site.example\"]");
        assert!(named.contains("line 2") && named.contains("IP address"), "{named}");
        assert!(told("[vault]\naddress = \"a\"\ntokn = \"sv=very-secret\"").contains("tokn"));
        for text in
            ["[vault]\ntoken = \"sv=very-secret", "[vault]\naddress=\"a\"\ntoken = sv=very-secret"]
        {
            assert!(!told(text).contains("very-secret"), "{}", told(text));
        }
        let binary = Configuration::<Network>::parse(b"name = \"\xff\"").unwrap_err().to_string();
        assert!(binary.contains("byte 8"), "{binary}");
        let large = Configuration::<Network>::parse(&Vec::from([b'#'; BYTES_MAX + 1]));
        assert!(large.unwrap_err().to_string().contains("more than"));
    }

    #[test]
    fn changed_bytes_end_in_an_answer() {
        let mut state = 7_u32;
        let mut draw = |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            usize::try_from(state >> 8).unwrap() % below
        };
        let mut read = 0;
        for _ in 0..20_000 {
            let mut bytes = WHOLE.as_bytes().to_vec();
            for _ in 0..=draw(4) {
                let at = draw(bytes.len());
                bytes[at] = u8::try_from(draw(256)).unwrap();
            }
            read += usize::from(Configuration::<Network>::parse(&bytes).is_ok());
        }
        assert!(read > 100, "some changes are harmless: {read}");
    }
}
