//! Tables and superblocks made by the real programs, and read as blkid reads them; LVM by hand.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::table::Role;
use super::*;
use crate::guest::view::memory::Memory;

const MIB: u64 = 1 << 20;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("lifeboat-volumes-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn image(&self, name: &str, bytes: u64) -> PathBuf {
        let path = self.0.join(name);
        File::create(&path).unwrap().set_len(bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(path).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn disk(path: &Path) -> GuestDisk {
    let view = File::options().read(true).write(true).open(path).unwrap();
    GuestDisk { name: "sda".to_owned(), view: Arc::new(view) }
}

#[test]
fn a_gpt_is_read_and_its_spare_where_the_first_is_broken() {
    let folder = Folder::new("gpt");
    let path = folder.image("disk", 64 * MIB);
    let arguments = [
        "--new=1:1M:+1M",
        "--typecode=1:ef02",
        "--new=2:2M:+32M",
        "--typecode=2:ef00",
        "--change-name=2:EFI here",
        "--new=5:40M:+8M",
        "--partition-guid=5:11111111-2222-3333-4444-555555555555",
    ];
    run("sgdisk", &arguments, &path);
    let read = || Table::read(disk(&path).view.as_ref()).unwrap();
    let table = read();
    assert_eq!((table.scheme, table.sector_bytes, table.boot_code), (Scheme::Gpt, 512, false));
    let told: Vec<(u32, u64, u64, Role)> = table
        .entries
        .iter()
        .map(|entry| (entry.number, entry.start, entry.bytes, entry.role))
        .collect();
    let wanted = [
        (1, MIB, MIB, Role::BiosBoot),
        (2, 2 * MIB, 32 * MIB, Role::Esp),
        (5, 40 * MIB, 8 * MIB, Role::Other),
    ];
    assert_eq!(told, wanted);
    assert_eq!(table.entries[1].label, "EFI here");
    assert_eq!(table.entries[2].uuid, "11111111-2222-3333-4444-555555555555");
    disk(&path).view.write_at(512, &[0; 8]).unwrap();
    assert_eq!(read(), table);
    disk(&path).view.write_at(64 * MIB - 512, &[0; 8]).unwrap();
    assert_eq!(read().scheme, Scheme::Mbr, "its protective entry is left");
}

/// A slot of a master boot record: flag, type, first sector, sectors.
fn slot(flag: u8, kind: u8, first: u32, sectors: u32) -> Vec<u8> {
    let mut slot = vec![flag, 0, 0, 0, kind, 0, 0, 0];
    slot.extend(first.to_le_bytes());
    slot.extend(sectors.to_le_bytes());
    slot
}

#[test]
fn an_mbr_is_read_with_its_logical_partitions() {
    let mut bytes = vec![0; 64 << 20];
    let mut put = |sector: usize, at: usize, from: &[u8]| {
        bytes[sector * 512 + at..sector * 512 + at + from.len()].copy_from_slice(from);
        bytes[sector * 512 + 510..sector * 512 + 512].copy_from_slice(&[0x55, 0xAA]);
    };
    put(0, 0, &[0xEB, 0x63]);
    put(0, 440, &0xcafe_0001_u32.to_le_bytes());
    put(0, 446, &slot(0x80, 0x83, 2048, 8192));
    put(0, 462, &slot(0, 0x82, 10240, 8192));
    put(0, 478, &slot(0, 0x05, 20480, 81920));
    put(20480, 446, &slot(0, 0x83, 2048, 8192));
    put(20480, 462, &slot(0, 0x05, 12288, 10240));
    put(32768, 446, &slot(0, 0x8E, 2048, 8192));
    let view = Memory::new(bytes);
    let table = Table::read(&view).unwrap();
    assert_eq!((table.scheme, table.boot_code), (Scheme::Mbr, true));
    let told = table.entries.iter().map(|entry| (entry.number, entry.start / 512, entry.active));
    let wanted = [(1, 2048, true), (2, 10240, false), (5, 22528, false), (6, 34816, false)];
    assert_eq!(told.collect::<Vec<_>>(), wanted);
    assert_eq!(table.entries[2].uuid, "cafe0001-05");
    // A chain that leads back to its beginning ends.
    view.write_at(20480 * 512 + 462, &slot(0, 5, 0, 8192)).unwrap();
    assert!(Table::read(&view).unwrap().entries.len() < 400);
    // The boot sector of a file system is no table.
    view.write_at(446, &[0x33]).unwrap();
    assert_eq!(Table::read(&view).unwrap().scheme, Scheme::None);
}

#[test]
fn superblocks_are_read_as_blkid_reads_them() {
    let folder = Folder::new("content");
    let makers: [(&str, &[&str], u64); 8] = [
        ("mke2fs", &["-q", "-t", "ext2", "-L", "two"], 8 * MIB),
        ("mke2fs", &["-q", "-t", "ext3", "-L", "a b"], 8 * MIB),
        ("mke2fs", &["-q", "-t", "ext4"], 8 * MIB),
        ("mkfs.xfs", &["-q", "-L", "data"], 320 * MIB),
        ("mkfs.fat", &["-F", "32", "-n", "ESP"], 64 * MIB),
        ("mkfs.fat", &["-F", "16"], 16 * MIB),
        ("mkswap", &["-q", "-L", "swapping"], 8 * MIB),
        ("mkfs.btrfs", &["-q", "-L", "tree"], 128 * MIB),
    ];
    for (program, arguments, bytes) in makers {
        let path = folder.image(program, bytes);
        if Command::new(program).arg("--help").output().is_err() {
            eprintln!("SKIPPED, not tested on this machine: {program} is missing");
            continue;
        }
        run(program, arguments, &path);
        let told = run("blkid", &["-p", "-o", "export"], &path);
        let told: BTreeMap<&str, &str> =
            told.lines().filter_map(|line| line.split_once('=')).collect();
        let told = |name: &str| told.get(name).copied().unwrap_or_default().replace('\\', "");
        match content::look(disk(&path).view.as_ref()).unwrap() {
            Content::FileSystem { kind, uuid, label } => {
                assert_eq!(
                    (kind, uuid, label),
                    (told("TYPE").as_str(), told("UUID"), told("LABEL")),
                    "{arguments:?}"
                );
            }
            Content::Swap { uuid, label } => {
                assert_eq!(
                    ("swap".to_owned(), uuid, label),
                    (told("TYPE"), told("UUID"), told("LABEL"))
                );
            }
            other => panic!("{program}: {other:?}"),
        }
    }
}

/// A physical volume of 1 MiB extents whose text goes round the end of its area.
fn physical_volume(text: &str, id: &str, extents: usize) -> Vec<u8> {
    const MDA: usize = 4096;
    const MDA_BYTES: usize = 1024 * 1024 - MDA;
    let mut bytes = vec![0; (1 + extents) << 20];
    let mut put = |at: usize, from: &[u8]| bytes[at..at + from.len()].copy_from_slice(from);
    put(512, b"LABELONE");
    put(512 + 20, &32_u32.to_le_bytes());
    put(512 + 24, b"LVM2 001");
    put(544, id.as_bytes());
    for (place, value) in [0, MIB, 0, 0, 0, MDA as u64, MDA_BYTES as u64].into_iter().enumerate() {
        put(544 + 32 + place * 8, &value.to_le_bytes());
    }
    put(MDA + 4, b" LVM2 x[5A%r0N*>");
    // Its first hundred bytes stand at the end.
    put(MDA + 40, &(MDA_BYTES as u64 - 100).to_le_bytes());
    put(MDA + 48, &(text.len() as u64).to_le_bytes());
    put(MDA + MDA_BYTES - 100, &text.as_bytes()[..100]);
    put(MDA + 512, &text.as_bytes()[100..]);
    bytes
}

fn description(more: &str) -> String {
    format!(
        "vg-a {{\nid = \"x\"\nseqno = 3\nextent_size = 2048\nphysical_volumes {{\n\
        pv0 {{ id = \"aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa\" pe_start = 2048 }}\n\
        pv1 {{ id = \"bbbbbb-bbbb-bbbb-bbbb-bbbb-bbbb-bbbbbb\" pe_start = 2048 }}\n}}\nlogical_volumes {{\n\
        root {{ status = [\"READ\", \"VISIBLE\"]\n\
        segment2 {{ start_extent = 1 extent_count = 2 type = \"striped\" stripe_count = 1 stripes = [\"pv1\", 0] }}\n\
        segment1 {{ start_extent = 0 extent_count = 1 type = \"striped\" stripe_count = 1 stripes = [\"pv0\", 2] }} }}\n\
        hidden {{ status = [\"READ\"] }}\n{more}}}\n}}\n"
    )
}

#[test]
fn logical_volumes_are_where_lvm_has_them_or_told_why_not() {
    let more = "wide { status = [\"VISIBLE\"] segment1 { start_extent = 0 extent_count = 2 type = \"striped\" \
        stripe_count = 2 stripes = [\"pv0\", 0, \"pv1\", 0] } }\n\
        far { status = [\"VISIBLE\"] segment1 { start_extent = 0 extent_count = 9 type = \"striped\" \
        stripe_count = 1 stripes = [\"pv0\", 0] } }\n\
        lost { status = [\"VISIBLE\"] segment1 { start_extent = 0 extent_count = 1 type = \"striped\" \
        stripe_count = 1 stripes = [\"pv2\", 0] } }\n\
        pool { status = [\"VISIBLE\"] segment1 { start_extent = 0 extent_count = 1 type = \"thin\" } }\n";
    let text = description(more);
    let old = text
        .replace("seqno = 3", "seqno = 2")
        .replace("stripes = [\"pv0\", 2]", "stripes = [\"pv0\", 0]");
    let (mut one, mut two) =
        (physical_volume(&text, &"a".repeat(32), 4), physical_volume(&old, &"b".repeat(32), 4));
    for (extent, value) in [(3, 1), (1, 9)] {
        one[extent << 20..(extent + 1) << 20].fill(value);
    }
    two[1 << 20..2 << 20].fill(2);
    two[2 << 20..3 << 20].fill(3);
    let disk = |name: &str, bytes: Vec<u8>| GuestDisk {
        name: name.to_owned(),
        view: Arc::new(Memory::new(bytes)),
    };
    let found = Volumes::find(&[disk("sda", one.clone()), disk("sdb", two)]).unwrap();
    let root = found.volumes.iter().find(|volume| volume.name == "vg-a/root").unwrap();
    let mut read = vec![0; 3 << 20];
    root.view.read_at(0, &mut read).unwrap();
    assert!(
        read.chunks(1 << 20)
            .zip(1_u8..)
            .all(|(extent, value)| extent.iter().all(|byte| *byte == value))
    );
    assert_eq!(found.volumes.len(), 3, "two physical ones and the root");
    let told = found.unmapped.join("\n");
    for words in [
        "vg-a/wide: is of a kind",
        "vg-a/far: reaches past",
        "vg-a/lost: its description",
        "vg-a/pool: is of a kind that is not mapped here: thin",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let alone = Volumes::find(&[disk("sda", one)]).unwrap();
    assert!(
        alone.unmapped.iter().any(|words| words.contains("not in the point")),
        "{:?}",
        alone.unmapped
    );
}

#[test]
fn a_mirror_is_looked_into_and_written_on_every_member() {
    let folder = Folder::new("mirror");
    let inside = folder.image("inside", 8 * MIB);
    run("mke2fs", &["-q", "-t", "ext4", "-L", "mirrored"], &inside);
    let inside = std::fs::read(&inside).unwrap();
    // Version 1.2 near the beginning, 1.0 at the end.
    for (superblock, data) in [(4096, 1 << 20), ((9 << 20) - 8192, 0)] {
        let mut bytes = vec![0; 9 << 20];
        let mut put = |at: usize, from: &[u8]| bytes[at..at + from.len()].copy_from_slice(from);
        put(superblock, &0xa92b_4efc_u32.to_le_bytes());
        put(superblock + 4, &1_u32.to_le_bytes());
        put(superblock + 16, &[7; 16]);
        put(superblock + 32, b"server:0");
        put(superblock + 72, &1_u32.to_le_bytes());
        put(superblock + 80, &(8 * MIB / 512).to_le_bytes());
        put(superblock + 128, &(data as u64 / 512).to_le_bytes());
        put(superblock + 136, &(8 * MIB / 512).to_le_bytes());
        put(superblock + 200, &100_u64.to_le_bytes());
        put(data, &inside);
        let disk = |name: &str| GuestDisk {
            name: name.to_owned(),
            view: Arc::new(Memory::new(bytes.clone())),
        };
        let disks = [disk("sda"), disk("sdb")];
        let found = Volumes::find(&disks).unwrap();
        assert_eq!(found.volumes.len(), 3, "two members and the mirror");
        assert!(
            found.volumes[..2]
                .iter()
                .all(|volume| matches!(volume.content, Content::Array { level: 1, .. }))
        );
        let mirror = &found.volumes[2];
        assert_eq!((mirror.name.as_str(), mirror.label()), ("md0", Some("mirrored")));
        mirror.view.write_at(3 << 20, b"on both").unwrap();
        for disk in &disks {
            let mut read = [0; 7];
            disk.view.read_at(data as u64 + (3 << 20), &mut read).unwrap();
            assert_eq!(&read, b"on both", "{}", disk.name);
        }
        only_members_that_are_up_to_date_count(&bytes, superblock, data);
    }
}

/// A member that fell out of its mirror, a spare, and one that is being filled are neither read nor written.
fn only_members_that_are_up_to_date_count(good: &[u8], superblock: usize, data: usize) {
    let changes: [&[(usize, &[u8])]; 3] =
        [&[(200, &[98])], &[(8, &[2])], &[(160, &[1]), (220, &[2]), (258, &[0xFF, 0xFF])]];
    for change in changes {
        let mut bad = good.to_vec();
        for (at, bytes) in change {
            bad[superblock + at..superblock + at + bytes.len()].copy_from_slice(bytes);
        }
        bad[data + (2 << 20)..data + (3 << 20)].fill(0xAA);
        let disk = |name: &str, bytes: &[u8]| GuestDisk {
            name: name.to_owned(),
            view: Arc::new(Memory::new(bytes.to_vec())),
        };
        let disks = [disk("sda", &bad), disk("sdb", good)];
        let mirror = Volumes::find(&disks).unwrap().volumes.pop().unwrap();
        let mut read = [0; 512];
        mirror.view.read_at(2 << 20, &mut read).unwrap();
        assert_ne!(read, [0xAA; 512], "{change:?} is read");
        mirror.view.write_at(2 << 20, b"on one").unwrap();
        disks[0].view.read_at(data as u64 + (2 << 20), &mut read).unwrap();
        assert_eq!(read, [0xAA; 512], "{change:?} is written");
    }
}

#[test]
fn hostile_bytes_make_no_volume_that_cannot_be_read() {
    use hal_sim::random::Random;
    let seed = 20_261_130;
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    let good = physical_volume(&description(""), &"a".repeat(32), 2);
    for _ in 0..300 {
        let mut bad = good[..2 << 20].to_vec();
        for _ in 0..4 {
            let places = [512, 544, 4096, 4096 + 512, 1024 * 1024 - 100];
            let base = places[usize::try_from(random.below(5)).unwrap()];
            let at = base + usize::try_from(random.below(96)).unwrap();
            bad[at] = u8::try_from(random.below(256)).unwrap();
        }
        let disk = GuestDisk { name: "sda".to_owned(), view: Arc::new(Memory::new(bad)) };
        let Ok(found) = Volumes::find(&[disk]) else { continue };
        for volume in found.volumes {
            let end = volume.view.bytes();
            volume
                .view
                .read_at(end.saturating_sub(1), &mut vec![0; usize::try_from(end.min(1)).unwrap()])
                .unwrap();
        }
    }
}
