//! The vault's own code, several machines at once, on a store where a seed decides who goes on and what fails: every
//! point that was published and not pruned restores bit for bit, no nonce seals two contents, nothing stays for ever.
//!
//! `LIFEBOAT_SIM_SEEDS` sets how many histories are tried (200), `LIFEBOAT_SIM_SEED` the first one: a failure prints
//! its seed and what happened. `LIFEBOAT_SIM_SEEDS=100000 cargo nextest run --release -p tests protocol_simulation`

#[path = "protocol_simulation/actors.rs"]
mod actors;
#[path = "protocol_simulation/content.rs"]
mod content;
#[path = "protocol_simulation/driver.rs"]
mod driver;
#[path = "protocol_simulation/ending.rs"]
mod ending;
#[path = "protocol_simulation/gate.rs"]
mod gate;
#[path = "protocol_simulation/ghost.rs"]
mod ghost;
#[path = "protocol_simulation/judge.rs"]
mod judge;
#[path = "protocol_simulation/keys.rs"]
mod keys;
#[path = "protocol_simulation/rates.rs"]
mod rates;
#[path = "protocol_simulation/seals.rs"]
mod seals;
#[path = "protocol_simulation/told.rs"]
mod told;

use actors::Job;
use content::Content;
use driver::Simulation;
use rates::Stats;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// One history from beginning to end.
fn history(seed: u64) -> Stats {
    let mut simulation = Simulation::new(seed);
    let launches = 6 + simulation.random.below(10);
    let result = simulation.run(launches).and_then(|()| simulation.finish());
    if let Err(broken) = result {
        let trace = simulation.trace.join("\n");
        panic!(
            "seed {seed}: {broken}\n{trace}\nseed {seed}: {broken}\nLIFEBOAT_SIM_SEED={seed} LIFEBOAT_SIM_SEEDS=1 repeats it"
        );
    }
    simulation.stats
}

#[test]
fn every_history_keeps_every_promise() {
    let (first, count) = (number("LIFEBOAT_SIM_SEED", 1), number("LIFEBOAT_SIM_SEEDS", 200));
    let mut all = Stats::default();
    for seed in first..first + count {
        let stats = history(seed);
        all.add(&stats);
    }
    println!("seeds {first} to {}: {all:?}", first + count - 1);
    // A simulation in which nothing happens proves nothing.
    if count >= 200 {
        assert!(all.points > 2 * count && all.pruned > count / 8, "{all:?}");
        assert!(all.deleted > count && all.moved > count / 4, "{all:?}");
        assert!(all.restored > count / 4 && all.copies > count / 4, "{all:?}");
    }
}

/// Who goes on first once a machine was copied.
#[derive(Clone, Copy, Debug)]
enum Order {
    OriginalFirst,
    CopyFirst,
    ByTurns,
}

/// A server with one point, and a writer on a machine that is about to make the second one.
fn about_to_protect() -> (Simulation, usize) {
    let mut simulation = Simulation::calm(7);
    let mut content = Content::default();
    content.change(&mut simulation.random);
    let first = simulation.begin(Job::Protect { content: content.clone(), stop_after: 0 });
    while simulation.next_call(first).expect("a point") {}
    content.change(&mut simulation.random);
    let writer = simulation.begin(Job::Protect { content, stop_after: 0 });
    (simulation, writer)
}

/// Copies the machine after so many calls and lets both go on.
fn copied(calls: usize, other_disk: bool, order: Order) -> Result<Stats, String> {
    let (mut simulation, original) = about_to_protect();
    for _ in 0..calls {
        simulation.next_call(original)?;
    }
    let mut other = Content::default();
    other.change(&mut simulation.random);
    let copy = simulation.copy(original, calls, other_disk.then_some(other));
    let both = match order {
        Order::OriginalFirst | Order::ByTurns => [original, copy],
        Order::CopyFirst => [copy, original],
    };
    loop {
        let mut goes_on = false;
        for at in both {
            while simulation.next_call(at)? {
                goes_on = true;
                if matches!(order, Order::ByTurns) {
                    break;
                }
            }
        }
        if !goes_on {
            break;
        }
    }
    simulation.finish()?;
    Ok(simulation.stats)
}

#[test]
fn a_machine_copied_at_any_call_costs_no_point_and_no_nonce() {
    let (mut simulation, writer) = about_to_protect();
    while simulation.next_call(writer).expect("a point") {}
    let calls = simulation.actors[writer].log.len();
    assert!(calls > 10, "{calls} calls");
    let mut acknowledged = 0;
    for at in 0..=calls {
        for other_disk in [false, true] {
            for order in [Order::OriginalFirst, Order::CopyFirst, Order::ByTurns] {
                let stats = copied(at, other_disk, order).unwrap_or_else(|broken| {
                    panic!("copied after {at} calls, other disk {other_disk}, {order:?}: {broken}")
                });
                acknowledged += stats.acknowledged;
            }
        }
    }
    println!("{calls} calls, {acknowledged} points acknowledged");
}
