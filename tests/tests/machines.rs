//! Machines do what they are described to do, seen by the kernel of a real guest in them.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its own files has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, UNIX_EPOCH};

use core::time::Duration;

use qemu::{
    Broken, Bus, Clock, Disk, Error, Event, Mac, Machine, Model, Network, Nic, Pace, Running,
    Sectors, SecureBoot, Tap, Tpm, Uefi, Watchdog,
};
use tests::azurite::Scratch;
use tests::guest::{BOOT, Files, guest};
use tests::media::empty;

/// An answer of a guest that is up.
const ANSWER: Duration = Duration::from_secs(60);

struct Bed {
    scratch: Scratch,
}

impl Bed {
    fn new(label: &str) -> Self {
        Self { scratch: Scratch::new(label).unwrap() }
    }

    fn disk(&self, name: &str, mib: u64) -> PathBuf {
        empty(&self.scratch.path().join(name), mib << 20)
    }
}

/// A guest of ours as a machine: `dressed` plugs things in.
fn machine(dressed: impl FnOnce(Machine) -> Machine) -> Running {
    let Files { kernel, initrd } = guest().unwrap();
    let machine = Machine::kernel(&kernel, &initrd, "console=ttyS0 panic=-1");
    let running = dressed(machine).start().unwrap();
    running.console().event("up", BOOT).unwrap_or_else(|error| panic!("{error}"));
    running
}

/// Has a guest do something, and gives what it said until it was done.
#[track_caller]
fn tell(running: &Running, command: &str) -> Vec<Event> {
    match told(running, command) {
        Ok(events) => events,
        Err(error) => panic!("{command}: {error}"),
    }
}

#[track_caller]
fn told(running: &Running, command: &str) -> Result<Vec<Event>, String> {
    let console = running.console();
    let before = console.events().len();
    console.type_line(command).unwrap();
    let ended = |event: &Event| event.field("command") == Some(command);
    let events = || console.events().split_off(before);
    let deadline = Instant::now() + ANSWER;
    loop {
        let said = events();
        if let Some(end) = said.iter().position(&ended) {
            return match said[end].name.as_str() {
                "done" => Ok(said),
                _ => Err(said[end].field("error").unwrap_or_default().to_owned()),
            };
        }
        assert!(Instant::now() < deadline, "{command}: no answer\n{}", console.tail());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Has a guest look at its hardware until it sees this: kernels look for devices in their own time.
#[track_caller]
fn look_for(running: &Running, name: &str, key: &str, value: &str) -> Vec<Event> {
    let deadline = Instant::now() + ANSWER;
    loop {
        let seen = tell(running, "look");
        if has(&seen, name, key, value) {
            return seen;
        }
        assert!(Instant::now() < deadline, "no {name} with {key}={value} in {seen:#?}");
    }
}

/// The first event of this name whose field is this.
#[track_caller]
fn find<'a>(events: &'a [Event], name: &str, key: &str, value: &str) -> &'a Event {
    let mut fitting =
        events.iter().filter(|event| event.name == name && event.field(key) == Some(value));
    fitting.next().unwrap_or_else(|| panic!("no {name} with {key}={value} in {events:#?}"))
}

fn has(events: &[Event], name: &str, key: &str, value: &str) -> bool {
    events.iter().any(|event| event.name == name && event.field(key) == Some(value))
}

/// Models that this machine's QEMU has.
fn models() -> Vec<Model> {
    let mut command = Command::new("qemu-system-x86_64");
    let listed = command.args(["-device", "help"]).output().unwrap().stdout;
    let listed = String::from_utf8_lossy(&listed).into_owned();
    let all = [Model::Virtio, Model::E1000e, Model::Igb, Model::Vmxnet3];
    all.into_iter().filter(|model| listed.contains(&format!("\"{}\"", model.device()))).collect()
}

/// What a place in sysfs holds for a disk of a bus.
fn place(bus: Bus) -> &'static [&'static str] {
    match bus {
        Bus::VirtioBlk => &["/virtio", "/block/vd"],
        Bus::VirtioScsi => &["/virtio", "/host", "/block/sd"],
        Bus::Nvme => &["/nvme/nvme"],
        Bus::Ahci => &["/ata", "/block/sd"],
        Bus::UsbStorage | Bus::UsbAttachedScsi => &["/usb", "/host", "/block/sd"],
        _ => &["/pci", "/host", "/block/sd"],
    }
}

#[test]
fn every_bus_and_card_is_seen_by_a_real_kernel() {
    let bed = Bed::new("hardware");
    let wrong = UNIX_EPOCH + Duration::from_secs(1_234_567_890);
    let models = models();
    assert!(models.len() >= 3, "{models:?}");
    let running = machine(|mut machine| {
        for (number, bus) in Bus::ALL.into_iter().enumerate() {
            let path = bed.disk(&format!("{number}.img"), 8 + number as u64);
            machine = machine.disk(Disk::new(path).on(bus).serial(&format!("serial-{number}")));
        }
        let (wide, inner) = (bed.disk("4k.img", 16), bed.disk("512e.img", 16));
        machine = machine
            .disk(Disk::new(wide).sectors(Sectors::Native4096).serial("wide"))
            .disk(Disk::new(inner).on(Bus::Ahci).sectors(Sectors::Emulated512).serial("inner"))
            .disk(Disk::new(bed.disk("fixed.img", 4)).read_only().serial("fixed"))
            .disk(Disk::cd(bed.disk("sata.iso", 4)).serial("disc"))
            .disk(Disk::cd(bed.disk("usb.iso", 4)).on(Bus::UsbStorage));
        for model in &models {
            machine = machine.nic(Nic::new().model(*model));
        }
        machine
            .clock(Clock::At(wrong))
            .watchdog(Watchdog::I6300esb)
            .tpm(Tpm::default())
            .memory_mib(768)
    });
    // USB is the slowest to be found.
    look_for(&running, "disk", "serial", "serial-4");
    look_for(&running, "disk", "name", "sr1");
    let seen = tell(&running, "look");
    for (number, bus) in Bus::ALL.into_iter().enumerate() {
        let disk = find(&seen, "disk", "serial", &format!("serial-{number}"));
        let at = disk.field("place").unwrap();
        assert!(place(bus).iter().all(|part| at.contains(part)), "{bus:?}: {disk:?}");
        assert_eq!(disk.number("sectors"), Some((8 + number as u64) * 2048), "{disk:?}");
        assert_eq!((disk.number("logical"), disk.number("fixed")), (Some(512), Some(0)));
    }
    let sectors = |serial: &str| {
        let disk = find(&seen, "disk", "serial", serial);
        (disk.number("logical").unwrap(), disk.number("physical").unwrap())
    };
    assert_eq!((sectors("wide"), sectors("inner")), ((4096, 4096), (512, 4096)));
    assert_eq!(find(&seen, "disk", "serial", "fixed").number("fixed"), Some(1));
    assert!(has(&seen, "disk", "name", "sr0") && has(&seen, "disk", "name", "sr1"));
    let drivers = seen.iter().filter(|event| event.name == "nic");
    let drivers: Vec<&str> = drivers.filter_map(|nic| nic.field("driver")).collect();
    for driver in ["virtio_net", "e1000e", "vmxnet3"] {
        assert!(drivers.contains(&driver), "{driver}: {drivers:?}");
    }
    assert!(has(&seen, "tpm", "version", "2"), "{seen:#?}");
    assert!(has(&seen, "watchdog", "name", "i6300ESB timer"), "{seen:#?}");
    assert!(has(&seen, "machine", "firmware", "none"), "{seen:#?}");
    let (clock, at) = seen.iter().find_map(|event| Some((event.number("now")?, event.at))).unwrap();
    let offset = clock.checked_sub(1_234_567_890).unwrap();
    assert!(offset <= at.as_secs() + 1, "the clock is {offset} s on after {at:?}");
    let picture = bed.scratch.path().join("screen.png");
    running.screenshot(&picture).unwrap();
    assert!(fs::read(&picture).unwrap().starts_with(b"\x89PNG"));
    running.console().type_line("end").unwrap();
    let ended = running.wait_end(ANSWER).unwrap();
    assert_eq!((ended.code, ended.reason.as_deref()), (Some(0), Some("guest-shutdown")));
}

#[test]
fn things_come_and_go_break_and_are_slow() {
    let bed = Bed::new("plugging");
    let network = Network::new().unwrap();
    let broken = Disk::new(bed.disk("bad.img", 8)).broken(Broken::ReadsOf(2048)).serial("bad");
    let pace = Pace { requests_per_second: 4, bytes_per_second: 0 };
    let slow = Disk::new(bed.disk("slow.img", 8)).slow(pace).serial("slow");
    let stick = bed.disk("stick.img", 8);
    let running = machine(|machine| {
        machine
            .disk(broken)
            .disk(slow)
            .disk(Disk::new(&stick).on(Bus::UsbStorage).serial("stick").snapshot())
            .nic(Nic::new().plugged(network.port().unwrap()))
    });
    let seen = tell(&running, "look");
    let name =
        |serial: &str| find(&seen, "disk", "serial", serial).field("name").unwrap().to_owned();
    // One sector of 4096 bytes cannot be read, its neighbour can.
    let bad = name("bad");
    assert!(told(&running, &format!("read {bad} 256")).unwrap_err().contains("os error 5"));
    tell(&running, &format!("read {bad} 1024"));
    let slow = name("slow");
    let began = Instant::now();
    for sector in 0..20 {
        tell(&running, &format!("write {slow} {sector} x"));
    }
    assert!(began.elapsed() > Duration::from_secs(4), "{:?}", began.elapsed());
    // What is written to a snapshot is there, and is not in the file.
    let usb = name("stick");
    tell(&running, &format!("write {usb} 3 hello"));
    let read = tell(&running, &format!("read {usb} 3"));
    assert!(has(&read, "sector", "text", "hello"), "{read:?}");
    assert!(fs::read(&stick).unwrap().iter().all(|byte| *byte == 0));
    running.unplug("disk2").unwrap();
    tell(&running, "raise eth0");
    running.set_link("nic0", false).unwrap();
    look_for(&running, "nic", "carrier", "0");
    running.set_link("nic0", true).unwrap();
    let plugged = Disk::new(bed.disk("hot.img", 32)).on(Bus::Nvme).serial("hot");
    let plugged = running.plug_disk(&plugged).unwrap();
    let mac = Mac::fresh();
    let card = running.plug_nic(Nic::new().mac(mac).plugged(network.port().unwrap())).unwrap();
    look_for(&running, "nic", "mac", &mac.to_string());
    let seen = look_for(&running, "disk", "serial", "hot");
    assert!(!has(&seen, "disk", "serial", "stick"), "the stick was pulled: {seen:#?}");
    running.unplug(&plugged).unwrap();
    running.unplug(&card).unwrap();
    let seen = tell(&running, "look");
    assert!(!has(&seen, "disk", "serial", "hot"), "{seen:#?}");
    assert!(!has(&seen, "nic", "mac", &mac.to_string()), "{seen:#?}");
    // A panic is told at once, not at the end of a wait.
    running.console().type_line("panic").unwrap();
    let error = running.console().event("never", ANSWER * 10).unwrap_err();
    assert!(matches!(error, Error::Panicked { .. } | Error::Ended { .. }), "{error}");
}

#[test]
fn machines_talk_over_a_network_of_their_own() {
    let network = Network::new().unwrap();
    let mirror = network.mirror();
    let (here, there) = (network.port().unwrap(), network.port().unwrap());
    let cable = there.cable();
    let start = |port, model| machine(|machine| machine.nic(Nic::new().model(model).plugged(port)));
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| start(here, Model::Virtio));
        let two = scope.spawn(|| start(there, Model::Vmxnet3));
        (one.join().unwrap(), two.join().unwrap())
    });
    for running in [&one, &two] {
        look_for(running, "nic", "name", "eth0");
        tell(running, "raise eth0");
    }
    tell(&two, "hear eth0");
    tell(&one, "shout eth0 hello");
    let heard = two.console().event("heard", ANSWER).unwrap();
    assert_eq!(heard.field("text"), Some("hello"));
    assert!(mirror.receive(ANSWER).is_some());
    cable.set_up(false);
    tell(&one, "shout eth0 lost");
    // The guest's answer and its frame come on different ways: the cable stays pulled until the switch had the frame.
    assert!(passes(&mirror, b"lost"), "the frame never left the machine");
    cable.set_up(true);
    tell(&one, "shout eth0 again");
    let heard = two.console().event("heard", ANSWER).unwrap();
    assert_eq!(heard.field("text"), Some("again"), "what was sent into a pulled cable is lost");
}

/// Whether a frame with `text` in it comes by, whatever else does.
fn passes(mirror: &Tap, text: &[u8]) -> bool {
    core::iter::from_fn(|| mirror.receive(ANSWER))
        .any(|frame| frame.windows(text.len()).any(|part| part == text))
}

#[test]
fn a_power_cut_loses_nothing_that_was_flushed() {
    let bed = Bed::new("cut");
    let disk = bed.disk("count.img", 4);
    let start = || machine(|machine| machine.disk(Disk::new(&disk)));
    let running = start();
    running.console().type_line("count vda").unwrap();
    let wanted = |event: &Event| event.number("n").is_some_and(|number| number >= 20);
    running.console().event_where("counted", ANSWER, wanted).unwrap();
    let console = running.console().clone();
    running.power_cut();
    let said = console.events().iter().filter_map(|event| event.number("n")).max().unwrap();
    let after = start();
    let read = tell(&after, "read vda 0");
    let kept: u64 = read.iter().find_map(|event| event.number("text")).unwrap();
    // Lines that the serial port still held are lost with the machine: the disk may be ahead of what was said, never behind.
    assert!(kept >= said, "{said} was said, {kept} is there");
    after.console().type_line("restart").unwrap();
    let ended = after.wait_end(ANSWER).unwrap();
    assert_eq!(ended.reason.as_deref(), Some("guest-reset"));
}

#[test]
fn firmware_starts_with_and_without_secure_boot() {
    let bed = Bed::new("uefi");
    let empty = bed.disk("empty.img", 4);
    for secure_boot in [SecureBoot::Absent, SecureBoot::Setup, SecureBoot::Microsoft] {
        let variables = bed.scratch.path().join("variables");
        let uefi = Uefi { secure_boot: secure_boot.clone(), variables: Some(variables.clone()) };
        let machine = Machine::new(qemu::Boot::Uefi(uefi));
        // Processors that meet in system management mode wait for each other, translated and under load without end.
        let machine = machine.disk(Disk::new(&empty).boot_order(0)).processors(1);
        let running = machine.start().unwrap();
        let tried = running.console().line("BdsDxe: failed to load Boot", BOOT);
        assert!(tried.is_ok(), "{secure_boot:?}: {}", tried.unwrap_err());
        drop(running);
        assert!(variables.exists(), "kept for the next start");
        fs::remove_file(&variables).unwrap();
    }
}

#[test]
fn what_cannot_start_says_why() {
    let Files { kernel, initrd } = guest().unwrap();
    let missing = Machine::kernel(Path::new("/nowhere/vmlinuz"), &initrd, "").start().unwrap_err();
    assert!(missing.to_string().contains("/nowhere/vmlinuz"), "{missing}");
    let disk = Disk::new("/nowhere/disk.img");
    let no_disk = Machine::kernel(&kernel, &initrd, "").disk(disk).start().unwrap_err();
    assert!(no_disk.to_string().contains("/nowhere/disk.img"), "{no_disk}");
    let short = Machine::kernel(&kernel, &initrd, "console=ttyS0").lifetime(Duration::ZERO);
    let running = short.start();
    // Ended by its lifetime, whether before or after it was up.
    if let Ok(running) = running {
        let error = running.console().event("up", BOOT).unwrap_err();
        assert!(matches!(error, Error::Ended { .. }), "{error}");
    }
}
