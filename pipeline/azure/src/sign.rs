//! SharedKey: the signature that proves knowledge of an account's key without sending it.

use ring::hmac;
use zeroize::Zeroizing;

use pipeline_vault::Error;

use crate::encode::{base64, base64_decode};
use crate::request::Request;
use crate::secret::Secret;

/// Headers that stand at fixed places of the text that is signed, after the method and around the length.
const FIXED_BEFORE_LENGTH: [&str; 2] = ["content-encoding", "content-language"];
const FIXED_AFTER_LENGTH: [&str; 8] = [
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// An account's key, ready to sign.
#[derive(Clone)]
pub struct SharedKey {
    account: String,
    key: hmac::Key,
}

impl SharedKey {
    /// Takes the key as Azure's portal shows it: base64.
    pub fn new(account: &str, key: &Secret) -> Result<Self, Error> {
        let raw = base64_decode(key.expose()).map(Zeroizing::new);
        let raw = raw.filter(|raw| !raw.is_empty()).ok_or_else(|| {
            Error::misuse(format!("key of account «{account}»"), "is not base64")
                .remedy("copy key1 or key2 of the storage account whole, as the portal shows it")
        })?;
        Ok(Self { account: account.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, &raw) })
    }

    /// The account whose key it is.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The value of the `Authorization` header for this request.
    pub fn authorization(&self, request: &Request<'_>) -> String {
        let text = string_to_sign(&self.account, request);
        format!("SharedKey {}:{}", self.account, self.sign(&text))
    }

    /// The signature of any text, in base64.
    pub fn sign(&self, text: &str) -> String {
        base64(hmac::sign(&self.key, text.as_bytes()).as_ref())
    }
}

impl core::fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SharedKey({}, ***)", self.account)
    }
}

/// The text that SharedKey signs.
pub fn string_to_sign(account: &str, request: &Request<'_>) -> String {
    let mut text = String::from(request.method.name());
    text.push('\n');
    for name in FIXED_BEFORE_LENGTH {
        push_line(&mut text, request.header(name).unwrap_or_default());
    }
    push_line(&mut text, &content_length(request));
    // Where x-ms-date is sent, Date counts as empty even if it is sent too.
    let dated = request.header("x-ms-date").is_some();
    for name in FIXED_AFTER_LENGTH {
        let value = if name == "date" && dated { None } else { request.header(name) };
        push_line(&mut text, value.unwrap_or_default());
    }
    for (name, value) in azure_headers(request) {
        text.push_str(&name);
        text.push(':');
        push_line(&mut text, &value);
    }
    text.push('/');
    text.push_str(account);
    text.push_str(&request.path);
    for (name, values) in sorted_query(request) {
        text.push('\n');
        text.push_str(&name);
        text.push(':');
        text.push_str(&values);
    }
    text
}

fn push_line(text: &mut String, value: &str) {
    text.push_str(value);
    text.push('\n');
}

/// The length of the body, empty where it is nothing.
fn content_length(request: &Request<'_>) -> String {
    match (request.header("content-length"), request.body_bytes()) {
        (Some("0"), _) | (None, 0) => String::new(),
        (Some(length), _) => length.to_owned(),
        (None, length) => length.to_string(),
    }
}

/// The `x-ms-` headers in lower case, sorted by name.
fn azure_headers(request: &Request<'_>) -> Vec<(String, String)> {
    let mut headers: Vec<_> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .filter(|(name, _)| name.starts_with("x-ms-"))
        .collect();
    headers.sort();
    headers
}

/// Names of the query in lower case, sorted; values of one name sorted and joined by commas.
fn sorted_query(request: &Request<'_>) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = request
        .query
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .collect();
    pairs.sort();
    let mut joined: Vec<(String, String)> = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        match joined.last_mut() {
            Some((last, values)) if *last == name => {
                values.push(',');
                values.push_str(&value);
            }
            _ => joined.push((name, value)),
        }
    }
    joined
}

#[cfg(test)]
mod tests;
