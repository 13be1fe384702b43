//! What there is on a server's disks: partitions by GPT or MBR, members of md mirrors, logical volumes of LVM, and on each of
//! them a file system, by its first bytes.
//!
//! It takes any bytes: what is not understood is there as [`Content::Unknown`], and nothing is believed that reaches past the
//! end of its disk. It maps what lies in plain ranges, and says of what does not (striped, encrypted, thin) what it is.

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
        let mut physical = Vec::new();
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
                found.look(name, partition, view, &mut physical)?;
            }
            found.tables.push(table);
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
        physical: &mut Vec<lvm::Physical>,
    ) -> io::Result<()> {
        let content = content::look(view.as_ref())?;
        if let Content::Array { data: Some((start, bytes)), .. } = &content
            && let Some(inside) = Joined::part(&view, *start, *bytes)
        {
            // A member of a mirror holds the array's bytes in one piece; the other members are the same.
            let inside: Arc<dyn View> = Arc::new(inside);
            let within = content::look(inside.as_ref())?;
            if within == Content::Physical {
                self.add_physical(&name, &inside, physical)?;
            }
            let member = format!("{name} (mirror)");
            self.volumes.push(Volume {
                name: member,
                partition: None,
                view: inside,
                content: within,
            });
        }
        if content == Content::Physical {
            self.add_physical(&name, &view, physical)?;
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
            // A mirror's members show the same twice.
            Ok(found) if physical.iter().any(|known| known.id == found.id) => (),
            Ok(found) => physical.push(found),
            Err(words) => self.unmapped.push(format!("{name}: {words}")),
        }
        Ok(())
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
