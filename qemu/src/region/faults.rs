//! What goes wrong on purpose: rules, each with how often, drawn by a seed.

use serde_json::{Value, json};

use super::http::Request;
use super::refusal::Refusal;

/// Which requests meet a fault, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Only this method; empty for all.
    pub method: String,
    /// Only requests whose path contains this, whatever its case; empty for all.
    pub contains: String,
    /// So many that match pass first.
    pub skip: u32,
    /// So many meet it; `u32::MAX` for all.
    pub times: u32,
    /// Of those that match, so many in a thousand; 1000 for all.
    pub per_mille: u32,
    /// What happens.
    pub fault: Fault,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused, and nothing is done.
    Refuse(Refusal),
    /// It is taken, and what goes on behind the answer fails.
    FailLater(Refusal),
    /// What goes on behind the answer takes so many milliseconds longer.
    Slow(u64),
    /// It is done, and the connection ends before the answer.
    LoseReply,
    /// Whoever asks may not do this, such as `Microsoft.Compute/disks/write`; `*` at its end stands for anything. Method, path
    /// and numbers of the rule do not count.
    Deny(String),
}

impl Fault {
    /// Too many requests.
    pub fn throttled(retry_after_s: u32) -> Self {
        let words = "The request was throttled. Retry after the time that the header says.";
        let refusal = Refusal::new(429, "TooManyRequests", words);
        Self::Refuse(Refusal { retry_after_s: Some(retry_after_s), ..refusal })
    }

    /// A passing fault of Azure's own.
    pub fn unavailable() -> Self {
        Self::Refuse(Refusal::new(503, "ServiceUnavailable", "The service is unavailable."))
    }

    /// No room for a machine, found out after the answer.
    pub fn no_room() -> Self {
        let words = "Allocation failed. We do not have sufficient capacity for the requested VM size in this region. Read more \
            about improving likelihood of allocation success at http://aka.ms/allocation-guidance";
        Self::FailLater(Refusal::new(409, "AllocationFailed", words))
    }

    /// A policy of the subscription forbids it.
    pub fn policy(name: &str) -> Self {
        let words = format!(
            "Resource was disallowed by policy. Policy identifiers: '[{{\"policyAssignment\":{{\"name\":\"{name}\"}}}}]'."
        );
        Self::Refuse(Refusal::new(403, "RequestDisallowedByPolicy", words))
    }
}

impl Rule {
    /// The next `times` requests of this method whose path contains the text.
    pub fn new(method: &str, contains: &str, times: u32, fault: Fault) -> Self {
        let (method, contains) = (method.to_owned(), contains.to_owned());
        Self { method, contains, skip: 0, times, per_mille: 1000, fault }
    }

    /// Nobody may do this from now on.
    pub fn deny(action: &str) -> Self {
        Self::new("", "", u32::MAX, Fault::Deny(action.to_owned()))
    }

    /// Reads a rule; the error says what is wrong with it.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let number = |name: &str, otherwise: u32| match value.get(name) {
            None => Ok(otherwise),
            Some(value) => {
                let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
                number.ok_or_else(|| format!("{name} is no number: {value}"))
            }
        };
        let refusal = |value: &Value| {
            let text = |name: &str| value.get(name).and_then(Value::as_str);
            let whole = |name: &str| value.get(name).and_then(Value::as_u64);
            let status = whole("status").and_then(|status| u16::try_from(status).ok());
            let wait = whole("retry_after_s").and_then(|seconds| u32::try_from(seconds).ok());
            let code = text("code").unwrap_or("InternalServerError");
            let words = text("message").unwrap_or("made to fail by a test");
            Refusal { retry_after_s: wait, ..Refusal::new(status.unwrap_or(500), code, words) }
        };
        let fault = if let Some(action) = value.get("deny").and_then(Value::as_str) {
            Fault::Deny(action.to_owned())
        } else if let Some(refused) = value.get("refuse") {
            Fault::Refuse(refusal(refused))
        } else if let Some(refused) = value.get("fail_later") {
            Fault::FailLater(refusal(refused))
        } else if let Some(ms) = value.get("slow_ms").and_then(Value::as_u64) {
            Fault::Slow(ms)
        } else if value.get("lose_reply").is_some() {
            Fault::LoseReply
        } else {
            let known = "deny, refuse, fail_later, slow_ms, lose_reply";
            return Err(format!("a rule without a fault ({known}): {value}"));
        };
        Ok(Self {
            method: text("method").to_owned(),
            contains: text("contains").to_owned(),
            skip: number("skip", 0)?,
            times: number("times", u32::MAX)?,
            per_mille: number("per_mille", 1000)?,
            fault,
        })
    }
}

/// What the rules make of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drawn {
    pub(crate) refusal: Option<Refusal>,
    pub(crate) fails_later: Option<Refusal>,
    pub(crate) slow_ms: u64,
    pub(crate) loses_reply: bool,
}

/// The rules, and the dice.
#[derive(Debug)]
pub(crate) struct Faults {
    rules: Vec<Rule>,
    random: u64,
    met: u64,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rules: Vec::new(), random: seed.wrapping_mul(2).wrapping_add(1), met: 0 }
    }

    pub(crate) fn set(&mut self, rules: Vec<Rule>) {
        self.rules = rules;
    }

    /// How many requests met a fault so far.
    pub(crate) fn met(&self) -> u64 {
        self.met
    }

    /// What happens to this request: the first rule that takes it.
    pub(crate) fn draw(&mut self, request: &Request) -> Drawn {
        let dice = self.roll();
        let mut drawn = Drawn::default();
        let Some(rule) = self.rules.iter_mut().find_map(|rule| rule.take(request, dice)) else {
            return drawn;
        };
        self.met += 1;
        match rule {
            Fault::Refuse(refusal) => drawn.refusal = Some(refusal),
            Fault::FailLater(refusal) => drawn.fails_later = Some(refusal),
            Fault::Slow(ms) => drawn.slow_ms = ms,
            Fault::LoseReply => drawn.loses_reply = true,
            // Never taken by a request.
            Fault::Deny(_) => (),
        }
        drawn
    }

    /// The rule that forbids an action, as it is written.
    pub(crate) fn forbids(&self, action: &str) -> Option<&str> {
        let fits = |denied: &&str| match denied.strip_suffix('*') {
            Some(begin) => action.to_ascii_lowercase().starts_with(&begin.to_ascii_lowercase()),
            None => action.eq_ignore_ascii_case(denied),
        };
        self.denied().find(fits)
    }

    /// Everything that nobody may do.
    pub(crate) fn denied(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter_map(|rule| match &rule.fault {
            Fault::Deny(action) => Some(action.as_str()),
            _ => None,
        })
    }

    fn roll(&mut self) -> u32 {
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        u32::try_from(self.random % 1000).unwrap_or(0)
    }
}

impl Rule {
    fn take(&mut self, request: &Request, dice: u32) -> Option<Fault> {
        let path = request.path.to_ascii_lowercase();
        let matches = !matches!(self.fault, Fault::Deny(_))
            && (self.method.is_empty() || self.method == request.method)
            && path.contains(&self.contains.to_ascii_lowercase())
            && self.times > 0;
        if !matches {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        if dice >= self.per_mille {
            return None;
        }
        if self.times != u32::MAX {
            self.times -= 1;
        }
        Some(self.fault.clone())
    }
}

/// Rules as `/stand-in/faults` takes and shows them.
pub(crate) fn parse_all(value: &Value) -> Result<Vec<Rule>, String> {
    let rules = value.as_array().or_else(|| value.get("rules").and_then(Value::as_array));
    let rules =
        rules.ok_or_else(|| format!("neither a list of rules nor {}", json!({"rules": []})))?;
    rules.iter().map(Rule::parse).collect()
}
