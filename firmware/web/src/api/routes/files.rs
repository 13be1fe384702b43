//! Files of points: looked at, and taken out.

use super::{Gives, Kind, OPERATOR, Parameter, Route, VIEWER, get, needed, parameter};
use crate::api::call::Call;
use crate::api::reply::{Body, FilePart, Reply, json};
use crate::api::site::{Answer, Refusal};
use crate::api::views::files::{FilePlace, Listing};

/// So much of a file is read before anything is answered.
const FIRST_BYTES: u64 = 256 * 1024;

const PLACE: &[Parameter] = &[
    needed("server", Kind::Text, "The server's name"),
    needed("point", Kind::Text, "The point's identity"),
    parameter("disk", Kind::Text, "The disk's name; without it the disks"),
    parameter("volume", Kind::Text, "The volume; without it the disk's volumes"),
    parameter("path", Kind::Text, "From the volume's root, without a leading slash"),
];

pub(super) const ROUTES: &[Route] = &[
    get("files", "/files", VIEWER, "What lies in a folder of a point")
        .query(PLACE)
        .gives::<Listing>()
        .does(|call| json(call.site().list(&place(call)?))),
    Route {
        gives: Gives::File,
        ..get("fileContent", "/files/content", OPERATOR, "A file of a point, or a range of it")
            .query(PLACE)
            .noted()
            .about(|call| {
                let place = place(call).ok()?;
                Some(format!("server {}: {} {}", place.server, place.disk, place.path))
            })
            .does(content)
    },
];

fn place(call: &Call<'_>) -> Answer<FilePlace> {
    let text = |name: &str| Ok(call.text(name)?.unwrap_or_default());
    Ok(FilePlace {
        server: call.needed("server")?,
        point: call.needed("point")?,
        disk: text("disk")?,
        volume: text("volume")?,
        path: text("path")?,
    })
}

fn content(call: &Call<'_>) -> Answer<Reply> {
    let place = place(call)?;
    let read = |from: u64, bytes: u64| {
        let limit = usize::try_from(bytes).unwrap_or(usize::MAX);
        call.site().read(&place, from, limit)
    };
    let range = call.range.and_then(Range::parse);
    let (begin, end, file_bytes, first) = match range {
        None => {
            let read = read(0, FIRST_BYTES)?;
            (0, read.file_bytes, read.file_bytes, read.bytes)
        }
        Some(range) => {
            // How large it is, by its first byte.
            let file_bytes = read(0, 1)?.file_bytes;
            let Some((begin, end)) = range.within(file_bytes) else {
                return Err(Refusal::new(
                    416,
                    "the range",
                    format!("is outside of {file_bytes} bytes"),
                ));
            };
            (begin, end, file_bytes, read(begin, FIRST_BYTES.min(end - begin))?.bytes)
        }
    };
    let mut headers = vec![
        ("content-type", "application/octet-stream".to_owned()),
        ("content-disposition", disposition(&place.path)),
        ("accept-ranges", "bytes".to_owned()),
    ];
    let status = if range.is_some() { 206 } else { 200 };
    if range.is_some() {
        let last = end.saturating_sub(1);
        headers.push(("content-range", format!("bytes {begin}-{last}/{file_bytes}")));
    }
    Ok(Reply { status, headers, body: Body::File(FilePart { place, first, begin, end }) })
}

/// What is saved under which name.
fn disposition(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    let mut encoded = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => {
                encoded.push(char::from(byte));
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("attachment; filename*=UTF-8''{encoded}")
}

/// One range of bytes. Anything else in the header is as if it were not there, as RFC 9110 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    /// From here to there, the last byte included.
    From(u64, Option<u64>),
    /// So many at the end.
    Last(u64),
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (begin, end) = text.strip_prefix("bytes=")?.split_once('-')?;
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| text.parse::<u64>().ok()).flatten()
        };
        match (begin.is_empty(), end.is_empty()) {
            (true, true) => None,
            (true, false) => number(end).map(Self::Last),
            (false, true) => number(begin).map(|begin| Self::From(begin, None)),
            (false, false) => {
                let (begin, end) = (number(begin)?, number(end)?);
                (begin <= end).then_some(Self::From(begin, Some(end)))
            }
        }
    }

    /// Its begin and end in a file of so many bytes.
    fn within(self, file_bytes: u64) -> Option<(u64, u64)> {
        let (begin, end) = match self {
            Self::From(begin, None) => (begin, file_bytes),
            Self::From(begin, Some(last)) => (begin, last.saturating_add(1).min(file_bytes)),
            Self::Last(bytes) => (file_bytes.saturating_sub(bytes), file_bytes),
        };
        (begin < end).then_some((begin, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_has_them() {
        for (text, expected) in [
            ("bytes=0-0", Some(Range::From(0, Some(0)))),
            ("bytes=5-", Some(Range::From(5, None))),
            ("bytes=-7", Some(Range::Last(7))),
            ("bytes=7-5", None),
            ("bytes=-", None),
            ("bytes=0-1,3-4", None),
            ("bytes=+1-2", None),
            ("bytes=99999999999999999999-", None),
            ("lines=0-1", None),
        ] {
            assert_eq!(Range::parse(text), expected, "{text}");
        }
        assert_eq!(Range::From(2, Some(900)).within(10), Some((2, 10)));
        assert_eq!(Range::From(10, None).within(10), None);
        assert_eq!(Range::Last(3).within(10), Some((7, 10)));
        assert_eq!(Range::Last(30).within(10), Some((0, 10)));
        assert_eq!(Range::Last(0).within(10), None);
        assert_eq!(Range::From(0, Some(u64::MAX)).within(3), Some((0, 3)));
    }

    #[test]
    fn no_name_leaves_its_header() {
        assert_eq!(
            disposition("a/b c\"\r\nx: y"),
            "attachment; filename*=UTF-8''b%20c%22%0D%0Ax%3A%20y"
        );
        assert_eq!(disposition(""), "attachment; filename*=UTF-8''");
    }
}
