//! Servers that are put together in ways that mislead: a second system, a disk that is missing, what hides the mark, no room.

use super::*;

/// A disk with an NTFS, of which nothing but its first sector is there, before the root.
const BESIDE_WINDOWS: &str = "truncate -s 100M disk; sgdisk --new=1:1M:+8M --new=2:16M:+64M disk
    truncate -s 64M root.img; mke2fs -q -t ext4 -U 11111111-2222-4444-8888-000000000000 root.img
    dd if=root.img of=disk bs=1M seek=16 conv=notrunc status=none
    printf 'xxxNTFS    ' | dd of=disk bs=1M seek=1 conv=notrunc status=none";

fn lineage() -> Wish {
    let (order, point) = ("o".to_owned(), "p".to_owned());
    let lineage = Lineage { order, kind: LineageKind::Drill, point, time: 7 };
    Wish { lineage: Some(lineage), ..Wish::default() }
}

#[test]
fn a_linux_beside_a_windows_is_looked_into_and_keeps_its_own_list() {
    let server = Server::new("beside", BESIDE_WINDOWS, &["sda1", "sda2"]);
    server.put("sda1", "Windows/System32/config/SYSTEM", "no hive");
    server.put("sda2", "etc/os-release", "PRETTY_NAME=Both\n");
    let survey = server.survey();
    assert_eq!((survey.root, survey.windows), (Some(1), None));
    assert_eq!(server.judged(&Platform::azure()).system.unwrap().name, "Both");
    server.repaired(&Platform::azure(), &lineage());
    assert!(server.text("sda2", LIST).contains(REPLICA));
}

#[test]
fn a_disk_that_is_not_in_the_point_is_taken_for_no_other() {
    let server = Server::new("absent", GPT, &["sda2", "sda3"]);
    server.put("sda3", "etc/os-release", "PRETTY_NAME=One\n");
    let resolved = |table: &str, name: &str| {
        server.put("sda3", "etc/fstab", table);
        server.survey().resolve(name)
    };
    assert_eq!(resolved("/dev/sda3 / ext4\n/dev/sdb2 /data ext4\n", "/dev/sdb2"), None);
    assert_eq!(resolved("/dev/sda3 / ext4\n/dev/nvme0n1p2 /data ext4\n", "/dev/nvme0n1p2"), None);
    assert_eq!(resolved("/dev/nvme0n1p3 / ext4\n", "/dev/nvme0n1p3"), Some(2));
    assert_eq!(resolved("/dev/vda3 / ext4\n", "/dev/vda3"), Some(2));
    assert_eq!(resolved("UUID=1 / ext4\n", "/dev/vdb3"), None);
}

#[test]
fn a_copy_whose_mark_would_be_hidden_from_its_agent_is_told_and_not_made() {
    let server = Server::new("hidden", GPT, &["sda2", "sda3"]);
    server.put("sda3", "etc/os-release", "PRETTY_NAME=One\n");
    let root = "UUID=11111111-2222-4444-8888-000000000000 / ext4 defaults 0 1\n";
    let told = |line: &str| {
        server.put("sda3", "etc/fstab", format!("{root}{line}\n"));
        let readiness = server.judged(&Platform::azure());
        readiness.about(What::Lineage).map(|finding| finding.words.clone()).collect::<String>()
    };
    for line in [
        "",
        "tmpfs /var tmpfs",
        "UUID=5 /var/log ext4",
        "UUID=5 /var ext4 nofail",
        "UUID=5 none swap",
    ] {
        assert_eq!(told(line), "", "{line}");
    }
    let elsewhere = told("UUID=22222222-2222-4444-8888-000000000000 /var ext4 subvol=@var");
    assert!(elsewhere.contains("cannot be opened here"), "{elsewhere}");
    assert!(told("UUID=5 /var ext4 defaults 0 2").contains("UUID=5 is mounted on /var"));
    let before = server.everything();
    assert_eq!(mark(&server.survey(), &lineage()).unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(server.everything(), before);
    // Where /var is opened the mark is in it, and a mark alone changes nothing else.
    assert_eq!(told("UUID=22222222-2222-4444-8888-000000000000 /var ext4"), "");
    let before = server.everything();
    mark(&server.survey(), &lineage()).unwrap();
    assert!(server.text("sda2", "lib/lifeboat/replica").contains("kind = \"drill\""));
    undo(&server.survey()).unwrap();
    assert_eq!(server.everything(), before);
}

#[test]
fn a_block_without_room_gets_its_root_first_and_what_does_not_fit_is_told() {
    let server = Server::new("block", GPT, &["sda2", "sda3"]);
    server.put("sda3", "etc/os-release", "PRETTY_NAME=One\n");
    server.put("sda3", "etc/fstab", "UUID=22222222-2222-4444-8888-000000000000 /boot ext4\n");
    let head = "# GRUB Environment Block\nkernelopts=root=/dev/sda3 ro x=";
    let repaired = |room: usize| {
        let block = format!("{head}{}\n", "y".repeat(1024 - head.len() - 1 - room));
        server.put("sda2", "grub2/grubenv", block + &"#".repeat(room));
        let survey = server.survey();
        let readiness = judge(&survey, &Platform::azure()).unwrap();
        let done = repair(&survey, &readiness, &Platform::azure(), &Wish::default());
        let text = server.text("sda2", "grub2/grubenv");
        drop(undo(&server.survey()).unwrap());
        done.map(|_| text)
    };
    let text = repaired(40).unwrap();
    assert!(text.contains("root=UUID=11111111") && !text.contains("console="), "{text}");
    let error = repaired(5).unwrap_err();
    assert!(error.to_string().contains("boot/grub2/grubenv has no room"), "{error}");
}

#[test]
fn a_file_system_that_the_point_does_not_have_is_told() {
    let server = Server::new("missing", GPT, &["sda2", "sda3"]);
    server.put("sda3", "etc/os-release", "PRETTY_NAME=One\n");
    let table = "UUID=11111111-2222-4444-8888-000000000000 / ext4 defaults 0 1\n\
        PARTUUID=33333333-2222-4444-8888-000000000000 /mnt ext4\nLABEL=far /data xfs defaults\n\
        UUID=5 /maybe ext4 nofail\nUUID=6 none swap sw\nfs.example:/x /net nfs defaults\n";
    server.put("sda3", "etc/fstab", table);
    let readiness = server.judged(&Platform::azure());
    assert_eq!(
        found(&readiness, What::Fstab),
        [("LABEL=far", Severity::Hinders, &Remedy::None)],
        "{readiness:#?}"
    );
}
