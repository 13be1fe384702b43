//! Whole URLs with a signature in them, as Azure gives them out. Their hosts change at Azure's pleasure: never guessed.

use core::fmt;

use pipeline_vault::Error;

use super::SasToken;
use crate::address::Origin;
use crate::request::{Method, Request};
use crate::secret::Secret;

/// A blob's URL with a signature behind it.
#[derive(Clone)]
pub struct SignedUrl {
    origin: Origin,
    path: String,
    token: SasToken,
}

impl SignedUrl {
    /// Takes the URL apart. No message repeats what is behind its question mark.
    pub fn parse(url: &Secret) -> Result<Self, Error> {
        let bad = |what: &str| Error::misuse("the URL with a signature", what.to_owned());
        let text = url.expose().trim();
        let (place, query) = text.split_once('?').ok_or_else(|| bad("has none"))?;
        let (origin, path) = Origin::parse(place)?;
        if !origin.https && !origin.is_loopback() {
            return Err(bad("would send it over plain HTTP").remedy("use an https URL"));
        }
        if path.is_empty() || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad("names no object"));
        }
        let token = SasToken::parse(&Secret::new(query))?;
        Ok(Self { origin, path: format!("/{path}"), token })
    }

    /// Where the object is.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// When the signature ends, in milliseconds since 1970, where it says so itself.
    pub fn expires(&self) -> Option<u64> {
        self.token.expires()
    }

    /// A request to the object, signed.
    pub(crate) fn request(&self, method: Method) -> Request<'static> {
        let mut request = Request::storage(method, self.path.clone());
        request.signature = Some(self.token.query().clone());
        request
    }

    /// How a person may see it: without the signature.
    pub fn shown(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SignedUrl").field(&self.shown()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_kept_as_it_is_and_never_shown() {
        let text = "https://md-impexp-x.z1.blob.storage.azure.net/abc/abcd?sv=2018-03-28&sr=b&sig=a%2Fb%3D";
        let url = SignedUrl::parse(&Secret::new(text)).unwrap();
        let target = url.request(Method::Get).target();
        assert_eq!(target.expose(), "/abc/abcd?sv=2018-03-28&sr=b&sig=a%2Fb%3D");
        assert_eq!(format!("{}{}", url.origin(), target.expose()), text);
        assert!(!format!("{url:?}").contains("sig"));
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_repeating_it() {
        for text in [
            "",
            "https://a/b",
            "https://a/?sig=secret",
            "http://a/b?sig=secret",
            "https://a/b?secret",
            "ftp://a/b?sig=secret",
        ] {
            let error = SignedUrl::parse(&Secret::new(text)).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        assert!(SignedUrl::parse(&Secret::new("http://127.0.0.1:1/b?sig=a")).is_ok());
    }
}
