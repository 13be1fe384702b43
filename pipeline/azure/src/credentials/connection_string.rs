//! Connection strings as Azure's portal shows them, taken apart: `AccountName=…;AccountKey=…;BlobEndpoint=…`.

use pipeline_vault::Error;

use super::Credentials;
use crate::address::AzureAddress;
use crate::cloud::CLOUDS;
use crate::secret::Secret;

/// What a connection string says.
#[derive(Debug, Default)]
pub struct ConnectionString {
    account: Option<String>,
    key: Option<Secret>,
    sas: Option<Secret>,
    endpoint: Option<String>,
    suffix: Option<String>,
    protocol: Option<String>,
}

impl ConnectionString {
    /// Reads it; fields of other services are passed over.
    pub fn parse(text: &Secret) -> Result<Self, Error> {
        let mut parsed = Self::default();
        for field in text.expose().split(';').map(str::trim).filter(|field| !field.is_empty()) {
            let (name, value) =
                field.split_once('=').ok_or_else(|| bad("has a field without ="))?;
            let value = value.to_owned();
            match name.trim() {
                "AccountName" => parsed.account = Some(value),
                "AccountKey" => parsed.key = Some(Secret::new(value)),
                "SharedAccessSignature" => parsed.sas = Some(Secret::new(value)),
                "BlobEndpoint" => parsed.endpoint = Some(value),
                "EndpointSuffix" => parsed.suffix = Some(value),
                "DefaultEndpointsProtocol" => parsed.protocol = Some(value),
                "UseDevelopmentStorage" => {
                    return Err(bad(
                        "means the storage emulator, whose account must be written out",
                    ));
                }
                _ => {}
            }
        }
        Ok(parsed)
    }

    /// Credentials for the address, and the address at the endpoint that the string names.
    pub fn open(&self, address: &AzureAddress) -> Result<(Credentials, AzureAddress), Error> {
        if let Some(account) = self.account.as_deref().filter(|it| *it != address.account()) {
            let what = format!("is for account «{account}», not «{}»", address.account());
            return Err(Error::misuse("AZURE_STORAGE_CONNECTION_STRING", what)
                .remedy("use the connection string of the account in the vault's address"));
        }
        let address = match self.endpoint_for(address.account()) {
            // What the address itself says about the endpoint comes first.
            Some(endpoint) if !address.to_string().contains("?endpoint=") => {
                address.clone().with_endpoint(&endpoint)?
            }
            _ => address.clone(),
        };
        let credentials = match (&self.key, &self.sas) {
            (Some(key), _) => Credentials::shared_key(address.account(), key)?,
            (None, Some(sas)) => Credentials::sas(sas)?,
            (None, None) => return Err(bad("holds neither AccountKey nor SharedAccessSignature")),
        };
        Ok((credentials, address))
    }

    fn endpoint_for(&self, account: &str) -> Option<String> {
        if let Some(endpoint) = &self.endpoint {
            return Some(endpoint.clone());
        }
        let suffix = self.suffix.as_deref()?;
        let known = CLOUDS.iter().any(|cloud| cloud.blob_suffix == format!("blob.{suffix}"));
        let protocol = self.protocol.as_deref().filter(|_| !known).unwrap_or("https");
        Some(format!("{protocol}://{account}.blob.{suffix}"))
    }
}

fn bad(what: &str) -> Error {
    Error::misuse("AZURE_STORAGE_CONNECTION_STRING", what)
        .remedy("copy the connection string whole, as the portal shows it under Access keys")
}
