//! Promise: the image is set up by a browser alone. It starts without a word about vault or key on its medium, shows address,
//! fingerprint and code on its console, and a power cut costs nothing of what was answered.
//!
//! One machine, with a disk for the vault; the host is the browser. What the first server sent is read from the disk's image
//! afterwards, with the key that the browser was shown.

use core::time::Duration;
use std::fs;
use std::path::Path;
use std::time::Instant;

use qemu::{Bus, Disk, Event, Gateway, Machine, Nic, Running};
use serde_json::{Value, json};

use tests::appliance::{
    ANSWER, answer, await_event, await_words, event_at_any_time, medium, start,
};
use tests::azurite::{Scratch, free_port};
use tests::curl::Curl;
use tests::guest::BOOT;
use tests::media::{ext4, read_ext4};
use tests::points;
use tests::program::Place;
use tests::scripted_agent::ScriptedAgent;

use pipeline::limits::BLOCK_BYTES;
use pipeline_wire::enrol::Token;

const PASSWORD: &str = "a lifeboat holds everybody";
const VAULT_MIB: u64 = 256;
const DISK: usize = 16 * BLOCK_BYTES;

#[track_caller]
fn await_taken(running: &Running) -> Event {
    let taken = |event: &Event| event.field("state") == Some("taken");
    let event = running.console().event_where("agents", BOOT, taken);
    event.unwrap_or_else(|error| panic!("{error}"))
}

/// Waits until the page answers, and gives how far first run is.
#[track_caller]
fn await_page(curl: &Curl, running: &Running) -> Value {
    let until = Instant::now() + BOOT;
    loop {
        let answered = curl.ask("GET", "/setup", None);
        if answered.status == 200 {
            return answered.json();
        }
        assert!(Instant::now() < until, "{answered:?}\n{}", running.console().tail());
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Waits until the page shows a server: the vault is looked at in the background.
#[track_caller]
fn await_server(curl: &Curl, name: &str) {
    let until = Instant::now() + ANSWER;
    loop {
        let overview = curl.get("/overview");
        let servers = overview["servers"].as_array().cloned().unwrap_or_default();
        if servers.iter().any(|server| server["name"] == json!(name)) {
            return;
        }
        assert!(Instant::now() < until, "{name} is not in {overview}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The token in a line that is run on a server.
fn token_of(line: &str) -> Token {
    let words = line.split(|letter: char| letter.is_whitespace() || "'\"".contains(letter));
    words
        .filter_map(|word| word.parse().ok())
        .next()
        .unwrap_or_else(|| panic!("no token in {line}"))
}

/// Pairs and answers everything; the groups of the recovery key.
fn set_up(curl: &mut Curl, code: &str) -> Vec<String> {
    curl.begin("/setup/pair", &json!({"code": code, "name": "ada", "password": PASSWORD}));
    let network = curl.get("/setup/network");
    assert_eq!(network["changeable"], json!(true), "{network}");
    assert!(network["links"].to_string().contains("10.0.2.15"), "{network}");
    curl.change("PUT", "/setup/network", &json!({"keep": true}));
    let inside = curl.ask("POST", "/setup/vault/test", Some(&json!({"place": "dir:/srv/vault"})));
    assert_eq!((inside.status, inside.field().as_str()), (422, "/place"), "{inside:?}");
    let missing = json!({"place": "disk:nobody/site", "how": "new"});
    let missing = curl.ask("POST", "/setup/vault", Some(&missing));
    assert_eq!((missing.status, missing.field().as_str()), (422, "/place"), "{missing:?}");
    let place = "disk:backups/site";
    let tested = curl.change("POST", "/setup/vault/test", &json!({"place": place}));
    assert_eq!(tested["good"], json!(true), "{tested}");
    let made = curl.change("POST", "/setup/vault", &json!({"place": place, "how": "new"}));
    let groups = made["key"]["groups"].as_array().expect("groups").iter();
    let key: Vec<String> =
        groups.map(|group| group.as_str().expect("letters").to_owned()).collect();
    curl.change("POST", "/setup/key", &json!({"typed": key.join("-")}));
    let calendar = json!({"rows": [], "otherwise_bytes_per_second": 0});
    let time = json!({"zone": "Europe/Berlin", "zone_minutes": 60, "calendar": calendar, "servers": ["192.0.2.123"]});
    assert_eq!(curl.change("PUT", "/setup/time", &time)["stage"], json!("done"));
    key
}

/// How warm each disk is, by its serial: QEMU's NVMe has 323 K. Its SATA disk says of itself that it hangs on parallel ATA, which the
/// driver drivetemp leaves alone, and virtio has no sensor: of both nothing is known, and no figure is told. Seen to fail where
/// sysfs is not looked into.
#[track_caller]
fn disks_are_as_warm_as_they_say(curl: &Curl) {
    let disks = curl.get("/appliance")["disks"].clone();
    let warmth = |serial: &str| {
        let all = disks.as_array().expect("a list");
        let disk = all.iter().find(|disk| disk["serial"] == json!(serial));
        disk.unwrap_or_else(|| panic!("{serial} is not in {disks}"))["celsius"].clone()
    };
    let told = ["warm-nvme", "plain-sata", "vault-disk"].map(warmth);
    assert_eq!(told, [json!(50), Value::Null, Value::Null], "{disks}");
}

/// Behind a new start everything is as it was answered.
fn is_as_it_was_answered(curl: &Curl) {
    let set = curl.get("/setup")["set"].clone();
    assert_eq!(set["vault"]["place"], json!("disk:backups/site"), "{set}");
    assert_eq!(set["time"]["zone"], json!("Europe/Berlin"));
    assert_eq!(set["time"]["servers"], json!(["192.0.2.123"]));
    assert_eq!(curl.get("/appliance")["zone_minutes"], json!(60));
    await_server(curl, "web");
}

/// A disk of this serial with nothing on it.
fn blank(folder: &Path, serial: &str) -> Disk {
    let path = folder.join(serial);
    let file = fs::File::create(&path).and_then(|file| file.set_len(8 << 20));
    file.expect("a file");
    Disk::new(path).serial(serial)
}

/// Whoever stands at the console has everybody forgotten who managed the machine: by key `a` and the whole word alone. Who reads the
/// next code manages it; vault and servers stay.
fn forget_the_managers(curl: &mut Curl, running: &Running) {
    const TITLE: &str = "Forget the administrator";
    running.console().type_bytes(b"a").expect("the console takes keys");
    answer(running, TITLE, "forge");
    assert_eq!(curl.ask("GET", "/overview", None).status, 200, "nothing was forgotten");
    running.console().type_bytes(b"a").expect("the console takes keys");
    answer(running, TITLE, "forget");
    let is_code = |event: &Event| event.field("code").is_some_and(|code| code != "none");
    let pair = event_at_any_time(running, "pair", is_code);
    assert_eq!(curl.ask("GET", "/overview", None).status, 401, "the session ended");
    let old = json!({"name": "ada", "password": PASSWORD});
    assert_eq!(curl.ask("POST", "/session", Some(&old)).status, 401, "the user is gone");
    let code = pair.field("code").expect("a code");
    await_words(running, &format!("Pairing {code}"));
    curl.begin("/setup/pair", &json!({"code": code, "name": "bea", "password": PASSWORD}));
    let users = curl.get("/users");
    assert_eq!(users.as_array().map(Vec::len), Some(1), "{users}");
    let audit = curl.get("/audit?limit=50").to_string();
    assert!(audit.contains("forgetUser") && audit.contains("user ada"), "{audit}");
    assert_eq!(curl.get("/setup")["set"]["vault"]["place"], json!("disk:backups/site"));
    await_server(curl, "web");
}

#[test]
fn a_browser_sets_up_the_image_and_a_power_cut_costs_nothing_of_it() {
    let scratch = Scratch::new("appliance-first-run").expect("a scratch folder");
    let folder = scratch.path();
    fs::create_dir_all(folder.join("disk")).expect("a folder");
    let vault = ext4(&folder.join("vault.img"), "backups", &folder.join("disk"), VAULT_MIB);
    let stick = medium(folder, "");
    let (page, agents) = (free_port().expect("a port"), free_port().expect("a port"));
    let gateway = || Gateway {
        forwards: vec![(page, 443), (agents, 9443)],
        closed: true,
        ..Gateway::default()
    };
    let (nvme, sata) =
        (blank(folder, "warm-nvme").on(Bus::Nvme), blank(folder, "plain-sata").on(Bus::Ahci));
    let dressed = |machine: Machine| {
        let vault = Disk::new(&vault).serial("vault-disk");
        let machine = machine.disk(Disk::new(&stick)).disk(vault);
        let machine = machine.disk(nvme.clone()).disk(sata.clone());
        machine.memory_mib(512).nic(Nic::new().gateway(gateway())).headless()
    };

    let running = start("", dressed);
    let pair = event_at_any_time(&running, "pair", |_| true);
    let code = pair.field("code").expect("a code").to_owned();
    let shown = event_at_any_time(&running, "page", |_| true);
    assert_eq!(shown.field("fingerprint"), pair.field("fingerprint"));
    assert_eq!(shown.field("url"), Some("https://10.0.2.15/"));
    await_words(&running, &format!("Pairing {code}"));
    let mut curl = Curl::new(&format!("https://127.0.0.1:{page}"));
    assert_eq!(await_page(&curl, &running), json!({"stage": "pair"}), "nothing else is told");
    let key = set_up(&mut curl, &code);
    await_taken(&running);
    let line = curl.change("POST", "/install", &json!({"name": "web"}))["line"].clone();
    let mut offered = token_of(line.as_str().expect("a line"));
    assert_eq!(offered.addresses[0], "10.0.2.15:443");
    // From here it is reached through QEMU's own gateway.
    offered.addresses = vec![format!("127.0.0.1:{page}")];
    let mut agent = ScriptedAgent::enrol(&offered.to_string(), "web", DISK, 7)
        .unwrap_or_else(|error| panic!("{error}\n{}", running.console().tail()));
    agent.enrolment.addresses = vec![format!("127.0.0.1:{agents}")];
    agent.connect_patiently();
    agent.write_some(8);
    let first = agent.cut();
    agent.work_until("the first point", |agent| agent.vaulted >= first);
    agent.hang_up();
    running.power_cut();

    let running = start("", dressed);
    await_taken(&running);
    assert_eq!(await_page(&curl, &running), json!({"stage": "done"}));
    let events = running.console().events();
    assert!(events.iter().all(|event| event.name != "pair"), "a paired machine shows no code");
    curl.begin("/session", &json!({"name": "ada", "password": PASSWORD}));
    is_as_it_was_answered(&curl);
    disks_are_as_warm_as_they_say(&curl);
    forget_the_managers(&mut curl, &running);
    running.press_power().expect("QEMU has a power button");
    let end = await_event(&running, "end", ANSWER);
    assert_eq!(end.number("left"), Some(0), "{end:?}\n{}", running.console().tail());
    running.wait_end(ANSWER).expect("it goes off");

    fs::write(folder.join("key"), key.join("-")).expect("a file");
    let place = Place {
        vault: format!("dir:{}", folder.join("read/site").display()),
        key: folder.join("key"),
        state: folder.join("elsewhere"),
        environment: Vec::new(),
    };
    read_ext4(&vault, folder);
    points::check(&place, &agent, folder, 1);
}
