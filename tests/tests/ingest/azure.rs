//! The vault in Azure: it refuses for a while, the appliance is killed meanwhile, and replies get lost.

use tests::azurite::{ACCOUNT, Azurite, KEY, Scratch};
use tests::fault_proxy::{Action, FOREVER, FaultProxy, Rule};
use tests::ingesting::Appliance;
use tests::scripted_agent::ScriptedAgent;
use tests::serving::SPOOL_BYTES;

use crate::{DISK, seed};

#[test]
fn a_vault_in_azure_that_refuses_for_a_while_and_a_kill_meanwhile_lose_nothing() {
    let azurite = Azurite::start().unwrap_or_else(|error| panic!("{error}"));
    let proxy = FaultProxy::start(azurite.port()).unwrap();
    let endpoint = format!("http://{}/{ACCOUNT}", proxy.authority());
    let vault = format!("azure://{ACCOUNT}/ingest?endpoint={endpoint}");
    let key = ("AZURE_STORAGE_KEY".to_owned(), KEY.to_owned());
    let scratch = Scratch::new("ingest-azure").unwrap();
    let spool = Some(SPOOL_BYTES);
    let mut appliance = Appliance::of(scratch, vault, &[key], spool);
    appliance.start();
    let mut agent = ScriptedAgent::enrol(&appliance.token(), "web", DISK, seed()).unwrap();
    agent.connect_patiently();
    agent.write_some(40);
    let first = agent.cut();
    agent.work_until("the first point", |agent| agent.vaulted >= first);
    // Nothing is created any more; points go on into the spool.
    let refuses = Rule::new("PUT", "", FOREVER, Action::busy(503, "ServerBusy", 1));
    proxy.set_rules(vec![refuses]);
    for _ in 0..3 {
        agent.write_some(20);
        agent.cut();
        agent.work_until("the spool's word", |agent| agent.is_spooled());
    }
    agent.work_until("a refusal", |_| proxy.count("status") > 0);
    assert_eq!(agent.vaulted, first, "the vault refused");
    appliance.kill();
    appliance.start();
    agent.connect_patiently();
    assert_eq!(agent.vaulted, first, "the vault refused");
    // It is back, and not quite itself yet.
    let rule = |skip, action| Rule { skip, ..Rule::new("PUT", "", 2, action) };
    proxy.set_rules(vec![rule(0, Action::DropReply), rule(1, Action::Reset)]);
    agent.write_some(20);
    let last = agent.cut();
    agent.work_until("the last point", |agent| agent.vaulted >= last);
    assert!(proxy.count("drop_reply") > 0 && proxy.count("reset") > 0, "nothing was lost");
    proxy.set_rules(Vec::new());
    appliance.check_newest(&agent);
    appliance.verify();
    appliance.stop();
}
