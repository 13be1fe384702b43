//! The protocol of publishing, pruning, condemning, collecting, relocating and salvaging keeps its promises in every
//! order of steps within small bounds; and each of its rules is seen to be needed.
//!
//! `LIFEBOAT_MODEL=large` tries larger bounds: some hundred million states, about half an hour and 6 GB on one core.

use tests::model::Rule::*;
use tests::model::{Bounds, Found, Rule, Rules, explore, explore_after};

const SMALL: Bounds = Bounds::small();
const RELOCATING: Bounds = Bounds { relocate: true, frames: 2, reuse: true, ..SMALL };

fn large() -> bool {
    std::env::var("LIFEBOAT_MODEL").is_ok_and(|bounds| bounds == "large")
}

/// Everything holds within the bounds, and they are not so small that this says nothing.
fn holds(small: Bounds, states_min: usize, more: Bounds) {
    let bounds = if large() { Bounds { states_max: 150_000_000, ..more } } else { small };
    let found = explore(Rules::all(), bounds);
    println!("{} states, {} steps deep", found.states, found.depth);
    assert!(found.broken.is_none(), "{}", found.broken.unwrap_or_default());
    assert!(found.states >= states_min, "only {} states", found.states);
}

/// Without these rules a promise is broken; the shortest history that does it is printed.
fn breaks(without: &[Rule], bounds: Bounds, promise: &str) {
    let rules = without.iter().fold(Rules::all(), |rules, rule| rules.without(*rule));
    expect(&explore(rules, bounds), promise);
}

fn expect(found: &Found, promise: &str) {
    let broken = found.broken.as_deref().expect("a promise is broken without the rule");
    println!("{} states\n{broken}", found.states);
    assert!(broken.contains(promise), "another promise is broken:\n{broken}");
}

/// Without this rule alone nothing is broken: another one guards the same door.
fn still_holds(without: Rule, bounds: Bounds) {
    let found = explore(Rules::all().without(without), bounds);
    assert!(found.broken.is_none(), "{}", found.broken.unwrap_or_default());
    assert!(found.states > 10_000, "only {} states", found.states);
}

/// A failover, with a server that goes on, one that begins again, and a pruner.
const FAILING_OVER: Bounds =
    Bounds { failover: true, writers: 3, collectors: 1, publishes: [1, 0], slots: 7, ..SMALL };

const MISSING: &str = "which is not there";
const UNLISTED: &str = "is missing or holds another record";
const NOT_IN_CHAIN: &str = "acknowledged a point that is not in the chain";
const PINNED: &str = "a segment of a pinned point is not there";
const REFUSED: &str = "a writer is refused because of a segment that it has just sent";
const DEMOTED: &str = "the original wrote into its chain while it was failed over";
const FAILED_OVER_TO: &str = "the point that was failed over to was pruned";
const LISTED: &str = "what a reader listed a moment ago is not there";

mod promises_hold {
    use super::*;

    #[test]
    fn with_three_writers_two_collectors_and_a_reader() {
        let small = Bounds { writers: 3, publishes: [1, 0], reader: true, slots: 5, ..SMALL };
        holds(small, 500_000, Bounds { publishes: [1, 1], tidy_one_of: 16, ..small });
    }

    #[test]
    fn with_two_writers_and_collectors_that_come_back() {
        let small = Bounds { publishes: [2, 1], reader: true, tidy_one_of: 4, ..SMALL };
        holds(small, 1_000_000, Bounds { publishes: [3, 2], slots: 7, tidy_one_of: 16, ..small });
    }

    #[test]
    fn with_checkpoints() {
        let small = Bounds { segments: 2, checkpoints: true, reuse: true, slots: 7, ..SMALL };
        holds(small, 100_000, Bounds { publishes: [2, 1], slots: 8, ..small });
    }

    #[test]
    fn with_salvage() {
        let small = Bounds { salvage: true, publishes: [2, 1], tidy_one_of: 4, ..SMALL };
        holds(small, 500_000, Bounds { writers: 3, publishes: [2, 0], ..small });
    }

    #[test]
    fn with_a_copied_machine() {
        let bounds = Bounds { forks: true, salvage: true, slots: 5, tidy_one_of: 4, ..SMALL };
        let small = Bounds { writers: 3, publishes: [1, 0], ..bounds };
        holds(small, 500_000, Bounds { publishes: [2, 1], tidy_one_of: 16, ..small });
    }

    #[test]
    fn with_lost_replies() {
        let small = Bounds { lost_replies: 1, salvage: true, slots: 5, tidy_one_of: 4, ..SMALL };
        holds(small, 200_000, Bounds { lost_replies: 2, publishes: [2, 1], slots: 6, ..small });
    }

    #[test]
    fn with_a_failover() {
        let small = Bounds { tidy_one_of: 8, ..FAILING_OVER };
        holds(small, 100_000, Bounds { publishes: [2, 1], collectors: 2, slots: 8, ..small });
    }

    #[test]
    fn with_a_failover_and_salvage() {
        let bounds = Bounds { writers: 2, salvage: true, lost_replies: 1, ..FAILING_OVER };
        let small = Bounds { slots: 6, tidy_one_of: 8, ..bounds };
        holds(small, 50_000, Bounds { writers: 3, slots: 7, ..small });
    }

    #[test]
    fn with_relocation() {
        let small = Bounds { reader: true, collectors: 1, ..RELOCATING };
        holds(small, 100_000, Bounds { collectors: 2, publishes: [2, 1], ..small });
    }
}

mod every_rule_is_needed {
    use super::*;

    #[test]
    fn a_slot_is_created_only_where_it_is_absent() {
        breaks(&[CreateIfAbsent], SMALL, UNLISTED);
    }

    #[test]
    fn segments_are_durable_before_a_record_names_them() {
        breaks(&[SegmentsFirst], SMALL, MISSING);
    }

    #[test]
    fn a_writer_that_finds_another_one_stops() {
        breaks(&[Fence], SMALL, "acknowledged a point after another one took over");
    }

    #[test]
    fn a_writer_respects_what_was_condemned() {
        breaks(&[Respect], SMALL, MISSING);
    }

    #[test]
    fn orphans_are_condemned_only_when_old() {
        breaks(&[OrphanAge], SMALL, REFUSED);
    }

    #[test]
    fn segments_go_after_the_grace() {
        breaks(&[SegmentGrace], Bounds { reader: true, ..SMALL }, LISTED);
    }

    #[test]
    fn slots_go_after_the_grace() {
        breaks(&[SlotGrace], Bounds { reader: true, ..SMALL }, LISTED);
    }

    #[test]
    fn pins_are_read_before_deleting() {
        breaks(&[ReadPins], Bounds { reader: true, ..SMALL }, PINNED);
        breaks(&[ReadPins], Bounds { reader: true, ..RELOCATING }, PINNED);
    }

    #[test]
    fn pins_are_read_after_the_chain() {
        let bounds = Bounds { publishes: [2, 1], reader: true, ..RELOCATING };
        breaks(&[PinsAfterChain], bounds, PINNED);
    }

    #[test]
    fn a_reader_pins_before_it_looks_again() {
        breaks(&[PinFirst], Bounds { reader: true, ..SMALL }, PINNED);
    }

    #[test]
    fn slots_are_covered_before_they_are_deleted() {
        breaks(&[CoverFirst], SMALL, UNLISTED);
    }

    #[test]
    fn the_head_is_never_covered() {
        breaks(&[KeepHead], SMALL, NOT_IN_CHAIN);
    }

    #[test]
    fn the_newest_point_is_never_pruned() {
        breaks(&[KeepNewestPoint], Bounds { reuse: true, ..SMALL }, MISSING);
    }

    #[test]
    fn the_newest_epoch_is_never_covered() {
        breaks(&[KeepNewestEpoch], SMALL, "the newest epoch-open is gone");
    }

    #[test]
    fn all_checkpoints_after_the_newest_point_keep_their_segments() {
        let bounds = Bounds { segments: 2, checkpoints: true, reuse: true, slots: 7, ..SMALL };
        breaks(&[KeepCheckpoints], bounds, MISSING);
    }

    #[test]
    fn a_publisher_looks_whether_its_slot_was_pruned() {
        breaks(&[Confirm], SMALL, NOT_IN_CHAIN);
    }

    #[test]
    fn a_link_to_its_slot_does_not_tell_a_publisher_that_it_counts() {
        let bounds = Bounds { writers: 3, collectors: 1, publishes: [3, 0], ..SMALL };
        breaks(&[ConfirmByGaps], bounds, NOT_IN_CHAIN);
    }

    #[test]
    fn salvage_follows_one_run() {
        // A segment of a run before the last one was deleted, and sent again by a machine that had slept.
        let bounds = Bounds { writers: 3, lost_replies: 1, salvage: true, prunes: 0, ..SMALL };
        let steps = [
            "writer 1 lists the chain",
            "writer 1 creates 0:Epoch(A)",
            "writer 1 sends segment a0; the reply is lost",
            "time passes",
            "a collector reads chain, segments and pins, plans 1:Upkeep",
            "a collector creates 1:Upkeep",
            "time passes",
            "writer 2 lists the chain",
            "writer 2 creates 2:Epoch(B)",
        ];
        let rules = Rules::all().without(SalvageFollows);
        expect(&explore_after(rules, bounds, &steps), MISSING);
    }

    #[test]
    fn salvage_is_soon() {
        let bounds = Bounds { lost_replies: 1, salvage: true, slots: 5, prunes: 0, ..SMALL };
        breaks(&[SalvageSoon], bounds, MISSING);
    }

    #[test]
    fn names_of_segments_are_bound_to_where_they_were_made() {
        breaks(&[NamesBound], Bounds { forks: true, slots: 5, prunes: 0, ..SMALL }, MISSING);
    }

    #[test]
    fn an_original_that_finds_a_fork_stops() {
        // Behind a first point there is only one writer: what it meets is the fork.
        let steps = [
            "writer 1 lists the chain",
            "writer 1 creates 0:Epoch(A)",
            "writer 1 sends segment a0",
            "writer 1 creates 1:Point(A",
        ];
        let bounds = Bounds { writers: 2, ..FAILING_OVER };
        expect(&explore_after(Rules::all().without(Fence), bounds, &steps), DEMOTED);
    }

    #[test]
    fn nobody_opens_an_epoch_behind_a_fork() {
        breaks(&[ForkHolds], FAILING_OVER, DEMOTED);
    }

    #[test]
    fn the_point_that_was_failed_over_to_is_not_pruned() {
        breaks(&[ForkPointStays], FAILING_OVER, FAILED_OVER_TO);
    }

    #[test]
    fn a_fork_looks_whether_its_point_was_pruned() {
        breaks(&[ForkLooksAgain], FAILING_OVER, FAILED_OVER_TO);
    }

    #[test]
    fn a_pruner_that_finds_a_fork_computes_again() {
        breaks(&[Recompute], FAILING_OVER, FAILED_OVER_TO);
    }

    #[test]
    fn a_copy_that_was_failed_over_is_silent() {
        breaks(&[CopyIsSilent], FAILING_OVER, "what a failed over copy wrote");
    }

    #[test]
    fn a_relocation_that_comes_late_is_given_up() {
        breaks(&[RelocationYields], Bounds { publishes: [1, 1], ..RELOCATING }, MISSING);
    }

    #[test]
    fn segments_of_a_run_that_goes_on_are_not_relocated() {
        let bounds = Bounds { checkpoints: true, segments: 2, slots: 7, ..RELOCATING };
        breaks(&[RelocateFinished], bounds, REFUSED);
    }
}

mod some_doors_have_two_locks {
    use super::*;

    #[test]
    fn computing_again_and_reading_the_chain_again() {
        still_holds(Recompute, SMALL);
        still_holds(ReadChainAgain, SMALL);
        breaks(&[Recompute, ReadChainAgain], SMALL, MISSING);
    }

    #[test]
    fn pins_on_condemning_and_on_deleting() {
        let bounds = Bounds { reader: true, ..SMALL };
        still_holds(PinnedIsLive, bounds);
        still_holds(PruneApart, bounds);
        breaks(&[PinnedIsLive, ReadPins], bounds, PINNED);
        breaks(&[PruneApart, ReadPins], bounds, PINNED);
    }

    #[test]
    fn salvage_spares_what_is_condemned_and_comes_too_soon_for_it() {
        let bounds = Bounds { salvage: true, ..SMALL };
        still_holds(SalvageSpares, bounds);
        breaks(&[SalvageSpares, SalvageSoon], bounds, MISSING);
    }
}
