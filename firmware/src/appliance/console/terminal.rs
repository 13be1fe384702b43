//! A screen of text onto a terminal, by as few bytes as that takes: a serial line at 9600 carries 960 a second.

use super::screen::{COLUMNS, ROWS};

/// Everything is cleared, the cursor is hidden.
const CLEAR: &str = "\x1b[0m\x1b[?25l\x1b[2J";

/// What a terminal shows.
#[derive(Debug, Default)]
pub(crate) struct Terminal {
    shown: Vec<String>,
}

impl Terminal {
    /// The bytes that make the terminal show `rows`.
    pub(crate) fn draw(&mut self, rows: &[String]) -> String {
        let mut text = String::new();
        if self.shown.is_empty() {
            text.push_str(CLEAR);
            self.shown = vec![String::new(); ROWS];
        }
        for (place, shown) in self.shown.iter_mut().enumerate() {
            let row = rows.get(place).map(|row| plain(row)).unwrap_or_default();
            if *shown == row {
                continue;
            }
            let same = shown.bytes().zip(row.bytes()).take_while(|(one, two)| one == two).count();
            let tail = row.get(same..).unwrap_or_default();
            text.push_str(&format!("\x1b[{};{}H{tail}", place + 1, same + 1));
            if row.len() < shown.len() {
                // To the end of the line; at its full width there is nothing behind.
                text.push_str("\x1b[K");
            }
            *shown = row;
        }
        text
    }

    /// Forgets what is shown: the next draw is of everything.
    pub(crate) fn forget(&mut self) {
        self.shown.clear();
    }
}

/// One row of printable ASCII, so that no terminal and no serial line misunderstands it.
fn plain(row: &str) -> String {
    let mark = |letter: char| if letter.is_ascii_graphic() || letter == ' ' { letter } else { '?' };
    let text: String = row.chars().take(COLUMNS).map(mark).collect();
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use hal_sim::random::Random;

    use super::*;

    /// The least of a terminal that understands what is sent.
    struct Screen {
        cells: Vec<Vec<u8>>,
        row: usize,
        column: usize,
    }

    impl Screen {
        fn new() -> Self {
            Self { cells: vec![vec![b'#'; COLUMNS]; ROWS], row: 0, column: 0 }
        }

        fn show(&mut self, text: &str) {
            let mut rest = text;
            while !rest.is_empty() {
                if let Some(after) = rest.strip_prefix("\x1b[") {
                    let end = after.find(|letter: char| letter.is_ascii_alphabetic()).unwrap();
                    self.command(&after[..end], &after[end..=end]);
                    rest = &after[end + 1..];
                } else {
                    assert!(self.column < COLUMNS, "past the right edge");
                    self.cells[self.row][self.column] = rest.as_bytes()[0];
                    self.column += 1;
                    rest = &rest[1..];
                }
            }
        }

        fn command(&mut self, numbers: &str, letter: &str) {
            match letter {
                "H" => {
                    let (row, column) = numbers.split_once(';').unwrap();
                    self.row = row.parse::<usize>().unwrap() - 1;
                    self.column = column.parse::<usize>().unwrap() - 1;
                }
                "K" => self.cells[self.row][self.column..].fill(b' '),
                "J" => self.cells.iter_mut().for_each(|row| row.fill(b' ')),
                _ => {}
            }
        }

        fn text(&self) -> Vec<String> {
            let row = |row: &Vec<u8>| String::from_utf8(row.clone()).unwrap().trim_end().to_owned();
            self.cells.iter().map(row).collect()
        }
    }

    #[test]
    fn whatever_changes_the_terminal_shows_it_in_the_end() {
        let mut random = Random::new(3);
        let (mut terminal, mut screen) = (Terminal::default(), Screen::new());
        let mut rows = vec![String::new(); ROWS];
        for _ in 0..2000 {
            let place = usize::try_from(random.below(ROWS as u64)).unwrap();
            let length = random.below(COLUMNS as u64 + 5);
            rows[place] =
                (0..length).map(|_| if random.below(3) == 0 { ' ' } else { 'x' }).collect();
            screen.show(&terminal.draw(&rows));
            let wanted: Vec<String> = rows.iter().map(|row| plain(row)).collect();
            assert_eq!(screen.text(), wanted);
        }
    }

    #[test]
    fn a_small_change_is_few_bytes_and_none_is_none() {
        let mut terminal = Terminal::default();
        let mut rows = vec!["Disks  sda 1.82 TiB".to_owned(); ROWS];
        assert!(terminal.draw(&rows).len() < 960);
        assert_eq!(terminal.draw(&rows), "");
        rows[4].push('!');
        assert!(terminal.draw(&rows).len() < 12);
        terminal.forget();
        assert!(terminal.draw(&rows).starts_with(CLEAR));
    }

    #[test]
    fn nothing_hostile_reaches_the_terminal() {
        let text = Terminal::default().draw(&["disk \x1b[2J\u{202e}é\r\n".to_owned()]);
        assert_eq!(text.matches('\x1b').count(), 4, "{text:?}");
        assert!(text.ends_with("disk ?[2J????"), "{text:?}");
    }
}
