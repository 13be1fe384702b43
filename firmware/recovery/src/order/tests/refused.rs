//! Refusals, late failures and lost answers: told with step and remedy, gone on with or taken back, and nothing is left over.

use super::*;
use crate::order::hands::Hands as _;
use crate::profile::Signal;
use crate::test_world::SUBSCRIPTION;
use pipeline_azure::arm::disk::Generation;

fn fails(site: &Site, kind: Kind) -> (String, Order) {
    let process = site.process(1);
    let name = process.give(7, &wanted(kind)).expect("an order");
    let error = process.go_on(name).expect_err("it cannot go on").to_string();
    (error, process.read(name))
}

fn nothing_was_made(site: &Site, error: &str, piece: &str) {
    assert!(error.contains(piece) && error.contains("step check"), "{error}");
    assert!(site.region.things().is_empty() && site.region.log().is_empty(), "{error}");
}

#[test]
fn what_would_stop_it_is_told_before_anything_is_made() {
    type Change = fn(&Site);
    let cases: [(&str, Change); 15] = [
        ("full: enlarge it, or name another", |site| {
            let path = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/recovered/providers/Microsoft.Network/virtualNetworks/net";
            let subnet = json!({"name": "default", "properties": {"addressPrefix": "10.0.0.0/30"}});
            site.region.put(path, json!({"properties": {"subnets": [subnet]}}));
        }),
        ("taken", |site| {
            set(site, |profile| profile.address = Address::Given([10, 0, 0, 99].into()));
        }),
        ("is not in subnet default (10.0.0.0/24): name a subnet", |site| {
            set(site, |profile| profile.address = Address::Given([10, 9, 0, 7].into()));
        }),
        ("no settings of the point fix one", |site| {
            set(site, |profile| profile.address = Address::Retained(None));
        }),
        ("holds none of those that it has at home (192.0.2.5, fd00::5)", |site| {
            set(site, |profile| profile.address = Address::Retained(None));
            let home = ["192.0.2.5", "fd00::5"].map(|address| address.parse().unwrap());
            site.survey.lock().unwrap().addresses = home.to_vec();
        }),
        ("not offered in zone 3", |site| set(site, |profile| profile.zone = Some("3".to_owned()))),
        ("none of its sizes", |site| {
            set(site, |profile| profile.sizes = vec!["Standard_X".to_owned()])
        }),
        ("is not there: make it, or correct the target profile", |site| {
            set(site, |profile| profile.subnet = "other".to_owned());
        }),
        ("guards in recovered is not there: make it, or correct", |site| {
            set(site, |profile| profile.security_group = Some("guards".to_owned()));
        }),
        ("resource group other", |site| set(site, |profile| profile.group = "other".to_owned())),
        ("give the profile another name", |site| {
            let path = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/recovered/providers/Microsoft.Compute/virtualMachines/web1";
            site.region.put(path, json!({"properties": {"provisioningState": "Succeeded"}}));
        }),
        ("starts from 2048 GiB", |site| {
            let mut survey = site.survey.lock().unwrap();
            survey.generation = Generation::V1;
            survey.disks[0].bytes = 3 << 40;
        }),
        ("sectors of 4096", |site| site.survey.lock().unwrap().disks[0].sector_bytes = 4096),
        ("sdb has sectors", |site| site.survey.lock().unwrap().disks[1].sector_bytes = 4096),
        ("no boot loader", |site| {
            site.survey.lock().unwrap().obstacles.push("there is no boot loader".to_owned());
        }),
    ];
    for (piece, change) in cases {
        let site = Site::new();
        change(&site);
        let (error, _) = fails(&site, Kind::Failover);
        nothing_was_made(&site, &error, piece);
    }
}

fn set(site: &Site, change: impl FnOnce(&mut Profile)) {
    let mut profile = profile();
    change(&mut profile);
    target::set_profile(&site.process(9).documents, SERVER, "web1", &profile).expect("sound");
}

#[test]
fn a_damaged_point_is_refused_before_anything_is_made() {
    let site = Site::new();
    let process = site.process(1);
    let wanted = orders::Wanted { point: "damaged".to_owned(), ..wanted(Kind::Failover) };
    let error = process.order(7, &wanted).expect_err("damaged").to_string();
    nothing_was_made(&site, &error, "segment 7");
}

#[test]
fn a_quota_that_is_used_up_is_told_before_and_after() {
    let site = Site::new();
    site.region.trouble(trouble("/usages", Why::Denied));
    let (error, _) = fails(&site, Kind::Failover);
    assert!(error.contains("step check"), "{error}");
    // Used up since the check: the next size is tried, then it stands.
    let site = Site::new();
    site.region.trouble(Trouble { times: 2, ..trouble("PUT /subscriptions/00000000-0000-0000-0000-000000000001/resourcegroups/recovered/providers/microsoft.compute/virtualmachines", Why::Quota) });
    let (error, order) = fails(&site, Kind::Failover);
    assert!(error.contains("step machine") && error.contains("Standard_D4s_v5"), "{error}");
    assert_eq!(order.step(Step::Machine).map(|step| step.standing), Some(Standing::Failed));
    assert_eq!(
        site.process(2).go_on(Name::Order(order.id)).expect("quota is back").state,
        State::Up
    );
}

#[test]
fn a_size_without_room_is_followed_by_the_next_one() {
    for late in [false, true] {
        let site = Site::new();
        site.region.trouble(Trouble { late, ..trouble("PUT /subscriptions/00000000-0000-0000-0000-000000000001/resourcegroups/recovered/providers/microsoft.compute/virtualmachines/web1", Why::NoRoom) });
        let process = site.process(1);
        let name = process.give(7, &wanted(Kind::Failover)).unwrap();
        let order = match process.go_on(name) {
            Ok(order) => order,
            Err(_) => process.go_on(name).expect("it goes on"),
        };
        assert_eq!(order.evidence.size.as_deref(), Some("Standard_D4s_v5"), "late: {late}");
        is_sound(&site, &process, &order);
    }
}

#[test]
fn azure_says_yes_and_fails_later_and_the_order_goes_on_or_is_taken_back() {
    for piece in ["/disks/", "/networkinterfaces/", "/virtualmachines/web1"] {
        for cancels in [false, true] {
            let site = Site::new();
            let at = format!(
                "PUT /subscriptions/00000000-0000-0000-0000-000000000001/resourcegroups/recovered/providers/microsoft.{}{piece}",
                if piece.starts_with("/network") { "network" } else { "compute" }
            );
            site.region.trouble(Trouble { late: true, ..trouble(&at, Why::Policy) });
            let (error, order) = fails(&site, Kind::Failover);
            assert!(error.contains("step ") && error.contains("--resume"), "{error}");
            assert!(order.trouble.is_some());
            let next = site.process(2);
            let order = if cancels {
                let mut work = Work::take(next.world(), Name::Order(order.id), false).unwrap();
                work.cancel().expect("nothing holds it");
                work.order().clone()
            } else {
                next.go_on(Name::Order(order.id)).expect("it goes on")
            };
            is_sound(&site, &next, &order);
        }
    }
}

#[test]
fn what_failed_late_and_may_do_later_is_made_again_and_never_waited_for_for_ever() {
    let at = "PUT /subscriptions/00000000-0000-0000-0000-000000000001/resourcegroups/recovered/providers/microsoft.compute/virtualmachines/web1";
    let site = Site::new();
    site.region.trouble(Trouble { late: true, ..trouble(at, Why::Later) });
    let process = site.process(1);
    let order = process.order(7, &wanted(Kind::Failover)).expect("the second try does");
    is_sound(&site, &process, &order);
    for cancels in [false, true] {
        let site = Site::new();
        site.region.trouble(Trouble { late: true, times: 9, ..trouble(at, Why::Later) });
        let (error, order) = fails(&site, Kind::Failover);
        assert!(error.contains("step machine"), "{error}");
        let next = site.process(2);
        let mut work = Work::take(next.world(), Name::Order(order.id), false).unwrap();
        let done = if cancels { work.cancel() } else { work.carry_on() };
        done.expect("what has ended holds nobody up");
        is_sound(&site, &next, &work.order().clone());
    }
}

#[test]
fn a_right_that_is_missing_in_the_middle_is_told_and_what_was_made_can_be_taken_back() {
    for (kind, group) in [(Kind::Drill, "lifeboat-drill-07070707"), (Kind::Failover, "recovered")] {
        let acts = ["/begingetaccess", "/endgetaccess", "/retrievebootdiagnosticsdata"];
        let made = [
            "microsoft.compute/disks/",
            "microsoft.network/networkinterfaces/",
            "microsoft.compute/virtualmachines/",
        ];
        let made = made.map(|piece| {
            format!("PUT /subscriptions/{SUBSCRIPTION}/resourcegroups/{group}/providers/{piece}")
        });
        for at in acts.map(str::to_owned).into_iter().chain(made) {
            let site = Site::new();
            site.region.trouble(trouble(&at, Why::Denied));
            let (error, order) = fails(&site, kind);
            assert!(
                error.contains("step ") && error.contains("lifeboat cleanup --order"),
                "{at}: {error}"
            );
            let next = site.process(2);
            let mut work = Work::take(next.world(), Name::Order(order.id), false).unwrap();
            work.cancel().expect("nothing holds it");
            is_sound(&site, &next, &work.order().clone());
        }
    }
}

#[test]
fn lost_answers_and_busy_hours_are_waited_out_and_nothing_is_made_twice() {
    for (why, done) in [(Why::Later, false), (Why::Way, true)] {
        let site = Site::new();
        for piece in ["PUT", "DELETE", "begingetaccess", "endgetaccess", "GET"] {
            site.region.trouble(Trouble { done, times: 3, ..trouble(piece, why) });
        }
        let process = site.process(1);
        let order = process.order(7, &wanted(Kind::Failover)).expect("it waits");
        is_sound(&site, &process, &order);
        site.region.trouble(Trouble { done, times: 3, ..trouble("DELETE", why) });
        let mut work = Work::take(process.world(), Name::Order(order.id), false).unwrap();
        work.cancel().expect("it waits");
        assert!(site.region.things().is_empty());
    }
}

#[test]
fn a_signature_that_expired_is_asked_for_anew() {
    let site = Site::new();
    *site.expired.lock().unwrap() = 3;
    let process = site.process(1);
    let order = process.order(7, &wanted(Kind::Failover)).expect("another signature");
    assert!(order.notes.iter().any(|note| note.text.contains("another one is asked for")));
    is_sound(&site, &process, &order);
}

#[test]
fn signatures_that_never_count_are_waited_for_and_given_up() {
    let site = Site::new();
    *site.unusable.lock().unwrap() = 6;
    let process = site.process(1);
    let order = process.order(7, &wanted(Kind::Failover)).expect("it counts after a while");
    is_sound(&site, &process, &order);
    let site = Site::new();
    *site.unusable.lock().unwrap() = 7;
    let (error, _) = fails(&site, Kind::Failover);
    for words in ["step hydrate", "does not take it", "look at the clocks"] {
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn a_server_that_does_not_come_up_is_a_drill_that_says_so_and_a_failover_that_stands() {
    let quiet = |profile: &mut Profile| {
        profile.tags.insert("quiet".to_owned(), "yes".to_owned());
    };
    let site = Site::new();
    set(&site, quiet);
    let process = site.process(1);
    let order = process.order(7, &wanted(Kind::Drill)).expect("the drill itself was done");
    assert_eq!((order.state, order.evidence.up), (State::Drilled, Some(false)));
    assert!(order.evidence.console.contains("booting"));
    is_sound(&site, &process, &order);
    let (error, order) = fails(&site_with(quiet), Kind::Failover);
    assert!(
        error.contains("step signal") && error.contains("console ends with «booting»"),
        "{error}"
    );
    assert_eq!(order.state, State::Open);
    assert!(order.evidence.console.contains("booting"), "the evidence is there before the end");
}

#[test]
fn a_list_that_still_has_what_is_gone_keeps_no_order_open() {
    let site = Site::new();
    let process = site.process(1);
    let order = process.order(7, &wanted(Kind::Failover)).unwrap();
    site.region.lists_late();
    let mut work = Work::take(process.world(), Name::Order(order.id), false).unwrap();
    work.cancel().expect("all of it is gone");
    assert_eq!(work.order().state, State::Cancelled);
    assert!(site.region.things().is_empty());
}

#[test]
fn an_interface_that_is_kept_for_some_minutes_is_waited_for() {
    let site = Site::new();
    let process = site.process(1);
    let order = process.order(7, &wanted(Kind::Failover)).unwrap();
    let at = "DELETE /subscriptions/00000000-0000-0000-0000-000000000001/resourcegroups/recovered/providers/microsoft.network/networkinterfaces";
    site.region.keeps_back(at, core::time::Duration::from_secs(180));
    let mut work = Work::take(process.world(), Name::Order(order.id), false).unwrap();
    work.cancel().expect("it is let go after three minutes");
    assert!(site.region.things().is_empty());
}

#[test]
fn an_order_that_failed_often_with_long_words_can_still_be_taken_back() {
    let site = Site::new();
    let process = site.process(1);
    let name = process.give(7, &wanted(Kind::Failover)).unwrap();
    let progress = format!("begin{}the remedy", ".ü".repeat(20_000));
    for _ in 0..250 {
        site.survey.lock().unwrap().obstacles = vec![progress.clone()];
        let told = process.go_on(name).expect_err("an obstacle").to_string();
        assert!(told.contains(&progress), "a person is told all of it");
    }
    let order = process.read(name);
    let bytes = documents::bytes_of(name, &order).unwrap();
    assert!(bytes.len() < 400_000, "{}", bytes.len());
    let kept = order.trouble.unwrap();
    assert!(kept.contains("begin") && kept.contains("lifeboat cleanup --order"), "{kept}");
    let mut work = Work::take(process.world(), name, false).unwrap();
    work.cancel().expect("there is room for that");
}

fn site_with(change: impl FnOnce(&mut Profile)) -> Site {
    let site = Site::new();
    set(&site, change);
    site
}

#[test]
fn only_who_may_orders_a_failover_and_everybody_a_drill() {
    let site = site_with(|profile| profile.who_may = vec!["bob".to_owned()]);
    let process = site.process(1);
    let error = process.order(7, &wanted(Kind::Failover)).expect_err("ann may not").to_string();
    assert!(error.contains("bob"), "{error}");
    assert!(process.order(8, &wanted(Kind::Drill)).is_ok());
}

#[test]
fn what_is_left_of_orders_that_are_over_is_found_and_cleared_and_nothing_else() {
    let site = Site::new();
    let process = site.process(1);
    let drill = process.order(7, &wanted(Kind::Drill)).unwrap();
    let kept = process.order(8, &wanted(Kind::Failover)).unwrap();
    let disk = |name: &str, order: &str| {
        let path = format!(
            "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/recovered/providers/Microsoft.Compute/disks/{name}"
        );
        let tags = json!({"lifeboat-order": order, "lifeboat-vault": "vault-1"});
        site.region.put(
            &path,
            json!({"id": path, "tags": tags, "properties": {"diskState": "ActiveUpload"}}),
        );
    };
    disk("left", &drill.id.to_string());
    disk("strange", &"99".repeat(16));
    let found = sweep::look(process.world(), "vault-1").unwrap().found;
    let count = |belongs: Belongs| found.iter().filter(|tagged| tagged.belongs == belongs).count();
    assert_eq!(
        (count(Belongs::Needed), count(Belongs::Orphan), count(Belongs::Unknown)),
        (4, 1, 1)
    );
    let gone = sweep::clear(process.world(), &found, &kept).unwrap();
    assert!(gone.len() == 1 && gone[0].ends_with("left"), "{gone:?}");
    assert_eq!(site.region.things().len(), 5);
    assert!(
        sweep::clear(
            process.world(),
            &sweep::look(process.world(), "vault-1").unwrap().found,
            &kept
        )
        .unwrap()
        .is_empty()
    );
}

#[test]
fn what_azure_never_ends_is_given_up_after_a_while_and_gone_on_with_later() {
    let site = Site::new();
    site.region.never_ends(Some("/virtualmachines/"));
    let before = site.process(1).moment_millis();
    let (error, order) = fails(&site, Kind::Failover);
    let minutes = site.process(1).moment_millis().saturating_sub(before) / 60_000;
    assert!((60..70).contains(&minutes), "{minutes}");
    assert!(error.contains("for 60 minutes") && error.contains("--resume"), "{error}");
    assert!(error.contains("making machine web1") && order.pending.is_some(), "{error}");
    let made = |site: &Site| {
        let log = site.region.log();
        log.iter()
            .filter(|call| call.starts_with("PUT") && call.contains("/virtualmachines/"))
            .count()
    };
    assert_eq!(made(&site), 1);
    site.region.never_ends(None);
    let process = site.process(2);
    let order = process.go_on(Name::Order(order.id)).expect("Azure is through with it");
    assert_eq!(made(&site), 1, "the same machine, not another one");
    is_sound(&site, &process, &order);
}

#[test]
fn what_azure_never_ends_can_be_taken_back_once_it_ends() {
    let site = Site::new();
    site.region.never_ends(Some("/disks/"));
    let (error, order) = fails(&site, Kind::Drill);
    assert!(error.contains("for 360 minutes"), "{error}");
    site.region.never_ends(None);
    let process = site.process(2);
    let mut work = Work::take(process.world(), Name::Order(order.id), false).unwrap();
    work.cancel().expect("it ended");
    assert!(site.region.things().is_empty());
}

#[test]
fn signals_by_the_network_are_not_judged_in_a_drill_and_one_without_any_other_is_refused() {
    let site = Site::new();
    set(&site, |profile| profile.signals.push(Signal::Tcp(22)));
    let order = site.process(1).order(7, &wanted(Kind::Drill)).expect("its console says enough");
    assert_eq!((order.state, order.evidence.up), (State::Drilled, Some(true)));
    let notes: Vec<&str> = order.notes.iter().map(|note| note.text.as_str()).collect();
    assert!(notes.iter().any(|note| note.contains("a connection to port 22")), "{notes:?}");
    assert_eq!(order.evidence.signals, ["«login:» on its console"]);
    let failover = site.process(1).order(8, &wanted(Kind::Failover)).expect("there it is asked");
    assert_eq!(failover.evidence.signals.len(), 2, "{:?}", failover.evidence.signals);
    let site = Site::new();
    set(&site, |profile| profile.signals = vec![Signal::Tcp(22)]);
    let (error, _) = fails(&site, Kind::Drill);
    nothing_was_made(&site, &error, "signals = [{ console = ");
}

#[test]
fn the_machine_of_an_earlier_failover_that_stands_is_named_before_anything_is_made() {
    let site = Site::new();
    let process = site.process(1);
    let first = process.order(7, &wanted(Kind::Failover)).expect("a failover");
    Work::take(process.world(), Name::Order(first.id), false).unwrap().commit().expect("it is up");
    let before = (site.region.things(), site.region.log());
    let refused = process.order(8, &wanted(Kind::Failover)).expect_err("it stands").to_string();
    assert!(refused.contains("machine web1 in recovered is what failover"), "{refused}");
    assert!(refused.contains(&first.id.to_string()) && refused.contains("name = "), "{refused}");
    assert_eq!((site.region.things(), site.region.log()), before);
    // With another name both stand.
    let mut work = Work::take(process.world(), Name::Order(OrderId([8; 16])), false).unwrap();
    work.cancel().expect("nothing was made");
    set(&site, |profile| profile.name = Some("web1-b".to_owned()));
    process.order(9, &wanted(Kind::Failover)).expect("another name");
    assert_eq!(site.region.running().len(), 2);
}
