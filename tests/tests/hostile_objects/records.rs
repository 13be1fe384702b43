//! Chain records, pins and indexes: damaged, and sealed again with mutated content; names that nobody writes.

use hal_sim::SimDisk;
use hal_sim::random::Random;
use pipeline::ids::OrderId;
use pipeline_vault::chain::open_record;
use pipeline_vault::document::{self, Name, Replaced};
use pipeline_vault::frames::FrameReader;
use pipeline_vault::info;
use pipeline_vault::names;
use pipeline_vault::pins;
use pipeline_vault::points::read_chain_leniently;
use pipeline_vault::reader::PointReader;
use pipeline_vault::restore;
use pipeline_vault::roster;
use pipeline_vault::sealed::ObjectKind;
use pipeline_vault::secondary::newest_complete_point;
use pipeline_vault::store::BlobStore as _;
use pipeline_vault::verify::{self, Depth, Options};
use pipeline_vault::writer::Silent;

use crate::corpus::Bed;
use tests::campaign::mutate;

/// Disks that are restored in whole; larger ones are what a hostile record claims.
const RESTORED_BYTES_MAX: u64 = 64 << 20;

/// Everything that reads a vault, over whatever lies there.
fn read_everything(bed: &Bed, random: &mut Random) {
    let depth = if random.below(4) == 0 { Depth::Deep } else { Depth::Shallow };
    let options = Options { workers: 1, ..Options::new(depth) };
    // Errors are fine; panics, and runs that do not end, are not.
    let _ = verify::run(&bed.access, &bed.servers, &options, &Silent);
    let _ = newest_complete_point(&bed.access, bed.server, &options, &Silent);
    let _ = roster::points(&bed.access, bed.server);
    let _ = info::collect(&bed.access, &[(bed.server, String::new())], &info::Prices::default());
    let Ok((view, _)) = read_chain_leniently(&bed.access, bed.server) else { return };
    let Ok(link) = view.find("latest") else { return };
    let Some(point) = link.record.point() else { return };
    for disk in &point.disks {
        let Ok(reader) = PointReader::open(&bed.access, &view, link, &disk.name, 1 << 20) else {
            continue;
        };
        for at in [0, random.below(disk.bytes.max(1)), disk.bytes.saturating_sub(9)] {
            let mut bytes = [0; 9];
            let _ = reader.read_at(at, &mut bytes);
        }
        let Ok(frames) = FrameReader::new(&bed.access, bed.server, &view.upkeep, 1 << 20) else {
            continue;
        };
        if disk.bytes <= RESTORED_BYTES_MAX {
            let target = SimDisk::new(disk.bytes);
            let options = restore::Options { workers: 1, compare: false, ..Default::default() };
            let _ = restore::restore_disk(&frames, disk, target, "target", &options, &Silent);
        }
    }
}

#[test]
fn damaged_records_never_open() {
    let bed = Bed::new();
    let names = bed.names("chain");
    let bodies = bed.bodies(&names);
    mutate("damaged records", 20_000, &bodies, |bytes, random| {
        let at = usize::try_from(random.below(names.len() as u64)).expect("below a usize");
        let slot = names::slot_of(&bed.server, &names[at]).expect("a slot");
        let opened = open_record(&bed.access, &bed.server, slot, bytes);
        assert!(opened.is_err() || bytes == bodies[at], "other bytes opened as {}", names[at]);
    });
}

#[test]
fn records_of_a_hostile_writer_end_in_an_answer_or_an_error() {
    let bed = Bed::new();
    let names = bed.names("chain");
    let plain = bed.plain(ObjectKind::Record, &names);
    let mut opened = 0;
    mutate("hostile records", 400, &plain, |bytes, random| {
        let at = usize::try_from(random.below(names.len() as u64)).expect("below a usize");
        let name = &names[at];
        let sealed = bed.plant(ObjectKind::Record, name, bytes);
        let slot = names::slot_of(&bed.server, name).expect("a slot");
        opened += u32::from(open_record(&bed.access, &bed.server, slot, &sealed).is_ok());
        read_everything(&bed, random);
        bed.mend();
    });
    eprintln!("{opened} hostile records opened");
}

#[test]
fn pins_and_indexes_of_a_hostile_writer_end_in_an_answer_or_an_error() {
    let bed = Bed::new();
    for (class, kind) in [("pin", ObjectKind::Pin), ("index", ObjectKind::Index)] {
        let names = bed.names(class);
        let plain = bed.plain(kind, &names);
        mutate(class, 200, &plain, |bytes, random| {
            bed.plant(kind, &names[0], bytes);
            let _ = pins::list(&bed.access, &bed.server);
            read_everything(&bed, random);
            bed.mend();
        });
    }
}

#[test]
fn a_damaged_document_is_told_and_the_version_before_stands_in() {
    let bed = Bed::new();
    let mut vault = bed.vault.open_in(bed.store.clone()).expect("its own key");
    let name = Name::Order(OrderId([7; 16]));
    for version in 0..2 {
        let text = format!("version {}", version + 1);
        let replaced = document::replace(&mut vault, name, version, text.as_bytes());
        assert_eq!(replaced, Ok(Replaced::Done(version + 1)));
    }
    let names: Vec<String> =
        bed.store.names().into_iter().filter(|name| name.starts_with("order/")).collect();
    let bodies = bed.bodies(&names);
    mutate("damaged documents", 5_000, &bodies, |bytes, _| {
        bed.store.overwrite(&names[0], bytes);
        let found = document::read(&mut vault, name).expect("an answer").expect("a document");
        let whole = bytes == bodies[0];
        let expected: &[u8] = if whole { b"version 2" } else { b"version 1" };
        assert_eq!((&found.bytes[..], found.version), (expected, 2));
        assert_eq!(found.trouble.is_none(), whole);
    });
    assert!(bed.store.read_all(&names[1], 1 << 20).is_ok(), "nothing was deleted");
}

#[test]
fn names_that_nobody_writes_are_told_and_harm_nothing() {
    let bed = Bed::new();
    let names: Vec<Vec<u8>> = bed.store.names().into_iter().map(String::into_bytes).collect();
    mutate("names", 200, &names, |bytes, random| {
        let name = String::from_utf8_lossy(bytes).into_owned();
        bed.store.overwrite(&name, b"anything");
        let _ = bed.vault.open_in(bed.store.clone());
        read_everything(&bed, random);
        bed.mend();
    });
}
