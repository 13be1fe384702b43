//! Where a vault is, as a person writes it: `dir:PATH` or `azure://ACCOUNT/CONTAINER`.
//!
//! It refuses to open anything: text in, plain values out.

use core::fmt;
use core::str::FromStr;
use std::path::PathBuf;

/// A vault's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultUri {
    /// A folder of this machine.
    Directory(PathBuf),
    /// A container of an Azure storage account.
    Azure(AzurePlace),
}

/// A container of an Azure storage account, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzurePlace {
    /// Storage account.
    pub account: String,
    /// Blob container.
    pub container: String,
    /// Where the account answers, when not at its public address: `https://host[:port][/path]`.
    pub endpoint: Option<String>,
    /// Which of Azure's clouds.
    pub cloud: CloudName,
}

/// Azure's clouds by the names that a person writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CloudName {
    /// The commercial cloud.
    #[default]
    Public,
    /// US Government.
    UsGovernment,
    /// China, run by 21Vianet.
    China,
}

const FORMS: &str = "a vault is dir:PATH or azure://ACCOUNT/CONTAINER, the latter with \
                     ?endpoint=URL or ?cloud=public|usgov|china where needed";

impl FromStr for VaultUri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("dir:") {
            if path.is_empty() {
                return Err(format!("no folder after dir: ({FORMS})"));
            }
            return Ok(Self::Directory(PathBuf::from(path)));
        }
        match text.strip_prefix("azure://") {
            Some(rest) => parse_azure(rest).map(Self::Azure),
            None => Err(FORMS.to_owned()),
        }
    }
}

impl fmt::Display for VaultUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "dir:{}", path.display()),
            Self::Azure(place) => {
                write!(f, "azure://{}/{}", place.account, place.container)?;
                let mut mark = '?';
                if let Some(endpoint) = &place.endpoint {
                    write!(f, "{mark}endpoint={endpoint}")?;
                    mark = '&';
                }
                match place.cloud {
                    CloudName::Public => Ok(()),
                    CloudName::UsGovernment => write!(f, "{mark}cloud=usgov"),
                    CloudName::China => write!(f, "{mark}cloud=china"),
                }
            }
        }
    }
}

fn parse_azure(rest: &str) -> Result<AzurePlace, String> {
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let Some((account, container)) = path.trim_end_matches('/').split_once('/') else {
        return Err(format!("the container is missing ({FORMS})"));
    };
    check_account(account)?;
    check_container(container)?;
    let mut place = AzurePlace {
        account: account.to_owned(),
        container: container.to_owned(),
        endpoint: None,
        cloud: CloudName::Public,
    };
    for pair in query.into_iter().flat_map(|query| query.split('&')).filter(|pair| !pair.is_empty())
    {
        match pair.split_once('=') {
            Some(("endpoint", url)) => place.endpoint = Some(check_endpoint(&decode(url)?)?),
            Some(("cloud", name)) => place.cloud = cloud(name)?,
            _ => return Err(format!("«{pair}» is not understood ({FORMS})")),
        }
    }
    Ok(place)
}

fn cloud(name: &str) -> Result<CloudName, String> {
    match name {
        "public" => Ok(CloudName::Public),
        "usgov" => Ok(CloudName::UsGovernment),
        "china" => Ok(CloudName::China),
        _ => Err(format!("«{name}» is no cloud of Azure: public, usgov or china")),
    }
}

fn check_account(name: &str) -> Result<(), String> {
    let fits = (3..=24).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if fits {
        Ok(())
    } else {
        Err(format!("«{name}» is no storage account: 3 to 24 lower-case letters and digits"))
    }
}

fn check_container(name: &str) -> Result<(), String> {
    let fits = (3..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--");
    if fits {
        Ok(())
    } else {
        Err(format!(
            "«{name}» is no container: 3 to 63 lower-case letters, digits and single hyphens"
        ))
    }
}

fn check_endpoint(url: &str) -> Result<String, String> {
    let url = url.trim_end_matches('/');
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.starts_with('/') && !host.contains('@') => {
            if host.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
                return Err(format!("the endpoint «{}» holds a space", url.escape_debug()));
            }
            Ok(url.to_owned())
        }
        _ => Err(format!("the endpoint «{url}» is no http:// or https:// address of a host")),
    }
}

/// Undoes %XX, so that an endpoint may hold `&` and `?`.
fn decode(text: &str) -> Result<String, String> {
    let bad = || format!("«{text}» holds a % that two hexadecimal digits should follow");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(bad()) };
        bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits make one byte"));
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn azure(text: &str) -> AzurePlace {
        match text.parse() {
            Ok(VaultUri::Azure(place)) => place,
            other => panic!("{text} gave {other:?}"),
        }
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!("dir:/srv/v".parse(), Ok(VaultUri::Directory(PathBuf::from("/srv/v"))));
        let place = azure("azure://lifeboat01/servers");
        assert_eq!((place.account.as_str(), place.container.as_str()), ("lifeboat01", "servers"));
        assert_eq!((place.endpoint, place.cloud), (None, CloudName::Public));
    }

    #[test]
    fn endpoint_and_cloud_are_read() {
        let place = azure("azure://abc/def?endpoint=http://127.0.0.1:10000/abc/&cloud=china");
        assert_eq!(place.endpoint.as_deref(), Some("http://127.0.0.1:10000/abc"));
        assert_eq!(place.cloud, CloudName::China);
        let place = azure("azure://abc/def?endpoint=https%3A%2F%2Fhost%2Fa%26b");
        assert_eq!(place.endpoint.as_deref(), Some("https://host/a&b"));
    }

    #[test]
    fn text_is_the_same_after_a_round() {
        for text in [
            "dir:vault",
            "azure://abc/def",
            "azure://abc/def?endpoint=http://127.0.0.1:1",
            "azure://abc/def?cloud=usgov",
            "azure://abc/def?endpoint=https://h&cloud=china",
        ] {
            let uri: VaultUri = text.parse().unwrap();
            assert_eq!(uri.to_string(), text);
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_forms() {
        for text in ["", "/srv/vault", "s3://bucket", "dir:", "azure://", "azure://account"] {
            let error = text.parse::<VaultUri>().unwrap_err();
            assert!(error.contains("azure://ACCOUNT/CONTAINER"), "{text}: {error}");
        }
        for text in [
            "azure://AB/con",
            "azure://abc/Con",
            "azure://abc/a--b",
            "azure://abc/-ab",
            "azure://abc/ab/c",
            "azure://abc/def?endpoint=ftp://x",
            "azure://abc/def?endpoint=http://",
            "azure://abc/def?endpoint=http://u:p@host",
            "azure://abc/def?endpoint=http://h%2",
            "azure://abc/def?endpoint=http://h%0a",
            "azure://abc/def?cloud=mars",
            "azure://abc/def?key=secret",
        ] {
            assert!(text.parse::<VaultUri>().is_err(), "{text}");
        }
    }
}
