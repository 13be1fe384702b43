//! Waiting for the server to say that it is up, and what it said.

use core::net::IpAddr;
use core::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pipeline_azure::arm::machine::{self, Console, Power};
use pipeline_azure::arm::{Answer, Why};
use pipeline_vault::{Error, Retry};

use super::calls::Thing;
use super::run::{Stop, Work};
use super::{Evidence, Kind};
use crate::profile::Signal;

/// Wait between two looks.
const LOOK: Duration = Duration::from_secs(2);
/// Longest console log that is fetched: Azure keeps about a mebibyte.
const CONSOLE_BYTES_MAX: u64 = 4 << 20;
/// How much of its end is kept.
const CONSOLE_KEPT_BYTES: usize = 32 << 10;
/// Largest picture that is kept.
pub(super) const SCREENSHOT_BYTES_MAX: u64 = 384 << 10;

impl Work<'_> {
    /// Waits until all signals of the profile came; a drill goes on without them, and says so at its end.
    pub(crate) fn wait_for_signals(&mut self) -> Result<(), Stop> {
        let began = self.world.hands.moment_millis();
        let limit = u64::from(self.order().profile.signal_within_s).saturating_mul(1000);
        loop {
            let missing = self.missing_signals()?;
            if missing.is_empty() {
                self.order_mut().evidence.up = Some(true);
                return self.save();
            }
            if self.world.hands.moment_millis().saturating_sub(began) >= limit {
                return self.gave_no_signal(&missing);
            }
            self.wait(LOOK)?;
        }
    }

    pub(crate) fn gave_no_signal(&mut self, missing: &[String]) -> Result<(), Stop> {
        if self.order().here.is_some() {
            self.gather_here()?;
        } else {
            self.gather_evidence()?;
        }
        self.order_mut().evidence.up = Some(false);
        let within = self.order().profile.signal_within_s;
        let last = self.order().evidence.console.lines().rfind(|line| !line.trim().is_empty());
        let last = last.map_or_else(
            || "its console is empty".to_owned(),
            |line| format!("its console ends with «{}»", line.trim()),
        );
        let what = format!("did not come within {within} s: {}; {last}", missing.join(", "));
        if self.order().kind == Kind::Drill {
            return self.tell(format!("what says that the server is up {what}"));
        }
        Err(Stop::Failed(
            Error::refused("what says that the server is up", what)
                .retry(Retry::Later)
                .remedy("look at its console log in the report; --point takes another point"),
        ))
    }

    /// What did not come yet, in words.
    fn missing_signals(&mut self) -> Result<Vec<String>, Stop> {
        let machine = self.order().machine()?;
        let view = match self.call(&machine::look(&machine)?)? {
            Answer::Done(view) => view,
            Answer::Begun(_) => return Ok(vec!["its state".to_owned()]),
        };
        let power = Power::of(&view);
        if power != Power::Running {
            return Ok(vec![format!("that it runs (it is {power:?})")]);
        }
        let drilled = self.order().kind == Kind::Drill;
        let signals = self.order().profile.signals.iter();
        let signals: Vec<Signal> =
            signals.filter(|signal| !drilled || !signal.is_by_network()).cloned().collect();
        let reads = signals.iter().any(|signal| matches!(signal, Signal::Console(_)));
        let console = if reads { self.console_text()? } else { String::new() };
        let address = self.order().evidence.address.clone();
        let address: Option<IpAddr> = address.and_then(|text| text.parse().ok());
        let hands = self.world.hands;
        let came = |signal: &Signal| match signal {
            Signal::Console(text) => console.contains(text.as_str()),
            Signal::Tcp(_) | Signal::Http { .. } => {
                address.is_some_and(|address| hands.answers(address, signal))
            }
        };
        let (came, missing): (Vec<&Signal>, Vec<&Signal>) =
            signals.iter().partition(|signal| came(signal));
        let came: Vec<String> = came.into_iter().map(words).collect();
        let told = if came.is_empty() && missing.is_empty() {
            vec!["Azure says that it runs; the profile asks for no other signal".to_owned()]
        } else {
            came
        };
        self.order_mut().evidence.signals = told;
        Ok(missing.into_iter().map(words).collect())
    }

    fn console_links(&mut self) -> Result<Console, Stop> {
        let machine = self.order().machine()?;
        match self.call(&machine::console(&machine)?) {
            Ok(Answer::Done(value)) => Ok(Console::of(&value)),
            Ok(Answer::Begun(operation)) => {
                let thing = Thing::Resource(machine);
                let value =
                    self.settle(&thing, super::Doing::Granting, Answer::Begun(operation))?;
                Ok(Console::of(&value))
            }
            // There is nothing on it yet.
            Err(Stop::Refused(refused)) if matches!(refused.why, Why::Missing | Why::Conflict) => {
                Ok(Console::default())
            }
            Err(stop) => Err(stop),
        }
    }

    fn console_text(&mut self) -> Result<String, Stop> {
        let Some(link) = self.console_links()?.log else { return Ok(String::new()) };
        match self.region.read(&link, CONSOLE_BYTES_MAX) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(refused) if refused.why == Why::Denied => Err(Stop::Refused(refused)),
            // It is looked at again soon, by a new link.
            Err(refused) => {
                log::debug!("{refused}");
                Ok(String::new())
            }
        }
    }

    /// Console log and screenshot, as far as there are any: their want is no reason to fail what runs.
    pub(crate) fn gather_evidence(&mut self) -> Result<(), Stop> {
        let links = match self.console_links() {
            Ok(links) => links,
            Err(Stop::Refused(refused)) => {
                return self.tell(format!("there is no console log: {refused}"));
            }
            Err(stop) => return Err(stop),
        };
        let region = self.region;
        let log = links.log.and_then(|link| region.read(&link, CONSOLE_BYTES_MAX).ok());
        let picture =
            links.screenshot.and_then(|link| region.read(&link, SCREENSHOT_BYTES_MAX).ok());
        let evidence: &mut Evidence = &mut self.order_mut().evidence;
        if let Some(log) = log {
            evidence.console = end_of(&String::from_utf8_lossy(&log));
        }
        evidence.screenshot = picture.and_then(|bytes| as_text(&bytes));
        self.save()
    }
}

/// A signal in words.
#[must_use]
pub(super) fn words(signal: &Signal) -> String {
    match signal {
        Signal::Console(text) => format!("«{text}» on its console"),
        Signal::Tcp(port) => format!("a connection to port {port}"),
        Signal::Http { port, path, contains } if contains.is_empty() => {
            format!("an answer of http port {port} at {path}")
        }
        Signal::Http { port, path, contains } => {
            format!("«{contains}» from http port {port} at {path}")
        }
    }
}

/// The end of a console log: what a terminal would do with it is taken out.
pub(super) fn end_of(text: &str) -> String {
    let clean: String = text
        .chars()
        .filter(|letter| *letter == '\n' || *letter == '\t' || !letter.is_control())
        .collect();
    let begin = clean.len().saturating_sub(CONSOLE_KEPT_BYTES);
    let begin = (begin..clean.len()).find(|at| clean.is_char_boundary(*at)).unwrap_or(clean.len());
    clean[begin..].to_owned()
}

/// A picture as a data URI, where the bytes are of a kind that browsers show.
pub(super) fn as_text(picture: &[u8]) -> Option<String> {
    let kind = match picture {
        [0x89, b'P', b'N', b'G', ..] => "png",
        [0xFF, 0xD8, 0xFF, ..] => "jpeg",
        [b'B', b'M', ..] => "bmp",
        _ => return None,
    };
    Some(format!("data:image/{kind};base64,{}", STANDARD.encode(picture)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pictures_are_kept_as_pictures() {
        assert!(
            as_text(b"\x89PNG..").is_some_and(|uri| uri.starts_with("data:image/png;base64,iVBO"))
        );
        assert!(as_text(b"<script>").is_none() && as_text(b"").is_none());
    }

    #[test]
    fn the_end_of_a_log_is_kept_and_commands_to_a_terminal_are_not() {
        assert_eq!(end_of("a\u{1b}[2Jb\r\nc"), "a[2Jb\nc");
        let long = format!("begin{}ü end", "ü".repeat(CONSOLE_KEPT_BYTES));
        let end = end_of(&long);
        assert!(
            end.len() <= CONSOLE_KEPT_BYTES && end.ends_with("ü end") && !end.contains("begin")
        );
    }
}
