//! Whatever writes between any two steps: a point is the disks at its instant, and nothing that changed is ever forgotten.

#[path = "tests/world.rs"]
mod world;

use world::{Choice, World};

const SEEDS: u64 = 80;
const CUTS: u64 = 4;

fn seeds() -> core::ops::Range<u64> {
    let asked = std::env::var("LIFEBOAT_CUT_SEEDS").ok().and_then(|text| text.parse().ok());
    0..asked.unwrap_or(SEEDS)
}

/// Cuts of one history; how many points of each kind, or what is wrong.
fn history(seed: u64, choice: Choice) -> Result<[u32; 4], String> {
    let mut world = World::new(seed, choice);
    let mut counts = [0; 4];
    for number in 0..CUTS {
        let kind = world.cut().map_err(|words| format!("seed {seed}, cut {number}: {words}"))?;
        counts[kind] += 1;
    }
    Ok(counts)
}

fn all_histories(choice: Choice) -> Result<[u32; 4], String> {
    println!("seeds {:?} of {choice:?}", seeds());
    let mut sum = [0; 4];
    for seed in seeds() {
        let counts = history(seed, choice)?;
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    println!("crash, application, fuzzy, none: {sum:?}");
    Ok(sum)
}

#[test]
fn every_point_is_the_disks_at_its_instant() {
    let [crash, application, ..] = all_histories(Choice::default()).unwrap();
    assert!(crash > 0 && application > 0, "nothing was proven");
}

#[test]
fn writers_past_the_file_systems_and_discards_cost_no_truth() {
    let choice = Choice { raw: 60_000, discards: 60_000, ..Choice::default() };
    let [crash, application, fuzzy, _] = all_histories(choice).unwrap();
    assert!(crash > 0 && application > 0 && fuzzy > 0, "nothing was proven");
}

#[test]
fn freezes_that_fail_or_end_too_early_and_sinks_that_break_lose_nothing() {
    let choice = Choice { trouble: 150_000, raw: 20_000, ..Choice::default() };
    let [crash, _, fuzzy, none] = all_histories(choice).unwrap();
    assert!(crash > 0 && fuzzy > 0 && none > 0, "nothing was proven");
}

#[test]
fn reading_first_and_taking_then_is_found_out() {
    // The control: with the rule of all reading turned round, these tests must see it.
    let found = all_histories(Choice { swapped: true, ..Choice::default() });
    let words = found.unwrap_err();
    assert!(words.contains("is not the disk"), "{words}");
}

#[test]
fn a_group_that_does_not_come_together_is_void_and_a_point_of_its_own() {
    for together in [true, false] {
        let mut world = World::new(7, Choice { together: Some(together), ..Choice::default() });
        let kind = world.cut().unwrap();
        assert!(kind < 2, "crash or application");
        assert_eq!(world.last().and_then(|outcome| outcome.group), Some(together));
    }
}

#[test]
fn writers_that_are_too_fast_are_slowed_down_and_let_go_again() {
    let mut world = World::new(11, Choice { writes: 900_000, slows: true, ..Choice::default() });
    world.cut().unwrap();
    assert!(world.slowed() > 0, "nothing was proven");
    assert!(!world.is_slow());
}

/// Seen to fail: where what is marked behind the snapshot is not kept for the next point; where metadata is read behind the
/// snapshot instead of before it; where what changed beside the volume is not looked for.
#[test]
fn a_point_by_a_snapshot_is_the_disks_at_its_instant_with_metadata_as_it_was_before() {
    for raw in [0, 30_000] {
        let choice =
            Choice { writes: 900_000, volume: true, beside: 3_000, raw, ..Choice::default() };
        let [crash, application, ..] = all_histories(choice).unwrap();
        assert!(crash > 0 && application > 0, "nothing was proven");
    }
    let choice = Choice { writes: 900_000, volume: true, beside: 0, ..Choice::default() };
    for seed in seeds() {
        let mut world = World::new(seed, choice);
        world.cut().unwrap();
        assert!(world.is_by_snapshot(), "nothing was proven");
        assert_eq!(world.slowed(), 0, "it comes before that");
        // Where writers end, nothing but what the point left marks what they wrote behind it.
        world.be_quiet();
        world.cut().unwrap_or_else(|words| panic!("seed {seed}: {words}"));
    }
}

#[test]
fn a_snapshot_that_overflows_or_fails_costs_no_truth() {
    let choice = Choice { writes: 900_000, volume: true, beside: 3_000, ..Choice::default() };
    for choice in [
        Choice { trouble: 150_000, raw: 20_000, ..choice },
        Choice { slows: true, overflows: 500_000, discards: 60_000, ..choice },
    ] {
        let counts = all_histories(choice).unwrap();
        assert!(counts[0] + counts[1] > 0, "nothing was proven: {counts:?}");
    }
    let mut world = World::new(5, Choice { overflows: 1_000_000, beside: 0, ..choice });
    world.cut().unwrap();
    let words = world.last().map(|outcome| outcome.remarks.join("; ")).unwrap_or_default();
    assert!(words.contains("of no use: more was written than it holds"), "{words}");
}

#[test]
fn a_snapshot_that_shows_what_is_there_now_is_found_out() {
    // The control of the two above.
    let choice =
        Choice { writes: 900_000, volume: true, beside: 0, shows_now: true, ..Choice::default() };
    let words = all_histories(choice).unwrap_err();
    assert!(words.contains("is not the disk"), "{words}");
}
