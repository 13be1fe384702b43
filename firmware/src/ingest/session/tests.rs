//! Sessions: order, repetition, credit, what is owed, and what of the vault is doubted.

use hal_sim::random::Random;
use pipeline::ids::{PointId, ServerId};
use pipeline_wire::message::{DiskHello, Instant};
use pipeline_wire::runs::Run;

use super::*;
use crate::ingest::journal::{Life, SentDisk};

fn session() -> Session {
    let hello = DiskHello {
        name: "sda".to_owned(),
        identity: String::new(),
        bytes: 1000 * BLOCK_BYTES as u64,
        sector_bytes: 512,
    };
    let disks = vec![SentDisk { hello, known: false }];
    let mut session =
        Session::new(Standing::begin(Life { server: ServerId([1; 16]), run: [2; 16] }, disks));
    session.grant(1 << 20);
    session.vaulted(0, None);
    session
}

fn data(sequence: u64, first: u64) -> (Blocks, Vec<u8>) {
    let runs = vec![Run { first, blocks: 1 }];
    (Blocks { sequence, disk: 0, content: Content::Data, runs }, vec![7; BLOCK_BYTES])
}

fn cut(sequence: u64, epoch: u64, group: Option<(u64, bool)>) -> Cut {
    let (instant, remarks) = (Instant::Crash, Vec::new());
    Cut { sequence, epoch, instant, at_millis: 0, frozen_micros: 0, remarks, group }
}

fn drained(session: &mut Session) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        match session.following().unwrap() {
            Next::Keep(Entry::Blocks(_, blocks), _) => numbers.push(blocks.sequence),
            Next::Keep(Entry::Cuts(cuts), _) => numbers.push(cuts[0].cut.sequence),
            Next::Nothing => return numbers,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn whatever_the_order_of_arrival_everything_is_kept_once_and_in_its_order() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let mut session = session();
        let mut waiting: Vec<u64> = (1..=12).collect();
        let repeated: Vec<u64> = waiting.iter().copied().filter(|_| random.below(3) == 0).collect();
        waiting.extend(repeated);
        let mut kept = Vec::new();
        while !waiting.is_empty() {
            let at = usize::try_from(random.below(waiting.len() as u64)).unwrap();
            let number = waiting.swap_remove(at);
            if number.is_multiple_of(5) {
                session.cut(cut(number, number, None), 0).unwrap();
            } else {
                let (blocks, payload) = data(number, number);
                session.blocks(blocks, payload).unwrap();
            }
            kept.extend(drained(&mut session));
        }
        assert_eq!(kept, (1..=12).collect::<Vec<u64>>(), "seed {seed}");
    }
}

#[test]
fn what_no_agent_may_say_is_told_and_nothing_of_it_is_taken() {
    let mut session = session();
    let refused = |session: &mut Session, change: &dyn Fn(&mut Blocks, &mut Vec<u8>)| {
        let (mut blocks, mut payload) = data(1, 5);
        change(&mut blocks, &mut payload);
        session.blocks(blocks, payload).unwrap_err()
    };
    assert_eq!(refused(&mut session, &|blocks, _| blocks.disk = 1), Nonsense::Disk(1));
    assert_eq!(refused(&mut session, &|_, payload| payload.truncate(9)), Nonsense::Payload(9));
    for (first, blocks) in [(1000, 1), (999, 2), (0, 0), (u64::MAX, 1), (0, 17)] {
        let runs = vec![Run { first, blocks }];
        let error = refused(&mut session, &|said, _| said.runs.clone_from(&runs));
        assert_eq!(error, Nonsense::Runs(0), "{first} {blocks}");
    }
    assert!(drained(&mut session).is_empty());
    session.cut(cut(1, 3, None), 0).unwrap();
    assert_eq!(drained(&mut session), [1]);
    session.cut(cut(2, 3, None), 0).unwrap();
    assert_eq!(session.following(), Err(Nonsense::Epoch(3, 3)));
}

#[test]
fn what_waits_out_of_order_is_bounded_by_the_credit() {
    let mut session = session();
    let most = (1 << 20) + HELD_BESIDE_MAX;
    let error = (2..1000).find_map(|number| {
        let (blocks, payload) = data(number, 1);
        session.blocks(blocks, payload).err()
    });
    assert_eq!(error, Some(Nonsense::Credit));
    assert!(session.held_cost <= most && session.held_cost > most / 2);
    session.forget_held();
    let (blocks, payload) = data(1, 1);
    session.blocks(blocks, payload).unwrap();
    assert_eq!(drained(&mut session), [1]);
    assert!(!session.is_crowded());
}

#[test]
fn of_what_is_owed_only_the_newest_is_said() {
    let mut session = session();
    (1..=4).for_each(|number| {
        let (blocks, payload) = data(number, number);
        session.blocks(blocks, payload).unwrap();
    });
    drained(&mut session);
    session.durable(2);
    session.durable(4);
    session.durable(3);
    let point = PointId([1; 16]);
    session.vaulted(1, Some((1, point)));
    session.vaulted(2, Some((2, point)));
    let vaulted = FromAppliance::Vaulted { epoch: 2, point };
    assert_eq!(session.owed(), [FromAppliance::Spooled { sequence: 4 }, vaulted.clone()]);
    assert_eq!(session.owed(), []);
    session.joined();
    assert_eq!(session.owed(), [FromAppliance::Spooled { sequence: 4 }, vaulted]);
}

#[test]
fn blocks_are_doubted_until_the_vault_has_what_was_said_of_them_last() {
    let mut session = session();
    assert!(!session.is_pending(0, 0..256));
    for number in [1, 2] {
        let (blocks, payload) = data(number, 300 * (number - 1));
        session.blocks(blocks, payload).unwrap();
    }
    drained(&mut session);
    assert!(session.is_pending(0, 0..256) && session.is_pending(0, 256..512));
    assert!(!session.is_pending(0, 512..768) && session.is_pending(1, 0..1));
    session.vaulted(1, None);
    assert!(!session.is_pending(0, 0..256) && session.is_pending(0, 256..512));
    session.vaulted(2, None);
    assert!(!session.is_pending(0, 256..512));
    let again = Session::new(session.standing().clone());
    assert!(again.is_pending(0, 0..1), "after a start nobody knows yet");
}

#[test]
fn after_a_loss_no_cut_holds_until_one_that_was_surely_made_after_it_was_told() {
    let mut session = session();
    session.lost(77, "damaged");
    assert!(
        session
            .owed()
            .contains(&FromAppliance::Prepare { token: 77, patience_millis: LOST_PATIENCE_MILLIS })
    );
    let mut verdict = |sequence, epoch, group| {
        session.cut(cut(sequence, epoch, group), 0).unwrap();
        match session.following().unwrap() {
            Next::Keep(Entry::Cuts(cuts), _) => cuts[0].verdict,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(verdict(1, 1, None), Verdict::Void);
    assert_eq!(verdict(2, 2, Some((5, true))), Verdict::Void);
    assert_eq!(verdict(3, 3, Some((77, true))), Verdict::Point);
    assert_eq!(verdict(4, 4, None), Verdict::Point);
}

#[test]
fn a_number_that_no_run_comes_to_is_refused_and_waits_for_nobody() {
    for sequence in [u64::MAX, u64::MAX - 1, SEQUENCE_MAX + 1] {
        let mut session = session();
        let (blocks, payload) = data(sequence, 1);
        assert_eq!(session.blocks(blocks, payload), Err(Nonsense::Sequence(sequence)));
        assert_eq!(session.cut(cut(sequence, 1, None), 0), Err(Nonsense::Sequence(sequence)));
        assert!(!session.is_pending(0, 0..256), "nothing of it was taken");
        assert!((0..20).all(|token| session.is_stuck(&|| token).is_none()));
        assert_eq!(session.following(), Ok(Next::Nothing));
    }
    let mut session = session();
    let (blocks, payload) = data(SEQUENCE_MAX, 1);
    session.blocks(blocks, payload).unwrap();
    assert!((0..20).any(|token| session.is_stuck(&|| token).is_some()));
    assert_eq!(drained(&mut session), [SEQUENCE_MAX]);
    assert_eq!(session.following(), Ok(Next::Nothing));
}

#[test]
fn blocks_are_doubted_until_their_newest_are_in_the_vault_in_whatever_order_they_came() {
    let mut session = session();
    for number in [3, 1, 2] {
        let (blocks, payload) = data(number, 5);
        session.blocks(blocks, payload).unwrap();
    }
    assert_eq!(drained(&mut session), [1, 2, 3]);
    session.vaulted(2, None);
    assert!(session.is_pending(0, 0..256), "message 3 is on its way");
    session.vaulted(3, None);
    assert!(!session.is_pending(0, 0..256));
}

#[test]
fn what_nobody_listens_to_does_not_pile_up() {
    let mut session = session();
    for token in 0..10_000 {
        session.owe(FromAppliance::GroupResult { token, valid: false });
        session.owe(FromAppliance::AllFrozen { token: 1 });
    }
    let owed = session.owed();
    assert!(owed.len() <= OWED_MAX, "{}", owed.len());
    let newest = FromAppliance::GroupResult { token: 9999, valid: false };
    assert!(owed.contains(&newest) && owed.contains(&FromAppliance::AllFrozen { token: 1 }));
}
