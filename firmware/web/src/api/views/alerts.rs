//! Alerts: to whom they go, when they are raised, and those that stand.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::servers::Health;

/// Who is told, when, and what stands now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertsView {
    /// Who is told. Secrets are never told back: only that they are there.
    pub channels: Vec<ChannelView>,
    /// When alerts are raised.
    pub rules: AlertRules,
    /// What stands, the worst first.
    pub standing: Vec<AlertView>,
    /// Messages that wait for a channel.
    pub waiting: u64,
    /// Messages that were given up since the program started: the queue was full, or a channel refused them.
    pub given_up: u64,
}

/// A cause of alarm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertView {
    /// Its identity: the same from when it is raised until it is over.
    pub id: String,
    /// `rpo_missed`, `spool_filling`, `source_silent`, `vault_refused`, `disk_failing`, `drill_failed` or `tripwire`.
    pub kind: String,
    /// On which object: `server web1`.
    pub object: String,
    /// How bad it is.
    pub health: Health,
    /// In a sentence.
    pub words: String,
    /// What to do now.
    pub remedy: String,
    /// When it was raised.
    pub since_millis: u64,
    /// When somebody was last told.
    pub told_millis: u64,
}

/// When alerts are raised. Whatever is left out is as it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlertRules {
    /// A server's newest point is older than so many hundredths of its target. 100 to 10 000.
    pub rpo_percent: u32,
    /// An agent is not connected for so long. 60 to 604 800.
    pub silent_seconds: u32,
    /// The spool is so full. 10 to 99.
    pub spool_percent: u32,
    /// Or it lasts no longer than this without the vault. 0 to 604 800; 0 for never.
    pub spool_left_seconds: u32,
    /// What stands is told again after so many hours. 0 to 720; 0 for never.
    pub again_hours: u32,
    /// The ransomware tripwire is set.
    pub tripwire: bool,
    /// Points that it pins are kept for so many days. 1 to 365.
    pub tripwire_pin_days: u32,
}

impl Default for AlertRules {
    fn default() -> Self {
        Self {
            rpo_percent: 200,
            silent_seconds: 600,
            spool_percent: 80,
            spool_left_seconds: 4 * 3600,
            again_hours: 24,
            tripwire: true,
            tripwire_pin_days: 30,
        }
    }
}

/// Somebody who is told, without secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChannelView {
    /// Its name.
    pub name: String,
    /// How.
    pub way: Way,
    /// Its secret, the webhook's key or the mailbox's password, is set.
    pub set: bool,
    /// No better than this is told.
    pub at_least: Health,
    /// What came of the last message, in a sentence; empty where none was sent.
    pub last: String,
    /// When that was.
    pub last_millis: Option<u64>,
}

/// What is set: all channels and the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertsSet {
    /// All channels; one that is left out is removed. At most 8.
    pub channels: Vec<ChannelSet>,
    /// The rules.
    #[serde(default)]
    pub rules: AlertRules,
}

/// Somebody who is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelSet {
    /// Its name: letters, digits, `-`, `_`, `.`; no other has it.
    pub name: String,
    /// How.
    pub way: Way,
    /// The webhook's key or the mailbox's password. Left out, what is set stays; empty, it is taken away.
    #[serde(default)]
    pub secret: Option<String>,
    /// No better than this is told; `attention` where nothing is said.
    #[serde(default)]
    pub at_least: Option<Health>,
}

/// How somebody is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
#[expect(clippy::exhaustive_enums, reason = "who shows it must have a form for each")]
pub enum Way {
    /// JSON by POST, signed by HMAC-SHA256 where a secret is set.
    Webhook {
        /// Where to: `https://...`; `http://` only to this machine.
        url: String,
    },
    /// RFC 5424.
    Syslog {
        /// `HOST` or `HOST:PORT`; 514, with TLS 6514.
        host: String,
        /// By UDP, TCP, or TCP with TLS.
        by: SyslogBy,
    },
    /// A message by SMTP.
    Mail {
        /// `HOST` or `HOST:PORT`; 587, with `tls` 465.
        host: String,
        /// How the connection is kept private.
        tls: MailTls,
        /// As whom to log in; nothing for not at all.
        #[serde(default)]
        user: Option<String>,
        /// Who sends.
        from: String,
        /// To whom; at most 16.
        to: Vec<String>,
    },
}

impl Default for Way {
    fn default() -> Self {
        Self::Webhook { url: String::new() }
    }
}

impl Way {
    /// As whoever only looks may see it: many receivers know who may send by the address of a webhook alone.
    #[must_use]
    pub fn veiled(self) -> Self {
        let Self::Webhook { url } = self else { return self };
        let host = url.find("://").map_or(0, |begin| begin + 3);
        let end = url[host..].find(['/', '?']).map_or(url.len(), |end| host + end);
        let more = if end < url.len() { "/…" } else { "" };
        Self::Webhook { url: format!("{}{more}", &url[..end]) }
    }
}

/// What carries syslog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "who shows it must have a word for each")]
pub enum SyslogBy {
    /// A datagram for each message; nobody knows whether it came.
    #[default]
    Udp,
    /// A connection, RFC 6587 with octets counted.
    Tcp,
    /// The same within TLS, RFC 5425.
    Tls,
}

/// How a mail connection is kept private.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "who shows it must have a word for each")]
pub enum MailTls {
    /// Begun in the clear, then TLS before anything is said; refused where the server has none.
    #[default]
    Starttls,
    /// From the first byte.
    Tls,
    /// Not at all: for a relay on the same machine or a trusted wire. No password is sent so.
    None,
}

/// What came of a test message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChannelTest {
    /// The channel's name.
    pub name: String,
    /// It was taken.
    pub taken: bool,
    /// In a sentence; what to do where it was not.
    pub words: String,
}
