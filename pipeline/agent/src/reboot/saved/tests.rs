//! Every reason not to believe what was saved, and that there is no other.

use super::*;

const BYTES: u64 = 100 << 16;

fn set() -> BlockSet {
    let mut set = BlockSet::new(100);
    set.insert_range(7, 20);
    set.insert(99);
    set
}

fn saved() -> Saved {
    let disk = |identity: &str, face: u8, epoch| {
        SavedDisk::new(identity.to_owned(), BYTES, [face; 32], epoch, &set())
    };
    Saved {
        server: ServerId([1; 16]),
        machine: [2; 16],
        boot: "one".to_owned(),
        home: "serial=a".to_owned(),
        disks: vec![disk("serial=a gpt=1", 3, 40), disk("serial=b", 4, 41)],
    }
}

fn now() -> Now {
    let disk = |identity: &str, face: u8| Disk {
        identity: identity.to_owned(),
        bytes: BYTES,
        face: Some([face; 32]),
    };
    Now {
        server: ServerId([1; 16]),
        machine: [2; 16],
        boot: "two".to_owned(),
        disks: vec![disk("serial=b", 4), disk("serial=a gpt=1", 3)],
    }
}

fn why(saved: &Saved, now: &Now, disk: usize) -> String {
    saved.verdict(now, disk).expect_err("it is believed")
}

#[test]
fn what_fits_is_believed_wherever_the_disk_is_now() {
    let saved = Saved::parse(&saved().to_bytes().unwrap()).unwrap();
    assert_eq!(saved.verdict(&now(), 0), Ok((set(), 41)));
    assert_eq!(saved.verdict(&now(), 1), Ok((set(), 40)));
    assert_eq!(saved.newest(ServerId([1; 16])), Some(41));
    assert_eq!(saved.newest(ServerId([9; 16])), None);
    let bytes = saved.to_bytes().unwrap().len();
    assert!(u64::try_from(bytes).unwrap() <= bytes_for([BYTES, BYTES].into_iter()));
}

#[test]
fn of_another_server_machine_or_the_same_start_it_says_nothing() {
    let changes: [fn(&mut Now); 4] = [
        |now| now.server = ServerId([9; 16]),
        |now| now.machine = [9; 16],
        |now| now.boot = "one".to_owned(),
        |now| now.boot = String::new(),
    ];
    for change in changes {
        let mut now = now();
        change(&mut now);
        why(&saved(), &now, 0);
        why(&saved(), &now, 1);
    }
}

#[test]
fn a_disk_that_changed_in_any_way_is_compared_and_the_others_are_not() {
    let changes: [fn(&mut Disk); 4] = [
        |disk| disk.identity = "serial=c".to_owned(),
        |disk| disk.bytes += 512,
        |disk| disk.face = None,
        |disk| disk.face = Some([9; 32]),
    ];
    for change in changes {
        let mut now = now();
        change(&mut now.disks[0]);
        why(&saved(), &now, 0);
        assert!(saved().verdict(&now, 1).is_ok());
    }
    why(&saved(), &now(), 2);
}

#[test]
fn where_the_disk_that_it_lies_on_changed_nothing_is_believed() {
    let changes: [fn(&mut Now); 4] = [
        |now| now.disks[1].face = None,
        |now| now.disks[1].face = Some([9; 32]),
        |now| drop(now.disks.pop()),
        |now| now.disks.push(now.disks[1].clone()),
    ];
    for change in changes {
        let mut now = now();
        change(&mut now);
        why(&saved(), &now, 0);
    }
    let mut homeless = saved();
    homeless.home = "serial=z".to_owned();
    why(&homeless, &now(), 0);
}

#[test]
fn two_disks_that_say_the_same_are_both_compared() {
    let mut twins = saved();
    twins.disks.push(twins.disks[1].clone());
    why(&twins, &now(), 0);
    assert!(twins.verdict(&now(), 1).is_ok());
}

#[test]
fn bytes_that_are_cut_or_of_another_version_are_refused_and_none_panics() {
    let bytes = saved().to_bytes().unwrap();
    for length in 0..bytes.len() {
        assert!(Saved::parse(&bytes[..length]).is_err(), "{length}");
    }
    let mut more = bytes.clone();
    more.push(0);
    assert!(Saved::parse(&more).is_err());
    let mut other = bytes.clone();
    other[0] = 2;
    assert!(Saved::parse(&other).unwrap_err().contains("another version"));
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 0x81;
        if let Ok(saved) = Saved::parse(&bad) {
            let _ = (saved.verdict(&now(), 0), saved.verdict(&now(), 1));
        }
    }
    // Bits of a disk of another size.
    let mut short = saved();
    short.disks[1].blocks.pop();
    why(&short, &now(), 0);
}
