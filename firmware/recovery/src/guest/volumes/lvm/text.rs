//! LVM's text: sections in braces, and names with a number, a string or a list of these.

use std::collections::BTreeMap;

/// Sections inside of each other; LVM itself has four.
const DEPTH_MAX: usize = 16;

/// A section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    values: BTreeMap<String, Vec<String>>,
    sections: BTreeMap<String, Section>,
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

impl Section {
    /// `None` where the text is not of this form.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut tokens = tokens(text)?.into_iter().peekable();
        Self::inside(&mut tokens, 0)
    }

    fn inside(
        tokens: &mut core::iter::Peekable<std::vec::IntoIter<Token>>,
        depth: usize,
    ) -> Option<Self> {
        if depth > DEPTH_MAX {
            return None;
        }
        let mut section = Self::default();
        loop {
            let name = match tokens.next() {
                None if depth == 0 => return Some(section),
                Some(Token::Sign('}')) if depth > 0 => return Some(section),
                Some(Token::Word(name)) => name,
                _ => return None,
            };
            match tokens.next()? {
                Token::Sign('{') => {
                    section.sections.insert(name, Self::inside(tokens, depth + 1)?);
                }
                Token::Sign('=') => {
                    section.values.insert(name, value(tokens)?);
                }
                _ => return None,
            }
        }
    }

    pub(super) fn sections(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.sections.iter().map(|(name, section)| (name.as_str(), section))
    }

    pub(super) fn section(&self, name: &str) -> Option<&Self> {
        self.sections.get(name)
    }

    pub(super) fn list(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.list(name).first().map(String::as_str)
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }
}

fn value(tokens: &mut core::iter::Peekable<std::vec::IntoIter<Token>>) -> Option<Vec<String>> {
    match tokens.next()? {
        Token::Word(word) | Token::Text(word) => Some(vec![word]),
        Token::Sign('[') => {
            let mut list = Vec::new();
            loop {
                match tokens.next()? {
                    Token::Word(word) | Token::Text(word) => list.push(word),
                    Token::Sign(',') => (),
                    Token::Sign(']') => return Some(list),
                    Token::Sign(_) => return None,
                }
            }
        }
        Token::Sign(_) => None,
    }
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '#' => while letters.next_if(|next| *next != '\n').is_some() {},
            '{' | '}' | '[' | ']' | '=' | ',' => tokens.push(Token::Sign(letter)),
            '"' => {
                let mut word = String::new();
                loop {
                    match letters.next()? {
                        '"' => break,
                        '\\' => word.push(letters.next()?),
                        other => word.push(other),
                    }
                }
                tokens.push(Token::Text(word));
            }
            _ if letter.is_whitespace() => (),
            _ => {
                let mut word = String::from(letter);
                let part = |next: &char| !next.is_whitespace() && !"{}[]=,#\"".contains(*next);
                while let Some(next) = letters.next_if(part) {
                    word.push(next);
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Some(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_values_and_lists_are_read_and_others_refused() {
        let text = "# made by hand\nvg0 {\nid = \"a\\\"b\"\nseqno = 7\nlogical_volumes {\nroot {\n\
            status = [\"READ\", \"VISIBLE\"]\nflags = []\nstripes = [\n\"pv0\", 0\n]\n}\n}\n}\ncontents = \"x\"\n";
        let root = Section::parse(text).unwrap();
        let group = root.section("vg0").unwrap();
        assert_eq!((group.text("id"), group.number("seqno")), (Some("a\"b"), Some(7)));
        let volume = group.section("logical_volumes").unwrap().section("root").unwrap();
        assert_eq!(volume.list("stripes"), ["pv0", "0"]);
        assert_eq!(volume.list("flags"), [""; 0]);
        for cut in (1..text.len() - 16).filter(|cut| text.is_char_boundary(*cut)) {
            // Whatever is cut off, it ends; what is whole is whole.
            let _ = Section::parse(&text[..cut]);
        }
        for bad in ["a {", "a }", "a = {", "a = [", "{ }", "a b", "a = \"", &"a {".repeat(40)] {
            assert_eq!(Section::parse(bad), None, "{bad}");
        }
    }
}
