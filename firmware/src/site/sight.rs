//! What is in the vault, as it was seen last: each server's points in little room, orders, plans and profiles.
//!
//! One thread looks; whoever asks gets what it saw. A chain is read once, and then only what was added to it. It refuses to
//! change anything.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use firmware_recovery::documents::{self, Documents};
use firmware_recovery::order::Order;
use firmware_recovery::plan::Plan;
use firmware_recovery::target::Target;
use hal::time::Moment;
use pipeline::ids::{Digest, PointId, ServerId};
use pipeline_vault::Error;
use pipeline_vault::access::Access;
use pipeline_vault::chain::{Link, read_slot};
use pipeline_vault::document::{Class, Name};
use pipeline_vault::fork::{self, Fork};
use pipeline_vault::names;
use pipeline_vault::pins;
use pipeline_vault::points::{ChainView, read_chain};
use pipeline_vault::record::{Body, Consistency, DiskState, Manifest};

use crate::ingest::roll::Roll;
use crate::recovery::vault::Shared;

/// Points of all servers together that are remembered; what is older is read when it is asked for.
const POINTS_MAX: usize = 200_000;
/// And of one server at least.
const POINTS_MIN: usize = 100;
/// So many new records are read one by one; where there are more, the chain is read anew.
const NEW_MAX: u64 = 256;

/// A point in little room.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PointSight {
    pub(super) slot: u64,
    pub(super) id: PointId,
    pub(super) at_millis: u64,
    pub(super) consistency: Consistency,
    pub(super) read_bytes: u64,
    pub(super) stored_bytes: u64,
    pub(super) new_blocks: u64,
    pub(super) known_blocks: u64,
    pub(super) frozen_micros: Option<u64>,
    pub(super) unread_blocks: u64,
    pub(super) remarks: Box<[String]>,
}

/// A disk of the newest point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DiskSight {
    pub(super) name: String,
    pub(super) identity: String,
    pub(super) bytes: u64,
    pub(super) unread_blocks: u64,
}

/// A server's chain.
#[derive(Clone, Debug, Default)]
pub(super) struct ChainSight {
    head: Option<(u64, Digest)>,
    /// The newest last.
    pub(super) points: VecDeque<PointSight>,
    /// How many there are in all.
    pub(super) count: u64,
    pub(super) disks: Vec<DiskSight>,
    pub(super) fork: Option<Fork>,
    /// Points that are pinned: slot, and why.
    pub(super) holds: Vec<(u64, String)>,
    /// Why it cannot be read.
    pub(super) trouble: Option<String>,
}

impl PointSight {
    pub(super) fn of(slot: u64, manifest: &Manifest) -> Self {
        Self {
            slot,
            id: manifest.id,
            at_millis: manifest.started,
            consistency: manifest.consistency,
            read_bytes: manifest.work.read_bytes,
            stored_bytes: manifest.work.stored_bytes,
            new_blocks: manifest.work.new_blocks,
            known_blocks: manifest.work.known_blocks,
            frozen_micros: manifest.told.frozen_micros,
            unread_blocks: manifest.disks.iter().map(|disk| disk.unread_blocks).sum(),
            remarks: manifest.told.remarks().into(),
        }
    }
}

fn disks_of(manifest: &Manifest) -> Vec<DiskSight> {
    let of = |disk: &DiskState| DiskSight {
        name: disk.name.clone(),
        identity: disk.identity.clone(),
        bytes: disk.bytes,
        unread_blocks: disk.unread_blocks,
    };
    manifest.disks.iter().map(of).collect()
}

impl ChainSight {
    /// Looks again; whether anything is new. At most `room` points are remembered.
    pub(super) fn look(
        &mut self,
        vault: &Shared,
        server: ServerId,
        room: usize,
    ) -> Result<bool, Error> {
        let access = vault.session().access();
        let prefix = names::chain_prefix(&server);
        let newest = access.store.list(&prefix, None, 1)?.objects.into_iter().next();
        let newest = newest.map(|facts| names::slot_of(&server, &facts.name)).transpose()?;
        let known = self.head.map(|(slot, _)| slot);
        if newest == known && self.trouble.is_none() {
            return Ok(false);
        }
        let added = match (known, newest) {
            (Some(known), Some(newest)) if newest > known && newest - known <= NEW_MAX => {
                self.added(&access, &server, known, newest)
            }
            _ => None,
        };
        match added {
            Some(links) => links.iter().for_each(|link| self.take(link)),
            None => self.read_anew(vault, &access, server)?,
        }
        while self.points.len() > room {
            self.points.pop_front();
        }
        self.trouble = None;
        Ok(true)
    }

    /// The records behind the head, where each follows the one before it.
    fn added(
        &self,
        access: &Access,
        server: &ServerId,
        known: u64,
        newest: u64,
    ) -> Option<Vec<Link>> {
        let mut before = self.head?.1;
        let mut links = Vec::new();
        for slot in known + 1..=newest {
            let link = read_slot(access, server, slot).ok()?;
            if link.record.previous != before {
                return None;
            }
            before = link.digest;
            links.push(link);
        }
        Some(links)
    }

    fn take(&mut self, link: &Link) {
        let slot = link.record.slot;
        self.head = Some((slot, link.digest));
        match &link.record.body {
            Body::Point(manifest) => {
                self.points.push_back(PointSight::of(slot, manifest));
                self.count += 1;
                self.disks = disks_of(manifest);
            }
            Body::Upkeep(upkeep) => {
                if let pipeline_vault::record::Action::Prune { removed } = &upkeep.action {
                    self.count = self.count.saturating_sub(removed.len() as u64);
                }
                self.points.retain(|point| upkeep.gap_of(point.slot).is_none());
            }
            Body::Fork(fork) => self.fork = Some(fork.clone()),
            Body::ForkEnded(_) | Body::EpochOpen(_) => self.fork = None,
            _ => {}
        }
    }

    fn read_anew(
        &mut self,
        vault: &Shared,
        access: &Access,
        server: ServerId,
    ) -> Result<(), Error> {
        let view = read_chain(access, server)?;
        vault.session().believe(&view)?;
        *self = Self { holds: core::mem::take(&mut self.holds), ..Self::of(&view) };
        Ok(())
    }

    /// Looks which points are pinned; whether that is new.
    pub(super) fn look_at_holds(
        &mut self,
        access: &Access,
        server: ServerId,
    ) -> Result<bool, Error> {
        let holds = pins::holds(access, &server)?;
        let holds: Vec<(u64, String)> =
            holds.into_iter().map(|pin| (pin.slot, pin.reader)).collect();
        let is_new = holds != self.holds;
        self.holds = holds;
        Ok(is_new)
    }

    fn of(view: &ChainView) -> Self {
        let mut sight = Self {
            head: view.links.last().map(|link| (link.record.slot, link.digest)),
            fork: fork::standing(view),
            ..Self::default()
        };
        for link in view.points() {
            if let Some(manifest) = link.record.point() {
                sight.points.push_back(PointSight::of(link.record.slot, manifest));
                sight.count += 1;
            }
        }
        let newest = view.points().next_back().and_then(|link| link.record.point());
        sight.disks = newest.map(disks_of).unwrap_or_default();
        sight
    }

    /// Whether every point is remembered.
    pub(super) fn is_whole(&self) -> bool {
        self.count == self.points.len() as u64
    }
}

/// The vault as it was seen last.
#[derive(Clone, Default)]
pub(super) struct Sight {
    /// Servers by name.
    pub(super) servers: BTreeMap<String, ServerId>,
    pub(super) chains: BTreeMap<ServerId, Arc<ChainSight>>,
    pub(super) roll: Option<Arc<Roll>>,
    pub(super) targets: BTreeMap<ServerId, Arc<Target>>,
    /// The newest first.
    pub(super) orders: Vec<Arc<Order>>,
    pub(super) plans: Vec<Arc<Plan>>,
    /// Why the vault cannot be read just now.
    pub(super) trouble: Option<String>,
    /// It was read at least once.
    pub(super) seen: bool,
    /// When it was looked at last, by the clock that only runs forwards.
    pub(super) looked: Moment,
    /// What of it could not be read, each with its remedy.
    pub(super) damage: Vec<String>,
}

impl Sight {
    /// How many points of one server are remembered.
    pub(super) fn room(&self) -> usize {
        (POINTS_MAX / self.servers.len().max(1)).max(POINTS_MIN)
    }

    /// Looks at the servers' names and the roll.
    pub(super) fn look_at_roll(
        &mut self,
        vault: &Shared,
        roll: Option<Arc<Roll>>,
    ) -> Result<(), Error> {
        let mut session = vault.session();
        let opened = session.vault()?;
        opened.refresh()?;
        self.roll = match roll {
            Some(roll) => Some(roll),
            None => Roll::of(opened)?.map(Arc::new),
        };
        session.note_ring();
        self.servers = session.servers().into_iter().collect();
        drop(session);
        let known: Vec<ServerId> = self.servers.values().copied().collect();
        self.chains.retain(|server, _| known.contains(server));
        Ok(())
    }

    /// Looks at orders, plans and profiles. What is over never changes and is read once; `all` reads every profile again.
    pub(super) fn look_at_documents(&mut self, vault: &Shared, all: bool) -> Result<(), Error> {
        let mut damage = Vec::new();
        let mut ended = Vec::new();
        let mut orders = Vec::new();
        for name in vault.list(Class::Orders)? {
            let known = self.orders.iter().find(|order| Name::Order(order.id) == name);
            if let Some(known) = known.filter(|order| order.is_over()) {
                orders.push(Arc::clone(known));
                continue;
            }
            match documents::load::<Order>(vault, name) {
                Ok((_, Some(order))) => {
                    if order.is_over() {
                        ended.push(order.server);
                    }
                    orders.push(Arc::new(small(order)));
                }
                Ok((_, None)) => {}
                Err(error) => damage.push(error.to_string()),
            }
        }
        orders.sort_by_key(|order| core::cmp::Reverse(order.ordered_millis));
        let mut plans = Vec::new();
        for name in vault.list(Class::Plans)? {
            match documents::load::<Plan>(vault, name) {
                Ok((_, plan)) => plans.extend(plan.map(Arc::new)),
                Err(error) => damage.push(error.to_string()),
            }
        }
        plans.sort_by(|one, other| one.text.name.cmp(&other.text.name));
        for name in vault.list(Class::Profiles)? {
            let Name::Profile(server) = name else { continue };
            if !all && self.targets.contains_key(&server) && !ended.contains(&server) {
                continue;
            }
            match documents::load::<Target>(vault, name) {
                Ok((_, Some(target))) => drop(self.targets.insert(server, Arc::new(target))),
                Ok((_, None)) => {}
                Err(error) => damage.push(error.to_string()),
            }
        }
        (self.orders, self.plans, self.damage) = (orders, plans, damage);
        Ok(())
    }
}

/// An order without what takes room: pictures and logs are read when they are asked for.
fn small(mut order: Order) -> Order {
    if order.is_over() {
        order.evidence.screenshot = None;
        order.evidence.console.clear();
    }
    order
}
