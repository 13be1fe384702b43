//! The line that a person runs on a server, in rows that a console has room for and a shell takes for one line.

/// Columns that a question's words have on the console.
pub(super) const COLUMNS: usize = 75;
/// What a row ends with that is not the last.
const GOES_ON: &str = " \\";

/// Rows of at most so many columns. Words are kept whole where they have room; a token is parted at its dashes, which its
/// reader and the installer take for the same token.
pub(super) fn in_rows(line: &str, columns: usize) -> Vec<String> {
    let room = columns.saturating_sub(GOES_ON.len()).max(1);
    let mut rows: Vec<String> = Vec::new();
    let mut row = String::new();
    for word in line.split(' ').flat_map(|word| parts(word, room)) {
        if !row.is_empty() && row.len() + 1 + word.len() > room {
            rows.push(core::mem::take(&mut row) + GOES_ON);
        }
        if !row.is_empty() {
            row.push(' ');
        }
        row.push_str(&word);
    }
    rows.push(row);
    rows
}

/// A word in parts that have room, each ending where a dash was.
fn parts(word: &str, room: usize) -> Vec<String> {
    if word.len() <= room {
        return vec![word.to_owned()];
    }
    let mut parts = vec![String::new()];
    for group in word.split('-') {
        let last = parts.pop().unwrap_or_default();
        let joined = if last.is_empty() { group.to_owned() } else { format!("{last}-{group}") };
        if joined.len() <= room || last.is_empty() {
            parts.push(joined);
        } else {
            parts.extend([last, group.to_owned()]);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_puts_the_rows_together_again() {
        let token = ["ABCDEFGH"; 21].join("-");
        let pin = "A".repeat(43);
        let line = format!(
            "curl -fsS --insecure --pinnedpubkey 'sha256//{pin}=' https://[2001:db8:1:2:3:4:5:6]:443/install.sh | sudo sh -s {token}"
        );
        let rows = in_rows(&line, COLUMNS);
        assert!(rows.iter().all(|row| row.len() <= COLUMNS), "{rows:#?}");
        let (last, others) = rows.split_last().unwrap();
        assert!(others.iter().all(|row| row.ends_with(" \\")) && !last.ends_with('\\'));
        // As the shell does, and then the installer and the token's reader.
        let joined = rows.join("\n").replace("\\\n", "");
        let (command, read) = joined.split_once("sh -s ").unwrap();
        assert!(line.starts_with(&command.replace("  ", " ")), "{command}");
        assert_eq!(read.replace([' ', '-'], ""), token.replace('-', ""));
        assert!(in_rows("a b", 75) == ["a b"] && in_rows("", 75) == [""]);
        assert_eq!(in_rows("aaaa bbbb", 8), ["aaaa \\", "bbbb"]);
    }
}
