//! Names are written as they are read, and any bytes end in an answer.

use super::*;

fn folder() -> Vec<(u64, Vec<u8>)> {
    let mut bytes = vec![0; SECTOR];
    let places: Vec<u64> = vec![4096, 4096 + 32, 4096 + 64];
    let mut short = [0; RECORD];
    short[26..28].copy_from_slice(&7_u16.to_le_bytes());
    short[28..32].copy_from_slice(&99_u32.to_le_bytes());
    let name = String::new();
    let entry = Entry { name, is_folder: false, cluster: 7, bytes: 99, places, short };
    put(&mut bytes, entry.renamed("lifeboat-b.new", short_name(false, false)).unwrap());
    vec![(4096, bytes)]
}

fn put(bytes: &mut [u8], records: Vec<(u64, [u8; RECORD])>) {
    for (place, record) in records {
        let at = usize::try_from(place - 4096).unwrap();
        bytes[at..at + RECORD].copy_from_slice(&record);
    }
}

#[test]
fn a_name_that_is_written_is_read_and_the_file_stays_the_same() {
    let mut parts = folder();
    for name in ["lifeboat-b+3.efi", "lifeboat-b+2-1.efi", "lifeboat-b.efi", "lifeboat-b.new"] {
        let found = entries(&parts);
        assert_eq!((found.len(), found[0].cluster, found[0].bytes), (1, 7, 99));
        let short = short_name(false, name.ends_with("efi"));
        put(&mut parts[0].1, found[0].renamed(name, short).unwrap());
        assert_eq!(entries(&parts)[0].name, name);
    }
    let found = entries(&parts);
    assert_eq!(found[0].renamed("short.efi", short_name(true, true)), None, "fewer records");
}

#[test]
fn half_a_name_is_not_taken_for_a_whole_one() {
    let mut parts = folder();
    parts[0].1[32] ^= 2;
    let found = entries(&parts);
    assert_eq!(found[0].name, "lifeboab.new");
    assert_eq!(found[0].renamed("lifeboat-b.efi", short_name(false, true)), None);
}

#[test]
fn any_bytes_end_in_an_answer() {
    let mut random = hal_sim::random::Random::new(77);
    let byte = |random: &mut hal_sim::random::Random| u8::try_from(random.below(256)).unwrap();
    for _ in 0..5_000 {
        let mut parts = folder();
        for _ in 0..=random.below(6) {
            let at = usize::try_from(random.below(128)).unwrap();
            parts[0].1[at] = byte(&mut random);
        }
        for entry in entries(&parts) {
            let _ = entry.renamed("lifeboat-b+3.efi", short_name(false, true));
        }
        let mut sector = vec![0; SECTOR];
        random.fill(&mut sector);
        let sound =
            [(11, 0), (12, 2), (17, 0), (18, 0), (22, 0), (23, 0), (510, 0x55), (511, 0xaa)];
        for (at, value) in sound {
            sector[at] = value;
        }
        sector[13] = u8::try_from((1_u64 << random.below(9)) % 256).unwrap();
        if let Some(shape) = Shape::parse(&sector, 1 << 40) {
            let table = (0..100).map(|_| u32::try_from(random.below(120)).unwrap());
            let table: Vec<u32> = table.collect();
            assert!(shape.chain(&table, 2).unwrap_or_default().len() <= table.len() + 1);
        }
    }
}
