//! Asking for a token, as pure values: the form that is posted, and what its answer means.

use core::time::Duration;

use pipeline_vault::Error;
use pipeline_vault::error::Retry;
use serde::Deserialize;

use super::Identity;
use crate::address::Origin;
use crate::encode::percent_query;
use crate::request::{Method, Request};
use crate::response::Head;
use crate::secret::Secret;
use crate::transport::Reply;
use crate::transport::failure::Failure;

/// Largest answer that is read: tokens have a few kilobytes.
const ANSWER_BYTES_MAX: u64 = 256 * 1024;
/// Shortest and longest life that is believed.
const LIFE_SECONDS: core::ops::RangeInclusive<u64> = 1..=86_400 * 2;

/// A token and for how many seconds it holds.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) token: Secret,
    pub(super) seconds: u64,
}

/// What an answer means.
#[derive(Debug)]
pub(super) enum Verdict {
    Token(Answer),
    Refused(Error),
    Again { error: Error, retry_after: Option<Duration> },
}

/// The request for a token.
pub fn request(
    identity: &Identity,
    scope: &str,
    unix_seconds: u64,
    name: [u8; 16],
) -> Result<(Origin, Request<'static>), Error> {
    match identity {
        Identity::Secret { tenant, client, secret, authority } => {
            let fields = [("client_secret", secret.clone())];
            Ok((authority.clone(), form(tenant, client, scope, &fields)))
        }
        Identity::Certificate { tenant, client, certificate, authority } => {
            let audience = format!("{authority}{}", token_path(tenant));
            let assertion = certificate.assertion(&audience, client, unix_seconds, name)?;
            let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            let fields =
                [("client_assertion_type", Secret::new(kind)), ("client_assertion", assertion)];
            Ok((authority.clone(), form(tenant, client, scope, &fields)))
        }
        Identity::Managed { client, host, base, .. } => {
            let base = if base.is_empty() { String::new() } else { format!("/{base}") };
            let resource = scope.trim_end_matches("/.default");
            let path = format!("{base}/metadata/identity/oauth2/token");
            let mut request = Request::new(Method::Get, path)
                .with_query("api-version", "2018-02-01")
                .with_query("resource", resource)
                .with_header("metadata", "true");
            if let Some(client) = client {
                request = request.with_query("client_id", client);
            }
            Ok((host.clone(), request))
        }
    }
}

fn token_path(tenant: &str) -> String {
    format!("/{}/oauth2/v2.0/token", percent_query(tenant))
}

fn form(tenant: &str, client: &str, scope: &str, fields: &[(&str, Secret)]) -> Request<'static> {
    let mut body = String::from("grant_type=client_credentials");
    let plain = [("client_id", client), ("scope", scope)];
    let secret = fields.iter().map(|(name, value)| (*name, value.expose()));
    for (name, value) in plain.into_iter().chain(secret) {
        body.push_str(&format!("&{name}={}", percent_query(value)));
    }
    Request::new(Method::Post, token_path(tenant))
        .with_header("content-type", "application/x-www-form-urlencoded")
        .with_header("accept", "application/json")
        .with_body(body.into_bytes())
}

#[derive(Deserialize)]
struct TokenBody {
    access_token: String,
    /// A number from Entra, text from the metadata service.
    expires_in: serde_json::Value,
}

#[derive(Default, Deserialize)]
struct ErrorBody {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

/// What came back, or did not.
pub(super) fn judge(identity: &Identity, reply: Result<Reply, Failure>, local_ms: u64) -> Verdict {
    let whose = object(identity);
    let mut reply = match reply {
        Ok(reply) => reply,
        Err(failure) => return lost(identity, failure),
    };
    let head = core::mem::take(&mut reply.head);
    let body = match reply.read_all(ANSWER_BYTES_MAX) {
        Ok(body) => body,
        Err(failure) => return lost(identity, failure),
    };
    if head.status == 200 {
        return match read_token(&body) {
            Some(answer) => Verdict::Token(answer),
            None => {
                Verdict::Refused(Error::refused(whose, "got an answer that holds no token").remedy(
                    "check AZURE_AUTHORITY_HOST and what stands between this machine and it",
                ))
            }
        };
    }
    let error = serde_json::from_slice::<ErrorBody>(&body).unwrap_or_default();
    let managed = matches!(identity, Identity::Managed { .. });
    // The metadata service says 404 and 410 while it is being updated.
    let passing = matches!(head.status, 408 | 429 | 500..=599)
        || (managed && matches!(head.status, 404 | 410));
    let refused = refusal(identity, &head, &error, local_ms);
    if passing {
        let retry_after = head.retry_after().map(Duration::from_secs);
        return Verdict::Again { error: refused.retry(Retry::Later), retry_after };
    }
    Verdict::Refused(refused)
}

fn read_token(body: &[u8]) -> Option<Answer> {
    let body: TokenBody = serde_json::from_slice(body).ok()?;
    let seconds = match &body.expires_in {
        serde_json::Value::Number(number) => number.as_u64()?,
        serde_json::Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    let sendable = !body.access_token.is_empty()
        && body.access_token.bytes().all(|byte| byte.is_ascii_graphic());
    let token = Secret::new(body.access_token);
    (sendable && LIFE_SECONDS.contains(&seconds)).then_some(Answer { token, seconds })
}

/// What there is to set where nothing is.
const SET_ONE: &str = "set AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_CONNECTION_STRING; or \
                       AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH";

fn lost(identity: &Identity, failure: Failure) -> Verdict {
    let passing = failure.is_passing();
    let error = match identity {
        Identity::Managed { only_guess: true, .. } => {
            Error::misuse("credentials", "are not set, and this machine has no managed identity")
                .remedy(SET_ONE)
        }
        _ => failure.into_error(object(identity)),
    };
    if passing { Verdict::Again { error, retry_after: None } } else { Verdict::Refused(error) }
}

fn object(identity: &Identity) -> String {
    match identity {
        Identity::Secret { client, .. } | Identity::Certificate { client, .. } => {
            format!("identity «{client}»")
        }
        Identity::Managed { client: Some(client), .. } => format!("managed identity «{client}»"),
        Identity::Managed { client: None, .. } => "managed identity".to_owned(),
    }
}

/// Entra's refusals by their numbers, in words.
fn refusal(identity: &Identity, head: &Head, body: &ErrorBody, local_ms: u64) -> Error {
    let number = aadsts(&body.error_description);
    let (what, remedy) = match number {
        7_000_215 => {
            ("its secret is wrong", "check AZURE_CLIENT_SECRET: the secret's value, not its id")
        }
        7_000_222 => {
            ("its secret has expired", "make a new one and put it into AZURE_CLIENT_SECRET")
        }
        700_016 => ("is not known in this tenant", "check AZURE_CLIENT_ID and AZURE_TENANT_ID"),
        90_002 | 900_023 => ("its tenant does not exist", "check AZURE_TENANT_ID and the cloud"),
        700_027 => (
            "its certificate is not registered with it",
            "upload the certificate to the application, or check AZURE_CLIENT_CERTIFICATE_PATH",
        ),
        700_024 => {
            let skew = head.date().map_or(0, |date| date.abs_diff(local_ms)) / 60_000;
            let what = format!(
                "Entra refuses its assertion: this machine's clock is off by {skew} minutes"
            );
            return Error::refused(object(identity), what)
                .remedy("set the clock (NTP), then run it again");
        }
        _ => {
            let said = if body.error.is_empty() { "no reason" } else { body.error.as_str() };
            let said: String = said.chars().filter(|char| !char.is_control()).take(80).collect();
            let number = if number == 0 { String::new() } else { format!(", AADSTS{number}") };
            let what = format!("gets no token: HTTP {} ({said}{number})", head.status);
            let remedy = match identity {
                Identity::Managed { only_guess: true, .. } => {
                    format!(
                        "no credentials are set, so this machine's own identity was asked: {SET_ONE}"
                    )
                }
                _ => "check the identity in Entra's portal".to_owned(),
            };
            return Error::refused(object(identity), what).remedy(remedy);
        }
    };
    Error::refused(object(identity), what).remedy(remedy)
}

/// The number in «AADSTS7000215: …»; 0 where there is none.
fn aadsts(description: &str) -> u64 {
    let Some((_, rest)) = description.split_once("AADSTS") else { return 0 };
    let digits: String = rest.chars().take_while(char::is_ascii_digit).take(12).collect();
    digits.parse().unwrap_or(0)
}
