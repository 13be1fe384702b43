//! A log that somebody changes, cuts or fills.

use hal_linux::SystemClock;

use super::*;
use crate::admin::keep::MemoryKeep;

const SMALL: Room = Room { pieces: 3, piece_bytes: 2048 };

fn open(keep: &Arc<MemoryKeep>) -> Audit {
    Audit::open(Arc::clone(keep) as Arc<dyn Keep>, Arc::new(SystemClock), SMALL)
}

fn note(audit: &Audit, what: &str) {
    let (by, object, address) = ("anna", "server web1", "192.0.2.1");
    audit.note(&Noted { by, what, object, outcome: 200, address });
}

#[test]
fn entries_are_told_the_newest_first_and_a_restart_goes_on() {
    let keep = Arc::new(MemoryKeep::default());
    let audit = open(&keep);
    assert_eq!(audit.page(None, 9).unwrap().entries, []);
    for what in ["one", "two", "three"] {
        note(&audit, what);
    }
    let head = audit.page(None, 9).unwrap().head;
    let audit = open(&keep);
    note(&audit, "four");
    let page = audit.page(None, 2).unwrap();
    let told: Vec<(u64, &str)> = page.entries.iter().map(|it| (it.number, &*it.what)).collect();
    assert_eq!((told, page.more, page.broken), (vec![(4, "four"), (3, "three")], true, None));
    let older = audit.page(Some(3), 9).unwrap();
    assert_eq!((older.entries.len(), older.more, older.entries[0].number), (2, false, 2));
    assert_ne!(older.head, head);
}

#[test]
fn it_never_grows_over_its_room_and_what_is_left_holds_together() {
    let keep = Arc::new(MemoryKeep::default());
    let audit = open(&keep);
    for number in 0..200 {
        note(&audit, &format!("deed{number}"));
    }
    let page = audit.page(None, 500).unwrap();
    assert_eq!((page.broken, page.entries[0].number), (None, 200));
    assert!(page.first > 1 && page.entries.last().unwrap().number == page.first);
    for slot in 0..3 {
        let bytes = keep.read(&format!("audit-{slot}")).unwrap().unwrap();
        assert!(bytes.len() <= SMALL.piece_bytes);
    }
    assert_eq!(keep.read("audit-3").unwrap(), None);
    assert_eq!(open(&keep).page(None, 1).unwrap().broken, None);
}

/// Changes a document; what the log then says is broken, before and after a restart.
fn changed(change: impl Fn(&MemoryKeep)) -> [Option<AuditBreak>; 2] {
    let keep = Arc::new(MemoryKeep::default());
    let audit = open(&keep);
    for number in 0..12 {
        note(&audit, &format!("deed{number}"));
    }
    assert_eq!(audit.page(None, 9).unwrap().broken, None);
    change(&keep);
    [&audit, &open(&keep)].map(|audit| audit.page(None, 9).unwrap().broken)
}

fn edit(keep: &MemoryKeep, slot: u64, edit: impl Fn(&str) -> String) {
    let name = format!("audit-{slot}");
    let text = String::from_utf8(keep.read(&name).unwrap().unwrap()).unwrap();
    let edited = edit(&text);
    assert_ne!(edited, text, "the test changes something");
    keep.write(&name, edited.as_bytes()).unwrap();
}

#[test]
fn a_changed_entry_is_named() {
    let broken = changed(|keep| edit(keep, 0, |text| text.replace("deed3\"", "deed9\"")));
    for broken in broken {
        assert_eq!(broken.unwrap().number, 4);
    }
}

#[test]
fn an_entry_taken_out_is_missed() {
    let broken = changed(|keep| {
        edit(keep, 0, |text| {
            text.lines()
                .filter(|line| !line.contains("deed2\""))
                .fold(String::new(), |text, line| text + line + "\n")
        });
    });
    for broken in broken {
        assert_eq!(broken.unwrap().number, 3);
    }
}

#[test]
fn a_piece_that_is_gone_or_nonsense_is_told() {
    for broken in changed(|keep| keep.write("audit-1", b"nonsense").unwrap()) {
        assert!(broken.is_some());
    }
}

#[test]
fn an_end_that_is_cut_off_is_missed_while_the_program_runs() {
    let [running, restarted] = changed(|keep| {
        edit(keep, 1, |text| {
            let lines: Vec<&str> = text.lines().collect();
            lines[..lines.len() - 1].join("\n") + "\n"
        });
    });
    assert!(running.is_some());
    // Afterwards only who noted the head elsewhere can tell.
    assert_eq!(restarted, None);
}

#[test]
fn no_text_leaves_its_line_or_grows_without_end() {
    let keep = Arc::new(MemoryKeep::default());
    let audit = open(&keep);
    note(&audit, &format!("a\nb\u{1b}{}", "x".repeat(5000)));
    let page = audit.page(None, 9).unwrap();
    assert_eq!(page.broken, None);
    assert_eq!(page.entries[0].what.chars().count(), TEXT_LETTERS_MAX);
    assert!(!page.entries[0].what.contains(['\n', '\u{1b}']));
}
