//! What a version of the kernel is asked for. What comes of it is tried from inside of services: tests/hardening.

use super::*;

#[test]
fn no_version_is_asked_for_what_it_does_not_know() {
    // Struct sizes and masks of the kernel's documentation, by version.
    for (version, files, bytes) in [
        (1, 0x1FFF, 8),
        (2, 0x3FFF, 8),
        (3, 0x7FFF, 8),
        (4, 0x7FFF, 16),
        (5, 0xFFFF, 16),
        (6, 0xFFFF, 24),
        (9, 0xFFFF, 24),
    ] {
        let known = known_to(version);
        assert_eq!((known.governed.files, known.bytes), (files, bytes), "{version}");
        assert_eq!(known.governed.ports == 0, version < 4);
        assert_eq!(known.governed.scopes == 0, version < 6);
    }
}

#[test]
fn a_process_with_other_threads_is_not_shut_in_by_halves() {
    // The harness runs tests on threads of its own; where it does not, this one has another.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let jail = Jail {
                user: 61_000,
                capabilities: CapabilitySet::empty(),
                calls: &[Calls::Base],
                reads: &[],
                writes: &[],
                connects: &[],
                binds: &[],
                files: 16,
                memory_bytes: 1,
                tasks: 1,
            };
            let refused = jail.enter().unwrap_err();
            assert!(refused.to_string().contains("threads run already"), "{refused}");
        });
    });
}
