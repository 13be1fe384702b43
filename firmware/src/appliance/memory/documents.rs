//! Small documents of others on the state partition: users, the vault that was chosen, alerts.
//!
//! A machine without such a partition holds them in memory, and its console says that they are forgotten at the next start.

use core::fmt;
use std::collections::BTreeMap;

use pipeline_vault::Error;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use super::Memory;
use crate::admin::keep::{ALL_BYTES_MAX, Keep, check};

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
        check(name, bytes)?;
        let object = || format!("document {name}");
        let documents = self.kept().documents;
        let others = documents.0.iter().filter(|(known, _)| *known != name);
        let others: usize = others.map(|(_, bytes)| bytes.len()).sum();
        if others + bytes.len() > ALL_BYTES_MAX {
            let what = format!("would make all documents larger than {ALL_BYTES_MAX} bytes");
            return Err(
                Error::exhausted(object(), what).remedy("remove what is no longer needed in them")
            );
        }
        self.change_or_not(|kept| {
            kept.documents.0.insert(name.to_owned(), bytes.to_vec());
        })
        .map_err(|words| Error::device(object(), format!("is not kept: {words}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::keep::DOCUMENT_BYTES_MAX;

    #[test]
    fn documents_are_kept_whole_within_what_a_slot_holds() {
        let memory = Memory::default();
        assert_eq!(memory.read("users").unwrap(), None);
        memory.write("users", b"one").unwrap();
        memory.write("users", b"two").unwrap();
        assert_eq!(memory.read("users").unwrap().as_deref(), Some(&b"two"[..]));
        for name in ["", "../x", "Users"] {
            assert!(memory.write(name, b"x").is_err() && memory.read(name).is_err(), "{name}");
        }
        assert!(memory.write("large", &vec![0; DOCUMENT_BYTES_MAX + 1]).is_err());
        for number in 0..3 {
            memory.write(&format!("d{number}"), &vec![0; DOCUMENT_BYTES_MAX]).unwrap();
        }
        assert!(memory.write("more", &vec![0; DOCUMENT_BYTES_MAX]).is_err());
        assert_eq!(memory.read("more").unwrap(), None, "what was refused is not there");
        assert_eq!(memory.read("users").unwrap().as_deref(), Some(&b"two"[..]));
    }

    #[test]
    fn documents_show_their_names_alone() {
        let documents = Documents(BTreeMap::from([("users".to_owned(), b"SECRET".to_vec())]));
        assert_eq!(format!("{documents:?}"), "{\"users\"}");
    }
}
