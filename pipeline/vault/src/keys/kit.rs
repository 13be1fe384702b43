//! The recovery kit: one page of A4 with what somebody needs on the worst day, as plain text and as a web page that needs
//! nothing else.
//!
//! It refuses to name servers unless it is given their names: a page on a notice board should not.

#[cfg(test)]
mod tests;

use core::fmt::Write;

use pipeline::ids::{PointId, ServerId, VaultId};
use zeroize::Zeroizing;

use crate::keys::recovery_key::RecoveryKey;

/// Letters in a line: A4 less 18 mm on each side, in a 10 point monospace.
pub const LINE_LETTERS_MAX: usize = 80;
/// Lines on the page: A4 less 15 mm above and below, at 12 point a line.
pub const PAGE_LINES_MAX: usize = 62;
/// Heads that are written down; the newest come first.
pub const HEADS_MAX: usize = 10;

/// What goes on the page.
#[derive(Clone, Debug)]
pub struct Kit<'a> {
    /// Where the vault is, as the command line takes it.
    pub place: &'a str,
    /// The vault.
    pub vault: VaultId,
    /// The recovery key; without it the page has room to write it by hand.
    pub key: Option<&'a RecoveryKey>,
    /// The newest known point of each server.
    pub heads: &'a [KitHead],
    /// When the page was made, milliseconds since 1970.
    pub made: u64,
}

/// The newest known point of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KitHead {
    /// The server.
    pub server: ServerId,
    /// Its name, where it is to be printed.
    pub name: Option<String>,
    /// Its newest point: what `--expect-point` takes.
    pub point: PointId,
    /// When that point was made, milliseconds since 1970.
    pub time: u64,
}

impl Kit<'_> {
    /// The page as plain text.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let mut page = Page(Zeroizing::new(String::with_capacity(8192)));
        page.line("LIFEBOAT RECOVERY KIT");
        page.line(&"=".repeat(LINE_LETTERS_MAX));
        page.line(&format!("made {}", date_and_time(self.made)));
        page.line("");
        page.line("Everything that this vault protects can be recovered with this page, on any");
        page.line("machine. Whoever holds it can do so too: keep it like the keys of the house.");
        page.line("");
        page.line("RECOVERY KEY");
        match self.key {
            Some(key) => page.line(&format!("    {}", &*key.to_text())),
            None => page.line("    ________-________-________-________-________   (write it here)"),
        }
        page.line("    Digits 0 and 1, never the letters O, I, L, U.");
        page.line("");
        page.line("VAULT");
        page.wrapped("    ", self.place);
        page.line(&format!("    identity {}", self.vault));
        page.line("");
        self.credentials(&mut page);
        self.heads(&mut page);
        page.line("TO RECOVER, on any Linux machine or the Lifeboat image");
        page.line("    1. Type the recovery key into a file, say key.txt.");
        page.line("    2. See what there is:");
        let quoted = self.place.replace('\'', "'\\''");
        page.wrapped("       ", &format!("lifeboat points --vault '{quoted}' --key-file key.txt"));
        page.line("    3. Bring disks back; it asks before it writes: lifeboat restore --help");
        if self.is_in_azure() {
            page.line("");
            page.line(
                "IF THE SITE IS GONE, servers come up in Azure, by the recovery machine there:",
            );
            page.line("    az vm start --resource-group lifeboat --name lifeboat");
            page.line("    on its page, or by the program on any machine, for each server:");
            page.line("    lifeboat failover --key-file key.txt --server NAME \\");
            page.wrapped("        ", &format!("--vault '{quoted}'"));
        }
        page.0
    }

    /// The page as one self-contained HTML file.
    #[must_use]
    pub fn html(&self) -> Zeroizing<String> {
        let mut html = Zeroizing::new(String::with_capacity(16_384));
        html.push_str(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <title>Lifeboat recovery kit</title>\n<style>\n\
             @page { size: A4; margin: 15mm 18mm }\n\
             body { margin: 0; background: #fff; color: #000 }\n\
             pre { font: 10pt/12pt \"DejaVu Sans Mono\", \"Courier New\", monospace; margin: 0 }\n\
             </style></head><body><pre>\n",
        );
        for letter in self.text().chars() {
            match letter {
                '&' => html.push_str("&amp;"),
                '<' => html.push_str("&lt;"),
                '>' => html.push_str("&gt;"),
                '"' => html.push_str("&quot;"),
                '\'' => html.push_str("&#39;"),
                other => html.push(other),
            }
        }
        html.push_str("</pre></body></html>\n");
        html
    }

    fn is_in_azure(&self) -> bool {
        self.place.starts_with("azure:")
    }

    fn credentials(&self, page: &mut Page) {
        page.line("CREDENTIALS");
        if self.is_in_azure() {
            page.line(
                "    The vault is in Azure. Sign in to the portal with an account that may read",
            );
            page.line(
                "    this storage account; set AZURE_STORAGE_KEY to one of its access keys, or",
            );
            page.line(
                "    AZURE_STORAGE_SAS_TOKEN to a SAS that may read and list. Ask: ______________",
            );
        } else {
            page.line(
                "    The vault is a folder: a machine that can read it is enough. It is on the",
            );
            page.line(
                "    disk or share: ____________________________________________________________",
            );
        }
        page.line("");
    }

    fn heads(&self, page: &mut Page) {
        page.line("NEWEST POINTS WHEN THIS WAS PRINTED");
        if self.heads.is_empty() {
            page.line("    none yet");
        }
        let mut heads: Vec<&KitHead> = self.heads.iter().collect();
        heads.sort_by_key(|head| core::cmp::Reverse(head.time));
        for head in heads.iter().take(HEADS_MAX) {
            let who = match &head.name {
                Some(name) => name.clone(),
                None => format!("server {}", &head.server.to_string()[..8]),
            };
            page.line(&format!("    {}  {}", head.point, date_and_time(head.time)));
            let room = LINE_LETTERS_MAX - 11;
            let who: String =
                who.chars().filter(|letter| !letter.is_control()).take(room).collect();
            page.line(&format!("        of {who}"));
        }
        if heads.len() > HEADS_MAX {
            page.line(&format!("    and {} more, older ones", heads.len() - HEADS_MAX));
        }
        page.line("    Give one to `lifeboat restore --expect-point`: it refuses an older vault.");
        page.line("");
    }
}

struct Page(Zeroizing<String>);

impl Page {
    fn line(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    /// A value of any length over as many lines as it takes, at most three; never with control characters.
    fn wrapped(&mut self, before: &str, value: &str) {
        const LINES_MAX: usize = 3;
        let room = LINE_LETTERS_MAX - before.len();
        let letters: Vec<char> = value.chars().filter(|letter| !letter.is_control()).collect();
        let mut lines: Vec<String> =
            letters.chunks(room).map(|line| line.iter().collect()).collect();
        if lines.len() > LINES_MAX {
            lines.truncate(LINES_MAX);
            lines[LINES_MAX - 1].replace_range(.., "(too long for this page)");
        }
        for (index, line) in lines.iter().enumerate() {
            let front = if index == 0 { before } else { &" ".repeat(before.len()) };
            self.line(&format!("{front}{line}"));
        }
    }
}

/// `2026-11-22 16:05 UTC`.
fn date_and_time(unix_millis: u64) -> String {
    let minutes = unix_millis / 60_000;
    let (year, month, day) = civil_date(minutes / (24 * 60));
    let (hour, minute) = (minutes / 60 % 24, minutes % 60);
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = write!(text, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC");
    text
}

/// Year, month and day of a day since 1970, counted in years that begin in March, so that leap days come last.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}
