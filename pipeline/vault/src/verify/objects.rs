//! What the store lists, sorted by server and class; compact, because a vault has millions of segments.

use std::collections::BTreeMap;

use pipeline::ids::{SegmentId, ServerId};

use super::findings::Findings;
use crate::access::Access;
use crate::document;
use crate::error::Error;
use crate::keys::ring;
use crate::names;
use crate::sealed::{self, ObjectKind, SEALED_BYTES_MAX};
use crate::store::{LIST_PAGE_MAX, ObjectFacts, Tier};

/// Names of unknown objects that are kept; the rest is counted.
const UNKNOWN_MAX: usize = 100;

/// One listing of a whole vault.
pub(crate) struct VaultInventory {
    servers: BTreeMap<ServerId, Inventory>,
    /// Objects that Lifeboat does not write, the first of them, and how many in all.
    pub(crate) unknown: Vec<String>,
    pub(crate) unknown_count: u64,
    /// Documents and their versions.
    pub(crate) documents: Vec<(document::Name, u64)>,
    /// Objects of servers that were not asked for.
    pub(crate) foreign_count: u64,
    /// All objects, whatever they are.
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

/// The objects of one server.
pub(crate) struct Inventory {
    pub(crate) server: ServerId,
    /// Slots of the chain, ascending.
    pub(crate) slots: Vec<u64>,
    /// Segments, ascending.
    segments: Vec<Listed>,
    /// Pins and indexes, by name.
    pub(crate) small: Vec<String>,
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

/// A segment as it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Listed {
    pub(crate) segment: SegmentId,
    /// Its length; lengths that no segment has are all one.
    pub(crate) bytes: u32,
    pub(crate) archived: bool,
}

impl VaultInventory {
    /// Lists everything once.
    pub(crate) fn list(access: &Access, servers: &[ServerId]) -> Result<Self, Error> {
        let mut all = Self {
            servers: servers.iter().map(|server| (*server, Inventory::new(*server))).collect(),
            unknown: Vec::new(),
            unknown_count: 0,
            documents: Vec::new(),
            foreign_count: 0,
            objects: 0,
            bytes: 0,
        };
        each_object(access, "", &mut |facts| all.sort_in(facts))?;
        all.servers.values_mut().for_each(Inventory::order);
        Ok(all)
    }

    /// The objects of one server; nothing where it was not asked for.
    pub(crate) fn take(&mut self, server: &ServerId) -> Inventory {
        self.servers.remove(server).unwrap_or_else(|| Inventory::new(*server))
    }

    fn sort_in(&mut self, facts: &ObjectFacts) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(facts.bytes);
        let server = server_of(&facts.name);
        let known = match server {
            Some(server) => match self.servers.get_mut(&server) {
                Some(inventory) => inventory.sort_in(facts),
                None => {
                    self.foreign_count += 1;
                    true
                }
            },
            None => match document::version_of(&facts.name) {
                Some(document) => {
                    self.documents.push(document);
                    true
                }
                None => facts.name == "vault" || ring::version_of(&facts.name).is_some(),
            },
        };
        if !known {
            self.unknown_count += 1;
            if self.unknown.len() < UNKNOWN_MAX {
                self.unknown.push(facts.name.clone());
            }
        }
    }
}

/// Every object under a prefix, a page at a time.
fn each_object(
    access: &Access,
    prefix: &str,
    take: &mut dyn FnMut(&ObjectFacts),
) -> Result<(), Error> {
    let mut next: Option<String> = None;
    loop {
        let page = access.store.list(prefix, next.as_deref(), LIST_PAGE_MAX)?;
        page.objects.iter().for_each(&mut *take);
        match page.next {
            Some(more) => next = Some(more),
            None => return Ok(()),
        }
    }
}

/// The server that an object belongs to by its name.
pub(crate) fn server_of(name: &str) -> Option<ServerId> {
    let (class, rest) = name.split_once('/')?;
    let (server, _) = rest.split_once('/')?;
    if !matches!(class, "chain" | "seg" | "pin" | "index") {
        return None;
    }
    let id: ServerId = server.parse().ok()?;
    (id.to_string() == server).then_some(id)
}

impl Inventory {
    pub(crate) fn new(server: ServerId) -> Self {
        Self {
            server,
            slots: Vec::new(),
            segments: Vec::new(),
            small: Vec::new(),
            objects: 0,
            bytes: 0,
        }
    }

    /// Lists one server alone.
    pub(crate) fn list(access: &Access, server: ServerId) -> Result<Self, Error> {
        let mut inventory = Self::new(server);
        for prefix in [names::chain_prefix(&server), names::segment_prefix(&server)] {
            each_object(access, &prefix, &mut |facts| {
                inventory.sort_in(facts);
            })?;
        }
        inventory.order();
        Ok(inventory)
    }

    /// Takes an object in; false where Lifeboat writes none of this name.
    fn sort_in(&mut self, facts: &ObjectFacts) -> bool {
        let name = &facts.name;
        if name.starts_with(&names::segment_prefix(&self.server)) {
            let Some(segment) = names::segment_of(&self.server, name) else { return false };
            let bytes = u32::try_from(facts.bytes).unwrap_or(u32::MAX);
            self.segments.push(Listed { segment, bytes, archived: facts.tier == Tier::Archive });
        } else if name.starts_with(&names::chain_prefix(&self.server)) {
            let Ok(slot) = names::slot_of(&self.server, name) else { return false };
            self.slots.push(slot);
        } else {
            self.small.push(name.clone());
        }
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(facts.bytes);
        true
    }

    fn order(&mut self) {
        self.slots.sort_unstable();
        self.segments.sort_unstable();
    }

    pub(crate) fn segments(&self) -> &[Listed] {
        &self.segments
    }

    pub(crate) fn find(&self, segment: &SegmentId) -> Option<&Listed> {
        let at = self.segments.binary_search_by_key(segment, |listed| listed.segment).ok()?;
        self.segments.get(at)
    }

    pub(crate) fn is_archived(&self, segment: &SegmentId) -> bool {
        self.find(segment).is_some_and(|listed| listed.archived)
    }

    /// Bytes of all segments.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segments.iter().map(|listed| u64::from(listed.bytes)).sum()
    }
}

/// Opens every pin and index.
pub(crate) fn check_small(
    access: &Access,
    inventory: &Inventory,
    findings: &Findings,
) -> Result<(), Error> {
    let server = inventory.server;
    for name in &inventory.small {
        let pin = name.starts_with(&names::pin_prefix(&server));
        let kind = if pin { ObjectKind::Pin } else { ObjectKind::Index };
        let opened = access.store.read_all(name, SEALED_BYTES_MAX as u64).and_then(|bytes| {
            sealed::open(kind, access.vault, name, &bytes, &|epoch| {
                access.keys.object_key(&server, kind, name, epoch)
            })
        });
        match opened {
            Ok(_) => {}
            // Pins and indexes come and go while this runs.
            Err(error) if error.is_missing() => {}
            Err(error) => findings.object(&error.on(name))?,
        }
    }
    Ok(())
}
