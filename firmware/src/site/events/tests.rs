//! The log of what happened.

use hal_sim::clock::SimClock;
use hal_sim::random::Random;

use super::*;
use crate::admin::keep::{Keep, MemoryKeep};

fn note(health: Health, object: &str, words: &str) -> Note {
    Note { health, kind: "tested", object: object.to_owned(), words: words.to_owned(), by: None }
}

fn log() -> Arc<Events> {
    Arc::new(Events::new(Arc::new(SimClock::default())))
}

fn numbers(page: &EventPage) -> Vec<u64> {
    page.events.iter().map(|event| event.number).collect()
}

#[test]
fn the_newest_are_kept_and_numbers_never_come_twice() {
    let events = log();
    for number in 1..=6000 {
        assert_eq!(events.note(note(Health::Good, "appliance", "again")), number);
    }
    let all = events.all();
    assert_eq!((all.len(), all[0].number, events.newest()), (EVENTS_MAX, 1001, 6000));
}

#[test]
fn events_are_found_by_words_object_and_how_bad_they_are() {
    let events = log();
    events.note(note(Health::Bad, "server web1", "RPO missed: 90 s"));
    events.note(note(Health::Off, "server web1", "paused"));
    events.note(Note { by: Some("Ärni".to_owned()), ..note(Health::Good, "vault", "opened") });
    events.note(note(Health::Attention, "server db", "rpo near its target"));
    let find = |filter: EventFilter| numbers(&events.find(&filter));
    let none = EventFilter::default;
    assert_eq!(find(none()), [4, 3, 2, 1]);
    assert_eq!(find(EventFilter { text: Some("RPO".to_owned()), ..none() }), [4, 1]);
    assert_eq!(find(EventFilter { text: Some("äRNI".to_owned()), ..none() }), [3]);
    assert_eq!(find(EventFilter { at_least: Some(Health::Attention), ..none() }), [4, 1]);
    assert_eq!(find(EventFilter { object: Some("server web1".to_owned()), ..none() }), [2, 1]);
    let page = events.find(&EventFilter { limit: Some(2), before: Some(4), ..none() });
    assert_eq!((numbers(&page), page.more), (vec![3, 2], true));
    let page = events.find(&EventFilter { limit: Some(0), before: Some(2), ..none() });
    assert_eq!((numbers(&page), page.more), (vec![1], false));
}

#[test]
fn who_follows_misses_nothing_and_who_is_slow_costs_nothing() {
    let events = log();
    events.note(note(Health::Good, "appliance", "before"));
    let (mut now, mut slow) = (events.subscribe(), events.subscribe_after(0));
    let mut stranger = events.subscribe_after(999);
    for _ in 0..5500 {
        events.note(note(Health::Good, "appliance", "while it slept"));
    }
    assert_eq!(smol::block_on(now.next()).number, 502, "the oldest that is kept");
    assert_eq!(slow.try_next().map(|event| event.number), Some(502));
    assert_eq!(stranger.try_next().map(|event| event.number), Some(502));
    while slow.try_next().is_some() {}
    let waits = std::thread::spawn(move || smol::block_on(slow.next()).number);
    events.note(note(Health::Good, "appliance", "at last"));
    assert_eq!(waits.join().unwrap(), 5502);
    drop((now, stranger));
    events.note(note(Health::Good, "appliance", "nobody hears it"));
    assert_eq!(events.lock().wakes.len(), 0);
}

#[test]
fn whatever_is_noted_has_an_end() {
    let events = log();
    events.note(note(Health::Good, &"ö".repeat(9999), &"ü".repeat(99_999)));
    let all = events.all();
    assert!(all[0].object.len() <= NAME_BYTES_MAX + 3 && all[0].words.len() <= WORDS_BYTES_MAX + 3);
}

#[test]
fn a_restart_keeps_the_log_and_takes_no_number_twice() {
    let clock = || Arc::new(SimClock::default());
    let keep = MemoryKeep::default();
    let events = Arc::new(Events::open(clock(), &keep));
    assert!(events.all().is_empty());
    let mut random = Random::new(3);
    for _ in 0..5500 {
        let (server, seconds) = (random.below(50), random.below(5000));
        let words = format!("The newest point is {seconds} s old, the target is 60 s.");
        events.note(note(Health::Attention, &format!("server web{server}"), &words));
    }
    events.save(&keep).unwrap();
    events.note(note(Health::Good, "appliance", "not written down before the power went"));
    let again = Arc::new(Events::open(clock(), &keep));
    let (kept, before) = (again.all(), events.all());
    // The newest without a hole, all of them where they are as these.
    assert_eq!(kept.len(), EVENTS_MAX);
    assert_eq!(kept[1..], before[..EVENTS_MAX - 1]);
    assert!(again.note(note(Health::Good, "appliance", "after it")) > events.newest());
    keep.write("events-before", b"damaged").unwrap();
    let without = Arc::new(Events::open(clock(), &keep));
    assert!(!without.all().is_empty() && without.newest() >= 5500);
}
