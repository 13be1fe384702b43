//! Versions: three numbers, of which the first that differ say which is newer.

use core::fmt;

/// A version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub [u32; 3]);

impl Version {
    /// Reads `MAJOR.MINOR.PATCH`, and nothing else: another spelling would not be the same text again.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| {
            let digits = part.bytes().all(|byte| byte.is_ascii_digit());
            let short = part.len() == 1 || !part.starts_with('0');
            part.parse().ok().filter(|_| digits && short)
        });
        let version = Self([parts.next()??, parts.next()??, parts.next()??]);
        parts.next().is_none().then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    #[test]
    fn the_first_number_that_differs_decides() {
        let version = |text: &str| Version::parse(text).unwrap();
        assert!(version("0.10.0") > version("0.9.9"));
        assert!(version("1.0.0") > version("0.99.99"));
        assert_eq!(version("4294967295.0.1").to_string(), "4294967295.0.1");
    }

    #[test]
    fn what_is_no_version_is_none() {
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "1.2.",
            "01.2.3",
            "+1.2.3",
            "1.2.3-rc1",
            "4294967296.0.0",
            "1. 2.3",
        ] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }
}
