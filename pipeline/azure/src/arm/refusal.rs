//! Refusals in words for a person: what is wrong and what to change.

/// Azure's codes, and what each of them means here.
mod codes;
/// Numbers and names that Azure hides in its sentences.
mod sentence;

use core::time::Duration;

use serde_json::Value;

use super::{Refused, Why};
use crate::response::Head;
use codes::known;
use sentence::{between, missing_cores, quoted_after};

/// Codes that say nothing, where the details say more.
const VAGUE: [&str; 8] = [
    "BadRequest",
    "Conflict",
    "DeploymentFailed",
    "MultipleErrorsOccurred",
    "OperationFailed",
    "ResourceOperationFailure",
    "ResourceDeploymentFailure",
    "InvalidTemplateDeployment",
];

/// What Azure says in a refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The HTTP status; 200 where an operation failed behind its answer.
    pub(super) status: u16,
    pub(super) code: String,
    /// All of Azure's words, to be searched for names and numbers.
    message: String,
    /// The policy that forbade it.
    policy: Option<String>,
    request: String,
    retry_after: Option<Duration>,
    /// Whether it is Azure that speaks.
    from_azure: bool,
}

impl Said {
    /// Reads an answer's head and body; the body may be anything.
    pub(super) fn new(head: &Head, body: &[u8]) -> Self {
        let mut said = Self::read(&serde_json::from_slice(body).unwrap_or(Value::Null));
        said.status = head.status;
        said.retry_after = head.retry_after().map(Duration::from_secs);
        let id =
            head.header("x-ms-request-id").or_else(|| head.header("x-ms-correlation-request-id"));
        said.request = one_line(id.unwrap_or_default());
        said.from_azure |= id.is_some();
        said
    }

    /// Reads what an operation that failed says.
    pub(super) fn of_operation(body: &Value) -> Self {
        Self { status: 200, from_azure: true, ..Self::read(body) }
    }

    fn read(body: &Value) -> Self {
        let error = body.get("error").or_else(|| body.pointer("/properties/error")).unwrap_or(body);
        let details = error.get("details").and_then(Value::as_array).and_then(|list| list.first());
        let text = |value: &Value, name: &str| {
            value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let mut said = Self {
            code: text(error, "code"),
            message: text(error, "message"),
            policy: policy(error),
            ..Self::default()
        };
        if let Some(inner) =
            details.filter(|_| said.code.is_empty() || VAGUE.contains(&said.code.as_str()))
        {
            let (code, message) = (text(inner, "code"), text(inner, "message"));
            said.policy = said.policy.or_else(|| policy(inner));
            if !code.is_empty() {
                (said.code, said.message) = (code, message);
            }
        }
        said.code =
            one_line(&said.code).chars().filter(|char| !char.is_whitespace()).take(80).collect();
        said.from_azure = !said.code.is_empty();
        said
    }

    /// Whether the same call may pass in a moment.
    pub(super) fn is_passing(&self) -> bool {
        why(self) == Why::Later
    }

    /// Whether Azure turns this identity away whatever it asks, and not only this call.
    pub(super) fn is_about_everybody(&self) -> bool {
        self.status == 429 && !self.code.starts_with("Retryable")
    }

    /// Whether another token could change the answer.
    pub(super) fn is_about_token(&self) -> bool {
        self.status == 401
    }

    /// The refusal of what was asked.
    pub(super) fn refuse(self, act: &str) -> Refused {
        let why = why(&self);
        Refused {
            why,
            words: words(&self, why),
            act: act.to_owned(),
            retry_after: self.retry_after.or_else(|| kept_for(&self.code)),
            code: self.code,
        }
    }
}

/// The policy that an error names, by the name that a person gave it.
fn policy(error: &Value) -> Option<String> {
    let infos = error.get("additionalInfo").and_then(Value::as_array)?;
    let info = infos.iter().filter_map(|one| one.get("info")).find_map(|info| {
        let text =
            |name: &str| info.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let assignment =
            text("policyAssignmentDisplayName").or_else(|| text("policyAssignmentName"));
        text("policyDefinitionDisplayName").or(assignment).or_else(|| text("policyDefinitionName"))
    });
    info.map(one_line)
}

/// How long Azure holds on to something without saying so in a header.
fn kept_for(code: &str) -> Option<Duration> {
    (code == "NicReservedForAnotherVm").then_some(Duration::from_secs(180))
}

/// What a program can do about it.
fn why(said: &Said) -> Why {
    if !said.from_azure {
        return if said.status >= 500 { Why::Later } else { Why::Way };
    }
    let quota = said.message.to_lowercase().contains("quota");
    match known(&said.code) {
        _ if quota && said.code == "OperationNotAllowed" => Why::Quota,
        Some(known) => known.why,
        None => by_status(said.status),
    }
}

fn by_status(status: u16) -> Why {
    match status {
        401 | 403 => Why::Denied,
        404 => Why::Missing,
        409 | 412 => Why::Conflict,
        408 | 429 | 500..=599 => Why::Later,
        _ => Why::Invalid,
    }
}

fn words(said: &Said, why: Why) -> String {
    let message = said.message.as_str();
    let named = named(said);
    let ours = match said.code.as_str() {
        "RequestDisallowedByPolicy" => Some(by_policy(said)),
        "AuthorizationFailed" | "LinkedAuthorizationFailed" => Some(by_role(message)),
        code => known(code).map(|known| known.words.to_owned()).filter(|words| !words.is_empty()),
    };
    let ours = ours.or_else(|| match why {
        Why::Quota => Some(missing_cores(message).unwrap_or_else(|| {
            "a quota of the subscription is used up; ask for more under «Quotas» in Azure's portal".to_owned()
        })),
        Why::Way => Some(format!(
            "what answers (HTTP {}) is not Azure but something before it: a proxy, a firewall or a login page; \
             check the endpoint",
            said.status
        )),
        Why::Conflict => disk_state(message).map(str::to_owned),
        Why::Later if said.status == 429 => {
            Some("Azure takes no more requests of this identity just now; it is tried again later".to_owned())
        }
        _ => None,
    });
    let theirs = one_line(message);
    match ours {
        Some(ours) if theirs.is_empty() || said.code.is_empty() => ours,
        Some(ours) => format!("{ours} [{named}: {theirs}]"),
        None => {
            let theirs =
                if theirs.is_empty() { "Azure gives no reason".to_owned() } else { theirs };
            let id = if said.request.is_empty() {
                String::new()
            } else {
                format!("; Microsoft finds it as request {}", said.request)
            };
            format!("{theirs} ({named}){id}")
        }
    }
}

/// Which policy forbids it.
fn by_policy(said: &Said) -> String {
    let found = said.policy.clone();
    let found = found.or_else(|| {
        let message = said.message.replace("\\\"", "\"");
        between(&message, "\"policyDefinition\":{\"name\":\"", "\"")
            .or_else(|| between(&message, "\"policyAssignment\":{\"name\":\"", "\""))
            .map(one_line)
    });
    let which = found.map_or_else(|| "a policy".to_owned(), |name| format!("policy «{name}»"));
    format!(
        "{which} of the subscription forbids it; ask its owner for an exemption, or change what it wants"
    )
}

/// Which action is missing, where, and which role gives it.
fn by_role(message: &str) -> String {
    let linked = between(message, "permission to perform action(s) '", "'")
        .or_else(|| between(message, "permission to perform action(s) ", " "));
    let action = linked.or_else(|| quoted_after(message, "perform action"));
    let scope =
        between(message, "linked scope(s) '", "'").or_else(|| quoted_after(message, "over scope"));
    let action =
        action.map_or_else(|| "this".to_owned(), |action| format!("«{}»", one_line(action)));
    let scope = scope.map_or_else(|| "the resource group".to_owned(), one_line);
    format!(
        "the identity may not {action} on {scope}; give it the role «{}» there; new roles take some minutes",
        super::role::NAME
    )
}

/// What a disk's state forbids, told by Azure in sentences only.
fn disk_state(message: &str) -> Option<&'static str> {
    let message = message.to_lowercase();
    let has = |words: &[&str]| words.iter().all(|word| message.contains(word));
    if has(&["shared access signature"]) || has(&["activesas"]) || has(&["activeupload"]) {
        return Some("somebody still holds a signature of the disk; end that access first");
    }
    if has(&["readytoupload"]) {
        return Some("nothing was uploaded into the disk yet");
    }
    if has(&["disk", "attached"]) || has(&["disk", "owned by"]) {
        return Some("the disk belongs to a machine; delete that, or detach it, first");
    }
    None
}

/// `409 Conflict`.
fn named(said: &Said) -> String {
    match (said.status, said.code.as_str()) {
        (200, code) => code.to_owned(),
        (status, code) => format!("HTTP {status} {code}").trim_end().to_owned(),
    }
}

/// The first line, of at most 300 characters.
pub(super) fn one_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim();
    let mut short: String = line.chars().filter(|char| !char.is_control()).take(300).collect();
    if line.chars().count() > 300 {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;
