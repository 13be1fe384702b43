//! Page blobs against a peer that follows a script: what is sent, what is tried again, what is told apart.

use core::time::Duration;

use super::*;
use crate::date::http_date;
use crate::test_world::{Script, Step, World, answers};
use crate::transport::failure::Failure;

/// Ends at 2026-11-22T12:50:00Z, some minutes after the test world's clock.
const URL: &str = "https://md-impexp-1.z1.blob.storage.azure.net/x/abcd?\
                   sv=2018-03-28&se=2026-11-22T12%3A50%3A00Z&sig=secret";

fn blob(steps: Vec<Step>) -> (Arc<Script>, Arc<World>, PageBlob) {
    blob_at(URL, steps)
}

fn blob_at(url: &str, steps: Vec<Step>) -> (Arc<Script>, Arc<World>, PageBlob) {
    let (script, world) = (Script::new(steps), Arc::new(World::with_dice(0)));
    let transport = Arc::clone(&script) as Arc<dyn Transport>;
    let clock = Arc::clone(&world) as Arc<dyn Surroundings>;
    let blob = PageBlob::signed_over(&Secret::new(url), &PageOptions::default(), transport, clock)
        .unwrap();
    (script, world, blob)
}

fn list(body: &str) -> Step {
    answers(200, "", format!("<PageList>{body}</PageList>").as_bytes())
}

#[test]
fn a_page_goes_out_with_range_checksum_and_signature() {
    let (script, _, blob) = blob(vec![answers(201, "", b"")]);
    blob.write(1024, &[7; 512]).unwrap();
    let sent = &script.sent()[0];
    assert_eq!(sent.origin, "https://md-impexp-1.z1.blob.storage.azure.net");
    assert!(sent.target.starts_with("/x/abcd?comp=page&sv=2018-03-28&"), "{}", sent.target);
    assert_eq!(sent.header("x-ms-range"), Some("bytes=1024-1535"));
    assert_eq!(sent.header("x-ms-page-write"), Some("update"));
    assert_eq!(sent.header("authorization"), None);
    let sum = crate::crc64::header_value(crate::crc64::crc64(&[7; 512]));
    assert_eq!(sent.header("x-ms-content-crc64"), Some(sum.as_str()));
}

#[test]
fn what_is_no_whole_sector_is_refused_before_it_is_sent() {
    let (script, _, blob) = blob(vec![]);
    assert!(blob.write(1, &[7; 512]).is_err());
    assert!(blob.write(0, &[7; 511]).is_err());
    assert!(blob.write(0, &[]).is_err());
    assert!(blob.write(0, &vec![7; WRITE_BYTES_MAX + 512]).is_err());
    assert!(blob.clear(u64::MAX - 511, 1024).is_err());
    assert!(blob.create(0).is_err() && blob.create(513).is_err());
    assert!(script.sent().is_empty());
}

#[test]
fn lost_replies_load_and_damage_are_sent_again() {
    let (script, _, blob) = blob(vec![
        Err(Failure::new(Kind::Broken, "broke")),
        answers(503, "ServerBusy", b""),
        answers(400, "Crc64Mismatch", b""),
        answers(201, "", b""),
    ]);
    blob.write(0, &[7; 512]).unwrap();
    assert_eq!(script.sent().len(), 4);
    assert!(script.sent().iter().all(|sent| sent.body == [7; 512]));
}

#[test]
fn an_ended_signature_is_told_from_a_denial_by_azures_clock() {
    let refusal = |at: u64| -> Step {
        let headers = vec![
            ("x-ms-request-id", "r".to_owned()),
            ("x-ms-error-code", "AuthenticationFailed".to_owned()),
            ("date", http_date(at)),
        ];
        Ok((403, headers, Vec::new()))
    };
    let ends = crate::date::parse_iso_date("2026-11-22T12:50:00Z").unwrap();
    let (_, _, one) = blob(vec![refusal(ends - 1000)]);
    assert_eq!(one.expires(), Some(ends));
    let error = one.write(0, &[7; 512]).unwrap_err();
    assert!(
        matches!(&error, PageError::Other(error) if error.to_string().contains("ended the access"))
    );
    let (_, _, other) = blob(vec![refusal(ends + 1000), answers(201, "", b"")]);
    let error = other.write(0, &[7; 512]).unwrap_err();
    assert!(
        matches!(&error, PageError::Expired(error) if error.to_string().contains("2026-11-22"))
    );
    assert!(!error.to_string().contains("secret"));
    other.renew(&Secret::new(URL.replace("12%3A50", "18%3A50"))).unwrap();
    assert_eq!(other.write(0, &[7; 512]), Ok(()));
}

#[test]
fn a_signature_that_does_not_say_when_it_ends_has_ended_when_it_counts_no_more() {
    // As Azure gives them out for managed disks: the end is in a policy that is named.
    let url = "https://md-1.z1.blob.storage.azure.net/x/abcd?sv=2018-03-28&sr=b&si=one&sig=secret";
    for (code, ended) in [("AuthenticationFailed", true), ("AuthorizationSourceIPMismatch", false)]
    {
        let steps = vec![answers(403, code, b""), answers(201, "", b"")];
        let (_, _, blob) = blob_at(url, steps);
        let error = blob.write(0, &[7; 512]).unwrap_err();
        assert_eq!(matches!(&error, PageError::Expired(_)), ended, "{error}");
        assert!(error.to_string().contains("ask for access again"), "{error}");
        blob.renew(&Secret::new(url.replace("one", "two"))).unwrap();
        assert_eq!(blob.write(0, &[7; 512]), Ok(()));
    }
}

#[test]
fn ranges_come_from_all_pages_cut_to_what_was_asked_for() {
    let range = |first: u64, last: u64| {
        format!("<PageRange><Start>{first}</Start><End>{last}</End></PageRange>")
    };
    let (script, _, blob) = blob(vec![
        list(&format!("{}<NextMarker>m</NextMarker>", range(0, 2047))),
        list(&format!("{}{}", range(2048, 2559), range(4096, 10_239))),
    ]);
    let ranges = blob.ranges(512, 8192).unwrap();
    let part = |offset, bytes| PageRange { offset, bytes };
    assert_eq!(ranges, [part(512, 2048), part(4096, 4608)]);
    assert!(script.sent()[1].target.contains("marker=m"));
}

#[test]
fn zeros_are_left_out_or_cleared() {
    let mut body = vec![0; 256 * 1024];
    body[..512].fill(7);
    for (zeros, requests) in [(Zeros::Skip, 1), (Zeros::Clear, 2)] {
        let (script, _, blob) = blob(vec![answers(201, "", b""), answers(201, "", b"")]);
        assert_eq!(blob.write_sparse(4096, &body, zeros), Ok(64 * 1024));
        assert_eq!(script.sent().len(), requests);
    }
}

#[test]
fn a_blob_that_is_there_counts_only_with_its_length() {
    let found = |bytes: u64| -> Step {
        let headers = vec![
            ("x-ms-request-id", "r".to_owned()),
            ("x-ms-blob-type", "PageBlob".to_owned()),
            ("content-length", bytes.to_string()),
        ];
        Ok((200, headers, Vec::new()))
    };
    let there = || answers(409, "BlobAlreadyExists", b"");
    assert_eq!(blob(vec![answers(201, "", b"")]).2.create(1024), Ok(true));
    assert_eq!(blob(vec![there(), found(1024)]).2.create(1024), Ok(false));
    assert!(blob(vec![there(), found(512)]).2.create(1024).is_err());
}

#[test]
fn a_read_that_is_cut_or_is_another_range_is_asked_again() {
    let part = |range: &str, body: &[u8]| -> Step {
        let headers = vec![
            ("content-range", range.to_owned()),
            ("content-length", "512".to_owned()),
            ("x-ms-request-id", "r".to_owned()),
        ];
        Ok((206, headers, body.to_vec()))
    };
    let (script, world, blob) = blob(vec![
        part("bytes 0-511/1024", &[7; 512]),
        part("bytes 512-1023/1024", &[7; 100]),
        part("bytes 512-1023/1024", &[7; 512]),
    ]);
    let mut into = [0; 512];
    blob.read(512, &mut into).unwrap();
    assert_eq!((into, script.sent().len()), ([7; 512], 3));
    assert!(world.elapsed() >= Duration::from_secs(1000));
}
