//! The audit log: who did what, on which object, how it ended, from where. Each entry carries the BLAKE3 of itself and of the one
//! before, so that none is changed or taken out unseen.
//!
//! It lies in pieces, documents `audit-0`, `audit-1` and so on. When all are full the oldest is written over; the first of what is
//! left still says the hash of the last that went, so that the chain can be followed from an older copy. A piece is lines:
//!
//! | line | holds |
//! | --- | --- |
//! | first | JSON: `version` (1), `piece` (counts up), `first` (number of its first entry), `before` (hash of the entry before) |
//! | others | hash in hexadecimal, a blank, the entry as JSON |
//!
//! Whoever can write the documents can write a whole new chain: against that helps only a hash that was noted elsewhere.

use std::sync::{Arc, Mutex, PoisonError};

use firmware_web::api::views::admin::{AuditBreak, AuditEntry, AuditPage};
use firmware_web::api::{Answer, Refusal};
use hal::time::Clock;
use serde::{Deserialize, Serialize};

use super::keep::Keep;
use super::keep::budget::AUDIT_PIECE_BYTES;

const VERSION: u32 = 1;
/// Longest text of an entry, in letters.
const TEXT_LETTERS_MAX: usize = 200;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Pieces.
    pub pieces: u64,
    /// Bytes of each.
    pub piece_bytes: usize,
}

impl Room {
    /// In a folder: about fifteen thousand entries.
    pub const FOLDER: Self = Self { pieces: 64, piece_bytes: 60 * 1024 };
    /// On a state partition, beside all else that is kept there: about three hundred entries.
    pub const PARTITION: Self = Self { pieces: 3, piece_bytes: AUDIT_PIECE_BYTES };
}

/// What is noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted<'a> {
    /// Who.
    pub by: &'a str,
    /// What: the operation's ID.
    pub what: &'a str,
    /// On which object.
    pub object: &'a str,
    /// How it ended: HTTP's status.
    pub outcome: u16,
    /// From where.
    pub address: &'a str,
}

/// The log.
pub struct Audit {
    keep: Arc<dyn Keep>,
    clock: Arc<dyn Clock>,
    room: Room,
    newest: Mutex<Newest>,
}

/// Where the next entry goes.
struct Newest {
    piece: u64,
    text: String,
    /// Number of the next entry, and hash of the one before it.
    next: u64,
    head: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    version: u32,
    piece: u64,
    first: u64,
    before: String,
}

/// A piece as it was read.
struct Piece {
    header: Header,
    lines: Vec<Line>,
    text: String,
}

struct Line {
    hash: String,
    json: String,
}

impl Audit {
    /// The log that is kept there, or a new one. One that is damaged goes on behind the damage, which is told.
    pub fn open(keep: Arc<dyn Keep>, clock: Arc<dyn Clock>, room: Room) -> Self {
        let pieces = pieces(&*keep, room).0;
        let newest = match pieces.last() {
            Some(last) => Newest {
                piece: last.header.piece,
                text: last.text.clone(),
                next: last.header.first.saturating_add(last.lines.len() as u64),
                head: last.lines.last().map_or(&last.header.before, |line| &line.hash).clone(),
            },
            None => {
                let mut newest = Newest { piece: 0, text: String::new(), next: 1, head: nothing() };
                newest.begin(0);
                newest
            }
        };
        Self { keep, clock, room, newest: Mutex::new(newest) }
    }

    /// Notes something. A log that cannot be written is told of in the program's own log; what was done was done.
    pub fn note(&self, noted: &Noted<'_>) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = AuditEntry {
            number: newest.next,
            at_millis: self.clock.now().0,
            by: plain(noted.by),
            what: plain(noted.what),
            object: plain(noted.object),
            outcome: noted.outcome,
            address: plain(noted.address),
        };
        let Ok(json) = serde_json::to_string(&entry) else { return };
        let hash = hash(&newest.head, &json);
        let line = format!("{hash} {json}\n");
        if newest.text.len() + line.len() > self.room.piece_bytes {
            let piece = newest.piece + 1;
            newest.begin(piece);
        }
        newest.text.push_str(&line);
        newest.head = hash;
        newest.next += 1;
        let name = name(newest.piece, self.room);
        if let Err(error) = self.keep.write(&name, newest.text.as_bytes()) {
            log::error!("the audit log: {error}");
        }
    }

    /// A page of it, the newest first, older than `before`. The whole chain is followed.
    pub fn page(&self, before: Option<u64>, limit: usize) -> Answer<AuditPage> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let (pieces, unreadable) = pieces(&*self.keep, self.room);
        let broken = broken(&pieces, &newest).or(unreadable);
        let entries: Result<Vec<AuditEntry>, _> = pieces
            .iter()
            .flat_map(|piece| &piece.lines)
            .map(|line| serde_json::from_str(&line.json))
            .filter(|entry| match (entry, before) {
                (Ok(AuditEntry { number, .. }), Some(before)) => *number < before,
                _ => true,
            })
            .collect();
        let mut entries = entries.map_err(|error| {
            Refusal::new(503, "the audit log", format!("cannot be read: {error}"))
        })?;
        entries.reverse();
        let more = entries.len() > limit;
        entries.truncate(limit);
        let first = pieces.first().map_or(newest.next, |piece| piece.header.first);
        Ok(AuditPage { entries, more, first, head: newest.head.clone(), broken })
    }
}

impl Newest {
    /// A new piece begins, behind what there is.
    fn begin(&mut self, piece: u64) {
        let header =
            Header { version: VERSION, piece, first: self.next, before: self.head.clone() };
        self.piece = piece;
        self.text = serde_json::to_string(&header).unwrap_or_default() + "\n";
    }
}

/// Follows the chain through all pieces up to where it is known to end.
fn broken(pieces: &[Piece], newest: &Newest) -> Option<AuditBreak> {
    let at = |number: u64, words: &str| Some(AuditBreak { number, words: words.to_owned() });
    let first = pieces.first()?;
    let (mut next, mut head) = (first.header.first, first.header.before.clone());
    for piece in pieces {
        if piece.header.first != next || piece.header.before != head {
            return at(next, "what follows does not go on where it ended: entries are missing");
        }
        for line in &piece.lines {
            let number = serde_json::from_str(&line.json).map(|entry: AuditEntry| entry.number);
            if hash(&head, &line.json) != line.hash || number.ok() != Some(next) {
                return at(next, "is not as it was written");
            }
            head.clone_from(&line.hash);
            next += 1;
        }
    }
    if (next, &head) != (newest.next, &newest.head) {
        return at(next, "the last entries are missing");
    }
    None
}

/// All pieces that can be read, the oldest first, and the first that cannot.
fn pieces(keep: &dyn Keep, room: Room) -> (Vec<Piece>, Option<AuditBreak>) {
    let mut pieces = Vec::new();
    let mut unreadable = None;
    for slot in 0..room.pieces {
        let name = name(slot, room);
        let read = match keep.read(&name) {
            Ok(None) => continue,
            Ok(Some(bytes)) => read(&bytes).ok_or_else(|| format!("{name} is no piece of it")),
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(piece) => pieces.push(piece),
            Err(words) => unreadable = Some(AuditBreak { number: 0, words }),
        }
    }
    pieces.sort_by_key(|piece| piece.header.piece);
    (pieces, unreadable)
}

fn read(bytes: &[u8]) -> Option<Piece> {
    let text = core::str::from_utf8(bytes).ok()?;
    let (header, rest) = text.split_once('\n')?;
    let header: Header = serde_json::from_str(header).ok()?;
    let line = |line: &str| {
        let (hash, json) = line.split_once(' ')?;
        Some(Line { hash: hash.to_owned(), json: json.to_owned() })
    };
    let lines = rest.lines().map(line).collect::<Option<Vec<Line>>>()?;
    (header.version == VERSION).then(|| Piece { header, lines, text: text.to_owned() })
}

fn name(piece: u64, room: Room) -> String {
    format!("audit-{}", piece % room.pieces.max(1))
}

/// What comes before the first entry.
fn nothing() -> String {
    "0".repeat(64)
}

fn hash(before: &str, json: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before.as_bytes()).update(json.as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// A text of bounded length that stays on its line.
fn plain(text: &str) -> String {
    let letters = text.chars().take(TEXT_LETTERS_MAX);
    letters.map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests;
