//! Identities as the text that people see, in JSON and in tables.

use core::fmt::Display;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serializer};

/// Writes an identity as text.
pub(crate) fn serialize<T: Display, S: Serializer>(id: &T, into: S) -> Result<S::Ok, S::Error> {
    into.collect_str(id)
}

/// Reads an identity from text.
pub(crate) fn deserialize<'a, T, D>(from: D) -> Result<T, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'a>,
{
    let text = String::deserialize(from)?;
    text.parse().map_err(serde::de::Error::custom)
}
