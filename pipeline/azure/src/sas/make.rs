//! Making shared access signatures: for an account, a container, an object; with its key or with a delegation key.

use pipeline_vault::Error;

use super::SasToken;
use crate::encode::percent_query;
use crate::secret::Secret;
use crate::sign::SharedKey;

/// What every token says. Empty text stands for what is left out.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Letters of what is allowed: `r` read, `c` create, `w` write, `d` delete, `l` list.
    pub permissions: String,
    /// From when, as `2026-01-01T00:00:00Z`.
    pub start: String,
    /// Until when.
    pub expiry: String,
    /// From which address or range of addresses.
    pub addresses: String,
    /// `https`, or `https,http`.
    pub protocols: String,
    /// The version of the API whose layout is signed.
    pub version: String,
    /// The name of a policy stored with the container.
    pub policy: String,
}

/// What a token of a service is for.
#[derive(Clone, Copy, Debug)]
pub enum Resource<'a> {
    /// Everything in a container.
    Container {
        /// The container.
        container: &'a str,
    },
    /// One object, or one snapshot of it.
    Blob {
        /// Its container.
        container: &'a str,
        /// Its full name.
        name: &'a str,
        /// The snapshot's time, empty for the object itself.
        snapshot: &'a str,
    },
}

/// A key that Azure gave to an identity, so that it can make tokens for a while.
#[derive(Clone, Debug)]
pub struct DelegationKey {
    /// The identity that it was given to.
    pub object_id: String,
    /// Its tenant.
    pub tenant_id: String,
    /// From when it is good.
    pub start: String,
    /// Until when it is good.
    pub expiry: String,
    /// The service that it is for: `b`.
    pub service: String,
    /// The version of the API that gave it.
    pub version: String,
    /// The key itself, in base64.
    pub value: Secret,
}

/// A token for a whole account: `services` like `b`, `types` like `sco`.
pub fn account(
    key: &SharedKey,
    terms: &Terms,
    services: &str,
    types: &str,
) -> Result<SasToken, Error> {
    let text = account_text(key.account(), terms, services, types);
    let mut query = common_query(terms);
    query.push(("ss", services.to_owned()));
    query.push(("srt", types.to_owned()));
    finish(query, &key.sign(&text))
}

/// A token for a container or an object, made with the account's key.
pub fn service(key: &SharedKey, terms: &Terms, resource: Resource<'_>) -> Result<SasToken, Error> {
    let text = service_text(key.account(), terms, resource);
    let mut query = common_query(terms);
    query.push(("si", terms.policy.clone()));
    query.push(("sr", resource.letters().to_owned()));
    finish(query, &key.sign(&text))
}

/// A token for a container or an object, made with a delegation key.
pub fn delegation(
    account: &str,
    key: &DelegationKey,
    terms: &Terms,
    resource: Resource<'_>,
) -> Result<SasToken, Error> {
    let text = delegation_text(account, key, terms, resource);
    let signer = SharedKey::new(account, &key.value)?;
    let mut query = common_query(terms);
    query.push(("sr", resource.letters().to_owned()));
    query.push(("skoid", key.object_id.clone()));
    query.push(("sktid", key.tenant_id.clone()));
    query.push(("skt", key.start.clone()));
    query.push(("ske", key.expiry.clone()));
    query.push(("sks", key.service.clone()));
    query.push(("skv", key.version.clone()));
    finish(query, &signer.sign(&text))
}

impl Resource<'_> {
    fn letters(self) -> &'static str {
        match self {
            Self::Container { .. } => "c",
            Self::Blob { snapshot: "", .. } => "b",
            Self::Blob { .. } => "bs",
        }
    }

    fn canonical(self, account: &str) -> String {
        match self {
            Self::Container { container } => format!("/blob/{account}/{container}"),
            Self::Blob { container, name, .. } => format!("/blob/{account}/{container}/{name}"),
        }
    }

    fn snapshot(&self) -> &str {
        match self {
            Self::Container { .. } => "",
            Self::Blob { snapshot, .. } => snapshot,
        }
    }
}

/// The text that an account's token signs; its last field is the encryption scope, which is left empty.
pub(super) fn account_text(account: &str, terms: &Terms, services: &str, types: &str) -> String {
    let fields = [
        account,
        &terms.permissions,
        services,
        types,
        &terms.start,
        &terms.expiry,
        &terms.addresses,
        &terms.protocols,
        &terms.version,
        "",
        "",
    ];
    fields.join("\n")
}

/// The text that a service's token signs, in the layout of 2020-12-06 and later.
pub(super) fn service_text(account: &str, terms: &Terms, resource: Resource<'_>) -> String {
    let canonical = resource.canonical(account);
    let mut fields = vec![
        terms.permissions.as_str(),
        &terms.start,
        &terms.expiry,
        &canonical,
        &terms.policy,
        &terms.addresses,
        &terms.protocols,
        &terms.version,
        resource.letters(),
        resource.snapshot(),
    ];
    // Encryption scope and the five response headers that a token could override.
    fields.extend([""; 6]);
    fields.join("\n")
}

/// The text that a delegated token signs, which grew with the versions of the API.
pub(super) fn delegation_text(
    account: &str,
    key: &DelegationKey,
    terms: &Terms,
    resource: Resource<'_>,
) -> String {
    let canonical = resource.canonical(account);
    let mut fields = vec![
        terms.permissions.as_str(),
        &terms.start,
        &terms.expiry,
        &canonical,
        &key.object_id,
        &key.tenant_id,
        &key.start,
        &key.expiry,
        &key.service,
        &key.version,
    ];
    // Authorised and unauthorised object, correlation; later also the delegated user and its tenant.
    let people = if terms.version.as_str() >= "2025-07-05" { 5 } else { 3 };
    fields.extend(core::iter::repeat_n("", people));
    fields.extend([terms.addresses.as_str(), &terms.protocols, &terms.version]);
    fields.extend([resource.letters(), resource.snapshot()]);
    // Encryption scope and five response headers; later also request headers and query parameters.
    let extras = if terms.version.as_str() >= "2026-04-06" { 8 } else { 6 };
    fields.extend(core::iter::repeat_n("", extras));
    fields.join("\n")
}

fn common_query(terms: &Terms) -> Vec<(&'static str, String)> {
    vec![
        ("st", terms.start.clone()),
        ("se", terms.expiry.clone()),
        ("sp", terms.permissions.clone()),
        ("sip", terms.addresses.clone()),
        ("spr", terms.protocols.clone()),
        ("sv", terms.version.clone()),
    ]
}

fn finish(query: Vec<(&'static str, String)>, signature: &str) -> Result<SasToken, Error> {
    let mut text = String::new();
    for (name, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
        text.push_str(&format!("{name}={}&", percent_query(value)));
    }
    text.push_str(&format!("sig={}", percent_query(signature)));
    SasToken::parse(&Secret::new(text))
}
