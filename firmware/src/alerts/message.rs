//! What is told of one piece of news: as JSON, as a line of syslog, as a mail. Pure.

use firmware_web::api::views::alerts::AlertView;
use firmware_web::api::views::servers::Health;
use pipeline_azure::date::{http_date, iso_date};
use pipeline_azure::encode::base64;
use serde::{Deserialize, Serialize};

use super::board::Turn;

/// Longest datagram of syslog: what every receiver takes (RFC 5424, 6.1).
const DATAGRAM_BYTES_MAX: usize = 2048;
/// Lines of base64 in a mail.
const MAIL_LINE: usize = 76;

/// A message, the same for every channel and every try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Message {
    /// Its identity: a receiver that has seen it may pass over it.
    pub(super) id: String,
    /// What the appliance is called.
    pub(super) appliance: String,
    /// When it was made.
    pub(super) at: u64,
    /// What became of the alert.
    pub(super) turn: Turn,
    /// The alert.
    pub(super) alert: Told,
    /// How many more of its kind turned so at the same time, and are not told one by one.
    pub(super) more: u64,
}

/// What is told of an alert.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) object: String,
    pub(super) health: Health,
    pub(super) words: String,
    pub(super) remedy: String,
    pub(super) since: u64,
}

impl From<AlertView> for Told {
    fn from(view: AlertView) -> Self {
        Self {
            id: view.id,
            kind: view.kind,
            object: view.object,
            health: view.health,
            words: view.words,
            remedy: view.remedy,
            since: view.since_millis,
        }
    }
}

/// As a webhook gets it. Fields are only ever added.
#[derive(Serialize)]
struct Body<'a> {
    message: &'a str,
    appliance: &'a str,
    at_millis: u64,
    event: Turn,
    alert: &'a str,
    kind: &'a str,
    object: &'a str,
    health: Health,
    text: String,
    remedy: &'a str,
    since_millis: u64,
    more: u64,
}

impl Message {
    /// In one or two sentences.
    pub(super) fn text(&self) -> String {
        let words = &self.alert.words;
        let more = match self.more {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        match self.turn {
            Turn::Raised | Turn::Test => format!("{words}{more}"),
            Turn::Again => format!("Still: {words}{more}"),
            Turn::Over => format!("Over: {words}{more}"),
        }
    }

    /// As JSON.
    pub(super) fn json(&self) -> Vec<u8> {
        let body = Body {
            message: &self.id,
            appliance: &self.appliance,
            at_millis: self.at,
            event: self.turn,
            alert: &self.alert.id,
            kind: &self.alert.kind,
            object: &self.alert.object,
            health: self.alert.health,
            text: self.text(),
            remedy: &self.alert.remedy,
            since_millis: self.alert.since,
            more: self.more,
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// As a record of RFC 5424, facility daemon.
    pub(super) fn syslog(&self, process: u32) -> Vec<u8> {
        let severity = match (self.turn, self.alert.health) {
            (Turn::Test, _) => 6,
            (Turn::Over, _) => 5,
            (_, Health::Bad) => 3,
            _ => 4,
        };
        let printable = |text: &str, bytes_max: usize| {
            let plain = |byte: u8| if byte.is_ascii_graphic() { char::from(byte) } else { '-' };
            let cut: String = text.bytes().take(bytes_max).map(plain).collect();
            if cut.is_empty() { "-".to_owned() } else { cut }
        };
        let head = format!(
            "<{}>1 {} {} lifeboat {process} {} [origin software=\"lifeboat\" swVersion=\"{}\"] ",
            3 * 8 + severity,
            iso_date(self.at),
            printable(&self.appliance, 255),
            printable(&self.alert.kind, 32),
            env!("CARGO_PKG_VERSION"),
        );
        let line = |letter: char| if letter.is_control() { ' ' } else { letter };
        let mut text: String =
            format!("{}: {}", self.alert.object, self.text()).chars().map(line).collect();
        if !self.alert.remedy.is_empty() && self.turn != Turn::Over {
            text = format!("{text}; {}", self.alert.remedy);
        }
        // The mark says that what follows is UTF-8.
        let mark = "\u{feff}";
        let room = DATAGRAM_BYTES_MAX - head.len() - mark.len();
        text.truncate(text.floor_char_boundary(room));
        format!("{head}{mark}{text}").into_bytes()
    }

    /// As a mail, lines ended by CR LF. None begins with a dot: base64 has none, and headers have names. The addresses were checked when
    /// they were set.
    pub(super) fn mail(&self, from: &str, to: &[String]) -> Vec<u8> {
        let subject = match self.turn {
            Turn::Test => format!("{}: this is a test", self.appliance),
            Turn::Over => format!("{}: over: {}", self.appliance, self.alert.object),
            _ => format!("{}: {}", self.appliance, self.alert.words),
        };
        let host = from.split_once('@').map_or("localhost", |(_, host)| host);
        let date = http_date(self.at);
        let date = date.strip_suffix("GMT").unwrap_or(&date);
        let text = format!(
            "{}\n\n{}\n\nObject: {}\nSince: {}\nAlert: {} ({})\nAppliance: {}\n",
            self.text(),
            self.alert.remedy,
            self.alert.object,
            iso_date(self.alert.since),
            self.alert.kind,
            self.alert.id,
            self.appliance,
        );
        let text = text.replace('\n', "\r\n");
        let mut mail = format!(
            "From: <{from}>\r\nTo: <{}>\r\nSubject: {}\r\nDate: {date}+0000\r\nMessage-ID: <{}@{host}>\r\n\
             Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n",
            to.join(">,\r\n <"),
            encoded(&subject),
            self.id,
        )
        .into_bytes();
        let body = base64(text.as_bytes());
        for line in body.as_bytes().chunks(MAIL_LINE) {
            mail.extend_from_slice(line);
            mail.extend_from_slice(b"\r\n");
        }
        mail
    }
}

/// A header's text as encoded words of RFC 2047: whatever is in it, it is one header.
fn encoded(text: &str) -> String {
    let mut words = Vec::new();
    let mut rest = super::board::cut(text, 200);
    while !rest.is_empty() {
        // 39 bytes are 52 letters: with what is around them, and the header's name, a line is at most 76.
        let end = rest.floor_char_boundary(39);
        words.push(format!("=?utf-8?B?{}?=", base64(&rest.as_bytes()[..end])));
        rest.drain(..end);
    }
    words.join("\r\n ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::alerts) fn message(turn: Turn) -> Message {
        Message {
            id: "0123".to_owned(),
            appliance: "box one".to_owned(),
            at: 1_795_000_000_000,
            turn,
            alert: Told {
                id: "77".to_owned(),
                kind: "rpo_missed".to_owned(),
                object: "server wéb\n1".to_owned(),
                health: Health::Bad,
                words: "The newest point of wéb\r\n1 is old".to_owned(),
                remedy: "look".to_owned(),
                since: 1_794_999_000_000,
            },
            more: 0,
        }
    }

    #[test]
    fn a_record_of_syslog_is_one_line_of_the_standard_and_no_longer_than_any_receiver_takes() {
        let text = String::from_utf8(message(Turn::Raised).syslog(42)).unwrap();
        let head = "<27>1 2026-11-18T11:06:40Z box-one lifeboat 42 rpo_missed [origin software=\"lifeboat\" swVersion=\"0.1.0\"] \u{feff}";
        assert!(text.starts_with(head), "{text}");
        assert!(text.ends_with("server wéb 1: The newest point of wéb  1 is old; look"), "{text}");
        assert!(!text.contains(['\n', '\r', '\0']));
        let mut long = message(Turn::Raised);
        long.alert.words = "é".repeat(5000);
        assert!(
            long.syslog(1).len() <= DATAGRAM_BYTES_MAX && String::from_utf8(long.syslog(1)).is_ok()
        );
        let severity = |turn| message(turn).syslog(1)[..4].to_vec();
        assert_eq!(severity(Turn::Over), b"<29>");
        assert_eq!(severity(Turn::Test), b"<30>");
    }

    #[test]
    fn a_mail_has_one_subject_whatever_is_in_it_and_no_long_line() {
        let to = ["a@example.com".to_owned(), "b@example.com".to_owned()];
        let mail = String::from_utf8(message(Turn::Raised).mail("box@example.com", &to)).unwrap();
        let (head, body) = mail.split_once("\r\n\r\n").unwrap();
        let headers: Vec<&str> = head.split("\r\n").filter(|line| !line.starts_with(' ')).collect();
        assert_eq!(headers.len(), 9, "{head}");
        assert!(mail.lines().all(|line| line.len() <= 78 && line.is_ascii()));
        assert!(head.contains("Date: Wed, 18 Nov 2026 11:06:40 +0000\r\n"), "{head}");
        let body = pipeline_azure::encode::base64_decode(&body.replace("\r\n", "")).unwrap();
        assert!(String::from_utf8(body).unwrap().starts_with("The newest point of wéb"));
    }

    #[test]
    fn a_webhook_gets_every_field() {
        let told: serde_json::Value = serde_json::from_slice(&message(Turn::Again).json()).unwrap();
        for field in
            ["message", "appliance", "event", "alert", "kind", "object", "health", "text", "remedy"]
        {
            assert!(told[field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
        }
        assert_eq!((told["event"].as_str(), told["health"].as_str()), (Some("again"), Some("bad")));
        assert!(told["text"].as_str().unwrap().starts_with("Still: "));
    }
}
