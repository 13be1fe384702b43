//! The machine's view as 25 rows of 80 columns. Pure: view in, text out.

use crate::appliance::board::{Job, Kind, Question, View};
use crate::report::{Size, printable};

/// Columns of the smallest terminal that there is.
pub(crate) const COLUMNS: usize = 80;
/// Rows of it.
pub(crate) const ROWS: usize = 25;

/// Where values begin.
const MARGIN: usize = 13;
/// Rows that a vault takes while all is well, and those in which it is said what is wrong and what to do about it.
const VAULT_ROWS: usize = 2;
const BAD_VAULT_ROWS: usize = 5;
/// Rows that disks may take while other things want room too, and the fewest, where more is to be said of the vault.
const DISK_ROWS: usize = 5;
const DISK_ROWS_MIN: usize = 2;
const NIC_ROWS: usize = 3;
const ADDRESS_ROWS: usize = 2;
const AGENT_ROWS: usize = 2;
const BAR_CELLS: usize = 30;

/// What is typed into an open question, and where the marker stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The text so far.
    pub(crate) text: String,
    /// The place in the list.
    pub(crate) place: usize,
}

/// The screen.
pub(crate) fn render(view: &View, entry: &Entry) -> Vec<String> {
    let mut rows = head(view);
    match &view.question {
        Some(question) => rows.extend(ask(question, entry)),
        None => rows.extend(status(view)),
    }
    let job = view.job.as_ref().map(progress).unwrap_or_default();
    // However much there is to be said: what keys do and how far a job is stays in sight.
    rows.truncate(ROWS.saturating_sub(job.len() + 2));
    let room = ROWS.saturating_sub(rows.len() + job.len() + 2);
    let messages = wrap_last(view, room);
    rows.extend(messages);
    while rows.len() + job.len() + 2 < ROWS {
        rows.push(String::new());
    }
    rows.extend(job);
    rows.push("-".repeat(COLUMNS - 1));
    rows.push(help(view));
    rows.truncate(ROWS);
    rows
}

fn head(view: &View) -> Vec<String> {
    let left = format!("Lifeboat {}   {}", view.version, printable(&view.name));
    let right = format!("{}   {}", view.role, view.time);
    vec![both_ends(&left, &right), "-".repeat(COLUMNS - 1)]
}

fn both_ends(left: &str, right: &str) -> String {
    let gap = (COLUMNS - 1).saturating_sub(left.chars().count() + right.chars().count()).max(1);
    format!("{left}{}{right}", " ".repeat(gap))
}

fn status(view: &View) -> Vec<String> {
    let mut rows = Vec::new();
    let none = |text: &str| vec![text.to_owned()];
    field(&mut rows, "Status", core::slice::from_ref(&view.status), 2);
    let addresses =
        if view.addresses.is_empty() { none("none yet") } else { view.addresses.clone() };
    field(&mut rows, "Addresses", &addresses, ADDRESS_ROWS);
    if let Some(page) = &view.page {
        field(&mut rows, "Page", core::slice::from_ref(page), 1);
    }
    let fingerprint = view.fingerprint.clone().unwrap_or_else(|| "none yet".to_owned());
    field(&mut rows, "Certificate", &[fingerprint], 2);
    if let Some(code) = &view.pairing {
        let words = format!("{code}   open the page, compare the certificate, type this code");
        field(&mut rows, "Pairing", &[words], 2);
    }
    let above = rows.len();
    field(&mut rows, "Vault", &[or_none(&view.vault)], BAD_VAULT_ROWS);
    let disk_rows = DISK_ROWS.saturating_sub((rows.len() - above).saturating_sub(VAULT_ROWS));
    field(&mut rows, "State", &[or_none(&view.state)], 2);
    if !view.spool.is_empty() {
        field(&mut rows, "Spool", core::slice::from_ref(&view.spool), 2);
    }
    if !view.agents.is_empty() {
        field(&mut rows, "Agents", core::slice::from_ref(&view.agents), AGENT_ROWS);
    }
    let disks = if view.disks.is_empty() { none("no disk found") } else { view.disks.clone() };
    field(&mut rows, "Disks", &disks, disk_rows.max(DISK_ROWS_MIN));
    let nics = if view.nics.is_empty() { none("no network card found") } else { view.nics.clone() };
    field(&mut rows, "Network", &nics, NIC_ROWS);
    if let Some(error) = &view.last_error {
        field(&mut rows, "Last error", core::slice::from_ref(error), 3);
    }
    rows.push("-".repeat(COLUMNS - 1));
    rows
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "none yet".to_owned() } else { text.to_owned() }
}

/// A name and its values, each on a row of its own; too many are counted.
fn field(rows: &mut Vec<String>, name: &str, values: &[String], most: usize) {
    let lines: Vec<String> =
        values.iter().flat_map(|value| wrap(&printable(value), COLUMNS - 1 - MARGIN)).collect();
    let shown = if lines.len() > most { most.saturating_sub(1) } else { lines.len() };
    for (place, line) in lines.iter().take(shown).enumerate() {
        let name = if place == 0 { name } else { "" };
        rows.push(format!("{name:<MARGIN$}{line}"));
    }
    if shown < lines.len() {
        rows.push(format!("{:<MARGIN$}and {} more", "", lines.len() - shown));
    }
}

/// Words onto rows; a word that is longer than a row is cut.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    let mut row = String::new();
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        let used = row.chars().count();
        if used > 0 && used + 1 + word.len() > columns {
            rows.push(core::mem::take(&mut row));
        } else if used > 0 {
            row.push(' ');
        }
        while word.len() > columns {
            rows.push(word.drain(..columns).collect());
        }
        row.extend(word);
    }
    rows.push(row);
    rows
}

fn ask(question: &Question, entry: &Entry) -> Vec<String> {
    let mut rows = vec![String::new(), format!("  {}", printable(&question.title)), String::new()];
    for line in question.words.iter().flat_map(|line| wrap(&printable(line), COLUMNS - 5)) {
        rows.push(format!("  {line}"));
    }
    if !question.words.is_empty() {
        rows.push(String::new());
    }
    match &question.kind {
        Kind::Choice(choices) => rows.extend(list(choices, entry.place, rows.len())),
        Kind::Text(_) => rows.push(input(&entry.text)),
        Kind::Secret => rows.push(input(&"*".repeat(entry.text.chars().count()))),
    }
    rows
}

/// The part of a list that has room, around the marker.
fn list(choices: &[String], place: usize, used: usize) -> Vec<String> {
    let room = ROWS.saturating_sub(used + 6).max(3);
    let first = place.saturating_sub(room / 2).min(choices.len().saturating_sub(room));
    let shown = choices.iter().enumerate().skip(first).take(room);
    let mut rows: Vec<String> = shown
        .map(|(number, choice)| {
            let mark = if number == place { '>' } else { ' ' };
            let key = key_of(number).map_or_else(|| String::from("  "), |key| format!("{key} "));
            let text: String = printable(choice).chars().take(COLUMNS - 10).collect();
            format!("  {mark} {key} {text}")
        })
        .collect();
    if choices.len() > room {
        rows.push(format!("      {} of {}", place + 1, choices.len()));
    }
    rows
}

/// The key that chooses a place of a list at once.
pub(crate) fn key_of(place: usize) -> Option<char> {
    char::from_digit(u32::try_from(place + 1).ok()?, 10)
}

/// The end of what is typed, so that the cursor is always in sight.
fn input(text: &str) -> String {
    let letters: Vec<char> = printable(text).chars().collect();
    let from = letters.len().saturating_sub(COLUMNS - 8);
    format!("  > {}_", letters.iter().skip(from).collect::<String>())
}

fn progress(job: &Job) -> Vec<String> {
    let percent = u128::from(job.done) * 100 / u128::from(job.total.max(1));
    let percent = usize::try_from(percent.min(100)).unwrap_or(100);
    let title = printable(&job.title);
    let amount = match job.total {
        0 => Size(job.done).to_string(),
        total => format!("{percent} %  {} of {}", Size(job.done), Size(total)),
    };
    let cells = if job.total == 0 { 0 } else { percent * BAR_CELLS / 100 };
    let words = printable(&job.words);
    vec![title, format!("[{:<BAR_CELLS$}]  {amount}  {words}", "#".repeat(cells))]
}

/// The last messages, as many as have room.
fn wrap_last(view: &View, room: usize) -> Vec<String> {
    let mut rows = Vec::new();
    for message in view.messages.iter().rev() {
        let wrapped = wrap(&printable(message), COLUMNS - 1);
        if rows.len() + wrapped.len() > room {
            break;
        }
        rows.extend(wrapped.into_iter().rev());
    }
    rows.reverse();
    rows
}

fn help(view: &View) -> String {
    match view.question.as_ref().map(|question| &question.kind) {
        None => "n net c capture r recover d spool t token u update a admin k key s shut down",
        Some(Kind::Choice(_)) => "arrows or a digit choose, Enter takes it   Esc back",
        Some(Kind::Text(_) | Kind::Secret) => "type, then Enter   Esc back",
    }
    .to_owned()
}

#[cfg(test)]
mod tests;
