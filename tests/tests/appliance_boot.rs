//! The appliance comes up on whatever machine it is started on and says what it found.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use core::time::Duration;
use std::process::Command;
use std::time::{Instant, SystemTime};

use qemu::{Bus, Clock, Disk, Gateway, Model, Nic, Running, Tpm, Watchdog};
use tests::appliance::{ANSWER, await_event, await_ready, is_shown, phase, start};
use tests::azurite::{Scratch, free_port, run};
use tests::media::empty;

/// How long a hang may last: it is noticed, and then the hardware's own time runs out.
const HUNG: Duration = Duration::from_secs(300);

/// A clock that is wrong by years, and that nothing shows to be wrong: what is made by it must be good by a right one.
const YEARS: Duration = Duration::from_secs(12 * 365 * 86_400);

#[test]
fn a_server_with_everything_is_ready() {
    let scratch = Scratch::new("boot").unwrap();
    let port = free_port().unwrap();
    let disk = |name: &str| empty(&scratch.path().join(name), 64 << 20);
    let gateway = || Gateway { forwards: vec![(port, 443)], closed: true, ..Gateway::default() };
    let running = start("lifeboat.exercise=rings", |machine| {
        machine
            .processors(2)
            .clock(Clock::At(SystemTime::now() + YEARS))
            .disk(Disk::new(disk("nvme.img")).on(Bus::Nvme).serial("nvme"))
            .disk(Disk::new(disk("raid.img")).on(Bus::MegaRaid).serial("raid"))
            .disk(Disk::new(disk("stick.img")).on(Bus::UsbStorage).serial("stick"))
            .nic(Nic::new().gateway(gateway()))
            .nic(Nic::new().model(Model::E1000e))
            .tpm(Tpm::default())
            .watchdog(Watchdog::I6300esb)
    });
    let events = await_ready(&running);
    for name in ["mounts", "modules", "clock"] {
        assert_eq!(phase(&events, name), Some("done"), "{events:#?}");
    }
    // The page, as another program's TLS sees it.
    let page = await_event(&running, "page", ANSWER);
    assert_eq!(page.field("url"), Some("https://10.0.2.15/"));
    let mut python = Command::new("python3");
    let said = run(python.args(["-c", ASK, &port.to_string()])).unwrap();
    let (digest, answer) = said.split_once('\n').unwrap();
    let fingerprint = page.field("fingerprint").unwrap().replace(':', "").to_lowercase();
    assert_eq!(digest, fingerprint);
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"role\": \"appliance\""),
        "{answer}"
    );
    assert!(is_shown(&running, "https://10.0.2.15/"), "{}", running.console().tail());
    only_what_has_disks_gets_rings(&running);
}

/// A service that reads and writes disks may use io_uring; what listens on the network, or does anything else, is refused.
fn only_what_has_disks_gets_rings(running: &Running) {
    let until = Instant::now() + ANSWER;
    let tried = loop {
        let mut tried = running.console().events();
        tried.retain(|event| event.name == "ring");
        if tried.len() == 2 || Instant::now() > until {
            break tried;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let told =
        tried.iter().map(|event| (event.field("who").unwrap(), event.number("errno").unwrap()));
    assert_eq!(told.collect::<Vec<_>>(), [("disks", 0), ("no disks", 1)], "{tried:#?}");
}

/// Prints the SHA-256 of the certificate that the port shows, and what the page says to scripts. Name and dates are judged as a
/// browser does whose owner said that he trusts the certificate: by this machine's clock, which is right.
const ASK: &str = r#"
import hashlib, socket, ssl, sys
place = ("127.0.0.1", int(sys.argv[1]))
context = ssl.create_default_context(cadata=ssl.get_server_certificate(place))
stream = context.wrap_socket(socket.create_connection(place, 60), server_hostname="lifeboat")
print(hashlib.sha256(stream.getpeercert(True)).hexdigest())
stream.sendall(b"GET /status.json HTTP/1.1\r\nhost: 10.0.2.15\r\nconnection: close\r\n\r\n")
while piece := stream.recv(65536):
    sys.stdout.write(piece.decode())
"#;

#[test]
fn a_first_process_that_hangs_ends_in_a_new_start() {
    let running =
        start("lifeboat.exercise=hang", |machine| machine.watchdog(Watchdog::I6300esb).headless());
    await_ready(&running);
    let console = running.console().clone();
    // Nobody but the hardware is left to do it.
    let ended = running.wait_end(HUNG).unwrap();
    assert_eq!(ended.reason.as_deref(), Some("guest-reset"));
    assert!(console.events().iter().any(|event| event.name == "watchdog"), "{}", console.tail());
}

#[test]
fn a_machine_with_nothing_in_it_is_ready_too() {
    let running = start("", |machine| machine.memory_mib(192).headless());
    let events = await_ready(&running);
    assert_eq!(phase(&events, "mounts"), Some("done"), "{events:#?}");
    // At once: a press is not lost on a machine that has just come up.
    running.press_power().unwrap();
    let end = await_event(&running, "end", ANSWER);
    assert_eq!((end.field("how"), end.number("left")), (Some("poweroff"), Some(0)), "{end:?}");
    assert!(running.wait_end(ANSWER).is_ok());
}
