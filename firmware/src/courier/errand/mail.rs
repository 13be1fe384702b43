//! A message by SMTP (RFC 5321): TLS from the first byte or by STARTTLS, logged in by PLAIN or LOGIN.
//!
//! A password goes within TLS alone. What the server says is bounded in lines and length, and all of it in time, which is why
//! this is a client of its own: those to be had read answers without end.

use firmware_web::api::views::alerts::MailTls;
use pipeline_azure::encode::base64;
use zeroize::Zeroizing;

use super::Letter;
use super::wire::{Ways, Wire};
use crate::alerts::board::cut;

/// Lines of one answer.
const LINES_MAX: usize = 100;

pub(super) fn send(
    ways: &Ways<'_>,
    host: &str,
    port: u16,
    letter: &Letter<'_>,
) -> Result<String, String> {
    let mut wire = Wire::connect(ways, host, port)?;
    if letter.tls == MailTls::Tls {
        wire = wire.into_tls(ways)?;
    }
    let mut talk = Talk { wire, host };
    talk.answer("the greeting", 220)?;
    let mut offers = talk.hello()?;
    if letter.tls == MailTls::Starttls {
        if !offers.iter().any(|offer| offer.eq_ignore_ascii_case("STARTTLS")) {
            return Err(format!(
                "{host} offers no STARTTLS, and nothing is said in the clear: choose tls, or none for a relay that is trusted"
            ));
        }
        talk.say("STARTTLS", 220)?;
        talk.wire = talk.wire.into_tls(ways)?;
        offers = talk.hello()?;
    }
    if let Some(user) = &letter.user {
        let password = letter.password.as_ref().map(|password| &*password.0).unwrap_or_default();
        talk.log_in(&offers, user, password)?;
    }
    let words = talk.deliver(letter)?;
    // It has been taken; how the server says goodbye changes nothing.
    let _ = talk.say("QUIT", 221);
    Ok(words)
}

struct Talk<'a> {
    wire: Wire,
    host: &'a str,
}

impl Talk<'_> {
    /// Sends a command and wants this code; the lines of the answer.
    fn say(&mut self, command: &str, wanted: u16) -> Result<Vec<String>, String> {
        self.wire.send(format!("{command}\r\n").as_bytes())?;
        // What is said in the error never holds a secret: only the command's first word.
        self.answer(command.split(' ').next().unwrap_or_default(), wanted)
    }

    /// Reads an answer, which may have several lines of one code.
    fn answer(&mut self, to: &str, wanted: u16) -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        loop {
            let line = self.wire.line()?;
            let code = line.get(..3).and_then(|code| code.parse::<u16>().ok());
            let Some(code) = code.filter(|code| (200..600).contains(code)) else {
                return Err(format!(
                    "{} does not speak SMTP: it said {:?}",
                    self.host,
                    cut(&line, 80)
                ));
            };
            let text = line.get(4..).unwrap_or_default().to_owned();
            let is_last = line.as_bytes().get(3) != Some(&b'-');
            if is_last && code != wanted {
                return Err(format!(
                    "{} answered {to} by {code} {}{}",
                    self.host,
                    cut(&text, 200),
                    remedy(code)
                ));
            }
            lines.push(text);
            if is_last {
                return Ok(lines);
            }
            if lines.len() == LINES_MAX {
                return Err(format!("{} answers without end", self.host));
            }
        }
    }

    /// Introduces itself; what the server offers.
    fn hello(&mut self) -> Result<Vec<String>, String> {
        // A name that says nothing of this network, in the form that every server takes.
        let mut lines = self.say("EHLO [127.0.0.1]", 250)?;
        lines.remove(0);
        Ok(lines)
    }

    fn log_in(&mut self, offers: &[String], user: &str, password: &str) -> Result<(), String> {
        if !self.wire.is_tls() {
            return Err("a password would go in the clear: choose starttls or tls".to_owned());
        }
        let ways = offers.iter().filter(|offer| offer.to_ascii_uppercase().starts_with("AUTH"));
        let ways: Vec<String> = ways
            .flat_map(|offer| offer.split([' ', '=']).skip(1))
            .map(str::to_ascii_uppercase)
            .collect();
        let offered = |way: &str| ways.iter().any(|offer| offer == way);
        if offered("PLAIN") {
            let plain = Zeroizing::new(format!("\0{user}\0{password}"));
            let line = Zeroizing::new(format!("AUTH PLAIN {}", base64(plain.as_bytes())));
            self.say(&line, 235)?;
        } else if offered("LOGIN") {
            self.say("AUTH LOGIN", 334)?;
            self.hidden(user, 334)?;
            self.hidden(password, 235)?;
        } else {
            return Err(format!(
                "{} takes no password by PLAIN or LOGIN: leave the user out, or ask who runs it",
                self.host
            ));
        }
        Ok(())
    }

    fn hidden(&mut self, text: &str, wanted: u16) -> Result<(), String> {
        let line = Zeroizing::new(format!("{}\r\n", base64(text.as_bytes())));
        self.wire.send(line.as_bytes())?;
        self.answer("AUTH LOGIN", wanted).map(drop)
    }

    fn deliver(&mut self, letter: &Letter<'_>) -> Result<String, String> {
        self.say(&format!("MAIL FROM:<{}>", letter.from), 250)?;
        let mut taken = 0_usize;
        let mut refused = Vec::new();
        for mailbox in &*letter.to {
            match self.say(&format!("RCPT TO:<{mailbox}>"), 250) {
                Ok(_) => taken += 1,
                Err(words) if words.contains("answered RCPT by") => {
                    refused.push(format!("not for {mailbox}: {words}"))
                }
                Err(words) => return Err(words),
            }
        }
        if taken == 0 {
            return Err(refused.join("; "));
        }
        self.say("DATA", 354)?;
        self.wire.send(&letter.mail)?;
        self.say(".", 250)?;
        let words = format!("{} took it for {taken} of {}", self.host, letter.to.len());
        Ok(if refused.is_empty() { words } else { format!("{words}; {}", refused.join("; ")) })
    }
}

fn remedy(code: u16) -> &'static str {
    match code {
        421 | 450..=452 => ": it is tried again",
        530 => ": it wants a user and a password",
        534 | 535 | 538 => ": set another user or password",
        550 | 551 | 553 | 554 => ": it does not take mail from here, or for that address",
        _ => "",
    }
}
