//! Maps and programs on the kernel that the tests run on; skipped where it lets nobody make any.

use core::sync::atomic::Ordering;

use super::*;

fn shape(kind: MapKind, value_bytes: u32, entries: u32, mappable: bool) -> MapShape {
    MapShape { kind, key_bytes: 4, value_bytes, entries, mappable }
}

/// A map, or nothing where this machine lets us have none.
fn map(shape: MapShape) -> Option<Map> {
    lift_memory_limit();
    match Map::create(shape, "hal_test") {
        Ok(map) => Some(map),
        Err(Errno::PERM | Errno::NOSYS) => {
            eprintln!("SKIPPED, not tested on this machine: it lets us make no map");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_map_keeps_what_is_set() {
    let Some(map) = map(shape(MapKind::Hash, 8, 4, false)) else { return };
    let mut value = [0; 8];
    assert_eq!(map.value(&[1, 0, 0, 0], &mut value), Ok(false));
    for key in [[1, 0, 0, 0], [2, 0, 0, 0]] {
        map.set(&key, &[key[0]; 8]).unwrap();
    }
    assert_eq!(map.value(&[2, 0, 0, 0], &mut value), Ok(true));
    assert_eq!(value, [2; 8]);
    let mut keys = map.keys().unwrap();
    keys.sort();
    assert_eq!(keys, [[1, 0, 0, 0], [2, 0, 0, 0]]);
    assert_eq!(map.remove(&[1, 0, 0, 0]), Ok(true));
    assert_eq!(map.remove(&[1, 0, 0, 0]), Ok(false));
    assert_eq!(map.keys().unwrap().len(), 1);
}

#[test]
fn slices_that_do_not_fit_are_refused_before_the_kernel_sees_them() {
    let Some(own) = map(shape(MapKind::ArrayOfProcessor, 8, 1, false)) else { return };
    let Some(map) = map(shape(MapKind::Hash, 8, 4, false)) else { return };
    assert_eq!(map.set(&[0; 3], &[0; 8]), Err(Errno::INVAL));
    assert_eq!(map.set(&[0; 4], &[0; 7]), Err(Errno::INVAL));
    assert_eq!(map.value(&[0; 4], &mut [0; 4]), Err(Errno::INVAL));
    assert_eq!(map.remove(&[0; 5]), Err(Errno::INVAL));
    assert!(map.words().is_err(), "it was not made to be mapped");
    assert_eq!(own.value(&[0; 4], &mut [0; 8]), Err(Errno::INVAL), "a value for every processor");
}

#[test]
fn words_in_memory_are_the_maps_values() {
    let Some(map) = map(shape(MapKind::Array, 4096, 3, true)) else { return };
    let words = map.words().unwrap();
    assert_eq!(words.len(), 3 * 512);
    words[512].store(0x0101, Ordering::SeqCst);
    let mut page = vec![0; 4096];
    assert_eq!(map.value(&[1, 0, 0, 0], &mut page), Ok(true));
    assert_eq!(page[..3], [1, 1, 0]);
    page[8] = 7;
    map.set(&[2, 0, 0, 0], &page).unwrap();
    assert_eq!(words[2 * 512 + 1].swap(0, Ordering::SeqCst), 7);
}

#[test]
fn a_name_keeps_a_map_alive_and_other_things_are_no_map() {
    let Some(map) = map(shape(MapKind::Array, 4096, 2, true)) else { return };
    if let Err(error) = mount_file_system() {
        eprintln!("SKIPPED, not tested on this machine: bpffs cannot be mounted: {error}");
        return;
    }
    let folder = Path::new(FILE_SYSTEM).join(format!("hal-test-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let path = folder.join("map");
    pin(&map, &path).unwrap();
    map.words().unwrap()[7].store(5, Ordering::SeqCst);
    let asked = map.shape();
    drop(map);
    let found = Map::pinned(&path).unwrap();
    assert_eq!(found.shape(), asked);
    assert_eq!(found.words().unwrap()[7].load(Ordering::SeqCst), 5);
    assert_eq!(names(&folder), ["map"]);
    assert!(Map::pinned(Path::new("/dev/null")).is_err());
    fs::remove_file(&path).unwrap();
    assert_eq!(Map::pinned(&path).unwrap_err(), Errno::NOENT);
    fs::remove_dir(&folder).unwrap();
}

#[test]
fn a_program_that_the_verifier_refuses_comes_back_with_its_words() {
    let Some(_) = map(shape(MapKind::Array, 8, 1, false)) else { return };
    // r0 = r1 without an end: "last insn is not an exit or jmp".
    let rejected = Program::load(&[0x10bf], 1, "GPL", "bad").unwrap_err();
    assert!(!rejected.log.is_empty() || rejected.errno != Errno::INVAL, "{rejected:?}");
    assert!(!words(Errno::PERM).is_empty() && !words(Errno::INVAL).is_empty());
}

#[test]
fn words_of_a_file_are_its_bytes() {
    let path = std::env::temp_dir().join(format!("hal-shared-{}", std::process::id()));
    fs::write(&path, vec![0; 8192]).unwrap();
    let file = fs::File::options().read(true).write(true).open(&path).unwrap();
    let words = SharedWords::of_file(&file).unwrap();
    assert_eq!(words.len(), 1024);
    words[1].store(u64::from_ne_bytes(*b"lifeboat"), Ordering::SeqCst);
    words.flush().unwrap();
    assert_eq!(&fs::read(&path).unwrap()[8..16], b"lifeboat");
    fs::remove_file(&path).unwrap();
}
