//! libFuzzer over one target, which `LIFEBOAT_FUZZ_TARGET` names: `.ci/fuzz` builds and runs it.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tests::fuzzing::{Target, target};

static CHOSEN: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("LIFEBOAT_FUZZ_TARGET").expect("LIFEBOAT_FUZZ_TARGET names a target");
    target(&name).unwrap_or_else(|| panic!("{name}: no such target"))
});

fuzz_target!(|bytes: &[u8]| (CHOSEN.run)(bytes));
