//! What is swap and what only looks like it.

use hal_sim::SimDisk;

use super::*;

fn header(mark: &[u8], old: &[u8], page: usize) -> Vec<u8> {
    let mut head = vec![3; BLOCK_BYTES];
    head[page - 10..page].copy_from_slice(mark);
    head[page - 20..page - 10].copy_from_slice(old);
    head
}

fn filled(disk: usize, first: u64, bytes: Vec<u8>) -> Filled<Vec<u8>> {
    let blocks = u32::try_from(bytes.len() / BLOCK_BYTES).unwrap();
    Filled::new(disk, first, blocks, bytes)
}

#[test]
fn marks_are_known_in_pages_of_every_size() {
    for page in [4096, 8192, 16_384, 65_536] {
        let page_bytes = page as u64;
        let swap = header(b"SWAPSPACE2", &[0; 10], page);
        assert_eq!(mark_of(&swap), Some(Mark::Swap { page_bytes }));
        let hibernated = header(b"S1SUSPEND\0", b"SWAPSPACE2", page);
        assert_eq!(mark_of(&hibernated), Some(Mark::Hibernated(page_bytes)));
    }
    assert_eq!(mark_of(&[0; BLOCK_BYTES]), None);
    assert_eq!(mark_of(b"SWAPSPACE2"), None, "too short");
}

#[test]
fn a_hibernated_system_is_disarmed_and_nothing_else_is_touched() {
    let swap = Swap { nobodys: vec![Vec::new(); 2], armed: vec![(1, 3 * BLOCK + 8192)] };
    let armed = header(b"S1SUSPEND\0", b"SWAPSPACE2", 4096);
    let mut bytes = vec![5; 2 * BLOCK_BYTES];
    bytes[BLOCK_BYTES + 8192..BLOCK_BYTES + 8192 + 4096].copy_from_slice(&armed[..4096]);
    let mut ours = filled(1, 2, bytes.clone());
    swap.disarm(&mut ours);
    let mark = BLOCK_BYTES + 8192 + 4086;
    assert_eq!(&ours.bytes()[mark..mark + 10], b"SWAPSPACE2");
    assert_eq!(ours.bytes()[..mark], bytes[..mark]);
    assert_eq!(ours.bytes()[mark + 10..], bytes[mark + 10..]);
    for (disk, first) in [(0, 2), (1, 0), (1, 4)] {
        let mut other = filled(disk, first, bytes.clone());
        swap.disarm(&mut other);
        assert_eq!(other.bytes(), bytes, "disk {disk} from {first}");
    }
    let mut elsewhere = filled(1, 3, vec![6; BLOCK_BYTES]);
    swap.disarm(&mut elsewhere);
    assert!(elsewhere.bytes().iter().all(|byte| *byte == 6), "there is no header any more");
}

#[test]
fn whole_blocks_of_an_area_are_blank_and_its_header_is_not() {
    let area = |range: Range<u64>| Swap { nobodys: vec![vec![range]], armed: Vec::new() };
    let blank = area(BLOCK + 4096..5 * BLOCK).blank(0, 100);
    assert!(blank.iter().eq(2..5));
    assert!(area(BLOCK + 1..2 * BLOCK + 1).blank(0, 100).is_empty());
    assert!(area(0..BLOCK).blank(1, 100).is_empty(), "another disk");
    assert!(area(10..20).is_within(&area(0..20)) && !area(0..20).is_within(&area(10..20)));
    assert!(!area(0..20).is_within(&Swap::default()), "it was swapped off");
    assert!(Swap::default().is_within(&area(0..20)));
}

#[test]
fn the_kernels_list_is_read_with_its_blanks() {
    let text = "Filename\tType\tSize\tUsed\tPriority\n/dev/sda3 partition 1 0 -2\n\n/swap\\040file file 1 0 -3";
    assert_eq!(in_use(text), [PathBuf::from("/dev/sda3"), PathBuf::from("/swap file")]);
    assert!(in_use("").is_empty());
    for odd in ["\\", "\\9", "\\777", "a\\", "\u{e9}\\04"] {
        assert_eq!(unescaped(odd), odd);
    }
}

#[test]
fn the_mark_is_looked_for_on_the_disk_itself() {
    let disk = SimDisk::new(8 * BLOCK);
    disk.load(BLOCK + 512, &header(b"SWAPSPACE2", &[0; 10], 4096));
    let mut sources = [Source::new(disk.another().unwrap()).unwrap()];
    assert_eq!(mark_at(&mut sources, 0, BLOCK + 512), Some(Mark::Swap { page_bytes: 4096 }));
    assert_eq!(mark_at(&mut sources, 0, BLOCK), None);
    assert_eq!(mark_at(&mut sources, 0, 8 * BLOCK), None, "past the end");
    assert_eq!(mark_at(&mut sources, 1, 0), None, "no such disk");
    let leaf = Leaf {
        name: "nowhere".to_owned(),
        path: PathBuf::from("/dev/nowhere"),
        number: (4000, 4000),
        bytes: 8 * BLOCK,
        sector_bytes: 512,
        identity: String::new(),
        untracked: None,
    };
    assert_eq!(Swap::find(&[leaf], &mut sources).blank(0, 8).count(), 0);
}
