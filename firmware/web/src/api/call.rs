//! What a route is asked: who, which path, which query, which body; and how these are read. Whatever is wrong with them is
//! said beside the field.

use core::fmt;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use serde::de::DeserializeOwned;

use super::Admin;
use super::admin::Origin;
use super::alarm::Alarm;
use super::setup::Setup;
use super::site::{Answer, Caller, Refusal, Role, Site};
use super::verbs::Verbs;

/// Longest part of a path, decoded.
const PART_BYTES_MAX: usize = 300;
/// Most parameters of a query.
const PARAMETERS_MAX: usize = 32;

/// What stands behind the API.
#[derive(Clone, Copy)]
pub struct Behind<'a> {
    /// The appliance.
    pub site: &'a dyn Site,
    /// Who may manage it.
    pub admin: &'a dyn Admin,
    /// First run, where there is one.
    pub setup: Option<&'a dyn Setup>,
    /// Alerts, where there are any.
    pub alarm: Option<&'a dyn Alarm>,
    /// Verbs for somebody elsewhere, where they are run.
    pub verbs: Option<&'a dyn Verbs>,
    /// Everything that is measured, in Prometheus' format.
    pub metrics: Option<&'a dyn Fn() -> String>,
}

impl fmt::Debug for Behind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Behind(…)")
    }
}

/// Who asks, known by a session or a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Who {
    /// As everybody is told.
    pub caller: Caller,
    /// The user: of a token, who made it. A second person is another user.
    pub user: String,
    /// The session, by what it is ended by; none for a token.
    pub session: Option<String>,
    /// What a changing request of the session carries beside the cookie; empty for a token.
    pub csrf: String,
}

impl fmt::Debug for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Who");
        shown.field("caller", &self.caller).field("user", &self.user).finish_non_exhaustive()
    }
}

/// A body that is read while it comes.
#[derive(Clone, Copy)]
pub struct Stream<'a>(pub &'a Mutex<dyn Read + Send>);

impl fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream(…)")
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read(into)
    }
}

/// What is asked of a route.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// What stands behind.
    pub behind: Behind<'a>,
    /// Who asks; nobody where nobody needs to.
    pub who: Option<&'a Who>,
    /// From where.
    pub from: &'a Origin,
    /// What stands for the `{...}` of the route's path, in order, decoded.
    pub parts: Vec<String>,
    /// The path below `/api/v1` as it came.
    pub path: &'a str,
    /// The query as it came.
    pub query: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// The body of a route that takes a stream.
    pub stream: Option<Stream<'a>>,
    /// The header `range`.
    pub range: Option<&'a str>,
    /// The header `last-event-id`.
    pub last_event: Option<&'a str>,
}

impl Call<'_> {
    /// The appliance.
    #[must_use]
    pub fn site(&self) -> &dyn Site {
        self.behind.site
    }

    /// Who may manage it.
    #[must_use]
    pub fn admin(&self) -> &dyn Admin {
        self.behind.admin
    }

    /// First run.
    pub fn setup(&self) -> Answer<&dyn Setup> {
        self.behind.setup.ok_or_else(|| absent("first run"))
    }

    /// Alerts.
    pub fn alarm(&self) -> Answer<&dyn Alarm> {
        self.behind.alarm.ok_or_else(|| absent("alerts"))
    }

    /// Verbs.
    pub fn verbs(&self) -> Answer<&dyn Verbs> {
        self.behind.verbs.ok_or_else(|| absent("verbs"))
    }

    /// What is measured.
    pub fn metrics(&self) -> Answer<String> {
        self.behind.metrics.map(|metrics| metrics()).ok_or_else(|| absent("metrics"))
    }

    /// Who asks.
    pub fn who(&self) -> Answer<&Who> {
        self.who.ok_or_else(unknown)
    }

    /// Who asks, as the appliance is told.
    pub fn by(&self) -> Answer<&Caller> {
        Ok(&self.who()?.caller)
    }

    /// Whether somebody asks who may do at least this.
    #[must_use]
    pub fn is(&self, role: Role) -> bool {
        self.who.is_some_and(|who| who.caller.role >= role)
    }

    /// What stands for the first `{...}`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.parts.first().map_or("", String::as_str)
    }

    /// A parameter of the query.
    pub fn text(&self, name: &str) -> Answer<Option<String>> {
        let mut found = None;
        for (known, value) in pairs(self.query)? {
            if known == name && found.replace(value).is_some() {
                return Err(parameter(name, "is said twice"));
            }
        }
        Ok(found)
    }

    /// The same, which must be there.
    pub fn needed(&self, name: &str) -> Answer<String> {
        self.text(name)?.ok_or_else(|| parameter(name, "is missing"))
    }

    /// A number of the query.
    pub fn number(&self, name: &str, most: u64) -> Answer<Option<u64>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number: Option<u64> = text.parse().ok().filter(|number| plain && *number <= most);
        let wrong = || parameter(name, &format!("is not a whole number of 0 to {most}"));
        number.map(Some).ok_or_else(wrong)
    }

    /// `true` or `false` of the query; `false` where nothing is said.
    pub fn flag(&self, name: &str) -> Answer<bool> {
        match self.text(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(parameter(name, "is neither true nor false")),
        }
    }

    /// A word of the query that stands for a value, as JSON has it.
    pub fn word<T: DeserializeOwned>(&self, name: &str) -> Answer<Option<T>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let wrong = |error: serde_json::Error| parameter(name, &error.to_string());
        serde_json::from_value(serde_json::Value::String(text)).map(Some).map_err(wrong)
    }

    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Answer<T> {
        let value: serde_json::Value = serde_json::from_slice(self.body)
            .map_err(|error| sent(format!("is not JSON: {error}")))?;
        serde_path_to_error::deserialize(value).map_err(|error| {
            let words = error.inner().to_string();
            let mut field = String::new();
            for part in error.path().iter() {
                use serde_path_to_error::Segment;
                match part {
                    Segment::Seq { index } => field.push_str(&format!("/{index}")),
                    Segment::Map { key } => field.push_str(&format!("/{}", pointer(key))),
                    Segment::Enum { .. } | Segment::Unknown => {}
                }
            }
            // Of one that is missing or unknown only the words know the name.
            let named = ["missing field `", "unknown field `"]
                .iter()
                .find_map(|begin| words.strip_prefix(begin)?.split('`').next());
            let named = named.map(|named| format!("/{}", pointer(named)));
            if let Some(named) = named.filter(|named| !field.ends_with(named)) {
                field.push_str(&named);
            }
            sent(format!("is not what is taken here: {words}")).at(field)
        })
    }

    /// The body as text.
    pub fn body_text(&self) -> Answer<&str> {
        core::str::from_utf8(self.body).map_err(|_| sent("is no text in UTF-8".to_owned()))
    }
}

/// The parameters of a query, decoded.
pub(super) fn pairs(query: &str) -> Answer<Vec<(String, String)>> {
    let parts: Vec<&str> = query.split('&').filter(|part| !part.is_empty()).collect();
    if parts.len() > PARAMETERS_MAX {
        return Err(Refusal::new(400, "the query", "has too many parameters"));
    }
    let wrong = || Refusal::new(400, "the query", "is not written as queries are");
    let read = |part: &&str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let plain = |text: &str| decoded(&text.replace('+', " ")).ok_or_else(wrong);
        Ok((plain(name)?, plain(value)?))
    };
    parts.iter().map(read).collect()
}

/// A part of a path, decoded. `None` where it is nothing that a part may be.
pub(super) fn part(text: &str) -> Option<String> {
    decoded(text).filter(|text| {
        !text.is_empty() && text.len() <= PART_BYTES_MAX && !text.chars().any(char::is_control)
    })
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        if first == b'%' {
            let (digits, behind) = behind.split_first_chunk::<2>()?;
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let value = digit(digits[0])? * 16 + digit(digits[1])?;
            bytes.push(u8::try_from(value).ok()?);
            rest = behind;
        } else {
            bytes.push(first);
            rest = behind;
        }
    }
    String::from_utf8(bytes).ok()
}

/// As a JSON pointer has a name.
fn pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn sent(what: String) -> Refusal {
    Refusal::new(400, "what was sent", what)
}

fn parameter(name: &str, what: &str) -> Refusal {
    Refusal::new(400, format!("parameter {name}"), what).at(format!("/{}", pointer(name)))
}

fn absent(what: &str) -> Refusal {
    Refusal::new(404, what, "is not there on this machine")
}

/// Nobody is known by what came.
pub(super) fn unknown() -> Refusal {
    Refusal::new(401, "the caller", "is not known")
        .remedy("log in, or send a token that has not ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_queries_are_decoded_or_refused() {
        assert_eq!(part("web%201").as_deref(), Some("web 1"));
        assert_eq!(part("%e2%82%ac").as_deref(), Some("€"));
        for wrong in ["", "%", "%4", "%zz", "%ff", "%00", "a%0ab", &"a".repeat(301)] {
            assert_eq!(part(wrong), None, "{wrong:?}");
        }
        let read = pairs("a=1&b=x%26y+z&c&&=5").unwrap();
        let expected = [("a", "1"), ("b", "x&y z"), ("c", ""), ("", "5")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(pairs("a=%").is_err());
        assert!(pairs(&"a=1&".repeat(33)).is_err());
    }

    #[test]
    fn pointers_escape_what_they_must() {
        assert_eq!(pointer("a/b~c"), "a~1b~0c");
    }
}
