//! The points of a server with a scripted agent, held against the agent's model.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use hal_linux::{SystemClock, SystemEntropy};
use pipeline_vault::access::Access;
use pipeline_vault::keys::key_file::KeyFile;
use pipeline_vault::points::read_chain;
use pipeline_vault::store::directory::DirectoryStore;
use pipeline_vault::vault::Vault;

use crate::program::{Place, checked};
use crate::scripted_agent::{FIRST_INSTANT, ScriptedAgent};

/// A vault in a folder, opened with its key.
///
/// # Panics
/// Where it does not open.
#[must_use]
pub fn access(place: &Place) -> Access {
    let key = KeyFile::read(&place.key).and_then(|file| file.open(None)).expect("a key");
    let folder = place.vault.strip_prefix("dir:").expect("a vault in a folder");
    let store = DirectoryStore::new(folder, Arc::new(SystemClock));
    let vault = Vault::open(Arc::new(store), Arc::new(SystemClock), Arc::new(SystemEntropy), &key);
    vault.expect("a vault").access()
}

/// Restores every point of a vault in a folder into `scratch`, and holds it against the agent's model. At least so many there
/// must be, and none twice; of which epochs they are.
///
/// # Panics
/// Where a point is not the disk as it was.
#[track_caller]
pub fn check(place: &Place, agent: &ScriptedAgent, scratch: &Path, least: usize) -> Vec<u64> {
    let access = access(place);
    let chain = read_chain(&access, agent.enrolment.server).expect("a chain");
    let mut seen: BTreeMap<u64, String> = BTreeMap::new();
    for point in chain.points().filter_map(|link| link.record.point()) {
        let at = point.told.source_time.expect("the server's clock");
        let epoch = (at - FIRST_INSTANT) / 1000;
        assert!(seen.insert(epoch, point.id.to_string()).is_none(), "epoch {epoch} twice");
    }
    assert!(seen.len() >= least, "{} points, not {least}", seen.len());
    assert!(seen.contains_key(&agent.vaulted), "epoch {} was called vaulted", agent.vaulted);
    let epochs = seen.keys().copied().collect();
    for (epoch, id) in seen {
        let to = scratch.join("restored");
        let mut command = place.verb("restore");
        command.args(["--server", &agent.enrolment.name, "--disk", "sda", "--point", &id, "--to"]);
        checked(command.arg(&to).output().expect("it starts"), "restore");
        let restored = fs::read(&to).expect("a file");
        let expected = &agent.states[&epoch];
        let differs = restored.iter().zip(expected).position(|(one, other)| one != other);
        assert_eq!(restored.len(), expected.len(), "epoch {epoch}");
        assert_eq!(differs, None, "epoch {epoch} differs at this byte");
        fs::remove_file(to).expect("a file");
    }
    epochs
}
