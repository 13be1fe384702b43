//! PEM: one block of a file, and its writing.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Blame, Error};
use crate::files;

/// Letters in a line.
const LINE: usize = 64;

/// The first block of this kind in a file.
pub(crate) fn read(path: &Path, kind: &str) -> Result<Vec<u8>, Error> {
    let text = String::from_utf8_lossy(&files::read(path)?).into_owned();
    block(&text, kind).ok_or_else(|| {
        let what = format!("has no block «{kind}» of PEM in it");
        Error::new(Blame::Misuse, path.display().to_string(), what, "convert it by openssl")
    })
}

/// The first block of this kind in a text.
pub(super) fn block(text: &str, kind: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {kind}-----"))?;
    let (inside, _) = rest.split_once(&format!("-----END {kind}-----"))?;
    STANDARD.decode(inside.split_whitespace().collect::<String>()).ok()
}

/// Bytes as PEM.
pub(crate) fn write(kind: &str, bytes: &[u8]) -> String {
    let mut text = format!("-----BEGIN {kind}-----\n");
    let letters = STANDARD.encode(bytes);
    let mut rest = letters.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str(&format!("-----END {kind}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_other_blocks_are_passed_over() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text = write("PRIVATE KEY", &bytes);
        assert!(text.lines().all(|line| line.len() <= LINE));
        let both = format!("{}{text}", write("CERTIFICATE", b"x"));
        assert_eq!(block(&both, "PRIVATE KEY"), Some(bytes));
        assert_eq!(block(&text, "CERTIFICATE"), None);
        assert_eq!(block("-----BEGIN X-----\n???\n-----END X-----", "X"), None);
    }
}
