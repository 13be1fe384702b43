//! Connections: who takes over from whom, who speaks, what groups do.

use hal_linux::SystemClock;
use pipeline_wire::message::{Binding, Content, DiskHello, Drained, Instant};
use pipeline_wire::runs::Run;

use super::*;
use crate::ingest::journal::Verdict;
use crate::ingest::ledger::LOSS;

fn hub() -> Hub {
    Hub::new(&Ledger::default(), Mark::default(), true, Arc::new(SystemClock))
}

fn hello(server: u8, run: u8, connection: u16) -> Hello {
    let disk = DiskHello {
        name: "sda".to_owned(),
        identity: String::new(),
        bytes: 1 << 20,
        sector_bytes: 512,
    };
    Hello {
        version_min: 1,
        version_max: 1,
        agent: String::new(),
        host: String::new(),
        kernel: String::new(),
        server: ServerId([server; 16]),
        binding: Binding::default(),
        run: [run; 16],
        connection,
        disks: if connection == 0 { vec![disk] } else { Vec::new() },
    }
}

fn why(joined: Result<Joined, Refused>) -> Option<Why> {
    joined.err().map(|refused| refused.why)
}

fn cut(sequence: u64, epoch: u64, token: u64) -> Cut {
    let (instant, remarks, group) = (Instant::Crash, Vec::new(), Some((token, true)));
    Cut { sequence, epoch, instant, at_millis: 0, frozen_micros: 0, remarks, group }
}

fn queued(hub: &Hub) -> Vec<Entry> {
    match hub.next() {
        Task::Keep(batch) => batch.into_iter().map(|(entry, _)| entry).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_newer_run_takes_over_and_the_older_one_stays_out() {
    let hub = hub();
    assert_eq!(
        why(hub.join(&hello(1, 1, 3), &[], None)),
        Some(Why::Later),
        "the first connection first"
    );
    let first = hub.join(&hello(1, 1, 0), &[true], None).unwrap();
    let second = hub.join(&hello(1, 1, 1), &[], None).unwrap();
    assert_eq!(first.known_disks, [true]);
    let newer = hub.join(&hello(1, 2, 0), &[false], None).unwrap();
    assert_eq!(
        hub.owed(first.life.server, second.line).1.map(|refused| refused.why),
        Some(Why::Demoted)
    );
    assert_eq!(why(hub.join(&hello(1, 1, 0), &[true], None)), Some(Why::Demoted));
    assert_eq!(why(hub.join(&hello(1, 1, 1), &[], None)), Some(Why::Later));
    // What the old run still says is nobody's.
    let runs = vec![Run { first: 0, blocks: 1 }];
    let blocks = Blocks { sequence: 1, disk: 0, content: Content::Zeros, runs };
    hub.blocks(first.life, blocks.clone(), Vec::new()).unwrap();
    let begins = |entry: &Entry| matches!(entry, Entry::Begin(..));
    assert!(queued(&hub).iter().all(begins));
    hub.blocks(newer.life, blocks, Vec::new()).unwrap();
    assert!(matches!(queued(&hub)[..], [Entry::Blocks(life, _)] if life == newer.life));
}

#[test]
fn one_connection_speaks_and_another_takes_its_place() {
    let hub = hub();
    let first = hub.join(&hello(1, 1, 0), &[false], None).unwrap();
    let second = hub.join(&hello(1, 1, 1), &[], None).unwrap();
    let server = first.life.server;
    hub.is_durable(&[(first.life, 4)], Mark::default(), Usage::default());
    assert_eq!(hub.owed(server, second.line), (Vec::new(), None));
    let spooled = vec![FromAppliance::Spooled { sequence: 4 }];
    assert_eq!(hub.owed(server, first.line), (spooled.clone(), None));
    hub.leave(server, first.line);
    assert_eq!(hub.owed(server, second.line), (spooled, None), "it may not have been heard");
    assert!(second.wake.try_recv().is_ok());
}

#[test]
fn cuts_of_a_group_are_kept_together_or_not_at_all() {
    for all in [true, false] {
        let hub = hub();
        let joined: Vec<Joined> =
            (1..=2).map(|server| hub.join(&hello(server, 1, 0), &[false], None).unwrap()).collect();
        for joined in &joined {
            hub.instruct(joined.life.server, &Policy::default(), Some(&"shop".to_owned()));
        }
        hub.tick(&|| 40);
        for joined in &joined {
            let asked = hub.owed(joined.life.server, joined.line).0;
            assert!(
                asked.iter().any(|said| matches!(said, FromAppliance::Prepare { token: 40, .. }))
            );
            hub.frozen(joined.life, 40);
        }
        queued(&hub);
        hub.cut(joined[0].life, cut(1, 1, 40)).unwrap();
        let runs = vec![Run { first: 0, blocks: 1 }];
        let behind = Blocks { sequence: 2, disk: 0, content: Content::Zeros, runs };
        hub.blocks(joined[0].life, behind, Vec::new()).unwrap();
        assert!(queued(&hub).is_empty(), "it waits for the other");
        if all {
            hub.cut(joined[1].life, cut(1, 1, 40)).unwrap();
        } else {
            hub.leave(joined[1].life.server, joined[1].line);
        }
        let kept = queued(&hub);
        let Entry::Cuts(cuts) = &kept[0] else { panic!("{kept:?}") };
        let verdict = if all { Verdict::Point } else { Verdict::Void };
        assert!(cuts.iter().all(|kept| kept.verdict == verdict));
        assert_eq!(cuts.len(), if all { 2 } else { 1 });
        assert!(matches!(kept[1], Entry::Blocks(..)));
        let told = hub.owed(joined[0].life.server, joined[0].line).0;
        assert!(told.contains(&FromAppliance::GroupResult { token: 40, valid: all }), "{told:?}");
    }
}

#[test]
fn credit_is_given_as_far_as_it_goes_and_none_while_the_spool_is_full() {
    let hub = hub();
    let (mut given, mut servers) = (0, 0);
    let refused =
        (1..=255).find_map(|server| match hub.join(&hello(server, 1, 0), &[false], None) {
            Ok(joined) => {
                assert!((CREDIT_LEAST..=CREDIT_ONE).contains(&joined.credit));
                given += joined.credit;
                servers += 1;
                None
            }
            Err(refused) => Some(refused.why),
        });
    assert_eq!(refused, Some(Why::Later));
    assert!(servers >= 192, "{servers} servers");
    assert!(given <= CREDIT_ALL && given > CREDIT_ALL / 2);
    let clock = Arc::new(SystemClock);
    let small = Hub::with_credit(&Ledger::default(), Mark::default(), true, clock, 16 << 20);
    let joined =
        (1..=255).map_while(|server| small.join(&hello(server, 1, 0), &[false], None).ok());
    let given: Vec<u64> = joined.map(|joined| joined.credit).collect();
    assert!(given.len() >= 12 && given.iter().sum::<u64>() <= 16 << 20, "{given:?}");
    let hub = self::hub();
    hub.put_back(Vec::new());
    let joined = hub.join(&hello(1, 1, 0), &[false], None).unwrap();
    assert_eq!(joined.credit, 0);
    queued(&hub);
    hub.is_durable(&[], Mark::default(), Usage::default());
    let told = hub.owed(joined.life.server, joined.line).0;
    assert!(matches!(told[..], [FromAppliance::Credit { bytes }] if bytes == CREDIT_ONE));
}

#[test]
fn an_agent_that_goes_on_with_what_is_gone_is_asked_to_send_it_again() {
    let hub = hub();
    let joined = hub.join(&hello(1, 1, 0), &[false], None).unwrap();
    let runs = vec![Run { first: 0, blocks: 1 }];
    let blocks = Blocks { sequence: 900, disk: 0, content: Content::Zeros, runs };
    hub.blocks(joined.life, blocks, Vec::new()).unwrap();
    queued(&hub);
    (0..4).for_each(|token| hub.tick(&|| token));
    assert!(queued(&hub).is_empty());
    hub.tick(&|| 66);
    let token = 66 | LOSS;
    let told = hub.owed(joined.life.server, joined.line).0;
    assert!(told.iter().any(|said| matches!(said, FromAppliance::Resend { .. })));
    assert!(told.iter().any(
        |said| matches!(said, FromAppliance::Prepare { token: asked, .. } if *asked == token)
    ));
    // That it is lost is durable before anything that comes now.
    let lost = [(joined.life.server, token)];
    assert!(matches!(hub.next(), Task::Release(release) if release.lost == lost));
    assert!(matches!(queued(&hub)[..], [Entry::Blocks(_, Blocks { sequence: 900, .. })]));
    hub.cut(joined.life, cut(901, 1, 5)).unwrap();
    let verdict = |entries: &[Entry]| match entries {
        [Entry::Cuts(cuts)] => cuts[0].verdict,
        other => panic!("{other:?}"),
    };
    assert_eq!(verdict(&queued(&hub)), Verdict::Void);
    // A group's cut of the same number is none that answers.
    hub.cut(joined.life, cut(902, 2, 66)).unwrap();
    assert_eq!(verdict(&queued(&hub)), Verdict::Void);
    hub.frozen(joined.life, token);
    assert!(
        hub.owed(joined.life.server, joined.line).0.contains(&FromAppliance::AllFrozen { token })
    );
    hub.cut(joined.life, cut(903, 3, token)).unwrap();
    assert_eq!(verdict(&queued(&hub)), Verdict::Point);
}

#[test]
fn no_two_groups_and_no_loss_have_one_token() {
    let hub = hub();
    let mut joined = Vec::new();
    for (server, group) in [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "c"), (6, "c")] {
        let one = hub.join(&hello(server, 1, 0), &[false], None).unwrap();
        hub.instruct(one.life.server, &Policy::default(), Some(&group.to_owned()));
        joined.push(one);
    }
    let next = core::cell::Cell::new(LOSS | 9);
    hub.tick(&|| {
        next.set(next.get() + 1);
        next.get()
    });
    let asked = |one: &Joined| {
        let owed = hub.owed(one.life.server, one.line).0;
        owed.iter().find_map(|said| match said {
            FromAppliance::Prepare { token, .. } => Some(*token),
            _ => None,
        })
    };
    let tokens: Vec<u64> = joined.iter().filter_map(asked).collect();
    assert_eq!(tokens, [10, 10, 11, 11, 12, 12], "as many as groups, and none of a loss");
}

#[test]
fn a_failover_is_told_to_whoever_knows_the_word_and_ends_the_others() {
    let hub = hub();
    let demotion = |order: &str| Demotion {
        order: order.to_owned(),
        point: PointId([6; 16]),
        branch: format!("web~{order}"),
    };
    let newer = Hello { version_max: 2, ..hello(1, 1, 0) };
    let line = hub.join(&newer, &[true], None).unwrap().line;
    let old = hub.join(&hello(2, 1, 0), &[true], None).unwrap().line;
    hub.demote(newer.server, &demotion("o-1"));
    hub.demote(ServerId([2; 16]), &demotion("o-1"));
    let (said, ended) = hub.owed(newer.server, line);
    assert!(said.contains(&FromAppliance::Demoted(demotion("o-1"))) && ended.is_none());
    let (said, ended) = hub.owed(ServerId([2; 16]), old);
    assert!(said.is_empty() && ended.is_some_and(|ended| ended.why == Why::Demoted));
    // Said once, and behind the next welcome again.
    hub.demote(newer.server, &demotion("o-1"));
    assert!(hub.owed(newer.server, line).0.is_empty());
    let again = hub.join(&newer, &[true], None).unwrap().line;
    assert!(hub.owed(newer.server, again).0.contains(&FromAppliance::Demoted(demotion("o-1"))));
    assert_eq!(hub.demoted(), [newer.server, ServerId([2; 16])]);
    hub.promote(newer.server);
    assert!(hub.owed(newer.server, again).1.is_some_and(|ended| ended.why == Why::Later));
    let back = hub.join(&newer, &[true], None).unwrap().line;
    assert!(!hub.owed(newer.server, back).0.contains(&FromAppliance::Demoted(demotion("o-1"))));
}

#[test]
fn an_agent_that_cannot_compare_when_it_is_told_to_is_updated_first() {
    let hub = hub();
    hub.join(&hello(1, 1, 0), &[true], None).unwrap();
    let token = crate::ingest::ledger::whole_loss(5);
    hub.lost(&[(ServerId([1; 16]), token)], "a failover ended");
    for run in [1, 2] {
        let refused = hub.join(&hello(1, run, 0), &[true], None);
        assert_eq!(why(refused), Some(Why::Version), "run {run}");
    }
    let newer = Hello { version_max: 2, ..hello(1, 3, 0) };
    let line = hub.join(&newer, &[true], None).unwrap().line;
    let said = hub.owed(newer.server, line).0;
    let at = |wanted: fn(&FromAppliance) -> bool| said.iter().position(wanted);
    let compare = at(|said| matches!(said, FromAppliance::Compare { .. }));
    let prepare = at(|said| matches!(said, FromAppliance::Prepare { .. }));
    assert!(compare.is_some() && compare < prepare, "of any run: {said:?}");
}

#[test]
fn a_drain_is_said_until_it_is_answered_and_noted_once_that_is_kept() {
    let hub = hub();
    let newer = Hello { version_max: 2, ..hello(1, 1, 0) };
    let order = || "f-1".to_owned();
    let drain =
        Draining { order: order(), power_off: true, answer: None, by: None, is_noted: false };
    let said = |line| hub.owed(newer.server, line).0;
    let wants = FromAppliance::Drain { order: order(), power_off: true };
    let noted = FromAppliance::DrainNoted { order: order() };
    let line = hub.join(&newer, &[true], None).unwrap().line;
    hub.order_drain(newer.server, Some(&drain));
    hub.order_drain(newer.server, Some(&drain));
    assert_eq!(said(line).iter().filter(|said| **said == wants).count(), 1);
    let line = hub.join(&newer, &[true], None).unwrap();
    assert!(said(line.line).contains(&wants));
    let proof = Drained {
        order: order(),
        epoch: 1,
        point: PointId([1; 16]),
        written_at_cut: 1,
        written_after: 1,
        changed_blocks: 0,
        read_only: true,
        remarks: Vec::new(),
    };
    hub.drained(line.life, [8; 32], "f-0", Ok(proof.clone()));
    assert_eq!(hub.draining()[0].1.answer, None, "that is another order");
    // What proves nothing is kept as that, and the machine is not switched off for it.
    hub.drained(line.life, [8; 32], "f-1", Ok(Drained { written_after: 4097, ..proof.clone() }));
    let answer = hub.draining()[0].1.answer.clone();
    assert!(matches!(answer, Some(Err(words)) if words.contains("4096 bytes")));
    hub.note_drained(newer.server, "f-1");
    assert!(!said(line.line).contains(&noted));
    hub.order_drain(newer.server, None);
    hub.order_drain(newer.server, Some(&drain));
    hub.drained(line.life, [8; 32], "f-1", Ok(proof.clone()));
    assert_eq!(hub.draining()[0].1.by, Some([8; 32]));
    hub.unanswered(newer.server, "f-1");
    assert_eq!(hub.draining()[0].1.answer, None, "it could not be kept");
    hub.drained(line.life, [8; 32], "f-1", Ok(proof.clone()));
    assert!(!said(line.line).contains(&noted), "it is not kept yet");
    hub.note_drained(newer.server, "f-1");
    assert!(said(line.line).contains(&noted));
    let again = hub.join(&newer, &[true], None).unwrap().line;
    let heard = said(again);
    assert!(heard.contains(&noted) && !heard.contains(&wants), "{heard:?}");
    hub.order_drain(newer.server, None);
    assert!(said(again).contains(&FromAppliance::Abort { order: order() }));
    // An agent that does not know the word answers by being too old, and one that is away does not.
    hub.order_drain(ServerId([2; 16]), Some(&drain));
    let old = hub.join(&hello(2, 1, 0), &[true], None).unwrap();
    hub.leave(ServerId([2; 16]), old.line);
    hub.order_drain(ServerId([2; 16]), Some(&drain));
    assert_eq!(hub.draining()[0].1.answer, None);
    hub.join(&hello(2, 1, 0), &[true], None).unwrap();
    assert!(matches!(&hub.draining()[0].1.answer, Some(Err(words)) if words.contains("too old")));
}
