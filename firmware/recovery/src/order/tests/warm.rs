//! Orders whose disks are made of warm seeds: what is wrong with a seed never fails them, and leaves the seed as it was.

use super::*;

fn notes(order: &Order) -> String {
    order.notes.iter().map(|note| note.text.as_str()).collect::<Vec<_>>().join("\n")
}

fn puts(site: &Site, piece: &str) -> usize {
    let log = site.region.log();
    log.iter().filter(|call| call.contains(piece)).count()
}

#[test]
fn a_disk_with_a_seed_is_made_of_it_and_another_is_uploaded_and_said_to_be() {
    let site = Site::warm();
    let process = site.process(1);
    let order = process.order(7, &wanted(Kind::Failover)).expect("a failover");
    is_sound(&site, &process, &order);
    assert!(order.disks[0].import.is_some() && order.disks[1].import.is_none());
    assert_eq!(puts(&site, "begingetaccess"), 1, "only one is uploaded into");
    assert!(order.filled_bytes() < 64 << 20, "a seed moves less than the disk");
    let notes = notes(&order);
    assert!(notes.contains("disk sda is made of its seed, which is at"), "{notes}");
    assert!(notes.contains("disk sdb is uploaded: its seed is not there yet"), "{notes}");
}

#[test]
fn a_seed_that_is_of_no_use_is_passed_over_and_the_order_says_so() {
    let site = Site::warm();
    site.seeds.account().refuses = 1;
    let process = site.process(1);
    let order = process.order(7, &wanted(Kind::Failover)).expect("a failover all the same");
    is_sound(&site, &process, &order);
    assert!(order.disks[0].import.is_none());
    assert_eq!(puts(&site, "begingetaccess"), 2);
    assert!(notes(&order).contains("disk sda is uploaded, as its seed is of no use"));
}

#[test]
fn a_disk_that_azure_does_not_make_of_a_copy_is_uploaded() {
    for late in [false, true] {
        let site = Site::warm();
        let at = "put /subscriptions/00000000-0000-0000-0000-000000000001/resourcegroups/recovered/providers/microsoft.compute/disks/web1-sda";
        site.region.trouble(Trouble { late, ..trouble(at, Why::Invalid) });
        let process = site.process(1);
        let order = process.order(7, &wanted(Kind::Failover)).expect("a failover all the same");
        is_sound(&site, &process, &order);
        assert_eq!(puts(&site, "begingetaccess"), 2, "late: {late}");
    }
}

#[test]
fn a_copy_that_cannot_be_taken_away_holds_up_no_server_and_goes_with_the_order() {
    let site = Site::warm();
    site.seeds.account().keeps = 1;
    let process = site.process(1);
    let order = process.order(7, &wanted(Kind::Failover)).expect("a failover all the same");
    assert!(order.disks[0].copied && notes(&order).contains("is still there"));
    assert_eq!(site.seeds.account().copies.len(), 1);
    let mut work = Work::take(process.world(), Name::Order(order.id), false).unwrap();
    work.commit().expect("it is up");
    assert!(site.seeds.account().copies.is_empty());
}

#[test]
fn an_order_that_cannot_take_its_copies_back_is_not_over() {
    let site = Site::warm();
    site.seeds.account().keeps = 2;
    let process = site.process(1);
    let order = process.order(7, &wanted(Kind::Failover)).expect("a failover");
    let name = Name::Order(order.id);
    let mut work = Work::take(process.world(), name, false).unwrap();
    work.cancel().expect_err("its copy is still there");
    assert_eq!(process.read(name).state, State::Cancelling);
    let order = process.go_on(name).expect("now it may");
    assert_eq!(order.state, State::Cancelled);
    is_sound(&site, &process, &order);
}

#[test]
fn a_disk_that_no_seed_holds_is_uploaded() {
    let site = Site::warm();
    site.survey.lock().unwrap().disks[1].bytes = 9 << 40;
    site.seeds.account().seeds.insert("sdb".to_owned(), "00".repeat(16));
    let order = site.process(1).order(7, &wanted(Kind::Failover)).expect("a failover");
    assert!(order.disks[1].import.is_none());
    assert!(notes(&order).contains("a seed holds 8 TiB at most"));
}

#[test]
fn what_is_made_of_a_seed_is_said_before_and_takes_little() {
    let site = Site::warm();
    let process = site.process(1);
    site.survey.lock().unwrap().disks.truncate(1);
    let wanted = wanted(Kind::Failover);
    let profile = orders::profile_for(&process.documents, &wanted).unwrap();
    let order = wanted.order(OrderId([7; 16]), "vault-1".to_owned(), profile);
    let kept = target::load(&process.documents, SERVER).unwrap();
    let estimate = estimate::estimate(process.world(), order, &kept, None).unwrap();
    assert!(estimate.makes.iter().any(|piece| piece.detail.contains("of its seed")));
    let hydrate = estimate.steps.iter().find(|step| step.step == Step::Hydrate).unwrap();
    assert!(hydrate.from.contains("seed"), "{hydrate:?}");
}

#[test]
fn a_drill_of_seeds_says_nothing_of_how_long_an_upload_takes() {
    let site = Site::warm();
    let process = site.process(1);
    site.survey.lock().unwrap().disks.truncate(1);
    process.order(7, &wanted(Kind::Drill)).expect("a drill");
    let kept = target::load(&process.documents, SERVER).unwrap();
    assert!(kept.drills[0].warm);
    let expected = || {
        let wanted = wanted(Kind::Failover);
        let profile = orders::profile_for(&process.documents, &wanted).unwrap();
        let order = wanted.order(OrderId([8; 16]), "vault-1".to_owned(), profile);
        let estimate = estimate::estimate(process.world(), order, &kept, None).unwrap();
        estimate.steps.into_iter().find(|step| step.step == Step::Hydrate).unwrap()
    };
    let warm = expected();
    assert_eq!(
        (warm.millis, warm.from),
        (kept.drills[0].fill_millis, "the last drill, of seeds too")
    );
    site.seeds.account().seeds.clear();
    assert!(expected().from.starts_with("60 MiB/s"), "{:?}", expected());
}
