//! Who we are to Azure: a key, a shared access signature, or an Entra identity; and where each comes from.
//!
//! Precedence, first found wins: `AZURE_STORAGE_KEY`, `AZURE_STORAGE_SAS_TOKEN`,
//! `AZURE_STORAGE_CONNECTION_STRING`, `AZURE_CLIENT_CERTIFICATE_PATH`, `AZURE_CLIENT_SECRET` (these two with
//! `AZURE_TENANT_ID` and `AZURE_CLIENT_ID`), and last the managed identity of the machine.

/// A client certificate and the assertion that it signs.
pub mod certificate;
/// Connection strings, taken apart.
pub mod connection_string;
/// Tokens: asking for them, keeping them, renewing them in time.
pub mod token;

use pipeline_vault::Error;

use crate::address::{AzureAddress, Origin};
use crate::cloud::Cloud;
use crate::sas::SasToken;
use crate::secret::Secret;
use crate::sign::SharedKey;

use certificate::ClientCertificate;
use connection_string::ConnectionString;
use token::{Identity, TokenSource};

/// The metadata service that knows a virtual machine's identity.
const METADATA_SERVICE: &str = "http://169.254.169.254";

/// Who we are to Azure.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credentials {
    /// The account's key: may do everything.
    SharedKey(SharedKey),
    /// A shared access signature: may do what it says, for a while.
    Sas(SasToken),
    /// An Entra identity: may do what its roles say.
    Entra(TokenSource),
}

/// Which kind of credentials: for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialKind {
    /// The account's key.
    SharedKey,
    /// A shared access signature.
    Sas,
    /// An Entra identity.
    Entra,
}

/// Where settings are looked up: the environment, or a table in a test.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Credentials {
    /// The account's key as the portal shows it.
    pub fn shared_key(account: &str, key: &Secret) -> Result<Self, Error> {
        SharedKey::new(account, key).map(Self::SharedKey)
    }

    /// A shared access signature.
    pub fn sas(token: &Secret) -> Result<Self, Error> {
        SasToken::parse(token).map(Self::Sas)
    }

    /// What the environment says, by the precedence above; also the address, which a connection
    /// string may give another endpoint.
    pub fn from_env(address: &AzureAddress) -> Result<(Self, AzureAddress), Error> {
        Self::from_lookup(address, &|name| std::env::var(name).ok())
    }

    /// The same with another place to look.
    pub fn from_lookup(
        address: &AzureAddress,
        lookup: Lookup<'_>,
    ) -> Result<(Self, AzureAddress), Error> {
        let set = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        if let Some(key) = set("AZURE_STORAGE_KEY") {
            let key = Self::shared_key(address.account(), &Secret::new(key))?;
            return Ok((key, address.clone()));
        }
        if let Some(token) = set("AZURE_STORAGE_SAS_TOKEN") {
            return Ok((Self::sas(&Secret::new(token))?, address.clone()));
        }
        if let Some(text) = set("AZURE_STORAGE_CONNECTION_STRING") {
            return ConnectionString::parse(&Secret::new(text))?.open(address);
        }
        let identity = identity_from(address.cloud(), &set)?;
        Ok((Self::Entra(TokenSource::new(identity)), address.clone()))
    }

    /// The Entra identity that is set, for another of Azure's services than storage.
    pub(crate) fn identity(cloud: Cloud, lookup: Lookup<'_>) -> Result<TokenSource, Error> {
        let set = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        identity_from(cloud, &set).map(TokenSource::new)
    }

    /// Which kind they are.
    pub fn kind(&self) -> CredentialKind {
        match self {
            Self::SharedKey(_) => CredentialKind::SharedKey,
            Self::Sas(_) => CredentialKind::Sas,
            Self::Entra(_) => CredentialKind::Entra,
        }
    }

    /// Whether a request can be signed at once, without asking anybody for a token.
    pub(crate) fn are_at_hand(&self) -> bool {
        match self {
            Self::SharedKey(_) | Self::Sas(_) => true,
            Self::Entra(source) => source.has_token(),
        }
    }

    /// When a shared access signature begins and ends, where it says so.
    pub(crate) fn term(&self) -> (Option<u64>, Option<u64>) {
        match self {
            Self::Sas(token) => (token.starts(), token.expires()),
            Self::SharedKey(_) | Self::Entra(_) => (None, None),
        }
    }

    /// Refuses to send over plain HTTP what anybody on the way could use.
    pub(crate) fn check_origin(&self, origin: &Origin) -> Result<(), Error> {
        let open = !origin.https && !origin.is_loopback();
        let what = match self {
            Self::Entra(_) if open => "would send the identity's token over plain HTTP",
            Self::Sas(token) if !origin.https && token.https_only() => {
                "is plain HTTP, and the shared access signature allows https only"
            }
            Self::Sas(_) if open => "would send the shared access signature over plain HTTP",
            _ => return Ok(()),
        };
        Err(Error::misuse(format!("endpoint «{origin}»"), what).remedy("use an https endpoint"))
    }
}

fn identity_from(cloud: Cloud, set: &dyn Fn(&str) -> Option<String>) -> Result<Identity, Error> {
    let (tenant, client) = (set("AZURE_TENANT_ID"), set("AZURE_CLIENT_ID"));
    let certificate = set("AZURE_CLIENT_CERTIFICATE_PATH");
    let secret = set("AZURE_CLIENT_SECRET");
    if certificate.is_none() && secret.is_none() {
        let host = set("AZURE_POD_IDENTITY_AUTHORITY_HOST");
        let (host, base) = Origin::parse(host.as_deref().unwrap_or(METADATA_SERVICE))?;
        let only_guess = client.is_none();
        return Ok(Identity::Managed { client, host, base, only_guess });
    }
    let needed = |name: &str, value: Option<String>| {
        value.ok_or_else(|| {
            Error::misuse(name, "is not set, and AZURE_CLIENT_SECRET or _CERTIFICATE_PATH needs it")
                .remedy("set AZURE_TENANT_ID and AZURE_CLIENT_ID of the registered application")
        })
    };
    let tenant = needed("AZURE_TENANT_ID", tenant)?;
    let client = needed("AZURE_CLIENT_ID", client)?;
    let authority = authority(cloud, set("AZURE_AUTHORITY_HOST"))?;
    if let Some(path) = certificate {
        let certificate = ClientCertificate::from_file(path.as_ref())?;
        return Ok(Identity::Certificate { tenant, client, certificate, authority });
    }
    let secret = Secret::new(secret.unwrap_or_default());
    Ok(Identity::Secret { tenant, client, secret, authority })
}

/// The host that tokens are asked of: the cloud's, or what `AZURE_AUTHORITY_HOST` says.
fn authority(cloud: Cloud, host: Option<String>) -> Result<Origin, Error> {
    let host = host.unwrap_or_else(|| cloud.login.to_owned());
    let url = if host.contains("://") { host } else { format!("https://{host}") };
    let (origin, path) = Origin::parse(&url)?;
    if !path.is_empty() || (!origin.https && !origin.is_loopback()) {
        return Err(Error::misuse("AZURE_AUTHORITY_HOST", "is no https address of a host")
            .remedy("write it like https://login.microsoftonline.com"));
    }
    Ok(origin)
}

#[cfg(test)]
mod tests;
