//! Who is told, and when: read, checked, kept, and told without secrets.

use core::fmt;

use firmware_web::api::Refusal;
use firmware_web::api::views::alerts::{
    AlertRules, AlertsSet, ChannelSet, ChannelView, MailTls, Way,
};
use firmware_web::api::views::servers::Health;
use pipeline_azure::address::Origin;
use serde::{Deserialize, Serialize};

/// Channels at most: each has a thread of its own.
pub(super) const CHANNELS_MAX: usize = 8;
/// To whom one message goes at most.
const RECEIVERS_MAX: usize = 16;
const NAME_BYTES_MAX: usize = 40;
const TEXT_BYTES_MAX: usize = 400;
const SECRET_BYTES_MAX: usize = 1000;

/// A channel with its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Channel {
    pub(super) name: String,
    pub(super) way: Way,
    pub(super) secret: Option<Hidden>,
    pub(super) at_least: Health,
}

/// A secret that is told to nobody.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hidden(pub(super) String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) channels: Vec<Channel>,
    pub(super) rules: AlertRules,
}

/// As it is kept.
#[derive(Serialize, Deserialize)]
struct Document {
    channels: Vec<KeptChannel>,
    rules: AlertRules,
}

#[derive(Serialize, Deserialize)]
struct KeptChannel {
    name: String,
    way: Way,
    secret: Option<String>,
    at_least: Health,
}

impl Settings {
    /// As kept. Nothing secret is in the error.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let kept: Document = serde_json::from_slice(bytes)
            .map_err(|error| format!("line {} cannot be read", error.line()))?;
        let channel = |kept: KeptChannel| Channel {
            name: kept.name,
            way: kept.way,
            secret: kept.secret.map(Hidden),
            at_least: kept.at_least,
        };
        let channels = kept.channels.into_iter().take(CHANNELS_MAX).map(channel).collect();
        Ok(Self { channels, rules: kept.rules })
    }

    /// To be kept.
    pub(super) fn write(&self) -> Result<Vec<u8>, String> {
        let channel = |channel: &Channel| KeptChannel {
            name: channel.name.clone(),
            way: channel.way.clone(),
            secret: channel.secret.as_ref().map(|secret| secret.0.clone()),
            at_least: channel.at_least,
        };
        let document = Document {
            channels: self.channels.iter().map(channel).collect(),
            rules: self.rules.clone(),
        };
        serde_json::to_vec(&document).map_err(|error| error.to_string())
    }

    /// What was sent, checked; a secret that is left out stays as it was, where the channel still leads to the same place.
    pub(super) fn replaced(&self, set: &AlertsSet) -> Result<Self, Refusal> {
        check_rules(&set.rules)?;
        if set.channels.len() > CHANNELS_MAX {
            let words =
                format!("are {} channels, and there may be {CHANNELS_MAX}", set.channels.len());
            return Err(refused("alerts", words, "/channels", "leave out some"));
        }
        let mut channels: Vec<Channel> = Vec::new();
        for (place, asked) in set.channels.iter().enumerate() {
            if channels.iter().any(|known| known.name == asked.name) {
                let field = format!("/channels/{place}/name");
                return Err(refused(
                    "alerts",
                    format!("{:?} is the name of another channel too", asked.name),
                    &field,
                    "give each a name of its own",
                ));
            }
            channels.push(self.channel(asked, place)?);
        }
        Ok(Self { channels, rules: set.rules.clone() })
    }

    fn channel(&self, asked: &ChannelSet, place: usize) -> Result<Channel, Refusal> {
        let at = |field: &str| format!("/channels/{place}/{field}");
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if asked.name.is_empty()
            || asked.name.len() > NAME_BYTES_MAX
            || !asked.name.chars().all(plain)
        {
            let words = format!("{:?} is no name of a channel", super::board::cut(&asked.name, 60));
            return Err(refused(
                "alerts",
                words,
                &at("name"),
                "letters, digits, hyphen, underscore and dot, 40 at most",
            ));
        }
        let old = self.channels.iter().find(|known| known.name == asked.name);
        let secret = match &asked.secret {
            Some(secret) if secret.is_empty() => None,
            Some(secret)
                if secret.len() > SECRET_BYTES_MAX || secret.chars().any(char::is_control) =>
            {
                return Err(refused(
                    &asked.name,
                    "the secret is too long, or holds what cannot be typed".to_owned(),
                    &at("secret"),
                    "1000 letters at most, on one line",
                ));
            }
            Some(secret) => Some(Hidden(secret.clone())),
            // Whoever may set channels must not get a secret by sending it somewhere else.
            None => old
                .filter(|old| leads_to(&old.way) == leads_to(&asked.way))
                .and_then(|old| old.secret.clone()),
        };
        check_way(&asked.name, &asked.way, secret.is_some(), &at("way"))?;
        let at_least = asked.at_least.unwrap_or(Health::Attention);
        Ok(Channel { name: asked.name.clone(), way: asked.way.clone(), secret, at_least })
    }
}

/// Where a secret would go, and how well it is kept on its way.
fn leads_to(way: &Way) -> (&'static str, String) {
    match way {
        Way::Webhook { url } => {
            let origin = Origin::parse(url).map(|(origin, _)| origin.to_string());
            ("webhook", origin.unwrap_or_default())
        }
        Way::Syslog { host, .. } => ("syslog", host.clone()),
        Way::Mail { host, tls, user, .. } => ("mail", format!("{host} {tls:?} {user:?}")),
    }
}

impl Channel {
    /// Without its secret.
    pub(super) fn view(&self) -> ChannelView {
        ChannelView {
            name: self.name.clone(),
            way: self.way.clone(),
            set: self.secret.is_some(),
            at_least: self.at_least,
            ..ChannelView::default()
        }
    }
}

fn refused(object: &str, detail: String, field: &str, remedy: &str) -> Refusal {
    Refusal {
        status: 422,
        title: object.to_owned(),
        detail,
        remedy: Some(remedy.to_owned()),
        field: Some(field.to_owned()),
        ..Refusal::default()
    }
}

fn check_rules(rules: &AlertRules) -> Result<(), Refusal> {
    let spans = [
        ("rpo_percent", rules.rpo_percent, 100..=10_000),
        ("silent_seconds", rules.silent_seconds, 60..=604_800),
        ("spool_percent", rules.spool_percent, 10..=99),
        ("spool_left_seconds", rules.spool_left_seconds, 0..=604_800),
        ("again_hours", rules.again_hours, 0..=720),
        ("tripwire_pin_days", rules.tripwire_pin_days, 1..=365),
    ];
    match spans.into_iter().find(|(_, value, span)| !span.contains(value)) {
        None => Ok(()),
        Some((name, value, span)) => {
            let remedy = format!("give {} to {}", span.start(), span.end());
            Err(refused(
                "alerts",
                format!("{name} cannot be {value}"),
                &format!("/rules/{name}"),
                &remedy,
            ))
        }
    }
}

fn check_way(name: &str, way: &Way, has_secret: bool, field: &str) -> Result<(), Refusal> {
    let no = |words: &str, field: String, remedy: &str| {
        Err(refused(name, words.to_owned(), &field, remedy))
    };
    match way {
        Way::Webhook { url } => {
            let field = format!("{field}/url");
            if url.len() > TEXT_BYTES_MAX
                || url.contains(['@', ' ', '#'])
                || url.chars().any(char::is_control)
            {
                return no(
                    "the address holds what it must not: a blank, @ or #, or more than 400 letters",
                    field,
                    "write it like https://host/path; a secret goes into its own field",
                );
            }
            match Origin::parse(url.split('?').next().unwrap_or_default()) {
                Err(_) => no(
                    "that is no address of a web server",
                    field,
                    "write it like https://host:port/path",
                ),
                Ok((origin, _)) if !origin.https && !origin.is_loopback() => no(
                    "the address is without TLS: anybody on the way could read and change alerts",
                    field,
                    "begin it with https://",
                ),
                Ok(_) => Ok(()),
            }
        }
        Way::Syslog { host, .. } => host_and_port(host, 514).map(drop).map_err(|words| {
            refused(
                name,
                words,
                &format!("{field}/host"),
                "write it like log.example.com or 192.0.2.7:514",
            )
        }),
        Way::Mail { host, tls, user, from, to } => {
            host_and_port(host, 587).map_err(|words| {
                refused(
                    name,
                    words,
                    &format!("{field}/host"),
                    "write it like mail.example.com or 192.0.2.7:587",
                )
            })?;
            if *tls == MailTls::None && (user.is_some() || has_secret) {
                return no(
                    "a password would go in the clear",
                    format!("{field}/tls"),
                    "choose starttls or tls, or leave user and password out",
                );
            }
            if user.as_ref().is_some_and(|user| {
                user.is_empty() || user.len() > TEXT_BYTES_MAX || user.chars().any(char::is_control)
            }) {
                return no(
                    "the user's name is empty, too long, or holds what cannot be typed",
                    format!("{field}/user"),
                    "leave it out where none is needed",
                );
            }
            if !is_mailbox(from) {
                return no(
                    "that is no mail address",
                    format!("{field}/from"),
                    "write it like lifeboat@example.com",
                );
            }
            if to.is_empty() || to.len() > RECEIVERS_MAX {
                return no(
                    "a message goes to 1 to 16 addresses",
                    format!("{field}/to"),
                    "a list of your mail server reaches more",
                );
            }
            match to.iter().position(|mailbox| !is_mailbox(mailbox)) {
                Some(place) => no(
                    "that is no mail address",
                    format!("{field}/to/{place}"),
                    "write it like ops@example.com",
                ),
                None => Ok(()),
            }
        }
    }
}

/// `HOST`, `HOST:PORT`, `[ADDRESS]:PORT`.
pub(super) fn host_and_port(text: &str, default: u16) -> Result<(String, u16), String> {
    let fine = |host: &str| {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.:".contains(letter);
        !host.is_empty() && host.len() <= 253 && host.chars().all(plain)
    };
    let no = || "that is no host".to_owned();
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(no)?;
            (host, port.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (text, None),
        },
    };
    let port = match port {
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| "that is no port: 1 to 65535".to_owned())?,
        None => default,
    };
    if !fine(host) {
        return Err(no());
    }
    Ok((host.to_owned(), port))
}

/// Plain ASCII on both sides of one `@`: nothing that could end a line of SMTP or leave its brackets.
fn is_mailbox(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_graphic() && !b"<>()[]\\,;:\"@".contains(&byte);
    let Some((name, host)) = text.split_once('@') else { return false };
    let is_fine = |part: &str| !part.is_empty() && part.bytes().all(letter);
    text.len() <= 254
        && is_fine(name)
        && is_fine(host)
        && !host.starts_with(['.', '-'])
        && !host.ends_with('.')
}

#[cfg(test)]
mod tests;
