//! Rust text with its comments and the insides of its literals blanked out, line by line as it was.

/// Replaces comments, and what stands inside of string and character literals, by spaces.
pub(crate) fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let length = literal_or_comment(rest, code.chars().next_back());
        if length > 0 {
            let taken = &rest[..length];
            let quote = if taken.starts_with('/') { ' ' } else { '"' };
            let last = taken.chars().count() - 1;
            for (place, inner) in taken.chars().enumerate() {
                let edge = place == 0 || place == last;
                code.push(if inner == '\n' {
                    '\n'
                } else if edge {
                    quote
                } else {
                    ' '
                });
            }
            rest = &rest[length..];
        } else {
            code.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    code
}

/// How many bytes the comment or literal at the start of `rest` takes; 0 where there is none.
fn literal_or_comment(rest: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        block_comment(rest)
    } else if let Some(inside) = rest.strip_prefix('"') {
        1 + quoted(inside, '"')
    } else if !in_word && (rest.starts_with("r\"") || rest.starts_with("r#")) {
        raw(&rest[1..]).map_or(0, |length| length + 1)
    } else if !in_word && (rest.starts_with("br\"") || rest.starts_with("br#")) {
        raw(&rest[2..]).map_or(0, |length| length + 2)
    } else if rest.starts_with('\'') {
        character(rest)
    } else {
        0
    }
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Up to and with the closing quote, minding backslashes.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in rest.char_indices() {
        if escaped {
            escaped = false;
        } else if letter == '\\' {
            escaped = true;
        } else if letter == quote {
            return at + 1;
        }
    }
    rest.len()
}

/// `#"…"#` with any number of hashes; `None` for a raw identifier.
fn raw(rest: &str) -> Option<usize> {
    let hashes = rest.bytes().take_while(|&byte| byte == b'#').count();
    let inside = rest[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(hashes + 1 + inside.find(&end).map_or(inside.len(), |at| at + end.len()))
}

/// A character literal, or 0 for a lifetime.
fn character(rest: &str) -> usize {
    let mut letters = rest.char_indices().skip(1);
    match (letters.next(), letters.next()) {
        (Some((_, '\\')), _) => 1 + quoted(&rest[1..], '\''),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::code_of;

    #[test]
    fn comments_and_literals_vanish_and_code_stays() {
        let text =
            "let a = \"un//safe\"; // unsafe\nlet b = 'x'; fn f<'a>() {} /* x /* y */ z */ end";
        let code = code_of(text);
        assert_eq!(code.chars().count(), text.chars().count());
        assert!(!code.contains("safe") && !code.contains('y') && !code.contains('z'));
        assert!(code.contains("fn f<'a>() {}") && code.ends_with("end"));
        assert_eq!(code.lines().count(), 2);
    }

    #[test]
    fn raw_strings_and_escapes_end_where_they_end() {
        assert!(code_of(r####"r#"a " b"# after"####).ends_with("after"));
        assert!(code_of(r#""\"" after"#).ends_with("after"));
        assert!(code_of(r"'\'' after").ends_with("after"));
        assert!(code_of("br\"x\" after").ends_with("after"));
        assert!(code_of("r#type after").starts_with("r#type"));
        assert!(code_of("for\"x\"").starts_with("for"));
    }
}
