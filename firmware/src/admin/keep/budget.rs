//! How much of a state partition each document may take, so that none can keep another from being written.
//!
//! The sum fits beside all else that is remembered (`appliance/memory.rs`), so whatever is within its own budget is taken:
//! a full audit log or a flood of events never stands in the way of a password, a token's end or the vault's settings. Who
//! writes what grows by itself asks `Keep::room` and leaves the oldest out.

/// Bytes of each document. What people set comes first; what follows grows by itself and is cut to its budget.
const BUDGETS: [(&str, usize); 19] = [
    ("users", 32 * KIB),
    ("tokens", 48 * KIB),
    ("hosts", 6 * KIB),
    ("setup-network", KIB),
    ("setup-vault", 24 * KIB),
    ("setup-time", 6 * KIB),
    ("setup-certificate", 44 * KIB),
    ("alerts", 20 * KIB),
    ("audit-0", AUDIT_PIECE_BYTES),
    ("audit-1", AUDIT_PIECE_BYTES),
    ("audit-2", AUDIT_PIECE_BYTES),
    ("alerts-standing", 24 * KIB),
    ("alerts-queue", 24 * KIB),
    ("tripwire", 12 * KIB),
    ("events", 32 * KIB),
    ("events-before", 24 * KIB),
    ("history", 32 * KIB),
    ("jobs", 12 * KIB),
    ("vault-ledger", 12 * KIB),
];
const KIB: usize = 1024;
/// A piece of the audit log.
pub const AUDIT_PIECE_BYTES: usize = 28 * KIB;
/// A document that stands in no row: one of a version that is newer or older.
const OTHER_BYTES: usize = 8 * KIB;
/// All of those together.
pub const OTHERS_BYTES: usize = 24 * KIB;

/// All documents together.
pub const ALL_BYTES_MAX: usize = sum() + OTHERS_BYTES;

const fn sum() -> usize {
    let (mut place, mut bytes) = (0, 0);
    while place < BUDGETS.len() {
        bytes += BUDGETS[place].1;
        place += 1;
    }
    bytes
}

/// What this document may take.
#[must_use]
pub fn budget(name: &str) -> usize {
    BUDGETS.iter().find(|(known, _)| *known == name).map_or(OTHER_BYTES, |(_, bytes)| *bytes)
}

/// Every document that has a row of its own, with its bytes.
pub fn budgets() -> impl Iterator<Item = (&'static str, usize)> {
    BUDGETS.into_iter()
}

/// Whether it has a row of its own.
#[must_use]
pub fn is_known(name: &str) -> bool {
    BUDGETS.iter().any(|(known, _)| *known == name)
}
