//! Shared access signatures: tokens that allow something for a while. Held, judged, made; never shown.

/// Making tokens from an account's key or a delegation key.
pub mod make;
/// Whole URLs with a signature in them, as Azure gives them out.
pub mod url;

use core::fmt;

use pipeline_vault::Error;

use crate::date::parse_iso_date;
use crate::encode::percent_decode;
use crate::secret::Secret;

/// A token as somebody gave it to us.
#[derive(Clone, PartialEq, Eq)]
pub struct SasToken {
    query: Secret,
    expires: Option<u64>,
    starts: Option<u64>,
    https_only: bool,
    permissions: String,
}

impl SasToken {
    /// Takes a token as the portal shows it, with or without its question mark.
    pub fn parse(text: &Secret) -> Result<Self, Error> {
        let query = text.expose().trim().trim_start_matches('?');
        let bad = |what: &str| {
            Error::misuse("shared access signature", what.to_owned()).remedy(
                "copy the token whole: it looks like sv=…&se=…&sp=…&sig=…, without the URL before it",
            )
        };
        if !query.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad("holds characters that no URL can carry"));
        }
        if query.contains("://") {
            return Err(bad("begins with a URL"));
        }
        let field = |wanted: &str| {
            query.split('&').find_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                if name == wanted { percent_decode(value) } else { None }
            })
        };
        if field("sig").is_none_or(|signature| signature.is_empty()) {
            return Err(bad("has no field «sig»"));
        }
        Ok(Self {
            expires: field("se").and_then(|date| parse_iso_date(&date)),
            starts: field("st").and_then(|date| parse_iso_date(&date)),
            https_only: field("spr").is_some_and(|protocols| protocols == "https"),
            permissions: field("sp").unwrap_or_default(),
            query: Secret::new(query),
        })
    }

    /// What is appended to the query of a request.
    pub fn query(&self) -> &Secret {
        &self.query
    }

    /// When it ends, in milliseconds since 1970, where it says so itself.
    pub fn expires(&self) -> Option<u64> {
        self.expires
    }

    /// When it begins, in milliseconds since 1970, where it says so itself.
    pub fn starts(&self) -> Option<u64> {
        self.starts
    }

    /// Whether it may be sent over TLS only.
    pub fn https_only(&self) -> bool {
        self.https_only
    }

    /// The letters of what it allows; empty where a stored policy says so instead.
    pub fn permissions(&self) -> &str {
        &self.permissions
    }
}

impl fmt::Debug for SasToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SasToken")
            .field("expires", &self.expires)
            .field("permissions", &self.permissions)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
