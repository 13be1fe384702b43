//! A kernel's log and sysfs that are made up, and a real device whose file ends too early.

use std::process::Command;

use super::*;

const HOUR: u64 = QUIET_MILLIS;

struct Machine(PathBuf);

impl Machine {
    fn new(name: &str) -> Self {
        let root =
            std::env::temp_dir().join(format!("lifeboat-ailing-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for folder in ["dev", "sys/block/sda/device", "sys/block/nvme0n1/device"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let machine = Self(root);
        machine.set("sys/block/sda/diskseq", "1\n");
        machine.set("sys/block/sda/device/ioerr_cnt", "0x2\n");
        machine.set("sys/block/sda/device/state", "running\n");
        machine.set("sys/block/nvme0n1/device/state", "live\n");
        machine
    }

    fn set(&self, file: &str, text: &str) {
        fs::write(self.0.join(file), text).unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn records_of_the_kernel_alone_say_that_a_disk_failed() {
    let of = |record: &str| failure(record).map(|(at, name, words)| (at, name.to_owned(), words));
    let told = of(
        "3,901,61000123,-;critical medium error, dev sda, sector 2048 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2\n SUBSYSTEM=block\n",
    );
    let words = "critical medium error, sector 2048 op 0x0:(READ)".to_owned();
    assert_eq!(told, Some((61000, "sda".to_owned(), words)));
    let older =
        of("3,1,5000,-;blk_update_request: I/O error, dev vda, sector 0 op 0x1:(WRITE) flags 0x0");
    assert_eq!(older, Some((5, "vda".to_owned(), "I/O error, sector 0 op 0x1:(WRITE)".to_owned())));
    for other in [
        // A program wrote it: facility 1.
        "11,1,5000,-;I/O error, dev sda, sector 0 op 0x0:(READ)",
        "3,1,5000,-;operation not supported error, dev sda, sector 0 op 0x3:(DISCARD)",
        "3,1,5000,-;I/O error, dev ../../etc, sector 0",
        "3,1,5000,-;I/O error, dev , sector 0",
        "3,x,y,-;I/O error, dev sda, sector 0",
        "3,1,5000,-;sda: sda1 sda2",
        ";",
        "",
    ] {
        assert_eq!(of(other), None, "{other}");
    }
}

#[test]
fn commands_that_fail_are_an_ailment_until_there_was_none_for_an_hour() {
    let machine = Machine::new("scsi");
    let mut ailing = Ailing::open(&machine.0);
    ailing.look(0);
    machine.set("sys/block/sda/device/ioerr_cnt", "0x4\n");
    ailing.look(1);
    assert!(ailing.troubles().is_empty(), "a disk may refuse a command now and then");
    machine.set("sys/block/sda/device/ioerr_cnt", "0x5\n");
    ailing.look(1000);
    assert!(ailing.troubles()["sda"].contains("3 commands failed"), "{:?}", ailing.troubles());
    ailing.look(999 + HOUR);
    assert_eq!(ailing.troubles().len(), 1);
    ailing.look(1000 + HOUR);
    assert!(ailing.troubles().is_empty());
}

#[test]
fn another_disk_of_the_same_name_is_well_and_one_that_is_gone_is_not_told() {
    let machine = Machine::new("replaced");
    let mut ailing = Ailing::open(&machine.0);
    ailing.note("sda", 1, 5, "I/O error".to_owned());
    ailing.note("sdz", 1, 5, "I/O error".to_owned());
    ailing.look(6);
    assert_eq!(ailing.troubles().into_keys().collect::<Vec<_>>(), ["sda"]);
    machine.set("sys/block/sda/diskseq", "2\n");
    ailing.look(7);
    assert!(ailing.troubles().is_empty());
}

#[test]
fn a_controller_that_is_dead_is_told_while_it_is() {
    let machine = Machine::new("dead");
    let ailing = Ailing::open(&machine.0);
    assert!(ailing.troubles().is_empty());
    for (file, state) in [("sda", "offline"), ("nvme0n1", "dead")] {
        machine.set(&format!("sys/block/{file}/device/state"), state);
        assert!(ailing.troubles()[file].contains(state));
    }
}

/// Needs root, as loop devices do.
#[test]
fn a_real_device_that_fails_is_told_with_the_place_and_what_was_done() {
    let file = std::env::temp_dir().join(format!("lifeboat-ailing-{}.img", std::process::id()));
    // The log keeps what failed before under this name, by this test too: so the place is another each time.
    let pages = u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos()) % (1 << 17) + 1;
    let (place, sector) = (pages * 4096, pages * 8);
    println!("sector {sector}");
    File::create(&file).unwrap().set_len(1 << 30).unwrap();
    let made = Command::new("losetup").args(["--find", "--show"]).arg(&file).output().unwrap();
    let device = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    assert!(device.starts_with("/dev/loop"), "{}", String::from_utf8_lossy(&made.stderr));
    let name = device.trim_start_matches("/dev/");
    let up = || {
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        let (seconds, _) = uptime.split_once('.').unwrap();
        seconds.parse::<u64>().unwrap() * 1000
    };
    let mut ailing = Ailing::open(Path::new("/"));
    ailing.look(up());
    let said = format!("I/O error, sector {sector} op 0x0:(READ)");
    let is_told =
        |ailing: &Ailing| ailing.troubles().get(name).is_some_and(|told| told.contains(&said));
    assert!(!is_told(&ailing), "a device that nobody read yet");
    // Its file ends in the middle now: what lies behind cannot be read.
    File::options().write(true).open(&file).unwrap().set_len(place).unwrap();
    let mut bytes = vec![0; 4096];
    let read =
        std::os::unix::fs::FileExt::read_exact_at(&File::open(&device).unwrap(), &mut bytes, place);
    ailing.look(up());
    let troubles = ailing.troubles();
    let freed = Command::new("losetup").args(["--detach", &device]).status().unwrap();
    fs::remove_file(&file).unwrap();
    assert!(freed.success() && read.is_err(), "{read:?}");
    let told = troubles.get(name).unwrap();
    assert!(told.contains(&said), "{told}");
}
