//! Orders against a region in memory: their whole way, cut off at every call of Azure's and of the vault's, refused, late,
//! doubled; and nothing is left behind.

use pipeline_azure::arm::Why;
use pipeline_vault::document::Name;
use serde_json::json;

use super::*;
use crate::order::orders;
use crate::order::run::Work;
use crate::order::sweep::{self, Belongs};
use crate::profile::Address;
use crate::target;
use crate::test_world::region::Trouble;
use crate::test_world::{Process, SERVER, Site, profile, wanted};

/// Killed at every call.
mod killed;
/// Refusals and failures.
mod refused;
/// Disks of warm seeds.
mod warm;

fn trouble(at: &str, why: Why) -> Trouble {
    Trouble { at: at.to_owned(), why, late: false, done: false, times: 1 }
}

#[test]
fn a_drill_brings_the_point_up_where_nothing_reaches_it_and_leaves_nothing() {
    let site = Site::new();
    let order = site.process(1).order(7, &wanted(Kind::Drill)).expect("a drill");
    assert_eq!(order.state, State::Drilled);
    assert_eq!(order.evidence.up, Some(true));
    assert!(order.evidence.console.contains("login:"));
    assert!(
        order.evidence.screenshot.as_deref().is_some_and(|uri| uri.starts_with("data:image/png"))
    );
    assert!(order.steps.iter().all(|record| record.standing == Standing::Done), "{order:?}");
    assert!(order.rto_millis() > 0 && order.filled_bytes() == 64 << 20);
    assert!(site.region.things().is_empty(), "{:?}", site.region.things());
    assert!(site.deeds().is_empty(), "a drill forks nothing");
    let log = site.region.log();
    assert!(log.iter().any(|call| call.contains("networksecuritygroups/lifeboat-drill")));
    let kept = target::load(&site.process(2).documents, SERVER).unwrap();
    assert!(kept.drill.is_none() && kept.drills.len() == 1 && kept.drills[0].up);
}

#[test]
fn the_address_that_its_settings_fix_is_retained_where_the_place_holds_it() {
    let site = Site::new();
    let mut retains = profile();
    retains.address = Address::Retained(None);
    target::set_profile(&site.process(9).documents, SERVER, "web1", &retains).expect("sound");
    let home = ["192.0.2.5", "10.0.0.7", "10.255.0.9"].map(|address| address.parse().unwrap());
    site.survey.lock().unwrap().addresses = home.to_vec();
    let process = site.process(1);
    let order = process.order(7, &wanted(Kind::Failover)).expect("a failover");
    assert_eq!((order.state, order.wanted_address()), (State::Up, Some(home[1])));
    assert!(order.notes.iter().any(|note| note.text.contains("keeps its address 10.0.0.7")));
    // The profile says how, not which: the next failover looks again.
    let kept = target::load(&process.documents, SERVER).unwrap();
    assert_eq!(kept.profile.unwrap().address, Address::Retained(None));
    // A drill has it where its own network holds it.
    let drill = site.process(2).order(8, &wanted(Kind::Drill)).expect("a drill");
    assert_eq!(drill.wanted_address(), Some(home[2]));
    site.survey.lock().unwrap().addresses.truncate(2);
    let drill = site.process(3).order(9, &wanted(Kind::Drill)).expect("a drill");
    assert_eq!((drill.evidence.up, drill.wanted_address()), (Some(true), None));
}

#[test]
fn a_failover_is_up_until_it_is_committed_and_keeps_what_it_made() {
    let site = Site::new();
    let process = site.process(1);
    let order = process.order(7, &wanted(Kind::Failover)).expect("a failover");
    assert_eq!((order.state, order.evidence.up), (State::Up, Some(true)));
    let kept = process.read(Name::Order(order.id)).changes;
    assert_eq!(kept.first().map(|change| change.path.as_str()), Some("etc/fstab"));
    let running = site.region.running();
    assert_eq!(running.len(), 1);
    assert!(running[0].0.ends_with("/virtualmachines/web1"));
    assert_eq!(
        running[0].1,
        ["11", "11"]
            .map(|id| id.repeat(16))
            .iter()
            .zip(["sda", "sdb"])
            .map(|(id, disk)| format!("{disk} of {id}"))
            .collect::<Vec<_>>()
    );
    assert_eq!(site.deeds(), [format!("fork {}", "11".repeat(16))]);
    let things = site.region.things();
    assert_eq!(things.len(), 4, "two disks, an interface, a machine: {things:?}");
    let mut work = Work::take(process.world(), Name::Order(order.id), false).unwrap();
    work.commit().expect("it is up");
    work.commit().expect("twice is the same");
    assert_eq!(site.region.things(), things);
    let kept = target::load(&process.documents, SERVER).unwrap();
    assert!(kept.failover.is_none() && kept.committed.is_some());
    let sweep::Swept { asked, found } = sweep::look(process.world(), "vault-1").unwrap();
    assert_eq!(asked.len(), 1, "the profile's subscription: {asked:?}");
    assert!(found.len() == 4 && found.iter().all(|tagged| tagged.belongs == Belongs::Needed));
}

#[test]
fn a_cancelled_failover_leaves_nothing_and_the_original_is_the_server_again() {
    let site = Site::new();
    let process = site.process(1);
    let mut wanted = wanted(Kind::Failover);
    let mut profile = profile();
    profile.public_address = true;
    target::set_profile(&process.documents, SERVER, "web1", &profile).unwrap();
    wanted.at_millis += 1;
    let order = process.order(7, &wanted).expect("a failover");
    assert_eq!(site.region.things().len(), 5);
    let mut work = Work::take(process.world(), Name::Order(order.id), false).unwrap();
    work.cancel().expect("nothing holds it");
    assert_eq!(work.order().state, State::Cancelled);
    assert!(site.region.things().is_empty());
    assert_eq!(site.deeds().last().map(String::as_str), Some("unfork"));
    assert!(process.order(8, &wanted).is_ok(), "the next one may come");
}

#[test]
fn another_point_before_the_commit_replaces_disks_and_machine_and_keeps_the_address() {
    let site = Site::new();
    let process = site.process(1);
    let order = process.order(7, &wanted(Kind::Failover)).expect("a failover");
    let other = "22".repeat(16);
    let mut work = Work::take(process.world(), Name::Order(order.id), false).unwrap();
    work.change_point(&other).expect("another point");
    assert_eq!((work.order().state, work.order().round), (State::Up, 1));
    let running = site.region.running();
    assert_eq!(running[0].1, ["sda", "sdb"].map(|disk| format!("{disk} of {other}")));
    assert_eq!(site.region.things().len(), 4);
    let log = site.region.log();
    let made = |piece: &str| {
        log.iter().filter(|call| call.starts_with("PUT") && call.contains(piece)).count()
    };
    assert_eq!(
        (made("/networkinterfaces/"), made("/virtualmachines/"), made("/disks/")),
        (1, 2, 4)
    );
    assert_eq!(site.deeds().last(), Some(&format!("fork {other}")));
    work.commit().unwrap();
    assert!(work.change_point("latest").is_err(), "it is kept");
    let refused = work.cancel().expect_err("it is kept").to_string();
    assert!(refused.contains("is committed"), "{refused}");
    assert_eq!(site.region.things().len(), 4);
}

#[test]
fn a_server_that_runs_stays_where_the_other_point_is_not_whole_or_would_not_start() {
    let site = Site::new();
    let process = site.process(1);
    let order = process.order(7, &wanted(Kind::Failover)).expect("a failover");
    let before = (site.region.running(), site.region.log());
    let change = |point: &str| {
        let mut work = Work::take(process.world(), Name::Order(order.id), false).unwrap();
        work.change_point(point).expect_err("not that one").to_string()
    };
    assert!(change("damaged").contains("segment 7"));
    site.survey.lock().unwrap().obstacles.push("there is no boot loader".to_owned());
    assert!(change(&"22".repeat(16)).contains("no boot loader"));
    assert_eq!((site.region.running(), site.region.log()), before);
    let kept = process.read(Name::Order(order.id));
    assert_eq!((kept.state, kept.wanted_point.as_str(), kept.round), (State::Up, "latest", 0));
}

#[test]
fn a_failover_that_is_cancelled_before_its_other_point_was_forked_ends_the_fork_it_has() {
    let site = Site::new();
    let process = site.process(1);
    let order = process.order(7, &wanted(Kind::Failover)).expect("a failover");
    let name = Name::Order(order.id);
    site.region.trouble(trouble("begingetaccess", Why::Denied));
    let mut work = Work::take(process.world(), name, false).unwrap();
    work.change_point(&"22".repeat(16)).expect_err("no right to fill its disks");
    assert_eq!(work.order().step(Step::Fork).map(|step| step.standing), Some(Standing::Waits));
    let mut work = Work::take(process.world(), name, false).unwrap();
    work.cancel().expect("nothing holds it");
    assert_eq!(site.deeds().last().map(String::as_str), Some("unfork"));
}

#[test]
fn a_planned_failover_asks_the_source_first_and_a_cancelled_one_lets_it_go_on() {
    let site = Site::new();
    let process = site.process(1);
    let order = process.order(7, &wanted(Kind::Planned)).expect("a failover");
    assert_eq!(site.deeds()[..3], ["Stop", "LastPoint", "PowerDown"]);
    let last = order.point.as_ref().map(|point| point.id.clone());
    assert_eq!(last, Some("33".repeat(16)), "the source's last point, whatever came since");
    let mut work = Work::take(process.world(), Name::Order(order.id), false).unwrap();
    work.cancel().expect("nothing holds it");
    assert_eq!(site.deeds()[4..], ["unfork", "Return"]);
}

#[test]
fn of_two_operators_one_has_it_and_the_other_is_told_who() {
    let site = Site::new();
    let (one, mut other) = (site.process(1), site.process(2));
    other.machine = "two";
    let name = one.give(7, &wanted(Kind::Failover)).expect("the first");
    let refused = other.give(8, &wanted(Kind::Planned)).expect_err("the second").to_string();
    assert!(refused.contains("ordered by ann@one") && refused.contains("--resume"), "{refused}");
    assert!(other.read(Name::Order(OrderId([8; 16]))).is_over());
    assert!(other.give(9, &wanted(Kind::Drill)).is_ok(), "a drill disturbs no failover");
    // The same order in two hands: whoever holds it, holds it.
    let mut work = Work::take(one.world(), name, false).unwrap();
    let held = other.go_on(name).expect_err("it is held").to_string();
    assert!(held.contains("carried out by ann@one"), "{held}");
    // The first one is silent for long, by the vault's clock; then it may be taken over, and the first one notices.
    site.clock.advance(holder::HOLD_MILLIS + 1);
    assert_eq!(other.go_on(name).expect("taken over").state, State::Up);
    let left = work.carry_on().expect_err("it is another's now").to_string();
    assert!(left.contains("carried out by") || left.contains("somebody"), "{left}");
    assert_eq!(site.region.running().len(), 1);
}

/// Waits on a thread beside the order's until something is so, a minute at most.
fn until(so: impl Fn() -> bool) -> bool {
    for _ in 0..60_000 {
        if so() {
            return true;
        }
        std::thread::sleep(core::time::Duration::from_millis(1));
    }
    false
}

#[test]
fn a_vault_that_cannot_be_reached_for_a_while_spoils_nothing_that_is_done_meanwhile() {
    let site = Site::new();
    let process = site.process(1);
    let name = process.give(7, &wanted(Kind::Failover)).unwrap();
    let mut work = Work::take(process.world(), name, false).unwrap();
    site.clock.advance(holder::HOLD_MILLIS / 2);
    process.dies_in(0, false);
    let before = process.store.calls();
    let done = work.signing_every(core::time::Duration::from_millis(1), || {
        let tried = until(|| process.store.calls() > before + 3);
        process.store.set_faults(pipeline_vault::store::fault::Faults::default());
        tried
    });
    assert_eq!(done, Ok(true));
    work.carry_on().expect("the vault is back");
}

#[test]
fn who_lost_its_order_stops_what_it_does_for_it() {
    let site = Site::new();
    let (one, mut other) = (site.process(1), site.process(2));
    other.machine = "two";
    let name = one.give(7, &wanted(Kind::Failover)).unwrap();
    let mut work = Work::take(one.world(), name, false).unwrap();
    site.clock.advance(holder::HOLD_MILLIS + 1);
    drop(Work::take(other.world(), name, false).expect("it was silent"));
    let stopped = || one.stop.load(core::sync::atomic::Ordering::Relaxed);
    let done = work.signing_every(core::time::Duration::from_millis(1), || until(stopped));
    assert!(matches!(done, Err(run::Stop::Left(_))), "{done:?}");
    assert!(stopped(), "the thread that fills a disk looks there");
}

#[test]
fn a_clock_that_jumps_changes_no_time_that_was_measured_and_no_hold() {
    let site = Site::new();
    let process = site.process(1);
    let name = process.give(7, &wanted(Kind::Drill)).unwrap();
    let jumps = core::sync::atomic::AtomicU32::new(0);
    let watch = |_: &Order| {
        let count = jumps.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
        let year = if count.is_multiple_of(2) { 4_000_000_000_000 } else { 1000 };
        site.clock.jump(hal::time::UnixMillis(year));
    };
    let world = run::World { watch: &watch, ..process.world() };
    let mut work = Work::take(world, name, false).unwrap();
    work.carry_on().expect("a drill");
    assert_eq!(work.order().state, State::Drilled);
    assert!(work.order().rto_millis() < 600_000, "{}", work.order().rto_millis());
}

#[test]
fn the_orders_of_a_vault_are_found_by_their_first_letters() {
    let site = Site::new();
    let process = site.process(1);
    process.give(7, &wanted(Kind::Failover)).unwrap();
    assert!(orders::find(&process.documents, "0707").is_ok());
    for bad in ["", "08", "x"] {
        assert!(orders::find(&process.documents, bad).is_err(), "{bad}");
    }
    let open = orders::open_of(&process.documents, SERVER, Kind::Planned).unwrap().unwrap();
    assert_eq!(open.kind, Kind::Failover);
    let of = |kind: Kind| orders::find_of(&process.documents, "0707", kind);
    assert!(of(Kind::Failover).is_ok() && of(Kind::Planned).is_ok());
    assert!(
        of(Kind::Drill).unwrap_err().what.contains("is no drill"),
        "nobody drills a failover on"
    );
}

#[test]
fn documents_of_a_stranger_end_in_an_error() {
    let site = Site::new();
    let process = site.process(1);
    let name = process.give(7, &wanted(Kind::Failover)).unwrap();
    let good = documents::bytes_of(name, &process.read(name)).unwrap();
    for seed in 0..3000 {
        let mut random = hal_sim::random::Random::new(seed);
        let mut bytes = good.clone();
        for _ in 0..=random.below(3) {
            let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
            bytes[at] = random.number().to_le_bytes()[0];
        }
        bytes.truncate(usize::try_from(random.below(2 * bytes.len() as u64)).unwrap());
        // An answer or an error; what it is does not matter.
        let _ = documents::parse::<Order>(name, &bytes);
    }
    let mut later: serde_json::Value = serde_json::from_slice(&good).unwrap();
    later["format"] = json!(2);
    let told = documents::parse::<Order>(name, later.to_string().as_bytes()).unwrap_err();
    assert!(told.to_string().contains("later Lifeboat"), "{told}");
}

use crate::documents;

/// Everything that a whole way needs afterwards.
fn is_sound(site: &Site, process: &Process<'_>, order: &Order) {
    let left = sweep::look(process.world(), "vault-1").expect("a region").found;
    let orphans: Vec<_> = left.iter().filter(|tagged| tagged.belongs != Belongs::Needed).collect();
    assert!(orphans.is_empty(), "{orphans:?}");
    let account = site.seeds.account();
    assert!(account.copies.is_empty(), "{:?}", account.copies);
    let seed = account.seeds.get("sda").map(String::as_str);
    assert!(seed.is_none_or(|seed| seed == "00".repeat(16)), "{seed:?}");
    drop(account);
    match order.state {
        State::Drilled | State::Cancelled => assert!(site.region.things().is_empty()),
        State::Up => {
            assert_eq!(site.region.running().len(), 1);
            let expected = ["sda", "sdb"].map(|disk| format!("{disk} of {}", "11".repeat(16)));
            assert_eq!(site.region.running()[0].1, expected);
            assert_eq!(site.region.things().len(), 4, "nothing twice: {:?}", site.region.things());
        }
        other => panic!("it ended as {other:?}"),
    }
}
