//! Every parser of bytes from outside takes its corpus, and seeded mutations of it, without a panic and to an end.
//!
//! The targets are in `tests/src/fuzzing.rs`. Longer, without coverage: `LIFEBOAT_FUZZ_SECONDS=60` is for each target.
//! With coverage: `.ci/fuzz SECONDS`, over all of them; what it finds new goes into the corpora.

use std::collections::BTreeSet;
use std::fs;

use tests::campaign::mutate;
use tests::fuzzing::{TARGETS, folder};

/// So that nothing that a person would not look at is committed: the rest is found again from these.
const CORPUS_BYTES_MAX: usize = 64 * 1024;

#[test]
fn every_parser_has_a_corpus_and_takes_it() {
    let names: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names.len(), TARGETS.len(), "two targets of one name");
    let folders = fs::read_dir(folder()).expect("the corpora").flatten();
    let folders: BTreeSet<String> =
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(folders, names, "each target has its folder, and no folder has lost its target");
    for target in TARGETS {
        let corpus = target.corpus();
        let bytes: usize = corpus.iter().map(Vec::len).sum();
        assert!(!corpus.is_empty() && bytes <= CORPUS_BYTES_MAX, "{}: {bytes} bytes", target.name);
        for input in corpus.iter().map(Vec::as_slice).chain([&[][..], &[0], &[0xFF; 4096]]) {
            (target.run)(input);
        }
    }
}

#[test]
fn every_parser_takes_mutations() {
    for target in TARGETS {
        mutate(target.name, target.rounds, &target.corpus(), |bytes, _| (target.run)(bytes));
    }
}
