//! What there is on a server's disks: partitions by GPT or MBR, members of md mirrors, logical volumes of LVM, and on
//! each of them a file system, by its first bytes.
//!
//! It takes any bytes: what is not understood is there as [`Content::Unknown`], and nothing is believed that reaches
//! past the end of its disk. It maps what lies in plain ranges, and says of what does not (striped, encrypted, thin)
//! what it is.

use std::io;
use std::sync::Arc;

use super::view::{Joined, View};

/// What is on a volume.
pub mod content;
/// Logical volumes of LVM.
mod lvm;
/// Partition tables.
pub mod table;

pub use content::Content;
pub use table::{Scheme, Table};

/// A disk of a server at a point.
#[derive(Clone)]
pub struct GuestDisk {
    /// Its name on the server: `sda`.
    pub name: String,
    /// Its bytes.
    pub view: Arc<dyn View>,
}

/// Something that a file system can be on.
#[derive(Clone)]
pub struct Volume {
    /// As the server knows it: `sda1`, `vg0/root`, `sda` for a disk without a table.
    pub name: String,
    /// Its place on a disk that is cut into partitions.
    pub partition: Option<Partition>,
    /// Its bytes.
    pub view: Arc<dyn View>,
    /// What is on it.
    pub content: Content,
}

/// A volume's place in a partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Which disk of the server, from 0.
    pub disk: usize,
    /// Its number, from 1.
    pub number: u32,
    /// `PARTUUID`, as Linux has it.
    pub uuid: String,
    /// `PARTLABEL`, where tables have names.
    pub label: String,
    /// What its table says it is for.
    pub role: table::Role,
}

/// The disks' tables, volumes, and what was in the way of finding more.
#[derive(Default)]
pub struct Volumes {
    /// One for each disk, in order.
    pub tables: Vec<Table>,
    /// All volumes.
    pub volumes: Vec<Volume>,
    /// What could not be mapped and why, a sentence each.
    pub unmapped: Vec<String>,
}

impl Volumes {
    /// Looks at the disks of a server. Errors: a disk that cannot be read.
    pub fn find(disks: &[GuestDisk]) -> io::Result<Self> {
        let mut found = Self::default();
        let mut mirrors = Vec::new();
        for (place, disk) in disks.iter().enumerate() {
            let table = Table::read(disk.view.as_ref())?;
            let mut parts = Vec::new();
            for entry in &table.entries {
                let name = partition_name(&disk.name, entry.number);
                let Some(view) = Joined::part(&disk.view, entry.start, entry.bytes) else {
                    found.unmapped.push(format!("{name} reaches past the end of its disk"));
                    continue;
                };
                let partition = Partition {
                    disk: place,
                    number: entry.number,
                    uuid: entry.uuid.clone(),
                    label: entry.label.clone(),
                    role: entry.role,
                };
                let view: Arc<dyn View> = Arc::new(view);
                parts.push((name, Some(partition), view));
            }
            if table.entries.is_empty() {
                parts.push((disk.name.clone(), None, Arc::clone(&disk.view)));
            }
            for (name, partition, view) in parts {
                found.look(name, partition, view, &mut mirrors)?;
            }
            found.tables.push(table);
        }
        for mirror in mirrors {
            let (name, partition) = (mirror.name, mirror.partition);
            let view: Arc<dyn View> =
                Arc::new(mirror_of(&name, mirror.members, &mut found.unmapped));
            let content = content::look_inside(view.as_ref())?;
            found.volumes.push(Volume { name, partition, view, content });
        }
        let mut physical = Vec::new();
        let is_physical = |volume: &&Volume| volume.content == Content::Physical;
        let holders = found.volumes.iter().filter(is_physical);
        let holders: Vec<_> =
            holders.map(|volume| (volume.name.clone(), Arc::clone(&volume.view))).collect();
        for (name, view) in holders {
            found.add_physical(&name, &view, &mut physical)?;
        }
        let logical = lvm::map(&physical);
        found.unmapped.extend(logical.unmapped);
        for (name, view) in logical.volumes {
            let content = content::look(view.as_ref())?;
            found.volumes.push(Volume { name, partition: None, view, content });
        }
        Ok(found)
    }

    fn look(
        &mut self,
        name: String,
        partition: Option<Partition>,
        view: Arc<dyn View>,
        mirrors: &mut Vec<Mirror>,
    ) -> io::Result<()> {
        let content = content::look(view.as_ref())?;
        if let Content::Array { data: Some((start, bytes)), set, name, events, .. } = &content
            && let Some(inside) = Joined::part(&view, *start, *bytes)
        {
            let inside: Arc<dyn View> = Arc::new(inside);
            match mirrors.iter_mut().find(|mirror| mirror.set == *set) {
                Some(mirror) => mirror.members.push((*events, inside)),
                None => mirrors.push(Mirror {
                    set: set.clone(),
                    name: name.clone(),
                    partition: partition.clone(),
                    members: vec![(*events, inside)],
                }),
            }
        }
        self.volumes.push(Volume { name, partition, view, content });
        Ok(())
    }

    fn add_physical(
        &mut self,
        name: &str,
        view: &Arc<dyn View>,
        physical: &mut Vec<lvm::Physical>,
    ) -> io::Result<()> {
        match lvm::read(view)? {
            // A disk that was copied whole is there twice.
            Ok(found) if physical.iter().any(|known| known.id == found.id) => (),
            Ok(found) => physical.push(found),
            Err(words) => self.unmapped.push(format!("{name}: {words}")),
        }
        Ok(())
    }
}

/// A mirror of md, by its members.
struct Mirror {
    set: String,
    name: String,
    partition: Option<Partition>,
    /// Each with how often the mirror had changed when it was last part of it.
    members: Vec<(u64, Arc<dyn View>)>,
}

/// The members that are up to date, the newest first. One that fell out of the mirror is old, and is neither read nor
/// written: the kernel does not take it either.
fn mirror_of(name: &str, mut members: Vec<(u64, Arc<dyn View>)>, told: &mut Vec<String>) -> Copies {
    members.sort_by_key(|(events, _)| core::cmp::Reverse(*events));
    let newest = members.first().map_or(0, |(events, _)| *events);
    // Whoever was cut off while it wrote may be one behind.
    let (current, old): (Vec<_>, Vec<_>) =
        members.into_iter().partition(|(events, _)| events.saturating_add(1) >= newest);
    if !old.is_empty() {
        told.push(format!(
            "{name}: {} of its members fell out of it and are left as they are",
            old.len()
        ));
    }
    Copies(current.into_iter().map(|(_, view)| view).collect())
}

/// The same bytes several times: read from the first, written to all, so that none is older than another.
struct Copies(Vec<Arc<dyn View>>);

impl View for Copies {
    fn bytes(&self) -> u64 {
        self.0.iter().map(|copy| copy.bytes()).min().unwrap_or(0)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.first().ok_or(io::ErrorKind::NotFound)?.read_at(offset, into)
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        self.0.iter().try_for_each(|copy| copy.write_at(offset, from))
    }

    fn flush(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|copy| copy.flush())
    }
}

/// As Linux calls a partition: a name that ends in a digit takes a `p`.
#[must_use]
pub fn partition_name(disk: &str, number: u32) -> String {
    let joint = if disk.ends_with(|letter: char| letter.is_ascii_digit()) { "p" } else { "" };
    format!("{disk}{joint}{number}")
}

#[cfg(test)]
mod tests;
