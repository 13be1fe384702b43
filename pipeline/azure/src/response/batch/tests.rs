//! Batches as Azure answers them.

use super::*;

const KIND: &str = "multipart/mixed; boundary=batchresponse_66925647";

#[test]
fn each_part_answers_its_number() {
    let body = "--batchresponse_66925647\r\nContent-Type: application/http\r\nContent-ID: 0\r\n\r\n\
        HTTP/1.1 202 Accepted\r\nx-ms-delete-type-permanent: true\r\nx-ms-request-id: a\r\nx-ms-version: 2024-11-04\r\n\r\n\
        --batchresponse_66925647\r\nContent-Type: application/http\r\nContent-ID: 1\r\n\r\n\
        HTTP/1.1 404 The specified blob does not exist.\r\nx-ms-error-code: BlobNotFound\r\nContent-Length: 20\r\n\r\n\
        <Error><Code>BlobNotFound</Code><Message>m</Message></Error>\r\n\
        --batchresponse_66925647--\r\n0\r\n";
    let parts = parse(KIND, body.as_bytes()).expect("a batch");
    let seen: Vec<_> = parts
        .iter()
        .map(|part| (part.number, part.refusal.status, part.refusal.code.as_str()))
        .collect();
    assert_eq!(seen, [(0, 202, ""), (1, 404, "BlobNotFound")]);
}

#[test]
fn what_is_no_batch_is_refused() {
    for (kind, body, reason) in [
        ("text/html", "", "no boundary"),
        ("multipart/mixed; boundary=", "", "no boundary"),
        (KIND, "", "ends early"),
        (KIND, "--batchresponse_66925647\r\nhello", "no answer in it"),
        (KIND, "--batchresponse_66925647\r\nContent-ID: 1\r\n\r\nhello\r\n", "no status"),
    ] {
        let malformed = parse(kind, body.as_bytes()).expect_err(body);
        assert!(malformed.0.contains(reason), "{body}: {}", malformed.0);
    }
}
