//! Drivers of a kernel: which there are as modules or built in, and what each needs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::tree::{Tree, join};

/// Longest index that is read.
const INDEX_BYTES_MAX: u64 = 32 << 20;
/// The indexes that whoever loads modules reads.
pub(super) const INDEXES: [&str; 13] = [
    "modules.dep",
    "modules.dep.bin",
    "modules.alias",
    "modules.alias.bin",
    "modules.builtin",
    "modules.builtin.bin",
    "modules.builtin.alias.bin",
    "modules.builtin.modinfo",
    "modules.softdep",
    "modules.weakdep",
    "modules.symbols",
    "modules.symbols.bin",
    "modules.order",
];

/// The modules of one kernel, as the root file system has them.
#[derive(Clone, Debug, Default)]
pub(super) struct Modules {
    /// Their folder on the root file system.
    pub(super) folder: String,
    /// By name, with underscores: path in the folder and the paths that must be loaded before.
    known: BTreeMap<String, (String, Vec<String>)>,
    /// Names of what is built in.
    built_in: BTreeSet<String>,
}

/// Where the root file system keeps the modules of its kernels.
pub(super) const FOLDERS: [&str; 2] = ["usr/lib/modules", "lib/modules"];

impl Modules {
    /// Reads the indexes of a kernel. `None` where the root file system has none of it.
    pub(super) fn read(root: &dyn Tree, version: &str) -> io::Result<Option<Self>> {
        for base in FOLDERS {
            let folder = join(base, version);
            let Some(index) = root.read(&join(&folder, "modules.dep"), INDEX_BYTES_MAX)? else {
                continue;
            };
            let built_in = root.read(&join(&folder, "modules.builtin"), INDEX_BYTES_MAX)?;
            let built_in = String::from_utf8_lossy(&built_in.unwrap_or_default()).into_owned();
            return Ok(Some(Self {
                folder,
                known: parse(&String::from_utf8_lossy(&index)),
                built_in: built_in.lines().map(module_name).collect(),
            }));
        }
        Ok(None)
    }

    pub(super) fn is_built_in(&self, name: &str) -> bool {
        self.built_in.contains(name)
    }

    pub(super) fn path(&self, name: &str) -> Option<&str> {
        self.known.get(name).map(|(path, _)| path.as_str())
    }

    /// The paths of these modules and of all that they need, each once.
    pub(super) fn closure(&self, names: &BTreeSet<String>) -> BTreeSet<String> {
        let known = names.iter().filter_map(|name| self.known.get(name));
        // The index names everything that is needed, whatever needs it.
        known.flat_map(|(path, needs)| needs.iter().chain([path]).cloned()).collect()
    }
}

fn parse(index: &str) -> BTreeMap<String, (String, Vec<String>)> {
    let line = |line: &str| {
        let (path, needs) = line.split_once(':')?;
        let is_inside =
            |path: &str| !path.starts_with('/') && !path.split('/').any(|part| part == "..");
        let needs: Vec<String> = needs.split_whitespace().map(str::to_owned).collect();
        (is_inside(path) && needs.iter().all(|need| is_inside(need)))
            .then(|| (module_name(path), (path.to_owned(), needs)))
    };
    index.lines().filter_map(line).collect()
}

/// A module's name by its file's: the kernel takes `-` for `_`.
pub(super) fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.split_once(".ko").map_or(file, |(name, _)| name);
    name.trim().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_paths_and_what_is_needed_are_read() {
        let index = "kernel/drivers/hv/hv_vmbus.ko:\n\
            kernel/drivers/scsi/hv_storvsc.ko.xz: kernel/drivers/scsi/scsi_transport_fc.ko.xz kernel/drivers/hv/hv_vmbus.ko\n\
            kernel/lib/crc-itu-t.ko.zst:\n../../../etc/shadow.ko:\nkernel/bad.ko: /etc/shadow\nno line\n";
        let known = parse(index);
        assert_eq!(known.keys().collect::<Vec<_>>(), ["crc_itu_t", "hv_storvsc", "hv_vmbus"]);
        let modules = Modules { folder: String::new(), known, built_in: BTreeSet::new() };
        let closure =
            modules.closure(&BTreeSet::from(["hv_storvsc".to_owned(), "unknown".to_owned()]));
        assert_eq!(closure.len(), 3, "{closure:?}");
        assert_eq!(modules.path("crc_itu_t"), Some("kernel/lib/crc-itu-t.ko.zst"));
    }
}
