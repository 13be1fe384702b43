//! When the vault is read, what is held, and what outlives a restart.

use std::sync::{Mutex, PoisonError};

use hal_linux::SystemClock;

use super::*;
use crate::admin::keep::MemoryKeep;

const MINUTE: u64 = 60_000;

/// Hands that see what they are told to, hold no point of those that they are told of, and note what they are asked.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>, Arc<Mutex<Look>>, Arc<Mutex<Vec<(String, Error)>>>);

impl Notes {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Hands for Notes {
    fn look(&mut self, _: &str, before: &str, after: &str) -> Result<Look, Error> {
        self.0.lock().unwrap().push(format!("look {before} {after}"));
        Ok(*self.1.lock().unwrap())
    }

    fn hold(&mut self, _: &str, points: &[String], _: &str, millis: u64) -> Vec<(String, Error)> {
        self.0.lock().unwrap().push(format!("hold {} {}", points.join(" "), millis / DAY_MILLIS));
        let failing = self.2.lock().unwrap();
        failing.iter().filter(|(point, _)| points.contains(point)).cloned().collect()
    }
}

/// Two days of a quiet server, a point every five minutes, the newest last.
fn quiet() -> Vec<PointView> {
    let now = SystemClock.now().0;
    let point = |at: u64| PointView {
        id: format!("p{at}"),
        at_millis: now - (600 - at) * 5 * MINUTE,
        consistency: if at.is_multiple_of(12) { "application" } else { "crash" }.to_owned(),
        new_blocks: 40,
        stored_bytes: 40 * 65_536 / 3,
        ..PointView::default()
    };
    (0..600).map(point).collect()
}

fn give(all: &[PointView]) -> impl Fn(Option<u64>, usize) -> Vec<PointView> + '_ {
    move |before, limit| {
        let good = |point: &&PointView| before.is_none_or(|before| point.at_millis <= before);
        all.iter().rev().filter(good).take(limit).cloned().collect()
    }
}

fn encrypted(points: &mut Vec<PointView>) {
    let last = points.last().unwrap().clone();
    let number = points.len();
    points.push(PointView {
        id: format!("p{number}"),
        at_millis: last.at_millis + 5 * MINUTE,
        consistency: "crash".to_owned(),
        new_blocks: 2000,
        stored_bytes: 2000 * 65_536,
        ..PointView::default()
    });
}

/// As it is after each start.
fn opened(notes: &Notes, keep: &Arc<MemoryKeep>) -> Tripwire {
    let keep = Arc::clone(keep) as Arc<dyn Keep>;
    Tripwire::open(Box::new(notes.clone()), keep, Arc::new(SystemClock))
}

#[test]
fn the_last_good_points_are_held_once_and_the_alarm_outlives_a_restart() {
    let (notes, keep) = (Notes::default(), Arc::new(MemoryKeep::default()));
    *notes.1.lock().unwrap() = Look { blocks: 90, turned: 80, noise: 85 };
    let open = || opened(&notes, &keep);
    let mut tripwire = open();
    let rules = AlertRules::default();
    let mut points = quiet();
    tripwire.look_at("web1", &give(&points), &rules);
    assert!(notes.all().is_empty() && tripwire.readings().is_empty());
    for _ in 0..4 {
        encrypted(&mut points);
        tripwire.look_at("web1", &give(&points), &rules);
    }
    let told = tripwire.readings();
    assert_eq!(told.len(), 1);
    assert!(
        told[0].words.contains("80 of 90") && told[0].words.contains("p599"),
        "{}",
        told[0].words
    );
    // The last before it, the one before that, the application-consistent one, one an hour and one a day older.
    let all = notes.all();
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all[0].starts_with("look p599 p600"), "{all:?}");
    assert_eq!(all[1], "hold p599 p598 p588 p587 p311 30");
    let mut again = open();
    assert_eq!(again.readings(), told);
    again.look_at("web1", &give(&points), &rules);
    assert_eq!(notes.all().len(), 2, "it is known already");
}

#[test]
fn what_cannot_be_held_keeps_nothing_else_from_it_and_is_tried_until_it_is_held() {
    let (notes, keep) = (Notes::default(), Arc::new(MemoryKeep::default()));
    *notes.1.lock().unwrap() = Look { blocks: 90, turned: 80, noise: 85 };
    let away = |point: &str| (point.to_owned(), Error::device("the vault", "is away"));
    let gone = ("p598".to_owned(), Error::misuse("point p598", "was pruned a moment ago"));
    *notes.2.lock().unwrap() = vec![away("p599"), gone, away("p587")];
    let open = || opened(&notes, &keep);
    let mut tripwire = open();
    let rules = AlertRules::default();
    let mut points = quiet();
    encrypted(&mut points);
    encrypted(&mut points);
    for name in ["web1", "web2"] {
        tripwire.look_at(name, &give(&points), &rules);
    }
    // Each server's are held as far as they can be, and it is said which are not.
    let told = tripwire.readings();
    assert_eq!(told.len(), 2);
    for reading in &told {
        for words in [
            "kept for 30 days: p588, p311",
            "NOT KEPT yet, and tried again: p599, p587",
            "NOT KEPT, and cannot be: p598",
        ] {
            assert!(reading.words.contains(words), "{} lacks {words}", reading.words);
        }
    }
    // The same minute again, with nothing new: what is owed is tried, and by a program that was started anew too.
    notes.2.lock().unwrap().remove(2);
    tripwire.look_at("web1", &give(&points), &rules);
    assert_eq!(notes.all().last().unwrap(), "hold p599 p587 30");
    notes.2.lock().unwrap().clear();
    let mut again = open();
    again.look_at("web1", &give(&points), &rules);
    assert_eq!(notes.all().last().unwrap(), "hold p599 30");
    let words = again.readings()[0].words.clone();
    assert!(words.contains("kept for 30 days: p588, p311, p587, p599; NOT KEPT, and"), "{words}");
    let asked = notes.all().len();
    again.look_at("web1", &give(&points), &rules);
    assert_eq!(notes.all().len(), asked, "nothing is owed any more");
}

#[test]
fn an_alarm_of_a_program_from_before_is_read() {
    let keep = Arc::new(MemoryKeep::default());
    keep.write(
        DOCUMENT,
        format!(r#"[{{"server":"web1","last":{},"words":"it jumped"}}]"#, SystemClock.now().0)
            .as_bytes(),
    )
    .unwrap();
    let mut tripwire = Tripwire::open(Box::new(Notes::default()), keep, Arc::new(SystemClock));
    assert_eq!(tripwire.readings()[0].words, "it jumped");
}

#[test]
fn a_jump_that_is_no_encrypting_raises_nothing_and_is_not_looked_at_at_every_point() {
    let notes = Notes::default();
    *notes.1.lock().unwrap() = Look { blocks: 90, turned: 3, noise: 90 };
    let mut tripwire = Tripwire::open(
        Box::new(notes.clone()),
        Arc::new(MemoryKeep::default()),
        Arc::new(SystemClock),
    );
    let mut points = quiet();
    for _ in 0..20 {
        encrypted(&mut points);
        tripwire.look_at("web1", &give(&points), &AlertRules::default());
    }
    assert!(tripwire.readings().is_empty());
    let looks = notes.all();
    assert!(
        (1..=3).contains(&looks.len()) && looks.iter().all(|note| note.starts_with("look")),
        "{looks:?}"
    );
}
