//! Servers that are failed over while they run, and come back; servers that are drained before.

use pipeline_wire::message::FromAppliance;

use super::*;

/// Demoted for a while, and the server again: every clean point must be the disks, with kills and lost connections between.
fn demoted_and_back(seed: u64, compares: bool) -> u64 {
    let mut history = History::new(seed, Fault::None);
    history.appliance.compares = compares;
    history.settle(20_000);
    history.appliance.fail_over();
    history.appliance.cut_network(&history.exchange());
    (0..200).for_each(|_| history.act());
    history.settle(20_000);
    let troubles = history.replicator.report().troubles;
    assert!(troubles.iter().any(|words| words.contains("web1~f-1")), "{troubles:?}");
    let exchange = history.exchange();
    history.appliance.end_failover(&exchange);
    let came = history.appliance.came;
    if seed.is_multiple_of(2) {
        history.kill();
    }
    if seed.is_multiple_of(3) {
        // It heard of it, and is killed before it is through.
        (0..5).for_each(|_| history.go_on());
        history.kill();
    }
    (0..100).for_each(|_| history.act());
    history.settle(20_000);
    let troubles = history.replicator.report().troubles;
    assert!(!troubles.iter().any(|words| words.contains("web1~f-1")), "{troubles:?}");
    history.appliance.came - came
}

#[test]
fn a_server_that_was_demoted_and_is_the_server_again_compares_and_is_right() {
    for seed in 0..20 {
        println!("seed {seed}");
        demoted_and_back(seed, true);
    }
}

#[test]
fn these_histories_need_the_word_that_everything_is_compared() {
    let lost =
        (0..20).any(|seed| std::panic::catch_unwind(|| demoted_and_back(seed, false)).is_err());
    assert!(lost, "points are right although nothing was compared");
}

/// Orders a drain, and goes on until it is answered, with kills on the way.
fn drained(history: &mut History, kills: u64) -> Result<pipeline_wire::message::Drained, String> {
    history.appliance.answer = None;
    history.appliance.drain = Some("f-2".to_owned());
    history.appliance.say_drain(&history.exchange());
    let mut left = kills;
    for round in 0..20_000_u64 {
        history.server.write(3);
        history.go_on();
        if left > 0 && round % 7 == 3 {
            left -= 1;
            history.kill();
        }
        if let Some(answer) = history.appliance.answer.clone() {
            return answer;
        }
    }
    panic!("no answer: {:?}", history.replicator.report());
}

#[test]
fn a_drained_server_is_its_last_point_to_the_last_block_and_stays_so() {
    for seed in 0..12 {
        println!("seed {seed}");
        let mut history = History::new(seed, Fault::None);
        history.settle(20_000);
        let proof = drained(&mut history, seed % 4).expect("it is drained");
        assert!(proof.is_proof(), "{proof:?}");
        assert_eq!(proof.remarks, ["hook 10-app stop failed"]);
        assert_eq!(history.server.standing(), [true, true, false]);
        assert!(history.appliance.vault() == history.server.now(), "the point is not the disks");
        let epoch = history.replicator.epoch;
        history.server.pass_millis(3_600_000);
        (0..50).for_each(|_| history.go_on());
        assert_eq!((history.replicator.epoch, proof.epoch), (epoch, epoch), "no point follows");
        let said = |history: &mut History, said| {
            history.exchange().hear(said).unwrap();
            history.go_on();
        };
        let order = || "f-2".to_owned();
        if seed % 2 == 0 {
            said(&mut history, FromAppliance::DrainNoted { order: order() });
            assert_eq!(history.server.standing(), [true, true, true], "switched off");
        } else {
            said(&mut history, FromAppliance::Abort { order: order() });
            assert_eq!(history.server.standing(), [false, false, false], "as before");
            history.appliance.drain = None;
            history.server.write(3);
            history.settle(20_000);
        }
    }
}

#[test]
fn a_server_that_somebody_writes_to_all_the_same_is_not_called_drained_and_goes_on() {
    for seed in 0..6 {
        println!("seed {seed}");
        let mut history = History::new(seed, Fault::None);
        history.settle(20_000);
        history.server.write_past_all();
        let refused = drained(&mut history, 0).expect_err("it is not drained");
        assert!(refused.contains("although everything is read-only"), "{refused}");
        assert_eq!(history.server.standing(), [false, false, false]);
        history.appliance.drain = None;
        history.settle(20_000);
    }
}

#[test]
fn a_drain_whose_points_never_arrive_is_undone() {
    let mut history = History::new(1, Fault::None);
    history.settle(20_000);
    history.appliance.drain = Some("f-2".to_owned());
    history.appliance.say_drain(&history.exchange());
    history.step();
    assert_eq!(history.server.standing(), [true, false, false]);
    history.server.pass_millis(3_700_000);
    history.step();
    assert_eq!(history.server.standing(), [false, false, false]);
    history.go_on();
    assert!(history.appliance.answer.is_some_and(|answer| answer.is_err()));
}
