//! A seed that follows a vault through kills, and always knows where it is.

use core::sync::atomic::Ordering;

use hal_sim::random::Random;
use pipeline_vault::writer::Silent;

use super::*;
use crate::hydrate::page_disk::tests::MemoryPages;
use crate::hydrate::test_bed::{Bed, blob};

fn how() -> How {
    How { workers: 3, in_flight: 4, ..How::new("seed") }
}

fn as_pages(blob: &Arc<MemoryPages>) -> Arc<dyn Pages> {
    Arc::clone(blob) as Arc<dyn Pages>
}

#[test]
fn a_seed_follows_by_what_differs_forwards_and_back() {
    let mut bed = Bed::new(11);
    for blocks in [150, 5, 9, 20] {
        bed.point(blocks);
    }
    let (frames, stops) = (bed.frames(), bed.stops());
    let line = Line { frames: &frames, stops: &stops };
    let blob = blob();
    let mut at: Option<usize> = None;
    for to in [0, 1, 1, 3, 2, 0] {
        let (moved, done) = line.bring(&as_pages(&blob), stops[to].point, &how(), &Silent).unwrap();
        bed.assert_is(&blob, to);
        match at {
            None => assert_eq!(moved, Moved::Whole),
            Some(at) if at == to => assert_eq!((moved, done), (Moved::There, Hydrated::default())),
            Some(at) => {
                assert_eq!(moved, Moved::From(stops[at].point));
                let steps = if at < to { at + 1..=to } else { to + 1..=at };
                let most: u64 = steps.map(|step| [150, 5, 9, 20][step]).sum();
                assert!(done.restored.written_bytes <= most * 65_536, "{done:?}");
            }
        }
        at = Some(to);
    }
}

#[test]
fn a_seed_that_is_killed_anywhere_ends_at_whatever_point_it_is_brought_to_next() {
    for seed in 1..=12 {
        let mut bed = Bed::new(100 + seed);
        for blocks in [60, 10, 10, 10] {
            bed.point(blocks);
        }
        let (frames, stops) = (bed.frames(), bed.stops());
        let line = Line { frames: &frames, stops: &stops };
        let blob = blob();
        let mut random = Random::new(seed);
        for _ in 0..12 {
            let to = usize::try_from(random.below(4)).unwrap();
            let kill = blob.puts.load(Ordering::SeqCst) + 1 + random.below(14);
            blob.fail_from.store(if random.below(3) == 0 { 0 } else { kill }, Ordering::SeqCst);
            let done = line.bring(&as_pages(&blob), stops[to].point, &how(), &Silent);
            match done {
                Ok(_) => bed.assert_is(&blob, to),
                Err(error) => assert!(error.to_string().contains("network is gone"), "{error}"),
            }
        }
        blob.fail_from.store(0, Ordering::SeqCst);
        line.bring(&as_pages(&blob), stops[3].point, &how(), &Silent).unwrap();
        bed.assert_is(&blob, 3);
    }
}

#[test]
fn a_seed_at_a_point_that_is_gone_is_made_anew_if_it_may() {
    let mut bed = Bed::new(12);
    for blocks in [80, 10, 10] {
        bed.point(blocks);
    }
    let (frames, stops) = (bed.frames(), bed.stops());
    let blob = blob();
    let all = Line { frames: &frames, stops: &stops };
    all.bring(&as_pages(&blob), stops[0].point, &how(), &Silent).unwrap();
    let rest = Line { frames: &frames, stops: &stops[1..] };
    let refused = rest.bring(&as_pages(&blob), stops[2].point, &how(), &Silent).unwrap_err();
    assert!(refused.to_string().contains("--overwrite"), "{refused}");
    bed.assert_is(&blob, 0);
    let overwrite = How { overwrite: true, ..how() };
    let (moved, _) = rest.bring(&as_pages(&blob), stops[2].point, &overwrite, &Silent).unwrap();
    assert_eq!(moved, Moved::Whole);
    bed.assert_is(&blob, 2);
    let unknown = PointId([1; 16]);
    assert!(rest.bring(&as_pages(&blob), unknown, &how(), &Silent).is_err());
}

#[test]
fn a_dressed_seed_is_no_seed_any_more() {
    let mut bed = Bed::new(13);
    for blocks in [80, 10] {
        bed.point(blocks);
    }
    let (frames, stops) = (bed.frames(), bed.stops());
    let line = Line { frames: &frames, stops: &stops };
    let blob = blob();
    let repaired = vec![3; usize::try_from(stops[0].disk.bytes).unwrap()];
    let on_top = OnTop { content: &repaired, blocks: &[0, 5] };
    let source = stops[0].source(&frames);
    assert!(dress(&as_pages(&blob), &source, &on_top, &how()).is_err(), "it is at no point");
    line.bring(&as_pages(&blob), stops[0].point, &how(), &Silent).unwrap();
    assert_eq!(dress(&as_pages(&blob), &source, &on_top, &how()).unwrap(), 2);
    let content = blob.content();
    assert!(content[..65_536].iter().all(|byte| *byte == 3));
    assert!(content[65_536..5 * 65_536] == bed.points[0].1[65_536..5 * 65_536]);
    assert_eq!(&content[content.len() - 512..][..8], b"conectix");
    assert!(line.bring(&as_pages(&blob), stops[1].point, &how(), &Silent).is_err());
}
