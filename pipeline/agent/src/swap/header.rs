//! The first page of a swap area. Its mark is in its last bytes; a hibernated system puts its own there, and the old one
//! before it.

/// Sizes of pages that kernels have, and so places where the mark is.
const PAGES: [usize; 4] = [4096, 8192, 16_384, 65_536];
const MARK_BYTES: usize = 10;
const SWAP: [&[u8; MARK_BYTES]; 2] = [b"SWAPSPACE2", b"SWAP-SPACE"];
/// Of the kernel, of uswsusp and of TuxOnIce.
const HIBERNATED: [&[u8]; 4] = [b"S1SUSPEND\0", b"S2SUSPEND\0", b"ULSUSPEND\0", b"LINHIB0001"];

/// What the first page of an area says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mark {
    /// Swap, with pages of this size: the first is the header.
    Swap {
        /// Bytes of a page.
        page_bytes: u64,
    },
    /// The image of a hibernated system, with pages of this size.
    Hibernated(u64),
}

/// What the beginning of an area says.
#[must_use]
pub fn mark_of(head: &[u8]) -> Option<Mark> {
    PAGES.iter().find_map(|page| {
        let mark = head.get(page - MARK_BYTES..*page)?;
        let page_bytes = u64::try_from(*page).ok()?;
        if SWAP.iter().any(|swap| mark == *swap) {
            return Some(Mark::Swap { page_bytes });
        }
        HIBERNATED.contains(&mark).then_some(Mark::Hibernated(page_bytes))
    })
}

/// Puts the old mark back where a hibernated system put its own.
pub(super) fn disarm(head: &mut [u8]) {
    let Some(Mark::Hibernated(page_bytes)) = mark_of(head) else { return };
    let Ok(page) = usize::try_from(page_bytes) else { return };
    let old = page - 2 * MARK_BYTES..page - MARK_BYTES;
    let known = head.get(old).and_then(|old| SWAP.into_iter().find(|swap| old == *swap));
    if let Some(mark) = head.get_mut(page - MARK_BYTES..page) {
        // Other programs keep the old mark elsewhere; today's is what they all began with.
        mark.copy_from_slice(known.unwrap_or(SWAP[0]));
    }
}
