//! Paths inside the initial file system.

/// The program lifeboat: what the kernel starts as PID 1, and the only program there is.
pub const INIT: &str = "/init";
/// Folder of the kernel modules, as plain `.ko` files.
pub const MODULES: &str = "/lib/modules";
/// Their index, in the form of [`crate::modules`].
pub const MODULE_INDEX: &str = "/lib/modules/index";
/// Where the kernel looks for firmware files.
pub const FIRMWARE: &str = "/lib/firmware";
/// The program lifeboat-agent as the appliance gives it to servers: data, which is never started here. Not there in an image
/// that was built without it.
pub const AGENT: &str = "/lib/lifeboat/lifeboat-agent";
/// One line: the version of the image.
pub const VERSION: &str = "/etc/lifeboat/version";
/// One line: when the image's sources were made, in seconds since 1970; no clock is right that says earlier.
pub const BUILT: &str = "/etc/lifeboat/built";

/// One line: the oldest version that is let in once this image has proven itself.
pub const LEAST: &str = "/etc/lifeboat/least";
/// Whose updates are taken, in the form of [`crate::keys`]. As everything here it is signed with the slot.
pub const KEYS: &str = "/etc/lifeboat/keys";
/// One line: the kernel's command line of the slot, signed with it here as there. Not there where QEMU starts the kernel by
/// itself.
pub const WORDS: &str = "/etc/lifeboat/words";
/// What the image is made of: CycloneDX, the very bytes that lie beside it where it was built.
pub const BILL: &str = "/etc/lifeboat/bill.cdx.json";

/// Folders that are there, empty, to mount on.
pub const MOUNT_POINTS: [&str; 5] = ["/dev", "/proc", "/run", "/sys", "/tmp"];
