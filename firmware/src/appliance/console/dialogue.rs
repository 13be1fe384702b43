//! What a key does: to an open question, or as a wish of the person at the console. Pure.

use super::keys::Key;
use super::screen::{Entry, key_of};
use crate::appliance::board::{Answer, Kind, Question};

/// Longest text that is typed: a recovery key and a shared access signature are shorter.
const TEXT_MAX: usize = 2048;

/// What a person at the console wishes when nothing is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Network settings.
    Network,
    /// Protect this machine's disks.
    Capture,
    /// Bring a server back onto this machine.
    Recover,
    /// Give the spool a disk.
    Spool,
    /// Let a server in.
    Token,
    /// Forget the administrator.
    Administrator,
    /// Change what opens what is remembered.
    Key,
    /// Put in a new version.
    Update,
    /// Power off or restart.
    ShutDown,
}

/// What comes of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing, or what is typed changed.
    None,
    /// The open question is answered.
    Answer(Answer),
    /// A wish.
    Wish(Wish),
    /// Everything is to be drawn again.
    Redraw,
}

/// What an entry begins with when a question opens.
pub(crate) fn begin(question: &Question) -> Entry {
    match &question.kind {
        Kind::Text(given) => Entry { text: given.clone(), place: 0 },
        _ => Entry::default(),
    }
}

/// A key is pressed.
pub(crate) fn press(key: Key, question: Option<&Question>, entry: &mut Entry) -> Effect {
    if key == Key::Redraw {
        return Effect::Redraw;
    }
    match question.map(|question| &question.kind) {
        None => wish(key).map_or(Effect::None, Effect::Wish),
        Some(_) if key == Key::Escape => Effect::Answer(Answer::None),
        Some(Kind::Choice(choices)) => choose(key, choices.len(), entry),
        Some(Kind::Text(_) | Kind::Secret) => type_in(key, entry),
    }
}

fn wish(key: Key) -> Option<Wish> {
    match key {
        Key::Letter('n' | 'N') => Some(Wish::Network),
        Key::Letter('c' | 'C') => Some(Wish::Capture),
        Key::Letter('r' | 'R') => Some(Wish::Recover),
        Key::Letter('d' | 'D') => Some(Wish::Spool),
        Key::Letter('t' | 'T') => Some(Wish::Token),
        Key::Letter('a' | 'A') => Some(Wish::Administrator),
        Key::Letter('k' | 'K') => Some(Wish::Key),
        Key::Letter('u' | 'U') => Some(Wish::Update),
        Key::Letter('s' | 'S') => Some(Wish::ShutDown),
        _ => None,
    }
}

fn choose(key: Key, choices: usize, entry: &mut Entry) -> Effect {
    let last = choices.saturating_sub(1);
    entry.place = entry.place.min(last);
    match key {
        Key::Up => entry.place = entry.place.saturating_sub(1),
        Key::Down => entry.place = (entry.place + 1).min(last),
        Key::Enter if choices > 0 => return Effect::Answer(Answer::Chosen(entry.place)),
        Key::Letter(letter) => {
            if let Some(place) = (0..choices.min(9)).find(|place| key_of(*place) == Some(letter)) {
                entry.place = place;
                return Effect::Answer(Answer::Chosen(place));
            }
        }
        _ => {}
    }
    Effect::None
}

fn type_in(key: Key, entry: &mut Entry) -> Effect {
    match key {
        Key::Letter(letter) if entry.text.len() < TEXT_MAX => entry.text.push(letter),
        Key::Backspace => {
            entry.text.pop();
        }
        Key::Enter => return Effect::Answer(Answer::Typed(entry.text.clone())),
        _ => {}
    }
    Effect::None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(kind: Kind) -> Question {
        Question { title: String::new(), words: Vec::new(), kind }
    }

    fn play(kind: Kind, keys: &[Key]) -> Effect {
        let question = question(kind);
        let mut entry = begin(&question);
        let effects = keys.iter().map(|key| press(*key, Some(&question), &mut entry));
        effects.last().unwrap()
    }

    fn choices(count: usize) -> Kind {
        Kind::Choice((0..count).map(|number| number.to_string()).collect())
    }

    #[test]
    fn lists_are_walked_and_jumped_into() {
        use Key::{Down, Enter, Letter, Up};
        assert_eq!(
            play(choices(3), &[Down, Down, Down, Up, Enter]),
            Effect::Answer(Answer::Chosen(1))
        );
        assert_eq!(play(choices(3), &[Letter('3')]), Effect::Answer(Answer::Chosen(2)));
        assert_eq!(play(choices(3), &[Letter('4')]), Effect::None);
        assert_eq!(play(choices(3), &[Letter('0')]), Effect::None);
        assert_eq!(play(choices(0), &[Enter]), Effect::None);
        assert_eq!(play(choices(3), &[Key::Escape]), Effect::Answer(Answer::None));
    }

    #[test]
    fn text_is_typed_and_mended() {
        use Key::{Backspace, Enter, Letter};
        let typed = |text: &str| Effect::Answer(Answer::Typed(text.to_owned()));
        let keys = [Letter('b'), Letter('x'), Backspace, Enter];
        assert_eq!(play(Kind::Text("a".to_owned()), &keys), typed("ab"));
        assert_eq!(play(Kind::Secret, &keys), typed("b"));
        assert_eq!(play(Kind::Secret, &[Backspace, Enter]), typed(""));
    }

    #[test]
    fn wishes_are_one_key_and_only_when_nothing_is_asked() {
        let press = |key| press(key, None, &mut Entry::default());
        assert_eq!(press(Key::Letter('s')), Effect::Wish(Wish::ShutDown));
        assert_eq!(press(Key::Letter('d')), Effect::Wish(Wish::Spool));
        assert_eq!(press(Key::Letter('u')), Effect::Wish(Wish::Update));
        assert_eq!(press(Key::Letter('t')), Effect::Wish(Wish::Token));
        assert_eq!(press(Key::Letter('a')), Effect::Wish(Wish::Administrator));
        assert_eq!(press(Key::Letter('R')), Effect::Wish(Wish::Recover));
        assert_eq!(press(Key::Enter), Effect::None);
        assert_eq!(press(Key::Redraw), Effect::Redraw);
    }
}
