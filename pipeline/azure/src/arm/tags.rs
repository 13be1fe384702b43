//! Tags, by which one finds again what one made.

use std::collections::BTreeMap;

use pipeline_vault::Error;
use serde_json::{Value, json};

/// Longest name and value of a tag, and how many a resource may have: Azure's limits.
const NAME_CHARS_MAX: usize = 512;
const VALUE_CHARS_MAX: usize = 256;
const TAGS_MAX: usize = 50;

/// Names and values; always as Azure takes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(BTreeMap<String, String>);

impl Tags {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same and one more. Errors: Azure would refuse the name, the value or the number of tags.
    pub fn with(mut self, name: &str, value: &str) -> Result<Self, Error> {
        let bad = |what: &str| Err(Error::misuse(format!("tag «{name}»"), what.to_owned()));
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
            return bad("has no name, or one of more than 512 characters");
        }
        if name.contains(['<', '>', '%', '&', '\\', '?', '/']) {
            return bad(r"has one of <>%&\?/ in its name");
        }
        if value.chars().count() > VALUE_CHARS_MAX {
            return bad("has a value of more than 256 characters");
        }
        self.0.insert(name.to_owned(), value.to_owned());
        if self.0.len() > TAGS_MAX {
            return bad("is the fifty-first, and Azure takes fifty");
        }
        Ok(self)
    }

    /// The value of that name.
    pub fn value(&self, name: &str) -> Option<&str> {
        // Azure keeps the case of a name and does not tell cases apart.
        let found = self.0.iter().find(|(has, _)| has.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The tags of a resource as Azure describes it; what is no text is left out.
    pub fn of(resource: &Value) -> Self {
        let pairs = resource.get("tags").and_then(Value::as_object);
        let texts = pairs
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        Self(texts.collect())
    }

    /// As a body carries them.
    pub(crate) fn to_json(&self) -> Value {
        json!(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_azure_would_refuse_is_refused_here() {
        let long = "a".repeat(257);
        for (name, value) in [("", "a"), ("a/b", "a"), ("a", long.as_str())] {
            assert!(Tags::new().with(name, value).is_err(), "{name} {value}");
        }
        let many = (0..TAGS_MAX).try_fold(Tags::new(), |tags, n| tags.with(&n.to_string(), ""));
        assert!(many.unwrap().with("one too many", "").is_err());
    }

    #[test]
    fn tags_are_read_back_in_any_case_and_whatever_else_is_there() {
        let tags = Tags::of(&json!({"tags": {"Lifeboat": "order-7", "odd": 7}}));
        assert_eq!(tags.value("lifeboat"), Some("order-7"));
        assert_eq!(tags.value("odd"), None);
        assert_eq!(Tags::of(&json!({"tags": null})), Tags::new());
        assert_eq!(Tags::of(&Value::Null), Tags::new());
    }
}
