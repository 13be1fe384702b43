//! Vectors of third parties, which are not committed: read from beside the project where they are at hand.

use std::path::{Path, PathBuf};

/// The file of that name under `../shared/azure/vectors`, or where `LIFEBOAT_AZURE` says; says loudly when a test does
/// not run for want of it.
pub(crate) fn shared(name: &str) -> Option<serde_json::Value> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/azure");
    let folder = std::env::var_os("LIFEBOAT_AZURE").map_or(beside, PathBuf::from).join("vectors");
    let Ok(text) = std::fs::read_to_string(folder.join(name)) else {
        eprintln!("SKIPPED: {name} is not at hand in {}", folder.display());
        return None;
    };
    Some(serde_json::from_str(&text).expect("the vectors are JSON"))
}
