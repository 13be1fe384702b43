//! What stands: alerts are raised, told again, and over. Pure: readings and the time in, news out.
//!
//! What stands is remembered across restarts, so that an alert is raised once and its end is told too.

use std::collections::BTreeMap;

use firmware_web::api::views::alerts::AlertView;
use firmware_web::api::views::servers::Health;
use serde::{Deserialize, Serialize};

use super::rules::{Kind, Level, Reading};

/// Alerts that stand at once. One more is not raised before another is over: nobody reads so many.
pub const STANDING_MAX: usize = 256;
/// Longest name of an object: all of them have room in one document.
pub const OBJECT_BYTES_MAX: usize = 96;
/// Longest sentence.
pub const WORDS_BYTES_MAX: usize = 400;

/// What became of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "who tells it must have a word for each")]
pub enum Turn {
    /// It was raised.
    Raised,
    /// It still stands.
    Again,
    /// It is over.
    Over,
    /// Somebody tries whether messages come.
    Test,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// What became of it.
    pub turn: Turn,
    /// Of which alert.
    pub alert: AlertView,
}

/// What is remembered of an alert that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    kind: Kind,
    object: String,
    id: String,
    since: u64,
    told: u64,
}

/// An alert that stands, or may come to.
#[derive(Clone, Debug, Default)]
struct Entry {
    alert: Option<AlertView>,
    /// Since when it holds without being told, and since when it is gone without being over: by a clock that only runs
    /// forwards.
    holds: Option<u64>,
    gone: Option<u64>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Board {
    entries: BTreeMap<(Kind, String), Entry>,
}

/// What time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// By the wall clock, for people.
    pub now: u64,
    /// By a clock that only runs forwards, for waiting. Milliseconds both.
    pub moment: u64,
}

impl Board {
    /// As remembered.
    #[must_use]
    pub fn remembered(kept: Vec<Kept>) -> Self {
        let entry = |kept: Kept| {
            let alert = AlertView {
                id: kept.id,
                kind: kept.kind.word().to_owned(),
                object: kept.object.clone(),
                health: Health::Attention,
                words: "It was so when the program ended, and has not been looked at since"
                    .to_owned(),
                remedy: String::new(),
                since_millis: kept.since,
                told_millis: kept.told,
            };
            ((kept.kind, kept.object), Entry { alert: Some(alert), ..Entry::default() })
        };
        Self { entries: kept.into_iter().take(STANDING_MAX).map(entry).collect() }
    }

    /// To be remembered.
    #[must_use]
    pub fn kept(&self) -> Vec<Kept> {
        let kept = |((kind, object), entry): (&(Kind, String), &Entry)| {
            let alert = entry.alert.as_ref()?;
            let (id, since, told) = (alert.id.clone(), alert.since_millis, alert.told_millis);
            Some(Kept { kind: *kind, object: object.clone(), id, since, told })
        };
        self.entries.iter().filter_map(kept).collect()
    }

    /// What stands, the worst first, then the oldest.
    #[must_use]
    pub fn standing(&self) -> Vec<AlertView> {
        let mut standing: Vec<AlertView> =
            self.entries.values().filter_map(|entry| entry.alert.clone()).collect();
        standing.sort_by_key(|alert| (core::cmp::Reverse(alert.health), alert.since_millis));
        standing
    }

    /// Takes what the rules say, and answers what is news. `again` is after how long what stands is told again; 0 for never.
    /// `identity` names a new alert.
    pub fn take(
        &mut self,
        readings: &[Reading],
        times: Times,
        again: u64,
        identity: &mut dyn FnMut() -> String,
    ) -> Vec<News> {
        let mut news = Vec::new();
        let mut spoken = Vec::new();
        let mut standing = self.entries.values().filter(|entry| entry.alert.is_some()).count();
        for reading in readings {
            let key = (reading.kind, cut(&reading.object, OBJECT_BYTES_MAX));
            let entry = self.entries.entry(key.clone()).or_default();
            let told = entry.take(reading, &key.1, times, standing >= STANDING_MAX, identity);
            match told.as_ref().map(|news| news.turn) {
                Some(Turn::Raised) => standing += 1,
                Some(Turn::Over) => standing -= 1,
                _ => {}
            }
            news.extend(told);
            news.extend(entry.again(times.now, again));
            spoken.push(key);
        }
        // Of what is not spoken of any more, a server that was removed, nothing is left to tell.
        spoken.sort_unstable();
        let gone =
            |key: &(Kind, String)| key.0 != Kind::Tripwire && spoken.binary_search(key).is_err();
        for (_, entry) in self.entries.extract_if(.., |key, _| gone(key)) {
            news.extend(entry.alert.map(|alert| News { turn: Turn::Over, alert }));
        }
        self.entries.retain(|_, entry| entry.alert.is_some() || entry.holds.is_some());
        news
    }
}

impl Entry {
    fn take(
        &mut self,
        reading: &Reading,
        object: &str,
        times: Times,
        is_full: bool,
        identity: &mut dyn FnMut() -> String,
    ) -> Option<News> {
        match reading.level {
            Level::Raise => self.gone = None,
            Level::Clear => self.holds = None,
            Level::Between => {
                self.gone = None;
                self.holds = None;
            }
        }
        match (&mut self.alert, reading.level) {
            (None, Level::Raise) => {
                let since = *self.holds.get_or_insert(times.moment);
                if is_full || times.moment.saturating_sub(since) < reading.raise_millis {
                    return None;
                }
                let alert = AlertView {
                    id: identity(),
                    kind: reading.kind.word().to_owned(),
                    object: object.to_owned(),
                    health: reading.health,
                    words: cut(&reading.words, WORDS_BYTES_MAX),
                    remedy: reading.remedy.to_owned(),
                    since_millis: times.now,
                    told_millis: times.now,
                };
                self.alert = Some(alert.clone());
                Some(News { turn: Turn::Raised, alert })
            }
            (Some(alert), Level::Raise) => {
                alert.health = reading.health;
                alert.words = cut(&reading.words, WORDS_BYTES_MAX);
                alert.remedy = reading.remedy.to_owned();
                None
            }
            (Some(_), Level::Clear) => {
                let since = *self.gone.get_or_insert(times.moment);
                if times.moment.saturating_sub(since) < reading.over_millis {
                    return None;
                }
                let alert = self.alert.take()?;
                Some(News { turn: Turn::Over, alert })
            }
            _ => None,
        }
    }

    fn again(&mut self, now: u64, again: u64) -> Option<News> {
        let alert = self.alert.as_mut()?;
        // A clock that was set back is no reason to be silent for ever.
        let since = now.abs_diff(alert.told_millis);
        if again == 0 || since < again {
            return None;
        }
        alert.told_millis = now;
        Some(News { turn: Turn::Again, alert: alert.clone() })
    }
}

/// The text without what is too long of it.
pub(crate) fn cut(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn reading(object: &str, level: Level) -> Reading {
        Reading {
            kind: Kind::RpoMissed,
            object: object.to_owned(),
            level,
            health: Health::Bad,
            words: format!("{object} is late"),
            remedy: "hurry",
            raise_millis: 30_000,
            over_millis: 60_000,
        }
    }

    /// A board, its clock in seconds, and names that count.
    #[derive(Default)]
    struct Bed {
        board: Board,
        names: u32,
    }

    impl Bed {
        fn at(&mut self, second: u64, readings: &[Reading]) -> Vec<(Turn, String)> {
            let times = Times { now: 1_000_000 + second * 1000, moment: second * 1000 };
            let names = &mut self.names;
            let mut identity = || {
                *names += 1;
                names.to_string()
            };
            let news = self.board.take(readings, times, HOUR, &mut identity);
            news.into_iter().map(|news| (news.turn, news.alert.id)).collect()
        }
    }

    #[test]
    fn an_alert_is_raised_once_told_again_and_over_once() {
        let mut bed = Bed::default();
        let one = |level| [reading("web1", level)];
        assert_eq!(bed.at(0, &one(Level::Raise)), []);
        assert_eq!(bed.at(15, &one(Level::Raise)), []);
        assert_eq!(bed.at(30, &one(Level::Raise)), [(Turn::Raised, "1".to_owned())]);
        (31..3600).step_by(15).for_each(|at| assert_eq!(bed.at(at, &one(Level::Raise)), []));
        assert_eq!(bed.at(3630, &one(Level::Raise)), [(Turn::Again, "1".to_owned())]);
        assert_eq!(bed.at(3640, &one(Level::Clear)), []);
        assert_eq!(bed.at(3699, &one(Level::Clear)), []);
        assert_eq!(bed.at(3700, &one(Level::Clear)), [(Turn::Over, "1".to_owned())]);
        assert_eq!(bed.at(3715, &one(Level::Clear)), []);
        assert!(bed.board.entries.is_empty(), "nothing of it is left");
    }

    #[test]
    fn what_sways_is_neither_raised_nor_over() {
        let mut bed = Bed::default();
        for at in (0..600).step_by(30) {
            let level = if at % 60 == 0 { Level::Raise } else { Level::Clear };
            assert_eq!(bed.at(at, &[reading("web1", level)]), []);
        }
        bed.at(700, &[reading("web1", Level::Raise)]);
        assert_eq!(bed.at(730, &[reading("web1", Level::Raise)]).len(), 1);
        for at in (740..2000).step_by(30) {
            let level = if at % 60 == 20 { Level::Raise } else { Level::Clear };
            assert_eq!(bed.at(at, &[reading("web1", level)]), []);
        }
        (2000..2200)
            .step_by(30)
            .for_each(|at| assert_eq!(bed.at(at, &[reading("web1", Level::Between)]), []));
    }

    #[test]
    fn what_stands_outlives_a_restart_and_a_server_that_is_gone_ends_it() {
        let mut bed = Bed::default();
        bed.at(0, &[reading("web1", Level::Raise), reading("web2", Level::Raise)]);
        assert_eq!(
            bed.at(40, &[reading("web1", Level::Raise), reading("web2", Level::Raise)]).len(),
            2
        );
        let kept = serde_json::to_vec(&bed.board.kept()).unwrap();
        bed.board = Board::remembered(serde_json::from_slice(&kept).unwrap());
        assert_eq!(bed.at(0, &[reading("web1", Level::Raise), reading("web2", Level::Raise)]), []);
        assert_eq!(bed.board.standing()[0].words, "web1 is late");
        assert_eq!(bed.at(10, &[reading("web2", Level::Raise)]), [(Turn::Over, "1".to_owned())]);
    }

    #[test]
    fn there_are_no_more_than_so_many_and_all_of_them_fit_into_a_document() {
        let mut bed = Bed::default();
        let many: Vec<Reading> = (0..STANDING_MAX + 50)
            .map(|at| reading(&format!("{at:0>200}"), Level::Raise))
            .collect();
        bed.at(0, &many);
        assert_eq!(bed.at(30, &many).len(), 1, "names are cut, and these are one then");
        let mut bed = Bed::default();
        let many: Vec<Reading> = (0..STANDING_MAX + 50)
            .map(|at| reading(&format!("server {at:0>89}"), Level::Raise))
            .collect();
        bed.at(0, &many);
        assert_eq!(bed.at(30, &many).len(), STANDING_MAX);
        let bytes = serde_json::to_vec(&bed.board.kept()).unwrap().len();
        assert!(bytes < crate::admin::keep::DOCUMENT_BYTES_MAX, "{bytes}");
    }
}
