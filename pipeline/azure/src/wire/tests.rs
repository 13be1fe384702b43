//! What is tried again, how often, and what is told in the end: with a scripted peer and a held clock.

use std::sync::Arc;

use pipeline_vault::store::{BlobStore as _, Created};

use super::*;
use crate::secret::Secret;
use crate::store::{AzureOptions, AzureStore};
use crate::test_world::{Script, Step, World as Clock, answers};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn store(steps: Vec<Step>) -> (AzureStore, Arc<Script>, Arc<Clock>) {
    let key = Credentials::shared_key("harbour", &Secret::new(KEY)).expect("a key");
    store_as(key, steps)
}

fn store_as(credentials: Credentials, steps: Vec<Step>) -> (AzureStore, Arc<Script>, Arc<Clock>) {
    let address = AzureAddress::parse("azure://harbour/boats").expect("an address");
    let (script, clock) = (Script::new(steps), Arc::new(Clock::with_dice(0)));
    let (transport, surroundings) = (Arc::clone(&script), Arc::clone(&clock));
    let store = AzureStore::open_over(
        &address,
        credentials,
        AzureOptions::default(),
        transport as Arc<dyn Transport>,
        surroundings as Arc<dyn Surroundings>,
    );
    (store.expect("a store"), script, clock)
}

fn with(step: Step, name: &'static str, value: &str) -> Step {
    step.map(|(status, mut headers, body)| {
        headers.push((name, value.to_owned()));
        (status, headers, body)
    })
}

#[test]
fn a_request_carries_date_name_and_signature() {
    let (store, script, _) = store(vec![answers(201, "", b"")]);
    assert_eq!(store.create("seg/1", b"x"), Ok(Created::New));
    let sent = &script.sent()[0];
    assert_eq!((sent.method, sent.target.as_str()), ("PUT", "/boats/seg/1"));
    assert_eq!(sent.header("x-ms-date"), Some("Sun, 22 Nov 2026 12:44:35 GMT"));
    assert!(sent.header("x-ms-client-request-id").is_some_and(|name| name.len() == 36));
    assert!(sent.header("authorization").is_some_and(|it| it.starts_with("SharedKey harbour:")));
    assert_eq!(sent.body, b"x");
}

#[test]
fn each_try_is_signed_anew() {
    let (store, script, clock) = store(vec![
        with(answers(503, "ServerBusy", b""), "retry-after", "9"),
        answers(201, "", b""),
    ]);
    let before = clock.elapsed();
    assert_eq!(store.create("x", b""), Ok(Created::New));
    assert!(clock.elapsed() - before >= Duration::from_secs(9));
    let sent = script.sent();
    assert_ne!(sent[0].header("x-ms-date"), sent[1].header("x-ms-date"));
    assert_ne!(sent[0].header("authorization"), sent[1].header("authorization"));
}

#[test]
fn a_refusal_that_does_not_pass_is_not_tried_again() {
    for (status, code) in
        [(403, "AuthenticationFailed"), (400, "InvalidUri"), (501, "APINotImplemented")]
    {
        let (store, script, _) = store(vec![answers(status, code, b"")]);
        assert!(store.create("x", b"").is_err());
        assert_eq!(script.sent().len(), 1, "{status} {code}");
    }
}

#[test]
fn damage_on_the_way_is_sent_again() {
    let (store, script, _) = store(vec![answers(400, "Crc64Mismatch", b""), answers(201, "", b"")]);
    assert_eq!(store.create("x", b"body"), Ok(Created::New));
    assert_eq!(script.sent().len(), 2);
}

#[test]
fn a_name_that_is_taken_is_told_from_one_that_is_ours() {
    let head = |length: &str| {
        let date = "Sun, 22 Nov 2026 12:44:35 GMT";
        let step = with(answers(200, "", b""), "last-modified", date);
        with(step, "content-length", length)
    };
    let range = |body: &[u8]| {
        let range = format!("bytes 0-{}/{}", body.len() - 1, body.len());
        with(answers(206, "", body), "content-range", &range)
    };
    for (status, code) in [
        (409, "BlobAlreadyExists"),
        (409, "BlobImmutableDueToPolicy"),
        (412, "ConditionNotMet"),
        (412, "LeaseIdMissing"),
        (403, "UnauthorizedBlobOverwrite"),
    ] {
        let taken = || answers(status, code, b"");
        let (same, _, _) = store(vec![taken(), head("4"), range(b"body")]);
        assert_eq!(same.create("x", b"body"), Ok(Created::Same), "{code}");
        let (longer, script, _) = store(vec![taken(), head("5")]);
        assert_eq!(longer.create("x", b"body"), Ok(Created::Taken), "{code}");
        assert_eq!(script.sent().len(), 2, "another length needs no reading");
        let (other, _, _) = store(vec![taken(), head("4"), range(b"bodY")]);
        assert_eq!(other.create("x", b"body"), Ok(Created::Taken), "{code}");
        let (gone, _, _) =
            store(vec![taken(), answers(404, "BlobNotFound", b""), answers(201, "", b"")]);
        assert_eq!(gone.create("x", b"body"), Ok(Created::New), "{code}: gone again meanwhile");
    }
}

#[test]
fn a_delete_whose_reply_was_lost_did_delete() {
    let lost = || Err(Failure::new(Kind::Broken, "broke"));
    let missing = || answers(404, "BlobNotFound", b"");
    let (store_lost, _, _) = store(vec![lost(), missing()]);
    assert_eq!(store_lost.delete(&["x".to_owned()]), [Ok(true)]);
    let refused = Err(Failure::new(Kind::Connect, "nobody there"));
    let (store_refused, _, _) = store(vec![refused, missing()]);
    assert_eq!(store_refused.delete(&["x".to_owned()]), [Ok(false)], "it never arrived");
}

#[test]
fn batches_that_are_not_possible_are_given_up_once_and_for_all() {
    let steps = vec![
        answers(400, "UnsupportedQueryParameter", b""),
        answers(202, "", b""),
        answers(404, "BlobNotFound", b""),
        answers(202, "", b""),
        answers(202, "", b""),
    ];
    let (store, script, _) = store(steps);
    let names = ["a".to_owned(), "b".to_owned()];
    assert_eq!(store.delete(&names), [Ok(true), Ok(false)]);
    assert_eq!(store.delete(&names), [Ok(true), Ok(true)]);
    let methods: Vec<&str> = script.sent().iter().map(|sent| sent.method).collect();
    assert_eq!(methods, ["POST", "DELETE", "DELETE", "DELETE", "DELETE"]);
}

#[test]
fn a_refused_object_of_a_batch_leaves_the_others_alone() {
    let body = "--b\r\nContent-ID: 0\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n\r\n\
        --b\r\nContent-ID: 1\r\n\r\nHTTP/1.1 409 Conflict\r\nx-ms-error-code: BlobImmutableDueToPolicy\r\n\r\n\r\n\
        --b\r\nContent-ID: 2\r\n\r\nHTTP/1.1 503 Busy\r\nx-ms-error-code: ServerBusy\r\n\r\n\r\n--b--\r\n";
    let batch = answers(202, "", body.as_bytes());
    let batch = with(batch, "content-type", "multipart/mixed; boundary=b");
    let (store, script, _) = store(vec![batch, answers(202, "", b""), answers(202, "", b"")]);
    let names = ["a", "b", "c", "d"].map(String::from);
    let answers = store.delete(&names);
    assert_eq!(answers[0], Ok(true));
    let refused = answers[1].as_ref().expect_err("immutable").to_string();
    assert!(
        refused.contains("azure://harbour/boats/b: is protected by an immutability policy"),
        "{refused}"
    );
    assert_eq!(
        (&answers[2], &answers[3]),
        (&Ok(true), &Ok(true)),
        "busy or unanswered: asked alone"
    );
    assert_eq!(script.sent().len(), 3);
}

#[test]
fn who_may_not_make_containers_can_use_one_that_is_there() {
    let page = b"<EnumerationResults><Blobs/></EnumerationResults>";
    let refused = || answers(403, "AuthorizationPermissionMismatch", b"");
    let list = || answers(200, "", page);
    let (store_there, _, _) =
        store(vec![refused(), list(), answers(404, "BlobNotFound", b""), list()]);
    assert_eq!(store_there.prepare(), Ok(()));
    let (store_absent, _, _) = store(vec![refused(), answers(404, "ContainerNotFound", b"")]);
    let error = store_absent.prepare().expect_err("no container").to_string();
    assert!(error.contains("container «boats» of account «harbour»: does not exist"), "{error}");
    assert!(error.contains("may not make it"), "{error}");
}

#[test]
fn the_time_is_told_by_a_refusal_too() {
    let date = "Sun, 22 Nov 2026 12:44:36 GMT";
    for step in
        [answers(200, "", b""), answers(404, "ContainerNotFound", b""), answers(403, "X", b"")]
    {
        let (store, _, _) = store(vec![with(step, "date", date)]);
        assert_eq!(store.now(), Ok(1_795_351_476_000));
    }
}

#[test]
fn the_secondary_is_another_host_and_read_only() {
    let (store, script, _) = store(vec![answers(404, "BlobNotFound", b"")]);
    let second = store.secondary().expect("a secondary");
    assert!(second.read_all("x", 10).expect_err("missing").is_missing());
    assert_eq!(script.sent()[0].origin, "https://harbour-secondary.blob.core.windows.net");
    for error in [
        second.create("x", b"").expect_err("read only"),
        second.prepare().expect_err("read only"),
        second.delete(&["x".to_owned()]).remove(0).expect_err("read only"),
    ] {
        assert!(error.to_string().contains("can only be read"), "{error}");
    }
    assert_eq!(script.sent().len(), 1, "nothing was sent for them");
}

#[test]
fn a_signature_is_appended_and_never_told() {
    let token = Secret::new("sv=2024-11-04&se=2020-01-01&sp=rcl&sig=c2VjcmV0");
    let sas = Credentials::sas(&token).expect("a token");
    let refused =
        with(answers(403, "AuthenticationFailed", b""), "date", "Sun, 22 Nov 2026 12:44:35 GMT");
    let (store, script, _) = store_as(sas, vec![refused]);
    let error = store.read_all("x", 10).expect_err("refused").to_string();
    assert!(script.sent()[0].target.ends_with("?sv=2024-11-04&se=2020-01-01&sp=rcl&sig=c2VjcmV0"));
    assert!(script.sent()[0].header("authorization").is_none());
    assert!(error.contains("signature ended at 2020-01-01"), "{error}");
    assert!(!error.contains("c2VjcmV0"), "{error}");
}
