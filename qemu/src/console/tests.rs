//! Consoles of guests that are well-behaved, chatty, rude, and gone.

use super::text::Splitter;
use super::*;

const SOON: Duration = Duration::from_secs(5);
const NOW: Duration = Duration::from_millis(20);

fn console() -> (Console, UnixStream) {
    let (ours, guest) = UnixStream::pair().unwrap();
    (Console::attach(ours, Instant::now(), Echo::Silent).unwrap(), guest)
}

fn lines(pieces: &[&[u8]]) -> Vec<String> {
    let mut splitter = Splitter::default();
    let mut lines: Vec<String> = pieces.iter().flat_map(|piece| splitter.take(piece)).collect();
    lines.extend(splitter.finish());
    lines
}

#[test]
fn lines_are_cut_wherever_the_bytes_are() {
    assert_eq!(lines(&[b"a\r\nb", b"b\n\nc"]), ["a", "bb", "", "c"]);
    assert_eq!(lines(&[b"\x1b[2J\x1b[1;1Hone\x1b[2;1Htwo\x1b[0m!\n"]), ["one", "two!"]);
    assert_eq!(lines(&[b"\x1b", b"[", b"31mred\x1b[m\n\x1b]0;title\x07x\x1b(By\n"]), ["red", "xy"]);
    assert_eq!(lines(&[b"ab\x08c\n"]), ["ac"]);
    assert_eq!(lines(&[b"\xff\xc3\xa9\n"]), ["\u{fffd}\u{e9}"]);
    let wild = lines(&[&vec![b'x'; 100_000]]);
    assert!(wild.len() > 5 && wild.iter().all(|line| line.len() <= 16 * 1024));
}

#[test]
fn events_have_a_name_and_fields() {
    let event = |text: &str| Event::parse(&Line { at: SOON, text: text.to_owned() });
    let phase = event("@lifeboat phase name=modules state=done ms=812").unwrap();
    assert_eq!((phase.name.as_str(), phase.at), ("phase", SOON));
    assert_eq!((phase.field("state"), phase.number("ms")), (Some("done"), Some(812)));
    assert_eq!((phase.field("x"), phase.number("state")), (None, None));
    let words =
        event("[ 1.0] foo@lifeboat error text=no%20disk%3a%25%c3%a9 y= junk z=1=2%").unwrap();
    assert_eq!(words.field("text"), Some("no disk:%\u{e9}"));
    assert_eq!((words.field("y"), words.field("z")), (Some(""), Some("1=2%")));
    assert_eq!(event("@lifeboat a k=%zz%4").unwrap().field("k"), Some("%zz%4"));
    assert_eq!(event("@lifeboat ready").unwrap().fields.len(), 0);
    for other in ["", "@lifeboat", "@lifeboat ", "lifeboat ready", "@lifeboat   "] {
        assert_eq!(event(other), None, "{other}");
    }
}

#[test]
fn any_bytes_are_taken() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let alphabet = b"\x1b[]HJm;0(B\n\r\x08\x07\0 @lifeboat =%2f\xff\xc3\xa9x";
    for _ in 0..2000 {
        let mut splitter = Splitter::default();
        for _ in 0..4 {
            let mut piece = Vec::new();
            for _ in 0..40 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let at = usize::try_from(seed >> 33).unwrap() % alphabet.len();
                piece.push(alphabet[at]);
            }
            for text in splitter.take(&piece) {
                assert!(!text.contains(['\n', '\r', '\u{1b}']), "{text:?}");
                if let Some(event) = Event::parse(&Line { at: NOW, text }) {
                    assert!(!event.name.is_empty());
                }
            }
        }
    }
}

#[test]
fn waits_consume_in_order_and_typed_bytes_arrive() {
    let (console, mut guest) = console();
    guest.write_all(b"one\n@lifeboat a n=1\ntwo\n@lifeboat a n=2\nlogin: ").unwrap();
    assert_eq!(console.event("a", SOON).unwrap().number("n"), Some(1));
    assert_eq!(console.event("a", SOON).unwrap().number("n"), Some(2));
    assert!(matches!(console.event("a", NOW), Err(Error::Timeout { .. })));
    console.prompt("login:", SOON).unwrap();
    console.type_line("yes").unwrap();
    let mut typed = [0_u8; 4];
    guest.read_exact(&mut typed).unwrap();
    assert_eq!(&typed, b"yes\r");
    guest.write_all(b"x\n@lifeboat b k=v\nthree\n@lifeboat b k=w\n").unwrap();
    let chosen = console.event_where("b", SOON, |event| event.field("k") == Some("w")).unwrap();
    assert_eq!(chosen.field("k"), Some("w"));
    assert_eq!(console.events().len(), 4);
    assert_eq!(console.lines().len(), 8);
    guest.write_all(b"four\n").unwrap();
    assert_eq!(console.line("four", SOON).unwrap().text, "four");
}

#[test]
fn a_panic_and_an_end_are_told_at_once_with_the_last_words() {
    let (panicking, mut guest) = console();
    guest.write_all(b"before\n[ 2.0] Kernel panic - not syncing: Attempted to kill\n").unwrap();
    let error = panicking.event("ready", SOON).unwrap_err();
    assert!(matches!(error, Error::Panicked { .. }), "{error}");
    assert!(error.to_string().contains("before"), "{error}");

    let (expected, mut guest) = console();
    guest.write_all(b"Kernel panic - not syncing: wanted\n").unwrap();
    expected.line("Kernel panic", SOON).unwrap();

    let (ended, mut guest) = console();
    guest.write_all(b"last words").unwrap();
    drop(guest);
    let error = ended.line("more", SOON).unwrap_err();
    assert!(matches!(&error, Error::Ended { console, .. } if console.contains("last words")));
    assert!(ended.type_line("hello?").is_err());
}
