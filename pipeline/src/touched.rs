//! Remembers the addresses that bytes were compressed and sealed from and to, in tests only.

use core::cell::RefCell;
use core::ops::Range;
use std::vec::Vec;

/// One pass over bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Touch {
    pub(crate) stage: &'static str,
    pub(crate) from: Range<usize>,
    pub(crate) into: Range<usize>,
}

std::thread_local! {
    static TOUCHES: RefCell<Vec<Touch>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn record(stage: &'static str, from: Range<*const u8>, into: Range<*const u8>) {
    let address = |range: Range<*const u8>| range.start.addr()..range.end.addr();
    let touch = Touch { stage, from: address(from), into: address(into) };
    TOUCHES.with_borrow_mut(|touches| touches.push(touch));
}

/// All since the last call, of this thread.
pub(crate) fn drain() -> Vec<Touch> {
    TOUCHES.with_borrow_mut(core::mem::take)
}
