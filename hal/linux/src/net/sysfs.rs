//! What sysfs says of a NIC: driver, place, speed. Attributes are text from outside: trimmed, never trusted.

use std::path::Path;

use hal::net::facts::{LinkFacts, LinkKind};

use super::text;

/// Adds what sysfs knows of a link.
pub(super) fn complete(root: &Path, link: &mut LinkFacts) {
    // A name comes from the kernel, and the kernel takes no slash in it; but two dots would lead elsewhere.
    if link.name.is_empty() || link.name.contains('/') || link.name.starts_with('.') {
        return;
    }
    let folder = root.join("sys/class/net").join(&link.name);
    let last = |path: &str| {
        let target = std::fs::canonicalize(folder.join(path)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    };
    link.driver = last("device/driver");
    link.place = last("device");
    if link.place.is_some() && matches!(&link.kind, LinkKind::Other(kind) if kind.is_empty()) {
        link.kind = LinkKind::Hardware;
    }
    // Unknown is -1, and many a virtual NIC says so.
    let speed = text(&folder, "speed").and_then(|speed| speed.parse::<u32>().ok());
    link.speed_mbit = speed.filter(|speed| *speed > 0 && *speed < u32::MAX);
}
