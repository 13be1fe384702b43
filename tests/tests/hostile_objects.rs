//! Every parser of vault objects against mutations of real ones: an answer or an error, never a panic, never for long.
//!
//! Most objects are sealed, so most mutations end at the seal. What comes behind it is reached by sealing mutated
//! content again with the right keys: an object that a broken or hostile writer made.
//! Run for longer: `LIFEBOAT_FUZZ_SECONDS=600 cargo nextest run --release -p tests --test hostile_objects`.
//! A failure prints its seed; `LIFEBOAT_FUZZ_SEED` repeats it.

#[path = "hostile_objects/corpus.rs"]
mod corpus;
#[path = "hostile_objects/keys.rs"]
mod keys;
#[path = "hostile_objects/records.rs"]
mod records;
#[path = "hostile_objects/segments.rs"]
mod segments;
