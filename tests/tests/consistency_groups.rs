//! Promise: the cuts of a group are points of all its servers or of none, and one that thawed too early makes them void for all.
//!
//! Two scripted agents speak with the real `lifeboat serve`, which asks both, and tells each once both are frozen.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use pipeline::limits::BLOCK_BYTES;
use pipeline_wire::message::FromAgent;
use tests::ingesting::Appliance;
use tests::scripted_agent::ScriptedAgent;

const DISK: usize = 200 * BLOCK_BYTES;

/// Freezes when it is asked, and waits until all are; the token.
fn freeze(agents: &mut [ScriptedAgent; 2], before: Option<u64>) -> u64 {
    for agent in &mut *agents {
        agent.work_until("the appliance's word", |agent| agent.asked != before);
    }
    let token = agents[0].asked.expect("it was asked");
    assert_eq!(agents[1].asked, Some(token), "one cut for both");
    agents[0].say(&FromAgent::Frozen { token }).expect("a connection");
    agents[0].listen().expect("a connection");
    assert_ne!(agents[0].all_frozen, Some(token), "the other is not frozen yet");
    agents[1].say(&FromAgent::Frozen { token }).expect("a connection");
    for agent in &mut *agents {
        agent.work_until("that all are frozen", |agent| agent.all_frozen == Some(token));
    }
    token
}

#[test]
fn a_groups_cut_is_a_point_of_all_its_servers_or_of_none() {
    let mut appliance = Appliance::new("groups", true);
    appliance.start();
    let enrol = |name: &str, seed| {
        let agent = ScriptedAgent::enrol(&appliance.token(), name, DISK, seed).unwrap();
        appliance.policy(name, &["--group", "shop", "--interval", "10s"]);
        agent
    };
    let mut agents = [enrol("web", 1), enrol("db", 2)];
    agents.iter_mut().for_each(ScriptedAgent::connect_patiently);
    let mut before = None;
    // The second time one has thawed before it was told that all are frozen.
    for (still_frozen, epoch) in [(true, 1), (false, 2), (true, 3)] {
        agents.iter_mut().for_each(|agent| agent.write_some(20));
        let token = freeze(&mut agents, before);
        before = Some(token);
        assert_eq!(agents[0].cut_with(Some((token, true))), epoch);
        assert_eq!(agents[1].cut_with(Some((token, still_frozen))), epoch);
        agents.iter_mut().for_each(|agent| agent.work().unwrap());
        for agent in &mut agents {
            agent.work_until("what became of it", |agent| {
                agent.result == Some((token, still_frozen))
            });
            agent.work_until("the spool's word", |agent| agent.is_spooled());
            if still_frozen {
                agent.work_until("the point", |agent| agent.vaulted >= epoch);
            }
        }
    }
    for agent in &agents {
        assert_eq!(appliance.check_points(agent, 2), [1, 3], "{}", agent.enrolment.name);
    }
    appliance.stop();
}
