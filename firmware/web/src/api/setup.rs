//! First run: from a machine that nobody owns to one that takes agents, in five questions at most.
//!
//! Stages follow each other, each is kept when it is passed, and a restart goes on where it was. Before a machine is paired
//! nothing is told but the stage; afterwards the rest is an administrator's. Secrets go in, and never come out again but for the
//! recovery key of a new vault, as long as nobody has shown that it was written down.

use core::fmt;
use core::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::site::{Answer, Caller};
use super::views::appliance::{CalendarView, MachineLink};

/// How far first run is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "who shows it must have a page for each")]
pub enum Stage {
    /// Nobody owns the machine yet: the code on its console makes the first administrator.
    #[default]
    Pair,
    /// The network is shown, and kept or changed.
    Network,
    /// Where the vault is.
    Vault,
    /// The recovery key of a new vault is asked back.
    Key,
    /// Time zone and limits of what is sent.
    Time,
    /// Everything is set.
    Done,
}

/// A text that is never shown: no `Display`, no `Serialize`, and its memory is wiped.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, JsonSchema, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
#[schemars(transparent)]
pub struct Secret(String);

impl Secret {
    /// A secret of this text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// `GET setup`: how far it is; the rest for administrators alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SetupView {
    /// How far it is.
    pub stage: Stage,
    /// What was set so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<SetupFacts>,
}

/// What was set so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SetupFacts {
    /// The network.
    pub network: NetworkView,
    /// The vault, once one is chosen.
    pub vault: Option<VaultChosen>,
    /// Time zone, time servers, limits.
    pub time: TimeView,
    /// Which certificates the page shows.
    pub certificate: CertificateView,
}

/// `POST setup/pair`: whoever reads the console owns the machine. No other call needs to be without a session.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pairing {
    /// The code that the console shows; blanks, dashes and small letters do no harm.
    pub code: Secret,
    /// The name of the first administrator.
    pub name: String,
    /// And the password.
    pub password: Secret,
}

/// The network of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkView {
    /// Its links.
    pub links: Vec<MachineLink>,
    /// Who answers for names.
    pub dns: Vec<String>,
    /// Ways to everywhere.
    pub gateways: Vec<String>,
    /// Who said so: `default`, `file`, `console`, `trial`; `system` where another system keeps it.
    pub source: String,
    /// Whether it can be changed here.
    pub changeable: bool,
    /// The settings in force, as the table `[network]` of `lifeboat.toml`; without the passwords of proxies.
    pub settings: String,
    /// While settings are tried: how long until they are taken back.
    pub trial_seconds_left: Option<u64>,
}

/// `PUT setup/network`. Exactly one of them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkAsked {
    /// As it is, it stays: the question is answered.
    pub keep: bool,
    /// One link set by a form, the others left as they are: tried for a minute, kept once `confirm` comes.
    pub link: Option<LinkAsked>,
    /// All of it as the table `[network]` of `lifeboat.toml`: tried in the same way.
    pub settings: Option<String>,
    /// The browser came back over what is tried: keep it.
    pub confirm: bool,
    /// What was typed before is forgotten: `lifeboat.toml`, or DHCP on every link.
    pub forget: bool,
}

/// One link, as a form asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LinkAsked {
    /// Its name, as [`NetworkView::links`] has it.
    pub name: String,
    /// Addresses with their prefixes; empty for DHCP and what routers say.
    pub addresses: Vec<String>,
    /// Routers to everywhere else, at most one of each kind.
    pub gateways: Vec<IpAddr>,
    /// DNS servers, at most three; empty for those that DHCP and routers name.
    pub dns: Vec<IpAddr>,
}

/// What opens a storage account of Azure. One kind, and the fields that it needs.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[expect(clippy::exhaustive_enums, reason = "who asks must have a form for each")]
pub enum CredentialAsked {
    /// A folder or a disk needs none; in Azure, the identity that the platform gives this machine.
    #[default]
    Managed,
    /// A managed identity that has a client ID of its own.
    ManagedClient {
        /// Its client ID.
        client: String,
    },
    /// The account's key.
    AccountKey {
        /// As the portal shows it.
        value: Secret,
    },
    /// A shared access signature.
    Sas {
        /// With or without its question mark.
        value: Secret,
    },
    /// A connection string.
    ConnectionString {
        /// As the portal shows it.
        value: Secret,
    },
    /// A registered application with a secret.
    ClientSecret {
        /// The tenant.
        tenant: String,
        /// The application.
        client: String,
        /// Its secret.
        value: Secret,
    },
    /// A registered application with a certificate.
    ClientCertificate {
        /// The tenant.
        tenant: String,
        /// The application.
        client: String,
        /// Certificate and key, PEM.
        value: Secret,
    },
}

/// `POST setup/vault/test`: the way to a place, walked live. Nothing of it stays behind, and nothing is kept.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VaultTestAsked {
    /// `azure://ACCOUNT/CONTAINER`, `dir:FOLDER`, or on an appliance `disk:NAME/FOLDER`.
    pub place: String,
    /// What opens it.
    #[serde(default)]
    pub credential: CredentialAsked,
    /// Certificates of authorities of one's own, PEM: on the way to a vault in Azure they are trusted beside the usual ones.
    #[serde(default)]
    pub authority: Option<String>,
}

/// What the test found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VaultTest {
    /// Whether a vault there would do.
    pub good: bool,
    /// Step by step, as far as it led.
    pub rows: Vec<TestRow>,
    /// What lies there: `nothing`, `vault`, `other`, or `unknown` where it could not be looked.
    pub holds: String,
}

/// One step of the test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestRow {
    /// `clock`, `name`, `route`, `tls`, `container`, `create`, `read`, `list`, `delete`, `speed`.
    pub step: String,
    /// The host or object concerned.
    pub object: String,
    /// `good`, `warning` or `bad`.
    pub standing: String,
    /// What was found, in a sentence.
    pub verdict: String,
    /// What to do now; empty where nothing is to be done.
    pub remedy: String,
    /// How long it took.
    pub took_millis: Option<u64>,
}

/// Whether a vault is made, taken over, or opened by something else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(
    clippy::exhaustive_enums,
    reason = "a vault is made, taken over or kept, and there is no fourth way"
)]
pub enum How {
    /// A new one in an empty place.
    #[default]
    New,
    /// One that is there.
    Adopt,
    /// The one in use, at its place: from now on the credential given opens it, in place of the one before. An appliance takes it
    /// within a minute, a program beside others at its next start; so does either with a certificate in place of another.
    Renew,
}

/// `POST setup/vault`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VaultAsked {
    /// As of [`VaultTestAsked`].
    pub place: String,
    /// What opens it.
    #[serde(default)]
    pub credential: CredentialAsked,
    /// As of [`VaultTestAsked`].
    #[serde(default)]
    pub authority: Option<String>,
    /// Make or take over.
    pub how: How,
    /// To adopt: the recovery key as typed, or the content of its file.
    #[serde(default)]
    pub key: Option<Secret>,
    /// The passphrase of a key file that is sealed.
    #[serde(default)]
    pub passphrase: Option<Secret>,
    /// To adopt: what is found there was read, and is wanted: its identity, as [`VaultFound::vault`] has it. Without it the vault
    /// is looked at, and nothing is kept.
    #[serde(default)]
    pub confirm: Option<String>,
}

/// What `POST setup/vault` answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VaultAnswer {
    /// How far first run is now.
    pub stage: Stage,
    /// To adopt: the vault that was found; kept where `stage` moved on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<VaultFound>,
    /// The recovery key of a new vault: to be written down now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyShown>,
}

/// A vault that is there already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VaultFound {
    /// Its identity.
    pub vault: String,
    /// Where it is.
    pub place: String,
    /// Its servers, by name.
    pub servers: Vec<String>,
    /// Points in it.
    pub points: u64,
    /// When the newest point began; none where there is no point.
    pub newest_millis: Option<u64>,
    /// What a person has to know before taking it over.
    pub warnings: Vec<String>,
}

/// A recovery key, to be written down. The only secret that is ever told.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyShown {
    /// Its groups of letters, in order.
    pub groups: Vec<String>,
    /// The content of a key file, to be saved.
    pub file: String,
}

impl fmt::Debug for KeyShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyShown(…)")
    }
}

impl Drop for KeyShown {
    fn drop(&mut self) {
        self.groups.iter_mut().for_each(Zeroize::zeroize);
        self.file.zeroize();
    }
}

/// `POST setup/key`: the key as somebody wrote it down.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeyTyped {
    /// As typed from paper, or the content of a key file.
    pub typed: Secret,
    /// It was not written down: show it once more. Only as long as it was never typed right; the audit log has it.
    pub again: bool,
}

/// What `POST setup/key` answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyAnswer {
    /// How far first run is now.
    pub stage: Stage,
    /// The key, where it was asked for again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyShown>,
}

/// A vault that was chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VaultChosen {
    /// Where it is.
    pub place: String,
    /// Its identity, where it is known.
    pub vault: Option<String>,
    /// Who named it: `file` (`lifeboat.toml`), `command` (the command line), or `setup`.
    pub named_by: String,
    /// What kind of credential opens it; empty where it needs none.
    pub credential: String,
    /// Whether somebody showed that the recovery key is written down.
    pub key_confirmed: bool,
}

/// Time zone, time servers, limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimeView {
    /// What the machine's clock says.
    pub now_millis: u64,
    /// The zone's name, as it was given: `Europe/Berlin`.
    pub zone: String,
    /// Minutes east of UTC.
    pub zone_minutes: i16,
    /// Time servers beside those that DHCP names.
    pub servers: Vec<IpAddr>,
    /// How much may be sent at which hours of the zone.
    pub calendar: CalendarView,
}

/// `PUT setup/time`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeAsked {
    /// The zone's name, for people.
    pub zone: String,
    /// Minutes east of UTC, from -720 to 840. The machine has no table of summer times.
    pub zone_minutes: i16,
    /// Time servers, at most four; empty for those that DHCP names.
    #[serde(default)]
    pub servers: Vec<IpAddr>,
    /// Limits of what is sent, by the hours of the zone.
    #[serde(default)]
    pub calendar: CalendarView,
}

/// Which certificates the page shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertificateView {
    /// SHA-256 of the one that the machine made itself: whoever comes by an address sees it, and agents pin it.
    pub machine_sha256: String,
    /// One of a person's own: whoever comes by one of its names sees it.
    pub own: Option<OwnCertificate>,
}

/// A certificate of a person's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnCertificate {
    /// The names that it is for.
    pub names: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// SHA-256.
    pub sha256: String,
    /// When it ends.
    pub ends_millis: u64,
}

/// `PUT setup/certificate`. Both empty: the one of a person's own is taken away.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateAsked {
    /// The certificate, and those between it and its authority, PEM.
    pub chain: String,
    /// Its key, PEM.
    pub key: Secret,
}

/// What answers behind `setup`. Calls may block for as long as a network lets them wait, and never panic; the door has checked
/// that who calls anything but [`Setup::stage`] and [`Setup::pair`] is an administrator.
pub trait Setup: Send + Sync {
    /// How far it is: for anybody.
    fn stage(&self) -> Stage;
    /// What was set so far.
    fn view(&self) -> Answer<SetupView>;
    /// The first administrator. The door begins a session for whoever this answers.
    fn pair(&self, asked: Pairing) -> Answer<Caller>;
    /// The network.
    fn network(&self) -> Answer<NetworkView>;
    /// It is kept, tried, confirmed or forgotten.
    fn set_network(&self, by: &Caller, asked: &NetworkAsked) -> Answer<NetworkView>;
    /// The way to a vault is walked. Takes seconds.
    fn test_vault(&self, asked: VaultTestAsked) -> Answer<VaultTest>;
    /// A vault is made or taken over.
    fn set_vault(&self, by: &Caller, asked: VaultAsked) -> Answer<VaultAnswer>;
    /// The recovery key is asked back.
    fn confirm_key(&self, by: &Caller, typed: KeyTyped) -> Answer<KeyAnswer>;
    /// Zone, time servers, limits; the last question.
    fn set_time(&self, by: &Caller, asked: &TimeAsked) -> Answer<SetupView>;
    /// A certificate of one's own, at any time.
    fn set_certificate(&self, by: &Caller, asked: CertificateAsked) -> Answer<CertificateView>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_ever_shown() {
        let asked: VaultAsked = serde_json::from_str(
            r#"{"place":"azure://a/b","how":"adopt","key":"SECRETKEY","credential":{"kind":"client_secret","tenant":"t","client":"c","value":"SECRETVALUE"}}"#,
        )
        .expect("what a page sends");
        let shown = format!("{asked:?}");
        assert!(!shown.contains("SECRET"), "{shown}");
        assert!(shown.contains("Secret(…)"), "{shown}");
        let key = KeyShown { groups: vec!["ABC".into()], file: "ABC".into() };
        assert!(!format!("{key:?}").contains("ABC"));
    }

    #[test]
    fn before_pairing_the_stage_is_all_there_is() {
        let view = SetupView::default();
        assert_eq!(serde_json::to_string(&view).expect("JSON"), r#"{"stage":"pair"}"#);
        assert!(Stage::Pair < Stage::Network && Stage::Time < Stage::Done);
    }

    #[test]
    fn what_is_unknown_is_refused() {
        for text in [
            r#"{"code":"a","name":"b","password":"c","role":"administrator"}"#,
            r#"{"code":"a","name":"b"}"#,
            r#"{"code":5,"name":"b","password":"c"}"#,
        ] {
            assert!(serde_json::from_str::<Pairing>(text).is_err(), "{text}");
        }
        assert!(serde_json::from_str::<CredentialAsked>(r#"{"kind":"password"}"#).is_err());
        let managed: CredentialAsked = serde_json::from_str(r#"{"kind":"managed"}"#).expect("one");
        assert!(matches!(managed, CredentialAsked::Managed));
    }
}
