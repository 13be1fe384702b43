//! A point into a page blob in memory, with everything that can come between.

use core::sync::atomic::Ordering;

use pipeline_vault::store::{BlobStore, list_all};
use pipeline_vault::writer::Silent;

use super::*;
use crate::hydrate::overlay::{Overlay, Scratch};
use crate::hydrate::page_disk::tests::MemoryPages;
use crate::hydrate::test_bed::{BYTES, Bed, blob};
use pipeline_vault::reader::PointReader;

fn how() -> How {
    How { workers: 3, in_flight: 4, ..How::new("blob") }
}

fn as_pages(blob: &Arc<MemoryPages>) -> Arc<dyn Pages> {
    Arc::clone(blob) as Arc<dyn Pages>
}

#[test]
fn a_point_becomes_a_vhd_and_zeros_are_not_sent() {
    let mut bed = Bed::new(1);
    bed.point(150);
    let (frames, stops) = (bed.frames(), bed.stops());
    let blob = blob();
    let done = fill(&stops[0].source(&frames), None, &as_pages(&blob), &how(), &Silent).unwrap();
    bed.assert_is(&blob, 0);
    assert!(!done.resumed);
    assert_eq!(done.sent.kept_bytes, 0);
    assert_eq!(blob.needless.load(Ordering::SeqCst), 0);
    assert_eq!(done.sent.clears, 0);
    assert!(done.sent.put_bytes < done.restored.written_bytes);
}

#[test]
fn killed_at_any_put_it_goes_on_and_sends_no_more_than_is_missing() {
    let mut bed = Bed::new(2);
    bed.point(150);
    let (frames, stops) = (bed.frames(), bed.stops());
    let source = stops[0].source(&frames);
    let whole = blob();
    let all = fill(&source, None, &as_pages(&whole), &how(), &Silent).unwrap().sent.put_bytes;
    for kill in [1, 2, 3, 7, 20, 45, 70] {
        let blob = blob();
        blob.fail_from.store(kill, Ordering::SeqCst);
        let error = fill(&source, None, &as_pages(&blob), &how(), &Silent).unwrap_err();
        assert!(error.to_string().contains("the network is gone"), "{error}");
        assert_ne!(&blob.content()[blob.content().len() - 512..][..8], b"conectix");
        blob.fail_from.store(0, Ordering::SeqCst);
        let done = fill(&source, None, &as_pages(&blob), &how(), &Silent).unwrap();
        bed.assert_is(&blob, 0);
        assert_eq!(done.resumed, kill > 1);
        assert_eq!(done.sent.put_bytes + done.sent.kept_bytes, all);
        assert!(kill < 20 || done.sent.kept_bytes > 0, "{done:?}");
    }
}

#[test]
fn what_a_repair_changed_goes_on_top_and_what_it_changed_before_goes_away() {
    let mut bed = Bed::new(3);
    bed.point(150);
    let (frames, stops) = (bed.frames(), bed.stops());
    let blob = blob();
    let reader = || PointReader::new(bed.frames(), stops[0].disk.clone(), 1 << 20);
    let mut remembered = Vec::new();
    for round in 0..3_u64 {
        let overlay = Overlay::new(reader(), Scratch::Memory { bytes_max: 64 << 20 });
        for at in 0..6 {
            let offset = (round * 7 + at * 31) % 380 * 65_536 + 700;
            overlay.write_at(offset, &[u8::try_from(round + 1).unwrap(); 3000]).unwrap();
        }
        overlay.zero_at(BYTES - 100_000, 100_000).unwrap();
        let blocks = either(&overlay.changed(), &remembered);
        let on_top = OnTop { content: &overlay, blocks: &blocks };
        let source = stops[0].source(&frames);
        if round == 1 {
            // This one is killed when the point is there and nothing of what goes on top.
            blob.fail_from.store(blob.puts.load(Ordering::SeqCst) + 3, Ordering::SeqCst);
            fill(&source, Some(on_top), &as_pages(&blob), &how(), &Silent).unwrap_err();
            blob.fail_from.store(0, Ordering::SeqCst);
        }
        let done = fill(&source, Some(on_top), &as_pages(&blob), &how(), &Silent).unwrap();
        assert_eq!(done.on_top_blocks, blocks.len() as u64);
        let mut expected = vec![0; usize::try_from(BYTES).unwrap()];
        overlay.read_at(0, &mut expected).unwrap();
        assert!(blob.content()[..expected.len()] == expected, "round {round}");
        remembered = blocks;
    }
}

#[test]
fn a_file_becomes_the_same_vhd_whatever_was_behind_its_disk() {
    let mut bed = Bed::new(5);
    bed.point(60);
    let (frames, stops) = (bed.frames(), bed.stops());
    let source = stops[0].source(&frames);
    let blob = blob();
    fill(&source, None, &as_pages(&blob), &how(), &Silent).unwrap();
    let file = hal_sim::SimDisk::new(blob.bytes);
    file.load(BYTES, &vec![7; usize::try_from(blob.bytes - BYTES).unwrap()]);
    let hand = file.another().unwrap();
    restore::restore_disk(&frames, source.disk, hand, "file", &how().options(), &Silent).unwrap();
    close(&mut file.another().unwrap(), &source, "file").unwrap();
    assert!(file.content(0, blob.content().len()) == blob.content());
    let short = hal_sim::SimDisk::new(blob.bytes - 512);
    assert!(close(&mut short.another().unwrap(), &source, "short").is_err());
}

#[test]
fn nothing_is_written_where_something_else_is_or_the_length_is_wrong_or_a_segment_is_missing() {
    let mut bed = Bed::new(4);
    bed.point(60);
    let (frames, stops) = (bed.frames(), bed.stops());
    let source = stops[0].source(&frames);
    let full = blob();
    full.put(1 << 20, &[9; 512]).unwrap();
    let before = full.content();
    let error = fill(&source, None, &as_pages(&full), &how(), &Silent).unwrap_err();
    assert!(error.to_string().contains("--overwrite"), "{error}");
    assert!(full.content() == before);
    let overwrite = How { overwrite: true, ..how() };
    fill(&source, None, &as_pages(&full), &overwrite, &Silent).unwrap();
    bed.assert_is(&full, 0);

    let short = Arc::new(MemoryPages::new(blob().bytes - (1 << 20)));
    let error = fill(&source, None, &as_pages(&short), &how(), &Silent).unwrap_err();
    assert!(error.to_string().contains("has 25166336 bytes"), "{error}");

    let segments = list_all(&*bed.store as &dyn BlobStore, "").unwrap();
    let name = segments.iter().map(|facts| &facts.name).find(|name| name.starts_with("seg/"));
    let name = name.unwrap_or_else(|| panic!("a segment among {segments:?}"));
    assert_eq!(bed.store.delete(core::slice::from_ref(name)), [Ok(true)]);
    let empty = blob();
    let error = fill(&source, None, &as_pages(&empty), &how(), &Silent).unwrap_err();
    assert!(error.to_string().contains("is missing"), "{error}");
    assert_eq!(empty.puts.load(Ordering::SeqCst), 0);
}
