//! Does what answers ask for: disks in the storage, machines in QEMU.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::azurite::Storage;
use super::deed::{Boot, BootDisk, Deed, Outcome};
use super::footer;
use super::refusal::Refusal;
use super::{Account, disks::FOOTER_BYTES};

/// Machines in QEMU.
mod machine;

use machine::Slot;

/// What is read from the storage at once.
const PIECE_BYTES: u64 = 4 << 20;

/// Hands.
#[derive(Debug)]
pub(crate) struct Hands {
    storage: Option<Storage>,
    /// Where disks of machines lie while those run.
    folder: PathBuf,
    machines: Mutex<BTreeMap<String, Arc<Slot>>>,
}

impl Hands {
    pub(crate) fn new(account: Option<&Account>, folder: PathBuf) -> Result<Self, String> {
        let storage = account.map(Storage::new).transpose()?;
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self { storage, folder, machines: Mutex::default() })
    }

    /// Does one deed. This may take long.
    pub(crate) fn carry_out(&self, deed: &Deed) -> Result<Outcome, Refusal> {
        match deed {
            Deed::MakeDisk { blob, bytes } => self
                .storage()?
                .make(blob, bytes.saturating_add(FOOTER_BYTES))
                .map(|()| Outcome::Done),
            Deed::CopyDisk { from, blob } => {
                self.give_back(from)?;
                let bytes = self.storage()?.copy_disk(from, blob)?;
                Ok(Outcome::Sized(bytes.saturating_sub(FOOTER_BYTES)))
            }
            Deed::ImportDisk { from, blob } => {
                let storage = self.storage()?;
                let bytes = storage.copy(from, blob)?.saturating_sub(FOOTER_BYTES);
                self.check_footer(blob, bytes)?;
                Ok(Outcome::Sized(bytes))
            }
            Deed::Grant { blob, write, until_ms } => {
                if !write {
                    self.give_back(blob)?;
                }
                self.storage()?.grant(blob, *write, *until_ms).map(Outcome::Address)
            }
            Deed::Revoke { blob } => self.storage()?.revoke(blob).map(|()| Outcome::Done),
            Deed::RemoveDisk { blob } => {
                // Only machines make it.
                let _ = fs::remove_file(self.file(blob));
                self.storage()?.remove(blob).map(|()| Outcome::Done)
            }
            Deed::Boot(boot) => self.boot(boot).map(|()| Outcome::Done),
            Deed::Halt { machine, cut } => {
                if let Some(slot) = self.slot(machine) {
                    slot.halt(*cut);
                }
                Ok(Outcome::Done)
            }
            Deed::Forget { machines } => {
                for machine in machines {
                    let slot = self.lock().remove(machine);
                    if let Some(slot) = slot {
                        slot.forget();
                    }
                }
                Ok(Outcome::Done)
            }
        }
    }

    /// Ends the addresses that were given out for these blobs.
    pub(crate) fn end_addresses(&self, blobs: &[String]) -> Result<(), Refusal> {
        self.storage()?.end_addresses(blobs)
    }

    /// What a machine has said so far.
    pub(crate) fn console(&self, machine: &str) -> Vec<u8> {
        self.slot(machine).map(|slot| slot.console()).unwrap_or_default()
    }

    /// What its screen shows, as a bitmap.
    pub(crate) fn screen(&self, machine: &str) -> Result<Vec<u8>, Refusal> {
        let file = self.folder.join(format!("screen-{:?}", std::thread::current().id()));
        let shown = self.slot(machine).map(|slot| slot.screen(&file));
        // Where nothing was shown there is none.
        let _ = fs::remove_file(&file);
        shown.unwrap_or_else(|| Err(Refusal::new(404, "BlobNotFound", "The machine does not run.")))
    }

    /// A port of the host's loopback that leads to this one of the machine.
    pub(crate) fn forward(&self, machine: &str, port: u16) -> Result<u16, Refusal> {
        let none = || Refusal::not_allowed("the machine does not run");
        self.slot(machine).ok_or_else(none)?.forward(port)
    }

    /// Machines that ended by themselves.
    pub(crate) fn ended(&self) -> Vec<String> {
        let machines = self.lock();
        let ended = machines.iter().filter(|(_, slot)| slot.has_ended());
        ended.map(|(key, _)| key.clone()).collect()
    }

    /// Ends every machine.
    pub(crate) fn end(&self) {
        let all = core::mem::take(&mut *self.lock());
        for slot in all.into_values() {
            slot.forget();
        }
    }

    fn boot(&self, boot: &Boot) -> Result<(), Refusal> {
        let slot = Arc::clone(self.lock().entry(boot.machine.clone()).or_default());
        slot.halt(true);
        let mut files = Vec::new();
        for disk in &boot.disks {
            files.push(self.fetch(disk)?);
        }
        slot.start(boot, &files)
    }

    /// The bytes of a disk as a file: what was uploaded, or what machines made of it since.
    fn fetch(&self, disk: &BootDisk) -> Result<PathBuf, Refusal> {
        let file = self.file(&disk.blob);
        if file.exists() {
            return Ok(file);
        }
        self.check_footer(&disk.blob, disk.bytes)?;
        let storage = self.storage()?;
        let part = file.with_extension("part");
        let failed = |error: std::io::Error| {
            Refusal::new(500, "InternalExecutionError", format!("{}: {error}", part.display()))
        };
        let output = File::create(&part).map_err(failed)?;
        output.set_len(disk.bytes).map_err(failed)?;
        for range in storage.ranges(&disk.blob)? {
            let end = range.end.min(disk.bytes);
            let mut at = range.start;
            while at < end {
                let next = at.saturating_add(PIECE_BYTES).min(end);
                let bytes = storage.read(&disk.blob, &(at..next))?;
                output.write_all_at(&bytes, at).map_err(failed)?;
                at = next;
            }
        }
        fs::rename(&part, &file).map_err(failed)?;
        Ok(file)
    }

    /// Puts what machines wrote to a disk where it is read: pieces that differ from what lies there.
    fn give_back(&self, blob: &str) -> Result<(), Refusal> {
        let path = self.file(blob);
        let failed = |error: std::io::Error| {
            Refusal::new(500, "InternalExecutionError", format!("{}: {error}", path.display()))
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            // No machine has had it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let storage = self.storage()?;
        let bytes = file.metadata().map_err(failed)?.len();
        let mut at = 0;
        while at < bytes {
            let next = at.saturating_add(PIECE_BYTES).min(bytes);
            let there = storage.read(blob, &(at..next))?;
            let mut here = vec![0; there.len()];
            file.read_exact_at(&mut here, at).map_err(failed)?;
            if here != there {
                storage.write(blob, at, &here)?;
            }
            at = next;
        }
        Ok(())
    }

    fn check_footer(&self, blob: &str, bytes: u64) -> Result<(), Refusal> {
        let storage = self.storage()?;
        let whole = bytes.saturating_add(footer::BYTES);
        let has = storage.length(blob)?;
        if has != whole {
            let words = format!("Disk {blob} has {has} bytes where {whole} were expected.");
            return Err(Refusal::new(400, "InvalidVhd", words));
        }
        footer::check(&storage.read(blob, &(bytes..whole))?, bytes, blob)
    }

    fn file(&self, blob: &str) -> PathBuf {
        self.folder.join(format!("{blob}.raw"))
    }

    fn storage(&self) -> Result<&Storage, Refusal> {
        let none = || Refusal::new(500, "InternalExecutionError", "there is no storage");
        self.storage.as_ref().ok_or_else(none)
    }

    fn slot(&self, machine: &str) -> Option<Arc<Slot>> {
        self.lock().get(machine).map(Arc::clone)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Slot>>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
