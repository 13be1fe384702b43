//! Small documents of others on the state partition: users, the vault that was chosen, alerts.
//!
//! A machine without such a partition holds them in memory, and its console says that they are forgotten at the next start.

use core::fmt;
use std::collections::BTreeMap;

use pipeline_vault::Error;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use super::Memory;
use crate::admin::keep::{Keep, budget, check, check_shared};

/// Documents by name. What is in them is shown to nobody.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Documents(pub(crate) BTreeMap<String, Vec<u8>>);

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Drop for Documents {
    fn drop(&mut self) {
        self.0.values_mut().for_each(|bytes| bytes.zeroize());
    }
}

impl Keep for Memory {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        check(name, &[])?;
        Ok(self.kept().documents.0.get(name).cloned())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        check_shared((name, bytes), self.kept().documents.0.iter())?;
        self.change_or_not(|kept| {
            kept.documents.0.insert(name.to_owned(), bytes.to_vec());
        })
        .map_err(|words| Error::device(format!("document {name}"), format!("is not kept: {words}")))
    }

    fn room(&self, name: &str) -> usize {
        budget::budget(name)
    }
}

#[cfg(test)]
mod tests;
