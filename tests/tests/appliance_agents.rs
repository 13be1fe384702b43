//! Promise: the appliance's image takes agents by itself. A person at its console gets the line that lets a server in; what the
//! agent sends goes through the spool into the vault; a power cut in the middle costs nothing that was acknowledged.
//!
//! One machine, with the spool and the vault on disks of its own. What is right is known to the scripted agent alone, on the
//! host: the vault is read from the disk's image afterwards, and every point compared.

use core::time::Duration;
use std::fs;
use std::time::Instant;

use qemu::{Bus, Disk, Event, Gateway, Machine, Nic, Running};
use tests::appliance::{
    ANSWER, answer, await_event, await_words, choose_spool, event_at_any_time, medium, shown,
    start, vault_table,
};
use tests::azurite::{Scratch, free_port};
use tests::guest::BOOT;
use tests::media::{empty, ext4, read_ext4};
use tests::points;
use tests::program::Place;
use tests::scripted_agent::ScriptedAgent;

use pipeline::limits::BLOCK_BYTES;
use pipeline_wire::enrol::Token;

const SPOOL_BYTES: u64 = 128 << 20;
const VAULT_MIB: u64 = 256;
const DISK: usize = 64 * BLOCK_BYTES + 4096;
/// What the whole machine may use at rest, of 512 MiB.
const REST_KIB_MAX: u64 = 128 << 10;

/// Waits until replication says that it stands so.
#[track_caller]
fn await_agents(running: &Running, fits: impl Fn(&Event) -> bool) -> Event {
    let event = running.console().event_where("agents", BOOT, fits);
    event.unwrap_or_else(|error| panic!("{error}"))
}

/// Agents are taken, and what they send goes to the disk.
fn on_disk(event: &Event) -> bool {
    event.field("state") == Some("taken") && event.field("spool") == Some("disk")
}

/// The token in the line that the console shows, put together from its rows as a shell does.
#[track_caller]
fn token(running: &Running) -> Token {
    running.console().type_bytes(b"t").expect("the console takes keys");
    let wanted =
        |event: &Event| event.field("title").is_some_and(|title| title.contains("Run this"));
    let asked = running.console().event_where("ask", ANSWER, wanted);
    asked.unwrap_or_else(|error| panic!("{error}"));
    let until = Instant::now() + ANSWER;
    let token = loop {
        // A line for machines may come in between rows: the screen is drawn again then.
        await_words(running, "> 1 done");
        let screen = shown(&running.console().bytes());
        match read_token(&screen) {
            Some(token) => break token,
            None => assert!(Instant::now() < until, "no token is shown:\n{screen}"),
        }
        running.console().type_bytes(b"\x0c").expect("the console takes keys");
        std::thread::sleep(Duration::from_millis(1000));
    };
    running.console().type_bytes(b"1").expect("the console takes keys");
    token
}

fn read_token(screen: &str) -> Option<Token> {
    let (_, line) = screen.rsplit_once("sh -s ")?;
    let words = line.split(' ').filter(|word| *word != "\\").take_while(|word| *word != ">");
    words.collect::<String>().parse().ok()
}

#[test]
fn agents_replicate_through_the_image_across_a_power_cut() {
    let scratch = Scratch::new("agents").expect("a scratch folder");
    let folder = scratch.path();
    fs::create_dir_all(folder.join("disk")).expect("a folder");
    let inside = format!("dir:{}", folder.join("disk/site").display());
    let mut place = Place::create(inside, folder, &[]);
    let vault = ext4(&folder.join("vault.img"), "backups", &folder.join("disk"), VAULT_MIB);
    let blank = empty(&folder.join("spool.img"), SPOOL_BYTES);
    let settings = vault_table(&place, "disk:backups/site", "");
    let stick = medium(folder, &format!("role = \"appliance\"\n{settings}"));
    let (page, agents) = (free_port().expect("a port"), free_port().expect("a port"));
    let gateway = || Gateway {
        forwards: vec![(page, 443), (agents, 9443)],
        closed: true,
        ..Gateway::default()
    };
    let dressed = |machine: Machine| {
        let spool = Disk::new(&blank).on(Bus::VirtioScsi).serial("spool-1");
        let machine = machine.disk(Disk::new(&stick)).disk(Disk::new(&vault)).disk(spool);
        machine.memory_mib(512).nic(Nic::new().gateway(gateway())).headless()
    };

    // Without a disk for the spool it begins in memory, and goes over to the disk that a person gives it.
    let running = start("", dressed);
    await_agents(&running, |event| event.field("state") == Some("taken"));
    choose_spool(&running, "spool-1");
    answer(&running, "Format this disk", "spool-1");
    await_agents(&running, on_disk);
    await_words(&running, "no server is let in yet: key t");
    let mut offered = token(&running);
    assert_eq!(offered.addresses[0], "10.0.2.15:443");
    // From here it is reached through QEMU's own gateway.
    offered.addresses = vec![format!("127.0.0.1:{page}")];
    let mut agent = ScriptedAgent::enrol(&offered.to_string(), "web", DISK, 7)
        .unwrap_or_else(|error| panic!("{error}\n{}", running.console().tail()));
    assert_eq!(agent.enrolment.addresses[0], "10.0.2.15:9443");
    agent.enrolment.addresses = vec![format!("127.0.0.1:{agents}")];
    agent.connect_patiently();
    agent.write_some(30);
    let first = agent.cut();
    agent.work_until("the first point", |agent| agent.vaulted >= first);
    let pointed = |event: &Event| on_disk(event) && event.number("oldest").is_some();
    assert_eq!(await_agents(&running, pointed).number("connected"), Some(1));
    await_words(&running, "1 of 1 connected");
    let rest = event_at_any_time(&running, "rest", |_| true);
    let used = rest.number("total").zip(rest.number("available")).map(|(all, free)| all - free);
    assert!(used.is_some_and(|used| used <= REST_KIB_MAX), "{rest:?}");
    // Cut where some of it is acknowledged, and the vault has not all of that.
    agent.write_some(40);
    agent.cut();
    agent.work_until("the acknowledgement", ScriptedAgent::is_spooled);
    running.power_cut();
    agent.hang_up();

    let running = start("", dressed);
    await_agents(&running, on_disk);
    agent.connect_patiently();
    agent.write_some(20);
    let last = agent.cut();
    agent.work_until("the last point", |agent| agent.vaulted >= last);
    agent.hang_up();
    running.press_power().expect("QEMU has a power button");
    let end = await_event(&running, "end", ANSWER);
    assert_eq!(end.number("left"), Some(0), "{end:?}\n{}", running.console().tail());
    running.wait_end(ANSWER).expect("it goes off");

    place.vault = format!("dir:{}", folder.join("read/site").display());
    read_ext4(&vault, folder);
    points::check(&place, &agent, folder, 3);
}
