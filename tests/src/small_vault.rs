//! A small real vault in a folder, and everything that a test needs to hurt it and to see what still comes back:
//! two servers, a few points of image files and simulated disks, the contents that the points must give.

use core::sync::atomic::{AtomicU32, Ordering};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hal::disk::Disk;
use hal::time::Clock;
use hal_linux::{LinuxDisk, OpenOptions, SystemClock, SystemEntropy};
use hal_sim::random::Random;
use hal_sim::{SimClock, SimDisk};
use pipeline::ids::ServerId;
use pipeline_vault::access::Access;
use pipeline_vault::expect;
use pipeline_vault::frames::FrameReader;
use pipeline_vault::keys::recovery_key::RecoveryKey;
use pipeline_vault::pins;
use pipeline_vault::points::{ChainView, read_chain, read_chain_leniently};
use pipeline_vault::record::KnownHead;
use pipeline_vault::restore;
use pipeline_vault::retain::Policy;
use pipeline_vault::store::directory::DirectoryStore;
use pipeline_vault::store::{BlobStore, list_all};
use pipeline_vault::upkeep;
use pipeline_vault::vault::Vault;
use pipeline_vault::verify::{self, Depth, Report};
use pipeline_vault::writer::{DiskJob, Options, Silent, protect};

/// Bytes of a block.
pub const BLOCK: u64 = 65_536;
/// Bytes of each disk: no multiple of a block.
pub const DISK_BYTES: u64 = 40 * BLOCK + 1536;

const HOUR: u64 = 3_600_000;

static MADE: AtomicU32 = AtomicU32::new(0);

/// A folder that is removed when the test is over.
pub struct Folder(PathBuf);

impl Folder {
    /// An empty one.
    pub fn new() -> Self {
        let count = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("lifeboat-small-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("temporary folders can be made where tests run");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind, it costs a little space in the temporary folder and nothing else.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A point and what its disk held.
pub struct Kept {
    /// The server's name.
    pub server: &'static str,
    /// The point's identity as text.
    pub point: String,
    /// The disk's bytes.
    pub content: Vec<u8>,
}

/// A vault in a folder.
pub struct SmallVault {
    folder: Folder,
    clock: SimClock,
    key: RecoveryKey,
    /// Its points, oldest first.
    pub kept: Vec<Kept>,
    /// The newest slot of each chain, as a machine that made the points knows it.
    pub heads: Vec<KnownHead>,
}

/// What a disk holds, as a vault's user makes it: compressible, random and empty blocks.
fn content(seed: u64, before: Option<&[u8]>) -> Vec<u8> {
    let bytes = usize::try_from(DISK_BYTES).expect("a small disk");
    let mut content = before.map_or_else(|| vec![0; bytes], <[u8]>::to_vec);
    let mut random = Random::new(seed);
    let blocks = if before.is_none() { 24 } else { 5 };
    for _ in 0..blocks {
        let at = usize::try_from(random.below(41) * BLOCK).expect("a small disk");
        let end = (at + 65_536).min(bytes);
        if random.below(3) == 0 {
            // A kilobyte of noise in a block: small objects, of which every byte can be tried.
            random.fill(&mut content[at..(at + 1024).min(end)]);
        } else {
            let word = random.number().to_le_bytes();
            for (place, byte) in content[at..end].iter_mut().enumerate() {
                *byte = word[place % 7];
            }
        }
    }
    content
}

impl SmallVault {
    /// Makes one: three points of an image file on `db1`, two of a simulated disk on `web`, in turn.
    pub fn new() -> Self {
        let mut made = Self::empty();
        for (seed, server) in (1..).zip(["db1", "web", "db1", "web", "db1"]) {
            made.point(server, seed);
        }
        made
    }

    /// Makes one that has seen some days: points pruned, frames carried into other segments, indexes, a pin.
    pub fn kept_up() -> Self {
        let mut made = Self::empty();
        for seed in 1..=18 {
            made.point("db1", seed);
        }
        made.point("web", 19);
        made.clock.advance(2 * HOUR);
        made.upkeep("30d");
        // Half of the points at most without being asked; in two steps it is less.
        for keep in ["last=9", "last=6"] {
            made.upkeep(keep);
            made.clock.advance(25 * HOUR);
        }
        made.upkeep("last=6");
        made.point("db1", 20);
        let vault = made.open().expect("its own key");
        let access = vault.access();
        let view = read_chain(&access, made.id(&vault, "db1")).expect("a chain");
        let ids: Vec<String> = view
            .points()
            .filter_map(|link| link.record.point().map(|point| point.id.to_string()))
            .collect();
        made.kept.retain(|kept| kept.server != "db1" || ids.contains(&kept.point));
        assert!(!view.upkeep.gaps.is_empty() && !view.upkeep.relocations.is_empty());
        made.pin(&access, &view);
        assert!(made.objects().iter().any(|name| name.starts_with("index/")));
        made
    }

    fn empty() -> Self {
        let folder = Folder::new();
        let clock = SimClock::at(SystemClock.now());
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let store = Arc::new(DirectoryStore::new(folder.path().join("vault"), shared.clone()));
        let (vault, key) =
            Vault::create(store, shared, Arc::new(SystemEntropy)).expect("a new folder");
        drop(vault);
        Self { folder, clock, key, kept: Vec::new(), heads: Vec::new() }
    }

    fn id(&self, vault: &Vault, server: &str) -> ServerId {
        vault.server(server).expect("a server").id
    }

    fn upkeep(&mut self, policy: &str) {
        let vault = self.open().expect("its own key");
        let access = vault.access();
        let policy = Policy::parse(policy).expect("a policy");
        let options = upkeep::Options { merge_count_min: 2, ..Default::default() };
        let server = self.id(&vault, "db1");
        upkeep::run(&access, server, &policy, &options).expect("upkeep");
        self.learn(&access, server);
    }

    /// Leaves a pin behind as a reader that was stopped does.
    fn pin(&self, access: &Access, view: &ChainView) {
        let slot = view.points().next().expect("a point").record.slot;
        let pinned = pins::pin_and_check(access, view.server, slot, "a test").expect("a pin");
        let names = self.objects().into_iter().filter(|name| name.starts_with("pin/"));
        let bodies: Vec<_> = names.map(|name| (self.body(&name), name)).collect();
        drop(pinned);
        bodies.iter().for_each(|(body, name)| self.put(name, body));
    }

    /// Makes one more point with changed content.
    pub fn point(&mut self, server: &'static str, seed: u64) {
        let before = self.kept.iter().rfind(|kept| kept.server == server);
        let content = content(seed, before.map(|kept| kept.content.as_slice()));
        let mut vault = self.open().expect("its own key");
        let id = vault.enrol(server).expect("a name").id;
        let access = vault.access();
        let options = Options {
            workers: 1,
            heads: self.heads.iter().filter(|head| head.server != id).copied().collect(),
            ring_version: vault.ring().version(),
            ..Options::default()
        };
        let outcome = if server == "db1" {
            let image = self.folder.path().join("db1.img");
            fs::write(&image, &content).expect("room for a small image");
            let disk = LinuxDisk::open(&image, OpenOptions::default()).expect("an image");
            protect(&access, id, vec![job(disk)], &options, &Silent)
        } else {
            let disk = SimDisk::new(DISK_BYTES);
            disk.load(0, &content);
            protect(&access, id, vec![job(disk)], &options, &Silent)
        };
        let point = outcome.expect("a point").id.to_string();
        self.learn(&access, id);
        self.kept.push(Kept { server, point, content });
    }

    /// Remembers the newest slot of a chain.
    fn learn(&mut self, access: &Access, server: ServerId) {
        let view = read_chain(access, server).expect("a chain");
        let head = KnownHead::from(&expect::head_of(&view).expect("a head"));
        self.heads.retain(|known| known.server != server);
        self.heads.push(head);
    }

    /// Where the vault is.
    pub fn place(&self) -> PathBuf {
        self.folder.path().join("vault")
    }

    /// Opens it as a person with the recovery key does.
    pub fn open(&self) -> Result<Vault, pipeline_vault::Error> {
        self.open_at(&self.place())
    }

    /// Opens a copy of it.
    pub fn open_at(&self, place: &Path) -> Result<Vault, pipeline_vault::Error> {
        self.open_in(Arc::new(DirectoryStore::new(place, Arc::new(self.clock.clone()))))
    }

    /// Opens a copy of it in another store.
    pub fn open_in(&self, store: Arc<dyn BlobStore>) -> Result<Vault, pipeline_vault::Error> {
        Vault::open(store, Arc::new(self.clock.clone()), Arc::new(SystemEntropy), &self.key)
    }

    /// Every object's name.
    pub fn objects(&self) -> Vec<String> {
        let store = DirectoryStore::new(self.place(), Arc::new(SystemClock));
        let listed = list_all(&store as &dyn BlobStore, "").expect("a folder");
        listed.into_iter().map(|facts| facts.name).collect()
    }

    /// An object's bytes.
    pub fn body(&self, name: &str) -> Vec<u8> {
        fs::read(self.place().join(name)).expect("an object")
    }

    /// Puts other bytes in an object's place, as no program of ours ever does.
    pub fn put(&self, name: &str, body: &[u8]) {
        let path = self.place().join(name);
        self.lose(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).expect("a folder");
        }
        fs::write(path, body).expect("room for an object");
    }

    /// Takes an object away.
    pub fn lose(&self, name: &str) {
        // It may be gone already.
        let _ = fs::remove_file(self.place().join(name));
    }
}

impl Default for SmallVault {
    fn default() -> Self {
        Self::new()
    }
}

fn job<D: Disk>(disk: D) -> DiskJob<D> {
    DiskJob { name: "disk0".to_owned(), identity: String::new(), disk, changed: None }
}

/// Verifies a vault with everything that the machine knows.
pub fn verified(vault: &Vault, depth: Depth, heads: &[KnownHead]) -> Report {
    let servers: Vec<_> = vault.servers().iter().map(|server| server.id).collect();
    let options = verify::Options {
        workers: 1,
        heads: heads.to_vec(),
        troubles: vault.audit().expect("a store"),
        ..verify::Options::new(depth)
    };
    verify::run(&vault.access(), &servers, &options, &Silent).expect("a report")
}

/// Brings a point back, from whatever of its chain still stands.
pub fn restored(vault: &Vault, kept: &Kept) -> Result<Vec<u8>, pipeline_vault::Error> {
    let access = vault.access();
    let server = vault.server(kept.server)?.id;
    let (view, _) = read_chain_leniently(&access, server)?;
    restored_from(&access, &view, &kept.point)
}

/// Brings a point of a chain back onto a new disk.
pub fn restored_from(
    access: &Access,
    view: &ChainView,
    point: &str,
) -> Result<Vec<u8>, pipeline_vault::Error> {
    let link = view.find(point)?;
    let disk = &link.record.point().expect("a point was found").disks[0];
    let frames = FrameReader::new(access, view.server, &view.upkeep, 1 << 20)?;
    let target = SimDisk::new(disk.bytes);
    let options = restore::Options { workers: 1, compare: false, ..Default::default() };
    let handle = target.another()?;
    restore::restore_disk(&frames, disk, handle, "target", &options, &Silent)?;
    Ok(target.content(0, usize::try_from(disk.bytes).expect("a small disk")))
}
