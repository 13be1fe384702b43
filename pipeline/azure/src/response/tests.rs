//! Answers that must be understood, and bytes that must not end in a panic.

use super::*;

fn head(status: u16, headers: &[(&str, &str)]) -> Head {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Head { status, headers: headers.iter().map(owned).collect() }
}

#[test]
fn a_refusal_is_read_from_its_header_and_its_body() {
    let xml = "\u{FEFF}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>AuthenticationFailed</Code>\
        <Message>Server failed to authenticate the request.\nRequestId:1</Message>\
        <AuthenticationErrorDetail>secret detail</AuthenticationErrorDetail></Error>";
    let head = head(403, &[("x-ms-request-id", "r1"), ("retry-after", "7")]);
    let refusal = Refusal::new(&head, xml.as_bytes());
    assert_eq!(refusal.code, "AuthenticationFailed");
    assert_eq!(refusal.message, "Server failed to authenticate the request.");
    assert_eq!((refusal.retry_after, refusal.from_storage), (Some(7), true));
    let with_header = Head {
        headers: vec![("x-ms-error-code".to_owned(), "BlobNotFound".to_owned())],
        status: 404,
    };
    assert_eq!(Refusal::new(&with_header, b"").code, "BlobNotFound");
}

#[test]
fn a_wait_is_asked_for_in_seconds_or_by_a_date() {
    let asked = |value: &str| {
        let date = ("date", "Sun, 22 Nov 2026 12:44:35 GMT");
        head(503, &[("retry-after", value), date]).retry_after()
    };
    assert_eq!(asked(" 7 "), Some(7));
    assert_eq!(asked("Sun, 22 Nov 2026 12:45:05 GMT"), Some(30));
    assert_eq!(asked("Sun, 22 Nov 2026 12:00:00 GMT"), Some(0), "a date that has passed");
    assert_eq!(asked("soon"), None);
    let alone = head(503, &[("retry-after", "Sun, 22 Nov 2026 12:45:05 GMT")]);
    assert_eq!(alone.retry_after(), None, "no clock to compare it with");
}

#[test]
fn foreign_bodies_give_no_code() {
    for body in [
        &b"<html><Code>x</Code></html>"[..],
        b"<Error><Nested><Code>x</Code></Nested></Error>",
        b"{\"error\":1}",
        b"<Error><Code>",
        &[0xFF, 0xFE, 0x00],
        b"",
    ] {
        assert_eq!(Refusal::new(&head(400, &[]), body).code, "", "{body:?}");
    }
}

#[test]
fn facts_need_a_length_and_a_date() {
    let date = ("last-modified", "Sun, 22 Nov 2026 12:44:35 GMT");
    let good = head(200, &[("content-length", "5"), date, ("x-ms-access-tier", "Archive")]);
    let facts = facts("x", &good).expect("facts");
    assert_eq!((facts.bytes, facts.tier), (5, Tier::Archive));
    assert_eq!(facts.modified, 1_795_351_475_000);
    assert!(super::facts("x", &head(200, &[date])).is_err());
    assert!(super::facts("x", &head(200, &[("content-length", "5")])).is_err());
    assert!(super::facts("x", &head(200, &[("content-length", "-5"), date])).is_err());
}

#[test]
fn content_ranges_are_read_or_refused() {
    let range = content_range("bytes 10-19/100").expect("a range");
    assert_eq!((range.first, range.last, range.total), (10, 19, 100));
    for text in ["", "bytes */100", "bytes 1-2", "bytes 1-2/*", "items 1-2/3", "bytes -1-2/3"] {
        assert_eq!(content_range(text), None, "{text}");
    }
}

/// Seeded garbage around real answers: nothing that comes from outside may end in a panic.
#[test]
fn damaged_answers_end_in_an_error_and_never_in_a_panic() {
    let listing =
        b"<?xml version=\"1.0\"?><EnumerationResults><Prefix>a&amp;b</Prefix><Blobs><Blob>\
        <Name Encoded=\"true\">a%20b</Name><Properties><Content-Length>1</Content-Length>\
        <Last-Modified>Sun, 22 Nov 2026 12:44:35 GMT</Last-Modified><AccessTier>Hot</AccessTier>\
        </Properties></Blob></Blobs><NextMarker>2!8!MDAw</NextMarker></EnumerationResults>";
    let batch =
        b"--b\r\nContent-Type: application/http\r\nContent-ID: 0\r\n\r\nHTTP/1.1 202 Accepted\r\n\
        x-ms-request-id: 1\r\n\r\n\r\n--b--\r\n";
    let error = b"<Error><Code>A</Code><Message>B</Message></Error>";
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for round in 0..20_000 {
        let source: &[u8] = [&listing[..], &batch[..], &error[..]][round % 3];
        let mut bytes = source.to_vec();
        for _ in 0..=round % 4 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let [a, b, value, kind, ..] = random.to_le_bytes();
            let at = usize::from(u16::from_le_bytes([a, b])) % bytes.len().max(1);
            match kind % 4 {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, value),
                _ if at < bytes.len() => bytes[at] = value,
                _ => {}
            }
        }
        drop(listing::parse(&bytes));
        drop(batch::parse("multipart/mixed; boundary=b", &bytes));
        drop(Refusal::new(&head(400, &[]), &bytes));
        if let Ok(text) = core::str::from_utf8(&bytes) {
            content_range(text);
            parse_http_date(text);
        }
    }
}
