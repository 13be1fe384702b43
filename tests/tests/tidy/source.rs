//! What every Rust file must be like.

use crate::lexer::code_of;

const LINES_MAX: usize = 500;
const COLUMNS_MAX: usize = 100;
/// Comments are prose: they may run on a little, as no formatter breaks them.
const COMMENT_COLUMNS_MAX: usize = 140;

/// The file of a package's root, whose README is its documentation.
fn is_root(path: &str) -> bool {
    path.ends_with("src/lib.rs") && path != "tests/src/lib.rs"
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/")
        || path.contains("/tests/")
        || path.ends_with("/tests.rs")
        || path.contains("/benches/")
}

/// The first line says what the file is for.
pub(crate) fn first_line(path: &str, text: &str) -> Vec<String> {
    let start = if is_root(path) { "#![doc = include_str!(\"../README.md\")]" } else { "//! " };
    if text.starts_with(start) {
        Vec::new()
    } else {
        vec![format!("{path}:1: does not begin with «{}»", start.trim_end())]
    }
}

/// `unsafe` only behind the hardware layer's one fence.
pub(crate) fn unsafe_place(path: &str, text: &str) -> Vec<String> {
    if path.starts_with("hal/linux/src/sys/") || path == "hal/linux/src/sys.rs" {
        return Vec::new();
    }
    let code = code_of(text);
    let lines = code.lines().enumerate().filter(|(_, line)| has_word(line, "unsafe"));
    lines
        .map(|(number, _)| format!("{path}:{}: unsafe outside hal/linux/src/sys", number + 1))
        .collect()
}

/// Every package but the one with the fence forbids `unsafe` for good.
pub(crate) fn forbids_unsafe(package: &str, root: &str) -> Vec<String> {
    let wanted = match package {
        "hal-linux" => "#![deny(unsafe_code)]",
        _ => "#![forbid(unsafe_code)]",
    };
    if package == "tests" || root.lines().any(|line| line == wanted) {
        Vec::new()
    } else {
        vec![format!("{package}: its lib.rs lacks {wanted}")]
    }
}

/// Lines of code, without blank lines, comments and an inline test module at the end.
fn code_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let end = lines.windows(2).position(|pair| {
        pair[0].trim() == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
    });
    let counted = code_of(&lines[..end.unwrap_or(lines.len())].join("\n"));
    counted.lines().filter(|line| !line.trim().is_empty()).count()
}

/// At most 500 lines of code; tests are not counted.
pub(crate) fn length(path: &str, text: &str) -> Vec<String> {
    let lines = code_lines(text);
    if lines > LINES_MAX && !is_test(path) {
        vec![format!("{path}: {lines} lines of code, more than {LINES_MAX}")]
    } else {
        Vec::new()
    }
}

/// At most 100 columns of code. Lines that hold a literal, which the formatter does not break, are let off; so are
/// comments within reason.
pub(crate) fn width(path: &str, text: &str) -> Vec<String> {
    let code = code_of(text);
    let mut complaints = Vec::new();
    for (number, (line, code)) in text.lines().zip(code.lines()).enumerate() {
        let columns = line.chars().count();
        let comment = line.trim_start().starts_with("//");
        let table = comment && line.contains('|');
        let most = if comment { COMMENT_COLUMNS_MAX } else { COLUMNS_MAX };
        let literal = !comment && (code.contains('"') || code.trim().is_empty());
        if columns > most && !table && !literal {
            complaints.push(format!("{path}:{}: {columns} columns", number + 1));
        }
    }
    complaints
}

/// Nothing is left for later, printed for debugging, or switched off.
pub(crate) fn banned(path: &str, text: &str) -> Vec<String> {
    // Taken apart, so that this file does not complain about itself.
    let anywhere = [
        ["FIX", "ME"].concat(),
        ["XX", "X"].concat(),
        ["TO", "DO"].concat(),
        ["HA", "CK"].concat(),
    ];
    let in_code = [["to", "do!"].concat(), ["db", "g!"].concat(), ["un", "implemented!"].concat()];
    let switched_off = ["#[ig", "nore"].concat();
    let code = code_of(text);
    let mut complaints = Vec::new();
    let mut complain = |number: usize, word: &str| {
        complaints.push(format!("{path}:{}: {word}", number + 1));
    };
    for (number, (line, code)) in text.lines().zip(code.lines()).enumerate() {
        anywhere.iter().filter(|word| has_word(line, word)).for_each(|word| complain(number, word));
        in_code
            .iter()
            .filter(|word| code.contains(word.as_str()))
            .for_each(|word| complain(number, word));
        if code.contains(&switched_off) {
            complain(number, "a test that does not run proves nothing");
        }
    }
    complaints
}

fn has_word(line: &str, word: &str) -> bool {
    let joins = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(joins) && !line[at + word.len()..].starts_with(joins))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_its_purpose_is_noticed() {
        assert!(first_line("hal/src/disk.rs", "//! Disks.\n").is_empty());
        assert_eq!(first_line("hal/src/disk.rs", "use core::fmt;\n").len(), 1);
        assert_eq!(first_line("hal/src/lib.rs", "//! Disks.\n").len(), 1);
    }

    #[test]
    fn unsafe_is_noticed_in_code_only_and_outside_its_fence_only() {
        let word = ["un", "safe"].concat();
        let block = format!("{word} {{ g() }}");
        assert_eq!(unsafe_place("a.rs", &format!("fn f() {{ {block} }}")).len(), 1);
        assert_eq!(unsafe_place("a.rs", &format!("{word} impl Send for X {{}}")).len(), 1);
        let harmless = format!("#![forbid({word}_code)] // {word}\nlet x = \"{word}\";");
        assert!(unsafe_place("a.rs", &harmless).is_empty());
        assert!(unsafe_place("hal/linux/src/sys/ring.rs", &block).is_empty());
        assert_eq!(unsafe_place("hal/linux/src/disk.rs", &block).len(), 1);
        assert_eq!(forbids_unsafe("hal", "#![no_std]\n").len(), 1);
        assert!(forbids_unsafe("hal", "#![forbid(unsafe_code)]\n").is_empty());
    }

    #[test]
    fn a_long_file_is_noticed_and_its_tests_are_not_counted() {
        let code = "let a = 1;\n".repeat(500);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "let b = 2;\n".repeat(500));
        assert!(length("a.rs", &format!("//! X.\n{code}// why\n\n{tests}")).is_empty());
        assert_eq!(length("a.rs", &format!("{code}let c = 3;\n{tests}")).len(), 1);
        let early = format!("#[cfg(test)]\nmod tests;\n{code}");
        assert_eq!(length("a.rs", &early).len(), 1, "a test module elsewhere hides nothing");
    }

    #[test]
    fn a_wide_line_is_noticed() {
        let wide = "a ".repeat(51);
        assert_eq!(width("a.rs", &wide).len(), 1);
        assert!(width("a.rs", &format!("let x = \"{wide}\";")).is_empty());
        assert!(width("a.rs", &format!("/// | {} |", wide.repeat(2))).is_empty());
        assert_eq!(width("a.rs", &format!("// {}", wide.repeat(2))).len(), 1);
    }

    #[test]
    fn every_banned_word_is_noticed() {
        for word in [["FIX", "ME"].concat(), ["XX", "X"].concat(), ["TO", "DO"].concat()] {
            assert_eq!(banned("a.rs", &format!("// {word}: later")).len(), 1, "{word}");
        }
        for (first, rest) in [
            ("db", "g!(x)"),
            ("to", "do!()"),
            ("un", "implemented!()"),
            ("#[ig", "nore]"),
            ("#[ig", "nore = \"slow\"]"),
        ] {
            let code = format!("{first}{rest}");
            assert_eq!(banned("a.rs", &code).len(), 1, "{code}");
        }
        let quoted = format!("let s = \"{}{}\";", "db", "g!");
        assert!(banned("a.rs", &quoted).is_empty());
        assert!(banned("a.rs", "const MAXXX: u8 = 1;").is_empty());
    }
}
