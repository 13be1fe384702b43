//! The stores of the campaign, and what the host can tell of them.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use tests::azurite::{ACCOUNT, Azurite, KEY};
use tests::fault_proxy::{Action, FaultProxy, Rule};
use tests::program::Place;

/// An empty folder in memory where there is one: kills are about the program, not about the disk.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let shm = Path::new("/dev/shm");
    let base = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
    let folder = base.join(format!("lifeboat-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder for the campaign");
    folder
}

/// A seed that no two runs share.
pub(crate) fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    now.subsec_nanos().into()
}

/// Files below a folder with their lengths; temporary names of writes in progress are left out.
pub(crate) fn files_below(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let mut files = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return files };
    for entry in entries.flatten() {
        let Ok(facts) = entry.metadata() else { continue };
        if facts.is_dir() {
            files.extend(files_below(&entry.path()));
        } else {
            files.insert(entry.path(), facts.len());
        }
    }
    files
}

/// The points that the program lists.
pub(crate) fn point_ids(place: &Place) -> BTreeSet<String> {
    let mut command = place.verb("points");
    let output = command.arg("--json").output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "points ended with {}: {errors}", output.status);
    let ids = said.split("\"id\":").skip(1);
    ids.filter_map(|rest| rest.split('"').nth(1).map(str::to_owned)).collect()
}

/// Whether two files hold the same bytes.
pub(crate) fn same(left: &Path, right: &Path) -> bool {
    std::fs::read(left).expect("a copy reads") == std::fs::read(right).expect("a restore reads")
}

/// Azurite behind the fault proxy; it is the program that is killed, never Azurite.
pub(crate) struct FaultyAzurite {
    _azurite: Azurite,
    proxy: FaultProxy,
}

impl FaultyAzurite {
    pub(crate) fn start() -> Self {
        let azurite = Azurite::start().expect("Azurite is installed or can be");
        let proxy = FaultProxy::start(azurite.port()).expect("a port on loopback");
        Self { _azurite: azurite, proxy }
    }

    /// The vault as seen through the proxy.
    pub(crate) fn vault(&self) -> String {
        format!("azure://{ACCOUNT}/vault?endpoint=http://{}/{ACCOUNT}", self.proxy.authority())
    }

    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        vec![("AZURE_STORAGE_KEY".to_owned(), KEY.to_owned())]
    }

    /// From now on requests fail now and then, in every way that Azure and networks know.
    pub(crate) fn inject(&self) {
        self.proxy.set_rules(vec![
            Rule::chance(10, Action::busy(503, "ServerBusy", 0)),
            Rule::chance(10, Action::status(500, "InternalError")),
            Rule::chance(10, Action::Reset),
            Rule::chance(10, Action::Cut { after: 100 }),
            Rule::chance(20, Action::DropReply),
            Rule::chance(30, Action::Delay(Duration::from_millis(50))),
        ]);
    }
}
