//! What everybody may write on and the console shows: one plain view of the machine, and the questions put to a person.
//!
//! It refuses to draw: it holds what is so, and wakes whoever waits for a change.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Messages kept for the console.
const MESSAGES_MAX: usize = 100;

/// A long piece of work, as the console shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Job {
    /// What is being done.
    pub(crate) title: String,
    /// Bytes dealt with.
    pub(crate) done: u64,
    /// Bytes to deal with, 0 while unknown.
    pub(crate) total: u64,
    /// Rate, time left.
    pub(crate) words: String,
}

/// The machine as the console shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// What the machine is called.
    pub(crate) name: String,
    /// The image's version.
    pub(crate) version: String,
    /// What it is to be; empty until that is known.
    pub(crate) role: String,
    /// What it is at, in a few words.
    pub(crate) status: String,
    /// The wall clock, to the minute.
    pub(crate) time: String,
    /// How it is reached.
    pub(crate) addresses: Vec<String>,
    /// What to open in a browser.
    pub(crate) page: Option<String>,
    /// Of the certificate that it shows to browsers and agents.
    pub(crate) fingerprint: Option<String>,
    /// The code that pairs, while nobody manages the machine.
    pub(crate) pairing: Option<String>,
    /// Where the vault is and how it fares.
    pub(crate) vault: String,
    /// How the state partition fares.
    pub(crate) state: String,
    /// Which disk is the spool and how it fares; empty where the machine has none.
    pub(crate) spool: String,
    /// Why the disk that was given to the spool is not used, where it is not.
    pub(crate) spool_trouble: Option<String>,
    /// How agents fare; empty where none are taken in this role.
    pub(crate) agents: String,
    /// One line each.
    pub(crate) disks: Vec<String>,
    /// One line each.
    pub(crate) nics: Vec<String>,
    /// The last thing that went wrong.
    pub(crate) last_error: Option<String>,
    /// What takes long just now.
    pub(crate) job: Option<Job>,
    /// What was said last, oldest first.
    pub(crate) messages: VecDeque<String>,
    /// What a person is asked.
    pub(crate) question: Option<Question>,
}

/// What is asked of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// In a few words.
    pub(crate) title: String,
    /// What there is to know before answering.
    pub(crate) words: Vec<String>,
    /// What kind of answer.
    pub(crate) kind: Kind,
}

/// What kind of answer is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One of these.
    Choice(Vec<String>),
    /// A line of text; what is given is there already and may be changed.
    Text(String),
    /// A line of text that is not shown.
    Secret,
}

/// What a person answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The place in the list.
    Chosen(usize),
    /// What was typed.
    Typed(String),
    /// Nothing: escape was pressed, or the machine is going down.
    None,
}

#[derive(Default)]
struct Inner {
    view: View,
    /// Counts changes.
    version: u64,
    answer: Option<Answer>,
    closed: bool,
}

/// The view, shared.
#[derive(Default)]
pub(crate) struct Board {
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Held while a question is open: one person, one question.
    asking: Mutex<()>,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the view; nobody is woken where nothing changed.
    pub(crate) fn update(&self, change: impl FnOnce(&mut View)) {
        let mut inner = self.lock();
        let before = inner.view.clone();
        change(&mut inner.view);
        if inner.view != before {
            inner.version += 1;
            self.changed.notify_all();
        }
    }

    /// Adds a message, the oldest of too many going.
    pub(crate) fn message(&self, text: String) {
        self.update(|view| {
            view.messages.push_back(text);
            while view.messages.len() > MESSAGES_MAX {
                view.messages.pop_front();
            }
        });
    }

    /// The view as it is.
    pub(crate) fn view(&self) -> View {
        self.lock().view.clone()
    }

    /// The view and its version once that is another than `seen`, or after so long.
    pub(crate) fn wait(&self, seen: u64, patience: Duration) -> (View, u64) {
        let inner = self.lock();
        let waited =
            self.changed.wait_timeout_while(inner, patience, |inner| inner.version == seen);
        let inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        (inner.view.clone(), inner.version)
    }

    /// Puts a question to whoever is at the console and waits for the answer, however long that takes.
    pub(crate) fn ask(&self, question: Question) -> Answer {
        self.ask_within(question, Duration::MAX)
    }

    /// The same; after so long without an answer it is answered by nothing.
    pub(crate) fn ask_within(&self, question: Question, patience: Duration) -> Answer {
        let _one = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if self.lock().closed {
            return Answer::None;
        }
        self.lock().answer = None;
        self.update(|view| view.question = Some(question));
        let inner = self.lock();
        let waited = self
            .changed
            .wait_timeout_while(inner, patience, |inner| inner.answer.is_none() && !inner.closed)
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .answer
            .take();
        self.update(|view| view.question = None);
        waited.unwrap_or(Answer::None)
    }

    /// Answers the open question; without one nothing happens.
    pub(crate) fn answer(&self, answer: Answer) {
        let mut inner = self.lock();
        if inner.view.question.is_some() && inner.answer.is_none() {
            inner.answer = Some(answer);
            // The question goes at once, so that a second key does not answer it again.
            inner.view.question = None;
            inner.version += 1;
            self.changed.notify_all();
        }
    }

    /// The machine goes down: open questions are answered by nothing, new ones too.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.update(|view| view.question = None);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn question() -> Question {
        let kind = Kind::Choice(vec!["yes".to_owned(), "no".to_owned()]);
        Question { title: "Go on?".to_owned(), words: Vec::new(), kind }
    }

    #[test]
    fn only_a_change_wakes() {
        let board = Board::default();
        board.update(|view| view.status = "starting".to_owned());
        let (view, version) = board.wait(0, Duration::from_secs(10));
        assert_eq!((view.status.as_str(), version), ("starting", 1));
        board.update(|view| view.status = "starting".to_owned());
        assert_eq!(board.wait(1, Duration::from_millis(1)).1, 1);
        for number in 0..150 {
            board.message(number.to_string());
        }
        let messages = board.view().messages;
        assert_eq!((messages.len(), messages[0].as_str()), (100, "50"));
    }

    #[test]
    fn a_question_waits_for_its_answer_and_takes_one() {
        let board = Arc::new(Board::default());
        // Nothing is asked yet, so this answers nothing.
        board.answer(Answer::None);
        let asker = Arc::clone(&board);
        let (go_on, told) = std::sync::mpsc::channel();
        let asking = std::thread::spawn(move || {
            let first = asker.ask(question());
            // Not before the answer without a question was given, which this one would take.
            told.recv().unwrap();
            (first, asker.ask(question()))
        });
        let answer = |answer: Answer| {
            let mut version = 0;
            while board.view().question.is_none() {
                version = board.wait(version, Duration::from_millis(100)).1;
            }
            board.answer(answer);
        };
        answer(Answer::Chosen(1));
        board.answer(Answer::Chosen(0));
        go_on.send(()).unwrap();
        answer(Answer::Chosen(0));
        let (first, second) = asking.join().unwrap();
        assert_eq!(first, Answer::Chosen(1));
        assert_eq!(second, Answer::Chosen(0));
        assert_eq!(board.view().question, None);
    }

    #[test]
    fn a_question_with_a_limit_is_answered_by_nothing_in_the_end() {
        let board = Board::default();
        assert_eq!(board.ask_within(question(), Duration::from_millis(20)), Answer::None);
        assert_eq!(board.view().question, None);
    }

    #[test]
    fn going_down_answers_every_question() {
        let board = Arc::new(Board::default());
        let asker = Arc::clone(&board);
        let asking = std::thread::spawn(move || asker.ask(question()));
        while board.view().question.is_none() {
            std::thread::yield_now();
        }
        board.close();
        assert_eq!(asking.join().unwrap(), Answer::None);
        assert_eq!(board.ask(question()), Answer::None);
    }
}
