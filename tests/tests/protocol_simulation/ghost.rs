//! The chain as it really was: every record that was ever published, in order, whether its object still exists or not.

use pipeline::ids::{Digest, WriterId};
use pipeline_vault::access::Access;
use pipeline_vault::chain::{Link, open_record};
use pipeline_vault::names;
use pipeline_vault::record::{Body, Upkeep};

use crate::content::Content;
use crate::keys::SERVER;

/// One slot as it was published.
pub(crate) struct Published {
    pub(crate) link: Link,
    /// What the disk held that the record is of.
    pub(crate) content: Option<Content>,
}

/// All slots.
#[derive(Default)]
pub(crate) struct Ghost {
    pub(crate) slots: Vec<Published>,
}

impl Ghost {
    /// Takes in an object that was really made.
    pub(crate) fn take(
        &mut self,
        access: &Access,
        (name, bytes): (&str, &[u8]),
        content: Option<&Content>,
    ) -> Result<(), String> {
        let Ok(slot) = names::slot_of(&SERVER, name) else { return Ok(()) };
        let link = open_record(access, &SERVER, slot, bytes).map_err(|error| error.to_string())?;
        let next = self.slots.len() as u64;
        if slot < next {
            let pruned = self.upkeep().is_some_and(|upkeep| upkeep.gap_of(slot).is_some());
            return if pruned {
                Ok(())
            } else {
                Err(format!("slot {slot} was made a second time"))
            };
        }
        let before = self.slots.last().map_or(Digest([0; 32]), |last| last.link.digest);
        if slot > next || link.record.previous != before {
            return Err(format!("slot {slot} does not follow slot {}", next.saturating_sub(1)));
        }
        self.slots.push(Published { link, content: content.cloned() });
        Ok(())
    }

    /// The newest state of upkeep.
    pub(crate) fn upkeep(&self) -> Option<&Upkeep> {
        self.slots.iter().rev().find_map(|published| match &published.link.record.body {
            Body::Upkeep(upkeep) => Some(upkeep),
            _ => None,
        })
    }

    /// Whether a slot is part of the chain still.
    pub(crate) fn is_kept(&self, slot: u64) -> bool {
        self.upkeep().is_none_or(|upkeep| upkeep.gap_of(slot).is_none())
    }

    /// Who had the chain when a slot was published.
    pub(crate) fn owner(&self, slot: u64) -> Option<WriterId> {
        let before =
            &self.slots[..usize::try_from(slot).unwrap_or(usize::MAX).min(self.slots.len())];
        let epochs = before.iter().rev().map(|published| &published.link.record);
        epochs
            .filter(|record| matches!(record.body, Body::EpochOpen(_)))
            .map(|record| record.writer)
            .next()
    }
}
