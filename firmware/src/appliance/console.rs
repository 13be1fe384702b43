//! The console: the screen and the serial line show the same, and a person may type on either.
//!
//! Each device has a thread that draws and one that reads, so that a serial line that takes nothing holds up nobody. There
//! is no shell and no login behind it: a key is a wish or an answer, nothing else.

use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::OFlags;
use rustix::termios::{OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};

use super::board::{Board, Question};
use dialogue::{Effect, Wish, begin, press};
use keys::Keys;
use screen::{Entry, render};
use terminal::Terminal;

/// What a key does.
pub(crate) mod dialogue;
/// Bytes into keys.
pub(crate) mod keys;
/// The view as rows of text.
pub(crate) mod screen;
/// Rows of text onto a terminal.
pub(crate) mod terminal;

/// A device is drawn on no more often: a serial line needs the time.
const PACE: Duration = Duration::from_millis(250);
/// The view is looked at this often although nothing changed, for terminals that were switched on late.
const LOOK: Duration = Duration::from_secs(5);

/// What is typed, shared by all devices.
#[derive(Default)]
struct Typing {
    question: Option<Question>,
    entry: Entry,
    /// Counts changes.
    version: u64,
    /// Counts the wishes to draw everything again.
    redraws: u64,
}

/// The console on all its devices.
pub(crate) struct Console {
    board: Arc<Board>,
    typing: Arc<Mutex<Typing>>,
    wish: Arc<dyn Fn(Wish) + Send + Sync>,
}

impl Console {
    /// A console that tells wishes to `wish`.
    pub(crate) fn new(board: &Arc<Board>, wish: Arc<dyn Fn(Wish) + Send + Sync>) -> Self {
        Self { board: Arc::clone(board), typing: Arc::default(), wish }
    }

    /// Shows itself on a device such as `ttyS0`. What goes wrong on one keeps no other from working.
    pub(crate) fn show_on(&self, device: &str) -> Result<(), String> {
        let path = PathBuf::from("/dev").join(device);
        let open = || {
            OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags_of(OFlags::NOCTTY)
                .open(&path)
                .map_err(|error| format!("{}: {error}", path.display()))
        };
        let (reader, writer) = (open()?, open()?);
        set_raw(&reader);
        let (board, typing) = (Arc::clone(&self.board), Arc::clone(&self.typing));
        let draw = move || draw(writer, &board, &typing);
        let (board, typing, wish) =
            (Arc::clone(&self.board), Arc::clone(&self.typing), Arc::clone(&self.wish));
        let read = move || read(reader, &board, &typing, &*wish);
        let thread = |name: &str| std::thread::Builder::new().name(format!("{device} {name}"));
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        thread("screen").spawn(draw).map_err(failed)?;
        thread("keys").spawn(read).map_err(failed)?;
        Ok(())
    }
}

/// `custom_flags` of the standard library, in rustix's words.
trait CustomFlags {
    fn custom_flags_of(&mut self, flags: OFlags) -> &mut Self;
}

impl CustomFlags for OpenOptions {
    fn custom_flags_of(&mut self, flags: OFlags) -> &mut Self {
        use std::os::unix::fs::OpenOptionsExt;
        self.custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
    }
}

/// Every key at once, none echoed; a read comes back empty after half a second without one.
fn set_raw(device: &File) {
    let Ok(mut settings) = tcgetattr(device) else { return };
    settings.make_raw();
    settings.special_codes[SpecialCodeIndex::VMIN] = 0;
    settings.special_codes[SpecialCodeIndex::VTIME] = 5;
    if let Err(errno) = tcsetattr(device, OptionalActions::Now, &settings) {
        log::info!("a console device keeps its settings: {errno}");
    }
}

fn draw(mut device: File, board: &Board, typing: &Mutex<Typing>) {
    let mut terminal = Terminal::default();
    let mut seen = (0, 0, 0);
    loop {
        let (view, version) = board.wait(seen.0, LOOK.min(PACE));
        let (entry, typed, redraws) = {
            let mut typing = typing.lock().unwrap_or_else(PoisonError::into_inner);
            follow(&mut typing, view.question.as_ref());
            (typing.entry.clone(), typing.version, typing.redraws)
        };
        if redraws != seen.2 {
            terminal.forget();
        }
        if (version, typed, redraws) != seen {
            let text = terminal.draw(&render(&view, &entry));
            if device.write_all(text.as_bytes()).and_then(|()| device.flush()).is_err() {
                // Unplugged or hung up: what it shows is unknown now.
                terminal.forget();
                std::thread::sleep(LOOK);
            }
            seen = (version, typed, redraws);
            std::thread::sleep(PACE);
        }
    }
}

/// A question that opened or went makes for a new entry.
fn follow(typing: &mut Typing, question: Option<&Question>) {
    if typing.question.as_ref() != question {
        typing.entry = question.map(begin).unwrap_or_default();
        typing.question = question.cloned();
        typing.version += 1;
    }
}

fn read(mut device: File, board: &Board, typing: &Mutex<Typing>, wish: &dyn Fn(Wish)) {
    let mut keys = Keys::default();
    let mut bytes = [0_u8; 64];
    loop {
        let pressed: Vec<_> = match device.read(&mut bytes) {
            Ok(0) => keys.pause().into_iter().collect(),
            Ok(read) => {
                let read = bytes.get(..read).unwrap_or_default();
                read.iter().filter_map(|byte| keys.take(*byte)).collect()
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Vec::new(),
            Err(_) => {
                // A terminal that was hung up comes back.
                std::thread::sleep(LOOK);
                Vec::new()
            }
        };
        for key in pressed {
            let mut typing = typing.lock().unwrap_or_else(PoisonError::into_inner);
            let question = board.view().question;
            follow(&mut typing, question.as_ref());
            let effect = press(key, question.as_ref(), &mut typing.entry);
            typing.version += 1;
            if effect == Effect::Redraw {
                typing.redraws += 1;
            }
            drop(typing);
            match effect {
                Effect::Answer(answer) => board.answer(answer),
                Effect::Wish(wanted) => wish(wanted),
                Effect::None | Effect::Redraw => {}
            }
        }
    }
}
