//! The order is killed before and after every call of Azure's and of the vault's; a fresh process goes on to the same end, with
//! nothing twice and nothing left over.

use super::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Drill,
    Failover,
    Cancel,
    Change,
}

/// The whole way as an operator goes it, from wherever it stands.
fn go(process: &Process<'_>, way: Way) -> Result<Order, pipeline_vault::Error> {
    let kind = if way == Way::Drill { Kind::Drill } else { Kind::Failover };
    let name = process.give(7, &wanted(kind))?;
    let mut work = Work::take(process.world(), name, false)?;
    match way {
        Way::Drill | Way::Failover => work.carry_on()?,
        Way::Cancel => {
            if !matches!(work.order().state, State::Cancelling | State::Cancelled) {
                work.carry_on()?;
            }
            work.cancel()?;
        }
        Way::Change => {
            work.carry_on()?;
            if work.order().round == 0 {
                work.change_point("latest")?;
            }
        }
    }
    Ok(work.order().clone())
}

/// A place with seeds, or without.
fn site_of(warm: bool) -> Site {
    if warm { Site::warm() } else { Site::new() }
}

fn ways() -> impl Iterator<Item = (Way, bool)> {
    WAYS.into_iter().flat_map(|way| [(way, false), (way, true)])
}

fn calls_of(way: Way, warm: bool) -> (u64, u64) {
    let site = site_of(warm);
    let process = site.process(1);
    let before = process.store.calls();
    go(&process, way).expect("a way without trouble");
    (site.region.calls(), process.store.calls() - before)
}

/// A push tries one call of three; `LIFEBOAT_TESTS=all` each.
fn is_tried(call: u64) -> bool {
    call.is_multiple_of(3) || std::env::var("LIFEBOAT_TESTS").is_ok_and(|which| which == "all")
}

const WAYS: [Way; 4] = [Way::Drill, Way::Failover, Way::Cancel, Way::Change];

#[test]
fn killed_at_any_call_of_azures_an_order_goes_on_to_the_same_end() {
    for (way, warm) in ways() {
        let (calls, _) = calls_of(way, warm);
        assert!(calls > 40, "{way:?}: {calls} calls");
        let mut steps = std::collections::BTreeSet::new();
        for at in 1..=calls {
            for does_last in [false, true] {
                let site = site_of(warm);
                site.region.cut(Some(at), does_last);
                let first = site.process(1);
                let Err(killed) = go(&first, way) else {
                    // Evidence that cannot be had is no reason to fail what runs.
                    assert!(at + 5 > calls, "{way:?} cut at {at} did not notice");
                    continue;
                };
                let name = Name::Order(OrderId([7; 16]));
                steps.extend(first.read(name).next_step());
                drop(first);
                site.region.cut(None, false);
                let next = site.process(2);
                let order = go(&next, way).unwrap_or_else(|error| {
                    panic!("{way:?}, {warm}, cut at {at} ({does_last}, {killed}): {error}")
                });
                is_sound(&site, &next, &order);
                let deeds = site.deeds();
                let forks = deeds.iter().filter(|deed| deed.starts_with("fork")).count();
                assert!(forks <= 3, "{way:?} cut at {at}: {deeds:?}");
            }
        }
        let expected = if way == Way::Drill { 7 } else { 6 };
        assert!(steps.len() >= expected, "{way:?} was killed in {steps:?} only");
    }
}

#[test]
fn killed_at_any_call_of_azures_an_order_is_taken_back_from_there() {
    for (way, warm) in ways().filter(|(way, _)| *way != Way::Cancel) {
        let mut taken_back = 0;
        for at in 1..=calls_of(way, warm).0 {
            for does_last in [false, true] {
                let site = site_of(warm);
                site.region.cut(Some(at), does_last);
                let first = site.process(1);
                if go(&first, way).is_ok() {
                    continue;
                }
                drop(first);
                site.region.cut(None, false);
                let next = site.process(2);
                let name = Name::Order(OrderId([7; 16]));
                let mut work = Work::take(next.world(), name, false).expect("its holder is dead");
                let cancelled = work.cancel();
                cancelled
                    .unwrap_or_else(|e| panic!("{way:?}, {warm}, cut at {at} ({does_last}): {e}"));
                is_sound(&site, &next, &work.order().clone());
                assert!(work.order().is_over(), "{way:?}, {warm}, cut at {at} ({does_last})");
                let deeds = site.deeds();
                if deeds.iter().any(|deed| deed.starts_with("fork")) {
                    assert_eq!(deeds.last().map(String::as_str), Some("unfork"), "cut at {at}");
                }
                taken_back += 1;
            }
        }
        assert!(taken_back > 60, "{way:?}, {warm}: only {taken_back} were taken back");
    }
}

#[test]
fn a_commit_that_was_killed_is_found_again_and_no_second_machine_is_made_for_it() {
    let mut whole = false;
    for at in 1.. {
        let site = Site::new();
        let first = site.process(1);
        let name = Name::Order(first.order(7, &wanted(Kind::Failover)).expect("a failover").id);
        first.dies_in(at, at % 2 == 0);
        let commit = |process: &Process<'_>| Work::take(process.world(), name, false)?.commit();
        whole |= commit(&first).is_ok();
        drop(first);
        let next = site.process(2);
        let open = orders::open_of(&next.documents, SERVER, Kind::Failover).unwrap();
        let committed = next.read(name).is_committed();
        assert!(open.is_some() || committed, "killed at {at}: nobody finds it");
        if open.is_some() {
            commit(&next).unwrap_or_else(|error| panic!("killed at {at}: {error}"));
        }
        assert!(next.read(name).is_committed(), "killed at {at}");
        let kept = target::load(&next.documents, SERVER).unwrap();
        assert!(kept.failover.is_none() && kept.committed.is_some(), "killed at {at}");
        if whole {
            assert!(at > 10, "it was killed in the middle too");
            return;
        }
    }
}

#[test]
fn killed_at_any_call_of_the_vaults_an_order_goes_on_to_the_same_end() {
    for (way, warm) in ways() {
        let (_, calls) = calls_of(way, warm);
        assert!(calls > 100, "{way:?}: {calls} calls");
        for at in 1..=calls {
            for does_last in [false, true] {
                if !is_tried(at + u64::from(does_last)) {
                    continue;
                }
                let site = site_of(warm);
                let first = site.process(1);
                first.dies_in(at, does_last);
                if go(&first, way).is_ok() {
                    // Looks of an earlier version that nobody waits for may be what is cut off.
                    continue;
                }
                drop(first);
                let next = site.process(2);
                let order = go(&next, way).unwrap_or_else(|error| {
                    panic!("{way:?}, {warm}, killed at {at} ({does_last}): {error}")
                });
                is_sound(&site, &next, &order);
            }
        }
    }
}
