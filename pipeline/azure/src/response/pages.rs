//! Which parts of a page blob were written: the answer to Get Page Ranges.

use quick_xml::Reader;
use quick_xml::events::Event;

use super::Malformed;

/// Most ranges of one answer: Azure's own limit is lower.
const RANGES_MAX: usize = 100_000;

/// A part of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRange {
    /// Its first byte.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
}

/// One page of the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageRanges {
    /// What was written, in order.
    pub written: Vec<PageRange>,
    /// Where the answer goes on.
    pub next: Option<String>,
}

/// Reads the answer. Errors: ranges that overlap, run backwards or are no numbers.
pub fn page_ranges(body: &[u8]) -> Result<PageRanges, Malformed> {
    let text = core::str::from_utf8(body).map_err(|_| Malformed("it is no text"))?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{FEFF}'));
    let mut answer = PageRanges::default();
    let (mut inside, mut depth, mut first) = (String::new(), 0_u32, None);
    let (mut in_list, mut in_range) = (false, false);
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                depth += 1;
                inside = start.name().as_ref().to_owned();
                in_list |= depth == 1 && inside == "PageList";
                in_range = if depth == 2 { inside == "PageRange" } else { in_range };
            }
            Ok(Event::Empty(tag)) => in_list |= depth == 0 && tag.name().as_ref() == "PageList",
            Ok(Event::End(_)) => {
                depth = depth.saturating_sub(1);
                inside.clear();
            }
            Ok(Event::Text(text)) if in_list => {
                let text = text.xml10_content();
                match (depth, inside.as_str(), in_range) {
                    (3, "Start", true) => first = number(&text),
                    (3, "End", true) => answer.take(first.take(), number(&text))?,
                    (2, "NextMarker", _) => answer.next = Some(text.trim().to_owned()),
                    _ => {}
                }
            }
            Ok(Event::Eof) if in_list && depth == 0 => break,
            Ok(Event::Eof) | Err(_) => return Err(Malformed("it is no list of page ranges")),
            Ok(_) => {}
        }
    }
    answer.next = answer.next.filter(|next| !next.is_empty());
    Ok(answer)
}

impl PageRanges {
    fn take(&mut self, first: Option<u64>, last: Option<u64>) -> Result<(), Malformed> {
        let (Some(first), Some(last)) = (first, last) else {
            return Err(Malformed("a page range of it is no number"));
        };
        let end = self.written.last().map_or(0, |before| before.offset + before.bytes);
        let bytes = last.checked_sub(first).and_then(|length| length.checked_add(1));
        match bytes.filter(|bytes| first >= end && first.checked_add(*bytes).is_some()) {
            Some(bytes) if self.written.len() < RANGES_MAX => {
                self.written.push(PageRange { offset: first, bytes });
                Ok(())
            }
            _ => Err(Malformed("its page ranges run backwards, overlap or are too many")),
        }
    }
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_the_marker_are_read() {
        let body = "\u{FEFF}<?xml version=\"1.0\"?><PageList>
            <PageRange><Start>0</Start><End>511</End></PageRange>
            <ClearRange><Start>512</Start><End>1023</End></ClearRange>
            <PageRange><Start>1024</Start><End>4095</End></PageRange><New>1</New>
            <NextMarker>abc</NextMarker></PageList>";
        let answer = page_ranges(body.as_bytes()).unwrap();
        let range = |offset, bytes| PageRange { offset, bytes };
        assert_eq!(answer.written, [range(0, 512), range(1024, 3072)]);
        assert_eq!(answer.next.as_deref(), Some("abc"));
        assert_eq!(page_ranges(b"<PageList></PageList>"), Ok(PageRanges::default()));
        assert_eq!(page_ranges(b"<PageList/>"), Ok(PageRanges::default()));
    }

    #[test]
    fn anything_else_is_an_error() {
        let range = |start: &str, end: &str| {
            format!("<PageRange><Start>{start}</Start><End>{end}</End></PageRange>")
        };
        for inside in [
            range("5", "4"),
            range("0", "18446744073709551615"),
            range("a", "4"),
            "<PageRange><End>4</End></PageRange>".to_owned(),
            format!("{}{}", range("0", "511"), range("511", "1023")),
            "<PageRange>".to_owned(),
        ] {
            assert!(
                page_ranges(format!("<PageList>{inside}</PageList>").as_bytes()).is_err(),
                "{inside}"
            );
        }
        for body in [&b""[..], b"<html></html>", b"\xff", b"<PageList>"] {
            assert!(page_ranges(body).is_err(), "{body:?}");
        }
    }
}
