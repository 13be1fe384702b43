//! No server is left frozen: whatever is killed or stopped, file systems thaw at the limit.
//!
//! A program that freezes as the agent does is killed, stopped, robbed of its dead-man, and given disks that do not answer,
//! at random moments; a third process's writes must go through. Seeds are printed; `LIFEBOAT_FREEZES` says how many moments.

use core::time::Duration;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use std::{env, fs, thread};

use hal_sim::random::Random;
use tests::loop_mount::{LoopMount, in_namespace};

#[path = "never_left_frozen/agent.rs"]
mod agent;
#[path = "never_left_frozen/heart.rs"]
mod heart;
#[path = "never_left_frozen/traced.rs"]
mod traced;

use agent::Agent;
use heart::Heart;

/// How long a freeze may last. Long against the noise of a busy machine, so that one that lasts longer is no accident.
const LIMIT: Duration = Duration::from_millis(700);
/// A busy machine may come late to what is due; a file system that is left frozen stays so for ever.
const SLACK: Duration = Duration::from_secs(15);
const FREEZES: u64 = 12;
const SIZE: u64 = 64 << 20;

fn freezes() -> u64 {
    env::var("LIFEBOAT_FREEZES").ok().and_then(|text| text.parse().ok()).unwrap_or(FREEZES)
}

fn seed() -> u64 {
    let seed =
        u64::from(std::process::id()) << 20 | u64::from(Instant::now().elapsed().subsec_nanos());
    let seed = env::var("LIFEBOAT_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(seed);
    eprintln!("LIFEBOAT_SEED={seed}");
    seed
}

/// A folder of the test's own in memory, so that nothing else's writes are in the way.
fn folder(name: &str) -> tests::azurite::Scratch {
    tests::azurite::Scratch::new(name).expect("a folder")
}

fn below(random: &mut Random, limit: Duration) -> Duration {
    Duration::from_micros(random.below(u64::try_from(limit.as_micros()).expect("short")))
}

/// The agent is killed at any moment: writes go through again, and the dead-man ends when its work is done.
#[test]
fn a_killed_agent_leaves_nothing_frozen() {
    if !in_namespace("a_killed_agent_leaves_nothing_frozen") {
        return;
    }
    let scratch = folder("killed-agent");
    let Some(mount) = LoopMount::create(scratch.path(), "ext4", SIZE) else { return };
    let heart = Heart::start(mount.at());
    let mut random = Random::new(seed());
    let mut frozen = 0;
    for round in 0..freezes() {
        let mut agent = Agent::start(&[mount.at()], LIMIT, below(&mut random, LIMIT * 2));
        let dead_man = agent.await_ready();
        let moment = below(&mut random, LIMIT * 2);
        thread::sleep(moment);
        agent.kill();
        frozen += u64::from(agent.said_last() == "frozen");
        heart.must_beat(LIMIT + SLACK, &format!("round {round}, killed after {moment:?}"));
        agent::must_end(dead_man, SLACK);
    }
    eprintln!(
        "{frozen} of {} were killed while frozen; longest pause {:?}",
        freezes(),
        heart.longest()
    );
    assert!(frozen > 0, "none was killed while frozen: this proved nothing");
}

/// The dead-man is killed: the agent thaws at once, says so, and has another for the next freeze.
#[test]
fn without_its_dead_man_an_agent_thaws_at_once() {
    if !in_namespace("without_its_dead_man_an_agent_thaws_at_once") {
        return;
    }
    let scratch = folder("killed-dead-man");
    let Some(mount) = LoopMount::create(scratch.path(), "ext4", SIZE) else { return };
    let heart = Heart::start(mount.at());
    let long = Duration::from_secs(3600);
    // The limit is far away: only the dead-man's end can be why it thaws.
    let mut agent = Agent::start(&[mount.at()], long, long);
    for round in 0..freezes().min(20) {
        let dead_man = agent.await_frozen();
        heart.must_not_beat();
        agent::signal(dead_man, "KILL");
        heart.must_beat(SLACK, &format!("round {round}, its dead-man killed"));
        let said = agent.await_word("thawed");
        assert!(said.contains("late=true"), "{said}");
    }
}

/// Both are killed in the same moment, as a service manager and a machine out of memory do: the agent's next start thaws.
#[test]
fn the_next_start_thaws_what_two_killed_left() {
    if !in_namespace("the_next_start_thaws_what_two_killed_left") {
        return;
    }
    let scratch = folder("both-killed");
    let Some(mount) = LoopMount::create(scratch.path(), "ext4", SIZE) else { return };
    let heart = Heart::start(mount.at());
    let long = Duration::from_secs(3600);
    for _ in 0..freezes().min(10) {
        let mut agent = Agent::start(&[mount.at()], long, long);
        let dead_man = agent.await_frozen();
        // The agent is stopped first, so that it cannot thaw between the two. A stopped dead-man would be continued by the
        // kernel when its parent ends.
        agent::stop(agent.process());
        agent::signal(dead_man, "KILL");
        agent::must_end(dead_man, SLACK);
        agent.kill();
        heart.must_not_beat();
        let mut next = Agent::start(&[mount.at()], LIMIT, LIMIT / 10);
        let found = next.await_word("found");
        assert!(found.contains("was left frozen, and is thawed"), "{found}");
        next.await_frozen();
        next.kill();
        heart.must_beat(LIMIT + SLACK, "started again");
    }
}

/// The agent is stopped in the middle of a freeze, and before one: the dead-man thaws, and the agent knows when it goes on.
#[test]
fn a_stopped_agent_is_thawed_for() {
    if !in_namespace("a_stopped_agent_is_thawed_for") {
        return;
    }
    let scratch = folder("stopped-agent");
    let Some(mount) = LoopMount::create(scratch.path(), "ext4", SIZE) else { return };
    let heart = Heart::start(mount.at());
    let mut random = Random::new(seed());
    for round in 0..freezes().min(40) {
        let mut agent = Agent::start(&[mount.at()], LIMIT, LIMIT / 2);
        agent.await_ready();
        let moment = below(&mut random, LIMIT);
        thread::sleep(moment);
        agent::stop(agent.process());
        // It may have said so and be on its way out already.
        let frozen =
            agent.said_last() == "frozen" && !heart.beats_within(Duration::from_millis(60));
        agent.pass_all();
        let name = format!("round {round}, stopped after {moment:?}, frozen {frozen}");
        thread::sleep(LIMIT);
        heart.must_beat(SLACK, &name);
        agent::signal(agent.process(), "CONT");
        if frozen {
            let said = agent.await_word("thawed");
            assert!(said.contains("late=true"), "{name}: {said}");
        }
        heart.must_beat(LIMIT + SLACK, &name);
        agent.kill();
    }
}

/// The dead-man is stopped: the agent's own threads thaw at the limit, whatever the agent is busy with.
#[test]
fn a_stopped_dead_man_is_done_without() {
    if !in_namespace("a_stopped_dead_man_is_done_without") {
        return;
    }
    let scratch = folder("stopped-dead-man");
    let Some(mount) = LoopMount::create(scratch.path(), "ext4", SIZE) else { return };
    let heart = Heart::start(mount.at());
    let mut agent = Agent::start(&[mount.at()], LIMIT, LIMIT * 2);
    for round in 0..freezes().min(5) {
        let dead_man = agent.await_frozen();
        agent::stop(dead_man);
        heart.must_beat(LIMIT + SLACK, &format!("round {round}, its dead-man stopped"));
        let said = agent.await_word("thawed");
        assert!(said.contains("late=true") && said.contains("does not answer"), "{said}");
        agent::must_end(dead_man, SLACK);
    }
}

/// A disk stops answering in the middle: what can be thawed is, the rest is told, and thawed once it answers, even where the
/// agent was killed over it.
#[test]
fn a_disk_that_does_not_answer_holds_up_nothing_else() {
    if !in_namespace("a_disk_that_does_not_answer_holds_up_nothing_else") {
        return;
    }
    let scratch = folder("dead-disk");
    let Some(outer) = LoopMount::create(&scratch.path().join("outer"), "ext4", 4 * SIZE) else {
        return;
    };
    let Some(inner) = LoopMount::create(&outer.at().join("inner"), "ext4", SIZE) else { return };
    let Some(other) = LoopMount::create(&scratch.path().join("other"), "ext4", SIZE) else {
        return;
    };
    let mut random = Random::new(seed());
    let mut unanswered = 0;
    for round in 0..freezes().min(40) {
        let heart = Heart::start(other.at());
        let mut agent = Agent::start(&[inner.at(), other.at()], LIMIT, LIMIT / 4);
        agent.await_ready();
        let inner_heart = Heart::start(inner.at());
        thread::sleep(below(&mut random, LIMIT));
        // From here on the disk of the inner one answers no write.
        assert!(outer.fsfreeze("--freeze"));
        thread::sleep(LIMIT);
        heart.must_beat(LIMIT + SLACK, &format!("round {round}: another disk's file system"));
        unanswered += u64::from(!inner_heart.beats_within(Duration::from_millis(50)));
        agent.kill_without_waiting();
        thread::sleep(Duration::from_millis(random.below(50)));
        assert!(outer.fsfreeze("--unfreeze"));
        inner_heart.must_beat(LIMIT + SLACK, &format!("round {round}: the disk answers again"));
        heart.must_beat(LIMIT + SLACK, "all is over");
        agent.kill();
    }
    assert!(unanswered > 0, "the disk answered all the time: this proved nothing");
}

/// What refuses is named, what somebody else froze stays frozen, and what lies on another is frozen before it.
#[test]
fn what_cannot_be_frozen_is_named_and_the_rest_is_still() {
    if !in_namespace("what_cannot_be_frozen_is_named_and_the_rest_is_still") {
        return;
    }
    let scratch = folder("refusals");
    let Some(outer) = LoopMount::create(&scratch.path().join("outer"), "ext4", 4 * SIZE) else {
        return;
    };
    let Some(inner) = LoopMount::create(&outer.at().join("inner"), "ext4", SIZE) else { return };
    let Some(theirs) = LoopMount::create(&scratch.path().join("theirs"), "ext4", SIZE) else {
        return;
    };
    fs::write(inner.at().join("file"), vec![7; 4 << 20]).expect("room");
    assert!(theirs.fsfreeze("--freeze"));
    let memory = scratch.path();
    let all = [outer.at(), inner.at(), theirs.at(), memory, Path::new("/proc")];
    let mut agent = Agent::start(&all, LIMIT * 20, LIMIT / 2);
    agent.await_frozen();
    let (outer_heart, inner_heart) = (Heart::start(outer.at()), Heart::start(inner.at()));
    outer_heart.must_not_beat();
    inner_heart.must_not_beat();
    let said = agent.await_word("thawed");
    assert!(said.contains("late=false"), "{said}");
    let remark = |at: &Path, words: &str| {
        assert!(said.contains(&format!("{} {words}", at.display())), "{said}");
    };
    remark(memory, "cannot be frozen");
    remark(theirs.at(), "was frozen by somebody else");
    remark(Path::new("/proc"), "cannot be frozen");
    agent.kill();
    outer_heart.must_beat(SLACK, "the outer one");
    inner_heart.must_beat(SLACK, "the inner one");
    assert!(
        !theirs.fsfreeze("--freeze"),
        "it is frozen still: neither agent nor dead-man touched it"
    );
    assert!(theirs.fsfreeze("--unfreeze"));
}

/// Between freeze and thaw neither program opens, maps, writes or starts anything: strace looks on.
#[test]
fn nothing_is_opened_mapped_or_written_under_a_freeze() {
    if !in_namespace("nothing_is_opened_mapped_or_written_under_a_freeze") {
        return;
    }
    if !Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED, not tested on this machine: no strace");
        return;
    }
    let scratch = folder("traced");
    let Some(mount) = LoopMount::create(&scratch.path().join("a"), "ext4", SIZE) else { return };
    let Some(other) = LoopMount::create(&scratch.path().join("b"), "ext4", SIZE) else { return };
    let log = scratch.path().join("strace.log");
    let mut agent = Agent::start_under_strace(&[mount.at(), other.at()], LIMIT * 20, &log);
    for _ in 0..3 {
        let said = agent.await_word("thawed");
        assert!(said.contains("late=false"), "{said}");
    }
    agent.kill();
    let calls = traced::under_freeze(&fs::read_to_string(&log).expect("strace wrote its log"));
    assert!(calls.freezes >= 6, "{calls:?}");
    assert!(calls.forbidden.is_empty(), "{:#?}", calls.forbidden);
}

/// Not a test of its own: what the others start. It freezes as the agent does, over and over.
#[test]
fn the_agent_of_these_tests() {
    agent::run_if_asked();
}
